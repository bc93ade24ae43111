"""What a packet loop keeps between two reports: how many SYNs of which flow it has answered.

Owned by one loop; pure, so that it is tested without a kernel.
"""

from cnnf.defender.core.limits import LOOP_FLOWS_MAX
from cnnf.defender.core.observations import Seen

#: hook, source, destination, port, cgroup, inode: what makes two SYNs the same flow here. The
#: source is empty and the inode 0 where the cgroup names a service.
Key = tuple[int, bytes, bytes, int, int, int]


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

    def add(self, key: Key, *, uid: int, source_port: int, inode: int, now_ms: int) -> None:
        """Count one SYN. Beyond the bound it is counted as unaccounted, never silently lost.

        `inode` is an example's, also where it does not tell flows apart.
        """
        entry = self._flows.get(key)
        if entry is not None:
            entry[0] += 1
            entry[2] = now_ms
        elif self.full:
            self.unaccounted += 1
        else:
            self._flows[key] = [1, now_ms, now_ms, uid, source_port, inode]
            self.fresh = True

    def take(self, most: int) -> list[Seen]:
        """Remove and return at most `most` flows, oldest first."""
        taken = []
        for key in list(self._flows)[:most]:
            count, first, last, uid, source_port, inode = self._flows.pop(key)
            hook, source, destination, port, cgroup, _ = key
            taken.append(
                Seen(
                    hook, source, destination, port, cgroup, inode,
                    uid, source_port, count, first, last,
                )
            )  # fmt: skip
        if not self._flows:
            self.fresh = False
        return taken

    def put_back(self, flows: list[Seen]) -> None:
        """Take flows back that could not be reported just now."""
        for seen in flows:
            key = (
                seen.hook, seen.source, seen.destination, seen.port, seen.cgroup,
                seen.inode if seen.source and seen.cgroup else 0,
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
