"""What the kernel and the packet loops have counted, turned into conditions a person can act on.

The daemon calls `read` every few seconds. Something that has happened and is over is a condition
for a while, and then no more.
"""

import asyncio
import time

from cnnf.defender.core.conditions import Code, Conditions
from cnnf.defender.core.limits import CONDITION_LINGER_SECONDS
from cnnf.defender.core.outbox import Outbox
from cnnf.defender.core.plan import Plan
from cnnf.defender.core.unjudged import Unjudged
from cnnf.defender.kernel import sockets, table
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.observer import Observer

#: A figure's name: what happened is told anew when it grows.
_Figure = str


class Health:
    """Raises conditions; those of `happened` stand until they have not happened for a while."""

    def __init__(
        self, conditions: Conditions, loops: Loops, observer: Observer, outbox: Outbox
    ) -> None:
        self._conditions = conditions
        self._loops = loops
        self._observer = observer
        self._outbox = outbox
        self._unjudged = Unjudged()
        self._figures: dict[_Figure, int] = {}
        self._happened_at: dict[Code, float] = {}

    def happened(self, code: Code, message: str) -> None:
        """Something has happened that may be over."""
        self._happened_at[code] = time.monotonic()
        self._conditions.put(code, message, time.time_ns() // 1_000_000)

    async def read(self, plan: Plan) -> None:
        """Look at every counter. What can't be read is left out: the rules' own check tells."""
        try:
            counted = await asyncio.to_thread(table.counters)
        except (NetlinkError, OSError):
            counted = {}
        statistics = await asyncio.to_thread(sockets.queue_statistics)
        answered, undecodable, unaccounted, dropped = self._loops.totals
        ours = range(plan.queue_first, plan.queue_first + plan.queue_count)
        mine = [statistics[queue] for queue in ours if queue in statistics]
        if "asked" in counted:
            waiting = sum(one[0] for one in mine)
            unjudged = self._unjudged.feed(counted["asked"], answered + waiting)
            past = "were dropped" if plan.fail_closed else "passed without a verdict"
            self._grown(
                "packets-bypassed",
                unjudged,
                f"connections {past} since the start, or have to be tried again "
                "(while a packet loop was not there, or its queue was full)",
            )
        self._grown(
            "set-full",
            counted.get("unremembered", 0),
            "connections could not be remembered in the kernel, since its sets are full or were "
            "just changed; they are judged each time",
        )
        overflow = sum(sum(one[1:]) for one in mine)
        self._grown("queue-overflow", overflow, "packets did not fit into the queues")
        self._grown("packets-undecodable", undecodable, "packets could not be read")
        self._grown("packets-unaccounted", unaccounted, "connections were not counted")
        self._grown("packets-dropped", dropped, "packets could not be judged and were dropped")
        lost = self._observer.lost + self._observer.flows.lost
        self._grown("flows-lost", lost, "connections did not fit into memory")
        if self._outbox.gap is not None:
            gap = self._outbox.gap
            self.happened("batches-lost", f"batches {gap.first} to {gap.last} were given up")
        self._forget_old()

    def _grown(self, code: Code, figure: int, what: str) -> None:
        # A table that was put back counts from 0 again.
        if figure > self._figures.get(code, 0):
            self.happened(code, f"{figure} {what}")
        self._figures[code] = figure

    def _forget_old(self) -> None:
        now = time.monotonic()
        for code, at in list(self._happened_at.items()):
            if now - at > CONDITION_LINGER_SECONDS:
                del self._happened_at[code]
                self._conditions.clear(code)
