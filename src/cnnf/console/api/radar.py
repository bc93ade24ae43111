"""Radar: the graph, its live stream, and the side panel: `/api/v1/radar`."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from cnnf.console import limits
from cnnf.console.api import sse
from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.deadlines import deadline
from cnnf.console.api.documents import answers, json, streams
from cnnf.console.api.errors import documented
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core import nodes, policies, windows
from cnnf.console.core.detail import Detail, detail
from cnnf.console.core.graph import Change, Graph, View
from cnnf.console.core.observed import NodeRecord, Observed
from cnnf.console.core.places import between, only, placed, record_of
from cnnf.console.core.radar import Frame, graph
from cnnf.console.core.seen import touching
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


ObjectQuery = Annotated[
    str,
    Query(
        alias="object",
        max_length=200,
        description="Only the connections of the network object of this name.",
    ),
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


async def compute(
    use: Services, view: View, window: Window, *, everything: bool = False, about: str = ""
) -> Graph:
    """The graph as of now, with ends outside as network objects; of all, or of the connections
    `about` a network object. An object that is not there has none."""
    now = now_ms()
    observed, members = await _observed(use, window, now, about)
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
    return graph(observed, frame, everything=everything, members=members)


async def _observed(
    use: Services, window: Window, now: int, about: str
) -> tuple[Observed, frozenset[str]]:
    places = use.policies.places
    observed = await use.flows.radar(window, now, peers=bool(places))
    if not about:
        return placed(observed, places), frozenset()
    one = next((one for one in use.policies.policy.objects if one.name == about), None)
    if one is None:
        return only(observed, ()), frozenset()
    check = deadline(limits.SEEN_S_MAX, "looked through")
    touched = await use.flows.recorded(
        window, lambda recorded: touching(recorded, one, check), check
    )
    members = touched.members | {nodes.network_object(about).id}
    found = placed(only(observed, touched.edges), places, about)
    return between(found, members), members


def window_of(length: str, start: str | None, end: str | None) -> Window:
    """The window that a query asks for. Raises Refused."""
    now = now_ms()
    if start is None:
        if end is not None:
            raise Refused("`to` needs a `from`", where="query.to")
        return windows.last(windows.parse_length(length), now)
    until = now if end is None else windows.parse_time(end, "query.to")
    return windows.between(windows.parse_time(start, "query.from"), until, now)


async def _object_record(use: Services, node: str, span: Window) -> NodeRecord | None:
    """All about the node of a network object; None for every other one."""
    if not node.startswith(nodes.OBJECT_ID_START):
        return None
    for one in use.policies.policy.objects:
        drawn = nodes.network_object(one.name)
        if drawn.id == node:
            observed, _ = await _observed(use, span, now_ms(), one.name)
            return record_of(observed, drawn)
    return None


def _check_object(use: Services, name: str) -> None:
    if name:
        policies.find_object(use.policies.policy, name, "query.object")


@router.get(
    "",
    summary="The graph",
    responses=answers(Graph, "The graph of one view.") | documented(404),
)
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
    about: ObjectQuery = "",
) -> Response:
    """All that was seen in the window, between named things, with everything that runs now."""
    _check_object(use, about)
    span = window_of(window, start, end)
    return json(await compute(use, view, span, everything=everything, about=about))


@router.get(
    "/stream",
    summary="The graph, live",
    response_class=StreamingResponse,
    responses=streams(
        "Events: `graph` (a Graph), then `change` (a Change) whenever something does. A stream "
        "that comes back with `Last-Event-ID` gets the changes it missed, or `resync` and `graph`."
    )
    | documented(404),
)
async def stream_graph(
    _: Viewer,
    use: Use,
    view: ViewQuery = "containers",
    window: WindowQuery = "1h",
    about: ObjectQuery = "",
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> Response:
    """Server-sent events; a new edge is on the stream within a second of its batch."""
    length = windows.parse_length(window)
    _check_object(use, about)
    return sse.response(await use.radar.open(view, length, last_event_id, about))


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
    span = window_of(window, start, end)
    record = await _object_record(use, node, span) or await use.flows.node(node, span)
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
