"""The settings, streamed to every Defender: the newest whole, at once and at every change."""

import asyncio
from collections.abc import AsyncGenerator

from cnnf.console import limits
from cnnf.console.api import sse
from cnnf.console.errors import StreamsExhausted
from cnnf.protocol.codec import encode_json
from cnnf.protocol.messages import Settings


class SettingsFeed:
    """Knows the settings in force; owned by the event loop."""

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self.settings = settings
        self._stopping = stopping
        self._readers: set[asyncio.Queue[Settings]] = set()

    def publish(self, settings: Settings) -> None:
        """New settings are in force; older ones are never sent after newer ones."""
        if settings.generation <= self.settings.generation:
            return
        self.settings = settings
        for queue in self._readers:
            # Only the newest matters: what a slow reader has not taken yet is replaced.
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(settings)

    def check(self) -> None:
        """Raises StreamsExhausted when no more streams are taken."""
        if len(self._readers) >= limits.DEFENDER_STREAMS_MAX:
            raise StreamsExhausted(f"{len(self._readers)} Defenders listen; that is the most")

    async def stream(self) -> AsyncGenerator[bytes]:
        """The stream's bytes; ends when the Console stops."""
        queue: asyncio.Queue[Settings] = asyncio.Queue()
        self._readers.add(queue)
        queue.put_nowait(self.settings)
        try:
            while not self._stopping.is_set():
                item = await sse.first_of(self._stopping, queue, limits.KEEPALIVE_DEFENDER_S)
                if item is not None:
                    yield sse.event("settings", encode_json(item), str(item.generation))
                elif not self._stopping.is_set():
                    yield sse.KEEPALIVE
        finally:
            self._readers.discard(queue)
