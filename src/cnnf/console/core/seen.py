"""The connections of a network object: which recorded flows have an end in it, and whose.

Judged when it is asked, from what was recorded: an object has its history as soon as it exists.
Pure; the store hands over the flows of a window (`recorded`), `api/seen.py` asks.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from typing import NamedTuple

import msgspec

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.nodes import Node
from cnnf.console.core.observed import EdgeId
from cnnf.console.core.places import OUTSIDE
from cnnf.console.core.recorded import Peer, Recorded, RecordedFlow, candidates_of, peers_of
from cnnf.console.core.whatif_tally import described
from cnnf.policy.compiled import Compiled
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import Protocol, evaluate
from cnnf.policy.limits import CANDIDATES_MAX
from cnnf.policy.members import Members
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import Effect


class ConnectionEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A side: the node of the graph. `member`: the object has it, or some of it, and `who` are some
    of these, with their addresses; `more` counts the others."""

    id: str
    kind: str
    name: str
    cluster: str
    namespace: str
    member: bool
    who: list[str]
    more: int


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Connections from one node to another on one port, an end of which is in the object.

    `certain`: all of them; otherwise it is not kept how many of them are, and `connections` is how
    many may be at most. `effect` is what the policy in force says of them, null where it is not
    kept who or which port it was; `cause` is the rule or `default`. `sure`: it says so for
    everybody who may have been on either side.
    """

    source: ConnectionEnd
    destination: ConnectionEnd
    port: int
    protocol: str
    connections: int
    certain: bool
    first_seen: str
    last_seen: str
    effect: Effect | None
    cause: str
    sure: bool


class ObjectConnections(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the connections of a network object, those seen latest first: `listed` after the
    first `skipped` of all `flows`. `version` is that of the policy in force."""

    object: str
    version: int
    from_: str = msgspec.field(name="from")
    to: str
    resolution: str
    flows: int
    connections: int
    skipped: int
    listed: list[Connection]


class Touching(NamedTuple):
    """Edges of the dictionary that have an end in an object, and the nodes that are, or have,
    members of it."""

    edges: frozenset[EdgeId]
    members: frozenset[str]


class _Met(NamedTuple):
    """Who of a side is in the object; `all`: nobody else can have been there."""

    members: tuple[Candidate, ...]
    all: bool


class _Flow(NamedTuple):
    """A flow that has an end in the object."""

    flow: RecordedFlow
    connections: int
    source: _Met | None
    target: _Met | None


def connections(
    recorded: Recorded,
    one: NetworkObject,
    in_force: Compiled,
    *,
    version: int,
    skip: int,
    count: int,
    check: Callable[[], None] = lambda: None,
) -> ObjectConnections:
    """One page. `check` is called every few thousand flows; what it raises ends the work."""
    totals = [0, 0]

    def counted() -> Iterator[tuple[int, int, _Flow]]:
        for number, met in enumerate(_Sides(recorded, one).flows(check)):
            totals[0] += 1
            totals[1] += met.connections
            yield met.flow.last_seen, -number, met

    latest = nlargest(skip + count, counted(), key=lambda entry: entry[:2])
    window = recorded.window
    return ObjectConnections(
        object=one.name,
        version=version,
        from_=windows.text(window.start),
        to=windows.text(window.end),
        resolution=window.resolution,
        flows=totals[0],
        connections=totals[1],
        skipped=skip,
        listed=[_told(recorded, in_force, met) for _, _, met in latest[skip:]],
    )


def touching(
    recorded: Recorded, one: NetworkObject, check: Callable[[], None] = lambda: None
) -> Touching:
    """What of the graph an object is about."""
    edges, members = set(), set()
    for met in _Sides(recorded, one).flows(check):
        flow = met.flow
        source, target = recorded.sides[flow.source].node, recorded.sides[flow.target].node
        edges.add((source.id, target.id, flow.port, flow.protocol))
        members |= {
            node.id
            for node, end in ((source, met.source), (target, met.target))
            if end is not None and node.kind != "internet"
        }
    return Touching(frozenset(edges), frozenset(members))


class _Sides:
    """Which sides of flows are in one object."""

    def __init__(self, recorded: Recorded, one: NetworkObject) -> None:
        self._recorded = recorded
        self._members = Members((one,))
        #: Only these have somebody by his address or name alone.
        self._outside = one.kind in OUTSIDE
        self._known: dict[int, _Met | None] = {}
        self._peers: dict[Peer, bool] = {}

    def flows(self, check: Callable[[], None]) -> Iterator[_Flow]:
        """Those with an end in it."""
        for number, flow in enumerate(self._recorded.flows):
            if number % limits.WHAT_IF_CHECK_FLOWS == 0:
                check()
            connections = sum(one.connections for one in flow.decided)
            if connections <= 0:
                # Only answers came in the window, to what was attempted before it.
                continue
            source = self._met(flow, flow.source, flow.target)
            target = self._met(flow, flow.target, flow.source)
            if source is not None or target is not None:
                yield _Flow(flow, connections, source, target)

    def _met(self, flow: RecordedFlow, key: int, other: int) -> _Met | None:
        sides = self._recorded.sides
        node = sides[key].node
        if self._outside and flow.peers:
            peers = peers_of(node, flow, sides[other].node)
            if peers:
                return self._met_peers(peers, whole=_whole(node, flow))
        if key not in self._known:
            self._known[key] = self._met_candidates(sides[key].candidates, sides[key].whole)
        return self._known[key]

    def _met_peers(self, peers: tuple[Peer, ...], *, whole: bool) -> _Met | None:
        found = tuple(peer.candidate for peer in peers if self._has(peer))
        return _Met(found, whole and len(found) == len(peers)) if found else None

    def _has(self, peer: Peer) -> bool:
        found = self._peers.get(peer)
        if found is None:
            found = self._peers[peer] = bool(self._members.of(peer.candidate))
        return found

    def _met_candidates(self, candidates: Iterable[Candidate], whole: bool) -> _Met | None:
        listed = tuple(candidates)
        found = tuple(one for one in listed if self._members.of(one))
        return _Met(found, whole and len(found) == len(listed)) if found else None


def _whole(node: Node, flow: RecordedFlow) -> bool:
    """Are all addresses behind an end kept?"""
    return node.kind != "internet" or len(flow.peers) < limits.PEER_ADDRESSES_MAX


def _told(recorded: Recorded, in_force: Compiled, met: _Flow) -> Connection:
    flow = met.flow
    ends = ((flow.source, flow.target, met.source), (flow.target, flow.source, met.target))
    who: list[tuple[Candidate, ...]] = []
    for key, other, end in ends:
        side = recorded.sides[key]
        known = candidates_of(side, flow, recorded.sides[other].node)
        who.append(end.members if end is not None else tuple(known))
    effect: Effect | None = None
    cause, sure = "", False
    if flow.port and all(who):
        protocol: Protocol = "udp" if flow.protocol == "udp" else "tcp"
        sources, targets = (one[:CANDIDATES_MAX] for one in who)
        decision = evaluate(in_force, sources, targets, flow.port, protocol)
        effect, cause = decision.effect, decision.cause
        sure = decision.unanimous and all(
            len(one) <= CANDIDATES_MAX and (end is not None or recorded.sides[key].whole)
            for one, (key, _, end) in zip(who, ends, strict=True)
        )
    return Connection(
        source=_end(recorded.sides[flow.source].node, met.source),
        destination=_end(recorded.sides[flow.target].node, met.target),
        port=flow.port,
        protocol=flow.protocol,
        connections=met.connections,
        certain=any(end is not None and end.all for _, _, end in ends),
        first_seen=windows.text(flow.first_seen),
        last_seen=windows.text(flow.last_seen),
        effect=effect,
        cause=cause,
        sure=sure,
    )


def _end(node: Node, met: _Met | None) -> ConnectionEnd:
    who = list(dict.fromkeys(map(described, met.members))) if met is not None else []
    return ConnectionEnd(
        id=node.id,
        kind=node.kind,
        name=node.name,
        cluster=node.cluster,
        namespace=node.namespace,
        member=met is not None,
        who=who[: limits.SEEN_WHO_MAX],
        more=max(0, len(who) - limits.SEEN_WHO_MAX),
    )
