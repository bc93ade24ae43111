"""What changed between two policies: objects and rules by name, and the order of rules.

Asked by `cnnf policy diff`, and by whoever shows a policy before it is put in force. A rule that is
renamed is one that goes and one that comes.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import ListName, Policy, Rule

ChangeKind = Literal["added", "removed", "changed", "moved"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One object or rule that is another. `list` is '' for an object.

    `fields` are what a `changed` one differs in. `after` is the rule that comes before an added or
    moved one now, '' for none. A rule that moved to the other list is `moved`, too; one that has
    both moved and changed makes two changes.
    """

    kind: ChangeKind
    name: str
    list: ListName | Literal[""] = ""
    fields: tuple[str, ...] = ()
    after: str = ""


def changes(old: Policy, new: Policy) -> tuple[Change, ...]:
    """What makes the new policy of the old one; nothing for policies that are equal but for the
    order of their objects, which means nothing."""
    return (*_objects(old, new), *_rules(old, new))


def _objects(old: Policy, new: Policy) -> Iterator[Change]:
    before = {one.name: one for one in old.objects}
    after = {one.name: one for one in new.objects}
    for name in before:
        if name not in after:
            yield Change(kind="removed", name=name)
    for name, one in after.items():
        if name not in before:
            yield Change(kind="added", name=name)
        elif one is not before[name] and one != before[name]:
            yield Change(kind="changed", name=name, fields=_differing(before[name], one))


def _rules(old: Policy, new: Policy) -> Iterator[Change]:
    before, after = _places(old), _places(new)
    for name, (where, _) in before.items():
        if name not in after:
            yield Change(kind="removed", name=name, list=where)
    lists: tuple[tuple[ListName, tuple[Rule, ...]], ...] = (
        ("containers", new.containers),
        ("hosts", new.hosts),
    )
    order = {name: place for place, name in enumerate(before)}
    for where, rules in lists:
        stayed = [one.name for one in rules if before.get(one.name, ("",))[0] == where]
        kept = {stayed[at] for at in _increasing([order[name] for name in stayed])}
        previous = ""
        for rule in rules:
            if rule.name not in before:
                yield Change(kind="added", name=rule.name, list=where, after=previous)
            else:
                if rule.name not in kept:
                    yield Change(kind="moved", name=rule.name, list=where, after=previous)
                was = before[rule.name][1]
                if rule is not was and rule != was:
                    fields = _differing(was, rule)
                    yield Change(kind="changed", name=rule.name, list=where, fields=fields)
            previous = rule.name


def _places(policy: Policy) -> dict[str, tuple[ListName, Rule]]:
    found: dict[str, tuple[ListName, Rule]] = {}
    for rule in policy.containers:
        found[rule.name] = "containers", rule
    for rule in policy.hosts:
        found[rule.name] = "hosts", rule
    return found


def _differing(one: NetworkObject | Rule, other: NetworkObject | Rule) -> tuple[str, ...]:
    """The keys of the form in which two differ."""
    fields = (name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name))
    return tuple({"kind": "type", "expires_ms": "expires"}.get(name, name) for name in fields)


def _increasing(places: Sequence[int]) -> list[int]:
    """The positions of a longest increasing run: what stays while as little as possible moves."""
    tails: list[int] = []
    at_tail: list[int] = []
    before: list[int] = []
    for at, place in enumerate(places):
        length = bisect_left(tails, place)
        before.append(at_tail[length - 1] if length else -1)
        if length == len(tails):
            tails.append(place)
            at_tail.append(at)
        else:
            tails[length] = place
            at_tail[length] = at
    found: list[int] = []
    at = at_tail[-1] if at_tail else -1
    while at >= 0:
        found.append(at)
        at = before[at]
    return found[::-1]
