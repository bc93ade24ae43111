"""Packets that wait for their verdict, in one packet loop.

A SYN of an unknown program waits until the daemon has looked at who sends it, a SYN from or to a
container that discovery has not told of waits until it has; both for a bounded time. Pure: the loop
says what time it is (milliseconds of a clock that only goes forward).
"""

from typing import NamedTuple

from cnnf.defender.core.judge import Judge
from cnnf.defender.core.limits import HELD_PACKETS_MAX, HOLD_MS, HOLDS_PER_SECOND_MAX
from cnnf.defender.netlink.packets import Segment


class Pending(NamedTuple):
    """A packet that can be judged. `arrived_ms` is since the epoch."""

    id: int
    mark: int
    hook: int
    ends: Segment
    cgroup: int
    inode: int
    uid: int
    arrived_ms: int


class _Held:
    """`look` is the number that lets it go, with the time it goes without; -1: not waited for."""

    __slots__ = ("look", "look_until", "owner", "packet", "wait_until")

    def __init__(self, packet: Pending, look: int, look_until: int, wait_until: int) -> None:
        self.packet = packet
        self.look, self.look_until, self.wait_until = look, look_until, wait_until
        self.owner = -1


class Holds:
    """Everything that one loop holds. `number` is that of the last hold for a look."""

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self.number = 0
        self._lately = self._since_ms = 0
        self._burst: bool | None = None

    def __len__(self) -> int:
        return len(self._held)

    @property
    def full(self) -> bool:
        """At the bound: what comes now is not held."""
        return len(self._held) >= HELD_PACKETS_MAX

    @property
    def next_deadline(self) -> int | None:
        """When the next packet goes, whatever happens."""
        if not self._held:
            return None
        return min(max(held.look_until, held.wait_until) for held in self._held)

    def begin_burst(self) -> None:
        """Packets that are read from now on share one hold for a look."""
        self._burst = None

    def may_look(self, judge: Judge, now_ms: int) -> bool:
        """May a packet of this burst be held for a look? At most so often a second."""
        if self._burst is not None:
            return self._burst
        if now_ms - self._since_ms >= 1_000:
            self._since_ms, self._lately = now_ms, 0
        most = judge.holds_per_second if judge.hold_ms else HOLDS_PER_SECOND_MAX
        self._burst = self._lately < most
        if self._burst:
            self._lately += 1
            self.number += 1
        return self._burst

    def add(self, packet: Pending, judge: Judge, *, look: bool, wait: bool, now_ms: int) -> None:
        """Hold a packet for a look, for its container, or for both."""
        self._held.append(
            _Held(
                packet,
                self.number if look else -1,
                now_ms + (judge.hold_ms or HOLD_MS) if look else -1,
                now_ms + judge.wait_ms if wait else -1,
            )
        )

    def looked(self, number: int, owners: list[tuple[int, int]]) -> None:
        """The daemon has looked, up to this number, and has found these owners of inodes."""
        found = dict(owners)
        for held in self._held:
            if 0 <= held.look <= number:
                held.look = held.look_until = -1
                held.owner = found.get(held.packet.inode, -1)

    def endpoints_changed(self, judge: Judge) -> None:
        """Other tables or other endpoints: which containers are known now?"""
        for held in self._held:
            _, _, hook, ends, *_ = held.packet
            if held.wait_until >= 0 and not judge.awaits(hook, ends.source, ends.destination):
                held.wait_until = -1

    def forget_owners(self) -> None:
        """Tables whose numbers for candidates are others: what was found does not hold any more."""
        for held in self._held:
            held.owner = -1

    def release(self, now_ms: int) -> list[tuple[Pending, int]]:
        """Remove what has nothing to wait for any more: oldest first, with its owner or -1."""
        stay, go = [], []
        for held in self._held:
            if max(held.look_until, held.wait_until) <= now_ms:
                go.append((held.packet, held.owner))
            else:
                stay.append(held)
        self._held = stay
        return go
