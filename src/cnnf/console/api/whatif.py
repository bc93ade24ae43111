"""What a draft of the policy would change: `/api/v1/policy/what-if`.

Judging a long history takes a core for seconds. It runs beside the event loop, one draft at a time,
for so long at most, and no longer than somebody waits for the answer.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from cnnf.console import limits
from cnnf.console.api import policy_in_force
from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.deadlines import deadline
from cnnf.console.api.documents import answers, json
from cnnf.console.api.errors import documented
from cnnf.console.api.radar import TimeQuery, WindowQuery, window_of
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core.whatif import what_if
from cnnf.console.core.whatif_form import WhatIf
from cnnf.console.core.windows import Window
from cnnf.console.errors import ConsoleError, Refused, TooMany
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.errors import InvalidValueError

router = APIRouter(prefix="/policy", tags=["policy"])

#: For the OpenAPI document.
KINDS: list[type[msgspec.Struct]] = [WhatIf]
#: Where a draft is sent, relative to the API.
PATH = "/policy/what-if"
#: What a proxy would log where the client has gone; nobody reads it.
_GONE = 499
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The draft: a whole policy in its YAML form, or the same as JSON.",
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


class _NobodyWaits(ConsoleError):
    """Whoever asked has gone, or the Console stops."""


@router.post(
    "/what-if",
    summary="What a draft would change",
    responses=answers(WhatIf, "What would newly be prevented, alerted on and allowed.")
    | documented(413, 415, 429),
    openapi_extra=_BODY,
)
async def judge_draft(
    _: Viewer,
    use: Use,
    request: Request,
    window: WindowQuery = "24h",
    start: Annotated[TimeQuery, Query(alias="from")] = None,
    end: Annotated[TimeQuery, Query(alias="to")] = None,
) -> Response:
    """Judge a draft against the recorded flows of a window: what would be decided otherwise than
    by the policy in force, and otherwise than it was; by which rule, how often, for whom."""
    span = window_of(window, start, end)
    _check_free(use)
    body = await request.body()
    # Whoever sends slowly does not keep others from it.
    _check_free(use)
    await use.judging.acquire()
    stop = threading.Event()
    work = asyncio.create_task(_judge(use, body, span, stop))
    # Its thread may go on for a moment when nobody waits any more.
    work.add_done_callback(lambda done: _ended(use, done))
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=limits.WHAT_IF_LOOK_S)
            if use.stopping.is_set() or await request.is_disconnected():
                stop.set()
        return json(work.result())
    except _NobodyWaits:
        return Response(status_code=_GONE)
    finally:
        stop.set()


def _check_free(use: Services) -> None:
    if use.judging.locked():
        raise TooMany("another draft is being judged; try again in some seconds", retry_after_s=5)


def _ended(use: Services, work: asyncio.Task[WhatIf]) -> None:
    use.judging.release()
    if not work.cancelled():
        # Asked for, so that it isn't logged as lost where nobody waits for it.
        work.exception()


async def _judge(use: Services, body: bytes, span: Window, stop: threading.Event) -> WhatIf:
    now = now_ms()
    draft = await asyncio.to_thread(_compiled, body, now)
    await use.policies.renew(now)
    in_force, version = use.policies.compiled, use.policies.version
    check = _check(stop)
    return await use.flows.recorded(
        span,
        lambda recorded: what_if(recorded, draft, in_force, version=version, check=check),
        check,
    )


def _compiled(body: bytes, now: int) -> Compiled:
    policy = policy_in_force.read(body, "draft")
    try:
        return compile_policy(policy, now)
    except InvalidValueError as error:
        raise Refused(str(error), code="invalid-policy", where="body") from error


def _check(stop: threading.Event) -> Callable[[], None]:
    late = deadline(limits.WHAT_IF_S_MAX, "judged")

    def check() -> None:
        if stop.is_set():
            raise _NobodyWaits("nobody waits for it any more")
        late()

    return check
