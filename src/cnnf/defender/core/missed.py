"""Connections that were asked about and that no packet loop has told of.

The table counts a flow's packets before it asks; the loops report what they answered. The
difference passed a queue that nobody answered, or was answered by a loop that was killed before it
could tell: it still makes an edge.
"""

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from cnnf.defender.core.limits import MISSED_FLOWS_MAX, REPORT_LATE_MS
from cnnf.defender.core.tallies import FlowKey


class _Standing(NamedTuple):
    """So many are missing, and no more or less since then."""

    number: int
    since_ms: int


class Missed:
    """Asked less answered, by flow, in the generation in force and in the one before.

    What the table has asked is read only when something is missing; till then there are answers
    alone. The source of the host's own flows is left out by the caller, since loops may only know
    their cgroup. No more is told than is known to be missing in all.
    """

    def __init__(self) -> None:
        self._balance: dict[FlowKey, int] = {}
        #: Of the generation before, until all of it has been read.
        self._ending: dict[FlowKey, int] = {}
        #: What was missing when its generation had been read: a report may still be on its way.
        self._left: dict[FlowKey, int] = {}
        self._standing: dict[FlowKey, _Standing] = {}
        self._told = 0

    @property
    def told(self) -> int:
        """How many were told of so far."""
        return self._told

    def asked(self, flow: FlowKey, packets: int, *, ending: bool = False) -> None:
        """The table has asked so often since the last time; `ending`: in the generation before."""
        _add(self._ending if ending else self._balance, flow, packets)

    def answered(self, flow: FlowKey, packets: int) -> None:
        """A loop has told of so many: of this generation or, where more was asked in the one
        before, of that."""
        left = self._left.get(flow, 0)
        taken = min(left, packets)
        if taken:
            _add(self._left, flow, -taken)
        if packets > taken:
            _add(self._balance, flow, taken - packets)

    def switch(self) -> None:
        """Another generation begins: what was asked in the one before will still be read."""
        for flow, count in self._balance.items():
            _add(self._ending, flow, count)
        self._balance = {}

    def settle(self, untold: int, now_ms: int, *, final: bool) -> list[tuple[FlowKey, int]]:
        """What is missing: as much as it was `REPORT_LATE_MS` ago. `final`: all of the generation
        before has been read.

        `untold` is how many are missing in all, from the beginning.
        """
        if final:
            # Where nothing is missing what was asked is not read, and answers alone mean nothing.
            if self._told < untold:
                for flow, count in self._ending.items():
                    _add(self._left, flow, max(count, -self._left.get(flow, 0)))
            else:
                self._left = {}
            self._ending = {}
        if self._told >= untold:
            return []
        before, self._standing = self._standing, {}
        due = []
        for flow, count in self._missing():
            standing = before.get(flow)
            if standing is None or standing.number != count:
                standing = _Standing(count, now_ms)
            if now_ms - standing.since_ms >= REPORT_LATE_MS:
                due.append((flow, count))
            self._standing[flow] = standing
        return self._tell(due, untold)

    def settle_all(self, untold: int) -> list[tuple[FlowKey, int]]:
        """The same when no more reports come."""
        return self._tell(list(self._missing()), untold)

    def _missing(self) -> Iterable[tuple[FlowKey, int]]:
        parts = self._left, self._ending, self._balance
        for flow in dict.fromkeys(chain(*parts)):
            count = sum(part.get(flow, 0) for part in parts)
            if count > 0:
                yield flow, count

    def _tell(self, due: list[tuple[FlowKey, int]], untold: int) -> list[tuple[FlowKey, int]]:
        found = []
        for flow, count in due:
            most = min(count, untold - self._told)
            if most <= 0:
                break
            self._told += most
            self.answered(flow, most)
            found.append((flow, most))
        return found


def _add(balance: dict[FlowKey, int], flow: FlowKey, packets: int) -> None:
    count = balance.get(flow, 0) + packets
    if not count:
        balance.pop(flow, None)
    elif flow in balance or len(balance) < MISSED_FLOWS_MAX:
        balance[flow] = count
