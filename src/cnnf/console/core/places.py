"""Ends outside by the network objects that have them: what Radar draws of addresses and names.

An address on the internet, or one inside that nobody protects, is drawn as the network object that
has it, as soon as there is one; history is drawn anew each time, so an object that is made today
has what was seen last week. The store keeps the latest addresses and names behind an edge, not how
often each of them was met: an edge whose addresses several objects have is drawn to each of them
with the whole count, and says that it is `shared`.
"""

from collections.abc import Container, Sequence
from itertools import product
from typing import NamedTuple

import msgspec

from cnnf.console import limits
from cnnf.console.core import nodes
from cnnf.console.core.nodes import INTERNET_ID, UNMANAGED_ID, Node
from cnnf.console.core.observed import (
    EdgeId,
    EdgeRecord,
    EdgeTotal,
    NodeRecord,
    Observed,
    edge_id,
)
from cnnf.console.core.recorded import Peer
from cnnf.policy.members import Members
from cnnf.policy.objects import NetworkObject, ObjectKind
from cnnf.policy.subnets import ADDRESS_MAX, VERSIONS, ranges_of

#: Kinds of objects whose ends nobody protects: these are drawn as nodes of their own.
OUTSIDE: frozenset[ObjectKind] = frozenset(("subnet", "dns"))


class _Part(NamedTuple):
    """A node that an end is drawn as; `shared`: not all of the edge is with it."""

    node: Node
    shared: bool = False


class Places:
    """Which object an end outside is drawn as: of several the narrowest, names before addresses."""

    def __init__(self, objects: Sequence[NetworkObject]) -> None:
        outside = sorted((one for one in objects if one.kind in OUTSIDE), key=_width)
        self._nodes = [nodes.network_object(one.name) for one in outside]
        self._members = Members(outside)
        self._known: dict[Peer, int] = {}

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def of(self, peer: Peer, preferred: Node | None = None) -> Node | None:
        """The object's node for somebody outside, None where no object has him."""
        found = self._known.get(peer)
        if found is None:
            if len(self._known) >= limits.PLACES_CACHED_MAX:
                self._known.clear()
            found = self._known[peer] = self._members.of(peer.candidate)
        if not found:
            return None
        if preferred in self._nodes and found >> self._nodes.index(preferred) & 1:
            return preferred
        return self._nodes[(found & -found).bit_length() - 1]


def _width(one: NetworkObject) -> tuple[int, int, float]:
    """Narrow ones first: exact names, names with a star, then subnets by their share of all
    addresses. Of equals the first of the policy comes first, since sorting keeps their order."""
    if one.kind == "dns":
        return 0, sum("*" in text for text in one.values), 0.0
    ranges = ranges_of(one.values)
    share = sum(
        (high - low + 1) / (ADDRESS_MAX[version] + 1)
        for version in VERSIONS
        for low, high in ranges[version]
    )
    return 1, 0, share


def placed(observed: Observed, places: Places, preferred: str = "") -> Observed:
    """What was observed with ends outside drawn as objects; the one called `preferred` goes before
    narrower ones."""
    if not places:
        return observed
    first = nodes.network_object(preferred) if preferred else None
    drawn = dict(observed.nodes)
    found: dict[EdgeId, EdgeTotal] = {}
    internet = set(observed.internet)
    for total in observed.edges:
        peers = observed.peers.get(edge_id(total), ())
        ends = drawn[total.source], drawn[total.target]
        parts = (
            _parts(ends[0], ends[1], peers, places, first),
            _parts(ends[1], ends[0], peers, places, first),
        )
        for source, target in product(*parts):
            for part, end in ((source, ends[0]), (target, ends[1])):
                drawn.setdefault(part.node.id, part.node)
                if end.id == INTERNET_ID:
                    internet.add(part.node.id)
            _add(found, total, source, target)
    return msgspec.structs.replace(
        observed, nodes=drawn, edges=list(found.values()), internet=frozenset(internet)
    )


def _add(found: dict[EdgeId, EdgeTotal], total: EdgeTotal, source: _Part, target: _Part) -> None:
    """Two addresses of one object are one end: their counts are added."""
    one = msgspec.structs.replace(
        total,
        source=source.node.id,
        target=target.node.id,
        shared=total.shared or source.shared or target.shared,
    )
    before = found.get(edge_id(one))
    if before is not None:
        one = msgspec.structs.replace(
            one,
            connections=before.connections + one.connections,
            answered=before.answered + one.answered,
            refused=before.refused + one.refused,
            found=before.found + one.found,
            decision=max(before.decision, one.decision),
            first_seen=min(before.first_seen, one.first_seen),
            last_seen=max(before.last_seen, one.last_seen),
            shared=before.shared or one.shared,
        )
    found[edge_id(one)] = one


def _parts(
    node: Node, other: Node, peers: tuple[Peer, ...], places: Places, first: Node | None
) -> list[_Part]:
    """What an end is drawn as."""
    if node.kind == "unmanaged" and node.id != UNMANAGED_ID:
        names = next((peer.names for peer in peers if peer.address == node.name), ())
        return [_Part(places.of(Peer(node.name, names), first) or node)]
    if node.kind != "internet":
        return [_Part(node)]
    taken = other.name if other.kind == "unmanaged" else ""
    met = [peer for peer in peers if peer.address != taken]
    objects = dict.fromkeys(places.of(peer, first) for peer in met)
    # Where as many addresses are kept as can be, there were others.
    rest = not met or None in objects or len(peers) >= limits.PEER_ADDRESSES_MAX
    named = [one for one in objects if one is not None]
    shared = rest + len(named) > 1
    return [_Part(one, shared) for one in named] + ([_Part(node, shared)] if rest else [])


def only(observed: Observed, edges: Container[EdgeId]) -> Observed:
    """What was observed on some edges of the dictionary, and of their ends."""
    kept = [total for total in observed.edges if edge_id(total) in edges]
    ends = {end for total in kept for end in (total.source, total.target)}
    running = [one for one in observed.running if one.node in ends]
    return msgspec.structs.replace(observed, edges=kept, running=running)


def between(observed: Observed, members: frozenset[str]) -> Observed:
    """The edges that one of these nodes is an end of."""
    kept = [one for one in observed.edges if one.source in members or one.target in members]
    return msgspec.structs.replace(observed, edges=kept)


def record_of(observed: Observed, node: Node) -> NodeRecord:
    """All about an object's node, of what was observed with it drawn."""
    edges = [one for one in observed.edges if node.id in (one.source, one.target)]
    return NodeRecord(
        window=observed.window,
        node=node,
        instances=[],
        edges=[EdgeRecord(total=one, processes=[], addresses=[], names={}) for one in edges],
        peers={**observed.nodes, node.id: node},
    )
