"""The graph's form, as `GET /api/v1/radar` and `cnnf radar --json` give it.

Fields may be added; none is renamed. Times are RFC 3339 in UTC.
"""

from typing import Literal

import msgspec

from cnnf.console.core.decisions import Verdict

View = Literal["containers", "hosts"]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A node's model; `state` is null where a node has none (peers)."""

    state: Literal["learning", "dry-run", "enforcing", "archived"] | None


class GraphNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node; `instances` counts what runs now, `found` is true when it was never started
    a connection to but only found connected. `incident` says that it did, or that to it was done,
    what was alerted on or prevented in the window: the source, where that is an app, a service or a
    host, else the target. `member`: the network object that was asked for is it, or has some of it.
    A node of kind `object` is a network object of addresses or names, in the place of these."""

    id: str
    kind: Literal["app", "service", "host", "object", "internet", "unmanaged"]
    name: str
    group: list[str]
    instances: int
    model: Model
    internet: bool
    tags: list[str]
    projects: list[str]
    hosts: list[str]
    found: bool
    incident: bool = False
    member: bool = False


class GraphPort(msgspec.Struct, frozen=True, kw_only=True):
    """One port of an edge; `connections` counts attempts, `found` what was there before.

    Of the attempts `answered` were established and `refused` got a reset, the rest had no answer;
    either may be reported later than its attempt. `verdict` is the most severe one of the window
    and `cause` what decided it. `shared`: the counts are those of several ends outside together,
    each of which has an edge; it is not kept how many were whose.
    """

    port: int
    protocol: Literal["tcp", "udp"]
    connections: int
    answered: int
    refused: int
    found: int
    verdict: Verdict
    cause: str
    first_seen: str
    last_seen: str
    shared: bool = False


class GraphEdge(msgspec.Struct, frozen=True, kw_only=True):
    """All between two nodes in one direction; `more_ports` counts ports that are not listed."""

    source: str
    target: str
    ports: list[GraphPort]
    more_ports: int


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """What the view budget left out."""

    nodes: int
    edges: int


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """What is enabled; `limited` says that this view shows only what a disabled Defender sees."""

    containers: bool
    hosts: bool
    limited: bool


class DefenderCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many Defenders are heard of now, of how many that are enrolled."""

    live: int
    total: int


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """One view of one window."""

    view: View
    from_: str = msgspec.field(name="from")
    to: str
    as_of: str
    hidden: Hidden
    truncated: bool
    mode: Mode
    defenders: DefenderCount
    nodes: list[GraphNode]
    edges: list[GraphEdge]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What makes the next graph of the one before: upserts and removals."""

    as_of: str
    from_: str = msgspec.field(name="from")
    to: str
    hidden: Hidden
    truncated: bool
    mode: Mode
    defenders: DefenderCount
    nodes: list[GraphNode]
    removed_nodes: list[str]
    edges: list[GraphEdge]
    removed_edges: list[tuple[str, str]]


def difference(before: Graph, after: Graph) -> Change | None:
    """What changed between two graphs of one feed; None when a reader would see nothing new."""
    nodes_before = {node.id: node for node in before.nodes}
    nodes_after = {node.id for node in after.nodes}
    edges_before = {(edge.source, edge.target): edge for edge in before.edges}
    edges_after = {(edge.source, edge.target) for edge in after.edges}
    change = Change(
        as_of=after.as_of,
        from_=after.from_,
        to=after.to,
        hidden=after.hidden,
        truncated=after.truncated,
        mode=after.mode,
        defenders=after.defenders,
        nodes=[node for node in after.nodes if nodes_before.get(node.id) != node],
        removed_nodes=sorted(nodes_before.keys() - nodes_after),
        edges=[
            edge for edge in after.edges if edges_before.get((edge.source, edge.target)) != edge
        ],
        removed_edges=sorted(edges_before.keys() - edges_after),
    )
    same = (before.hidden, before.mode, before.defenders) == (
        after.hidden,
        after.mode,
        after.defenders,
    )
    lists = (change.nodes, change.removed_nodes, change.edges, change.removed_edges)
    return None if same and not any(lists) else change
