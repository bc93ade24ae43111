"""Flows to observations: nothing is lost, nothing is counted twice."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core import nodes
from cnnf.console.core.decisions import UNDECIDED, decision_of
from cnnf.console.core.ingest import Host, Peer, resolve
from cnnf.console.core.nodes import Node
from cnnf.console.core.residents import node_of
from cnnf.protocol.messages import Endpoint, Flow, Instance, Process

NOW = 1_790_000_000_000
HOST = Host(defender="d", name="web-1", addresses=frozenset({"192.0.2.1", "fd00::1"}))
FRONT, NGINX = nodes.app("front"), nodes.service("nginx")
KNOWN = {"c1": FRONT, "service:nginx": NGINX}


def flow(source: Endpoint, target: Endpoint, **more: object) -> Flow:
    values: dict[str, object] = {"port": 80, "connections": 1, "first_seen": NOW, "last_seen": NOW}
    return Flow(source=source, destination=target, **(values | more))  # type: ignore[arg-type]


def end(address: str = "", instance: str = "") -> Endpoint:
    return Endpoint(address=address, instance=instance)


def called(address: str, *names: str) -> Endpoint:
    return Endpoint(address=address, names=names)


def node(endpoint: Endpoint) -> Node:
    """The node that this end is resolved to."""
    resolved = resolve(
        [flow(endpoint, end("10.9.9.9"))], host=HOST, instances=KNOWN, received_at=NOW
    )
    return resolved.nodes[resolved.observations[0].edge.source]


def test_the_instance_decides_then_the_address() -> None:
    own = nodes.host("d", "web-1")
    for endpoint, wanted in (
        (end("10.0.0.1", "c1"), FRONT),
        (end("", "service:nginx"), NGINX),
        (end("10.0.0.1", "gone"), nodes.unmanaged("10.0.0.1")),
        (end("", "gone"), own),
        (end("127.0.0.53"), own),
        (end("::1"), own),
        (end("192.0.2.1"), own),
        (end("fd00::1"), own),
        (end("::ffff:192.0.2.1"), own),
        (end("8.8.8.8"), nodes.INTERNET),
        (end("::ffff:8.8.8.8"), nodes.INTERNET),
        (end("fd00::2"), nodes.unmanaged("fd00::2")),
        (end("fe80::1%eth0"), nodes.unmanaged("fe80::1")),
    ):
        assert node(endpoint) == wanted, endpoint


def test_an_app_is_its_image_within_cluster_and_namespace() -> None:
    one = Instance(id="1", kind="container", name="shop/front", tag="1", cluster="c", namespace="n")
    two = Instance(id="2", kind="container", name="shop/front", tag="2", cluster="c", namespace="n")
    other = Instance(id="3", kind="container", name="shop/front", cluster="c", namespace="m")
    assert node_of(one) == node_of(two)
    assert node_of(one) != node_of(other)
    assert node_of(Instance(id="s", kind="service", name="nginx")) == NGINX


def test_internet_addresses_are_remembered_by_edge() -> None:
    flows = [
        flow(end("", "c1"), end("8.8.8.8"), last_seen=NOW + 5),
        flow(end("", "c1"), end("8.8.4.4")),
        flow(end("", "c1"), end("8.8.8.8")),
    ]
    resolved = resolve(flows, host=HOST, instances=KNOWN, received_at=NOW)
    assert list(resolved.peers.values()) == [{"8.8.8.8": Peer(NOW + 5), "8.8.4.4": Peer(NOW)}]


def test_what_addresses_were_called_is_remembered_with_them() -> None:
    flows = [
        flow(end("", "c1"), called("8.8.8.8", "b.example", "a.example")),
        flow(end("", "c1"), called("8.8.8.8", "c.example", "b.example"), last_seen=NOW + 5),
        flow(end("", "c1"), end("8.8.8.8"), last_seen=NOW + 9),
        # An address of somebody's that no Defender protects; and one without a name.
        flow(end("", "c1"), called("10.9.9.9", "db.corp.example")),
        flow(end("", "c1"), end("10.9.9.8")),
    ]
    resolved = resolve(flows, host=HOST, instances=KNOWN, received_at=NOW)
    assert list(resolved.peers.values()) == [
        {"8.8.8.8": Peer(NOW + 9, ("c.example", "b.example", "a.example"))},
        {"10.9.9.9": Peer(NOW, ("db.corp.example",))},
    ]


def test_an_event_has_the_names_of_who_is_elsewhere() -> None:
    outside = flow(end("", "c1"), called("8.8.8.8", "a.example"), effect="alert", cause="rule:r")
    inside = flow(end("", "c1"), end("", "c2"), effect="alert", cause="rule:r")
    resolved = resolve([outside, inside], host=HOST, instances=KNOWN, received_at=NOW)
    assert {event.destination.names for event in resolved.events} == {("a.example",), ()}


def test_a_process_stands_at_the_local_end() -> None:
    process = Process(pid=1, executable="/bin/x")
    flows = [
        flow(end("", "c1"), end("8.8.8.8"), process=process),
        flow(end("8.8.8.8"), end("", "c1"), process=process),
    ]
    resolved = resolve(flows, host=HOST, instances=KNOWN, received_at=NOW)
    assert [example.side for example in resolved.examples] == ["source", "target"]


def test_times_ahead_are_those_of_arrival() -> None:
    ahead = NOW + limits.CLOCK_AHEAD_MS + 1
    resolved = resolve(
        [flow(end("", "c1"), end("10.0.0.1"), first_seen=ahead, last_seen=ahead)],
        host=HOST, instances=KNOWN, received_at=NOW,
    )  # fmt: skip
    seen = resolved.observations[0]
    assert (seen.first_seen, seen.last_seen) == (NOW, NOW)


ends = st.sampled_from(
    [end("", "c1"), end("", "service:nginx"), end("8.8.8.8"), end("10.0.0.1"), end("", "gone")]
)


@given(
    st.lists(
        st.builds(
            flow,
            ends,
            ends,
            port=st.integers(1, 3),
            connections=st.integers(0, 9),
            found=st.integers(0, 9),
            answered=st.integers(0, 9),
            refused=st.integers(0, 9),
            effect=st.sampled_from([None, "allow", "alert", "prevent"]),
            cause=st.sampled_from(["rule:a", "rule:b"]),
            last_seen=st.integers(NOW, NOW + 3 * limits.MINUTE_MS),
        ),
        max_size=30,
    )
)
def test_what_goes_in_comes_out_summed(flows: list[Flow]) -> None:
    resolved = resolve(flows, host=HOST, instances=KNOWN, received_at=NOW)
    assert sum(o.connections for o in resolved.observations) == sum(f.connections for f in flows)
    assert sum(o.found for o in resolved.observations) == sum(f.found for f in flows)
    assert sum(o.answered for o in resolved.observations) == sum(f.answered for f in flows)
    assert sum(o.refused for o in resolved.observations) == sum(f.refused for f in flows)
    decided = max((decision_of(f) for f in flows), default=UNDECIDED)
    assert max((o.decision for o in resolved.observations), default=UNDECIDED) == decided
    keys = [(o.edge, o.minute) for o in resolved.observations]
    assert len(set(keys)) == len(keys)
    for seen in resolved.observations:
        assert seen.minute <= seen.last_seen < seen.minute + limits.MINUTE_MS
        assert seen.first_seen <= seen.last_seen
        assert {seen.edge.source, seen.edge.target} <= resolved.nodes.keys()
