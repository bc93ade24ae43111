"""What other programs' rules do to our queue numbers and mark bits, read from the rules' text.

A rule that *reads* a mark is none of our business: our bits are there only between our first chain
and our last one. One that writes, copies or restores them, or routes by them, changes verdicts; one
that queues to our numbers gets them.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from cnnf.defender.core.limits import CONFLICT_CHARS_MAX, CONFLICTS_MAX

Kind = Literal[
    "queue-answered",
    "queue-used",
    "mark-written",
    "mark-restored",
    "mark-saved",
    "mark-routed",
    "unread",
    "more",
]

ADVICE: dict[Kind, str] = {
    "queue-answered": "choose other queue numbers, or stop that program",
    "queue-used": "choose other queue numbers, or change that rule's",
    "mark-written": "choose four mark bits that this rule leaves alone, or give it a mask",
    "mark-restored": "give the rule a mask without our bits, or choose bits outside of its mask",
    "mark-saved": "give the rule a mask without our bits, or choose bits outside of its mask",
    "mark-routed": "give the routing rule a mask without our bits, or choose others",
    "unread": "look at these rules by hand",
    "more": "mend these first, then look again",
}

_ALL = 0xFFFFFFFF
#: Expressions within expressions; nft itself does not nest deeper than a handful.
_DEPTH_MAX = 16


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in the way: where it stands, what it does, and what can be done about it."""

    kind: Kind
    where: str
    what: str
    advice: str


class Ours(NamedTuple):
    """What the Defender uses. Rules for `udp` alone matter only where UDP is looked at."""

    queues: range
    mark_mask: int
    udp: bool = False


class RoutingRule(NamedTuple):
    """A policy routing rule that looks at the mark (`ip rule`)."""

    priority: int
    mark: int
    mask: int


def conflict(kind: Kind, where: str, what: str) -> Conflict:
    """A conflict with its advice, its text cut to what a person reads."""
    return Conflict(kind=kind, where=where, what=what[:CONFLICT_CHARS_MAX], advice=ADVICE[kind])


def bounded(conflicts: Iterable[Conflict]) -> list[Conflict]:
    """Each once, and at most so many; the last one says how many more there are."""
    found = list(dict.fromkeys(conflicts))
    more = len(found) - CONFLICTS_MAX
    if more <= 0:
        return found
    return [*found[: CONFLICTS_MAX - 1], conflict("more", "rules", f"{more + 1} more conflicts")]


# --- iptables


_QUEUE = re.compile(
    r" -j NFQUEUE(?:.*? --queue-(?:num|balance) (?P<first>\d+)(?::(?P<last>\d+))?)?"
)
_WRITE = re.compile(
    r" -j (?:MARK .*?--set-xmark|MARK .*?--set-mark|TPROXY .*?--tproxy-mark) "
    r"(?P<value>0x[0-9a-f]+|\d+)(?:/(?P<mask>0x[0-9a-f]+|\d+))?"
)
_COPY = re.compile(r" -j CONNMARK --(?P<way>save|restore)-mark(?: --nfmask (?P<mask>0x[0-9a-f]+))?")
_PROTOCOL = re.compile(r"(?P<sign>! )?-p (?P<name>\S+)")


def in_iptables(saved: str, ours: Ours, *, program: str, own_comment: str) -> list[Conflict]:
    """Conflicts in what `iptables-save` printed; `program` is which front end's it was."""
    found: list[Conflict] = []
    table = ""
    own = (f"--comment {own_comment} ", f'--comment "{own_comment}" ')
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        if not line.startswith("-A ") or any(mark in line for mark in own):
            continue
        if not ours.udp and _is_not_tcp(line):
            continue
        kind = _iptables_kind(line, ours)
        if kind is not None:
            found.append(conflict(kind, f"{program}, table {table}", line))
    return found


def _is_not_tcp(line: str) -> bool:
    match = _PROTOCOL.search(line)
    if match is None:
        return False
    return (match["name"] in ("tcp", "all", "6")) == bool(match["sign"])


def _iptables_kind(line: str, ours: Ours) -> Kind | None:
    queue = _QUEUE.search(line)
    if queue is not None:
        first = int(queue["first"] or 0)
        return "queue-used" if _meets(first, int(queue["last"] or first), ours.queues) else None
    write = _WRITE.search(line)
    if write is not None:
        mask = int(write["mask"], 0) if write["mask"] else _ALL
        return "mark-written" if (int(write["value"], 0) | mask) & ours.mark_mask else None
    copy = _COPY.search(line)
    if copy is not None:
        mask = int(copy["mask"], 0) if copy["mask"] else _ALL
        if mask & ours.mark_mask:
            return "mark-saved" if copy["way"] == "save" else "mark-restored"
    return None


def _meets(first: int, last: int, queues: range) -> bool:
    return first < queues.stop and last >= queues.start


# --- nft


def in_nft(
    listing: str | bytes, ours: Ours, *, own_table: str, shown_before: frozenset[tuple[str, str]]
) -> list[Conflict]:
    """Conflicts in what `nft -j list ruleset` printed.

    `shown_before` are tables (family, name) that iptables made: they are taken from its own words,
    because nft does not tell what their rules do. Raises msgspec.DecodeError.
    """
    document = msgspec.json.decode(listing)
    entries = document.get("nftables") if isinstance(document, dict) else None
    found: list[Conflict] = []
    for entry in entries if isinstance(entries, list) else []:
        rule = entry.get("rule") if isinstance(entry, dict) else None
        if not isinstance(rule, dict):
            continue
        place = (str(rule.get("family")), str(rule.get("table")))
        if place == ("inet", own_table) or place in shown_before:
            continue
        expressions = [one for one in rule.get("expr") or () if isinstance(one, dict)]
        if not ours.udp and any(_names_other_protocol(one) for one in expressions):
            continue
        where = f"nft {place[0]} {place[1]} {rule.get('chain')}, handle {rule.get('handle')}"
        found += [one for part in expressions for one in _in_expression(part, ours, where)]
    return found


def _names_other_protocol(expression: dict[str, Any]) -> bool:
    match = expression.get("match")
    if not isinstance(match, dict) or match.get("op") != "==":
        return False
    left, right = match.get("left"), match.get("right")
    if not isinstance(left, dict):
        return False
    meta, payload = left.get("meta"), left.get("payload")
    if isinstance(meta, dict) and meta.get("key") == "l4proto":
        return isinstance(right, str) and right != "tcp"
    if not isinstance(payload, dict):
        return False
    if payload.get("field") in ("protocol", "nexthdr"):
        return isinstance(right, str) and right != "tcp"
    return payload.get("protocol") in ("udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "esp")


def _in_expression(expression: dict[str, Any], ours: Ours, where: str) -> Iterable[Conflict]:
    if "queue" in expression:
        first, last = _queue_numbers(expression["queue"])
        if _meets(first, last, ours.queues):
            yield conflict("queue-used", where, f"queues to {first}-{last}")
    mangle = expression.get("mangle")
    if not isinstance(mangle, dict):
        return
    value, key = mangle.get("value"), mangle.get("key")
    bits = _bits(value, _DEPTH_MAX)
    if key == _PACKET_MARK:
        changed = ~bits.kept & ours.mark_mask
        if changed:
            kind: Kind = "mark-restored" if _mentions_ct_mark(value, _DEPTH_MAX) else "mark-written"
            verb = "restores" if kind == "mark-restored" else "sets"
            yield conflict(kind, where, f"{verb} bits {changed:#x} of the packet's mark")
    elif key == _CONNECTION_MARK and bits.kept & ours.mark_mask:
        saved = bits.kept & ours.mark_mask
        yield conflict("mark-saved", where, f"saves bits {saved:#x} of the packet's mark")


def _queue_numbers(queue: object) -> tuple[int, int]:
    number = queue.get("num", 0) if isinstance(queue, dict) else 0
    if isinstance(number, int):
        return number, number
    ends = number.get("range") if isinstance(number, dict) else None
    if isinstance(ends, list) and len(ends) == 2 and all(isinstance(one, int) for one in ends):
        return ends[0], ends[1]
    # By a map or a hash: any of them.
    return 0, 0xFFFF


_PACKET_MARK: dict[str, Any] = {"meta": {"key": "mark"}}
_CONNECTION_MARK: dict[str, Any] = {"ct": {"key": "mark"}}


class _Bits(NamedTuple):
    """Of each bit of a value: is it the packet mark's own, surely 0, surely 1?"""

    kept: int
    zeros: int
    ones: int


_UNKNOWN = _Bits(0, 0, 0)


def _bits(value: object, depth: int) -> _Bits:
    if isinstance(value, int) and not isinstance(value, bool):
        return _Bits(0, ~value & _ALL, value & _ALL)
    if value == _PACKET_MARK:
        return _Bits(_ALL, 0, 0)
    if not isinstance(value, dict) or len(value) != 1 or depth == 0:
        return _UNKNOWN
    ((operation, operands),) = value.items()
    if operation not in ("&", "|", "^") or not isinstance(operands, list) or not operands:
        return _UNKNOWN
    parts = [_bits(one, depth - 1) for one in operands]
    result = parts[0]
    for part in parts[1:]:
        result = _combined(operation, result, part)
    return result


def _combined(operation: str, a: _Bits, b: _Bits) -> _Bits:
    if operation == "&":
        return _Bits(a.kept & b.ones | b.kept & a.ones, a.zeros | b.zeros, a.ones & b.ones)
    kept = a.kept & b.zeros | b.kept & a.zeros
    if operation == "|":
        return _Bits(kept, a.zeros & b.zeros, a.ones | b.ones)
    return _Bits(kept, a.zeros & b.zeros | a.ones & b.ones, a.ones & b.zeros | a.zeros & b.ones)


def _mentions_ct_mark(value: object, depth: int) -> bool:
    if value == _CONNECTION_MARK:
        return True
    parts: Sequence[object] = ()
    if depth > 0 and isinstance(value, dict):
        parts = list(value.values())
    elif depth > 0 and isinstance(value, list):
        parts = value
    return any(_mentions_ct_mark(one, depth - 1) for one in parts)


# --- routing and queues


def in_routing(rules: Iterable[RoutingRule], ours: Ours) -> list[Conflict]:
    """Routing rules that our bits would keep from matching: packets are routed after a verdict."""
    return [
        conflict(
            "mark-routed",
            f"ip rule, priority {rule.priority}",
            f"fwmark {rule.mark:#x}/{rule.mask:#x}",
        )
        for rule in rules
        if rule.mask & ours.mark_mask
    ]


def answered_queues(table: str, ours: Ours) -> dict[int, int]:
    """Which of our queues somebody answers, and by which port id (`nfnetlink_queue` in /proc)."""
    found: dict[int, int] = {}
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].isdigit() and words[1].isdigit():
            number, port_id = int(words[0]), int(words[1])
            if number in ours.queues and port_id:
                found[number] = port_id
    return found


def netlink_inode(table: str, port_id: int, protocol: int) -> int:
    """The inode of the netlink socket with this port id (`netlink` in /proc/net); 0 for none."""
    for line in table.splitlines():
        words = line.split()
        if words[1:3] == [str(protocol), str(port_id)] and words[-1].isdigit():
            return int(words[-1])
    return 0
