"""The recorded flows of a window with everybody who may have been on either side, from SQLite.

Read as a stream: sums by edge and decision come out of the database in the order of edges, and the
peers of edges, in the same order, are read beside them. Sides are read when they are first met.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import pysqlite3

from cnnf.console.core import nodes
from cnnf.console.core.nodes import Node
from cnnf.console.core.observed import EdgeId, EdgeTotal, edge_id
from cnnf.console.core.recorded import Decided, Peer, Recorded, RecordedFlow, Side
from cnnf.console.core.windows import Window
from cnnf.policy.addresses import Address, parse_address
from cnnf.policy.endpoints import Candidate, Identity, sorted_labels

T = TypeVar("T")

#: Instructions of SQLite's machine between two checks: a few milliseconds.
_CHECK_INSTRUCTIONS = 100_000

# LIMIT keeps the order of the inner query, which comes with its groups; CROSS keeps the join's.
_FLOWS = """
SELECT b.edge, e.source, e.target, e.port, e.protocol,
       b.verdict, b.cause, b.connections, b.first_seen, b.last_seen
FROM (SELECT edge, verdict, cause, sum(connections + found) AS connections,
             min(first_seen) AS first_seen, max(last_seen) AS last_seen
      FROM {table} WHERE start >= ? AND start < ?
      GROUP BY edge, verdict, cause ORDER BY edge, verdict, cause LIMIT -1) b
CROSS JOIN edges e ON e.number = b.edge
"""
_PEERS = "SELECT edge, address, names FROM edge_peers WHERE seen_at >= ? ORDER BY edge, address"
_INSTANCES = """
SELECT DISTINCT tag, digest, labels, addresses, host_network, defender FROM instances
WHERE node = ? AND started_at < ? AND (stopped_at = 0 OR stopped_at >= ?)
"""


def recorded(
    sql: Any,
    table: str,
    window: Window,
    work: Callable[[Recorded], T],
    check: Callable[[], None],
) -> T:
    """See `FlowStore.recorded`; `table` has the buckets of the window's resolution."""
    raised: list[BaseException] = []

    def interrupted() -> int:
        try:
            check()
        except Exception as error:
            raised.append(error)
        return len(raised)

    sql.set_progress_handler(interrupted, _CHECK_INSTRUCTIONS)
    with contextlib.ExitStack() as stack:
        stack.callback(sql.set_progress_handler, None, 0)
        # Closed here and not whenever they are collected: the driver shares prepared statements,
        # and a cursor that was interrupted resets its own, by then perhaps another reader's.
        rows, peers, ends = (stack.enter_context(contextlib.closing(sql.cursor())) for _ in "123")
        try:
            rows.execute(_FLOWS.format(table=table), (window.start, window.end))
            peers.execute(_PEERS, (window.start,))
            flows = _flows(rows, _Peers(peers))
            return work(Recorded(window=window, sides=_Sides(ends, window), flows=flows))
        except pysqlite3.OperationalError:
            if raised:
                raise raised[0] from None
            raise


def peers(
    sql: Any, window: Window, totals: Iterable[tuple[int, EdgeTotal]]
) -> dict[EdgeId, tuple[Peer, ...]]:
    """For edges, with their numbers: who was met outside in the window, as far as it is kept."""
    ordered = sorted(totals, key=itemgetter(0))
    with contextlib.closing(sql.cursor()) as rows:
        rows.execute(_PEERS, (window.start,))
        met = _Peers(rows)
        found = ((edge_id(total), met.of(number)) for number, total in ordered)
        return {edge: of_edge for edge, of_edge in found if of_edge}


def _flows(rows: Iterable[tuple[Any, ...]], peers: "_Peers") -> Iterator[RecordedFlow]:
    held: RecordedFlow | None = None
    at = -1
    for edge, source, target, port, protocol, verdict, cause, connections, first, last in rows:
        decided = Decided(verdict, cause, connections)
        if edge == at and held is not None:
            held = held._replace(
                decided=(*held.decided, decided),
                first_seen=min(held.first_seen, first),
                last_seen=max(held.last_seen, last),
            )
            continue
        if held is not None:
            yield held
        assert edge > at, "edges out of order"
        at = edge
        held = RecordedFlow(source, target, port, protocol, (decided,), first, last, peers.of(edge))
    if held is not None:
        yield held


class _Peers:
    """The peers of edges, which are asked for in order."""

    def __init__(self, rows: Iterable[tuple[int, str, str]]) -> None:
        self._groups = groupby(rows, key=itemgetter(0))
        self._next: tuple[int, tuple[Peer, ...]] = (-1, ())
        self._names: dict[str, tuple[str, ...]] = {"[]": ()}

    def of(self, edge: int) -> tuple[Peer, ...]:
        """The peers of an edge."""
        while self._next[0] < edge:
            group = next(self._groups, None)
            if group is None:
                self._next = (2**63, ())
                break
            if group[0] < edge:
                continue
            self._next = (group[0], tuple(self._peer(*row[1:]) for row in group[1]))
        return self._next[1] if self._next[0] == edge else ()

    def _peer(self, address: str, names: str) -> Peer:
        told = self._names.get(names)
        if told is None:
            told = self._names[names] = tuple(json.loads(names))
        return Peer(address, told)


class _Sides(dict[int, Side]):
    """Who may have stood for a node, by its number; read when it is first asked for."""

    def __init__(self, sql: Any, window: Window) -> None:
        super().__init__()
        self._sql = sql
        self._window = window
        self._labels: dict[str, tuple[tuple[str, str], ...]] = {}
        #: By Defender: the host's name and addresses; and by the id of the host's node.
        self._hosts: dict[str, tuple[str, tuple[Address, ...]]] = {}
        self._by_node: dict[str, str] = {}
        for defender, name, addresses in sql.execute("SELECT defender, name, addresses FROM hosts"):
            self._hosts[defender] = name, tuple(map(parse_address, json.loads(addresses)))
            self._by_node[nodes.host(defender, name).id] = defender

    def __missing__(self, number: int) -> Side:
        found = self[number] = self._side(number)
        return found

    def _side(self, number: int) -> Side:
        id_, kind, name, cluster, namespace = self._sql.execute(
            "SELECT id, kind, name, cluster, namespace FROM nodes WHERE number = ?", (number,)
        ).fetchone()
        node = Node(id=id_, kind=kind, name=name, cluster=cluster, namespace=namespace)
        if kind in ("app", "service"):
            found = tuple(dict.fromkeys(self._instances(number, node)))
            # Who isn't told of any more is known by name only.
            return Side(
                node=node,
                candidates=found or (Candidate(identity=_identity(node)),),
                whole=bool(found),
            )
        if kind == "host":
            return self._host(node)
        if kind == "unmanaged" and id_ != nodes.UNMANAGED_ID:
            return Side(node=node, candidates=(Candidate(address=parse_address(name)),))
        return Side(node=node)

    def _host(self, node: Node) -> Side:
        defender = self._by_node.get(node.id, "")
        name, addresses = self._hosts.get(defender, (node.name, ()))
        identity = Identity(kind="host", name=name, host=name)
        return Side(node=node, candidates=_at(identity, addresses), whole=bool(defender))

    def _instances(self, number: int, node: Node) -> Iterator[Candidate]:
        rows = self._sql.execute(_INSTANCES, (number, self._window.end, self._window.start))
        for tag, digest, labels, addresses, host_network, defender in rows:
            host, shared = self._hosts.get(defender, ("", ()))
            identity = _identity(node, tag, digest, host, self._sorted(labels))
            # A service and what has its host's network are met at the host's addresses.
            own = node.kind == "app" and not host_network
            yield from _at(identity, map(parse_address, json.loads(addresses)) if own else shared)

    def _sorted(self, labels: str) -> tuple[tuple[str, str], ...]:
        found = self._labels.get(labels)
        if found is None:
            found = self._labels[labels] = sorted_labels(json.loads(labels))
        return found


def _identity(
    node: Node,
    tag: str = "",
    digest: str = "",
    host: str = "",
    labels: tuple[tuple[str, str], ...] = (),
) -> Identity:
    return Identity(
        kind="container" if node.kind == "app" else "service",
        name=node.name,
        tag=tag,
        digest=digest,
        host=host,
        cluster=node.cluster,
        namespace=node.namespace,
        labels=labels,
    )


def _at(identity: Identity, addresses: Iterable[Address]) -> tuple[Candidate, ...]:
    """Somebody at each of the addresses; at an unknown one, if there are none."""
    found = tuple(Candidate(identity=identity, address=address) for address in addresses)
    return found or (Candidate(identity=identity),)
