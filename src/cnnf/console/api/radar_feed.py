"""Live graphs: each (view, window) is computed once and shared by everybody who watches it.

A feed's task is its only owner: it wakes when something was ingested (or the window has slid on),
computes, compares with the graph before, and hands the change to every reader. Readers that fall
behind get the whole graph again.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import structlog

from cnnf.console import limits
from cnnf.console.api import sse
from cnnf.console.core.graph import Graph, View, difference
from cnnf.console.errors import StreamsExhausted

log = structlog.get_logger()

#: Computes the graph of a view over a window of so many milliseconds that ends now, about a network
#: object ('': about all).
Compute = Callable[[View, int, str], Awaitable[Graph]]
Key = tuple[View, int, str]


class _Reader:
    """One open stream; `lost` says that changes were dropped because it was too slow."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(limits.RADAR_QUEUE_MAX)
        self.lost = False

    def put(self, data: bytes) -> None:
        try:
            self.queue.put_nowait(data)
        except asyncio.QueueFull:
            self.lost = True


class _Feed:
    """One view of one window, about one object or all."""

    def __init__(self, key: Key, compute: Compute) -> None:
        self.key = key
        self.readers: set[_Reader] = set()
        self.idle_since = time.monotonic()
        self._compute = compute
        self._dirty = asyncio.Event()
        self._graph: Graph | None = None
        self._first = asyncio.Event()
        # Ids name this feed's life, so that a stream from before a restart is never replayed.
        self._life = secrets.token_hex(4)
        self._number = 0
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=limits.RADAR_RING_MAX)
        self._task = asyncio.create_task(self._run(), name=f"radar {key[0]} {key[1]}")

    def touch(self) -> None:
        self._dirty.set()

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            started = time.monotonic()
            # Before computing: what comes meanwhile must be looked at again.
            self._dirty.clear()
            try:
                self._publish(await self._compute(*self.key))
            except Exception:  # the next round may do better; readers keep what they have
                log.exception("radar feed failed", view=self.key[0])
            # However large the graph, two thirds of the time are left for everything else.
            took = time.monotonic() - started
            await asyncio.sleep(max(limits.RADAR_EVERY_S_MIN, 2 * took))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dirty.wait(), limits.RADAR_EVERY_S_MAX)

    def _publish(self, graph: Graph) -> None:
        before, self._graph = self._graph, graph
        self._first.set()
        change = difference(before, graph) if before is not None else None
        if change is None:
            return
        self._number += 1
        data = sse.event("change", msgspec.json.encode(change), self._id())
        self._ring.append((self._number, data))
        for reader in self.readers:
            reader.put(data)

    def _id(self) -> str:
        return f"{self._life}-{self._number}"

    async def whole(self) -> bytes:
        """The `graph` event; waits for the first one."""
        await self._first.wait()
        assert self._graph is not None
        return sse.event("graph", msgspec.json.encode(self._graph), self._id())

    def since(self, last_id: str) -> list[bytes] | None:
        """The changes after this event; None when they are no longer all there."""
        life, _, digits = last_id.partition("-")
        if life != self._life or not (digits.isascii() and digits.isdecimal()):
            return None
        number = int(digits[:12])
        if number > self._number or (number < self._number and self._ring[0][0] > number + 1):
            return None
        return [data for n, data in self._ring if n > number]


async def _whole(feed: _Feed, reader: _Reader) -> bytes:
    """The whole graph; changes that wait are part of it and must not be sent after it."""
    graph = await feed.whole()
    while not reader.queue.empty():
        reader.queue.get_nowait()
    reader.lost = False
    return graph


class RadarFeeds:
    """All feeds. `touch` after every ingest and change of settings; `close` at the end."""

    def __init__(self, compute: Compute, stopping: asyncio.Event) -> None:
        self._compute = compute
        self._stopping = stopping
        self._feeds: dict[Key, _Feed] = {}
        self._streams = 0

    def touch(self) -> None:
        """Something changed: every feed is computed again, soon."""
        for feed in self._feeds.values():
            feed.touch()

    async def open(
        self, view: View, length: int, last_id: str, about: str = ""
    ) -> AsyncIterator[bytes]:
        """The stream's bytes. Raises StreamsExhausted (before the first byte)."""
        if self._streams >= limits.RADAR_STREAMS_MAX:
            raise StreamsExhausted(f"{self._streams} live streams are open; that is the most")
        feed = await self._feed((view, length, about))
        return self._stream(feed, last_id)

    async def _feed(self, key: Key) -> _Feed:
        await self.sweep()
        feed = self._feeds.get(key)
        if feed is None:
            if len(self._feeds) >= limits.RADAR_FEEDS_MAX:
                idle = [f for f in self._feeds.values() if not f.readers]
                if not idle:
                    raise StreamsExhausted(
                        f"{len(self._feeds)} different views are watched; that is the most"
                    )
                await self._drop(min(idle, key=lambda f: f.idle_since))
            feed = self._feeds[key] = _Feed(key, self._compute)
        feed.idle_since = time.monotonic()
        return feed

    async def _stream(self, feed: _Feed, last_id: str) -> AsyncIterator[bytes]:
        reader = _Reader()
        feed.readers.add(reader)
        self._streams += 1
        try:
            replayed = feed.since(last_id) if last_id else None
            if replayed is None:
                if last_id:
                    yield sse.event("resync", b"{}")
                yield await _whole(feed, reader)
            for data in replayed or []:
                yield data
            ends = time.monotonic() + limits.RADAR_STREAM_S_MAX
            while not self._stopping.is_set() and time.monotonic() < ends:
                if reader.lost:
                    yield sse.event("resync", b"{}")
                    yield await _whole(feed, reader)
                item = await sse.first_of(self._stopping, reader.queue, limits.KEEPALIVE_RADAR_S)
                if item is not None:
                    yield item
                elif not self._stopping.is_set():
                    yield sse.KEEPALIVE
        finally:
            self._streams -= 1
            feed.readers.discard(reader)
            feed.idle_since = time.monotonic()

    async def sweep(self) -> None:
        """Stop the feeds that nobody has watched for a while."""
        oldest = time.monotonic() - limits.RADAR_FEED_IDLE_S
        for feed in list(self._feeds.values()):
            if not feed.readers and feed.idle_since < oldest:
                await self._drop(feed)

    async def _drop(self, feed: _Feed) -> None:
        self._feeds.pop(feed.key, None)
        await feed.stop()

    async def close(self) -> None:
        """Stop all feeds."""
        for feed in list(self._feeds.values()):
            await self._drop(feed)
