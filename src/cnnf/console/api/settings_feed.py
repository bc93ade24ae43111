"""What is streamed to Defenders: the settings and the policy's generation, the newest of each, at
once and at every change; and which of the answers that one holds have become stale."""

import asyncio
from collections.abc import AsyncGenerator

from cnnf.console import limits
from cnnf.console.api import sse
from cnnf.console.errors import StreamsExhausted
from cnnf.protocol.codec import encode_json
from cnnf.protocol.messages import PolicyNews, Settings, Stale

_Item = Settings | PolicyNews | Stale
_Queue = asyncio.Queue[_Item]
_NAMES: dict[type[_Item], str] = {Settings: "settings", PolicyNews: "policy", Stale: "stale"}


class SettingsFeed:
    """Knows the settings and the generation of the policy in force; owned by the event loop."""

    def __init__(self, settings: Settings, policy: PolicyNews, stopping: asyncio.Event) -> None:
        self.settings = settings
        self.policy = policy
        self._stopping = stopping
        self._readers: dict[_Queue, str] = {}
        self._listening: dict[str, set[_Queue]] = {}

    def publish(self, settings: Settings) -> None:
        """New settings are in force; older ones are never sent after newer ones."""
        if settings.generation <= self.settings.generation:
            return
        self.settings = settings
        self._replace(settings)

    def publish_policy(self, policy: PolicyNews) -> None:
        """Another policy is in force; an older generation is never sent after a newer one."""
        if policy.generation <= self.policy.generation:
            return
        self.policy = policy
        self._replace(policy)

    def _replace(self, news: Settings | PolicyNews) -> None:
        for queue in self._readers:
            # Only the newest matters: what a slow reader has not taken yet is replaced.
            for item in _drained(queue):
                if type(item) is not type(news):
                    queue.put_nowait(item)
            queue.put_nowait(news)

    def listens(self, defender: str) -> bool:
        """Has this Defender a stream open?"""
        return defender in self._listening

    def tell(self, defender: str, stale: Stale) -> None:
        """Send it on the Defender's streams; one that is too slow is told that everything is."""
        for queue in self._listening.get(defender, ()):
            if queue.qsize() >= limits.STALE_QUEUE_MAX:
                for item in _drained(queue):
                    if not isinstance(item, Stale):
                        queue.put_nowait(item)
                stale = Stale(generation=stale.generation, everything=True)
            queue.put_nowait(stale)

    def check(self) -> None:
        """Raises StreamsExhausted when no more streams are taken."""
        if len(self._readers) >= limits.DEFENDER_STREAMS_MAX:
            raise StreamsExhausted(f"{len(self._readers)} Defenders listen; that is the most")

    async def stream(self, defender: str, first: Stale | None = None) -> AsyncGenerator[bytes]:
        """The stream's bytes: settings, policy, then `first`; ends when the Console stops."""
        queue: _Queue = asyncio.Queue()
        self._readers[queue] = defender
        self._listening.setdefault(defender, set()).add(queue)
        queue.put_nowait(self.settings)
        queue.put_nowait(self.policy)
        if first is not None:
            queue.put_nowait(first)
        try:
            while not self._stopping.is_set():
                item = await sse.first_of(self._stopping, queue, limits.KEEPALIVE_DEFENDER_S)
                if item is not None:
                    name = _NAMES[type(item)]
                    yield sse.event(name, encode_json(item), str(item.generation))
                elif not self._stopping.is_set():
                    yield sse.KEEPALIVE
        finally:
            del self._readers[queue]
            streams = self._listening[defender]
            streams.discard(queue)
            if not streams:
                del self._listening[defender]


def _drained(queue: _Queue) -> list[_Item]:
    items = []
    while not queue.empty():
        items.append(queue.get_nowait())
    return items
