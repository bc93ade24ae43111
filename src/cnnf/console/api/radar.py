"""Radar: the graph, its live stream, and the side panel: `/api/v1/radar`."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from cnnf.console.api import sse
from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.documents import answers, json, streams
from cnnf.console.api.errors import documented
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core import windows
from cnnf.console.core.detail import Detail, detail
from cnnf.console.core.graph import Change, Graph, View
from cnnf.console.core.radar import Frame, graph
from cnnf.console.core.windows import Window
from cnnf.console.errors import Refused
from cnnf.console.store import defenders

router = APIRouter(prefix="/radar", tags=["radar"])

ViewQuery = Annotated[View, Query(description="Apps, or the services of hosts.")]
WindowQuery = Annotated[
    str, Query(description="How far back: `5m` to `31d`.", pattern=r"^[0-9]{1,6}[mhd]$")
]
TimeQuery = Annotated[
    str | None, Query(max_length=40, description="RFC 3339; `from` and `to` go before `window`.")
]


class HistoryBucket(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one bucket that begins at `start`."""

    start: str
    connections: int
    answered: int
    refused: int
    found: int


class History(msgspec.Struct, frozen=True, kw_only=True):
    """An edge's counts over time; buckets without connections are left out."""

    source: str
    target: str
    from_: str = msgspec.field(name="from")
    to: str
    resolution: str
    buckets: list[HistoryBucket]


#: For the OpenAPI document.
KINDS: list[type[msgspec.Struct]] = [Graph, Change, Detail, History]


async def compute(use: Services, view: View, window: Window, *, everything: bool) -> Graph:
    """The graph as of now."""
    now = now_ms()
    observed = await use.flows.radar(window, now)
    enrolled = await use.database.read(defenders.ids)
    settings = use.settings.settings
    frame = Frame(
        view=view,
        now=now,
        containers=settings.containers,
        hosts=settings.hosts,
        live=sum(1 for id_ in enrolled if use.liveness.live(id_, now)),
        total=len(enrolled),
    )
    return graph(observed, frame, everything=everything)


def window_of(length: str, start: str | None, end: str | None) -> Window:
    """The window that a query asks for. Raises Refused."""
    now = now_ms()
    if start is None:
        if end is not None:
            raise Refused("`to` needs a `from`", where="query.to")
        return windows.last(windows.parse_length(length), now)
    until = now if end is None else windows.parse_time(end, "query.to")
    return windows.between(windows.parse_time(start, "query.from"), until, now)


@router.get("", summary="The graph", responses=answers(Graph, "The graph of one view."))
async def read_graph(
    _: Viewer,
    use: Use,
    view: ViewQuery = "containers",
    window: WindowQuery = "1h",
    start: Annotated[TimeQuery, Query(alias="from")] = None,
    end: Annotated[TimeQuery, Query(alias="to")] = None,
    everything: Annotated[
        bool, Query(alias="all", description="Beyond the view budget of 400 nodes, 1,500 edges.")
    ] = False,
) -> Response:
    """All that was seen in the window, between named things, with everything that runs now."""
    return json(await compute(use, view, window_of(window, start, end), everything=everything))


@router.get(
    "/stream",
    summary="The graph, live",
    response_class=StreamingResponse,
    responses=streams(
        "Events: `graph` (a Graph), then `change` (a Change) whenever something does. A stream "
        "that comes back with `Last-Event-ID` gets the changes it missed, or `resync` and `graph`."
    ),
)
async def stream_graph(
    _: Viewer,
    use: Use,
    view: ViewQuery = "containers",
    window: WindowQuery = "1h",
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> Response:
    """Server-sent events; a new edge is on the stream within a second of its batch."""
    length = windows.parse_length(window)
    return sse.response(await use.radar.open(view, length, last_event_id))


@router.get(
    "/nodes/{node}",
    summary="One node",
    responses=answers(Detail, "The node in full.") | documented(404),
)
async def read_node(
    _: Viewer,
    use: Use,
    node: Annotated[str, Path(max_length=200)],
    view: ViewQuery = "containers",
    window: WindowQuery = "1h",
    start: Annotated[TimeQuery, Query(alias="from")] = None,
    end: Annotated[TimeQuery, Query(alias="to")] = None,
) -> Response:
    """Instances, edges either way with ports and counts, processes and peers' addresses."""
    record = await use.flows.node(node, window_of(window, start, end))
    if record is None:
        raise Refused(f"there is no node {node}", code="not-found", where="path.node")
    return json(detail(record, view))


@router.get(
    "/history", summary="An edge over time", responses=answers(History, "The edge's counts.")
)
async def read_history(
    _: Viewer,
    use: Use,
    source: Annotated[str, Query(max_length=200)],
    target: Annotated[str, Query(max_length=200)],
    window: WindowQuery = "1h",
    start: Annotated[TimeQuery, Query(alias="from")] = None,
    end: Annotated[TimeQuery, Query(alias="to")] = None,
) -> Response:
    """Counts of all ports from one node to another, by minute, hour or day as the window asks."""
    span = window_of(window, start, end)
    buckets = await use.flows.edge_history(source, target, span)
    return json(
        History(
            source=source,
            target=target,
            from_=windows.text(span.start),
            to=windows.text(span.end),
            resolution=span.resolution,
            buckets=[
                HistoryBucket(
                    start=windows.text(bucket.start),
                    connections=bucket.connections,
                    answered=bucket.answered,
                    refused=bucket.refused,
                    found=bucket.found,
                )
                for bucket in buckets
            ],
        )
    )
