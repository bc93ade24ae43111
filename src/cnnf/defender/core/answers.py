"""Which of the host's programs, or of containers that share an address, an answer was for.

The kernel counts answers by address, and a host's programs share its addresses. Mostly only one of
them talks to a place, and then it is certain; where several do, each gets answers for as many as it
has asked.
"""

from collections import OrderedDict
from typing import NamedTuple

from cnnf.defender.core.limits import ANSWERS_AWAITED_MAX


class Place(NamedTuple):
    """Where a flow goes: packed address, port, protocol number. `source` is the address that
    containers share; empty where the host itself asks."""

    destination: bytes
    port: int
    protocol: int
    source: bytes = b""


class Asker(NamedTuple):
    """Who connects there: the socket's cgroup, and its inode where the cgroup tells no service."""

    cgroup: int
    inode: int


class Awaited:
    """Attempts that may still be answered, by place and asker."""

    def __init__(self) -> None:
        self._places: OrderedDict[Place, dict[Asker, int]] = OrderedDict()
        self._count = 0

    def ask(self, place: Place, asker: Asker, attempts: int) -> None:
        """Somebody has connected so often."""
        askers = self._places.get(place)
        if askers is None:
            askers = self._places[place] = {}
        self._places.move_to_end(place)
        if asker not in askers:
            self._count += 1
        askers[asker] = askers.get(asker, 0) + attempts
        while self._count > ANSWERS_AWAITED_MAX:
            _, oldest = self._places.popitem(last=False)
            self._count -= len(oldest)

    def answer(self, place: Place, answers: int) -> tuple[list[tuple[Asker, int]], int]:
        """Who gets how many of the answers from there, and how many are left that nobody is known
        to have asked for: word of the attempt may come later than its answer was counted.

        Those who have asked more come first.
        """
        askers = self._places.get(place, {})
        shares = []
        for asker in sorted(askers, key=lambda one: (-askers[one], one)):
            share = min(askers[asker], answers)
            askers[asker] -= share
            answers -= share
            if share:
                shares.append((asker, share))
        return shares, answers

    def last_resort(self, place: Place) -> Asker | None:
        """Whose they are if no word comes: of who asks there most, or nobody known's."""
        askers = self._places.get(place, {})
        return min(askers, key=lambda one: (-askers[one], one), default=None)
