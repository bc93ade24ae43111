"""Live events: every stream looks for what was changed since, woken when something was.

The events' versions in the store are the ids of the stream, so a reader that comes back is
replayed from there, whichever Console it comes back to and whatever has been restarted since.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import structlog

from cnnf.console import limits
from cnnf.console.api import sse
from cnnf.console.core.event_form import form
from cnnf.console.core.events import Event, EventFilter
from cnnf.console.errors import StoreUnavailable, StreamsExhausted
from cnnf.console.store.flows import FlowStore

log = structlog.get_logger()


class EventsFeed:
    """All streams of events; owned by the event loop. `touch` after a batch that changed some."""

    def __init__(self, flows: FlowStore, stopping: asyncio.Event) -> None:
        self._flows = flows
        self._stopping = stopping
        self._readers: set[asyncio.Queue[bool]] = set()

    def touch(self) -> None:
        """Something changed: every stream looks."""
        for queue in self._readers:
            if queue.empty():
                queue.put_nowait(True)

    def open(self, wanted: EventFilter, last_id: str) -> AsyncIterator[bytes]:
        """The stream's bytes. Raises StreamsExhausted (before the first byte)."""
        if len(self._readers) >= limits.EVENT_STREAMS_MAX:
            raise StreamsExhausted(f"{len(self._readers)} streams of events; that is the most")
        return self._stream(wanted, last_id)

    async def _stream(self, wanted: EventFilter, last_id: str) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bool] = asyncio.Queue(1)
        self._readers.add(queue)
        try:
            async for data in self._follow(wanted, last_id, queue):
                yield data
        except StoreUnavailable as error:
            # The reader comes back, and is told what it missed.
            log.warning("stream of events ended", error=str(error))
        finally:
            self._readers.discard(queue)

    async def _follow(
        self, wanted: EventFilter, last_id: str, queue: "asyncio.Queue[bool]"
    ) -> AsyncIterator[bytes]:
        # Read before the page: what comes meanwhile is sent again, never missed.
        newest = await self._flows.events_version()
        version = _version(last_id)
        if version is None or version > newest:
            if last_id:
                yield sse.event("resync", b"{}")
            yield await self._page(wanted, newest)
            version = newest
        ends = time.monotonic() + limits.RADAR_STREAM_S_MAX
        while not self._stopping.is_set() and time.monotonic() < ends:
            # Read one more than is replayed, to know whether that is all.
            newest = await self._flows.events_version()
            changes: list[Event] = []
            if newest > version:
                changes = await self._flows.changed_events(
                    wanted, version, limits.EVENTS_REPLAY_MAX + 1
                )
            if len(changes) > limits.EVENTS_REPLAY_MAX:
                yield sse.event("resync", b"{}")
                yield await self._page(wanted, newest)
            elif changes:
                newest = max(newest, changes[-1].version)
                yield _event("change", changes, newest)
            version = newest
            await asyncio.sleep(limits.EVENTS_EVERY_S_MIN)
            woken = await sse.first_of(self._stopping, queue, limits.KEEPALIVE_RADAR_S)
            if woken is None and not self._stopping.is_set():
                yield sse.KEEPALIVE

    async def _page(self, wanted: EventFilter, version: int) -> bytes:
        page = await self._flows.events(wanted, limits.EVENTS_STREAM_PAGE, None)
        return _event("events", page, version)


def _event(name: str, events: list[Event], version: int) -> bytes:
    return sse.event(name, msgspec.json.encode([form(event) for event in events]), str(version))


def _version(last_id: str) -> int | None:
    if last_id.isascii() and last_id.isdecimal() and len(last_id) <= 16:
        return int(last_id)
    return None
