"""What a packet loop keeps between two reports: how many SYNs of which flow it has answered, how.

Owned by one loop; pure, so that it is tested without a kernel.
"""

from itertools import islice
from typing import NamedTuple

from cnnf.defender.core.limits import LOOP_FLOWS_MAX
from cnnf.defender.core.observations import Seen


class Key(NamedTuple):
    """What makes two SYNs the same flow here, and how they were answered.

    The source is empty and the inode 0 where the cgroup names a service. `rule` is one of the
    tables of this `version`.
    """

    version: int
    hook: int
    protocol: int
    source: bytes
    destination: bytes
    port: int
    cgroup: int
    inode: int
    effect: int
    rule: int


class Ledger:
    """Counts by flow; `fresh` is true while there is a flow that was never reported."""

    def __init__(self) -> None:
        self._flows: dict[Key, list[int]] = {}
        self.fresh = False
        self.unaccounted = 0

    def __len__(self) -> int:
        return len(self._flows)

    @property
    def full(self) -> bool:
        """At the bound: report before anything else is added."""
        return len(self._flows) >= LOOP_FLOWS_MAX

    def __contains__(self, key: Key) -> bool:
        """Is there something of this flow that has not been reported?"""
        return key in self._flows

    def add(self, key: Key, *, uid: int, source_port: int, inode: int, now_ms: int) -> None:
        """Count one SYN. Beyond the bound it is counted as unaccounted, never silently lost.

        `inode` is an example's, also where it does not tell flows apart. A SYN that was held comes
        with the time of its arrival, so later than others that came after it.
        """
        entry = self._flows.get(key)
        if entry is not None:
            entry[0] += 1
            entry[2] = max(entry[2], now_ms)
        elif self.full:
            self.unaccounted += 1
        else:
            self._flows[key] = [1, now_ms, now_ms, uid, source_port, inode]
            self.fresh = True

    def take(self, most: int) -> tuple[int, list[Seen]]:
        """Remove and return at most `most` of the oldest flows, all of one version, and that one.

        The version is -1 when there are none.
        """
        version = next(iter(self._flows)).version if self._flows else -1
        taken = []
        for key in list(islice(self._flows, most)):
            if key.version != version:
                break
            taken.append(seen_as(key, self._flows.pop(key)))
        if not self._flows:
            self.fresh = False
        return version, taken

    def put_back(self, version: int, flows: list[Seen]) -> None:
        """Take flows back that could not be reported just now."""
        for seen in flows:
            key = Key(
                version, seen.hook, seen.protocol, seen.source, seen.destination, seen.port,
                seen.cgroup, seen.inode if seen.source else 0, seen.effect, seen.rule,
            )  # fmt: skip
            entry = self._flows.get(key)
            if entry is None:
                self._flows[key] = [
                    seen.count, seen.first_seen, seen.last_seen,
                    seen.uid, seen.source_port, seen.inode,
                ]  # fmt: skip
            else:
                entry[0] += seen.count
                entry[1] = min(entry[1], seen.first_seen)
                entry[2] = max(entry[2], seen.last_seen)
        self.fresh = self.fresh or bool(flows)


def seen_as(key: Key, entry: list[int]) -> Seen:
    """A flow as it is reported; `entry` is count, first, last, uid, source port, inode."""
    count, first, last, uid, source_port, inode = entry
    return Seen(
        key.hook, key.protocol, key.source, key.destination, key.port, key.cgroup, inode,
        key.effect, key.rule, uid, source_port, count, first, last,
    )  # fmt: skip
