"""A batch's flows become observations between nodes.

Values in, values out: the store reads what it knows about the Defender (its host, its instances),
this module says which nodes every flow joins, adds up what belongs to one edge and minute, and
gathers what is an event; the store writes the result.
"""

from collections.abc import Mapping

import msgspec

from cnnf.console import limits
from cnnf.console.core import events, nodes
from cnnf.console.core.decisions import UNDECIDED, Decision, decision_of
from cnnf.console.core.events import End, Event
from cnnf.console.core.nodes import Node
from cnnf.policy.addresses import is_internet, parse_address
from cnnf.protocol.messages import Endpoint, Flow, Instance, Process


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
    """A process seen behind one side of an edge."""

    edge: EdgeKey
    side: str
    process: Process
    seen_at: int


class Resolved(msgspec.Struct, kw_only=True):
    """A batch's flows, resolved. `peers` are internet addresses by edge, with the last time;
    `events` are what was alerted on or prevented, repeats taken together."""

    nodes: dict[str, Node]
    observations: list[Observation]
    peers: dict[EdgeKey, dict[str, int]]
    examples: list[Example]
    events: list[Event]
    unknown_instances: int


def node_of(instance: Instance) -> Node:
    """The node that this instance is one of."""
    if instance.kind == "container":
        return nodes.app(instance.name, cluster=instance.cluster, namespace=instance.namespace)
    return nodes.service(instance.name)


class _Merge:
    """Adds up one batch; lives for the length of one call."""

    def __init__(self, host: Host, instances: Mapping[str, Node], received_at: int) -> None:
        self._host = host
        self._instances = instances
        self._received_at = received_at
        self._sums: dict[tuple[EdgeKey, int], Observation] = {}
        self._examples: dict[tuple[EdgeKey, str, str], Example] = {}
        self._occurrences: list[Event] = []
        self.out = Resolved(
            nodes={}, observations=[], peers={}, examples=[], events=[], unknown_instances=0
        )

    def take(self, flow: Flow) -> None:
        source = self._node(flow.source)
        target = self._node(flow.destination)
        self.out.nodes[source.id] = source
        self.out.nodes[target.id] = target
        edge = EdgeKey(source.id, target.id, flow.port, flow.protocol)
        # A clock that runs ahead must not put flows where nobody looks for them.
        ahead = flow.last_seen > self._received_at + limits.CLOCK_AHEAD_MS
        last_seen = self._received_at if ahead else flow.last_seen
        first_seen = min(flow.first_seen, last_seen)
        self._add(edge, flow, first_seen, last_seen)
        # The local end is the one this Defender knows the instance of; the source if both.
        local_target = bool(flow.destination.instance and not flow.source.instance)
        for node, endpoint in ((source, flow.source), (target, flow.destination)):
            if node.kind == "internet":
                seen = self.out.peers.setdefault(edge, {})
                seen[endpoint.address] = max(last_seen, seen.get(endpoint.address, 0))
        if flow.process is not None:
            side = "target" if local_target else "source"
            key = (edge, side, flow.process.executable + "\0" + flow.process.command)
            self._examples[key] = Example(
                edge=edge, side=side, process=flow.process, seen_at=last_seen
            )
        if flow.effect in ("alert", "prevent") and events.happened(flow):
            processes = (None, flow.process) if local_target else (flow.process, None)
            self._occurrences.append(
                self._occurrence(flow, (source, target), processes, (first_seen, last_seen))
            )

    def _occurrence(
        self,
        flow: Flow,
        ends: tuple[Node, Node],
        processes: tuple[Process | None, Process | None],
        seen: tuple[int, int],
    ) -> Event:
        assert flow.effect is not None
        assert flow.effect != "allow"
        defender = self._host.defender
        pair = events.digest(defender, flow.effect, flow.cause, ends[0].id, ends[1].id)
        return Event(
            key=events.digest(pair.hex(), flow.port, flow.protocol),
            pair=pair,
            kind=events.kind_of(flow.cause),
            effect=flow.effect,
            cause=flow.cause,
            source=self._end(ends[0], flow.source, processes[0]),
            destination=self._end(ends[1], flow.destination, processes[1]),
            port=flow.port,
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
        return events.end_of(node, address=address, host=host, process=process)

    def _add(self, edge: EdgeKey, flow: Flow, first_seen: int, last_seen: int) -> None:
        minute = last_seen - last_seen % limits.MINUTE_MS
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

    def _node(self, endpoint: Endpoint) -> Node:
        if endpoint.instance:
            known = self._instances.get(endpoint.instance)
            if known is not None:
                return known
            self.out.unknown_instances += 1
        if not endpoint.address:
            return nodes.host(self._host.defender, self._host.name)
        address = parse_address(endpoint.address)
        if address.is_loopback or address.is_unspecified or str(address) in self._host.addresses:
            return nodes.host(self._host.defender, self._host.name)
        if is_internet(address):
            return nodes.INTERNET
        return nodes.unmanaged(str(address))

    def done(self) -> Resolved:
        self.out.observations = list(self._sums.values())
        self.out.examples = list(self._examples.values())
        self.out.events = events.gather(self._occurrences)
        return self.out


def resolve(
    flows: list[Flow], *, host: Host, instances: Mapping[str, Node], received_at: int
) -> Resolved:
    """Everything these flows add to the history; `instances` maps instance ids to their nodes.

    An instance id that is not known (its message was lost with a gap) is counted and the address
    decides instead, so the flow itself is never lost.
    """
    merge = _Merge(host, instances, received_at)
    for flow in flows:
        merge.take(flow)
    return merge.done()
