"""Looks at this network namespace for what stands in our way: see `core/conflicts.py`."""

import contextlib
import os
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError as RouteError

from cnnf.defender.core import conflicts as pure
from cnnf.defender.core.conflicts import Conflict, Ours, RoutingRule
from cnnf.defender.core.limits import CONFLICT_DESCRIPTORS_MAX
from cnnf.defender.core.ruleset import TABLE
from cnnf.defender.kernel import iptables
from cnnf.defender.kernel.errors import KernelError, MissingProgram
from cnnf.defender.kernel.programs import run
from cnnf.defender.kernel.sockets import NETLINK_NETFILTER

_QUEUES = Path("/proc/net/netfilter/nfnetlink_queue")
_NETLINK = Path("/proc/net/netlink")
_LEGACY = {
    "iptables": Path("/proc/net/ip_tables_names"),
    "ip6tables": Path("/proc/net/ip6_tables_names"),
}
#: `FIB_RULE_INVERT` of `linux/fib_rules.h`.
_INVERTED = 2


def conflicts(
    queues: range, mark_mask: int, *, udp: bool = False, own_pids: Collection[int] = ()
) -> list[Conflict]:
    """Everything in our way, the worst first. Never raises: what can't be read is one of them.

    `own_pids` are our own processes, whose queues are nobody else's. Takes some
    50 ms and starts programs: call it in a thread.
    """
    ours = Ours(queues, mark_mask, udp)
    found: list[Conflict] = []
    parts: tuple[tuple[str, Callable[[], list[Conflict]]], ...] = (
        ("queues", lambda: _answered(ours, own_pids)),
        ("rules", lambda: _in_rules(ours)),
        ("ip rule", lambda: pure.in_routing(_routing_rules(), ours)),
    )
    for where, look in parts:
        try:
            found += look()
        except (KernelError, OSError, RouteError, msgspec.DecodeError) as error:
            found.append(pure.conflict("unread", where, str(error)))
    return pure.bounded(found)


def _answered(ours: Ours, own_pids: Collection[int]) -> list[Conflict]:
    answered = pure.answered_queues(_text(_QUEUES), ours)
    sockets = _text(_NETLINK) if answered else ""
    found = []
    for number, port_id in answered.items():
        inode = pure.netlink_inode(sockets, port_id, NETLINK_NETFILTER)
        pid = _holder(inode, port_id)
        if pid in own_pids:
            continue
        who = f"process {pid} ({_name(pid)})" if pid else f"an unknown process (port id {port_id})"
        found.append(pure.conflict("queue-answered", f"queue {number}", f"answered by {who}"))
    return found


def _in_rules(ours: Ours) -> list[Conflict]:
    found: list[Conflict] = []
    shown: set[tuple[str, str]] = set()
    for family, ip in (("iptables", "ip"), ("ip6tables", "ip6")):
        saved = _saved(family, "nft")
        shown |= {(ip, line[1:].strip()) for line in saved.splitlines() if line.startswith("*")}
        texts = {family: saved}
        if _text(_LEGACY[family]).split():
            # Only where it has tables: asking the legacy front end would make them.
            texts[f"{family}-legacy"] = _saved(family, "legacy")
        for program, text in texts.items():
            found += pure.in_iptables(
                text, ours, program=program, own_comment=iptables.RULE_COMMENT
            )
    # Terse: without the elements of sets, of which there may be a hundred thousand.
    listing = run(["nft", "-j", "-t", "list", "ruleset"], subject="reading nft's rules")
    found += pure.in_nft(listing, ours, own_table=TABLE, shown_before=frozenset(shown))
    return found


def _saved(family: str, front_end: str) -> str:
    """What the front end's save program prints; '' where there is none."""
    for program in (f"{family}-{front_end}-save", f"{family}-save"):
        try:
            return run([program], subject=f"reading {family} rules")
        except MissingProgram:
            if front_end == "legacy":
                break
    return ""


def _routing_rules() -> list[RoutingRule]:
    found = []
    with IPRoute() as route:
        for rule in (*route.get_rules(family=2), *route.get_rules(family=10)):
            mark, mask = rule.get_attr("FRA_FWMARK"), rule.get_attr("FRA_FWMASK")
            # An inverted one ("all but what the tunnel itself sends") matches with our bits too.
            if mark is not None and not rule.get("flags", 0) & _INVERTED:
                full = 0xFFFFFFFF if mask is None else int(mask)
                found.append(RoutingRule(rule.get_attr("FRA_PRIORITY") or 0, int(mark), full))
    return found


def _holder(inode: int, likely: int) -> int:
    """The process that has a socket open; 0 when it can't be told.

    A netlink socket's port id is its process's id, unless that was taken, or in another pid
    namespace.
    """
    if not inode:
        return 0
    wanted = f"socket:[{inode}]"
    budget = CONFLICT_DESCRIPTORS_MAX
    processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    for pid in sorted(processes, key=lambda pid: pid != likely):
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
            for descriptor in descriptors:
                budget -= 1
                if budget < 0:
                    return 0
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor.path) == wanted:  # noqa: PTH115
                        return pid
    return 0


def _name(pid: int) -> str:
    return _text(Path(f"/proc/{pid}/comm")).strip() or "gone"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
