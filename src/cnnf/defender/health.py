"""What the kernel and the packet loops have counted, turned into conditions a person can act on.

The daemon calls `read` every few seconds; `core/vitals.py` says what of it is worth telling.
"""

import asyncio
import time

from cnnf.defender.core.conditions import Code, Conditions
from cnnf.defender.core.outbox import Outbox
from cnnf.defender.core.plan import Plan
from cnnf.defender.core.vitals import Figures, Moment, Vitals
from cnnf.defender.kernel import sockets, table
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.observer import Observer


class Health:
    """Reads every counter there is."""

    def __init__(
        self, conditions: Conditions, loops: Loops, observer: Observer, outbox: Outbox
    ) -> None:
        self._vitals = Vitals(conditions)
        self._loops = loops
        self._observer = observer
        self._outbox = outbox

    @property
    def untold(self) -> int:
        """How many packets were asked about that no loop's flows tell of, as of the last look."""
        _, undecodable, unaccounted, _, delayed = self._loops.totals
        return self._vitals.unjudged + undecodable + unaccounted + delayed

    def happened(self, code: Code, message: str) -> None:
        """Something has happened that may be over."""
        self._vitals.happened(code, message, _now())

    async def read(self, plan: Plan) -> None:
        """Look at every counter. What can't be read is left out: the rules' own check tells."""
        try:
            counted = await asyncio.to_thread(table.counters)
        except (NetlinkError, OSError):
            counted = {}
        statistics = await asyncio.to_thread(sockets.queue_statistics)
        answered, undecodable, unaccounted, dropped, _ = self._loops.totals
        ours = range(plan.queue_first, plan.queue_first + plan.queue_count)
        mine = [statistics[queue] for queue in ours if queue in statistics]
        answers = [statistics[plan.answer_queue]] if plan.answer_queue in statistics else []
        figures = Figures(
            asked=counted.get("asked"),
            unremembered=counted.get("unremembered"),
            answered=answered,
            waiting=sum(one[0] for one in mine),
            overflowed=sum(sum(one[1:]) for one in (*mine, *answers)),
            undecodable=undecodable,
            unaccounted=unaccounted,
            dropped=dropped,
            flows_lost=self._observer.lost + self._observer.flows.lost,
            gap=self._outbox.gap,
        )
        self._vitals.feed(figures, fail_closed=plan.fail_closed, now=_now())


def _now() -> Moment:
    return Moment(time.monotonic(), time.time_ns() // 1_000_000)
