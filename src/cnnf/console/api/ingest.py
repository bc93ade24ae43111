"""The Defender listener: batches in, settings, policy and answers out.

Mutual TLS; identity by it alone.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, HTTPException, Request, Response

from cnnf.console.api import sse
from cnnf.console.api.auth import Use
from cnnf.console.api.identity import defender_of
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core import questions
from cnnf.console.core.decisions import check_flows
from cnnf.console.store import defenders
from cnnf.protocol.codec import CONTENT_TYPE, decode_batch, encode_json
from cnnf.protocol.messages import Ack, Batch

router = APIRouter(prefix="/defender/v1")
JSON = "application/json"


def _decode(data: bytes) -> Batch:
    batch = decode_batch(data)
    check_flows(batch.flows)
    return batch


@router.post("/batches")
async def take_batch(request: Request, use: Use) -> Response:
    """Take one batch; acknowledged only once it is on disk."""
    id_ = await defender_of(request, use)
    if request.headers.get("content-type") != CONTENT_TYPE:
        raise HTTPException(415, f"send {CONTENT_TYPE}")
    data = await request.body()
    # A full batch takes tens of milliseconds to decode; streams must not wait for it.
    batch = await asyncio.to_thread(_decode, data)
    now = now_ms()
    # Both wait for the writer together and share a commit.
    appended, _ = await asyncio.gather(
        use.flows.append_batch(id_, batch, now),
        use.database.write(lambda c: defenders.heard(c, id_, batch, now)),
    )
    use.liveness.heard(id_, now)
    if not appended.duplicate:
        use.radar.touch()
    if appended.events:
        use.events.touch()
    ack = Ack(incarnation=batch.incarnation, sequence=appended.sequence)
    return Response(encode_json(ack), media_type="application/json")


@router.post("/directory")
async def answer_question(request: Request, use: Use) -> Response:
    """Who stands at these ends elsewhere: a `Question` as JSON, answered by `Answers`."""
    id_ = await defender_of(request, use)
    if request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
        raise HTTPException(415, f"send {JSON}")
    question = questions.read(await request.body())
    return Response(use.directory.ask(id_, question), media_type=JSON)


@router.get("/stream")
async def stream_settings(request: Request, use: Use) -> Response:
    """The settings and the policy's generation as server-sent events, those in force at once, then
    every change; and what of the answers that this Defender holds has become stale."""
    id_ = await defender_of(request, use)
    use.settings.check()
    return sse.response(_listen(id_, use))


@router.get("/policy")
async def read_policy(request: Request, use: Use) -> Response:
    """The policy in force, a `PolicyDocument` as JSON, compressed as the Defender takes it."""
    await defender_of(request, use)
    body, encoding = await use.policies.document(request.headers.get("accept-encoding", ""))
    headers = {"Vary": "Accept-Encoding"}
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(body, media_type=JSON, headers=headers)


async def _listen(id_: str, use: Services) -> AsyncIterator[bytes]:
    ended = use.liveness.opened(id_)
    use.radar.touch()
    try:
        # Who was removed since it was let in was removed before its stream could be ended.
        if await use.database.read(lambda c: defenders.certificates(c, id_)) is None:
            return
        stale = use.directory.opened(id_)
        async for data in sse.until(ended, use.settings.stream(id_, stale)):
            yield data
    finally:
        use.liveness.closed(id_, ended)
        use.radar.touch()
