"""Flow history in the Console's own SQLite database.

Minute buckets for 7 days, hours for 30, days for 13 months; all three are written with every
batch, in its transaction, so none can be ahead of another.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.console.core.events import Cursor, Event, EventFilter
from cnnf.console.core.nodes import Node
from cnnf.console.core.observed import (
    Bucket,
    EdgeRecord,
    EdgeTotal,
    InstanceRecord,
    Mark,
    NodeRecord,
    Observed,
    ProcessRecord,
    Running,
)
from cnnf.console.core.recorded import Recorded
from cnnf.console.core.windows import BUCKET_MS, Resolution, Window
from cnnf.console.store import sqlite_directory, sqlite_events, sqlite_recorded
from cnnf.console.store.database import Database
from cnnf.console.store.flows import Appended
from cnnf.console.store.sqlite_append import append, settle
from cnnf.protocol.messages import Batch

T = TypeVar("T")

TABLES: dict[Resolution, str] = {"minute": "minutes", "hour": "hours", "day": "days"}
FINER: dict[Resolution, Resolution] = {"hour": "minute", "day": "hour"}

_SUMS = """
SELECT e.number, s.id, t.id, e.port, e.protocol,
       sum(b.connections), sum(b.answered), sum(b.refused), sum(b.found),
       max(b.verdict || b.cause), min(b.first_seen), max(b.last_seen)
FROM {table} b
JOIN edges e ON e.number = b.edge
JOIN nodes s ON s.number = e.source
JOIN nodes t ON t.number = e.target
WHERE b.start >= ? AND b.start < ? {more}
GROUP BY b.edge
"""
#: Table, condition, in the order of expiry; each deletes a bounded number of rows.
_EXPIRY: tuple[tuple[str, str, int], ...] = (
    ("minutes", "start < ?", limits.MINUTES_KEPT_MS),
    ("hours", "start < ?", limits.HOURS_KEPT_MS),
    ("days", "start < ?", limits.DAYS_KEPT_MS),
    ("marks", "updated_at < ?", limits.DAYS_KEPT_MS),
    ("gaps", "at < ?", limits.DAYS_KEPT_MS),
    ("instances", "stopped_at > 0 AND stopped_at < ?", limits.INSTANCES_KEPT_MS),
    ("edge_peers", "seen_at < ?", limits.DAYS_KEPT_MS),
    ("edge_processes", "seen_at < ?", limits.DAYS_KEPT_MS),
    ("events", "last_seen < ?", limits.EVENTS_KEPT_MS),
    ("rule_hits", "day < ?", limits.DAYS_KEPT_MS),
    ("ledger", "touched_at < ?", limits.LEDGER_ACCOUNTS_KEPT_MS),
    ("edges", "last_seen < ?", limits.DAYS_KEPT_MS + limits.DAY_MS),
    (
        "nodes",
        (
            "number NOT IN (SELECT source FROM edges UNION SELECT target FROM edges "
            "UNION SELECT node FROM instances) AND ? > 0"
        ),
        0,
    ),
)
_KEYS = {
    "minutes": "start, edge",
    "hours": "start, edge",
    "days": "start, edge",
    "marks": "defender, incarnation",
    "gaps": "defender, incarnation, first",
    "instances": "defender, id",
    "edge_peers": "edge, address",
    "edge_processes": "edge, side, host, executable, command",
    "events": "number",
    "rule_hits": "rule, day",
    "ledger": "source, destination, port, protocol",
    "edges": "number",
    "nodes": "number",
}


class SqliteFlowStore:
    """The `FlowStore` on SQLite."""

    def __init__(self, database: Database) -> None:
        """Reads who is where from the database, which is open. Raises StoreUnavailable."""
        self._database = database
        generation = database.write_now(sqlite_directory.start)
        #: Who is where. Changed by the event loop only, before a batch is written.
        self.directory = database.read_now(lambda c: sqlite_directory.load(c, generation))

    async def append_batch(self, defender: str, batch: Batch, received_at: int) -> Appended:
        """See `FlowStore.append_batch`."""
        # Even if this fails: the batch is told again, and what runs, runs.
        self.directory.take(defender, batch, received_at)
        return await self._database.write(
            lambda c: append(c, defender, batch, received_at, self.directory)
        )

    async def radar(self, window: Window, now: int, *, peers: bool = False) -> Observed:
        """See `FlowStore.radar`."""
        return await self._database.read(lambda c: _radar(_sql(c), window, now, peers=peers))

    async def node(self, node: str, window: Window) -> NodeRecord | None:
        """See `FlowStore.node`."""
        return await self._database.read(lambda c: _node(_sql(c), node, window))

    async def edge_history(self, source: str, target: str, window: Window) -> list[Bucket]:
        """See `FlowStore.edge_history`."""
        return await self._database.read(lambda c: _history(_sql(c), source, target, window))

    async def recorded(
        self, window: Window, work: Callable[[Recorded], T], check: Callable[[], None]
    ) -> T:
        """See `FlowStore.recorded`."""
        table = TABLES[window.resolution]
        return await self._database.read(
            lambda c: sqlite_recorded.recorded(_sql(c), table, window, work, check)
        )

    async def events(self, wanted: EventFilter, count: int, after: Cursor | None) -> list[Event]:
        """See `FlowStore.events`."""
        return await self._database.read(
            lambda c: sqlite_events.page(_sql(c), wanted, count, after)
        )

    async def changed_events(self, wanted: EventFilter, version: int, count: int) -> list[Event]:
        """See `FlowStore.changed_events`."""
        return await self._database.read(
            lambda c: sqlite_events.changed(_sql(c), wanted, version, count)
        )

    async def events_version(self) -> int:
        """See `FlowStore.events_version`."""
        return await self._database.read(lambda c: sqlite_events.version(_sql(c)))

    async def rollup(self, resolution: Resolution, start: int, end: int) -> int:
        """See `FlowStore.rollup`."""
        return await self._database.write(lambda c: _rollup(_sql(c), resolution, start, end))

    async def expire(self, now: int) -> int:
        """See `FlowStore.expire`."""
        return await self._database.write(
            lambda c: settle(c, now, self.directory) + _expire(_sql(c), now)
        )

    async def watermark(self, defender: str, incarnation: str) -> Mark:
        """See `FlowStore.watermark`."""
        return await self._database.read(lambda c: _watermark(_sql(c), defender, incarnation))


def _sql(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _radar(sql: Any, window: Window, now: int, *, peers: bool) -> Observed:
    totals = _totals(sql, window)
    running = [
        Running(node=node, host=host or defender, tag=tag, project=project)
        for node, host, defender, tag, project in sql.execute(
            "SELECT n.id, h.name, i.defender, i.tag, i.project FROM instances i "
            "JOIN nodes n ON n.number = i.node LEFT JOIN hosts h ON h.defender = i.defender "
            "WHERE i.stopped_at = 0 AND h.heard_at >= ?",
            (now - limits.DEFENDER_SILENT_MS,),
        )
    ]
    wanted = {total.source for _, total in totals} | {total.target for _, total in totals}
    wanted |= {instance.node for instance in running}
    return Observed(
        window=window,
        nodes=_nodes(sql, wanted),
        edges=[total for _, total in totals],
        running=running,
        peers=sqlite_recorded.peers(sql, window, totals) if peers else {},
    )


def _totals(
    sql: Any, window: Window, more: str = "", parameters: tuple[Any, ...] = ()
) -> list[tuple[int, EdgeTotal]]:
    query = _SUMS.format(table=TABLES[window.resolution], more=more)
    # A verdict is one digit, so the greatest text is the most severe verdict with its cause.
    return [
        (
            number,
            EdgeTotal(
                source=source,
                target=target,
                port=port,
                protocol=protocol,
                connections=connections,
                answered=answered,
                refused=refused,
                found=found,
                decision=(int(decision[0]), decision[1:]),
                first_seen=first_seen,
                last_seen=last_seen,
            ),
        )
        for (
            number, source, target, port, protocol,
            connections, answered, refused, found, decision, first_seen, last_seen,
        ) in sql.execute(query, (window.start, window.end, *parameters))
    ]  # fmt: skip


def _nodes(sql: Any, wanted: set[str]) -> dict[str, Node]:
    # Most nodes are wanted most of the time, so one scan beats many look-ups.
    return {
        id_: Node(id=id_, kind=kind, name=name, cluster=cluster, namespace=namespace)
        for id_, kind, name, cluster, namespace in sql.execute(
            "SELECT id, kind, name, cluster, namespace FROM nodes"
        )
        if id_ in wanted
    }


def _node(sql: Any, node: str, window: Window) -> NodeRecord | None:
    row = sql.execute("SELECT number FROM nodes WHERE id = ?", (node,)).fetchone()
    if row is None:
        return None
    totals = _totals(sql, window, "AND (e.source = ? OR e.target = ?)", (row[0], row[0]))
    peers = {total.source for _, total in totals} | {total.target for _, total in totals}
    found = _nodes(sql, peers | {node})
    return NodeRecord(
        window=window,
        node=found[node],
        instances=_instances(sql, row[0]),
        edges=[_edge(sql, number, total) for number, total in totals],
        peers=found,
    )


def _instances(sql: Any, number: int) -> list[InstanceRecord]:
    return [
        InstanceRecord(
            id=id_,
            kind=kind,
            host=host or defender,
            defender=defender,
            tag=tag,
            digest=digest,
            project=project,
            title=title,
            labels=json.loads(labels),
            addresses=json.loads(addresses),
            ports=json.loads(ports),
            pid=pid,
            started_at=started_at,
            stopped_at=stopped_at,
        )
        for (
            id_, kind, host, defender, tag, digest, project, title,
            labels, addresses, ports, pid, started_at, stopped_at,
        ) in sql.execute(
            "SELECT i.id, i.kind, h.name, i.defender, i.tag, i.digest, i.project, i.title, "
            "i.labels, i.addresses, i.ports, i.pid, i.started_at, i.stopped_at "
            "FROM instances i LEFT JOIN hosts h ON h.defender = i.defender WHERE i.node = ? "
            "ORDER BY i.stopped_at > 0, i.started_at DESC LIMIT ?",
            (number, 2 * limits.DETAIL_INSTANCES_MAX),
        )
    ]  # fmt: skip


def _edge(sql: Any, number: int, total: EdgeTotal) -> EdgeRecord:
    peers = sql.execute(
        "SELECT address, names FROM edge_peers WHERE edge = ? ORDER BY seen_at DESC", (number,)
    ).fetchall()
    return EdgeRecord(
        total=total,
        processes=[
            ProcessRecord(
                side=side,
                pid=pid,
                executable=executable,
                command=command,
                user=user,
                host=host,
                seen_at=seen_at,
            )
            for side, pid, executable, command, user, host, seen_at in sql.execute(
                "SELECT side, pid, executable, command, user, host, seen_at FROM edge_processes "
                "WHERE edge = ? ORDER BY seen_at DESC",
                (number,),
            )
        ],
        addresses=[address for address, _ in peers],
        names={address: json.loads(names) for address, names in peers if names != "[]"},
    )


def _history(sql: Any, source: str, target: str, window: Window) -> list[Bucket]:
    return [
        Bucket(
            start=start, connections=connections, answered=answered, refused=refused, found=found
        )
        for start, connections, answered, refused, found in sql.execute(
            "SELECT b.start, sum(b.connections), sum(b.answered), sum(b.refused), "  # noqa: S608
            "sum(b.found) "
            f"FROM edges e JOIN {TABLES[window.resolution]} b ON b.edge = e.number "
            "WHERE e.source = (SELECT number FROM nodes WHERE id = ?) "
            "AND e.target = (SELECT number FROM nodes WHERE id = ?) "
            "AND b.start >= ? AND b.start < ? GROUP BY b.start ORDER BY b.start",
            (source, target, window.start, window.end),
        )
    ]


def _rollup(sql: Any, resolution: Resolution, start: int, end: int) -> int:
    length = BUCKET_MS[resolution]
    table, finer = TABLES[resolution], TABLES[FINER[resolution]]
    start, end = start - start % length, end - end % length
    before = sql.total_changes
    columns = "connections, answered, refused, found, verdict, cause, first_seen, last_seen"
    fresh = ", ".join(f"excluded.{column}" for column in columns.split(", "))
    sql.execute(
        f"INSERT INTO {table} (start, edge, {columns}) "  # noqa: S608
        "SELECT start - start % ?1 AS bucket, edge, sum(connections), sum(answered), "
        "sum(refused), sum(found), max(verdict), substr(max(verdict || cause), 2), "
        f"min(first_seen), max(last_seen) FROM {finer} "
        "WHERE start >= ?2 AND start < ?3 GROUP BY bucket, edge "
        f"ON CONFLICT (start, edge) DO UPDATE SET ({columns}) = ({fresh}) "
        f"WHERE ({columns}) <> ({fresh})",
        (length, start, end),
    )
    changed: int = sql.total_changes - before
    return changed


def _expire(sql: Any, now: int) -> int:
    deleted = 0
    for table, condition, kept_ms in _EXPIRY:
        room = limits.EXPIRE_ROWS_MAX - deleted
        if room <= 0:
            break
        keys = _KEYS[table]
        deleted += sql.execute(
            f"DELETE FROM {table} WHERE ({keys}) IN "  # noqa: S608
            f"(SELECT {keys} FROM {table} WHERE {condition} LIMIT ?)",
            (now - kept_ms, room),
        ).rowcount
    return deleted


def _watermark(sql: Any, defender: str, incarnation: str) -> Mark:
    row = sql.execute(
        "SELECT sequence FROM marks WHERE defender = ? AND incarnation = ?",
        (defender, incarnation),
    ).fetchone()
    batches, flows = sql.execute(
        "SELECT coalesce(sum(last - first + 1), 0), coalesce(sum(flows), 0) FROM gaps "
        "WHERE defender = ? AND incarnation = ?",
        (defender, incarnation),
    ).fetchone()
    return Mark(sequence=row[0] if row else 0, lost_batches=batches, lost_flows=flows)
