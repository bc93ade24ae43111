"""The live stream of events on a real store: its bounds, and what is sent when they are reached."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cnnf.console import limits
from cnnf.console.api import sse
from cnnf.console.api.events_feed import EventsFeed
from cnnf.console.core.events import EventFilter
from cnnf.console.errors import StreamsExhausted
from cnnf.console.store.flows import FlowStore
from tests.contract.test_event_store import prevented
from tests.contract.test_flow_store import NOW, SHOP, batch, sqlite

Script = Callable[[EventsFeed, "Source"], Coroutine[Any, Any, None]]
EVERYTHING = EventFilter()


class Source:
    """A Defender's batches into the store, as ingest would take them."""

    def __init__(self, store: FlowStore, feed: EventsFeed) -> None:
        self._store = store
        self._feed = feed
        self._sequence = 0

    async def happens(self, *ports: int) -> None:
        self._sequence += 1
        flows = [prevented(port=port) for port in ports]
        one = batch(self._sequence, instances=SHOP, flows=flows)
        if (await self._store.append_batch("d", one, NOW)).events:
            self._feed.touch()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are for the machine's sake."""
    monkeypatch.setattr(limits, "EVENTS_EVERY_S_MIN", 0.01)
    monkeypatch.setattr(limits, "KEEPALIVE_RADAR_S", 0.2)


def play(path: Path, script: Script) -> None:
    """Run the script on an empty store; a stream that says nothing fails within seconds."""
    store, close = sqlite(path)

    async def run() -> None:
        feed = EventsFeed(store, asyncio.Event())
        await asyncio.wait_for(script(feed, Source(store, feed)), 20)

    try:
        asyncio.run(run())
    finally:
        close()


async def told(stream: AsyncIterator[bytes]) -> tuple[str, str, list[int]]:
    """The stream's next event: its name, its id, and the ports in it."""
    while (data := await anext(stream)) == sse.KEEPALIVE:
        pass
    fields = dict(line.split(": ", 1) for line in data.decode().strip().splitlines())
    body = json.loads(fields["data"])
    return fields["event"], fields.get("id", ""), [event["port"] for event in body]


def test_a_page_then_changes(tmp_path: Path) -> None:
    async def script(feed: EventsFeed, source: Source) -> None:
        await source.happens(1)
        stream = feed.open(EVERYTHING, "")
        name, first, ports = await told(stream)
        assert (name, ports) == ("events", [1])
        await source.happens(2)
        await source.happens(3)
        seen: list[int] = []
        while len(seen) < 2:
            name, last, ports = await told(stream)
            assert name == "change"
            assert int(last) > int(first)
            seen += ports
        assert seen == [2, 3]
        await stream.aclose()  # type: ignore[attr-defined]

    play(tmp_path, script)


def test_a_silent_stream_says_that_it_is_there(tmp_path: Path) -> None:
    async def script(feed: EventsFeed, source: Source) -> None:
        del source
        stream = feed.open(EVERYTHING, "")
        assert (await told(stream))[2] == []
        assert await anext(stream) == sse.KEEPALIVE

    play(tmp_path, script)


def test_what_was_missed_is_replayed_as_long_as_it_is_not_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENTS_REPLAY_MAX", 3)
    monkeypatch.setattr(limits, "EVENTS_STREAM_PAGE", 2)

    async def script(feed: EventsFeed, source: Source) -> None:
        await source.happens(1)
        _, first, _ = await told(feed.open(EVERYTHING, ""))
        await source.happens(2, 3, 4)
        name, last, ports = await told(feed.open(EVERYTHING, first))
        assert (name, sorted(ports)) == ("change", [2, 3, 4])
        await source.happens(5)
        stream = feed.open(EVERYTHING, last)
        assert (await told(stream))[2] == [5]
        late = feed.open(EVERYTHING, first)
        assert (await told(late))[0] == "resync"
        name, _, ports = await told(late)
        assert (name, len(ports)) == ("events", 2)
        await source.happens(6)
        assert (await told(late))[2] == [6]

    play(tmp_path, script)


def test_streams_are_bounded_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_STREAMS_MAX", 2)

    async def script(feed: EventsFeed, source: Source) -> None:
        del source
        streams = [feed.open(EVERYTHING, "") for _ in range(2)]
        for stream in streams:
            await told(stream)
        with pytest.raises(StreamsExhausted, match="2 streams"):
            feed.open(EVERYTHING, "")
        await streams[0].aclose()  # type: ignore[attr-defined]
        await told(feed.open(EVERYTHING, ""))

    play(tmp_path, script)


def test_a_stream_ends_by_itself_so_that_its_reader_is_asked_again_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RADAR_STREAM_S_MAX", 0.05)

    async def script(feed: EventsFeed, source: Source) -> None:
        del source
        async for _ in feed.open(EVERYTHING, ""):
            pass

    play(tmp_path, script)
