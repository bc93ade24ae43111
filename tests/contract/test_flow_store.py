"""What every `FlowStore` promises; an implementation in `STORES` is held to all of it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from cnnf.console import limits
from cnnf.console.core import nodes, windows
from cnnf.console.core.decisions import Decision
from cnnf.console.core.observed import Observed
from cnnf.console.errors import Conflict, StoreUnavailable
from cnnf.console.store import sqlite_append, sqlite_flows
from cnnf.console.store.database import Database
from cnnf.console.store.flows import FlowStore
from cnnf.console.store.schema import metadata
from cnnf.console.store.sqlite_flows import SqliteFlowStore
from cnnf.protocol.messages import (
    Batch,
    Effect,
    Endpoint,
    Flow,
    Gap,
    HostInfo,
    Instance,
    Process,
)

T = TypeVar("T")

NOW = 1_790_000_000_000
HOST = HostInfo(name="web-1", addresses=["192.0.2.10"])
RUN_A, RUN_B = "a" * 32, "b" * 32


def sqlite(path: Path) -> tuple[FlowStore, Callable[[], None]]:
    """The store in the Console's own database, and what closes it."""
    database = Database(path / "cnnf.db")
    database.open()
    return SqliteFlowStore(database), database.close


STORES = {"sqlite": sqlite}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FlowStore]:
    """An empty store."""
    made, close = STORES[request.param](tmp_path)
    yield made
    close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await it."""
    return asyncio.run(coroutine)


def container(id_: str, name: str, **more: Any) -> Instance:
    return Instance(id=id_, kind="container", name=name, **more)


def flow(source: str, target: str, port: int = 80, *, at: int = NOW, **more: Any) -> Flow:
    """A flow between ends named by instance, or by address where they look like one."""

    def end(name: str) -> Endpoint:
        is_address = name[0].isdigit() or ":" in name
        return Endpoint(address=name) if is_address else Endpoint(instance=name)

    return Flow(
        source=end(source),
        destination=end(target),
        port=port,
        first_seen=at,
        last_seen=at,
        **({"connections": 1} | more),
    )


def batch(sequence: int, incarnation: str = RUN_A, **more: Any) -> Batch:
    values: dict[str, Any] = {"sent_at": NOW, "host": HOST} | more
    return Batch(incarnation=incarnation, sequence=sequence, **values)


def radar(store: FlowStore, length: int = limits.HOUR_MS, now: int = NOW) -> Observed:
    return run(store.radar(windows.last(length, now + 1), now + 1))


def counts(observed: Observed) -> dict[tuple[str, str, int], int]:
    """Connections by (source name, target name, port)."""
    return {
        (observed.nodes[e.source].name, observed.nodes[e.target].name, e.port): e.connections
        for e in observed.edges
    }


SHOP = [container("c1", "shop/front", tag="1"), container("c2", "shop/back", tag="2")]


def test_instances_come_before_the_flows_of_their_batch(store: FlowStore) -> None:
    run(store.append_batch("d", batch(1, instances=SHOP, flows=[flow("c1", "c2")]), NOW))
    observed = radar(store)
    assert counts(observed) == {("shop/front", "shop/back", 80): 1}
    assert sorted((observed.nodes[r.node].name, r.host, r.tag) for r in observed.running) == [
        ("shop/back", "web-1", "2"),
        ("shop/front", "web-1", "1"),
    ]


def test_a_batch_counts_once_however_often_it_comes(store: FlowStore) -> None:
    one = batch(1, instances=SHOP, flows=[flow("c1", "c2", connections=7)])
    first = run(store.append_batch("d", one, NOW))
    again = [run(store.append_batch("d", one, NOW + n)) for n in range(3)]
    assert (first.duplicate, first.sequence) == (False, 1)
    assert all(a.duplicate and a.sequence == 1 for a in again)
    assert counts(radar(store)) == {("shop/front", "shop/back", 80): 7}


def test_incarnations_and_defenders_have_marks_of_their_own(store: FlowStore) -> None:
    for defender in ("d", "e"):
        for incarnation in (RUN_A, RUN_B):
            run(store.append_batch(defender, batch(1, incarnation, instances=SHOP,
                                                   flows=[flow("c1", "c2")]), NOW))  # fmt: skip
    late = run(store.append_batch("d", batch(1, RUN_A, flows=[flow("c1", "c2")]), NOW))
    assert late.duplicate
    assert counts(radar(store)) == {("shop/front", "shop/back", 80): 4}
    assert run(store.watermark("d", RUN_A)).sequence == 1
    assert run(store.watermark("d", "c" * 32)).sequence == 0


def test_a_missing_batch_is_refused_and_an_announced_gap_is_kept(store: FlowStore) -> None:
    run(store.append_batch("d", batch(1, instances=SHOP), NOW))
    with pytest.raises(Conflict, match="2 is next"):
        run(store.append_batch("d", batch(5, flows=[flow("c1", "c2")]), NOW))
    assert counts(radar(store)) == {}
    gap = Gap(first=2, last=4, flows=30)
    run(store.append_batch("d", batch(5, flows=[flow("c1", "c2")], gap=gap), NOW))
    mark = run(store.watermark("d", RUN_A))
    assert (mark.sequence, mark.lost_batches, mark.lost_flows) == (5, 3, 30)
    assert run(store.append_batch("d", batch(3), NOW)).duplicate


def test_a_batch_that_fails_midway_leaves_the_old_state(
    store: FlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store.append_batch("d", batch(1, instances=SHOP, flows=[flow("c1", "c2")]), NOW))
    before = radar(store)
    real = sqlite_append._take_examples

    def break_down(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk I/O error"))

    # The last step of ingest: everything before it has been written, nothing is committed.
    monkeypatch.setattr(sqlite_append, "_take_examples", break_down)
    with pytest.raises(StoreUnavailable):
        run(store.append_batch("d", batch(2, flows=[flow("c1", "c2"), flow("c2", "c1")]), NOW))
    monkeypatch.setattr(sqlite_append, "_take_examples", real)
    assert radar(store) == before
    assert run(store.watermark("d", RUN_A)).sequence == 1
    taken = run(store.append_batch("d", batch(2, flows=[flow("c1", "c2")]), NOW))
    assert not taken.duplicate
    assert counts(radar(store)) == {("shop/front", "shop/back", 80): 2}


def test_a_failing_batch_does_not_take_its_group_with_it(store: FlowStore) -> None:
    async def both() -> tuple[object, ...]:
        return await asyncio.gather(
            store.append_batch("d", batch(9), NOW),
            store.append_batch("e", batch(1, instances=SHOP, flows=[flow("c1", "c2")]), NOW),
            store.append_batch("f", batch(1, instances=SHOP, flows=[flow("c1", "c2")]), NOW),
            return_exceptions=True,
        )

    results = run(both())
    assert isinstance(results[0], Conflict)
    assert counts(radar(store)) == {("shop/front", "shop/back", 80): 2}


def test_snapshots_stop_what_they_do_not_name(store: FlowStore) -> None:
    run(store.append_batch("d", batch(1, instances=SHOP, snapshot=True), NOW))
    run(store.append_batch("d", batch(2, instances=SHOP[:1], snapshot=True), NOW))
    observed = radar(store)
    assert [observed.nodes[r.node].name for r in observed.running] == ["shop/front"]
    # Kept from before a restart, sent late: it may not bring the dead back, nor kill the living.
    old = batch(1, RUN_B, instances=[SHOP[1], container("c0", "shop/old")], snapshot=True,
                sent_at=NOW - 60_000, flows=[flow("c0", "c1")])  # fmt: skip
    run(store.append_batch("d", old, NOW))
    observed = radar(store)
    assert [observed.nodes[r.node].name for r in observed.running] == ["shop/front"]
    assert counts(observed) == {("shop/old", "shop/front", 80): 1}


def test_a_stopped_instance_leaves_the_count_and_keeps_its_edges(store: FlowStore) -> None:
    run(store.append_batch("d", batch(1, instances=SHOP, flows=[flow("c1", "c2")]), NOW))
    stopped = container("c2", "shop/back", stopped_at=NOW)
    run(store.append_batch("d", batch(2, instances=[stopped]), NOW))
    observed = radar(store)
    assert [observed.nodes[r.node].name for r in observed.running] == ["shop/front"]
    assert counts(observed) == {("shop/front", "shop/back", 80): 1}


def test_a_silent_defender_no_longer_says_what_runs(store: FlowStore) -> None:
    run(store.append_batch("d", batch(1, instances=SHOP), NOW))
    assert len(radar(store, now=NOW + limits.DEFENDER_SILENT_MS - 10).running) == 2
    assert radar(store, now=NOW + limits.DEFENDER_SILENT_MS + 10).running == []


def test_windows_hold_what_was_seen_in_them(store: FlowStore) -> None:
    hours = [NOW - n * limits.HOUR_MS for n in (0, 2, 30, 24 * 20)]
    flows = [flow("c1", "c2", 80 + n, at=at) for n, at in enumerate(hours)]
    run(store.append_batch("d", batch(1, instances=SHOP, flows=flows), NOW))

    def ports(length: int) -> set[int]:
        return {edge.port for edge in radar(store, length).edges}

    assert ports(limits.HOUR_MS) == {80}
    assert ports(3 * limits.HOUR_MS) == {80, 81}
    assert ports(48 * limits.HOUR_MS) == {80, 81, 82}
    assert ports(31 * limits.DAY_MS) == {80, 81, 82, 83}


def test_all_resolutions_agree(store: FlowStore) -> None:
    for sequence in range(1, 41):
        at = NOW - sequence * 17 * limits.MINUTE_MS
        flows = [flow("c1", "c2", connections=sequence, at=at), flow("c2", "c1", found=1, at=at)]
        run(store.append_batch("d", batch(sequence, instances=SHOP, flows=flows), NOW))
    ids = [nodes.app("shop/front").id, nodes.app("shop/back").id]
    totals = set()
    for resolution in ("minute", "hour", "day"):
        window = windows.Window(start=0, end=NOW + 1, resolution=resolution)
        totals.add(sum(b.connections for b in run(store.edge_history(ids[0], ids[1], window))))
    assert totals == {sum(range(1, 41))}
    start, end = NOW - 2 * limits.DAY_MS, NOW + limits.DAY_MS
    assert run(store.rollup("hour", start, end)) == 0
    assert run(store.rollup("day", start, end)) == 0


def test_outcomes_and_the_most_severe_decision_are_kept(store: FlowStore) -> None:
    decided: list[tuple[Effect | None, str]] = [
        ("allow", "rule:yes"), ("prevent", "rule:no"), ("alert", "rule:look"), (None, ""),
        ("prevent", "rule:never"),
    ]  # fmt: skip
    for sequence, (effect, cause) in enumerate(decided, 1):
        at = NOW - sequence * 20 * limits.MINUTE_MS
        flows = [
            flow(
                "c1", "c2", connections=4, answered=2, refused=1, effect=effect, cause=cause, at=at
            ),
            flow("c1", "c2", 81, effect="allow", cause="rule:yes", at=at),
            flow("c1", "c2", 82, at=at),
        ]
        run(store.append_batch("d", batch(sequence, instances=SHOP, flows=flows), NOW))

    def seen(window: windows.Window) -> dict[int, tuple[int, int, int, Decision]]:
        return {
            e.port: (e.connections, e.answered, e.refused, e.decision)
            for e in run(store.radar(window, NOW)).edges
        }

    recent = windows.Window(start=NOW - 45 * limits.MINUTE_MS, end=NOW, resolution="minute")
    assert seen(recent) == {
        80: (8, 4, 2, (3, "rule:no")), 81: (2, 0, 0, (1, "rule:yes")), 82: (2, 0, 0, (0, "")),
    }  # fmt: skip
    for resolution in ("minute", "hour", "day"):
        whole = windows.Window(start=0, end=NOW + 1, resolution=resolution)
        # Of two equally severe ones always the same.
        assert seen(whole)[80] == (20, 10, 5, (3, "rule:no"))
        ids = [nodes.app("shop/front").id, nodes.app("shop/back").id]
        buckets = run(store.edge_history(ids[0], ids[1], whole))
        assert sum(b.answered for b in buckets) == 10
        assert sum(b.refused for b in buckets) == 5
    start, end = NOW - 2 * limits.DAY_MS, NOW + limits.DAY_MS
    assert run(store.rollup("hour", start, end)) == 0
    assert run(store.rollup("day", start, end)) == 0


def execute(statement: str, connection: Connection) -> None:
    connection.execute(text(statement))


def test_a_rollup_makes_lost_buckets_anew(tmp_path: Path) -> None:
    database = Database(tmp_path / "cnnf.db")
    database.open()
    try:
        store = SqliteFlowStore(database)
        for sequence, effect in enumerate(("alert", "prevent", "allow"), 1):
            one = flow("c1", "c2", connections=5, answered=3, refused=1, found=2,
                       effect=effect, cause=f"rule:{effect}", at=NOW - sequence)  # fmt: skip
            run(store.append_batch("d", batch(sequence, instances=SHOP, flows=[one]), NOW))

        def kept() -> list[Any]:
            return database.read_now(lambda c: list(c.execute(text("SELECT * FROM hours"))))

        before = kept()
        start, end = NOW - limits.DAY_MS, NOW + limits.DAY_MS
        for lost in (
            "DELETE FROM hours",
            "UPDATE hours SET verdict = 0, cause = ''",
            "UPDATE hours SET answered = 0",
        ):
            database.write_now(partial(execute, lost))
            assert kept() != before
            assert run(store.rollup("hour", start, end)) == 1
            assert kept() == before
            assert run(store.rollup("hour", start, end)) == 0
    finally:
        database.close()


def test_expiry_is_bounded_and_ends(store: FlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPIRE_ROWS_MAX", 10)
    flows = [flow("c1", "c2", port) for port in range(1, 41)]
    run(store.append_batch("d", batch(1, instances=SHOP, flows=flows), NOW))
    later = NOW + limits.MINUTES_KEPT_MS + limits.DAY_MS
    steps = []
    while done := run(store.expire(later)):
        steps.append(done)
    assert steps == [10, 10, 10, 10]
    window = windows.Window(start=0, end=later, resolution="hour")
    assert len(run(store.radar(window, later)).edges) == 40
    far = NOW + limits.DAYS_KEPT_MS + 3 * limits.DAY_MS
    stopped = [container(i.id, i.name, stopped_at=NOW) for i in SHOP]
    run(store.append_batch("d", batch(2, instances=stopped), NOW))
    while run(store.expire(far)):
        pass
    assert run(store.node(nodes.app("shop/front").id, window)) is None


def test_peers_are_internet_host_or_unmanaged(store: FlowStore) -> None:
    flows = [
        flow("c1", "198.51.100.7", 443),
        flow("c1", "2001:db8::1", 443),
        flow("c1", "10.1.2.3", 25),
        flow("c1", "::ffff:10.1.2.3", 26),
        flow("192.0.2.10", "c1", 80),
        flow("127.0.0.1", "c1", 81),
        flow("c1", "fe80::1", 27),
    ]
    run(store.append_batch("d", batch(1, instances=SHOP, flows=flows), NOW))
    assert counts(radar(store)) == {
        ("shop/front", "internet", 443): 2,
        ("shop/front", "10.1.2.3", 25): 1,
        ("shop/front", "10.1.2.3", 26): 1,
        ("web-1", "shop/front", 80): 1,
        ("web-1", "shop/front", 81): 1,
        ("shop/front", "fe80::1", 27): 1,
    }


def test_an_unknown_instance_falls_back_to_its_address(store: FlowStore) -> None:
    lost = Flow(
        source=Endpoint(instance="lost", address="10.5.5.5"),
        destination=Endpoint(instance="c2"),
        port=1,
        connections=3,
        first_seen=NOW,
        last_seen=NOW,
    )
    nameless = Flow(
        source=Endpoint(instance="lost"),
        destination=Endpoint(instance="c2"),
        port=2,
        connections=4,
        first_seen=NOW,
        last_seen=NOW,
    )
    run(store.append_batch("d", batch(1, instances=SHOP, flows=[lost, nameless]), NOW))
    assert counts(radar(store)) == {("10.5.5.5", "shop/back", 1): 3, ("web-1", "shop/back", 2): 4}


def test_the_same_address_on_two_hosts_is_two_instances(store: FlowStore) -> None:
    for defender, name in (("d", "shop/front"), ("e", "other/app")):
        one = container("same", name, addresses=["172.17.0.2"])
        run(store.append_batch(defender, batch(1, instances=[one],
                                               flows=[flow("same", "10.0.0.1")]), NOW))  # fmt: skip
    assert counts(radar(store)) == {
        ("shop/front", "10.0.0.1", 80): 1,
        ("other/app", "10.0.0.1", 80): 1,
    }


def test_a_node_in_full(store: FlowStore) -> None:
    process = Process(pid=7, executable="/bin/front", command="front -v", user="www")
    flows = [
        flow("c1", "c2", process=process),
        *(flow("c1", f"198.51.100.{n}", 443, at=NOW + n) for n in range(60)),
        flow("c2", "c1", 9),
    ]
    run(store.append_batch("d", batch(1, instances=SHOP, flows=flows), NOW + 100))
    window = windows.last(limits.HOUR_MS, NOW + 200)
    record = run(store.node(nodes.app("shop/front").id, window))
    assert record is not None
    assert [i.id for i in record.instances] == ["c1"]
    edges = {(record.peers[e.total.target].name, e.total.port): e for e in record.edges}
    assert edges.keys() == {("shop/back", 80), ("internet", 443), ("shop/front", 9)}
    assert [p.command for p in edges["shop/back", 80].processes] == ["front -v"]
    addresses = edges["internet", 443].addresses
    assert len(addresses) == limits.PEER_ADDRESSES_MAX
    assert addresses[0] == "198.51.100.59"
    assert run(store.node("app:none", window)) is None


def test_names_of_addresses_stay_with_them(store: FlowStore) -> None:
    def told(sequence: int, *names: str, at: int) -> None:
        target = Endpoint(address="198.51.100.7", names=names)
        called = msgspec.structs.replace(flow("c1", "198.51.100.7", 443, at=at), destination=target)
        flows = [called, flow("c1", "198.51.100.8", 443, at=at)]
        run(store.append_batch("d", batch(sequence, instances=SHOP, flows=flows), NOW + 100))

    told(1, "a.example", at=NOW)
    told(2, at=NOW + 1)
    told(3, "b.example", at=NOW + 2)
    window = windows.last(limits.HOUR_MS, NOW + 200)
    record = run(store.node(nodes.app("shop/front").id, window))
    assert record is not None
    (edge,) = record.edges
    assert set(edge.addresses) == {"198.51.100.7", "198.51.100.8"}
    assert edge.names == {"198.51.100.7": ["b.example", "a.example"]}


def test_a_port_scan_is_bounded_and_counted(
    store: FlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PORTS_OF_PAIR_MAX", 100)
    flows = [flow("c1", "c2", port) for port in range(1, 301)]
    run(store.append_batch("d", batch(1, instances=SHOP, flows=flows), NOW))
    edges = radar(store).edges
    assert len(edges) == 101
    assert sum(edge.connections for edge in edges) == 300
    assert next(edge.connections for edge in edges if edge.port == 0) == 200


def test_unmanaged_addresses_are_bounded_and_counted(
    store: FlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNMANAGED_NODES_MAX", 10)
    flows = [flow(f"10.0.0.{n}", "c1") for n in range(1, 31)]
    run(store.append_batch("d", batch(1, instances=SHOP, flows=flows), NOW))
    found = counts(radar(store))
    assert len(found) == 11
    assert found["other addresses", "shop/front", 80] == 20


def test_a_clock_that_runs_ahead_hides_nothing(store: FlowStore) -> None:
    ahead = NOW + limits.DAY_MS
    run(store.append_batch("d", batch(1, instances=SHOP, flows=[flow("c1", "c2", at=ahead)]), NOW))
    assert counts(radar(store)) == {("shop/front", "shop/back", 80): 1}


def test_what_was_acknowledged_survives_a_reopening(tmp_path: Path) -> None:
    first, close = sqlite(tmp_path)
    run(first.append_batch("d", batch(1, instances=SHOP, flows=[flow("c1", "c2")]), NOW))
    close()
    second, close = sqlite(tmp_path)
    try:
        assert counts(radar(second)) == {("shop/front", "shop/back", 80): 1}
        again = batch(1, flows=[flow("c1", "c2")])
        assert run(second.append_batch("d", again, NOW)).duplicate
    finally:
        close()


def test_every_table_of_history_expires() -> None:
    """A table that nothing ever leaves would grow for ever."""
    bounded = {"hosts"}  # one row an enrolled Defender
    names = set(metadata.tables)
    history = names - {"users", "sessions", "api_tokens", "join_tokens", "defenders"}
    history -= {"settings", "audit", "directory"}
    # Every version of the policy is kept; of rules there are as many as are in force.
    history -= {"policies", "rules_in_force"}
    assert {table for table, _, _ in sqlite_flows._EXPIRY} == history - bounded
