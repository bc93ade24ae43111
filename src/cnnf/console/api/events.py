"""Events: what was alerted on or prevented, as a list and live: `/api/v1/events`."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse

from cnnf.console import limits
from cnnf.console.api import sse
from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.documents import answers, json, streams
from cnnf.console.api.services import now_ms
from cnnf.console.core import windows
from cnnf.console.core.event_form import EventForm, cursor_of, form
from cnnf.console.core.events import EventEffect, EventFilter, EventKind
from cnnf.console.errors import Refused

router = APIRouter(prefix="/events", tags=["events"])

#: For the OpenAPI document.
KINDS: list[type[msgspec.Struct]] = [EventForm]

_MOMENT = "RFC 3339, or how long ago, such as `15m`, `6h` or `7d`."


async def _filter(
    effect: Annotated[EventEffect | None, Query(description="Only this effect.")] = None,
    kind: Annotated[EventKind | None, Query(description="Only this kind.")] = None,
    since: Annotated[
        str | None, Query(max_length=40, description=f"Last seen at or after. {_MOMENT}")
    ] = None,
    until: Annotated[
        str | None, Query(max_length=40, description=f"First seen at or before. {_MOMENT}")
    ] = None,
    name: Annotated[
        str,
        Query(
            max_length=limits.EVENT_NAME_CHARS_MAX,
            description="A part of either end's name or address, in whatever case.",
        ),
    ] = "",
) -> EventFilter:
    now = now_ms()
    start = None if since is None else windows.parse_moment(since, "query.since", now)
    end = None if until is None else windows.parse_moment(until, "query.until", now)
    if start is not None and end is not None and end < start:
        raise Refused("`until` lies before `since`", where="query.until")
    return EventFilter(effect=effect, kind=kind, since=start, until=end, name=name)


Wanted = Annotated[EventFilter, Depends(_filter)]


@router.get("", summary="Events", responses=answers(list[EventForm], "Last seen latest first."))
async def read_events(
    _: Viewer,
    use: Use,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=limits.EVENTS_PAGE_MAX)] = 100,
    cursor: Annotated[
        str, Query(max_length=40, description="The `cursor` of the last event of the page before.")
    ] = "",
) -> Response:
    """Every rule's alert and prevention, repeats taken together until a quiet hour has passed. A
    page that has fewer than `limit` is the last."""
    after = cursor_of(cursor) if cursor else None
    return json([form(event) for event in await use.flows.events(wanted, limit, after)])


@router.get(
    "/stream",
    summary="Events, live",
    response_class=StreamingResponse,
    responses=streams(
        "Events: `events` (the newest page, as `GET /events` gives it), then `change` (events "
        "opened or extended, oldest change first). A stream that comes back with `Last-Event-ID` "
        "gets the changes it missed, or `resync` and `events`."
    ),
)
async def stream_events(
    _: Viewer,
    use: Use,
    wanted: Wanted,
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> Response:
    """Server-sent events; a new event is on the stream within a second of its batch."""
    return sse.response(use.events.open(wanted, last_event_id))
