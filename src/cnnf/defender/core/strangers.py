"""Ends elsewhere that nobody has told of yet, in one packet loop.

The daemon is told of each, once a second while it is met. Where a rule could prevent it, what comes
in its first moments is dropped: TCP sends again, and by then its name is known. Pure: the loop says
what time it is (milliseconds of a clock that only goes forward).
"""

from collections.abc import Iterable

from cnnf.defender.core.judge import Judge
from cnnf.defender.core.limits import STRANGER_FORGET_MS, STRANGER_TELL_MS, STRANGERS_MAX
from cnnf.defender.core.tables import PeerList, Place
from cnnf.defender.netlink.packets import Segment

#: Looking for those to forget takes a walk over all of them, so at most so often.
_PRUNE_SPACING_MS = 1_000


class Strangers:
    """Those of one loop. `sought` are to be told to the daemon, which takes them out."""

    def __init__(self) -> None:
        #: When each was met first, and when the daemon was told last.
        self._met: dict[Place, list[int]] = {}
        self._pruned_ms = -_PRUNE_SPACING_MS
        self.sought: list[Place] = []

    def __len__(self) -> int:
        return len(self._met)

    def delay(self, judge: Judge, hook: int, ends: Segment, now_ms: int) -> bool:
        """A packet is met some of whose ends are not known; True while one may be waited for."""
        places = judge.strangers(hook, ends.source, ends.destination, ends.port, ends.protocol)
        delays = [self.meet(place, now_ms, judge.stranger_ms) for place in places]
        return any(delays)

    def meet(self, place: Place, now_ms: int, delay_ms: int) -> bool:
        """One is met; True while it is so new that its name may be waited for.

        Never where there is no room to remember when it came.
        """
        times = self._met.get(place)
        if times is None:
            if not self._has_room(now_ms):
                return False
            self._met[place] = [now_ms, now_ms]
            self.sought.append(place)
            return delay_ms > 0
        if now_ms - times[1] >= STRANGER_TELL_MS:
            times[1] = now_ms
            if len(self.sought) < STRANGERS_MAX:
                self.sought.append(place)
        return now_ms - times[0] < delay_ms

    def endpoints_changed(self, peers: PeerList, gone: list[Place]) -> None:
        """These are known now, those are not any more: another time they are new again."""
        self._forget((address, port, protocol) for address, port, protocol, *_ in peers)
        self._forget(gone)

    def tables_changed(self, judge: Judge) -> None:
        """Forget all that are known by other tables."""
        self._forget([place for place in self._met if judge.knows(place)])

    def _forget(self, places: Iterable[Place]) -> None:
        for place in places:
            self._met.pop(place, None)

    def _has_room(self, now_ms: int) -> bool:
        if len(self._met) < STRANGERS_MAX:
            return True
        if now_ms - self._pruned_ms >= _PRUNE_SPACING_MS:
            self._pruned_ms = now_ms
            self._forget(
                [place for place, times in self._met.items()
                 if now_ms - times[1] >= STRANGER_FORGET_MS]
            )  # fmt: skip
        return len(self._met) < STRANGERS_MAX
