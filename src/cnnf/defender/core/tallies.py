"""What the kernel counted by itself: from the counters of sets to what is new on each flow."""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from cnnf.defender.core.ruleset import FlowSet
from cnnf.defender.netlink.errors import Unexpected
from cnnf.defender.netlink.nftset import Element


class FlowKey(NamedTuple):
    """A flow as the kernel tells it: `source` (packed address) or `cgroup` says where from."""

    source: bytes
    cgroup: int
    destination: bytes
    port: int
    protocol: int


class Tally(NamedTuple):
    """What happened on one flow since the last time: SYNs that the kernel let through or refused
    by itself, SYN-ACKs and resets that came back, SYNs that it asked about."""

    flow: FlowKey
    passed: int
    refused: int
    answered: int
    reset: int
    asked: int


#: The cgroup's inode as the kernel keeps it: in the machine's own byte order.
_CGROUP = struct.Struct("=Q")


def decode_flow(one: FlowSet, key: bytes) -> FlowKey:
    """An element's key. Raises Unexpected when it is not of that set's form.

    By address: source . protocol . port . destination; by cgroup: cgroup . destination . protocol .
    port. Every part is padded to four bytes.
    """
    length = 4 if one.family == 4 else 16
    if len(key) != (16 + length if one.level else 8 + 2 * length):
        raise Unexpected(f"nft set {one.name}: a key of {len(key)} bytes")
    if one.level:
        at = 8 + length
        source, cgroup, destination = b"", _CGROUP.unpack_from(key)[0], key[8:at]
    else:
        at = length
        source, cgroup, destination = key[:length], 0, key[at + 8 :]
    port = int.from_bytes(key[at + 4 : at + 6], "big")
    return FlowKey(source, cgroup, destination, port, key[at])


class Meter:
    """Turns counters, which only grow, into what is new, for two generations side by side."""

    def __init__(self) -> None:
        self._last: tuple[_Figures, _Figures] = ({}, {})

    def measure(self, generation: int, readings: Iterable[tuple[FlowSet, Element]]) -> list[Tally]:
        """What has been added to a generation's flows. Raises Unexpected."""
        now: dict[FlowKey, dict[str, int]] = {}
        for one, element in readings:
            roles = now.setdefault(decode_flow(one, element.key), {})
            # Without a counter, being there counts: the first of its kind.
            roles[one.role] = 1 if one.role in _FIRSTS else element.packets
        last = self._last[generation & 1]
        tallies = []
        for flow, roles in now.items():
            before = last.get(flow, _NOTHING)
            # `asked` is not always read.
            after = (
                max(before[0], roles.get("passed", 0)),
                max(before[1], roles.get("refused", 0)),
                max(before[2], roles.get("answered_first", 0) + roles.get("answered", 0)),
                max(before[3], roles.get("reset", 0)),
                max(before[4], roles.get("asked_first", 0) + roles.get("asked", 0)),
            )
            if after != before:
                last[flow] = after
                new = (one - other for one, other in zip(after, before, strict=True))
                tallies.append(Tally(flow, *new))
        return tallies

    def forget(self, generation: int) -> None:
        """The generation's sets have been emptied."""
        self._last[generation & 1].clear()


_FIRSTS = frozenset({"answered_first", "asked_first"})
_Figures = dict[FlowKey, tuple[int, int, int, int, int]]
_NOTHING = (0, 0, 0, 0, 0)
