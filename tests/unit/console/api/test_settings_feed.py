"""What is streamed to Defenders: a reader, quick or slow, and what it gets."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from cnnf.console import limits
from cnnf.console.api.settings_feed import SettingsFeed
from cnnf.protocol.messages import PolicyNews, Settings, Stale


def news(generation: int) -> PolicyNews:
    return PolicyNews(generation=generation, digest=f"d{generation}")


async def take(stream: AsyncGenerator[bytes]) -> tuple[str, Any]:
    event, data = "", None
    for line in (await anext(stream)).decode().splitlines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
    return event, data


def test_a_stream_begins_with_settings_and_policy() -> None:
    async def work() -> None:
        feed = SettingsFeed(Settings(generation=3), news(7), asyncio.Event())
        stream = feed.stream("d", Stale(generation=1, everything=True))
        assert (await take(stream))[1]["generation"] == 3
        assert await take(stream) == ("policy", {"generation": 7, "digest": "d7"})
        assert (await take(stream))[0] == "stale"
        await stream.aclose()

    asyncio.run(work())


def test_a_slow_reader_gets_only_the_newest_of_each() -> None:
    async def work() -> None:
        feed = SettingsFeed(Settings(generation=1), news(1), asyncio.Event())
        quick, slow = feed.stream("d"), feed.stream("d")
        for stream in (quick, slow):
            await take(stream)
            await take(stream)
        for generation in range(2, 50):
            feed.publish_policy(news(generation))
            feed.publish(Settings(generation=generation))
            assert (await take(quick))[1]["generation"] == generation
            assert (await take(quick))[1]["generation"] == generation
        feed.publish_policy(news(20))  # late, of one that was faster to be stored
        told = dict([await take(slow), await take(slow)])
        assert {name: data["generation"] for name, data in told.items()} == {
            "policy": 49, "settings": 49,
        }  # fmt: skip
        await quick.aclose()
        await slow.aclose()

    asyncio.run(work())


def test_too_much_that_is_stale_pushes_no_policy_out() -> None:
    async def work() -> None:
        feed = SettingsFeed(Settings(generation=1), news(1), asyncio.Event())
        stream = feed.stream("d")
        await take(stream)
        await take(stream)
        feed.publish_policy(news(2))
        for number in range(limits.STALE_QUEUE_MAX * 2):
            feed.tell("d", Stale(generation=number, addresses=["192.0.2.1"]))
        names = [(await take(stream))[0] for _ in range(3)]
        assert "policy" in names
        await stream.aclose()

    asyncio.run(work())
