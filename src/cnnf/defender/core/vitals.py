"""From figures that only grow to conditions: what has happened, until it has not for a while.

Called by `health.py`, which reads the figures. Pure: it is told the time.
"""

from typing import NamedTuple

from cnnf.defender.core.conditions import Code, Conditions
from cnnf.defender.core.limits import CONDITION_LINGER_SECONDS
from cnnf.defender.core.unjudged import Unjudged
from cnnf.protocol.messages import Gap


class Moment(NamedTuple):
    """Seconds of a clock that only goes forward, and milliseconds since the epoch."""

    at: float
    epoch_ms: int


class Figures(NamedTuple):
    """Everything counted at one moment, since the start of who counts it.

    The table's own are None when they can't be read. `asked` has to be read before `answered` and
    `waiting` (see `Unjudged`).
    """

    asked: int | None = None
    unremembered: int | None = None
    answered: int = 0
    waiting: int = 0
    overflowed: int = 0
    undecodable: int = 0
    unaccounted: int = 0
    dropped: int = 0
    flows_lost: int = 0
    gap: Gap | None = None


class Vitals:
    """Raises conditions and clears them when what they tell of is over."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._unjudged = Unjudged()
        #: Packets that were asked about and that nobody has answered, as far as is certain.
        self.unjudged = 0
        self._figures: dict[Code, int] = {}
        self._happened_at: dict[Code, float] = {}

    def happened(self, code: Code, message: str, now: Moment) -> None:
        """Something has happened that may be over."""
        self._happened_at[code] = now.at
        self._conditions.put(code, message, now.epoch_ms)

    def feed(self, figures: Figures, *, fail_closed: bool, now: Moment) -> None:
        """What has grown since the last time has happened."""
        if figures.asked is not None:
            self.unjudged = self._unjudged.feed(figures.asked, figures.answered + figures.waiting)
            past = "were dropped" if fail_closed else "passed without a verdict"
            what = (
                f"connections {past} since the start, or have to be tried again "
                "(while a packet loop was not there, or its queue was full)"
            )
            self._grown("packets-bypassed", self.unjudged, what, now)
        if figures.unremembered is not None:
            what = (
                "connections could not be remembered in the kernel, since its sets are full or "
                "were just changed; they are judged each time"
            )
            self._grown("set-full", figures.unremembered, what, now)
        for code, figure, what in _WORDS:
            self._grown(code, getattr(figures, figure), what, now)
        if figures.gap is not None:
            gap = figures.gap
            self.happened("batches-lost", f"batches {gap.first} to {gap.last} were given up", now)
        for code, at in list(self._happened_at.items()):
            if now.at - at > CONDITION_LINGER_SECONDS:
                del self._happened_at[code]
                self._conditions.clear(code)

    def _grown(self, code: Code, figure: int, what: str, now: Moment) -> None:
        # A table that was put back counts from 0 again.
        if figure > self._figures.get(code, 0):
            self.happened(code, f"{figure} {what}", now)
        self._figures[code] = figure


_WORDS: tuple[tuple[Code, str, str], ...] = (
    ("queue-overflow", "overflowed", "packets did not fit into the queues"),
    ("packets-undecodable", "undecodable", "packets could not be read"),
    ("packets-unaccounted", "unaccounted", "connections were not counted"),
    ("packets-dropped", "dropped", "packets could not be judged and were dropped"),
    ("flows-lost", "flows_lost", "connections did not fit into memory"),
)
