"""Ingest on SQLite: one batch, inside the writer's transaction.

Plain SQL on the driver's connection: a full batch has 20,000 flows, and building each statement
anew would take ten times as long. Called by `SqliteFlowStore.append_batch` only.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.console.core import nodes, sequence
from cnnf.console.core.directory import Directory
from cnnf.console.core.ingest import EdgeKey, Host, Peer, Resolved, resolve
from cnnf.console.core.nodes import Node
from cnnf.console.core.residents import node_of
from cnnf.console.errors import Conflict
from cnnf.console.store import rule_hits, sqlite_buckets
from cnnf.console.store.flows import Appended
from cnnf.console.store.sqlite_events import take_events
from cnnf.console.store.sqlite_ledger import Ledger
from cnnf.protocol.messages import Batch, Instance

#: SQLite takes 32,766 parameters in one statement; a few hundred are as quick.
_CHUNK = 500

_UPSERT_EDGE = """
INSERT INTO edges (source, target, port, protocol, first_seen, last_seen)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (source, target, port, protocol) DO UPDATE SET
  first_seen = min(first_seen, excluded.first_seen),
  last_seen = max(last_seen, excluded.last_seen)
RETURNING number
"""
_UPSERT_INSTANCE = """
INSERT INTO instances (defender, id, node, kind, tag, digest, project, title, labels, addresses,
                       ports, pid, started_at, stopped_at, published, host_network, workload,
                       pod, state, health, restarts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (defender, id) DO {action}
"""
_REPLACE_INSTANCE = _UPSERT_INSTANCE.format(
    action="""UPDATE SET
  node = excluded.node, kind = excluded.kind, tag = excluded.tag, digest = excluded.digest,
  project = excluded.project, title = excluded.title, labels = excluded.labels,
  addresses = excluded.addresses, ports = excluded.ports, pid = excluded.pid,
  started_at = excluded.started_at, stopped_at = excluded.stopped_at,
  published = excluded.published, host_network = excluded.host_network,
  workload = excluded.workload, pod = excluded.pod, state = excluded.state,
  health = excluded.health, restarts = excluded.restarts"""
)
_ADD_INSTANCE = _UPSERT_INSTANCE.format(action="NOTHING")


def append(
    connection: Connection, defender: str, batch: Batch, received_at: int, directory: Directory
) -> Appended:
    """Take the batch; see `FlowStore.append_batch`."""
    sql = connection.connection.driver_connection
    assert sql is not None
    mark = _mark(sql, defender, batch.incarnation)
    decision = sequence.decide(mark, batch.sequence, batch.gap)
    if decision == "duplicate":
        return Appended(sequence=mark, duplicate=True)
    if decision == "missing":
        raise Conflict(
            f"batch {batch.sequence} came, but {mark + 1} is next and no gap accounts for it",
            code="batch-missing",
            where="sequence",
        )
    host = _host(sql, defender, batch, received_at)
    _take_instances(sql, host, batch, received_at)
    known = _known_instances(sql, defender, batch)
    resolved = resolve(
        batch.flows, host=host, instances=known, received_at=received_at, directory=directory
    )
    ledger = Ledger(sql, directory, received_at, defender)
    ledger.take(resolved.told, resolved.claims)
    ledger.settle()
    ledger.post(resolved)
    _take_flows(sql, resolved, host.name)
    changed = take_events(sql, resolved.events, received_at)
    rule_hits.count(sql, resolved.hits)
    if resolved.unknown_instances:
        sql.execute(
            "UPDATE hosts SET unknown_instances = unknown_instances + ? WHERE defender = ?",
            (resolved.unknown_instances, defender),
        )
    if batch.gap is not None:
        _take_gap(sql, defender, batch, received_at)
    sql.execute(
        "INSERT INTO marks (defender, incarnation, sequence, updated_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (defender, incarnation) DO UPDATE SET "
        "sequence = excluded.sequence, updated_at = excluded.updated_at",
        (defender, batch.incarnation, batch.sequence, received_at),
    )
    return Appended(sequence=batch.sequence, duplicate=False, events=changed)


def _mark(sql: Any, defender: str, incarnation: str) -> int:
    row = sql.execute(
        "SELECT sequence FROM marks WHERE defender = ? AND incarnation = ?",
        (defender, incarnation),
    ).fetchone()
    return row[0] if row else 0


def _take_gap(sql: Any, defender: str, batch: Batch, received_at: int) -> None:
    assert batch.gap is not None
    gap = batch.gap
    sql.execute(
        "INSERT INTO gaps (defender, incarnation, first, last, flows, at) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (defender, batch.incarnation, gap.first, gap.last, gap.flows, received_at),
    )


def settle(connection: Connection, now: int, directory: Directory) -> int:
    """Credit what nobody else will tell of any more; how many accounts were due."""
    sql = connection.connection.driver_connection
    resolved = resolve([], host=Host(defender=""), instances={}, received_at=now)
    ledger = Ledger(sql, directory, now)
    settled = ledger.settle()
    ledger.post(resolved)
    _take_flows(sql, resolved, "")
    take_events(sql, resolved.events, now)
    return settled


def _host(sql: Any, defender: str, batch: Batch, received_at: int) -> Host:
    """The host as this batch or an earlier one tells it."""
    # A clock that runs ahead has not delivered what is still to come.
    delivered_at = min(batch.sent_at, received_at)
    sql.execute(
        "INSERT INTO hosts (defender, name, addresses, heard_at, told_at, unknown_instances, "
        "delivered_at, returned_at) VALUES (?1, '', '[]', ?2, 0, 0, 0, ?2) "
        "ON CONFLICT (defender) DO UPDATE SET heard_at = ?2, "
        "returned_at = CASE WHEN heard_at < ?2 - ?3 THEN ?2 ELSE returned_at END",
        (defender, received_at, limits.DEFENDER_AWAY_MS),
    )
    told = batch.host
    if told is not None:
        sql.execute(
            "UPDATE hosts SET name = ?, addresses = ?, networks = ? "
            "WHERE defender = ? AND delivered_at <= ?",
            (
                told.name,
                json.dumps(told.addresses),
                msgspec.json.encode(told.networks).decode(),
                defender,
                delivered_at,
            ),
        )
    name, addresses = sql.execute(
        "UPDATE hosts SET delivered_at = max(delivered_at, ?) WHERE defender = ? "
        "RETURNING name, addresses",
        (delivered_at, defender),
    ).fetchone()
    return Host(defender=defender, name=name, addresses=frozenset(json.loads(addresses)))


def _take_instances(sql: Any, host: Host, batch: Batch, received_at: int) -> None:
    if not batch.instances and not batch.snapshot:
        return
    defender = host.defender
    (told_at,) = sql.execute("SELECT told_at FROM hosts WHERE defender = ?", (defender,)).fetchone()
    # A batch kept from before a restart may come after newer ones: it may name what it knew, but
    # says nothing about what runs now.
    newest = batch.sent_at >= told_at
    numbers = ensure_nodes(sql, {node.id: node for node in map(node_of, batch.instances)})
    sql.executemany(
        _REPLACE_INSTANCE if newest else _ADD_INSTANCE,
        [_instance_row(defender, item, numbers, newest, batch.sent_at) for item in batch.instances],
    )
    if not newest:
        return
    sql.execute("UPDATE hosts SET told_at = ? WHERE defender = ?", (batch.sent_at, defender))
    if batch.snapshot:
        running = {item.id for item in batch.instances}
        gone = [
            id_
            for (id_,) in sql.execute(
                "SELECT id FROM instances WHERE defender = ? AND stopped_at = 0", (defender,)
            )
            if id_ not in running
        ]
        sql.executemany(
            "UPDATE instances SET stopped_at = ? WHERE defender = ? AND id = ?",
            [(min(batch.sent_at, received_at), defender, id_) for id_ in gone],
        )


def _instance_row(
    defender: str, item: Instance, numbers: dict[str, int], newest: bool, sent_at: int
) -> tuple[Any, ...]:
    stopped_at = item.stopped_at if newest or item.stopped_at else sent_at
    return (
        defender,
        item.id,
        numbers[node_of(item).id],
        item.kind,
        item.tag,
        item.digest,
        item.project,
        item.title,
        json.dumps(item.labels),
        json.dumps(item.addresses),
        json.dumps(item.ports),
        item.pid,
        item.started_at,
        stopped_at,
        msgspec.json.encode(item.published).decode(),
        item.host_network,
        item.workload,
        item.pod,
        item.state,
        item.health,
        item.restarts,
    )


def _known_instances(sql: Any, defender: str, batch: Batch) -> dict[str, Node]:
    named = {end.instance for flow in batch.flows for end in (flow.source, flow.destination)}
    named.discard("")
    known: dict[str, Node] = {}
    for chunk in _chunks(sorted(named)):
        marks = ", ".join("?" * len(chunk))
        rows = sql.execute(
            "SELECT i.id, n.id, n.kind, n.name, n.cluster, n.namespace FROM instances i "  # noqa: S608
            f"JOIN nodes n ON n.number = i.node WHERE i.defender = ? AND i.id IN ({marks})",
            (defender, *chunk),
        )
        for instance, id_, kind, name, cluster, namespace in rows:
            known[instance] = Node(
                id=id_, kind=kind, name=name, cluster=cluster, namespace=namespace
            )
    return known


def ensure_nodes(sql: Any, wanted: dict[str, Node]) -> dict[str, int]:
    """The numbers of these nodes by id; new ones are added, within the bound on peers."""
    numbers = _numbers(sql, wanted)
    missing = [node for id_, node in wanted.items() if id_ not in numbers]
    unmanaged = [node for node in missing if node.kind == nodes.UNMANAGED_REST.kind]
    rest: set[str] = set()
    if unmanaged:
        (count,) = sql.execute("SELECT count(*) FROM nodes WHERE kind = 'unmanaged'").fetchone()
        room = max(0, limits.UNMANAGED_NODES_MAX - count)
        rest = {node.id for node in unmanaged[room:]}
        if rest:
            missing.append(nodes.UNMANAGED_REST)
    sql.executemany(
        "INSERT INTO nodes (id, kind, name, cluster, namespace) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING",
        [
            (node.id, node.kind, node.name, node.cluster, node.namespace)
            for node in missing
            if node.id not in rest
        ],
    )
    hosts = [(n.name, n.id, n.name) for n in wanted.values() if n.kind == "host"]
    # A host keeps its node when it is renamed.
    sql.executemany("UPDATE nodes SET name = ? WHERE id = ? AND name <> ?", hosts)
    numbers |= _numbers(sql, (node.id for node in missing))
    for id_ in rest:
        numbers[id_] = numbers[nodes.UNMANAGED_ID]
    return numbers


def _numbers(sql: Any, ids: Iterable[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for chunk in _chunks(list(ids)):
        marks = ", ".join("?" * len(chunk))
        numbers.update(
            sql.execute(f"SELECT id, number FROM nodes WHERE id IN ({marks})", chunk)  # noqa: S608
        )
    return numbers


def _take_flows(sql: Any, resolved: Resolved, host: str) -> None:
    numbers = ensure_nodes(sql, resolved.nodes)
    edges: dict[EdgeKey, int] = {}
    pair_ports: dict[tuple[int, int], int] = {}
    for seen in resolved.observations:
        if seen.edge not in edges:
            edges[seen.edge] = _ensure_edge(
                sql, seen.edge, numbers, pair_ports, seen.first_seen, seen.last_seen
            )
    sqlite_buckets.add(sql, resolved.observations, edges)
    _take_peers(sql, resolved, edges)
    _take_examples(sql, resolved, edges, host)


def _ensure_edge(
    sql: Any,
    key: EdgeKey,
    numbers: dict[str, int],
    pair_ports: dict[tuple[int, int], int],
    first_seen: int,
    last_seen: int,
) -> int:
    source, target = numbers[key.source], numbers[key.target]
    port = key.port
    present = sql.execute(
        "SELECT number FROM edges WHERE source = ? AND target = ? AND port = ? AND protocol = ?",
        (source, target, port, key.protocol),
    ).fetchone()
    if present is None:
        pair = (source, target)
        if pair not in pair_ports:
            (pair_ports[pair],) = sql.execute(
                "SELECT count(*) FROM edges WHERE source = ? AND target = ?", pair
            ).fetchone()
        if pair_ports[pair] >= limits.PORTS_OF_PAIR_MAX:
            port = 0
        pair_ports[pair] += 1
    number: int = sql.execute(
        _UPSERT_EDGE, (source, target, port, key.protocol, first_seen, last_seen)
    ).fetchone()[0]
    return number


def _take_peers(sql: Any, resolved: Resolved, edges: dict[EdgeKey, int]) -> None:
    for edge, seen in resolved.peers.items():
        latest = sorted(seen.items(), key=lambda item: -item[1].seen_at)
        del latest[limits.PEER_ADDRESSES_MAX :]
        sql.executemany(
            "INSERT INTO edge_peers (edge, address, seen_at, names) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (edge, address) DO UPDATE SET "
            "seen_at = max(seen_at, excluded.seen_at), names = excluded.names",
            [
                (edges[edge], address, peer.seen_at, _names(sql, edges[edge], address, peer))
                for address, peer in latest
            ],
        )
        sql.execute(
            "DELETE FROM edge_peers WHERE edge = ?1 AND address NOT IN (SELECT address FROM "
            "edge_peers WHERE edge = ?1 ORDER BY seen_at DESC LIMIT ?2)",
            (edges[edge], limits.PEER_ADDRESSES_MAX),
        )


def _names(sql: Any, edge: int, address: str, peer: Peer) -> str:
    """All names of a peer: those of this batch, and what is kept."""
    held = sql.execute(
        "SELECT seen_at, names FROM edge_peers WHERE edge = ? AND address = ?", (edge, address)
    ).fetchone()
    if held is not None:
        peer = Peer(held[0], tuple(json.loads(held[1]))).seen(peer.seen_at, peer.names)
    return json.dumps(peer.names)


def _take_examples(sql: Any, resolved: Resolved, edges: dict[EdgeKey, int], host: str) -> None:
    touched = set()
    for example in resolved.examples:
        process = example.process
        touched.add(edges[example.edge])
        sql.execute(
            "INSERT INTO edge_processes (edge, side, host, executable, command, user, pid, "
            "seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "user = excluded.user, pid = excluded.pid, seen_at = excluded.seen_at",
            (
                edges[example.edge],
                example.side,
                example.host or host,
                process.executable,
                process.command,
                process.user,
                process.pid,
                example.seen_at,
            ),
        )
    sql.executemany(
        "DELETE FROM edge_processes WHERE edge = ?1 AND (side, host, executable, command) NOT IN "
        "(SELECT side, host, executable, command FROM edge_processes WHERE edge = ?1 "
        "ORDER BY seen_at DESC LIMIT ?2)",
        [(edge, limits.PROCESSES_MAX) for edge in sorted(touched)],
    )


def _chunks(items: list[str]) -> Iterable[list[str]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
