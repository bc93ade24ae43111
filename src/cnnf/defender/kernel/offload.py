"""Keeps the kernel's plan: what is in force, generation after generation.

Every change goes through one lock, so that a switch is never overtaken by another. The rules come
before the loops on the way in, and go before them on the way out.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from cnnf.defender.core.ruleset import Plan, Scopes, iptables_rules
from cnnf.defender.core.tallies import Tally
from cnnf.defender.kernel import iptables, table
from cnnf.defender.kernel.errors import ProgrammingFailed
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.policy.addresses import Network

_log = structlog.get_logger(__name__)


class CountsUnreadError(Exception):
    """A generation's counts could not be read; they stay in the kernel until the next time."""


class Offload:
    """The plan in force. `confirm` makes every packet loop use a generation."""

    def __init__(self, plan: Plan, confirm: Callable[[int], Awaitable[bool]]) -> None:
        self._plan = plan
        self._confirm = confirm
        self._lock = asyncio.Lock()
        self._unread = False

    @property
    def plan(self) -> Plan:
        """What the kernel has been told."""
        return self._plan

    async def install(self) -> None:
        """Put the table and the rules there. Raises KernelError."""
        async with self._lock:
            await asyncio.to_thread(table.install, self._plan)
            await asyncio.to_thread(iptables.install, iptables_rules(self._plan))

    async def change(
        self, *, scopes: Scopes | None = None, networks: tuple[Network, ...] | None = None
    ) -> list[Tally]:
        """Switch to other scopes or networks, with a new generation; what was counted so far.

        Raises KernelError, and then nothing has changed.
        """
        plan = self._plan
        if scopes is not None:
            plan = msgspec.structs.replace(plan, scopes=scopes)
        if networks is not None:
            plan = msgspec.structs.replace(plan, networks=networks)
        return await self._switch(plan)

    async def next_generation(self) -> list[Tally]:
        """Start counting and remembering anew; what the last one counted. Raises as above."""
        return await self._switch(self._plan)

    async def _switch(self, wanted: Plan) -> list[Tally]:
        async with self._lock:
            before = self._plan.generation
            plan = msgspec.structs.replace(wanted, generation=before + 1)
            counted: list[Tally] = []
            if self._unread:
                # The other parity's sets still hold a generation that was never read: take it
                # first, or its counts would be added to the new one's and then emptied.
                counted = await self._collect(before + 1)
            await self._put_in_force(plan)
            self._plan = plan
            if not await self._confirm(plan.generation):
                # A loop may still answer for the generation before: its sets are left alone until
                # the next switch, when it has answered or was started again.
                _log.warning("packet loops have not confirmed", generation=plan.generation)
                self._unread = True
                return counted
            return counted + await self._collect(before)

    async def _put_in_force(self, plan: Plan) -> None:
        try:
            await asyncio.to_thread(table.switch, plan)
        except ProgrammingFailed:
            if await asyncio.to_thread(table.present):
                raise
            # Somebody removed the table (`nft flush ruleset`): what it counted is gone with it.
            _log.warning("the nft table was removed by somebody; installing it again")
            await asyncio.to_thread(table.install, plan)
            await asyncio.to_thread(iptables.install, iptables_rules(plan))

    async def _collect(self, generation: int) -> list[Tally]:
        try:
            counted = await asyncio.to_thread(table.tallies, generation)
        except (NetlinkError, OSError) as error:
            self._unread = True
            raise CountsUnreadError(f"generation {generation}: {error}") from error
        await asyncio.to_thread(table.forget, generation)
        self._unread = False
        return counted
