"""NetworkPolicies as a policy of ours that decides every flow as they do.

A connection is let through where both ends let it: its source is not isolated for egress or some
egress rule allows it, and its destination is not isolated for ingress or some ingress rule does.
An ordered list says that without ever naming those who are *not* isolated:

1. allow, for each egress and each ingress rule, what both allow;
2. prevent from whom is isolated for egress to whom is isolated for ingress: both had to allow;
3. allow what an egress rule or an ingress rule allows: the other end is isolated no more;
4. prevent from whom is isolated for egress; prevent to whom is isolated for ingress.

What none of them matches is allowed. Before all of it stands what NetworkPolicies don't judge: a
pod's own node, and pods that have their node's network. Why so: docs/decisions/0025.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple, TypeVar

import msgspec

from cnnf.policy import limits
from cnnf.policy.checks import check_policy
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.kubernetes.manifests import (
    Direction,
    IpBlock,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    TrafficRule,
)
from cnnf.policy.kubernetes.port_sets import EVERY_PORT, PortSet, both, by_protocol, port_set
from cnnf.policy.kubernetes.resolution import KnownPods
from cnnf.policy.kubernetes.selection import (
    ALL_PODS,
    NO_WORD,
    Objects,
    Pods,
    Side,
    Words,
    asks_labels,
    free_name,
    selected_namespaces,
    selected_pods,
    without_included,
)
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import Effect, Policy, PortRange, Rule, RuleProtocol

#: The kubelet, and programs that it is a part of: whoever asks pods whether they live.
KUBELETS = ("kubelet", "k3s", "k3s-agent", "rke2-*")

One = TypeVar("One")

#: Sides of a rule; None is anybody.
_Sides = tuple[Side, ...] | None


class Translation(msgspec.Struct, frozen=True):
    """The policy, and what a person should know of it: a sentence each."""

    policy: Policy
    notes: tuple[str, ...]


class _Allowance(NamedTuple):
    """What one rule of one policy allows: the pods it is about, the other side, the ports."""

    name: str
    pods: Pods
    others: _Sides
    ports: PortSet


def translate(
    policies: Iterable[NetworkPolicy],
    namespaces: Iterable[Namespace] | None = None,
    pods: Iterable[Pod] | None = None,
    cluster: str = "",
) -> Translation:
    """The same decisions as an ordered policy of ours, for pods of that cluster ('': of any).

    `namespaces` are needed where policies select by their labels, `pods` where they name ports.
    Raises InvalidValueError where these are missing, or where the policy would be too large.
    """
    made = _Translator(tuple(policies), namespaces, pods, cluster)
    made.write()
    policy = Policy(objects=made.objects.made, containers=tuple(made.rules))
    check_policy(policy)
    return Translation(policy, tuple(made.notes))


class _Translator:
    def __init__(
        self,
        policies: Sequence[NetworkPolicy],
        namespaces: Iterable[Namespace] | None,
        pods: Iterable[Pod] | None,
        cluster: str,
    ) -> None:
        clusters = (cluster,) if cluster else ()
        self.objects = Objects(clusters)
        self.rules: list[Rule] = []
        self.notes: list[str] = []
        self._clusters = clusters
        self._namespaces = None if namespaces is None else tuple(namespaces)
        self._pods_given = pods is not None
        self._names_ports = False
        self._known = KnownPods(pods or ())
        self._rule_names: dict[str, int] = {}
        self._matches: set[tuple[object, ...]] = set()
        self._isolated: dict[Direction, list[Pods]] = {"egress": [], "ingress": []}
        self._allowed: dict[Direction, list[_Allowance]] = {"egress": [], "ingress": []}
        for policy in policies:
            try:
                self._take(policy)
            except InvalidValueError as error:
                raise InvalidValueError(f"{_called(policy)}: {error}") from error
        for direction, isolated in self._isolated.items():
            self._isolated[direction] = without_included(isolated)

    # What policies say.

    def _take(self, policy: NetworkPolicy) -> None:
        pods = selected_pods(policy.pods, Words(frozenset((policy.namespace,))))
        if pods is None:
            return
        directions: tuple[tuple[Direction, tuple[TrafficRule, ...] | None], ...] = (
            ("egress", policy.egress),
            ("ingress", policy.ingress),
        )
        for direction, rules in directions:
            if rules is None:
                continue
            self._isolated[direction].append(pods)
            for number, rule in enumerate(rules, 1):
                name = f"{policy.namespace}/{policy.name} {direction} {number}"
                others = self._others(rule, policy.namespace)
                ports = self._ports(rule, policy)
                if others != () and ports:
                    self._allowed[direction].append(_Allowance(name, pods, others, ports))

    def _others(self, rule: TrafficRule, namespace: str) -> _Sides:
        if not rule.peers:
            return None
        found = (self._side(peer, namespace) for peer in rule.peers)
        return tuple(dict.fromkeys(one for one in found if one is not None))

    def _side(self, peer: Peer, namespace: str) -> Side | None:
        if peer.block is not None:
            return peer.block
        namespaces = Words(frozenset((namespace,)))
        if peer.namespaces is not None:
            if self._namespaces is None and asks_labels(peer.namespaces):
                raise InvalidValueError(
                    "selects namespaces by their labels: give these with --namespaces"
                )
            namespaces = selected_namespaces(peer.namespaces, self._namespaces or ())
        return selected_pods(peer.pods or (), namespaces)

    def _ports(self, rule: TrafficRule, policy: NetworkPolicy) -> PortSet:
        if any(one.protocol == "sctp" for one in rule.ports):
            self._note(
                f"{_called(policy)}: SCTP is not judged here, what it says of it is left out"
            )
        if any(one.name for one in rule.ports):
            if not self._pods_given:
                raise InvalidValueError("names ports: give the pods that have them with --pods")
            self._names_ports = True
        return port_set(rule.ports)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    # What is written.

    def write(self) -> None:
        """All rules, in order."""
        egress, ingress = self._isolated["egress"], self._isolated["ingress"]
        if not egress and not ingress:
            return
        self._note_mixed()
        self._write_nodes()
        self._write_host_network()
        for one, other in self._meetings():
            self._write_meeting(one, other)
        if egress and ingress:
            self._write("prevent", "both isolated", tuple(egress), tuple(ingress))
        for allowance in self._allowed["egress"]:
            self._write(
                "allow", allowance.name, (allowance.pods,), allowance.others, allowance.ports
            )
        for allowance in self._allowed["ingress"]:
            self._write(
                "allow", allowance.name, allowance.others, (allowance.pods,), allowance.ports
            )
        if egress:
            self._write("prevent", "isolated egress", tuple(egress), None)
        if ingress:
            self._write("prevent", "isolated ingress", None, tuple(ingress))

    def _note_mixed(self) -> None:
        for name in self._known.mixed_networks:
            self._note(
                f"pods like {name}: some have their node's network and some don't, which labels "
                "don't tell; they are judged as pods with a network of their own"
            )
        if self._names_ports:
            for name in self._known.mixed_ports:
                self._note(
                    f"pods like {name} have different named ports, which labels don't tell; a name "
                    "is only known where a flow tells the ports"
                )

    def _write_nodes(self) -> None:
        """Traffic between a pod and its own node is always allowed."""
        kubelet = NetworkObject(
            name="kubelet", kind="service", values=KUBELETS, clusters=self._clusters
        )
        if self._isolated["ingress"]:
            self._append(
                "kubelet", "allow", (self.objects.add(kubelet),), self.objects.names(ALL_PODS)
            )
        if not self._known.nodes:
            self._note(
                "Kubernetes always allows traffic between a pod and its own node; which these are "
                "is not known without --pods, so only the kubelet is let through"
            )
        for node in self._known.nodes:
            host = NetworkObject(
                name=f"node {node:.100}", kind="host", values=(node,), clusters=self._clusters
            )
            there = NetworkObject(
                name=f"pods on {node:.100}",
                kind="image",
                values=("*",),
                clusters=self._clusters,
                hosts=(node,),
            )
            sides = (self.objects.add(host),), (self.objects.add(there),)
            self._append(f"from node {node}", "allow", *sides)
            self._append(f"to node {node}", "allow", *sides[::-1])

    def _write_host_network(self) -> None:
        """Pods that have their node's network are its addresses, and isolated by nothing."""
        pods = self._known.host_network
        if not pods:
            return
        hosts = tuple(pods)
        self._write("allow", "host network", hosts, hosts)
        for one in self._allowed["ingress"]:
            if met := _at_addresses(hosts, one.others):
                self._write("allow", f"{one.name}, host network", met, (one.pods,), one.ports)
        if self._isolated["ingress"]:
            ingress = tuple(self._isolated["ingress"])
            self._write("prevent", "from host network", hosts, ingress)
        self._write("allow", "from host network", hosts, None)
        for one in self._allowed["egress"]:
            if met := _at_addresses(hosts, one.others):
                # Nobody knows the ports of a node by name.
                numbers = {
                    protocol: numbered
                    for protocol, stretches in one.ports.items()
                    if (numbered := tuple(each for each in stretches if not each.names))
                }
                self._write("allow", f"{one.name}, host network", (one.pods,), met, numbers)
        if self._isolated["egress"]:
            self._write("prevent", "to host network", tuple(self._isolated["egress"]), hosts)
        self._write("allow", "to host network", None, hosts)

    def _meetings(self) -> Iterator[tuple[_Allowance, _Allowance]]:
        """Every egress rule with every ingress rule that may allow the same connection."""
        targets: dict[Words, list[_Allowance]] = {}
        for ingress in self._allowed["ingress"]:
            targets.setdefault(ingress.pods.namespaces, []).append(ingress)
        looked_at = 0
        for egress in self._allowed["egress"]:
            for namespaces, those in targets.items():
                if not _reaches(egress.others, namespaces):
                    continue
                looked_at += len(those)
                if looked_at > limits.NETWORK_POLICY_PAIRS_MAX:
                    raise InvalidValueError(
                        f"more than {limits.NETWORK_POLICY_PAIRS_MAX:,} pairs of an egress and an "
                        "ingress rule may meet: import the policies of fewer namespaces at once"
                    )
                for ingress in those:
                    if _reaches(ingress.others, egress.pods.namespaces):
                        yield egress, ingress

    def _write_meeting(self, egress: _Allowance, ingress: _Allowance) -> None:
        sources = _common(egress.pods, ingress.others)
        destinations = _common(ingress.pods, egress.others)
        ports = both(egress.ports, ingress.ports)
        if sources and destinations and ports:
            name = f"{egress.name:.58} + {ingress.name:.58}"
            self._write("allow", name, sources, destinations, ports)

    def _write(
        self,
        effect: Effect,
        name: str,
        sources: _Sides,
        destinations: _Sides,
        ports: PortSet = EVERY_PORT,
    ) -> None:
        for protocol, stretches in by_protocol(ports):
            numbers = [(one.low, one.high) for one in stretches if not one.names]
            if numbers:
                every = numbers == [(0, 65_535)]
                self._write_numbers(
                    effect, name, sources, destinations, () if every else numbers, protocol
                )
            for named in (one for one in stretches if one.names):
                protocols: tuple[RuleProtocol, ...] = (
                    ("tcp", "udp") if protocol == "any" else (protocol,)
                )
                for of_name in protocols:
                    meant: dict[int, list[Pods]] = {}
                    for side in (None,) if destinations is None else destinations:
                        found = self._known.meant(side, named, of_name)
                        for number, pods in found.items():
                            meant.setdefault(number, []).extend(pods)
                    for number, pods in meant.items():
                        self._write_numbers(
                            effect, name, sources, tuple(pods), [(number, number)], of_name
                        )

    def _write_numbers(
        self,
        effect: Effect,
        name: str,
        sources: _Sides,
        destinations: _Sides,
        ports: Sequence[PortRange],
        protocol: RuleProtocol,
    ) -> None:
        for source, destination, some in product(
            _parts(self._object_names(sources), limits.SIDE_OBJECTS_MAX),
            _parts(self._object_names(destinations), limits.SIDE_OBJECTS_MAX),
            _parts(tuple(ports), limits.PORTS_MAX),
        ):
            self._append(name, effect, source, destination, some, protocol)

    def _object_names(self, sides: _Sides) -> tuple[str, ...]:
        names = [name for side in sides or () for name in self.objects.names(side)]
        return tuple(dict.fromkeys(names))

    def _append(
        self,
        name: str,
        effect: Effect,
        source: tuple[str, ...],
        destination: tuple[str, ...],
        ports: tuple[PortRange, ...] = (),
        protocol: RuleProtocol = "any",
    ) -> None:
        match = (source, destination, ports, protocol)
        # What an earlier rule has matched comes here no more.
        if match in self._matches:
            return
        self._matches.add(match)
        if len(self.rules) >= limits.RULES_MAX:
            raise InvalidValueError(
                f"the policies need more than {limits.RULES_MAX:,} rules: import those of fewer "
                "namespaces at once"
            )
        self.rules.append(
            Rule(
                name=free_name(name, limits.NAME_CHARS_MAX - 8, self._rule_names),
                effect=effect,
                source=source,
                destination=destination,
                ports=ports,
                protocol=protocol,
            )
        )


def _called(policy: NetworkPolicy) -> str:
    return f"NetworkPolicy {policy.namespace}/{policy.name}"


def _reaches(sides: _Sides, namespaces: Words) -> bool:
    """May a pod of the namespaces be on a side?"""
    return sides is None or any(
        isinstance(one, IpBlock) or (one.namespaces & namespaces) != NO_WORD for one in sides
    )


def _common(pods: Pods, sides: _Sides) -> tuple[Pods, ...]:
    """The pods that are on a side too."""
    if sides is None:
        return (pods,)
    found = (pods.within(one) if isinstance(one, IpBlock) else pods & one for one in sides)
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _at_addresses(hosts: tuple[Pods, ...], sides: _Sides) -> _Sides:
    """Those that a side selects as anybody's addresses, not as pods."""
    if sides is None:
        return hosts
    return tuple(host.within(one) for one in sides if isinstance(one, IpBlock) for host in hosts)


def _parts(these: tuple[One, ...], most: int) -> list[tuple[One, ...]]:
    """In parts of at most so many; nothing is one part."""
    if not these:
        return [()]
    return [these[start : start + most] for start in range(0, len(these), most)]
