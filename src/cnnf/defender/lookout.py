"""Looks for what cnnf can't see or what stands in its way, and says so.

Two slow looks, by the daemon's clock: connections that namespaces opened and nobody saw, and rules
of others that use our queues or mark bits.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.conditions import Code
from cnnf.defender.core.coverage import Coverage, Opened, Unobserved
from cnnf.defender.core.limits import COVERAGE_INTERVAL_SECONDS, COVERAGE_SHOWN_MAX
from cnnf.defender.core.plan import Plan, Scopes
from cnnf.defender.kernel import conflicts, coverage, namespaces


class Lookout:
    """Owned by the daemon. `raise_` and `clear` are for conditions."""

    def __init__(
        self,
        book: AddressBook,
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], object],
    ) -> None:
        self._book = book
        self._raise = raise_
        self._clear = clear
        self._coverage = Coverage()
        self._scopes = Scopes()
        self._own = namespaces.own_id()
        #: Container id -> its network namespace, as last read.
        self._rooms: dict[str, int] = {}

    def seen(self, instance: str, connections: int) -> None:
        """Connections of an instance were told of; those of anybody else here are the host's."""
        room = self._rooms.get(instance, self._own)
        self._coverage.seen(room, connections, time.monotonic())

    async def watch_coverage(self, scopes: Callable[[], Scopes]) -> None:
        """Compare for ever."""
        while True:
            await asyncio.sleep(COVERAGE_INTERVAL_SECONDS)
            await self._compare(scopes())

    async def look_for_conflicts(self, plan: Plan, own_pids: Iterable[int]) -> None:
        """Say what of others is in our way."""
        # The last of them is answered by ourselves.
        pids = {*own_pids, os.getpid()}
        found = await asyncio.to_thread(
            conflicts.conflicts, plan.queues, plan.marks.mask, udp=plan.udp, own_pids=pids
        )
        if found:
            text = "; ".join(f"{one.where}: {one.what} ({one.advice})" for one in found)
            self._raise("rules-conflict", text)
        else:
            self._clear("rules-conflict")

    async def _compare(self, scopes: Scopes) -> None:
        if scopes != self._scopes:
            self._scopes = scopes
            self._coverage.restart()
        pids = {one.id: one.pid for one in self._book.containers.values() if one.pid}
        wanted = list(pids.values()) if scopes.containers else []
        if scopes.hosts:
            wanted.append(os.getpid())
        rooms, opened = await asyncio.to_thread(_read, pids, wanted)
        for gone in set(self._rooms.values()) - set(rooms.values()) - {self._own}:
            self._coverage.forget(gone)
        self._rooms = rooms
        now = time.monotonic()
        for room, figures in opened.items():
            # The host's own loopback is seen.
            seen_all = room == self._own
            self._coverage.feed(room, figures._replace(lo_packets=0) if seen_all else figures, now)
        found = self._coverage.unobserved(now)
        if found:
            await self._tell(found, pids)
        else:
            self._clear("unobserved")

    async def _tell(self, found: list[Unobserved], pids: dict[str, int]) -> None:
        words = []
        for one in found[:COVERAGE_SHOWN_MAX]:
            ids = [container for container, room in self._rooms.items() if room == one.namespace]
            known = [self._book.containers.get(container) for container in ids]
            titles = [one.title for one in known if one is not None]
            ways = await asyncio.to_thread(coverage.ways_out, pids[ids[0]]) if ids else ()
            who = ", ".join(titles) if titles else "the host"
            by = f" by {', '.join(ways)}" if ways else ""
            words.append(f"{who} opened at least {one.at_least} connections past cnnf{by}")
        more = len(found) - COVERAGE_SHOWN_MAX
        text = "; ".join(words) + (f"; and {more} more" if more > 0 else "")
        self._raise("unobserved", text)


def _read(pids: dict[str, int], wanted: list[int]) -> tuple[dict[str, int], dict[int, Opened]]:
    rooms = {}
    for container, pid in pids.items():
        with contextlib.suppress(OSError):
            rooms[container] = namespaces.id_of(pid)
    return rooms, coverage.read(wanted)
