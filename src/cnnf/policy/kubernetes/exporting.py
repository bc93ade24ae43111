"""A policy of ours as NetworkPolicies, as far as these can say it, and what they can't.

A NetworkPolicy isolates pods and then allows; so a rule that prevents *everything* to pods, or from
pods, becomes one that isolates them, and allow rules before it become what is still allowed to or
from them. An allow rule is only written where some pods are isolated: everywhere else everything
is allowed anyway. What a rule decides that is written, NetworkPolicies decide alike; every other
rule is told with the reason.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

import msgspec

from cnnf.policy import limits
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.kubernetes.manifests import (
    NAME_LABEL,
    Direction,
    IpBlock,
    LabelSelector,
    NetworkPolicy,
    Peer,
    PolicyPort,
    PolicyProtocol,
    Requirement,
    SelectorOperator,
    TrafficRule,
)
from cnnf.policy.kubernetes.reading import is_label_key, is_label_value, is_namespace
from cnnf.policy.kubernetes.selection import ALL_PODS, Pods, Words, selected_pods
from cnnf.policy.objects import INTERNET, LabelOperator, LabelTest, NetworkObject
from cnnf.policy.rules import PORT_MAX, Policy, Rule
from cnnf.policy.subnets import VERSIONS, Ranges, internet, ranges_of

_OPERATORS: dict[LabelOperator, SelectorOperator] = {
    "in": "In",
    "not in": "NotIn",
    "exists": "Exists",
    "not exists": "DoesNotExist",
}
_SLUG = re.compile(r"[^a-z0-9]+")
#: Characters of a policy's name: room for a number and for labels that tools make of it (63).
_NAME_CHARS_MAX = 50


class LeftOut(msgspec.Struct, frozen=True):
    """A rule that no NetworkPolicy says, or (`partly`) not for everybody, and why."""

    rule: str
    reason: str
    partly: bool = False


class Exported(msgspec.Struct, frozen=True):
    """What can be said, and what can't: in the order of the rules."""

    policies: tuple[NetworkPolicy, ...]
    left_out: tuple[LeftOut, ...]


class _Side(msgspec.Struct, frozen=True):
    """Pods and blocks of one side; `anybody` where it is left out."""

    anybody: bool
    pods: tuple[Pods, ...] = ()
    blocks: tuple[IpBlock, ...] = ()

    @property
    def selected(self) -> tuple[Pods, ...]:
        return (ALL_PODS,) if self.anybody else self.pods


class _Isolation(msgspec.Struct, frozen=True):
    """From a rule that prevents everything: whose traffic, in which direction, and when."""

    place: int
    direction: Direction
    pods: tuple[Pods, ...]


class _Allowing(msgspec.Struct, frozen=True):
    place: int
    rule: Rule
    source: _Side
    destination: _Side
    ports: tuple[PolicyPort, ...]


def export_policies(policy: Policy, *, cluster: str = "", now_ms: int = 0) -> Exported:
    """NetworkPolicies for one cluster; objects of other clusters can't be in them.

    Rules that are disabled or have expired are left out without a word. Raises InvalidValueError
    where it would be more policies than a file may have.
    """
    made = _Exporter(policy, cluster)
    for place, rule in enumerate(policy.containers):
        if rule.enabled and not rule.expired(now_ms):
            try:
                made.take(place, rule)
            except _Inexpressible as error:
                made.left_out.append(LeftOut(rule.name, str(error)))
                if rule.effect == "prevent":
                    made.prevents(rule)
    made.write()
    made.left_out += [
        LeftOut(rule.name, "it is for hosts, and NetworkPolicies are for pods")
        for rule in policy.hosts
        if rule.enabled and not rule.expired(now_ms)
    ]
    order = {rule.name: at for at, rule in enumerate((*policy.containers, *policy.hosts))}
    left_out = sorted(made.left_out, key=lambda one: order[one.rule])
    return Exported(tuple(made.policies), tuple(left_out))


class _Inexpressible(Exception):
    """No NetworkPolicy can say it; the text says why."""


class _Exporter:
    def __init__(self, policy: Policy, cluster: str) -> None:
        self.policies: list[NetworkPolicy] = []
        self.left_out: list[LeftOut] = []
        self._objects = {one.name: one for one in policy.objects}
        self._cluster = cluster
        self._isolations: list[_Isolation] = []
        self._allowing: list[_Allowing] = []
        #: Both sides of rules that prevent and are left out; None where they can't be told.
        self._unsaid: list[tuple[_Side, _Side] | None] = []
        self._taken: set[tuple[str, str]] = set()
        self._numbers: dict[str, int] = {}

    def take(self, place: int, rule: Rule) -> None:
        """Notes what a rule says. Raises _Inexpressible."""
        if rule.effect == "alert":
            raise _Inexpressible("a NetworkPolicy raises no events")
        if rule.expires_ms is not None:
            raise _Inexpressible("it expires, and NetworkPolicies don't")
        source = self._side(rule.source)
        destination = self._side(rule.destination)
        if rule.effect == "prevent":
            self._isolate(place, rule, source, destination)
            return
        found = _Allowing(place, rule, source, destination, _ports(rule))
        for one in self._isolations:
            side = destination if one.direction == "ingress" else source
            if side.blocks or any(p & o for p in side.selected for o in one.pods):
                raise _Inexpressible(
                    "it stands behind a rule that prevents everything to or from some of its pods, "
                    "and NetworkPolicies have no order: move it up"
                )
        if any(each is None or _meet(each, (source, destination)) for each in self._unsaid):
            raise _Inexpressible(
                "an earlier rule that prevents some of it is left out, and without that it would "
                "allow more"
            )
        self._allowing.append(found)

    def prevents(self, rule: Rule) -> None:
        """Notes a rule that is left out: nothing that it prevents may be allowed."""
        try:
            self._unsaid.append((self._side(rule.source), self._side(rule.destination)))
        except _Inexpressible:
            self._unsaid.append(None)

    def _isolate(self, place: int, rule: Rule, source: _Side, destination: _Side) -> None:
        if rule.ports or rule.protocol != "any" or source.anybody is destination.anybody:
            raise _Inexpressible(
                "a NetworkPolicy refuses nothing but what none allows: only a rule that prevents "
                "everything to some pods, or everything from them, can be said"
            )
        direction: Direction = "ingress" if source.anybody else "egress"
        side = destination if source.anybody else source
        if side.blocks or any(one.namespaces.others for one in side.pods):
            raise _Inexpressible(
                "a NetworkPolicy stands in one namespace and isolates pods there: name the "
                "namespaces of its objects"
            )
        self._isolations.append(_Isolation(place, direction, side.pods))

    # Objects.

    def _side(self, names: Sequence[str]) -> _Side:
        pods: list[Pods] = []
        blocks: list[IpBlock] = []
        for name in names:
            if name == INTERNET:
                blocks += _blocks(internet())
                continue
            one = self._objects[name]
            if one.kind == "subnet":
                blocks += _blocks(ranges_of(one.values))
            else:
                found = self._pods(one)
                pods += [found] if found is not None else []
        return _Side(not names, tuple(pods), tuple(blocks))

    def _pods(self, one: NetworkObject) -> Pods | None:
        called = f"object {one.name!r}"
        if one.kind != "image":
            raise _Inexpressible(f"{called} is a {one.kind}, and NetworkPolicies know pods")
        if one.values != ("*",):
            raise _Inexpressible(
                f"{called} selects images, and NetworkPolicies know labels: write `*` with labels"
            )
        if one.hosts or one.addresses:
            raise _Inexpressible(f"{called} is narrowed by hosts or addresses")
        if one.clusters and one.clusters != (self._cluster,):
            raise _Inexpressible(f"{called} is of other clusters, or the cluster is not given")
        return selected_pods(
            tuple(_requirement(test, called) for test in one.labels),
            _namespaces(one.namespaces, called),
        )

    # Policies.

    def write(self) -> None:
        """Policies that isolate, then those that allow, rule by rule."""
        for one in self._isolations:
            for pods in one.pods:
                self._write(f"isolate-{one.direction}", pods, one.direction, ())
        for allowing in self._allowing:
            source, destination = allowing.source, allowing.destination
            self._write_allowing(allowing, "ingress", destination, source)
            self._write_allowing(allowing, "egress", source, destination)

    def _write_allowing(
        self, allowing: _Allowing, direction: Direction, side: _Side, other: _Side
    ) -> None:
        isolated = [
            pods
            for one in self._isolations
            if one.direction == direction and one.place > allowing.place
            for pods in one.pods
        ]
        if isolated and side.blocks:
            self.left_out.append(
                LeftOut(
                    allowing.rule.name,
                    f"it allows addresses, and isolated pods that have one of them stay isolated "
                    f"({direction})",
                    partly=True,
                )
            )
        peers = _peers(other)
        if not other.anybody and not peers:
            return
        traffic = TrafficRule(peers=peers, ports=allowing.ports)
        met = (pods & one for pods in isolated for one in side.selected)
        for pods in dict.fromkeys(one for one in met if one is not None):
            self._write(allowing.rule.name, pods, direction, (traffic,))

    def _write(
        self, called: str, pods: Pods, direction: Direction, rules: tuple[TrafficRule, ...]
    ) -> None:
        selector = _selector(pods)
        for namespace in sorted(pods.namespaces.words):
            if len(self.policies) >= limits.RULES_MAX:
                raise InvalidValueError(
                    f"more than {limits.RULES_MAX:,} NetworkPolicies: export fewer rules at once"
                )
            name = self._free(namespace, called)
            self.policies.append(
                NetworkPolicy(
                    name=name,
                    namespace=namespace,
                    pods=selector,
                    ingress=rules if direction == "ingress" else None,
                    egress=rules if direction == "egress" else None,
                )
            )

    def _free(self, namespace: str, called: str) -> str:
        """A name that no other policy of the namespace has."""
        slug = _SLUG.sub("-", called.lower()).strip("-")[:_NAME_CHARS_MAX].strip("-") or "rule"
        name = slug
        while (namespace, name) in self._taken:
            self._numbers[slug] = self._numbers.get(slug, 1) + 1
            name = f"{slug}-{self._numbers[slug]}"
        self._taken.add((namespace, name))
        return name


def _meet(one: tuple[_Side, _Side], other: tuple[_Side, _Side]) -> bool:
    """May a connection be on both? Whoever has an address may be a pod."""
    return all(
        mine.blocks
        or theirs.blocks
        or any(pods & others for pods in mine.selected for others in theirs.selected)
        for mine, theirs in zip(one, other, strict=True)
    )


def _requirement(test: LabelTest, called: str) -> Requirement:
    if not is_label_key(test.key) or not all(map(is_label_value, test.values)):
        raise _Inexpressible(f"{called}: {test.key!r} is no label that Kubernetes can have")
    return Requirement(test.key, _OPERATORS[test.operator], test.values)


def _namespaces(patterns: Sequence[str], called: str) -> Words:
    names = [one.removeprefix("-") for one in patterns if one != "*"]
    if not all(map(is_namespace, names)):
        raise _Inexpressible(f"{called}: a pattern of namespaces, where Kubernetes has names")
    excluded = {one[1:] for one in patterns if one.startswith("-")}
    if not patterns or "*" in patterns:
        return Words(frozenset(excluded), others=True)
    return Words(frozenset(names) - excluded)


def _blocks(ranges: Ranges) -> list[IpBlock]:
    found: list[IpBlock] = []
    for version in VERSIONS:
        address = IPv4Address if version == 4 else IPv6Address
        for low, high in ranges[version]:
            networks = summarize_address_range(address(low), address(high))
            found += [IpBlock(str(one)) for one in networks]
    return found


def _ports(rule: Rule) -> tuple[PolicyPort, ...]:
    protocols: tuple[PolicyProtocol, ...] = (
        ("tcp", "udp") if rule.protocol == "any" else (rule.protocol,)
    )
    if not rule.ports:
        # No ports at all are those of every protocol.
        return () if rule.protocol == "any" else (PolicyPort(protocol=rule.protocol),)
    ranges = [(max(low, 1), high) for low, high in rule.ports if high >= 1]
    if not ranges:
        raise _Inexpressible("port 0 alone, which Kubernetes doesn't have")
    return tuple(
        PolicyPort(protocol=protocol)
        if (low, high) == (1, PORT_MAX)
        else PolicyPort(protocol=protocol, ports=(low, high))
        for protocol in protocols
        for low, high in ranges
    )


def _peers(side: _Side) -> tuple[Peer, ...]:
    return (
        *(Peer(pods=_selector(one), namespaces=_namespace_selector(one)) for one in side.pods),
        *(Peer(block=one) for one in side.blocks),
    )


def _namespace_selector(pods: Pods) -> LabelSelector:
    names = tuple(sorted(pods.namespaces.words))
    if not names:
        return ()
    return (Requirement(NAME_LABEL, "NotIn" if pods.namespaces.others else "In", names),)


def _selector(pods: Pods) -> LabelSelector:
    tests: Iterable[LabelTest] = (test for key, label in pods.labels for test in label.tests(key))
    return tuple(_requirement(test, "") for test in tests)
