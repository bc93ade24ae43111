"""Looks at this machine for `cnnf doctor`: what the Defender needs is tried, not guessed.

Rules are tried in a network namespace that ends with the program that tries them, so nothing of it
ever stands in this one.
"""

import os
import sys
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError as RouteError

from cnnf.defender.core.marks import marks_at
from cnnf.defender.core.plan import Plan, Scopes
from cnnf.defender.core.requirements import (
    Check,
    check_bridges,
    check_front_ends,
    check_kernel,
    check_marks,
    check_privileges,
    check_queues,
)
from cnnf.defender.core.ruleset import table as table_text
from cnnf.defender.kernel import bridges, iptables, table
from cnnf.defender.kernel.conflicts import conflicts
from cnnf.defender.kernel.errors import KernelError, MissingProgram
from cnnf.defender.kernel.programs import PACKAGES, run

_QUEUES = Path("/proc/net/netfilter/nfnetlink_queue")
_LOGS = Path("/proc/net/netfilter/nfnetlink_log")
_BRIDGE_SETTINGS = Path("/proc/sys/net/bridge")
_LEGACY_TABLES = Path("/proc/net/ip_tables_names")
_MEND_KERNEL = "load or build the kernel's netfilter modules: apt-get install linux-image-amd64"


def checks(queues: range, log_group: int, mark_mask: int) -> list[Check]:
    """Everything the kernel side needs, in the order of what depends on what. Never raises.

    `queues` are the loops'; the one after them is for answers of DNS.
    """
    plan = Plan(
        marks=marks_at(mark_mask),
        queue_first=queues.start,
        queue_count=len(queues),
        log_group=log_group,
        dns_group=log_group + 1,
        answer_queue=queues.stop,
        answers_held=True,
        scopes=Scopes(containers=True, hosts=True),
    )
    return [
        check_privileges(_text(Path("/proc/self/status"))),
        check_kernel(os.uname().release),
        _nft(plan),
        _front_ends(),
        _queue_target(),
        _log(plan),
        check_queues(_text(_QUEUES), plan.queues, ours=_defender_runs()),
        _marks(plan.queues, mark_mask),
        check_bridges(bridges.supported(), _bridges()),
    ]


def _tried(code: str, title: str, good: str, command: list[str], text: str) -> Check:
    """Run a program in a network namespace of its own that ends with it."""
    program = command[0]
    try:
        # Asked for by itself first: within `unshare` a missing program looks like a failed one.
        run([program, "--version"], subject=program)
        run(["unshare", "--net", *command], text=text, subject=f"trying {program}")
    except MissingProgram as error:
        package = PACKAGES.get(program, "util-linux")
        return Check(
            code=code,
            title=title,
            state="fail",
            detail=str(error),
            mend=f"apt-get install {package}",
        )
    except KernelError as error:
        mend = "run it as root" if os.geteuid() != 0 else _MEND_KERNEL
        return Check(code=code, title=title, state="fail", detail=_words(error), mend=mend)
    return Check(code=code, title=title, state="ok", detail=good)


def _words(error: KernelError) -> str:
    """What the program said, without the one that only made its namespace."""
    return str(error).replace(": unshare:", ":", 1)


def _nft(plan: Plan) -> Check:
    good = "the kernel takes the whole table, as it would be used"
    return _tried("nft", "nft", good, ["nft", "-f", "-"], table_text(plan))


def _queue_target() -> Check:
    good = "the kernel hands packets over from within the table"
    command = [sys.executable, "-m", "cnnf.defender.kernel.probe"]
    return _tried("nfqueue", "NFQUEUE", good, command, "")


def _log(plan: Plan) -> Check:
    groups = plan.log_group, plan.dns_group
    rule = (
        "table inet probe { chain output { type filter hook output priority 0; "
        f"log group {groups[0]}; log group {groups[1]}; }}; }}\n"
    )
    good = f"groups {groups[0]} and {groups[1]}"
    check = _tried("nflog", "NFLOG", good, ["nft", "-f", "-"], rule)
    if check.state != "ok":
        return check
    used = {int(line.split()[0]) for line in _text(_LOGS).splitlines() if line.split()[:1]}
    taken = used.intersection(groups)
    if taken and not _defender_runs():
        return Check(
            code="nflog",
            title="NFLOG",
            state="fail",
            detail=f"group {min(taken)} is in use by another program",
            mend="choose one that is free and whose next is: cnnf up --log-group NUMBER",
        )
    return check


def _front_ends() -> Check:
    try:
        in_use = run(["iptables", "--version"], subject="iptables").strip()
    except KernelError:
        return Check(code="iptables", title="iptables", state="ok", detail="not installed")
    counted = {"nft": "iptables-nft-save"}
    if _text(_LEGACY_TABLES).split():
        # Asking the legacy front end would create its tables where there are none.
        counted["legacy"] = "iptables-legacy-save"
    rules = {name: _saved(program).count("\n-A ") for name, program in counted.items()}
    return check_front_ends(in_use, rules)


def _marks(queues: range, mask: int) -> Check:
    # As the running Defender looks for them.
    found = conflicts(queues, mask)
    return check_marks(mask, [one for one in found if not one.kind.startswith("queue-")])


def _saved(program: str) -> str:
    try:
        return run([program], subject=program)
    except KernelError:
        return ""


def _defender_runs() -> bool:
    try:
        return table.present() or iptables.present()
    except KernelError:
        return False


def _bridges() -> dict[str, bool]:
    """Whether each bridge, by itself or with all others, calls iptables."""
    # By netlink: /sys shows the devices of the namespace that mounted it.
    everywhere = _text(_BRIDGE_SETTINGS / "bridge-nf-call-iptables").strip() == "1"
    found: dict[str, bool] = {}
    try:
        with IPRoute() as route:
            for link in route.get_links(kind="bridge"):
                info = link.get_attr("IFLA_LINKINFO")
                data = info.get_attr("IFLA_INFO_DATA") if info is not None else None
                own = data is not None and bool(data.get_attr("IFLA_BR_NF_CALL_IPTABLES"))
                found[str(link.get_attr("IFLA_IFNAME"))] = own or everywhere
    except (RouteError, OSError):
        return {}
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
