"""Word that something is to be followed, which stands until it was: for the daemon's tasks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


@contextmanager
def following(news: asyncio.Event) -> Iterator[None]:
    """The news is taken; where following it fails it stands again, for the next try."""
    news.clear()
    try:
        yield
    except BaseException:
        news.set()
        raise


async def follow(news: asyncio.Event, act: Callable[[], Awaitable[None]]) -> None:
    """Act on each, for ever. Raises what `act` raises, and whoever calls again tries again."""
    while True:
        await news.wait()
        with following(news):
            await act()
