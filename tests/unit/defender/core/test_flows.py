"""Flows that wait: merged by who they are, bounded, and nothing lost without a count."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import flows as flows_module
from cnnf.defender.core.attribution import Ends, Sighting
from cnnf.defender.core.flows import FlowTable
from cnnf.protocol.messages import Effect, Endpoint, Process

CURL, WGET = Process(pid=1, executable="curl"), Process(pid=2, executable="wget")
FRONT = Endpoint(address="172.18.0.2", instance="front")
CART = Endpoint(address="172.18.0.3", instance="cart")
OUTSIDE = Endpoint(address="203.0.113.7")


def sighting(
    connections: int = 1,
    *,
    first: int = 100,
    last: int = 100,
    effect: Effect | None = None,
    cause: str = "",
    protocol: Literal["tcp", "udp"] = "tcp",
    answered: int = 0,
    refused: int = 0,
    found: int = 0,
    cut: int = 0,
) -> Sighting:
    """Counts and times; the ends are named already."""
    return Sighting(
        destination=b"\1\1\1\1", port=0, protocol=protocol, connections=connections,
        answered=answered, refused=refused, found=found, cut=cut, effect=effect, cause=cause,
        first_seen=first, last_seen=last,
    )  # fmt: skip


def ends(
    source: Endpoint = FRONT,
    target: Endpoint = CART,
    port: int = 80,
    process: Process | None = None,
) -> Ends:
    """Two named ends."""
    return Ends(source, target, port, process)


def test_sightings_of_one_flow_are_added_up() -> None:
    table = FlowTable()
    table.add(ends(), sighting(2, first=100, last=150))
    table.add(ends(), sighting(3, first=50, last=120))
    table.add(ends(), sighting(0, first=130, last=130, found=4))
    (flow,) = table.take(10)
    assert (flow.connections, flow.found, flow.first_seen, flow.last_seen) == (5, 4, 50, 150)
    assert (flow.source, flow.destination, flow.port) == (FRONT, CART, 80)
    assert len(table) == 0


def test_ports_instances_and_unnamed_addresses_tell_flows_apart() -> None:
    table = FlowTable()
    other = Endpoint(address="203.0.113.8")
    for one in (ends(), ends(port=81), ends(target=OUTSIDE), ends(target=other), ends(CART, FRONT)):
        table.add(one, sighting())
    assert len(table) == 5
    assert [flow.port for flow in table.take(2)] == [80, 81]
    assert len(table) == 3


def test_what_became_of_attempts_is_added_up_one_by_one() -> None:
    table = FlowTable()
    table.add(ends(), sighting(5, answered=3, refused=1))
    # Answers may be counted later than what they answer, by themselves.
    table.add(ends(), sighting(0, answered=1))
    table.add(ends(), sighting(0, cut=2, found=1))
    (flow,) = table.take(10)
    figures = flow.connections, flow.answered, flow.refused, flow.cut, flow.found
    assert figures == (5, 4, 1, 2, 1)
    assert (flow.effect, flow.cause) == (None, "")


def test_what_was_decided_and_by_which_rule_is_told_apart() -> None:
    table = FlowTable()
    table.add(ends(), sighting(1))
    table.add(ends(), sighting(2, effect="alert", cause="rule:a"))
    table.add(ends(), sighting(3, effect="alert", cause="rule:b"))
    table.add(ends(), sighting(4, effect="prevent", cause="rule:a"))
    table.add(ends(), sighting(5, effect="alert", cause="rule:a"))
    found = {(flow.effect, flow.cause): flow.connections for flow in table.take(10)}
    assert found == {
        (None, ""): 1,
        ("alert", "rule:a"): 7,
        ("alert", "rule:b"): 3,
        ("prevent", "rule:a"): 4,
    }


def test_protocols_are_told_apart() -> None:
    table = FlowTable()
    table.add(ends(), sighting(1))
    table.add(ends(), sighting(2, protocol="udp"))
    assert [(flow.protocol, flow.connections) for flow in table.take(10)] == [
        ("tcp", 1),
        ("udp", 2),
    ]


def test_an_instance_is_one_end_whatever_its_address() -> None:
    table = FlowTable()
    table.add(ends(), sighting())
    table.add(ends(Endpoint(address="fd00::2", instance="front")), sighting())
    (flow,) = table.take(10)
    assert flow.source == FRONT


def test_an_address_that_becomes_known_is_kept() -> None:
    table = FlowTable()
    table.add(ends(Endpoint(instance="front")), sighting())
    table.add(ends(), sighting())
    table.add(ends(Endpoint(instance="front")), sighting())
    assert table.take(1)[0].source == FRONT


def test_the_latest_process_is_the_example() -> None:
    table = FlowTable()
    for process in (CURL, None, WGET, None):
        table.add(ends(process=process), sighting())
    assert table.take(1)[0].process == WGET


def test_times_are_in_order_whatever_is_told() -> None:
    table = FlowTable()
    table.add(ends(), sighting(first=200, last=100))
    (flow,) = table.take(1)
    assert flow.first_seen <= flow.last_seen


def test_beyond_the_bound_new_flows_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows_module, "PENDING_FLOWS_MAX", 2)
    table = FlowTable()
    for port in (1, 2, 3, 1):
        table.add(ends(port=port), sighting(5))
    assert (len(table), table.lost) == (2, 5)
    assert [flow.connections for flow in table.take(10)] == [10, 5]
    table.add(ends(port=3), sighting())
    assert len(table) == 1


def test_a_destination_gets_the_names_that_its_source_knows_when_it_is_told() -> None:
    table = FlowTable()
    known: dict[Endpoint, tuple[str, ...]] = {}
    table.called = lambda source, _: known.get(source, ())
    table.add(ends(FRONT, OUTSIDE, 443), sighting())
    table.add(ends(CART, OUTSIDE, 443), sighting())
    # The name comes after the flow was seen, as it does with a busy Defender.
    known[FRONT] = ("api.example", "b.example")
    told = {flow.source: flow.destination.names for flow in table.take(10)}
    assert told == {FRONT: ("api.example", "b.example"), CART: ()}


names = st.sampled_from([FRONT, CART, OUTSIDE])
effects: st.SearchStrategy[Effect | None] = st.sampled_from([None, "alert", "prevent"])


@given(
    st.lists(st.tuples(names, names, st.integers(1, 3), st.integers(0, 9), effects), max_size=30),
    st.integers(1, 4),
)
def test_connections_are_conserved_by_what_was_decided(
    script: list[tuple[Endpoint, Endpoint, int, int, Effect | None]], step: int
) -> None:
    table = FlowTable()
    told: dict[Effect | None, int] = {None: 0, "alert": 0, "prevent": 0}
    wanted = dict(told)

    def tell(most: int) -> None:
        for flow in table.take(most):
            told[flow.effect] += flow.connections

    for at, (source, target, port, count, effect) in enumerate(script):
        table.add(ends(source, target, port), sighting(count, effect=effect))
        wanted[effect] += count
        if at % 3 == 2:
            tell(step)
    tell(1_000)
    assert told == wanted
