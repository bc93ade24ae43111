"""Repeats are taken together, and each is counted once, in whatever order they come."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core import nodes
from cnnf.console.core.event_form import cursor_of, form
from cnnf.console.core.events import Event, belongs, extend, gather, kind_of, other_ports
from cnnf.console.core.ingest import Host, resolve
from cnnf.console.core.nodes import Node
from cnnf.console.errors import Refused
from cnnf.protocol.messages import Endpoint, Flow, Process

NOW = 1_790_000_000_000
HOUR = limits.HOUR_MS
HOST = Host(defender="d", name="web-1", addresses=frozenset({"192.0.2.1"}))
KNOWN: dict[str, Node] = {"c1": nodes.app("front"), "c2": nodes.app("back")}


def end(name: str) -> Endpoint:
    return Endpoint(instance=name) if name in KNOWN else Endpoint(address=name)


def flow(source: str = "c1", target: str = "c2", *, at: int = NOW, **more: object) -> Flow:
    values: dict[str, object] = {
        "port": 80,
        "connections": 1,
        "effect": "prevent",
        "cause": "rule:x",
        "first_seen": at,
        "last_seen": at,
    }
    return Flow(source=end(source), destination=end(target), **(values | more))  # type: ignore[arg-type]


def events(*flows: Flow, host: Host = HOST) -> list[Event]:
    return resolve(list(flows), host=host, instances=KNOWN, received_at=NOW + 10 * HOUR).events


def test_alerts_and_preventions_are_events_and_nothing_else_is() -> None:
    made = events(
        flow(effect="prevent", cause="rule:a"),
        flow(effect="alert", cause="rule:b"),
        flow(effect="allow", cause="rule:c"),
        flow(effect=None, cause=""),
    )
    assert sorted((e.effect, e.cause) for e in made) == [("alert", "rule:b"), ("prevent", "rule:a")]


def test_an_answer_that_comes_later_is_no_repeat() -> None:
    assert events(flow(effect="alert", connections=0, answered=3)) == []


def test_attempts_found_and_cut_connections_are_counted() -> None:
    (made,) = events(flow(connections=2, found=3, cut=4))
    assert (made.count, made.cut) == (9, 4)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [("rule:x", "rule"), ("model:front/outbound", "model"), ("scan:ports", "scan"), ("", "rule")],
)
def test_the_cause_says_the_kind(cause: str, kind: str) -> None:
    assert kind_of(cause) == kind


def test_ends_say_who_where_and_by_which_process() -> None:
    process = Process(pid=7, executable="/bin/x", command="x --all", user="www")
    bare = Process(pid=8, executable="/bin/y")
    out, inward, mere = events(
        flow("c1", "8.8.8.8", process=process),
        flow("::ffff:10.0.0.9", "c2", process=bare),
        flow("10.0.0.7", "10.0.0.8"),
    )
    assert (out.source.name, out.source.kind, out.source.host) == ("front", "app", "web-1")
    assert (out.source.process, out.source.pid, out.source.user) == ("x --all", 7, "www")
    assert (out.destination.name, out.destination.address) == ("internet", "8.8.8.8")
    assert (out.destination.host, out.destination.process) == ("", "")
    assert (inward.source.name, inward.source.process) == ("10.0.0.9", "")
    assert (inward.destination.process, inward.destination.host) == ("/bin/y", "web-1")
    # Between ends that Radar does not draw.
    assert (mere.source.name, mere.destination.name) == ("10.0.0.7", "10.0.0.8")


def test_the_hosts_own_address_is_the_host() -> None:
    (made,) = events(flow("192.0.2.1", "c1"))
    assert (made.source.name, made.source.kind, made.source.host) == ("web-1", "host", "web-1")


def test_whatever_differs_is_an_event_of_its_own() -> None:
    made = events(
        flow(),
        flow(effect="alert"),
        flow(cause="rule:y"),
        flow("c2", "c1"),
        flow("c1", "c1"),
        flow(port=81),
        flow(protocol="udp"),
    )
    assert len(made) == len({event.key for event in made}) == 7
    (elsewhere,) = events(flow(), host=Host(defender="e", name="web-1"))
    assert elsewhere.key not in {event.key for event in made}


def test_a_quiet_hour_ends_an_event() -> None:
    quiet = limits.EVENT_QUIET_MS
    made = events(flow(at=NOW), flow(at=NOW + quiet), flow(at=NOW + 2 * quiet + 1))
    assert [(e.first_seen, e.last_seen, e.count) for e in made] == [
        (NOW, NOW + quiet, 2),
        (NOW + 2 * quiet + 1, NOW + 2 * quiet + 1, 1),
    ]


def test_an_event_keeps_what_the_latest_does_not_tell() -> None:
    told, untold = events(
        flow("c1", "8.8.8.8", process=Process(pid=7, executable="/bin/x")),
        flow("c1", "8.8.4.4", at=NOW + 5, port=81),
    )
    untold = msgspec.structs.replace(untold, key=told.key)
    for merged in (extend(told, untold), extend(untold, told)):
        assert (merged.source.process, merged.source.pid) == ("/bin/x", 7)
        assert merged.destination.address == "8.8.4.4"
        assert (merged.first_seen, merged.last_seen) == (NOW, NOW + 5)


def test_an_event_keeps_the_names_of_the_address_that_it_shows() -> None:
    named, untold = events(flow("c1", "8.8.8.8"), flow("c1", "8.8.8.8", at=NOW + 5, port=81))
    end_ = msgspec.structs.replace(named.destination, names=("a.example",))
    named = msgspec.structs.replace(named, destination=end_, key=untold.key)
    (elsewhere,) = events(flow("c1", "8.8.4.4", at=NOW + 9))
    assert extend(named, untold).destination.names == ("a.example",)
    assert extend(named, elsewhere).destination.names == ()


def test_other_ports_are_one_event_of_the_pair_and_protocol() -> None:
    one, two, udp = events(flow(port=1), flow(port=2), flow(port=2, protocol="udp"))
    assert other_ports(one).key == other_ports(two).key != other_ports(udp).key
    assert other_ports(one).port == 0
    assert other_ports(one).key not in (one.key, two.key)


def test_a_cursor_comes_back_as_it_went_out() -> None:
    (made,) = events(flow())
    assert cursor_of(form(msgspec.structs.replace(made, number=12)).cursor) == (NOW, 12)


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "1-2-3", "a-b", "1-٣", "1" * 17 + "-1", "1.5-2"]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no cursor"):
        cursor_of(text)


flows = st.lists(
    st.builds(
        flow,
        st.sampled_from(["c1", "c2", "10.0.0.7"]),
        st.sampled_from(["c2", "8.8.8.8"]),
        at=st.integers(NOW - 5 * HOUR, NOW),
        port=st.integers(1, 2),
        connections=st.integers(0, 9),
        found=st.integers(0, 3),
        cut=st.integers(0, 3),
        effect=st.sampled_from([None, "allow", "alert", "prevent"]),
        cause=st.sampled_from(["rule:x", "model:m"]),
    ),
    max_size=25,
)


@given(flows)
def test_every_occurrence_is_in_one_event(given_flows: list[Flow]) -> None:
    incidents = [f for f in given_flows if f.effect in ("alert", "prevent")]
    made = events(*given_flows)
    assert sum(e.count for e in made) == sum(f.connections + f.found + f.cut for f in incidents)
    assert sum(e.cut for e in made) == sum(f.cut for f in incidents)
    for event in made:
        for other in made:
            assert event is other or event.key != other.key or not belongs(event, other)


@given(flows, st.randoms(use_true_random=False))
def test_the_order_within_a_batch_does_not_matter(given_flows: list[Flow], random: object) -> None:
    shuffled = list(given_flows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def told(found: list[Event]) -> list[tuple[object, ...]]:
        return sorted((e.key, e.first_seen, e.last_seen, e.count, e.cut) for e in found)

    assert told(events(*given_flows)) == told(events(*shuffled))
    assert told(gather(events(*given_flows))) == told(events(*given_flows))
