"""A batch's flows become observations between nodes.

Values in, values out: the store reads what it knows about the Defender (its host, its instances),
this module says which nodes every flow joins, adds up what belongs to one edge and minute, and
gathers what is an event; the store writes the result.
"""

from collections.abc import Mapping

import msgspec

from cnnf.console import limits
from cnnf.console.core import events, nodes
from cnnf.console.core.accounts import Claim, Figures, Key, Posting, Told
from cnnf.console.core.decisions import UNDECIDED, Decision, decision_of
from cnnf.console.core.directory import Directory, Found
from cnnf.console.core.events import End, Event
from cnnf.console.core.hits import Hit, Tally
from cnnf.console.core.nodes import Node
from cnnf.policy.addresses import is_internet, parse_address
from cnnf.protocol.limits import ENDPOINT_NAMES_MAX
from cnnf.protocol.messages import Endpoint, Flow, Process


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about the host of the Defender that sent the batch."""

    defender: str
    name: str = ""
    addresses: frozenset[str] = frozenset()


class EdgeKey(msgspec.Struct, frozen=True, order=True):
    """An edge of the dictionary, by node ids."""

    source: str
    target: str
    port: int
    protocol: str


class Observation(msgspec.Struct, kw_only=True):
    """What a batch says about one edge within one minute; `minute` is its start in ms.

    `decision` is the most severe one.
    """

    edge: EdgeKey
    minute: int
    connections: int = 0
    answered: int = 0
    refused: int = 0
    found: int = 0
    decision: Decision = UNDECIDED
    first_seen: int
    last_seen: int


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A process seen behind one side of an edge; `host` is where, if not the batch's own."""

    edge: EdgeKey
    side: str
    host: str = ""
    process: Process
    seen_at: int


class Peer(msgspec.Struct, frozen=True):
    """An address that an edge goes to, when it was last seen, and what it was called, the newest
    names first."""

    seen_at: int
    names: tuple[str, ...] = ()

    def seen(self, seen_at: int, names: tuple[str, ...]) -> "Peer":
        """The same, seen once more; several sources may call it differently."""
        newest, older = (names, self.names) if seen_at >= self.seen_at else (self.names, names)
        called = tuple(dict.fromkeys(newest + older))[:ENDPOINT_NAMES_MAX]
        return Peer(max(seen_at, self.seen_at), called)


class Resolved(msgspec.Struct, kw_only=True):
    """A batch's flows, resolved. `peers` are addresses by edge: those on the internet, and those
    that have a name. `events` are what was alerted on or prevented, repeats taken together. `told`
    and `claims` are connections with another Defender's host, for the ledger: the one is among the
    observations as well, the other nowhere else. `hits` are what rules decided."""

    nodes: dict[str, Node]
    observations: list[Observation]
    peers: dict[EdgeKey, dict[str, Peer]]
    examples: list[Example]
    events: list[Event]
    unknown_instances: int
    told: list[tuple[Key, Told]] = []
    claims: list[tuple[Key, Claim]] = []
    hits: list[Hit] = []


_UNSEEN = Peer(0)


class _Merge:
    """Adds up one batch; lives for the length of one call."""

    def __init__(
        self,
        host: Host,
        instances: Mapping[str, Node],
        received_at: int,
        directory: Directory,
    ) -> None:
        self._host = host
        self._instances = instances
        self._received_at = received_at
        self._directory = directory
        self._sums: dict[tuple[EdgeKey, int], Observation] = {}
        self._examples: dict[tuple[EdgeKey, str, str], Example] = {}
        self._occurrences: list[Event] = []
        self._hits = Tally()
        self.out = Resolved(
            nodes={}, observations=[], peers={}, examples=[], events=[], unknown_instances=0
        )

    def take(self, flow: Flow) -> None:
        # A clock that runs ahead must not put flows where nobody looks for them.
        ahead = flow.last_seen > self._received_at + limits.CLOCK_AHEAD_MS
        last_seen = self._received_at if ahead else flow.last_seen
        seen = min(flow.first_seen, last_seen), last_seen
        local_source, local_target = self._local(flow.source), self._local(flow.destination)
        port = flow.port
        if local_source is None and local_target is not None:
            found = self._whence(flow, seen)
            if found is not None:
                self._claim(flow, found, local_target, seen)
                self._hits.take(flow, last_seen=seen[1], claimed=True)
                return
        target = local_target
        if local_source is not None and local_target is None:
            found = self._whither(flow, seen)
            if found is not None:
                target, port = found.node, found.port
                self._tell(flow, found, local_source, seen)
        self._hits.take(flow, last_seen=seen[1], claimed=False)
        source = local_source or self._peer(flow.source)
        self._draw(flow, source, target or self._peer(flow.destination), port, seen)

    def _draw(
        self, flow: Flow, source: Node, target: Node, port: int, seen: tuple[int, int]
    ) -> None:
        self.out.nodes[source.id] = source
        self.out.nodes[target.id] = target
        edge = EdgeKey(source.id, target.id, port, flow.protocol)
        self._add(edge, flow, *seen)
        # The local end is the one this Defender knows the instance of; the source if both.
        local_target = bool(flow.destination.instance and not flow.source.instance)
        for node, endpoint in ((source, flow.source), (target, flow.destination)):
            if node.kind == "internet" or (node.kind == "unmanaged" and endpoint.names):
                latest = self.out.peers.setdefault(edge, {})
                before = latest.get(endpoint.address, _UNSEEN)
                latest[endpoint.address] = before.seen(seen[1], endpoint.names)
        if flow.process is not None:
            side = "target" if local_target else "source"
            key = (edge, side, flow.process.executable + "\0" + flow.process.command)
            self._examples[key] = Example(
                edge=edge, side=side, process=flow.process, seen_at=seen[1]
            )
        if flow.effect in ("alert", "prevent") and events.happened(flow):
            processes = (None, flow.process) if local_target else (flow.process, None)
            self._occurrences.append(
                self._occurrence(flow, (source, target), processes, seen, port)
            )

    def _whither(self, flow: Flow, seen: tuple[int, int]) -> Found | None:
        """What of another Defender's host the flow goes to."""
        times = seen[1], seen[0]
        return self._directory.find_destination(
            self._host.defender, flow.destination.address, flow.port, flow.protocol, times
        )

    def _whence(self, flow: Flow, seen: tuple[int, int]) -> Found | None:
        """Which other Defender's host the flow comes from."""
        return self._directory.find_source(self._host.defender, flow.source.address, seen)

    def _tell(self, flow: Flow, found: Found, source: Node, seen: tuple[int, int]) -> None:
        key = Key(self._host.defender, found.defender, found.port, flow.protocol)
        told = Told(
            minute=_minute(seen[1]),
            source=source,
            target=found.node,
            address=flow.destination.address,
            port=flow.port,
            figures=_figures(flow),
            decision=decision_of(flow),
            first=seen[0],
            last=seen[1],
            sure=self._directory.delivered(found.defender) >= seen[1] + limits.LEDGER_MARGIN_MS,
        )
        self.out.told.append((key, told))

    def _claim(self, flow: Flow, found: Found, target: Node, seen: tuple[int, int]) -> None:
        key = Key(found.defender, self._host.defender, flow.port, flow.protocol)
        event = None
        if flow.effect in ("alert", "prevent") and events.happened(flow):
            processes = (None, flow.process)
            event = self._occurrence(flow, (found.node, target), processes, seen, flow.port)
        claim = Claim(
            minute=_minute(seen[1]),
            source=found.node,
            known=found.exact,
            address=flow.source.address,
            target=target,
            figures=_figures(flow),
            decision=decision_of(flow),
            first=seen[0],
            last=seen[1],
            since=self._received_at,
            event=event,
            process=flow.process,
        )
        self.out.claims.append((key, claim))

    def _occurrence(
        self,
        flow: Flow,
        ends: tuple[Node, Node],
        processes: tuple[Process | None, Process | None],
        seen: tuple[int, int],
        port: int,
    ) -> Event:
        assert flow.effect is not None
        assert flow.effect != "allow"
        defender = self._host.defender
        key, pair = events.keys(
            defender, flow.effect, flow.cause, (ends[0].id, ends[1].id), port, flow.protocol
        )
        return Event(
            key=key,
            pair=pair,
            kind=events.kind_of(flow.cause),
            effect=flow.effect,
            cause=flow.cause,
            source=self._end(ends[0], flow.source, processes[0]),
            destination=self._end(ends[1], flow.destination, processes[1]),
            port=port,
            protocol=flow.protocol,
            first_seen=seen[0],
            last_seen=seen[1],
            count=events.happened(flow),
            cut=flow.cut,
            defender=defender,
        )

    def _end(self, node: Node, endpoint: Endpoint, process: Process | None) -> End:
        here = endpoint.instance in self._instances or node.kind == "host"
        address = str(parse_address(endpoint.address)) if endpoint.address else ""
        host = (self._host.name or self._host.defender) if here else ""
        # Who is known has a name of his own.
        names = endpoint.names if node.kind in ("internet", "unmanaged") else ()
        return events.end_of(node, address=address, host=host, process=process, names=names)

    def _add(self, edge: EdgeKey, flow: Flow, first_seen: int, last_seen: int) -> None:
        minute = _minute(last_seen)
        total = self._sums.get((edge, minute))
        if total is None:
            total = Observation(edge=edge, minute=minute, first_seen=first_seen, last_seen=0)
            self._sums[edge, minute] = total
        total.connections += flow.connections
        total.answered += flow.answered
        total.refused += flow.refused
        total.found += flow.found
        total.decision = max(total.decision, decision_of(flow))
        total.first_seen = min(total.first_seen, first_seen)
        total.last_seen = max(total.last_seen, last_seen)

    def _local(self, endpoint: Endpoint) -> Node | None:
        """The node of an end on this Defender's host; None when it is elsewhere."""
        if endpoint.instance:
            known = self._instances.get(endpoint.instance)
            if known is not None:
                return known
            self.out.unknown_instances += 1
        own = self._host
        if not endpoint.address:
            return nodes.host(own.defender, own.name)
        address = parse_address(endpoint.address)
        if address.is_loopback or address.is_unspecified or str(address) in own.addresses:
            return nodes.host(own.defender, own.name)
        net = self._directory.own_network(own.defender, endpoint.address)
        if net is None:
            return None
        return nodes.unmanaged(str(address), host="" if net.routed else own.defender)

    def _peer(self, endpoint: Endpoint) -> Node:
        """The node of an end that is nobody's."""
        address = parse_address(endpoint.address)
        return nodes.INTERNET if is_internet(address) else nodes.unmanaged(str(address))

    def done(self) -> Resolved:
        self.out.observations = list(self._sums.values())
        self.out.examples = list(self._examples.values())
        self.out.events = events.gather(self._occurrences)
        self.out.hits = self._hits.hits()
        return self.out


def post(resolved: Resolved, key: Key, posting: Posting, host: str) -> None:
    """Add what the ledger posts to a batch's observations; `host` is the destination's name."""
    source, target = posting.source, posting.target
    resolved.nodes[source.id] = source
    resolved.nodes[target.id] = target
    edge = EdgeKey(source.id, target.id, key.port, key.protocol)
    connections, answered, refused, found = posting.figures
    resolved.observations.append(
        Observation(
            edge=edge,
            minute=posting.minute,
            connections=connections,
            answered=answered,
            refused=refused,
            found=found,
            decision=posting.decision,
            first_seen=posting.first,
            last_seen=posting.last,
        )
    )
    if posting.process is not None:
        resolved.examples.append(
            Example(
                edge=edge, side="target", host=host, process=posting.process, seen_at=posting.last
            )
        )


def _minute(time: int) -> int:
    return time - time % limits.MINUTE_MS


def _figures(flow: Flow) -> Figures:
    return (flow.connections, flow.answered, flow.refused, flow.found)


def resolve(
    flows: list[Flow],
    *,
    host: Host,
    instances: Mapping[str, Node],
    received_at: int,
    directory: Directory | None = None,
) -> Resolved:
    """Everything these flows add to the history; `instances` maps instance ids to their nodes, the
    directory tells who is on other Defenders' hosts.

    An instance id that is not known (its message was lost with a gap) is counted and the address
    decides instead, so the flow itself is never lost.
    """
    merge = _Merge(host, instances, received_at, directory or Directory())
    for flow in flows:
        merge.take(flow)
    return merge.done()
