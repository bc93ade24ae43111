"""Ends outside as network objects: who is drawn where, and that nothing is lost or told twice."""

from typing import Any

import pytest

from cnnf.console import limits
from cnnf.console.core import nodes
from cnnf.console.core.nodes import INTERNET, UNMANAGED_REST, Node
from cnnf.console.core.observed import EdgeTotal, Observed, Running, edge_id
from cnnf.console.core.places import Places, between, only, placed
from cnnf.console.core.radar import Frame, graph
from cnnf.console.core.recorded import Peer
from cnnf.console.core.windows import Window
from cnnf.policy.objects import NetworkObject, ObjectKind

FRONT, BACK = nodes.app("front"), nodes.app("back")
NEAR, FAR = nodes.unmanaged("10.0.0.1"), nodes.unmanaged("10.9.0.1")
ALL = (FRONT, BACK, NEAR, FAR, INTERNET, UNMANAGED_REST)
WINDOW = Window(start=0, end=1000, resolution="minute")
PAY = Peer("203.0.113.7", ("api.pay.example",))
OTHER = Peer("198.51.100.1")


def one(name: str, kind: ObjectKind, *values: str) -> NetworkObject:
    return NetworkObject(name=name, kind=kind, values=values)


OFFICE = one("office", "subnet", "10.0.0.0/8")
DESK = one("desk", "subnet", "10.0.0.0/24")
PAYMENTS = one("payments", "dns", "*.pay.example")
API = one("api", "dns", "api.pay.example")
PARTNERS = one("partners", "subnet", "203.0.113.0/24")


def total(source: Node, target: Node, port: int = 443, connections: int = 5) -> EdgeTotal:
    return EdgeTotal(
        source=source.id, target=target.id, port=port, protocol="tcp", connections=connections,
        found=0, first_seen=1, last_seen=2,
    )  # fmt: skip


def seen(*edges: EdgeTotal, peers: dict[int, tuple[Peer, ...]] | None = None) -> Observed:
    """With the peers of edges, by their place."""
    return Observed(
        window=WINDOW,
        nodes={node.id: node for node in ALL},
        edges=list(edges),
        running=[Running(node=FRONT.id, host="h"), Running(node=BACK.id, host="h")],
        peers={edge_id(edges[at]): met for at, met in (peers or {}).items()},
    )


def drawn(observed: Observed, *objects: NetworkObject, **more: Any) -> list[tuple[Any, ...]]:
    found = placed(observed, Places(objects), **more)
    name = {id_: node.name for id_, node in found.nodes.items()}
    return [(name[e.source], name[e.target], e.connections, e.shared) for e in found.edges]


def test_an_address_is_drawn_as_the_narrowest_object_that_has_it() -> None:
    observed = seen(total(FRONT, NEAR), total(FRONT, FAR, 80), total(FAR, BACK))
    assert drawn(observed, OFFICE, DESK) == [
        ("front", "desk", 5, False),
        ("front", "office", 5, False),
        ("office", "back", 5, False),
    ]
    assert drawn(observed, OFFICE, DESK, preferred="office")[0] == ("front", "office", 5, False)
    assert drawn(observed) == drawn(observed, PAYMENTS)


def test_addresses_of_one_object_are_one_end() -> None:
    observed = seen(total(FRONT, NEAR), total(FRONT, FAR, connections=3))
    assert drawn(observed, OFFICE) == [("front", "office", 8, False)]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ((PAYMENTS,), [("front", "payments", 5, True), ("front", "internet", 5, True)]),
        ((PAYMENTS, API), [("front", "api", 5, True), ("front", "internet", 5, True)]),
        ((PARTNERS, API), [("front", "api", 5, True), ("front", "internet", 5, True)]),
        ((OFFICE,), [("front", "internet", 5, False)]),
        ((PARTNERS, one("rest", "subnet", "198.51.100.0/24")),
         [("front", "partners", 5, True), ("front", "rest", 5, True)]),
        ((one("world", "subnet", "0.0.0.0/0"),), [("front", "world", 5, False)]),
    ],
)  # fmt: skip
def test_of_several_addresses_on_the_internet_each_is_drawn_where_it_belongs(
    objects: tuple[NetworkObject, ...], expected: list[tuple[Any, ...]]
) -> None:
    assert drawn(seen(total(FRONT, INTERNET), peers={0: (PAY, OTHER)}), *objects) == expected


def test_where_not_all_addresses_are_kept_the_internet_stays() -> None:
    many = tuple(Peer(f"203.0.113.{n}") for n in range(limits.PEER_ADDRESSES_MAX))
    observed = seen(total(FRONT, INTERNET), peers={0: many})
    assert drawn(observed, PARTNERS) == [
        ("front", "partners", 5, True), ("front", "internet", 5, True),
    ]  # fmt: skip
    # And where none are.
    assert drawn(seen(total(FRONT, INTERNET)), PARTNERS) == [("front", "internet", 5, False)]
    assert drawn(seen(total(FRONT, UNMANAGED_REST)), OFFICE)[0][1] == "other addresses"


def test_an_app_that_reaches_an_object_on_the_internet_reaches_the_internet() -> None:
    found = placed(seen(total(FRONT, INTERNET), peers={0: (PAY,)}), Places((API,)))
    frame = Frame(view="containers", now=1000, containers=True, hosts=True, live=1, total=1)
    (node,) = (one for one in graph(found, frame).nodes if one.name == "api")
    assert (node.kind, node.model.state) == ("object", None)
    assert {one.name for one in graph(found, frame).nodes if one.internet} == {"front"}


def test_a_graph_about_an_object_has_its_edges_and_their_ends() -> None:
    edges = (total(FRONT, NEAR), total(BACK, INTERNET))
    narrowed = only(seen(*edges), {edge_id(edges[0])})
    assert [one.node for one in narrowed.running] == [FRONT.id]
    office = nodes.network_object("office").id
    found = between(placed(narrowed, Places((OFFICE,))), frozenset({office}))
    frame = Frame(view="containers", now=1000, containers=True, hosts=True, live=1, total=1)
    shown = graph(found, frame, members=frozenset({office}))
    assert {(one.name, one.member) for one in shown.nodes} == {("front", False), ("office", True)}
