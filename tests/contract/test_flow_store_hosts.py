"""What every `FlowStore` promises about connections between hosts: each is drawn once."""

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cnnf.console import limits
from cnnf.console.core import nodes, windows
from cnnf.console.core.events import EventFilter
from cnnf.console.store.flows import FlowStore
from cnnf.protocol.messages import (
    Batch,
    Endpoint,
    Flow,
    Gap,
    HostInfo,
    HostNetwork,
    Instance,
    Process,
    Published,
)
from tests.contract.test_flow_store import STORES, counts, radar, run

NOW = 1_790_000_000_000
SECOND = 1000
WEB, DB = "192.0.2.1", "192.0.2.2"
DOCKER = HostNetwork(cidr="172.17.0.0/16")
RUN = "a" * 32


class End:
    """A Defender and its host."""

    def __init__(self, store: FlowStore, name: str, address: str, *networks: HostNetwork) -> None:
        self.store = store
        self.name = name
        self.host = HostInfo(name=name, addresses=[address], networks=[*networks, DOCKER])
        self.sequence = 0

    def post(self, *flows: Flow, at: int = NOW, received: int = 0, **more: Any) -> None:
        """A batch, sent at this time and received then or later."""
        self.sequence += 1
        batch = Batch(
            incarnation=RUN, sequence=self.sequence, sent_at=at, host=self.host,
            flows=list(flows), **more,
        )  # fmt: skip
        for _ in range(2):  # whatever comes twice counts once
            run(self.store.append_batch(self.name, batch, received or at))


def flow(source: Endpoint, target: Endpoint, port: int, at: int = NOW, **more: Any) -> Flow:
    values = {"connections": 1, "answered": 1} | more
    return Flow(source=source, destination=target, port=port, first_seen=at, last_seen=at, **values)


def instance(id_: str) -> Endpoint:
    return Endpoint(instance=id_)


def address(text: str) -> Endpoint:
    return Endpoint(address=text)


FRONT = Instance(id="front", kind="container", name="shop/front", addresses=["172.17.0.2"])
CRON = Instance(id="service:cron", kind="service", name="cron")
SHOP = Instance(
    id="shop", kind="container", name="shop/db", addresses=["172.17.0.2"],
    published=[Published(port=15432, to=5432)], ports=[15432],
)  # fmt: skip
SSHD = Instance(id="service:sshd", kind="service", name="sshd", ports=[22])


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FlowStore]:
    """An empty store."""
    made, close = STORES[request.param](tmp_path)
    yield made
    close()


@pytest.fixture
def ends(store: FlowStore) -> tuple[End, End]:
    """Two hosts that have told who lives there."""
    web, db = End(store, "web-1", WEB), End(store, "db-1", DB)
    web.post(instances=[FRONT, CRON], snapshot=True, at=NOW - 60 * SECOND)
    db.post(instances=[SHOP, SSHD], snapshot=True, at=NOW - 60 * SECOND)
    return web, db


def told(at: int = NOW, number: int = 1, source: str = "front", port: int = 15432) -> Flow:
    """As the source's Defender tells it: to the other host's address and port."""
    return flow(instance(source), address(DB), port, at, connections=number, answered=number)


def claimed(at: int = NOW, number: int = 1, target: str = "shop", port: int = 5432) -> Flow:
    """As the destination's Defender tells it: masqueraded, so from the other host's address."""
    return flow(address(WEB), instance(target), port, at, connections=number, answered=number)


ONCE = {("shop/front", "shop/db", 5432): 3}
LATER = NOW + 30 * SECOND


def test_a_published_port_of_another_host_leads_to_its_container(ends: tuple[End, End]) -> None:
    web, db = ends
    for order in ((web, db), (db, web)):
        for one in order:
            one.post(told(number=3) if one is web else claimed(number=3))
    for one in ends:
        one.post(at=LATER)
    assert counts(radar(web.store, now=LATER)) == {("shop/front", "shop/db", 5432): 6}
    assert {node.kind for node in radar(web.store, now=LATER).nodes.values()} == {"app", "service"}


def test_services_and_routed_containers_are_named_at_both_ends(store: FlowStore) -> None:
    routed = [HostNetwork(cidr=f"10.244.{n}.0/24", routed=True) for n in (1, 2)]
    web, db = End(store, "web-1", WEB, routed[0]), End(store, "db-1", DB, routed[1])
    pods = [
        Instance(id=f"pod-{n}", kind="container", name=f"pod/{n}", addresses=[f"10.244.{n}.7"])
        for n in (1, 2)
    ]
    web.post(instances=[CRON, pods[0]], at=NOW - 60 * SECOND)
    db.post(instances=[SSHD, pods[1]], at=NOW - 60 * SECOND)
    web.post(
        flow(instance("service:cron"), address(DB), 22),
        flow(Endpoint(instance="pod-1", address="10.244.1.7"), address("10.244.2.7"), 80),
    )
    db.post(
        flow(address(WEB), instance("service:sshd"), 22),
        flow(address("10.244.1.7"), instance("pod-2"), 80),
        # Only this end tells of it; its address tells who it was.
        flow(address("10.244.1.7"), instance("pod-2"), 81),
    )
    for one in (web, db):
        one.post(at=LATER)
    assert counts(radar(store, now=LATER)) == {
        ("cron", "sshd", 22): 1, ("pod/1", "pod/2", 80): 1, ("pod/1", "pod/2", 81): 1,
    }  # fmt: skip


def test_one_protected_end_is_enough(store: FlowStore) -> None:
    web = End(store, "web-1", WEB)
    web.post(told(number=2), instances=[FRONT])
    assert counts(radar(store)) == {("shop/front", "internet", 15432): 2}
    db = End(store, "db-1", "10.0.0.2")
    db.post(flow(address("10.0.0.1"), instance("shop"), 5432), instances=[SHOP])
    assert counts(radar(store))["10.0.0.1", "shop/db", 5432] == 1


def test_a_source_that_did_not_look_is_its_host(ends: tuple[End, End]) -> None:
    web, db = ends
    db.post(claimed(number=3))
    assert counts(radar(db.store)) == {}
    web.post(at=LATER)
    assert counts(radar(db.store, now=LATER)) == {("web-1", "shop/db", 5432): 3}


def test_a_source_that_is_away_is_its_host_until_it_tells(ends: tuple[End, End]) -> None:
    web, db = ends
    hour = [NOW + minute * limits.MINUTE_MS for minute in range(60)]
    for at in hour:
        db.post(claimed(at, 2), at=at)
    end = hour[-1] + 5 * limits.MINUTE_MS
    db.post(at=end)
    assert counts(radar(db.store, 3 * limits.HOUR_MS, end)) == {("web-1", "shop/db", 5432): 120}
    for at in hour:
        web.post(told(at), told(at, source="service:cron"), at=at, received=end + 1)
    observed = radar(db.store, 3 * limits.HOUR_MS, end + 1)
    assert counts(observed) == {
        ("shop/front", "shop/db", 5432): 60, ("cron", "shop/db", 5432): 60,
    }  # fmt: skip
    # What was taken back has left no trace in any resolution, and each makes the next.
    for resolution in ("minute", "hour", "day"):
        window = windows.Window(start=0, end=end + 1, resolution=resolution)
        assert counts(run(db.store.radar(window, end))) == counts(observed)
    start, stop = NOW - limits.DAY_MS, NOW + 2 * limits.DAY_MS
    assert run(db.store.rollup("hour", start, stop)) == 0
    assert run(db.store.rollup("day", start, stop)) == 0


def test_who_is_not_heard_of_is_not_waited_for(ends: tuple[End, End]) -> None:
    _, db = ends
    db.post(claimed())
    assert run(db.store.expire(NOW + limits.LEDGER_WAIT_MS - 1)) == 0
    assert counts(radar(db.store)) == {}
    while run(db.store.expire(NOW + limits.LEDGER_WAIT_MS)):
        pass
    assert counts(radar(db.store)) == {("web-1", "shop/db", 5432): 1}


def test_news_of_a_container_may_come_after_the_connection(ends: tuple[End, End]) -> None:
    web, db = ends
    web.post(told(port=8080), told(port=81))
    assert counts(radar(web.store)) == {
        ("shop/front", "db-1", 8080): 1, ("shop/front", "db-1", 81): 1,
    }  # fmt: skip
    late = Instance(
        id="late", kind="container", name="shop/late", published=[Published(port=8080, to=80)],
        started_at=NOW - SECOND,
    )  # fmt: skip
    db.post(claimed(target="late", port=80), instances=[late], at=NOW + SECOND)
    db.post(at=LATER)
    web.post(at=LATER)
    assert counts(radar(web.store, now=LATER)) == {
        ("shop/front", "shop/late", 80): 1, ("shop/front", "db-1", 81): 1,
    }  # fmt: skip


def test_a_port_that_changed_hands_meanwhile_leads_to_whose_it_was(ends: tuple[End, End]) -> None:
    web, db = ends
    db.post(instances=[Instance(id="shop", kind="container", name="shop/db", stopped_at=NOW - 500)],
            at=NOW - 400)  # fmt: skip
    new = Instance(
        id="new", kind="container", name="shop/new", published=[Published(port=15432, to=5432)],
        started_at=NOW - 300,
    )  # fmt: skip
    web.post(told(NOW - 600), told(NOW, 2))
    db.post(claimed(NOW - 600), instances=[new], at=NOW + SECOND)
    db.post(claimed(NOW, 2, "new"), at=NOW + 2 * SECOND)
    for one in ends:
        one.post(at=LATER)
    assert counts(radar(web.store, now=LATER)) == {
        ("shop/front", "shop/db", 5432): 1, ("shop/front", "shop/new", 5432): 2,
    }  # fmt: skip


def test_the_same_private_network_on_two_hosts_is_two(ends: tuple[End, End]) -> None:
    web, db = ends
    for one, known in ((web, "front"), (db, "shop")):
        # Not yet known, and the other host has one of this address that is.
        one.post(flow(address("172.17.0.9"), instance(known), 80))
        one.post(flow(instance(known), address("172.17.0.9"), 81))
        one.post(flow(address("172.17.0.1"), instance(known), 82))
    observed = radar(web.store)
    private = [node for node in observed.nodes.values() if node.name == "172.17.0.9"]
    assert len(private) == 2
    assert len(observed.edges) == 6


def test_two_services_of_one_name_are_one_node_with_two_instances(ends: tuple[End, End]) -> None:
    web, db = ends
    web.post(instances=[SSHD])
    web.post(flow(instance("service:cron"), address(DB), 22))
    db.post(flow(address(WEB), instance("service:sshd"), 22))
    db.post(flow(Endpoint(instance="shop"), address(WEB), 22))
    for one in ends:
        one.post(at=LATER)
    observed = radar(web.store, now=LATER)
    hosts = sorted(r.host for r in observed.running if r.node == nodes.service("sshd").id)
    assert hosts == ["db-1", "web-1"]
    assert counts(observed) == {("cron", "sshd", 22): 1, ("shop/db", "sshd", 22): 1}


def test_a_refusal_there_is_one_edge_and_one_event_here(ends: tuple[End, End]) -> None:
    web, db = ends
    process = Process(pid=7, executable="/bin/db")
    for _ in range(2):
        db.post(replace(claimed(number=2), answered=0, effect="prevent", cause="rule:no",
                                process=process))  # fmt: skip
        web.post(replace(told(number=2), answered=0, refused=2))
    for one in ends:
        one.post(at=LATER)
    observed = radar(web.store, now=LATER)
    assert [(e.connections, e.refused, e.decision) for e in observed.edges] == [
        (4, 4, (3, "rule:no"))
    ]
    (event,) = run(web.store.events(EventFilter(), 10, None))
    assert (event.source.name, event.destination.name, event.count) == ("shop/front", "shop/db", 4)
    assert (event.defender_name, event.port) == ("db-1", 5432)
    record = run(web.store.node(nodes.app("shop/db").id, windows.last(limits.HOUR_MS, LATER)))
    assert record is not None
    assert [(p.side, p.host, p.pid) for p in record.edges[0].processes] == [("target", "db-1", 7)]


def test_an_alert_of_both_ends_is_one_event(ends: tuple[End, End]) -> None:
    web, db = ends
    web.post(replace(told(), effect="alert", cause="rule:look"))
    db.post(replace(claimed(), effect="alert", cause="rule:look"))
    for one in ends:
        one.post(at=LATER)
    (event,) = run(web.store.events(EventFilter(), 10, None))
    assert (event.source.name, event.count) == ("shop/front", 1)


def test_found_connections_are_those_the_source_told_of(ends: tuple[End, End]) -> None:
    web, db = ends
    web.post(told())
    for one in ends:
        one.post(at=LATER)
    found = NOW + limits.DAY_MS
    db.post(flow(address(WEB), instance("shop"), 5432, found, connections=0, answered=0, found=1),
            at=found)  # fmt: skip
    web.post(at=found + limits.HOUR_MS)
    assert counts(radar(web.store, 31 * limits.DAY_MS, found)) == {
        ("shop/front", "shop/db", 5432): 1
    }


def test_what_a_lost_batch_told_is_the_hosts(ends: tuple[End, End]) -> None:
    web, db = ends
    db.post(claimed(number=2))
    web.sequence += 3
    gap = Gap(first=web.sequence - 2, last=web.sequence, flows=1)
    web.post(told(), gap=gap, at=LATER)
    assert counts(radar(web.store, now=LATER)) == {
        ("shop/front", "shop/db", 5432): 1, ("web-1", "shop/db", 5432): 1,
    }  # fmt: skip


def test_a_reopened_store_goes_on_where_it_was(tmp_path: Path) -> None:
    store, close = STORES["sqlite"](tmp_path)
    web, db = End(store, "web-1", WEB), End(store, "db-1", DB)
    web.post(instances=[FRONT], at=NOW - 60 * SECOND)
    db.post(claimed(number=3), instances=[SHOP], at=NOW - 60 * SECOND)
    generation = store.directory.generation
    close()
    store, close = STORES["sqlite"](tmp_path)
    try:
        assert store.directory.generation > generation
        web.store = db.store = store
        web.post(told(number=2))
        for one in (web, db):
            one.post(at=LATER)
        assert counts(radar(store, now=LATER)) == {
            ("shop/front", "shop/db", 5432): 2, ("web-1", "shop/db", 5432): 1,
        }  # fmt: skip
    finally:
        close()


# --- any true connections, any order of delivery

_numbers = count()
connection = st.tuples(
    st.integers(0, 900),  # second
    st.sampled_from(["front", "service:cron"]),
    st.sampled_from([(15432, "shop", 5432), (22, "service:sshd", 22)]),
    st.integers(1, 3),  # connections
    st.integers(-30, 30),  # the other clock
    st.sampled_from(["both", "both", "both", "source", "destination"]),
)


@pytest.fixture(scope="module", params=sorted(STORES))
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlowStore]:
    """One store for all examples; each has hosts of its own."""
    made, close = STORES[request.param](tmp_path_factory.mktemp("shared"))
    yield made
    close()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(connection, max_size=15), st.integers(0, 1 << 30), st.booleans())
def test_any_order_draws_the_truth(
    shared: FlowStore, made: list[Any], seed: int, whole: bool
) -> None:
    number = next(_numbers)
    shuffled = random.Random(seed)
    here, there = f"10.{number // 250}.{number % 250}.1", f"10.{number // 250}.{number % 250}.2"
    web, db = End(shared, f"web-{number}", here), End(shared, f"db-{number}", there)
    names = {"front": f"front-{number}", "service:cron": f"cron-{number}", "shop": f"shop-{number}",
             "service:sshd": f"sshd-{number}"}  # fmt: skip
    known = [replace(one, name=names[one.id]) for one in (FRONT, CRON, SHOP, SSHD)]
    web.post(instances=known[:2], at=NOW - 60 * SECOND)
    db.post(instances=known[2:], at=NOW - 60 * SECOND)
    messages = []
    truth: dict[tuple[str, str, int], int] = {}
    only = {"source": 0, "destination": 0, "both": 0}
    for second, source, (port, target, own), connections, skew, tells in made:
        at = NOW + second * SECOND
        figures = {"connections": connections, "answered": connections}
        only[tells] += connections
        if tells != "destination":
            messages.append((web, flow(instance(source), address(there), port, at, **figures)))
            edge = names[source], names[target], own
            truth[edge] = truth.get(edge, 0) + connections
        if tells != "source":
            messages.append(
                (db, flow(address(here), instance(target), own, at + skew * SECOND, **figures))
            )
    shuffled.shuffle(messages)
    end = NOW + 30 * limits.MINUTE_MS
    sent = NOW
    for one, report in messages:
        # In whatever order, with others' batches in between, or a Defender hours late.
        sent = end if whole else max(sent, report.last_seen)
        one.post(report, at=report.last_seen if shuffled.random() < 0.5 else sent, received=end)
    for one in (web, db, web, db):
        one.post(at=end)
    drawn = {
        edge: connections
        for edge, connections in counts(radar(shared, 3 * limits.HOUR_MS, end)).items()
        if edge[0] in (*names.values(), web.name) and connections
    }
    hosts = sum(drawn.pop(edge) for edge in list(drawn) if edge[0] == web.name)
    assert drawn == truth
    assert only["destination"] - only["source"] <= hosts <= only["destination"]
