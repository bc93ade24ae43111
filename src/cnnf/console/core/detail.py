"""The side panel's content: one node with its instances and its edges on either side."""

import msgspec

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.graph import GraphNode, GraphPort, View
from cnnf.console.core.nodes import INTERNET_ID
from cnnf.console.core.observed import EdgeRecord, InstanceRecord, NodeRecord, Running
from cnnf.console.core.radar import draw_node, draw_port, incident_end, is_incident


class DetailInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance; `container` is empty for a service, `stopped_at` null while it runs."""

    id: str
    kind: str
    title: str
    host: str
    defender: str
    container: str
    pid: int
    tag: str
    digest: str
    project: str
    labels: dict[str, str]
    addresses: list[str]
    ports: list[int]
    running: bool
    started_at: str | None
    stopped_at: str | None


class DetailProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process seen behind one side (`source` or `target`) of an edge: an example."""

    side: str
    pid: int
    executable: str
    command: str
    user: str
    host: str
    seen_at: str


class DetailPort(msgspec.Struct, frozen=True, kw_only=True):
    """One port with its processes and, where the peer is the internet or has a name of DNS, its
    latest addresses. `names` are what those of them that have one were called, newest first."""

    port: GraphPort
    processes: list[DetailProcess]
    addresses: list[str]
    names: dict[str, list[str]]


class DetailEdge(msgspec.Struct, frozen=True, kw_only=True):
    """All between this node and one peer in one direction."""

    peer: str
    kind: str
    name: str
    connections: int
    first_seen: str
    last_seen: str
    ports: list[DetailPort]


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """One node in full; `more_*` count what is not listed."""

    view: View
    from_: str = msgspec.field(name="from")
    to: str
    node: GraphNode
    instances: list[DetailInstance]
    more_instances: int
    inbound: list[DetailEdge]
    outbound: list[DetailEdge]
    more_edges: int


def detail(record: NodeRecord, view: View) -> Detail:
    """The side panel of this node."""
    own = record.node.id
    outbound = _edges(record, [e for e in record.edges if e.total.source == own], "target")
    inbound = _edges(record, [e for e in record.edges if e.total.target == own], "source")
    running = [
        Running(node=own, host=i.host, tag=i.tag, project=i.project)
        for i in record.instances
        if not i.stopped_at
    ]
    ends = {end for e in record.edges for end in (e.total.source, e.total.target)}
    node = draw_node(
        record.node,
        running,
        internet=own != INTERNET_ID and INTERNET_ID in ends,
        found=bool(record.edges) and not any(e.total.connections for e in record.edges),
        incident=own
        in {
            incident_end(record.peers[e.total.source], record.peers[e.total.target])
            for e in record.edges
            if is_incident(e.total)
        },
    )
    instances = sorted(record.instances, key=lambda i: (bool(i.stopped_at), i.host, i.title, i.id))
    bound = limits.DETAIL_EDGES_MAX
    return Detail(
        view=view,
        from_=windows.text(record.window.start),
        to=windows.text(record.window.end),
        node=node,
        instances=[_instance(i) for i in instances[: limits.DETAIL_INSTANCES_MAX]],
        more_instances=max(0, len(instances) - limits.DETAIL_INSTANCES_MAX),
        inbound=inbound[:bound],
        outbound=outbound[:bound],
        more_edges=max(0, len(inbound) - bound) + max(0, len(outbound) - bound),
    )


def _instance(record: InstanceRecord) -> DetailInstance:
    return DetailInstance(
        id=record.id,
        kind=record.kind,
        title=record.title,
        host=record.host,
        defender=record.defender,
        container=record.id if record.kind == "container" else "",
        pid=record.pid,
        tag=record.tag,
        digest=record.digest,
        project=record.project,
        labels=record.labels,
        addresses=record.addresses,
        ports=record.ports,
        running=not record.stopped_at,
        started_at=windows.text(record.started_at) if record.started_at else None,
        stopped_at=windows.text(record.stopped_at) if record.stopped_at else None,
    )


def _edges(record: NodeRecord, edges: list[EdgeRecord], peer_side: str) -> list[DetailEdge]:
    by_peer: dict[str, list[EdgeRecord]] = {}
    for edge in edges:
        by_peer.setdefault(getattr(edge.total, peer_side), []).append(edge)
    drawn = []
    for peer, parts in by_peer.items():
        node = record.peers[peer]
        parts.sort(key=lambda part: (part.total.port, part.total.protocol))
        drawn.append(
            DetailEdge(
                peer=peer,
                kind=node.kind,
                name=node.name,
                connections=sum(part.total.connections for part in parts),
                first_seen=windows.text(min(part.total.first_seen for part in parts)),
                last_seen=windows.text(max(part.total.last_seen for part in parts)),
                ports=[_port(part) for part in parts[: limits.RADAR_PORTS_MAX]],
            )
        )
    drawn.sort(key=lambda edge: (-edge.connections, edge.name, edge.peer))
    return drawn


def _port(edge: EdgeRecord) -> DetailPort:
    return DetailPort(
        port=draw_port(edge.total),
        processes=[
            DetailProcess(
                side=process.side,
                pid=process.pid,
                executable=process.executable,
                command=process.command,
                user=process.user,
                host=process.host,
                seen_at=windows.text(process.seen_at),
            )
            for process in edge.processes
        ],
        addresses=edge.addresses,
        names=edge.names,
    )
