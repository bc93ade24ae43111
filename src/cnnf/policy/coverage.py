"""Which rules match all that a rule matches, by the compiled policy's sets of rules.

For every object a rule names there is the set of rules that have it, or one that contains it, on
the same side; likewise for ports and protocols. What is in all these sets covers the rule. Only
`analysis` asks.
"""

from bisect import bisect_right
from collections.abc import Iterator

from cnnf.policy.compiled import PROTOCOL_NUMBERS, Compiled, is_active
from cnnf.policy.containment import Containment
from cnnf.policy.objects import INTERNET
from cnnf.policy.rules import PORT_MAX, PortRange, Rule
from cnnf.policy.rulesets import NOTHING, Selected, first_match
from cnnf.policy.subnets import VERSIONS, Ranges, Version, internet, ranges_of


class Coverage:
    """Of the rules that take part in decisions; `rules` are these, by number."""

    def __init__(self, compiled: Compiled) -> None:
        policy, now_ms = compiled.policy, compiled.now_ms
        self._compiled = compiled
        self._every = (1 << len(compiled.rules)) - 1
        self.rules = tuple(
            rule for rule in (*policy.containers, *policy.hosts) if is_active(rule, now_ms)
        )
        assert len(self.rules) == len(compiled.rules)
        self._sides = _Sides(compiled, self.rules)
        self._port_starts, port_sets = compiled.ports()
        self._port_sets = port_sets
        self._ports = _Common(port_sets)
        self._by_ports: dict[tuple[PortRange, ...], int] = {}
        self._found: dict[int, int] = {}
        self._first_like: dict[object, int] = {}
        self._like = [
            self._first_like.setdefault(_match(compiled, number, rule), number)
            for number, rule in enumerate(self.rules)
        ]

    def covering(self, number: int) -> int:
        """The rules of either list that match all that a rule matches, itself among them."""
        found = self._found.get(number)
        if found is None:
            rule = self.rules[number]
            found = self._sides_of(rule) & self._ports_of(rule.ports)
            for name in _protocols(rule):
                found &= self._compiled.protocols[PROTOCOL_NUMBERS[name]]
            self._found[number] = found
        return found

    def twin(self, number: int) -> int | None:
        """The first rule before that is written with the same match, if there is one."""
        first = self._like[number]
        return first if first < number else None

    def together(self, number: int, before: int, budget: int) -> tuple[tuple[int, ...], int]:
        """Rules of `before` that only together match all of a rule's ports and protocols.

        Gives none where they don't, and how many stretches of ports were looked at, at most about
        `budget`; what is beyond is not found.
        """
        rule = self.rules[number]
        among = self._sides_of(rule) & before
        found: dict[int, None] = {}
        looked = 0
        for name in _protocols(rule):
            speaking = among & self._compiled.protocols[PROTOCOL_NUMBERS[name]]
            for at in self._stretches(rule.ports):
                looked += 1
                one = first_match(speaking & self._port_sets[at])
                if one < 0 or looked > budget:
                    return (), looked
                found[one] = None
        return tuple(found), looked

    def _sides_of(self, rule: Rule) -> int:
        source = destination = self._every
        for name in rule.source:
            source &= self._sides.covering(name).source
        for name in rule.destination:
            destination &= self._sides.covering(name).destination
        anyone = self._compiled.anyone
        if not rule.source:
            source = anyone.source
        if not rule.destination:
            destination = anyone.destination
        return source & destination

    def _ports_of(self, ports: tuple[PortRange, ...]) -> int:
        found = self._by_ports.get(ports)
        if found is None:
            found = self._every
            for low, high in ports or ((0, PORT_MAX),):
                found &= self._ports.over(*_places(self._port_starts, low, high))
            self._by_ports[ports] = found
        return found

    def _stretches(self, ports: tuple[PortRange, ...]) -> Iterator[int]:
        for low, high in ports or ((0, PORT_MAX),):
            first, last = _places(self._port_starts, low, high)
            yield from range(first, last + 1)


class _Sides:
    """For each object: the rules that have it, or what contains it, on a side."""

    def __init__(self, compiled: Compiled, rules: tuple[Rule, ...]) -> None:
        self._count = len(rules)
        self._anyone = compiled.anyone
        self._objects = compiled.policy.objects
        self._numbers = {one.name: number for number, one in enumerate(self._objects)}
        self._containment = Containment(self._objects)
        self._naming = _naming(rules)
        starts_and_sets = {version: compiled.intervals(version) for version in VERSIONS}
        self._starts: dict[Version, list[int]] = {
            version: starts for version, (starts, _) in starts_and_sets.items()
        }
        # Both sides in one number, so that one walk does for both.
        self._common = {
            version: _Common([one.source | one.destination << self._count for one in sets])
            for version, (_, sets) in starts_and_sets.items()
        }
        self._by_object: dict[str, Selected] = {}
        self._by_containing: dict[int, Selected] = {}

    def covering(self, name: str) -> Selected:
        """Rules whose source, and whose destination, has all that is in an object."""
        found = self._by_object.get(name)
        if found is None:
            found = self._found(name) | self._anyone
            self._by_object[name] = found
        return found

    def _found(self, name: str) -> Selected:
        if name == INTERNET:
            return self._by_addresses(internet())
        number = self._numbers[name]
        one = self._objects[number]
        if one.kind == "subnet":
            return self._by_addresses(ranges_of(one.values))
        containing = self._containment.containing(number)
        found = self._by_containing.get(containing)
        if found is None:
            found, left = NOTHING, containing
            while left:
                other = first_match(left)
                left &= left - 1
                found |= self._naming.get(self._objects[other].name, NOTHING)
            self._by_containing[containing] = found
        return found

    def _by_addresses(self, ranges: Ranges) -> Selected:
        every = (1 << self._count) - 1
        found = every | every << self._count
        for version in VERSIONS:
            for low, high in ranges[version]:
                found &= self._common[version].over(*_places(self._starts[version], low, high))
        return Selected(found & every, found >> self._count)


class _Common:
    """What all sets of a stretch of a list have in common, in a few steps (a segment tree)."""

    def __init__(self, sets: list[int]) -> None:
        self._size = len(sets)
        tree = [0] * self._size + sets
        for at in range(self._size - 1, 0, -1):
            tree[at] = tree[2 * at] & tree[2 * at + 1]
        self._tree = tree

    def over(self, first: int, last: int) -> int:
        """Of the sets from `first` to `last`, both included."""
        found = -1
        low, high = first + self._size, last + self._size + 1
        while low < high:
            if low & 1:
                found &= self._tree[low]
                low += 1
            if high & 1:
                high -= 1
                found &= self._tree[high]
            low >>= 1
            high >>= 1
        return found


def _places(starts: list[int], low: int, high: int) -> tuple[int, int]:
    """The first and last stretch that a range meets."""
    return bisect_right(starts, low) - 1, bisect_right(starts, high) - 1


def _protocols(rule: Rule) -> tuple[str, ...]:
    return ("tcp", "udp") if rule.protocol == "any" else (rule.protocol,)


def _naming(rules: tuple[Rule, ...]) -> dict[str, Selected]:
    found: dict[str, Selected] = {}
    for number, rule in enumerate(rules):
        for name in rule.source:
            found[name] = found.get(name, NOTHING) | Selected(1 << number, 0)
        for name in rule.destination:
            found[name] = found.get(name, NOTHING) | Selected(0, 1 << number)
    return found


def _match(compiled: Compiled, number: int, rule: Rule) -> object:
    sides = frozenset(rule.source), frozenset(rule.destination)
    return compiled.rules[number].list, *sides, frozenset(rule.ports), rule.protocol
