"""Live graphs: shared, replayed, bounded. The graphs are made up; the event loop is real."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
import pytest

from cnnf.console import limits
from cnnf.console.api.radar_feed import RadarFeeds
from cnnf.console.core import nodes
from cnnf.console.core.graph import Graph, View
from cnnf.console.core.observed import EdgeTotal, Observed
from cnnf.console.core.radar import Frame, graph
from cnnf.console.core.windows import Window
from cnnf.console.errors import StreamsExhausted

A, B = nodes.app("a"), nodes.app("b")


class Source:
    """Computes graphs whose one edge counts what was ingested."""

    def __init__(self) -> None:
        self.connections = 0
        self.computed = 0
        self.fail = False

    async def compute(self, view: View, length: int, about: str) -> Graph:
        assert about == ""
        self.computed += 1
        if self.fail:
            raise RuntimeError("broken")
        edge = EdgeTotal(
            source=A.id, target=B.id, port=length % 65_536, protocol="tcp",
            connections=self.connections, found=0, first_seen=1, last_seen=1,
        )  # fmt: skip
        observed = Observed(
            window=Window(start=0, end=1, resolution="minute"),
            nodes={A.id: A, B.id: B},
            edges=[edge],
            running=[],
        )
        return graph(
            observed, Frame(view=view, now=1, containers=True, hosts=True, live=0, total=0)
        )


Play = Callable[[Source, RadarFeeds, asyncio.Event], Coroutine[Any, Any, None]]


def play(script: Play) -> None:
    """Run the script with feeds of its own."""

    async def main() -> None:
        source, stopping = Source(), asyncio.Event()
        feeds = RadarFeeds(source.compute, stopping)
        try:
            await asyncio.wait_for(script(source, feeds, stopping), 10)
        finally:
            await feeds.close()

    asyncio.run(main())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RADAR_EVERY_S_MIN", 0.0)


async def take(stream: AsyncIterator[bytes]) -> tuple[str, str, Any]:
    """The next event's name, id and data."""
    fields = dict(
        line.split(": ", 1) for line in (await anext(stream)).decode().strip().split("\n")
    )
    return fields["event"], fields.get("id", ""), json.loads(fields["data"])


def count(change: Any) -> int:
    connections: int = change["edges"][0]["ports"][0]["connections"]
    return connections


async def ingest(source: Source, feeds: RadarFeeds) -> None:
    """Something comes, and the feed has seen it."""
    source.connections += 1
    before = source.computed
    feeds.touch()
    while source.computed == before:  # noqa: ASYNC110 (nobody tells; it takes a few turns)
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)


def test_one_computation_serves_all_readers() -> None:
    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        streams = [await feeds.open("containers", 1, "") for _ in range(5)]
        for stream in streams:
            assert (await take(stream))[0] == "graph"
        await ingest(source, feeds)
        for stream in streams:
            name, _, data = await take(stream)
            assert (name, count(data)) == ("change", 1)
        assert source.computed == 2

    play(script)


def test_a_reader_that_comes_back_misses_nothing() -> None:
    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        stream = await feeds.open("containers", 1, "")
        _, last, _ = await take(stream)
        for _ in range(3):
            await ingest(source, feeds)
        back = await feeds.open("containers", 1, last)
        assert [count((await take(back))[2]) for _ in range(3)] == [1, 2, 3]

    play(script)


@pytest.mark.parametrize("last", ["x", "x-1", "-", "é-9", "0-99999999999999999999"])
def test_an_id_that_is_not_this_feeds_starts_anew(last: str) -> None:
    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        stream = await feeds.open("containers", 1, last)
        assert [(await take(stream))[0] for _ in range(2)] == ["resync", "graph"]

    play(script)


def test_what_the_ring_has_lost_is_sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RADAR_RING_MAX", 2)

    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        stream = await feeds.open("containers", 1, "")
        _, last, _ = await take(stream)
        for _ in range(4):
            await ingest(source, feeds)
        back = await feeds.open("containers", 1, last)
        assert (await take(back))[0] == "resync"
        name, _, data = await take(back)
        assert (name, count(data)) == ("graph", 4)

    play(script)


def test_a_slow_reader_is_sent_the_whole_graph_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RADAR_QUEUE_MAX", 2)

    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        stream = await feeds.open("containers", 1, "")
        await take(stream)
        for _ in range(5):
            await ingest(source, feeds)
        seen = [(await take(stream)) for _ in range(2)]
        assert [name for name, _, _ in seen] == ["resync", "graph"]
        assert count(seen[1][2]) == 5
        await ingest(source, feeds)
        name, _, data = await take(stream)
        assert (name, count(data)) == ("change", 6)

    play(script)


def test_streams_and_feeds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RADAR_STREAMS_MAX", 3)
    monkeypatch.setattr(limits, "RADAR_FEEDS_MAX", 2)

    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        streams = [await feeds.open("containers", length, "") for length in (1, 2)]
        for stream in streams:
            await take(stream)
        with pytest.raises(StreamsExhausted, match="views"):
            await feeds.open("hosts", 1, "")
        # A feed that nobody watches makes room.
        await streams[0].aclose()  # type: ignore[attr-defined]
        third = await feeds.open("hosts", 1, "")
        await take(third)
        more = await feeds.open("hosts", 1, "")
        await take(more)
        with pytest.raises(StreamsExhausted, match="live streams"):
            await feeds.open("hosts", 1, "")

    play(script)


def test_a_failure_is_passed_over() -> None:
    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        stream = await feeds.open("containers", 1, "")
        await take(stream)
        source.fail = True
        await ingest(source, feeds)
        source.fail = False
        await ingest(source, feeds)
        name, _, data = await take(stream)
        assert (name, count(data)) == ("change", 2)

    play(script)


def test_streams_end_when_the_console_stops() -> None:
    async def script(source: Source, feeds: RadarFeeds, stopping: asyncio.Event) -> None:
        stream = await feeds.open("containers", 1, "")
        await take(stream)
        stopping.set()
        assert [item async for item in stream] == []

    play(script)


def test_events_hold_no_line_breaks() -> None:
    assert b"\n" not in msgspec.json.encode({"name": "a\nb\r\u2028"})
