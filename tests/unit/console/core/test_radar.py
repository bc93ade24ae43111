"""From sums to the graph, and from one graph to the next."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core import nodes
from cnnf.console.core.decisions import UNDECIDED, Decision
from cnnf.console.core.graph import Graph, GraphEdge, GraphNode, View, difference
from cnnf.console.core.nodes import Node
from cnnf.console.core.observed import EdgeTotal, Observed, Running
from cnnf.console.core.radar import Frame, graph
from cnnf.console.core.windows import Window

WINDOW = Window(start=0, end=1000, resolution="minute")
FRONT, BACK, IDLE = nodes.app("front"), nodes.app("back"), nodes.app("idle")
NGINX, CRON = nodes.service("nginx"), nodes.service("cron")
PEER = nodes.unmanaged("10.0.0.1")
ALL = (FRONT, BACK, IDLE, NGINX, CRON, PEER, nodes.INTERNET)


def total(
    source: Node,
    target: Node,
    port: int = 80,
    connections: int = 1,
    found: int = 0,
    decision: Decision = UNDECIDED,
) -> EdgeTotal:
    return EdgeTotal(
        source=source.id,
        target=target.id,
        port=port,
        protocol="tcp",
        connections=connections,
        answered=connections // 2,
        refused=connections // 3,
        found=found,
        decision=decision,
        first_seen=1,
        last_seen=2,
    )


def observed(*edges: EdgeTotal, running: tuple[Node, ...] = ()) -> Observed:
    return Observed(
        window=WINDOW,
        nodes={node.id: node for node in ALL},
        edges=list(edges),
        running=[Running(node=node.id, host="h") for node in running],
    )


def frame(view: View = "containers", *, containers: bool = True, hosts: bool = False) -> Frame:
    return Frame(view=view, now=1000, containers=containers, hosts=hosts, live=1, total=2)


def names(drawn: Graph) -> set[str]:
    return {node.name for node in drawn.nodes}


def test_a_view_shows_its_subjects_and_what_touches_them() -> None:
    seen = observed(
        total(FRONT, BACK),
        total(NGINX, FRONT),
        total(CRON, PEER),
        total(nodes.INTERNET, NGINX),
        running=(FRONT, FRONT, BACK, IDLE, NGINX, CRON),
    )
    containers = graph(seen, frame("containers"))
    assert names(containers) == {"front", "back", "idle", "nginx"}
    counted = {node.name: node.instances for node in containers.nodes}
    assert counted == {"front": 2, "back": 1, "idle": 1, "nginx": 1}
    hosts = graph(seen, frame("hosts"))
    assert names(hosts) == {"nginx", "front", "cron", "10.0.0.1", "internet"}


def test_models_and_the_globe() -> None:
    drawn = graph(observed(total(FRONT, nodes.INTERNET), total(BACK, PEER)), frame())
    found = {node.name: (node.model.state, node.internet) for node in drawn.nodes}
    assert found == {
        "front": ("learning", True),
        "back": ("learning", False),
        "internet": (None, False),
        "10.0.0.1": (None, False),
    }


def test_what_was_only_found_says_so() -> None:
    drawn = graph(observed(total(FRONT, BACK, connections=0, found=3)), frame())
    assert all(node.found for node in drawn.nodes)
    port = drawn.edges[0].ports[0]
    assert (port.connections, port.found, port.verdict, port.cause) == (0, 3, "none", "")


@pytest.mark.parametrize(
    ("view", "containers", "hosts", "limited"),
    [
        ("containers", True, False, False),
        ("containers", False, True, True),
        ("hosts", True, False, True),
        ("hosts", False, True, False),
    ],
)
def test_a_disabled_view_is_limited(
    view: View, containers: bool, hosts: bool, limited: bool
) -> None:
    mode = graph(observed(), frame(view, containers=containers, hosts=hosts)).mode
    assert (mode.containers, mode.hosts, mode.limited) == (containers, hosts, limited)


def test_the_form_is_the_agreed_one() -> None:
    drawn = msgspec.to_builtins(graph(observed(total(FRONT, BACK, 8080, 42)), frame()))
    assert {"view", "from", "to", "as_of", "hidden", "nodes", "edges"} <= drawn.keys()
    assert drawn["hidden"] == {"nodes": 0, "edges": 0}
    agreed = {"id", "kind", "name", "group", "instances", "model", "internet"}
    assert agreed <= drawn["nodes"][0].keys()
    port = {"port": 8080, "protocol": "tcp", "connections": 42, "verdict": "none", "cause": ""}
    assert port.items() <= drawn["edges"][0]["ports"][0].items()


def test_the_budget_hides_the_least_connected_and_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RADAR_NODES_MAX", 3)
    monkeypatch.setattr(limits, "RADAR_EDGES_MAX", 1)
    seen = observed(
        total(FRONT, BACK), total(FRONT, PEER), total(BACK, PEER), total(NGINX, FRONT),
        running=(IDLE,),
    )  # fmt: skip
    drawn = graph(seen, frame())
    assert names(drawn) == {"front", "back", "10.0.0.1"}
    assert (drawn.hidden.nodes, drawn.hidden.edges, drawn.truncated) == (2, 3, True)
    everything = graph(seen, frame(), everything=True)
    assert (len(everything.nodes), len(everything.edges), everything.truncated) == (5, 4, False)


def test_ports_of_an_edge_are_bounded_and_counted() -> None:
    ports = limits.RADAR_PORTS_MAX
    totals = [total(FRONT, BACK, port, connections=port) for port in range(1, ports + 11)]
    edge = graph(observed(*totals), frame()).edges[0]
    assert [p.port for p in edge.ports] == list(range(11, ports + 11))
    assert edge.more_ports == 10


edges = st.lists(
    st.builds(
        total,
        st.sampled_from(ALL),
        st.sampled_from(ALL),
        st.integers(1, 3),
        st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda edge: (edge.source, edge.target, edge.port),
)


@given(edges, edges, st.lists(st.sampled_from(ALL[:5])), st.lists(st.sampled_from(ALL[:5])))
def test_a_change_makes_the_next_graph_of_the_one_before(
    one: list[EdgeTotal], two: list[EdgeTotal], running: list[Node], later: list[Node]
) -> None:
    before = graph(observed(*one, running=tuple(running)), frame())
    after = graph(observed(*two, running=tuple(later)), frame())
    change = difference(before, after)
    drawn: dict[str, GraphNode] = {node.id: node for node in before.nodes}
    lines: dict[tuple[str, str], GraphEdge] = {(e.source, e.target): e for e in before.edges}
    if change is None:
        assert (before.nodes, before.edges) == (after.nodes, after.edges)
        return
    drawn |= {node.id: node for node in change.nodes}
    lines |= {(edge.source, edge.target): edge for edge in change.edges}
    for id_ in change.removed_nodes:
        del drawn[id_]
    for ends in change.removed_edges:
        del lines[ends]
    assert drawn == {node.id: node for node in after.nodes}
    assert lines == {(edge.source, edge.target): edge for edge in after.edges}


@given(edges, st.lists(st.sampled_from(ALL[:5])))
def test_every_edge_has_both_its_nodes(seen: list[EdgeTotal], running: list[Node]) -> None:
    for view in ("containers", "hosts"):
        drawn = graph(observed(*seen, running=tuple(running)), frame(view))
        ids = {node.id for node in drawn.nodes}
        assert len(ids) == len(drawn.nodes)
        assert all(edge.source in ids and edge.target in ids for edge in drawn.edges)


PREVENTED: Decision = (3, "rule:no")


def test_a_port_says_how_it_ended_and_what_decided() -> None:
    drawn = graph(
        observed(
            total(FRONT, BACK, 80, 7, decision=PREVENTED),
            total(FRONT, BACK, 81, decision=(2, "rule:look")),
            total(FRONT, BACK, 82, decision=(1, "rule:yes")),
            total(FRONT, BACK, 83),
        ),
        frame(),
    )
    (edge,) = drawn.edges
    assert [(p.port, p.verdict, p.cause) for p in edge.ports] == [
        (80, "prevent", "rule:no"),
        (81, "alert", "rule:look"),
        (82, "allow", "rule:yes"),
        (83, "none", ""),
    ]
    first = edge.ports[0]
    assert (first.connections, first.answered, first.refused) == (7, 3, 2)


@pytest.mark.parametrize(
    ("source", "target", "marked"),
    [(FRONT, BACK, "front"), (FRONT, nodes.INTERNET, "front"), (NGINX, FRONT, "nginx"),
     (nodes.INTERNET, FRONT, "front"), (PEER, BACK, "back")],
)  # fmt: skip
@pytest.mark.parametrize("decision", [PREVENTED, (2, "rule:look")])
def test_an_incident_marks_who_did_it(
    source: Node, target: Node, marked: str, decision: Decision
) -> None:
    seen = observed(total(source, target, decision=decision), total(IDLE, BACK, decision=(1, "r")))
    drawn = graph(seen, frame())
    assert {node.name for node in drawn.nodes if node.incident} == {marked}


def test_no_budget_hides_an_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RADAR_NODES_MAX", 4)
    monkeypatch.setattr(limits, "RADAR_EDGES_MAX", 1)
    monkeypatch.setattr(limits, "RADAR_PORTS_MAX", 1)
    busy = [total(FRONT, node, 80, 100) for node in (BACK, NGINX, nodes.INTERNET)]
    rare = [total(IDLE, PEER, 1, 1, decision=PREVENTED), total(IDLE, PEER, 2, 50)]
    drawn = graph(observed(*busy, *rare), frame())
    assert {"idle", "10.0.0.1"} <= names(drawn)
    (edge,) = drawn.edges
    assert [(port.port, port.verdict) for port in edge.ports] == [(1, "prevent")]
    assert edge.more_ports == 1
    assert drawn.hidden.edges == 3
