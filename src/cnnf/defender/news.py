"""For the daemon's tasks: word that something is to be followed, which stands until it was."""

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


async def cancel(tasks: list[asyncio.Task[None]]) -> None:
    """End tasks that go on for ever, and wait until they have."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
