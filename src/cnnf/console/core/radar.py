"""From sums to the graph: which nodes and edges a view shows, and what the budget hides."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import msgspec

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.decisions import INCIDENTS, VERDICTS
from cnnf.console.core.graph import (
    DefenderCount,
    Graph,
    GraphEdge,
    GraphNode,
    GraphPort,
    Hidden,
    Mode,
    Model,
    View,
)
from cnnf.console.core.nodes import Node, NodeKind
from cnnf.console.core.observed import EdgeTotal, Observed, Running

#: The kind of node that a view is about: it shows all that run.
SUBJECTS: dict[View, NodeKind] = {"containers": "app", "hosts": "service"}
#: Every edge with such an end is shown. A host stands for those of its programs that could not be
#: told: what they did belongs to the hosts as well.
ENDS: dict[View, frozenset[NodeKind]] = {
    "containers": frozenset({"app"}),
    "hosts": frozenset({"service", "host"}),
}
#: Kinds whose own doing an incident is; other sources are outside, and it is done to the target.
ACTORS: frozenset[NodeKind] = frozenset({"app", "service", "host"})
#: Kinds that have a model.
MODELLED: frozenset[NodeKind] = frozenset({"app", "service"})


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What a graph says besides nodes and edges."""

    view: View
    now: int
    containers: bool
    hosts: bool
    live: int
    total: int

    @property
    def mode(self) -> Mode:
        enabled = self.containers if self.view == "containers" else self.hosts
        return Mode(containers=self.containers, hosts=self.hosts, limited=not enabled)


Pair = tuple[str, str]


def graph(
    observed: Observed,
    frame: Frame,
    *,
    everything: bool = False,
    members: frozenset[str] = frozenset(),
) -> Graph:
    """The graph of one view. At most the view budget unless everything is asked for. `members` are
    the nodes that the network object has which the graph is about."""
    subject = SUBJECTS[frame.view]
    pairs = _pairs(observed, ENDS[frame.view])
    running: dict[str, list[Running]] = defaultdict(list)
    for instance in observed.running:
        if observed.nodes[instance.node].kind == subject:
            running[instance.node].append(instance)
    shown = set(running)
    for source, target in pairs:
        shown.update((source, target))
    # The other ends' instances are counted too: a service seen from the containers view.
    for instance in observed.running:
        if instance.node in shown and observed.nodes[instance.node].kind != subject:
            running[instance.node].append(instance)
    nodes, kept, hidden = _budget(shown, pairs, everything)
    outside = observed.internet
    to_internet = {source for source, target in pairs if target in outside}
    to_internet |= {target for source, target in pairs if source in outside}
    started = {end for pair, ports in pairs.items() if any(p.connections for p in ports)
               for end in pair}  # fmt: skip
    touched = {end for pair in pairs for end in pair}
    marked = {
        incident_end(observed.nodes[source], observed.nodes[target])
        for (source, target), ports in pairs.items()
        if any(map(is_incident, ports))
    }
    return Graph(
        view=frame.view,
        from_=windows.text(observed.window.start),
        to=windows.text(observed.window.end),
        as_of=windows.text(frame.now),
        hidden=hidden,
        truncated=bool(hidden.nodes or hidden.edges),
        mode=frame.mode,
        defenders=DefenderCount(live=frame.live, total=frame.total),
        nodes=[
            draw_node(
                observed.nodes[id_],
                running.get(id_, []),
                internet=id_ in to_internet,
                found=id_ in touched and id_ not in started,
                incident=id_ in marked,
                member=id_ in members,
            )
            for id_ in nodes
        ],
        edges=[draw_edge(pair, pairs[pair]) for pair in kept],
    )


def _pairs(observed: Observed, ends: frozenset[NodeKind]) -> dict[Pair, list[EdgeTotal]]:
    pairs: dict[Pair, list[EdgeTotal]] = defaultdict(list)
    for edge in observed.edges:
        source, target = observed.nodes[edge.source], observed.nodes[edge.target]
        if source.kind in ends or target.kind in ends:
            pairs[edge.source, edge.target].append(edge)
    return pairs


def _budget(
    shown: set[str], pairs: dict[Pair, list[EdgeTotal]], everything: bool
) -> tuple[list[str], list[Pair], Hidden]:
    """The nodes and edges kept: incidents, then the most connected; ids decide ties, so views are
    steady."""
    nodes_max = limits.RADAR_NODES_ALL_MAX if everything else limits.RADAR_NODES_MAX
    edges_max = limits.RADAR_EDGES_ALL_MAX if everything else limits.RADAR_EDGES_MAX
    degree: Counter[str] = Counter()
    for source, target in pairs:
        degree[source] += 1
        degree[target] += 1
    incidents = {pair for pair, ports in pairs.items() if any(map(is_incident, ports))}
    involved = {end for pair in incidents for end in pair}
    nodes = sorted(shown, key=lambda id_: (id_ not in involved, -degree[id_], id_))
    kept_nodes = set(nodes[:nodes_max])
    inside = [pair for pair in pairs if pair[0] in kept_nodes and pair[1] in kept_nodes]
    inside.sort(
        key=lambda pair: (pair not in incidents, -(degree[pair[0]] + degree[pair[1]]), pair)
    )
    hidden = Hidden(
        nodes=len(nodes) - len(kept_nodes), edges=len(pairs) - min(len(inside), edges_max)
    )
    return sorted(kept_nodes), sorted(inside[:edges_max]), hidden


def draw_node(
    node: Node,
    running: Iterable[Running],
    *,
    internet: bool,
    found: bool = False,
    incident: bool = False,
    member: bool = False,
) -> GraphNode:
    """One node with what is known of its running instances."""
    instances = list(running)
    return GraphNode(
        id=node.id,
        kind=node.kind,
        name=node.name,
        group=[node.cluster, node.namespace] if node.kind == "app" else [],
        instances=len(instances),
        model=Model(state="learning" if node.kind in MODELLED else None),
        internet=internet,
        tags=_names(instance.tag for instance in instances),
        projects=_names(instance.project for instance in instances),
        hosts=_names(instance.host for instance in instances),
        found=found,
        incident=incident,
        member=member,
    )


def _names(names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name})[: limits.RADAR_NAMES_MAX]


def draw_edge(pair: Pair, totals: list[EdgeTotal]) -> GraphEdge:
    """One edge with its ports in order; of too many, incidents and the most used are listed."""
    ranked = sorted(
        totals,
        key=lambda total: (not is_incident(total), -(total.connections + total.found), total.port),
    )
    listed = sorted(
        ranked[: limits.RADAR_PORTS_MAX], key=lambda total: (total.port, total.protocol)
    )
    return GraphEdge(
        source=pair[0],
        target=pair[1],
        ports=[draw_port(total) for total in listed],
        more_ports=len(ranked) - len(listed),
    )


def draw_port(total: EdgeTotal) -> GraphPort:
    """One port's counts, and the most severe that was decided."""
    verdict, cause = total.decision
    return GraphPort(
        port=total.port,
        protocol="udp" if total.protocol == "udp" else "tcp",
        connections=total.connections,
        answered=total.answered,
        refused=total.refused,
        found=total.found,
        verdict=VERDICTS[verdict],
        cause=cause,
        first_seen=windows.text(total.first_seen),
        last_seen=windows.text(total.last_seen),
        shared=total.shared,
    )


def is_incident(total: EdgeTotal) -> bool:
    """True when something was alerted on or prevented."""
    return VERDICTS[total.decision[0]] in INCIDENTS


def incident_end(source: Node, target: Node) -> str:
    """The node of an incident's edge that is marked: who did it, or to whom somebody outside."""
    return source.id if source.kind in ACTORS else target.id
