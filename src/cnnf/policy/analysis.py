"""Finds what is wrong with a policy that is right by its form: what never decides, and why.

Asked when a policy is saved, and by `cnnf policy check`. Whether one rule lies within another is
worked out by the sets of rules that the compiled policy has, not by comparing pairs. Sound, not
complete: what is found is so, but what only several objects together contain is not found.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from cnnf.policy import limits
from cnnf.policy.compiled import Compiled, is_active
from cnnf.policy.containment import is_empty
from cnnf.policy.coverage import Coverage
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import called
from cnnf.policy.moments import moment_text
from cnnf.policy.objects import INTERNET, NetworkObject
from cnnf.policy.rules import ListName, Rule
from cnnf.policy.rulesets import first_match
from cnnf.policy.selectors import Selectors
from cnnf.policy.subnets import VERSIONS, Ranges, address_text, internet, pack, ranges_of

Kind = Literal[
    "shadowed",
    "duplicate",
    "contradictory",
    "never-applies",
    "expired",
    "half-expired",
    "expires-soon",
    "empty-object",
    "unused-object",
    "unmatched-object",
    "contains-protected",
]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at. `list` is '' for an object, `because` the rule or object that causes
    it, '' where nothing else does."""

    kind: Kind
    name: str
    list: ListName | Literal[""] = ""
    because: str = ""
    message: str


def analyse(compiled: Compiled, known: Sequence[Candidate] | None = None) -> tuple[Finding, ...]:
    """Everything that is found, rules first, in the policy's order.

    `compiled` is of the time that expiry is seen from. `known` are those who are there, with their
    addresses: without them nothing is said of what matches nobody, or contains the protected.
    """
    found = [*_expiry(compiled), *_rules(compiled), *_objects(compiled)]
    if known is not None:
        found += _unmatched(compiled, known)
        found += _protected(compiled, known)
    return tuple(found)


# Rules.


def _rules(compiled: Compiled) -> Iterator[Finding]:
    empty = {one.name for one in compiled.policy.objects if _selects_nothing(one)}
    coverage = Coverage(compiled)
    budget = limits.ANALYSIS_STRETCHES_MAX
    for number, rule in enumerate(coverage.rules):
        where = compiled.rules[number].list
        sides = (rule.source, rule.destination)
        hollow = next((side[0] for side in sides if side and empty.issuperset(side)), None)
        if hollow is not None:
            yield Finding(
                kind="never-applies",
                name=rule.name,
                list=where,
                because=hollow,
                message=f"never applies: nothing can be in {hollow}",
            )
            continue
        before = compiled.list_rules(where == "containers") & ((1 << number) - 1)
        covering = coverage.covering(number) & before
        if covering:
            yield _covered(compiled, coverage, number, covering)
            continue
        several, looked = coverage.together(number, before, budget)
        budget -= looked
        if several:
            first = compiled.rules[several[0]].name
            names = ", ".join(compiled.rules[one].name for one in several)
            yield Finding(
                kind="shadowed",
                name=rule.name,
                list=where,
                because=first,
                message=f"never decides: {names} before it match all that it matches",
            )


def _covered(compiled: Compiled, coverage: Coverage, number: int, covering: int) -> Finding:
    rule = coverage.rules[number]
    # One that is the same says more than one that is wider.
    twin = coverage.twin(number)
    at = twin if twin is not None and covering >> twin & 1 else first_match(covering)
    other = coverage.rules[at]
    same = coverage.covering(at) >> number & 1
    until = ""
    if other.expires_ms is not None and (
        rule.expires_ms is None or other.expires_ms < rule.expires_ms
    ):
        until = f", until that expires at {moment_text(other.expires_ms)}"
    kind: Kind = "shadowed"
    said = f"never decides: {other.name} before it matches all that it matches{until}"
    if same and other.effect == rule.effect:
        kind, said = "duplicate", f"says again what {other.name} says{until}"
    elif same:
        kind = "contradictory"
        said = f"never decides: {other.name} before it matches the same and says {other.effect}"
        said += f", not {rule.effect}{until}"
    return Finding(
        kind=kind,
        name=rule.name,
        list=compiled.rules[number].list,
        because=other.name,
        message=said,
    )


def _expiry(compiled: Compiled) -> Iterator[Finding]:
    soon_ms = compiled.now_ms + limits.EXPIRES_SOON_MS
    lists: tuple[tuple[ListName, tuple[Rule, ...]], ...] = (
        ("containers", compiled.policy.containers),
        ("hosts", compiled.policy.hosts),
    )
    for where, rules in lists:
        over: dict[object, Rule] = {}
        for rule in rules:
            if rule.enabled and rule.expired(compiled.now_ms):
                over.setdefault(_between(rule), rule)
                yield Finding(
                    kind="expired",
                    name=rule.name,
                    list=where,
                    message=f"has expired at {_end(rule)}: take it out, or let it end later",
                )
        for rule in rules:
            if not is_active(rule, compiled.now_ms):
                continue
            if rule.expires_ms is not None and rule.expires_ms <= soon_ms:
                yield Finding(
                    kind="expires-soon",
                    name=rule.name,
                    list=where,
                    message=f"expires at {_end(rule)}",
                )
            ended = over.get(_between(rule))
            if ended is not None:
                yield Finding(
                    kind="half-expired",
                    name=rule.name,
                    list=where,
                    because=ended.name,
                    message=f"is still in force, but {ended.name} between the same has expired",
                )


def _between(rule: Rule) -> object:
    return rule.effect, frozenset(rule.source), frozenset(rule.destination)


def _end(rule: Rule) -> str:
    assert rule.expires_ms is not None
    return moment_text(rule.expires_ms)


# Objects.


def _objects(compiled: Compiled) -> Iterator[Finding]:
    used = _used(compiled)
    for one in compiled.policy.objects:
        if one.name not in used:
            yield Finding(kind="unused-object", name=one.name, message="no rule names it")
        if _selects_nothing(one):
            yield Finding(
                kind="empty-object",
                name=one.name,
                because=used.get(one.name, ""),
                message="nothing can be in it: it excludes all that it has",
            )


def _used(compiled: Compiled) -> dict[str, str]:
    """For every object that rules name, the first of them."""
    found: dict[str, str] = {}
    for rule in (*compiled.policy.containers, *compiled.policy.hosts):
        for name in (*rule.source, *rule.destination):
            found.setdefault(name, rule.name)
    return found


def _selects_nothing(one: NetworkObject) -> bool:
    if one.kind == "subnet":
        return not any(ranges_of(one.values).values())
    return is_empty(one)


def _unmatched(compiled: Compiled, known: Sequence[Candidate]) -> Iterator[Finding]:
    objects, used = compiled.policy.objects, _used(compiled)
    selectors = Selectors(objects)
    met = 0
    for one in known:
        if one.identity is not None:
            packed = b"" if one.address is None else pack(one.address)
            met |= selectors.of_identity(one.identity, packed)
        met |= selectors.of_names(one.names)
    addresses = _Known(known)
    for number, thing in enumerate(objects):
        if thing.kind == "subnet":
            there = bool(next(addresses.within(ranges_of(thing.values)), None))
        else:
            there = bool(met >> number & 1)
        if not there and not _selects_nothing(thing):
            yield Finding(
                kind="unmatched-object",
                name=thing.name,
                because=used.get(thing.name, ""),
                message="nobody who is known is in it",
            )


def _protected(compiled: Compiled, known: Sequence[Candidate]) -> Iterator[Finding]:
    """Subnets that rules name and that contain what has a name of its own."""
    addresses = _Known([one for one in known if one.identity is not None])
    used = _used(compiled)
    spans: list[tuple[str, Ranges]] = [(INTERNET, internet())]
    spans += [
        (one.name, ranges_of(one.values)) for one in compiled.policy.objects if one.kind == "subnet"
    ]
    for name, ranges in spans:
        if name not in used:
            continue
        inside = list(addresses.within(ranges))
        if inside:
            yield Finding(
                kind="contains-protected",
                name=name,
                because=used[name],
                message=f"contains {_some(inside)}, which image, service and host objects name",
            )


def _some(inside: Sequence[Candidate]) -> str:
    shown = [
        f"{called(one)} ({address_text(one.address)})"
        for one in inside[: limits.FINDING_EXAMPLES_MAX]
        if one.address is not None
    ]
    more = len(inside) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


class _Known:
    """Those whose addresses are known, in the order of these."""

    def __init__(self, known: Iterable[Candidate]) -> None:
        by_address = {pack(one.address): one for one in known if one.address is not None}
        self._sorted = {
            version: sorted(
                (int.from_bytes(packed), packed)
                for packed in by_address
                if (len(packed) == 4) is (version == 4)
            )
            for version in VERSIONS
        }
        self._by_address = by_address

    def within(self, ranges: Ranges) -> Iterator[Candidate]:
        """Those in the ranges."""
        for version in VERSIONS:
            spans = iter(ranges[version])
            span = next(spans, None)
            for number, packed in self._sorted[version]:
                while span is not None and span[1] < number:
                    span = next(spans, None)
                if span is None:
                    break
                if span[0] <= number:
                    yield self._by_address[packed]
