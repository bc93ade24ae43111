"""A policy made ready for evaluation: by index, never by scanning the rules.

Rules of both lists are numbered in one sequence, first those for containers, then those for hosts;
disabled and expired ones are left out. Every question (who, where, which port, which protocol) is
answered by a set of rules (`rulesets`), and the decision is the first rule in all of them. The
Defender makes its tables of this; `evaluation` asks it directly.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from itertools import islice

import msgspec

from cnnf.policy import limits
from cnnf.policy.checks import check_policy
from cnnf.policy.endpoints import Identity
from cnnf.policy.objects import BUILT_IN, INTERNET, NetworkObject, ObjectKind
from cnnf.policy.rules import PORT_MAX, Effect, ListName, Policy, PortRange, Rule
from cnnf.policy.rulesets import NOTHING, Selected, divide
from cnnf.policy.selectors import Selectors, numbers
from cnnf.policy.subnets import ADDRESS_MAX, VERSIONS, Ranges, Version, internet, pack, ranges_of

#: Numbers of the protocols in the IP header (IANA), and their names in rules.
PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17}
_DIGEST_CHARS = 16


class CompiledRule(msgspec.Struct, frozen=True, gc=False):
    """What remains of a rule beside its places in the sets. `protocol` None and no ports: any."""

    name: str
    list: ListName
    effect: Effect
    protocol: str | None
    ports: tuple[PortRange, ...]


class Compiled:
    """A policy, ready. Nothing of it changes but what it remembers of identities.

    `container_rules` is the number of rules for containers, which come first. `anyone` are the
    rules whose source or destination is left out. `protocols` has the rules that speak 6 (TCP) and
    17 (UDP). `uses` are the kinds of the objects that enabled rules name. `digest` is the same for
    policies that mean the same. `now_ms` is the time it was made for, `ends_ms` when the first of
    its rules expires and all this is true no more, None for never.
    """

    def __init__(self, policy: Policy, now_ms: int = 0) -> None:
        """Raises InvalidValueError where the policy isn't right (`check_policy`)."""
        check_policy(policy)
        self.policy = policy
        self.now_ms = now_ms
        listed: list[tuple[ListName, Rule]] = [
            *(("containers", rule) for rule in policy.containers if is_active(rule, now_ms)),
            *(("hosts", rule) for rule in policy.hosts if is_active(rule, now_ms)),
        ]
        self.ends_ms = min(
            (rule.expires_ms for _, rule in listed if rule.expires_ms is not None), default=None
        )
        self.rules = tuple(_compiled_rule(where, rule) for where, rule in listed)
        self.container_rules = sum(where == "containers" for where, _ in listed)
        self.anyone = Selected(
            _set(number for number, (_, rule) in enumerate(listed) if not rule.source),
            _set(number for number, (_, rule) in enumerate(listed) if not rule.destination),
        )
        self.protocols = {
            number: _set(at for at, rule in enumerate(self.rules) if rule.protocol in (None, name))
            for name, number in PROTOCOL_NUMBERS.items()
        }
        carried = _carried([rule for _, rule in listed])
        self._objects = tuple(one for one in policy.objects if one.name in carried)
        self._carried = tuple(carried[one.name] for one in self._objects)
        self.uses: frozenset[ObjectKind] = frozenset(
            [one.kind for one in self._objects] + [BUILT_IN[n] for n in carried if n in BUILT_IN]
        )
        self._selectors = Selectors(self._objects)
        self._intervals = self._divided_addresses(carried.get(INTERNET, NOTHING))
        self._ports = _divided_ports(self.rules)
        self.digest = _digest(listed, self._objects)
        self._by_identity: OrderedDict[tuple[Identity, bytes], Selected] = OrderedDict()
        self._by_objects: dict[int, Selected] = {}
        self._set_bytes = 0
        self._judging: dict[tuple[bool, int, int], int] = {}

    def list_rules(self, container: bool) -> int:
        """The rules of the list that judges."""
        containers = (1 << self.container_rules) - 1
        return containers if container else ((1 << len(self.rules)) - 1) ^ containers

    def judging(self, container: bool, protocol: int, port: int) -> int:
        """The rules of the list that judges that speak a protocol (6, 17) and include a port."""
        starts, rules = self._ports
        stretch = bisect_right(starts, port) - 1
        key = container, protocol, stretch
        found = self._judging.get(key)
        if found is None:
            if len(self._judging) >= limits.JUDGING_CACHED_MAX:
                self._judging.clear()
            found = self.list_rules(container) & self.protocols[protocol] & rules[stretch]
            self._judging[key] = found
        return found

    def selected(self, identity: Identity, address: bytes = b"") -> Selected:
        """What the image, service and host objects select; not `anyone`, not what subnets do.

        `address` is where the identity is met, 4 or 16 bytes; it matters where objects are
        narrowed by addresses.
        """
        key = (identity, address if self._selectors.asks_address else b"")
        found = self._by_identity.get(key)
        if found is None:
            found = self._together(self._selectors.of_identity(*key))
            if len(self._by_identity) >= limits.IDENTITIES_CACHED_MAX:
                self._by_identity.popitem(last=False)
            self._by_identity[key] = found
        return found

    def selected_anywhere(self, identity: Identity) -> Selected:
        """What objects would select it if it were met at the right addresses."""
        return self._together(self._selectors.of_identity_anywhere(identity))

    def by_identity(self) -> Selected:
        """Every rule that an image, service or host object may select for somebody."""
        return self._of_kinds("image", "service", "host")

    def by_dns(self) -> Selected:
        """Every rule that a dns object may select for somebody."""
        return self._of_kinds("dns")

    def _of_kinds(self, *kinds: ObjectKind) -> Selected:
        found = NOTHING
        for one, carried in zip(self._objects, self._carried, strict=True):
            if one.kind in kinds:
                found |= carried
        return found

    def selected_names(self, names: Iterable[str]) -> Selected:
        """What the dns objects select for somebody who is known by these names."""
        found = self._selectors.of_names(islice(names, limits.NAMES_MAX))
        return self._together(found) if found else NOTHING

    def by_address(self, packed: bytes) -> Selected:
        """What the subnet objects select at an address of 4 or 16 bytes."""
        packed = pack(packed)
        starts, selected = self._intervals[4 if len(packed) == 4 else 6]
        return selected[bisect_right(starts, int.from_bytes(packed)) - 1]

    def intervals(self, version: Version) -> tuple[list[int], list[Selected]]:
        """Where each stretch of addresses begins, from 0 on, and what subnets select there.

        IPv4-mapped addresses are looked up as IPv4. The lists are the policy's own: don't change.
        """
        return self._intervals[version]

    def ports(self) -> tuple[list[int], list[int]]:
        """Where each stretch of ports begins, from 0 on, and the rules that include it."""
        return self._ports

    def by_port(self, port: int) -> int:
        """The rules that include a port."""
        starts, rules = self._ports
        return rules[bisect_right(starts, port) - 1]

    def _together(self, objects: int) -> Selected:
        found = self._by_objects.get(objects)
        if found is None:
            found = NOTHING
            for number in numbers(objects):
                found |= self._carried[number]
            self._set_bytes += (found.source.bit_length() + found.destination.bit_length()) // 8
            if self._set_bytes > limits.IDENTITY_SET_BYTES_MAX:
                self._by_objects.clear()
                self._by_identity.clear()
                self._set_bytes = 0
            self._by_objects[objects] = found
        return found

    def _divided_addresses(
        self, on_internet: Selected
    ) -> dict[Version, tuple[list[int], list[Selected]]]:
        count = len(self.rules)
        every = (1 << count) - 1
        spans: list[tuple[Ranges, Selected]] = [(internet(), on_internet)]
        for one, carried in zip(self._objects, self._carried, strict=True):
            if one.kind == "subnet":
                spans.append((ranges_of(one.values), carried))
        # Both sides in one number, so that one walk divides by both.
        joined = [(ranges, one.source | one.destination << count) for ranges, one in spans]
        found: dict[Version, tuple[list[int], list[Selected]]] = {}
        for version in VERSIONS:
            starts, sets = divide(
                ((*span, rules) for ranges, rules in joined for span in ranges[version]),
                ADDRESS_MAX[version],
            )
            shared = {rules: Selected(rules & every, rules >> count) for rules in set(sets)}
            found[version] = (starts, [shared[rules] for rules in sets])
        return found


def compile_policy(policy: Policy, now_ms: int = 0) -> Compiled:
    """Makes a policy ready for what is decided from `now_ms` (milliseconds since 1970) on.

    It holds until `Compiled.ends_ms`; without a time no rule has expired. Raises
    InvalidValueError, which says what is wrong and where.
    """
    return Compiled(policy, now_ms)


def is_active(rule: Rule, now_ms: int) -> bool:
    """Does a rule take part in decisions at that time?"""
    return rule.enabled and not rule.expired(now_ms)


def _compiled_rule(where: ListName, rule: Rule) -> CompiledRule:
    protocol = None if rule.protocol == "any" else rule.protocol
    return CompiledRule(rule.name, where, rule.effect, protocol, rule.ports)


def _set(numbers: Iterable[int]) -> int:
    """A set of rules of their numbers; by bytes, since each bit added to a number copies it."""
    found = bytearray(limits.RULES_MAX // 8 + 1)
    for number in numbers:
        found[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(found, "little")


def _carried(rules: list[Rule]) -> dict[str, Selected]:
    """For every object that rules name: the rules whose source it is, and whose destination."""
    sources: dict[str, list[int]] = {}
    destinations: dict[str, list[int]] = {}
    for number, rule in enumerate(rules):
        for name in rule.source:
            sources.setdefault(name, []).append(number)
        for name in rule.destination:
            destinations.setdefault(name, []).append(number)
    return {
        name: Selected(_set(sources.get(name, ())), _set(destinations.get(name, ())))
        for name in sources.keys() | destinations.keys()
    }


def _divided_ports(rules: tuple[CompiledRule, ...]) -> tuple[list[int], list[int]]:
    alike: dict[tuple[PortRange, ...], list[int]] = {}
    for number, rule in enumerate(rules):
        alike.setdefault(rule.ports, []).append(number)
    spans: list[tuple[int, int, int]] = []
    for ports, having in ((ports, _set(those)) for ports, those in alike.items()):
        spans += ((low, high, having) for low, high in ports or ((0, PORT_MAX),))
    return divide(spans, PORT_MAX)


def _digest(listed: list[tuple[ListName, Rule]], objects: tuple[NetworkObject, ...]) -> str:
    """Of the enabled rules in order and the objects they name; the order of values is no meaning.

    An object's name, a note and an owner mean nothing, a rule's name is the cause of its decisions.
    """
    contents = {one.name: _hashed(_content(one)) for one in objects}
    contents.update({name: _hashed(("built-in", name)) for name in BUILT_IN})
    meaning = [
        (
            where,
            rule.name,
            rule.effect,
            rule.protocol,
            sorted(rule.ports),
            sorted(contents[name] for name in rule.source),
            sorted(contents[name] for name in rule.destination),
            *([] if rule.expires_ms is None else [rule.expires_ms]),
        )
        for where, rule in listed
    ]
    return _hashed(meaning)


def _content(one: NetworkObject) -> object:
    return (
        one.kind,
        sorted(set(one.values)),
        sorted(set(one.clusters)),
        sorted(set(one.namespaces)),
        sorted(set(one.hosts)),
        sorted((test.key, test.operator, sorted(set(test.values))) for test in one.labels),
        *([sorted(set(one.addresses))] if one.addresses else []),
    )


def _hashed(value: object) -> str:
    return sha256(msgspec.json.encode(value)).hexdigest()[:_DIGEST_CHARS]
