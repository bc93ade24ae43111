"""Keeps the kernel's plan: what is in force, generation after generation, and that it stays so.

Every change goes through one lock, so that a switch is never overtaken by another. The rules come
before the loops on the way in, and go before them on the way out. Reading what was counted has a
lock of its own: with 100,000 flows it takes seconds, and a change does not wait for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from cnnf.defender.core.plan import Plan
from cnnf.defender.core.ruleset import rules_by_chain
from cnnf.defender.core.tallies import Meter, Tally
from cnnf.defender.kernel import ruleset_watch, table
from cnnf.defender.kernel.errors import ProgrammingFailed
from cnnf.defender.netlink.errors import NetlinkError

_log = structlog.get_logger(__name__)


class CountsUnreadError(Exception):
    """A generation's counts could not be read; they stay in the kernel until the next time."""


class Offload:
    """The plan in force. `confirm` makes every packet loop use a generation."""

    def __init__(self, plan: Plan, confirm: Callable[[int], Awaitable[bool]]) -> None:
        self._plan = plan
        self._confirm = confirm
        self._lock = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._meter = Meter()
        self._unread = False
        self._installed = False
        #: The rules as we put them there; None when they could not be listed then.
        self._standing: dict[str, tuple[int, ...]] | None = None
        #: When the generation in force was put there, ms: the one before counts nothing after it.
        self.in_force_ms = 0
        #: Processor time that the last reading of the generation in force took; not by the clock:
        #: on a busy machine waiting would make its reader wait longer still.
        self.reading_seconds = 0.0

    @property
    def plan(self) -> Plan:
        """What the kernel has been told."""
        return self._plan

    async def install(self) -> None:
        """Put the table there. Raises KernelError, NetlinkError, OSError."""
        async with self._lock:
            await asyncio.to_thread(table.install, self._plan)
            await asyncio.to_thread(self._note_rules)
            self._installed = True

    async def change(self, **changes: Any) -> bool:
        """Switch to a plan with these fields changed, with a new generation.

        True when every loop has confirmed: only then is it certain that nothing is answered any
        more by what held before. What the generation before has counted is still to be collected.
        Raises KernelError and the like, and then nothing has changed.
        """
        async with self._lock:
            if self._unread:
                raise CountsUnreadError(f"generation {self._plan.generation - 1}")
            before = self._plan
            plan = msgspec.structs.replace(
                before, **{**changes, "generation": before.generation + 1}
            )
            await self._put_in_force(plan)
            self.in_force_ms = time.time_ns() // 1_000_000
            self._plan, self.reading_seconds = plan, 0.0
            await asyncio.to_thread(self._note_rules)
            self._unread = True
            return await self._confirm(plan.generation)

    async def collect(self, *, asked: bool) -> list[Tally] | None:
        """What the generation before has counted, whose sets are then emptied; None when it was
        collected already.

        Raises CountsUnreadError, and then it can be tried again.
        """
        # A reading of the generation in force is not waited for.
        if not self._is_unread():
            return None
        async with self._reading:
            if not self._is_unread():
                return None
            generation = self._plan.generation - 1
            counted = await self._measure(generation, asked=asked)
            await asyncio.to_thread(table.forget, self._plan, generation)
            self._meter.forget(generation)
            self._unread = False
            return counted

    def _is_unread(self) -> bool:
        """Is the generation before still to be collected?"""
        return self._unread

    async def count(self, *, asked: bool) -> list[Tally] | None:
        """What the generation in force has counted since the last time; None when another was put
        in force before it could be read: then `collect` has it all.

        Raises as `collect`.
        """
        generation = self._plan.generation
        async with self._reading:
            if generation != self._plan.generation:
                return None
            return await self._measure(generation, asked=asked)

    async def restore(self) -> bool:
        """Put back what somebody has taken out or added; True when that was so. Raises as above."""
        async with self._lock, self._reading:
            if not self._installed or await asyncio.to_thread(self._is_whole):
                return False
            self._meter, self._unread = Meter(), False
            await asyncio.to_thread(table.install, self._plan)
            await asyncio.to_thread(self._note_rules)
            return True

    def _note_rules(self) -> None:
        try:
            self._standing = ruleset_watch.rules_by_chain()
        except (NetlinkError, OSError) as error:
            self._standing = None
            _log.warning("our rules could not be listed", error=str(error))

    def _is_whole(self) -> bool:
        found = ruleset_watch.rules_by_chain()
        wanted = rules_by_chain(self._plan)
        # Chains of an earlier plan stay behind, empty.
        counts_hold = all(len(found.get(name, ())) == count for name, count in wanted.items())
        return counts_hold and found.keys() <= wanted.keys() and self._standing in (None, found)

    async def _put_in_force(self, plan: Plan) -> None:
        try:
            await asyncio.to_thread(table.switch, plan, self._plan)
        except ProgrammingFailed:
            if await asyncio.to_thread(table.present):
                raise
            # Somebody removed the table (`nft flush ruleset`): what it counted is gone with it.
            _log.warning("the nft table was removed by somebody; installing it again")
            self._meter = Meter()
            await asyncio.to_thread(table.install, plan)

    async def _measure(self, generation: int, *, asked: bool) -> list[Tally]:
        try:
            # Also what is calculated: with 100,000 flows that takes a while.
            return await asyncio.to_thread(self._read, generation, asked)
        except (NetlinkError, OSError) as error:
            raise CountsUnreadError(f"generation {generation}: {error}") from error

    def _read(self, generation: int, asked: bool) -> list[Tally]:
        started = time.thread_time()
        try:
            found = table.readings(self._plan, generation, asked=asked)
            return self._meter.measure(generation, found)
        finally:
            if generation == self._plan.generation:
                self.reading_seconds = time.thread_time() - started
