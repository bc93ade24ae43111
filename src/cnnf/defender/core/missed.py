"""Connections that were asked about and that no packet loop has told of.

The table counts a flow's packets before it asks; the loops report what they answered. The
difference passed a queue that nobody answered, or was answered by a loop that was killed before it
could tell: it still makes an edge.
"""

from cnnf.defender.core.limits import MISSED_FLOWS_MAX
from cnnf.defender.core.tallies import FlowKey


class Missed:
    """Asked less answered, by flow, within a generation.

    What the table has asked is read only when something is missing; till then there are answers
    alone. The source of the host's own flows is left out by the caller, since loops may only know
    their cgroup. At the border of two generations a packet may be asked in one and answered in the
    other: so no more is told than is known to be missing in all.
    """

    def __init__(self) -> None:
        self._balance: dict[FlowKey, int] = {}
        self._before: dict[FlowKey, int] = {}
        self._told = 0

    @property
    def told(self) -> int:
        """How many were told of so far."""
        return self._told

    def asked(self, flow: FlowKey, packets: int) -> None:
        """The table has asked so often since the last time."""
        self._add(flow, packets)

    def answered(self, flow: FlowKey, packets: int) -> None:
        """A loop has told of so many."""
        self._add(flow, -packets)

    def settle(self, untold: int, *, final: bool) -> list[tuple[FlowKey, int]]:
        """What is missing: at a generation's end all of it, else what was missing as much at the
        last call, seconds ago, since a loop reports within a quarter of one.

        `untold` is how many are missing in all, from the beginning.
        """
        missing = {flow: count for flow, count in self._balance.items() if count > 0}
        found = []
        for flow, count in missing.items():
            if final or self._before.get(flow) == count:
                most = min(count, untold - self._told)
                if most <= 0:
                    break
                self._told += most
                self._add(flow, -most)
                found.append((flow, most))
        self._before = {flow: count for flow, count in self._balance.items() if count > 0}
        if final:
            self._balance, self._before = {}, {}
        return found

    def _add(self, flow: FlowKey, packets: int) -> None:
        balance = self._balance.get(flow, 0) + packets
        if not balance:
            self._balance.pop(flow, None)
        elif flow in self._balance or len(self._balance) < MISSED_FLOWS_MAX:
            self._balance[flow] = balance
