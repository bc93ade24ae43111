"""Server-sent events: their bytes, their response, and how a stream waits."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

KEEPALIVE = b": keep-alive\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(name: str, data: bytes, id_: str = "") -> bytes:
    """One event; `data` holds no line break (JSON as msgspec writes it has none)."""
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"


def response(events: AsyncIterator[bytes]) -> StreamingResponse:
    """The stream as a response that nothing on the way should keep or buffer."""
    return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)


async def until(ended: asyncio.Event, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The stream, ended at once when `ended` is set."""
    end = asyncio.ensure_future(ended.wait())
    try:
        while True:
            item = asyncio.ensure_future(anext(events))
            try:
                await asyncio.wait({item, end}, return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    return
                yield item.result()
            except StopAsyncIteration:
                return
            finally:
                if not item.done():
                    item.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await item
    finally:
        end.cancel()
        await events.aclose()


async def first_of(
    stopping: asyncio.Event, queue: "asyncio.Queue[Any]", timeout_s: float
) -> Any | None:
    """The queue's next item; None when the time is over or the Console stops."""
    getting = asyncio.ensure_future(queue.get())
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({getting, stop}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else None
    finally:
        getting.cancel()
        stop.cancel()
