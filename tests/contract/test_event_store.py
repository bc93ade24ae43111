"""What every `FlowStore` promises of events; an implementation in `STORES` is held to all of it."""

import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.decisions import INCIDENTS
from cnnf.console.core.events import Event, EventFilter
from cnnf.console.errors import StoreUnavailable
from cnnf.console.store import sqlite_append
from cnnf.console.store.database import Database
from cnnf.console.store.flows import FlowStore
from cnnf.console.store.sqlite_events import take_events
from cnnf.console.store.sqlite_flows import SqliteFlowStore
from cnnf.protocol.messages import Endpoint, Flow, HostInfo, Process
from tests.contract.test_flow_store import NOW, RUN_A, RUN_B, SHOP, STORES, batch, flow, run, store

__all__ = ["store"]

EVERYTHING = EventFilter()
HOUR = limits.HOUR_MS


def prevented(source: str = "c1", target: str = "c2", port: int = 80, **more: Any) -> Flow:
    return flow(source, target, port, **({"effect": "prevent", "cause": "rule:x"} | more))


def stored(store: FlowStore, wanted: EventFilter = EVERYTHING, count: int = 500) -> list[Event]:
    return run(store.events(wanted, count, None))


def take(store: FlowStore, sequence: int, *flows: Flow, defender: str = "d", **more: Any) -> int:
    """Append a batch of these flows; how many events it changed."""
    values: dict[str, Any] = {"instances": SHOP, "flows": list(flows)} | more
    return run(store.append_batch(defender, batch(sequence, **values), NOW)).events


def test_an_event_is_stored_whole(store: FlowStore) -> None:
    process = Process(pid=7, executable="/bin/front", command="front -v", user="www")
    changed = take(
        store,
        1,
        prevented(target="8.8.8.8", connections=2, cut=1, process=process),
        flow("c1", "c2"),
    )
    (event,) = stored(store)
    assert changed == 1
    assert (event.kind, event.effect, event.cause) == ("rule", "prevent", "rule:x")
    assert (event.source.name, event.source.kind, event.source.host) == (
        "shop/front", "app", "web-1",
    )  # fmt: skip
    assert (event.source.process, event.source.pid, event.source.user) == ("front -v", 7, "www")
    assert (event.destination.name, event.destination.address) == ("internet", "8.8.8.8")
    assert (event.port, event.protocol, event.count, event.cut) == (80, "tcp", 3, 1)
    assert (event.first_seen, event.last_seen) == (NOW, NOW)
    assert (event.defender, event.defender_name) == ("d", "web-1")


def test_between_mere_addresses_there_are_events_too(store: FlowStore) -> None:
    take(store, 1, prevented("10.1.0.1", "10.2.0.2"))
    (event,) = stored(store)
    assert (event.source.name, event.destination.name) == ("10.1.0.1", "10.2.0.2")
    assert (event.source.kind, event.source.host) == ("unmanaged", "")


def test_repeats_extend_until_a_quiet_hour(store: FlowStore) -> None:
    quiet = limits.EVENT_QUIET_MS
    for sequence, at in enumerate((0, 5, quiet + 5, 2 * quiet + 6), 1):
        take(store, sequence, prevented(at=NOW - 5 * quiet + at))
    start = NOW - 5 * quiet
    assert [(e.first_seen - start, e.last_seen - start, e.count) for e in stored(store)] == [
        (2 * quiet + 6, 2 * quiet + 6, 1),
        (0, quiet + 5, 3),
    ]


def test_a_late_batch_extends_what_it_belongs_to(store: FlowStore) -> None:
    take(store, 1, prevented(at=NOW - 5 * HOUR), prevented(at=NOW))
    take(store, 2, prevented(at=NOW - 5 * HOUR - 10, connections=4))
    assert [(e.first_seen, e.count) for e in stored(store)] == [(NOW, 1), (NOW - 5 * HOUR - 10, 5)]


def test_defenders_do_not_share_events(store: FlowStore) -> None:
    take(store, 1, prevented())
    take(store, 1, prevented(), defender="e", host=HostInfo(name="web-2"))
    assert sorted((e.defender_name, e.count) for e in stored(store)) == [("web-1", 1), ("web-2", 1)]


def test_a_batch_counts_once_however_often_it_comes(store: FlowStore) -> None:
    for _ in range(3):
        take(store, 1, prevented(connections=7))
    run(store.append_batch("d", batch(1, RUN_B, flows=[prevented(connections=2)]), NOW))
    (event,) = stored(store)
    assert event.count == 9


def test_a_batch_that_fails_midway_makes_no_event(
    store: FlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(store, 1, prevented())
    before = stored(store)
    real = take_events

    def break_down(*arguments: Any) -> int:
        real(*arguments)
        raise OperationalError("INSERT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(sqlite_append, "take_events", break_down)
    with pytest.raises(StoreUnavailable):
        take(store, 2, prevented(), prevented(port=81))
    monkeypatch.setattr(sqlite_append, "take_events", real)
    assert stored(store) == before
    take(store, 2, prevented(), prevented(port=81))
    assert sorted((e.port, e.count) for e in stored(store)) == [(80, 2), (81, 1)]


def test_filters(store: FlowStore) -> None:
    take(
        store,
        1,
        prevented(port=1, at=NOW - 10 * HOUR),
        prevented(port=2, effect="alert", cause="model:shop/front/outbound"),
        prevented("c2", "8.8.8.8", 3),
        prevented("10.1.0.1", "10.2.0.2", 4, at=NOW - 2 * HOUR),
    )

    def ports(**wanted: Any) -> set[int]:
        return {event.port for event in stored(store, EventFilter(**wanted))}

    assert ports() == {1, 2, 3, 4}
    assert ports(effect="alert") == {2}
    assert ports(kind="rule") == {1, 3, 4}
    assert ports(kind="scan") == set()
    assert ports(since=NOW - 2 * HOUR) == {2, 3, 4}
    assert ports(until=NOW - 2 * HOUR) == {1, 4}
    assert ports(since=NOW - 3 * HOUR, until=NOW - HOUR) == {4}
    assert ports(name="FRONT") == {1, 2}
    assert ports(name="8.8.8") == {3}
    assert ports(name="10.2.0.2") == {4}
    # No pattern, no end of text, and no search from one name into the next.
    assert ports(name="%") == ports(name="_") == ports(name="*") == ports(name="x\ny") == set()
    assert ports(name="shop", effect="prevent", since=NOW - HOUR) == {3}


def test_pages_follow_one_another(store: FlowStore) -> None:
    take(store, 1, *(prevented(port=port, at=NOW - port // 3) for port in range(1, 25)))
    after, pages = None, []
    while page := run(store.events(EVERYTHING, 7, after)):
        pages.append([event.port for event in page])
        after = (page[-1].last_seen, page[-1].number)
    assert [len(page) for page in pages] == [7, 7, 7, 3]
    ports = [port for page in pages for port in page]
    assert sorted(ports) == list(range(1, 25))
    assert [port // 3 for port in ports] == sorted(port // 3 for port in range(1, 25))


def test_changes_come_in_order_each_with_a_version_of_its_own(store: FlowStore) -> None:
    assert run(store.events_version()) == 0
    take(store, 1, prevented(port=1), prevented(port=2))
    first = run(store.events_version())
    take(store, 2, prevented(port=1), prevented(port=3, effect="alert"))
    take(store, 3, flow("c1", "c2"))

    def changed(since: int, count: int = 9, wanted: EventFilter = EVERYTHING) -> list[int]:
        return [event.port for event in run(store.changed_events(wanted, since, count))]

    assert sorted(changed(first)) == [1, 3]
    assert changed(0) == [2, *changed(first)]
    assert changed(0, count=1) == [2]
    assert changed(0, wanted=EventFilter(effect="alert")) == [3]
    assert changed(run(store.events_version())) == []
    versions = [event.version for event in run(store.changed_events(EVERYTHING, 0, 9))]
    assert len(set(versions)) == 3
    assert versions[-1] == run(store.events_version())


def test_a_port_scan_is_bounded_and_counted(
    store: FlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_PORTS_MAX", 10)
    take(store, 1, *(prevented(port=port) for port in range(1, 31)))
    take(store, 2, *(prevented(port=port) for port in range(1, 31)))
    # Another pair is not the worse for it, nor is what comes after a quiet hour.
    take(store, 3, prevented("c2", "c1", 99), prevented(port=200, at=NOW - 9 * HOUR))
    found = stored(store)
    assert len(found) == 11 + 2
    assert sum(event.count for event in found) == 60 + 2
    assert next(event.count for event in found if event.port == 0) == 40


def test_events_are_bounded_the_longest_unseen_go_first(
    store: FlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENTS_MAX", 10)
    take(store, 1, *(prevented("c1", f"10.0.0.{n}", at=NOW - n) for n in range(1, 31)))
    assert [NOW - event.last_seen for event in stored(store)] == list(range(1, 11))
    take(store, 2, prevented())
    assert [NOW - event.last_seen for event in stored(store)] == list(range(10))


def test_events_end_after_their_time(store: FlowStore) -> None:
    kept = limits.EVENTS_KEPT_MS
    # What is older than that when it comes is not taken in at all.
    assert take(store, 1, prevented(at=NOW - kept - 1), prevented(at=NOW - kept, port=1)) == 1
    take(store, 2, prevented(at=NOW - kept + HOUR, port=2))
    newest = run(store.events_version())
    while run(store.expire(NOW + 1)):
        pass
    assert [event.port for event in stored(store)] == [2]
    while run(store.expire(NOW + 2 * kept)):
        pass
    assert stored(store) == []
    # Neither numbers nor versions are given a second time.
    late = batch(3, flows=[prevented(at=NOW + 2 * kept)])
    run(store.append_batch("d", late, NOW + 2 * kept))
    (event,) = stored(store)
    assert event.number == 3
    assert event.version > newest


batches = st.lists(
    st.lists(
        st.builds(
            prevented,
            st.sampled_from(["c1", "10.0.0.7"]),
            st.sampled_from(["c2", "8.8.8.8"]),
            st.integers(1, 3),
            at=st.integers(NOW - 4 * HOUR, NOW),
            connections=st.integers(0, 5),
            cut=st.integers(0, 2),
            effect=st.sampled_from([None, "allow", "alert", "prevent"]),
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("name", sorted(STORES))
@settings(max_examples=40, deadline=None)
@given(sent=batches, replays=st.lists(st.integers(0, 4), max_size=6))
def test_replayed_batches_are_in_events_once(
    name: str, sent: list[list[Flow]], replays: list[int]
) -> None:
    """However flows are spread over batches, and however often each comes: counted once."""
    with tempfile.TemporaryDirectory() as folder:
        made, close = STORES[name](Path(folder))
        try:
            for sequence, flows in enumerate(sent, 1):
                take(made, sequence, *flows)
                for again in replays:
                    if again < sequence:
                        assert take(made, again + 1, *sent[again]) == 0
            found = stored(made)
        finally:
            close()
    wanted: dict[tuple[str, str, str | None, int], int] = {}
    for one in (f for flows in sent for f in flows if f.effect in INCIDENTS):
        key = (_name(one.source), _name(one.destination), one.effect, one.port)
        wanted[key] = wanted.get(key, 0) + one.connections + one.cut
    told = {
        key: sum(event.count for event in group)
        for key, group in groupby(sorted(found, key=_key), key=_key)
    }
    assert told == {key: count for key, count in wanted.items() if count}


def _name(end: Endpoint) -> str:
    names = {"c1": "shop/front", "c2": "shop/back", "8.8.8.8": "internet"}
    return names.get(end.instance or end.address, end.address)


def _key(event: Event) -> tuple[str, str, str, int]:
    return event.source.name, event.destination.name, event.effect, event.port


def test_an_older_database_is_brought_up_and_keeps_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first form of the database, with everything that it held."""
    from alembic import command

    path = tmp_path / "cnnf.db"
    real = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: real(config, "0001"))
    old = Database(path)
    old.open()

    def fill(connection: Connection) -> None:
        for statement in (
            "INSERT INTO settings VALUES (1, 7, 1, 0)",
            "INSERT INTO nodes VALUES (1, 'app:a', 'app', 'a', '', '')",
            "INSERT INTO nodes VALUES (2, 'app:b', 'app', 'b', '', '')",
            f"INSERT INTO edges VALUES (1, 1, 2, 80, 'tcp', {NOW}, {NOW})",
            *(
                f"INSERT INTO {table} VALUES ({NOW - NOW % length}, 1, 42, 3, {NOW}, {NOW})"
                for table, length in (("minutes", 60_000), ("hours", HOUR), ("days", 24 * HOUR))
            ),
            f"INSERT INTO marks VALUES ('d', '{RUN_A}', 5, {NOW})",
        ):
            connection.execute(text(statement))

    old.write_now(fill)
    old.close()
    monkeypatch.setattr(command, "upgrade", real)
    new = Database(path)
    new.open()
    try:
        held = SqliteFlowStore(new)
        for resolution in ("minute", "hour", "day"):
            window = windows.Window(start=0, end=NOW + 1, resolution=resolution)
            (edge,) = run(held.radar(window, NOW)).edges
            assert (edge.connections, edge.found, edge.answered, edge.refused) == (42, 3, 0, 0)
            assert edge.decision == (0, "")
        row = new.read_now(lambda c: c.execute(text("SELECT * FROM settings")).mappings().one())
        assert dict(row) == {
            "id": 1, "version": 7, "containers": 1, "hosts": 0,
            "udp": 0, "refuse_with": "reset", "cut": 1,
        }  # fmt: skip
        assert run(held.watermark("d", RUN_A)).sequence == 5
        assert stored(held) == []
        take(held, 6, prevented())
        assert len(stored(held)) == 1
    finally:
        new.close()
