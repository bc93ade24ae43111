"""Edits of a policy: a policy and what is wanted in, the new policy out, or a refusal.

Called for every change that a person makes of the policy in force. An edit looks at what it touches
only; whether the whole is right is asked by compiling it afterwards.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Literal, NamedTuple

import msgspec

from cnnf.console.core.policy_form import UseForm
from cnnf.console.errors import Conflict, Refused
from cnnf.policy.objects import BUILT_IN, NetworkObject
from cnnf.policy.rules import LISTS, ListName, Policy, Rule

Side = Literal["source", "destination"]
SIDES: tuple[Side, Side] = ("source", "destination")
#: How many rules a refusal names.
_NAMED_MAX = 3


class Place(NamedTuple):
    """Where a rule stands."""

    list: ListName
    position: int
    rule: Rule


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rule is wanted: right before or after another one of its list, else at its end (or,
    with `first`, its beginning)."""

    before: str = ""
    after: str = ""
    first: bool = False


END = Position()


# Objects.


def find_object(policy: Policy, name: str, where: str = "path.name") -> NetworkObject:
    """The object of that name. Raises Refused (not-found), saying `where` it was named."""
    for one in policy.objects:
        if one.name == name:
            return one
    raise Refused(f"no network object is called {name!r:.200}", code="not-found", where=where)


def put_object(policy: Policy, name: str, one: NetworkObject, *, carry: bool) -> Policy:
    """The policy with `one` in the place of the object called `name`, or as a new last one.

    One that rules name gets another name only with `carry`, which renames it in these too. Raises
    Refused.
    """
    names = [other.name for other in policy.objects]
    if name not in names and one.name != name:
        find_object(policy, name)
    if one.name != name and (one.name in names or one.name in BUILT_IN):
        raise _taken("network object", one.name)
    if name not in names:
        return msgspec.structs.replace(policy, objects=(*policy.objects, one))
    objects = tuple(one if other.name == name else other for other in policy.objects)
    if one.name == name:
        return msgspec.structs.replace(policy, objects=objects)
    _check_unused(policy, name, carry=carry, what="rename")

    def renamed(side: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one.name if other == name else other for other in side)

    return _each_rule(
        msgspec.structs.replace(policy, objects=objects),
        lambda rule: _with_sides(rule, name, renamed),
    )


def delete_object(policy: Policy, name: str, *, carry: bool) -> Policy:
    """The policy without the object. One that rules name goes only with `carry`: then it is taken
    out of these, and a rule with nothing else on that side goes too, since a side that is left out
    would mean anybody. Raises Refused."""
    find_object(policy, name)
    _check_unused(policy, name, carry=carry, what="delete")
    objects = tuple(one for one in policy.objects if one.name != name)

    def without(side: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(other for other in side if other != name)

    def kept(rule: Rule) -> Rule | None:
        if any(getattr(rule, side) == (name,) for side in SIDES):
            return None
        return _with_sides(rule, name, without)

    return _each_rule(msgspec.structs.replace(policy, objects=objects), kept)


def uses(policy: Policy) -> dict[str, list[UseForm]]:
    """For every object that rules name: where they do, in order."""
    found: dict[str, list[UseForm]] = {}
    for where in LISTS:
        for rule in listed(policy, where):
            for side in SIDES:
                for name in getattr(rule, side):
                    use = UseForm(rule=rule.name, list=where, side=side)
                    found.setdefault(name, []).append(use)
    return found


# Rules.


def listed(policy: Policy, where: ListName) -> tuple[Rule, ...]:
    """The rules of one list."""
    return policy.containers if where == "containers" else policy.hosts


def find_rule(policy: Policy, name: str) -> Place:
    """The rule of that name and its place. Raises Refused (not-found)."""
    for where in LISTS:
        for position, rule in enumerate(listed(policy, where)):
            if rule.name == name:
                return Place(where, position, rule)
    raise Refused(f"no rule is called {name!r:.200}", code="not-found", where="path.name")


def add_rule(policy: Policy, where: ListName, rule: Rule, position: Position = END) -> Policy:
    """The policy with one rule more. Raises Refused."""
    if _has_rule(policy, rule.name):
        raise _taken("rule", rule.name)
    return _insert(policy, where, rule, position)


def replace_rule(policy: Policy, name: str, rule: Rule, where: ListName | None = None) -> Policy:
    """The policy with `rule` in the place of the one called `name`; at the end of the other list
    where that is named. Raises Refused."""
    held = find_rule(policy, name)
    if rule.name != name and _has_rule(policy, rule.name):
        raise _taken("rule", rule.name)
    if where is not None and where != held.list:
        return _insert(delete_rule(policy, name), where, rule, END)
    rules = listed(policy, held.list)
    return _with_list(
        policy, held.list, (*rules[: held.position], rule, *rules[held.position + 1 :])
    )


def delete_rule(policy: Policy, name: str) -> Policy:
    """The policy without the rule. Raises Refused."""
    where, position, _ = find_rule(policy, name)
    rules = listed(policy, where)
    return _with_list(policy, where, (*rules[:position], *rules[position + 1 :]))


def enable_rules(policy: Policy, names: Collection[str], *, enabled: bool) -> Policy:
    """The policy with these rules enabled or disabled. Raises Refused."""
    wanted = set(names)
    for name in sorted(wanted):
        find_rule(policy, name)
    return _each_rule(
        policy,
        lambda rule: (
            msgspec.structs.replace(rule, enabled=enabled) if rule.name in wanted else rule
        ),
    )


def move_rule(
    policy: Policy, name: str, position: Position, where: ListName | None = None
) -> Policy:
    """The policy with the rule elsewhere in its list, or in the one that is named. Raises
    Refused."""
    held = find_rule(policy, name)
    if name in (position.before, position.after):
        raise Refused(f"rule {name!r:.200} can't be moved next to itself", where="body")
    return _insert(delete_rule(policy, name), where or held.list, held.rule, position)


# Whole policies.


def merge(policy: Policy, other: Policy) -> Policy:
    """The policy with all of the other's objects and rules: those of the same name are replaced
    where they stand (a rule that is in the other list there moves to its end), new ones are
    last."""
    given = {one.name: one for one in other.objects}
    objects = [given.pop(one.name, one) for one in policy.objects]
    found = msgspec.structs.replace(policy, objects=(*objects, *given.values()))
    places = {rule.name: where for where in LISTS for rule in listed(other, where)}
    for where in LISTS:
        fresh = {rule.name: rule for rule in listed(other, where)}
        stay = [
            fresh.pop(rule.name, rule)
            for rule in listed(policy, where)
            if places.get(rule.name, where) == where
        ]
        found = _with_list(found, where, (*stay, *fresh.values()))
    return found


# Inside.


def _insert(policy: Policy, where: ListName, rule: Rule, position: Position) -> Policy:
    rules = listed(policy, where)
    at = 0 if position.first else len(rules)
    beside = position.before or position.after
    if sum(map(bool, (position.before, position.after, position.first))) > 1:
        raise Refused("write one of before, after and first", where="body")
    if beside:
        other = find_rule(policy, beside)
        if other.list != where:
            raise Refused(
                f"rule {beside!r:.200} is in the list for {other.list}, not for {where}",
                where="body",
            )
        at = other.position + (1 if position.after else 0)
    return _with_list(policy, where, (*rules[:at], rule, *rules[at:]))


def _with_list(policy: Policy, where: ListName, rules: tuple[Rule, ...]) -> Policy:
    if where == "containers":
        return msgspec.structs.replace(policy, containers=rules)
    return msgspec.structs.replace(policy, hosts=rules)


def _each_rule(policy: Policy, change: Callable[[Rule], Rule | None]) -> Policy:
    for where in LISTS:
        changed = map(change, listed(policy, where))
        rules = tuple(rule for rule in changed if rule is not None)
        policy = _with_list(policy, where, rules)
    return policy


def _with_sides(
    rule: Rule, name: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> Rule:
    if name not in rule.source and name not in rule.destination:
        return rule
    return msgspec.structs.replace(
        rule, source=change(rule.source), destination=change(rule.destination)
    )


def _has_rule(policy: Policy, name: str) -> bool:
    return any(rule.name == name for where in LISTS for rule in listed(policy, where))


def _check_unused(policy: Policy, name: str, *, carry: bool, what: str) -> None:
    if carry:
        return
    rules = list(dict.fromkeys(use.rule for use in uses(policy).get(name, ())))
    if rules:
        raise Conflict(
            f"network object {name!r:.200} is named by {some(rules)}: {what} it with carry=true "
            "to change these too",
            code="in-use",
            where="path.name",
        )


def some(rules: Iterable[str]) -> str:
    """A few rules' names, and how many more there are."""
    names = list(rules)
    shown = ", ".join(repr(name) for name in names[:_NAMED_MAX])
    more = len(names) - _NAMED_MAX
    what = "rule" if len(names) == 1 else "rules"
    return f"{what} {shown}" + (f" and {more} more" if more > 0 else "")


def _taken(what: str, name: str) -> Conflict:
    return Conflict(
        f"there is a {what} called {name!r:.200} already", code="name-taken", where="body.name"
    )
