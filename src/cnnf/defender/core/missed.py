"""Connections that were asked about and that no packet loop has told of.

The table counts a flow's packets before it asks; the loops report what they answered. The
difference passed a queue that nobody answered, or was answered by a loop that was killed before it
could tell: it still makes an edge.
"""

from collections import OrderedDict

from cnnf.defender.core.limits import MISSED_FLOWS_MAX
from cnnf.defender.core.tallies import FlowKey


class Missed:
    """Asked less answered, by flow. The source of the host's own flows is left out by the caller,
    since loops may only know their cgroup."""

    def __init__(self) -> None:
        self._balance: OrderedDict[FlowKey, int] = OrderedDict()
        self._before: dict[FlowKey, int] = {}

    def asked(self, flow: FlowKey, packets: int) -> None:
        """The table has asked so often since the last time."""
        self._add(flow, packets)

    def answered(self, flow: FlowKey, packets: int) -> None:
        """A loop has told of so many."""
        self._add(flow, -packets)

    def settle(self) -> list[tuple[FlowKey, int]]:
        """What is missing and was missing as much at the last call, seconds ago: a loop reports
        within a quarter of one. It is told once."""
        missing = {flow: count for flow, count in self._balance.items() if count > 0}
        found = [
            (flow, count) for flow, count in missing.items() if self._before.get(flow) == count
        ]
        for flow, count in found:
            self._add(flow, -count)
            del missing[flow]
        self._before = missing
        return found

    def _add(self, flow: FlowKey, packets: int) -> None:
        balance = self._balance.get(flow, 0) + packets
        if balance:
            self._balance[flow] = balance
            self._balance.move_to_end(flow)
            if len(self._balance) > MISSED_FLOWS_MAX:
                self._balance.popitem(last=False)
        else:
            self._balance.pop(flow, None)
