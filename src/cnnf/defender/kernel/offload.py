"""Keeps the kernel's plan: what is in force, generation after generation, and that it stays so.

Every change goes through one lock, so that a switch is never overtaken by another. The rules come
before the loops on the way in, and go before them on the way out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from cnnf.defender.core.plan import Plan, Scopes
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
        self._meter = Meter()
        self._unread = False
        self._installed = False
        #: Processor time that the last reading took.
        self.reading_seconds = 0.0

    @property
    def plan(self) -> Plan:
        """What the kernel has been told."""
        return self._plan

    async def install(self) -> None:
        """Put the table there. Raises KernelError, NetlinkError, OSError."""
        async with self._lock:
            await asyncio.to_thread(table.install, self._plan)
            self._installed = True

    async def change(self, **changes: Any) -> tuple[list[Tally], bool]:
        """Switch to a plan with these fields changed, with a new generation.

        Returns what was counted, and whether every loop has confirmed: only then is it certain
        that nothing is answered any more by what held before. Raises KernelError and the like, and
        then nothing has changed.
        """
        async with self._lock:
            before = self._plan
            plan = msgspec.structs.replace(
                before, **{**changes, "generation": before.generation + 1}
            )
            counted: list[Tally] = []
            if self._unread:
                # The other parity's sets still hold a generation that was never read: take it
                # first, or its counts would be added to the new one's and then emptied.
                counted = await self._collect(plan.generation)
            await self._put_in_force(plan)
            self._plan = plan
            if not await self._confirm(plan.generation):
                # A loop may still answer for the generation before: its sets are left alone until
                # the next switch, when it has answered or was started again.
                _log.warning("packet loops have not confirmed", generation=plan.generation)
                self._unread = True
                return counted, False
            return counted + await self._collect(before.generation), True

    async def count(self) -> list[Tally]:
        """What the generation in force has counted since the last time. Raises as `change`."""
        async with self._lock:
            return await self._measure(self._plan.generation)

    async def quiesce(self) -> list[Tally]:
        """Ask nothing any more, so that no packet waits when the table goes."""
        counted, _ = await self.change(scopes=Scopes(), prevents=False)
        return counted

    async def restore(self) -> bool:
        """Put back what somebody has taken out or added; True when that was so. Raises as above."""
        async with self._lock:
            if not self._installed or await asyncio.to_thread(self._is_whole):
                return False
            self._meter = Meter()
            await asyncio.to_thread(table.install, self._plan)
            return True

    def _is_whole(self) -> bool:
        found = ruleset_watch.rules_by_chain()
        wanted = rules_by_chain(self._plan)
        # Chains of an earlier plan stay behind, empty.
        return all(found.get(name, 0) == count for name, count in wanted.items()) and all(
            name in wanted or not count for name, count in found.items()
        )

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

    async def _measure(self, generation: int) -> list[Tally]:
        try:
            return await asyncio.to_thread(self._read, generation)
        except (NetlinkError, OSError) as error:
            raise CountsUnreadError(f"generation {generation}: {error}") from error

    def _read(self, generation: int) -> list[Tally]:
        started = time.thread_time()
        try:
            return self._meter.measure(generation, table.readings(self._plan, generation))
        finally:
            self.reading_seconds = time.thread_time() - started

    async def _collect(self, generation: int) -> list[Tally]:
        self._unread = True
        counted = await self._measure(generation)
        await asyncio.to_thread(table.forget, self._plan, generation)
        self._meter.forget(generation)
        self._unread = False
        return counted
