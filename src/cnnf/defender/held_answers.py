"""Answers of DNS that wait until the packet loops know what they say; for `naming.py`.

One round at a time: the loops are told, they confirm it, and what waited for that goes. What comes
meanwhile goes together in the next round, so that a flood of answers gives the loops no more to
read at once than they can, and none of them is taken for stuck.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from cnnf.defender.core.limits import ANSWER_HOLD_MS
from cnnf.defender.core.memberships import Membership


class HeldAnswers:
    """`tell` tells the loops, `heard` waits so many seconds until they all know, `release` lets
    packets go and says how many of them still waited."""

    def __init__(
        self,
        tell: Callable[[list[Membership]], None],
        heard: Callable[[float], Awaitable[bool]],
        release: Callable[[Iterable[int]], int],
    ) -> None:
        self._tell, self._heard, self._release = tell, heard, release
        self._untold: list[Membership] = []
        self._waiting: list[int] = []
        self._round: asyncio.Task[None] | None = None
        #: Answers that went on before the loops knew them.
        self.hasty = 0

    def tell(self, memberships: Iterable[Membership]) -> None:
        """Tell the loops at once, and before it all that came to be before it."""
        untold, self._untold = [*self._untold, *memberships], []
        if untold:
            self._tell(untold)

    def hold(self, ids: Iterable[int], memberships: Iterable[Membership]) -> None:
        """Let these packets go when the loops know this, and all that others wait for already: the
        same answer may come twice."""
        self._untold += memberships
        if not self._untold and self._round is None:
            self._release(ids)
            return
        self._waiting += ids
        if self._round is None:
            self._round = asyncio.create_task(self._rounds())

    def stop(self) -> None:
        """Wait for the loops no more."""
        if self._round is not None:
            self._round.cancel()

    async def _rounds(self) -> None:
        try:
            while self._waiting:
                await self._one_round()
        finally:
            self._round = None

    async def _one_round(self) -> None:
        ids, self._waiting = self._waiting, []
        heard = False
        try:
            self.tell(())
            heard = await self._heard(ANSWER_HOLD_MS / 1_000)
        finally:
            gone = self._release(ids)
            self.hasty += 0 if heard else gone
