"""News is followed until it was, whatever fails meanwhile."""

import asyncio

import pytest

from cnnf.defender.news import follow, following


def test_what_fails_stands_again() -> None:
    news = asyncio.Event()
    news.set()

    def fail() -> None:
        with following(news):
            assert not news.is_set()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert news.is_set()
    with following(news):
        pass
    assert not news.is_set()


def test_news_that_comes_meanwhile_is_not_lost() -> None:
    news = asyncio.Event()
    news.set()
    with following(news):
        news.set()
    assert news.is_set()


def test_the_next_call_tries_again() -> None:
    tries: list[int] = []

    async def act() -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError("busy")
        raise asyncio.CancelledError

    async def run() -> None:
        news = asyncio.Event()
        news.set()
        for _ in range(2):
            with pytest.raises(OSError, match="busy"):
                await follow(news, act)
        with pytest.raises(asyncio.CancelledError):
            await follow(news, act)

    asyncio.run(run())
    assert tries == [0, 1, 2]
