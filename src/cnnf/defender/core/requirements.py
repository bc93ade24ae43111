"""What the Defender needs of a machine, judged from what was read there.

`cnnf doctor` prints these; each says how it stands, and how to mend it where it does not.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from cnnf.defender.core.conflicts import Conflict

State = Literal["ok", "warn", "fail"]

#: nft's `socket cgroupv2` came with Linux 5.13; everything else we use is older.
KERNEL_OLDEST = (5, 13)

#: Capability numbers of capabilities(7), and what goes without each.
_CAPABILITIES = {
    12: ("CAP_NET_ADMIN", "rules and verdicts", True),
    21: ("CAP_SYS_ADMIN", "looking into containers' network namespaces", True),
    19: ("CAP_SYS_PTRACE", "finding the process behind a socket of another user", False),
}

#: Conflicting rules that are shown; a machine with one usually has many alike.
_SHOWN_MAX = 3


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `mend` is empty when there is nothing to do.

    "fail": the Defender cannot do its work; "warn": it works, but less of it or less surely.
    """

    code: str
    title: str
    state: State
    detail: str
    mend: str = ""


def check_privileges(status: str) -> Check:
    """From /proc/self/status."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.M)
    held = int(match[1], 16) if match else 0
    lacking = [item for number, item in _CAPABILITIES.items() if not held >> number & 1]
    if not lacking:
        detail = "all that is needed"
        return Check(code="privileges", title="Privileges", state="ok", detail=detail)
    return Check(
        code="privileges",
        title="Privileges",
        state="fail" if any(needed for _, _, needed in lacking) else "warn",
        detail="; ".join(f"without {name}: no {use}" for name, use, _ in lacking),
        mend="run it as root (sudo cnnf …), or give the service these capabilities",
    )


def check_kernel(release: str) -> Check:
    """From `uname -r`."""
    match = re.match(r"(\d+)\.(\d+)", release)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    good = version >= KERNEL_OLDEST
    oldest = ".".join(map(str, KERNEL_OLDEST))
    return Check(
        code="kernel",
        title="Kernel",
        state="ok" if good else "fail",
        detail=f"Linux {release}" + ("" if good else f"; {oldest} or later is needed"),
        mend="" if good else "boot a newer kernel",
    )


def check_front_ends(in_use: str, rules: Mapping[str, int]) -> Check:
    """`in_use` is what `iptables --version` says, `rules` the number of rules by front end."""
    filled = sorted(name for name, count in rules.items() if count)
    if len(filled) > 1:
        return Check(
            code="iptables",
            title="iptables",
            state="warn",
            detail=f"{in_use}; rules in more than one front end: {', '.join(filled)}",
            mend="works, but a packet meets both: move all rules to one front end",
        )
    return Check(code="iptables", title="iptables", state="ok", detail=in_use)


def check_queues(table: str, wanted: range, *, ours: bool) -> Check:
    """From /proc/net/netfilter/nfnetlink_queue; `ours` when a Defender of ours is running."""
    used = {int(line.split()[0]) for line in table.splitlines() if line.split()[:1]}
    shown = f"{wanted.start} to {wanted.stop - 1}" if len(wanted) > 1 else str(wanted.start)
    taken = sorted(used & set(wanted))
    if taken and not ours:
        return Check(
            code="queues",
            title="Queue numbers",
            state="fail",
            detail=f"{', '.join(map(str, taken))} of {shown} are in use by another program",
            mend="choose free ones: cnnf up --queue NUMBER",
        )
    detail = f"{shown}: in use by the running Defender" if taken else f"{shown} are free"
    return Check(code="queues", title="Queue numbers", state="ok", detail=detail)


def check_marks(mask: int, conflicts: Iterable[Conflict]) -> Check:
    """`conflicts` are those of `conflicts.py` that have to do with marks, or could not be read."""
    found = list(conflicts)
    if not found:
        detail = f"{mask:#x} are changed by nobody else"
        return Check(code="marks", title="Mark bits", state="ok", detail=detail)
    more = len(found) - _SHOWN_MAX
    shown = "; ".join(f"{one.where}: {one.what[:160]}" for one in found[:_SHOWN_MAX])
    # Other bits are no help where rules could not be read.
    how = ": cnnf up --mark-mask MASK" if found[0].kind.startswith("mark-") else ""
    return Check(
        code="marks",
        title="Mark bits",
        state="warn",
        detail=f"{mask:#x}: {shown}" + (f"; and {more} more" if more > 0 else ""),
        mend=found[0].advice + how,
    )


def check_bridges(supported: bool, bridges: Mapping[str, bool]) -> Check:
    """`bridges`: whether netfilter sees what passes within each bridge of this host."""
    if not supported:
        return Check(
            code="bridges",
            title="Bridge netfilter",
            state="warn",
            detail="not in the kernel: connections within one container network stay unobserved",
            mend="modprobe br_netfilter (and keep it: echo br_netfilter > "
            "/etc/modules-load.d/cnnf.conf)",
        )
    off = sorted(name for name, on in bridges.items() if not on)
    detail = f"available; {len(bridges) - len(off)} of {len(bridges)} bridges have it on"
    if off:
        detail += f" (off: {', '.join(off[:8])}; the Defender switches container bridges on)"
    return Check(code="bridges", title="Bridge netfilter", state="ok", detail=detail)
