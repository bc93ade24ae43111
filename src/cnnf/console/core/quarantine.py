"""Quarantine: an app, a service or one instance isolated by rules at the top of both lists.

There is nothing beside the policy: an object whose name begins with `quarantine:` and the rules
that are named after it are the quarantine, so it is versioned, delivered, exported and gone back to
like everything else. All is prevented but what rules can't prevent (failsafe ports, the Console).
"""

from hashlib import blake2b
from typing import Literal

import msgspec

from cnnf.console.core.policies import SIDES, Position, add_rule, find_object, listed
from cnnf.console.core.policy_form import ObjectForm, object_form
from cnnf.console.errors import Conflict, Refused
from cnnf.policy.limits import NAME_CHARS_MAX, NOTE_CHARS_MAX
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import LISTS, ListName, Policy, Rule

PREFIX = "quarantine:"
#: What follows the object's name in its rules' names.
_SUFFIXES = {"source": "out", "destination": "in"}
#: Room for the longest of `, hosts out`.
_LABEL_CHARS_MAX = NAME_CHARS_MAX - len(PREFIX) - 16

TargetKind = Literal["app", "service", "instance"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to be isolated. `name` is an app's or service's; `container` says whether an instance
    is one. What is '' narrows nothing. `addresses` are an instance's own."""

    kind: TargetKind
    name: str
    container: bool
    cluster: str = ""
    namespace: str = ""
    host: str = ""
    instance: str = ""
    addresses: tuple[str, ...] = ()


class QuarantineForm(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is isolated. `in_force`: its rules are all there, enabled, and before any other
    rule."""

    name: str
    object: ObjectForm
    rules: list[str]
    note: str
    in_force: bool


def isolate(policy: Policy, target: Target, note: str) -> tuple[Policy, str]:
    """The policy with the target isolated, and the quarantine's name. Raises Refused."""
    one = _object(target)
    if any(other.name == one.name for other in policy.objects):
        raise Conflict(
            f"{one.name!r:.200} is in the policy already: it is isolated, or was",
            code="name-taken",
            where="body",
        )
    policy = msgspec.structs.replace(policy, objects=(*policy.objects, one))
    # A container's connections are judged by the one list, a service's by either: with a container
    # on the other side by that for containers.
    lists: tuple[ListName, ...] = ("containers",) if target.container else LISTS
    for where in lists:
        for side in reversed(SIDES):
            rule = Rule(
                name=_rule_name(one.name, where, side, several=len(lists) > 1),
                effect="prevent",
                source=(one.name,) if side == "source" else (),
                destination=(one.name,) if side == "destination" else (),
                note=note[:NOTE_CHARS_MAX],
            )
            policy = add_rule(policy, where, rule, Position(first=True))
    return policy, one.name


def release(policy: Policy, name: str) -> Policy:
    """The policy without this quarantine. Raises Refused, also where other rules name it."""
    if not name.startswith(PREFIX):
        raise Refused(f"no quarantine is called {name!r:.200}", code="not-found", where="path.name")
    find_object(policy, name)
    own = set(_rules_of(policy, name))
    for where in LISTS:
        for rule in listed(policy, where):
            if rule.name not in own and name in (*rule.source, *rule.destination):
                raise Conflict(
                    f"rule {rule.name!r:.200} names {name!r:.200} too: change that first",
                    code="in-use",
                    where="path.name",
                )
    return Policy(
        objects=tuple(one for one in policy.objects if one.name != name),
        containers=tuple(rule for rule in policy.containers if rule.name not in own),
        hosts=tuple(rule for rule in policy.hosts if rule.name not in own),
    )


def quarantines(policy: Policy) -> list[QuarantineForm]:
    """Who is isolated, the oldest first."""
    top = {where: _top(listed(policy, where)) for where in LISTS}
    found = []
    for one in policy.objects:
        if not one.name.startswith(PREFIX):
            continue
        rules = _rules_of(policy, one.name)
        lists: tuple[ListName, ...] = ("containers",) if one.kind == "image" else LISTS
        wanted = {
            _rule_name(one.name, where, side, several=len(lists) > 1)
            for where in lists
            for side in SIDES
        }
        found.append(
            QuarantineForm(
                name=one.name,
                object=object_form(one),
                rules=list(rules),
                note=next((rule.note for rule in rules.values()), ""),
                in_force=wanted <= top["containers"] | top["hosts"],
            )
        )
    return found


def _top(rules: tuple[Rule, ...]) -> set[str]:
    """Names of the enabled rules of quarantines before any other rule."""
    found: set[str] = set()
    for rule in rules:
        if not rule.name.startswith(PREFIX):
            break
        if rule.enabled and rule.effect == "prevent" and rule.expires_ms is None:
            found.add(rule.name)
    return found


def _rules_of(policy: Policy, name: str) -> dict[str, Rule]:
    return {
        rule.name: rule
        for where in LISTS
        for rule in listed(policy, where)
        for side in SIDES
        if rule.name in (_rule_name(name, where, side, several=s) for s in (False, True))
    }


def _rule_name(name: str, where: ListName, side: str, *, several: bool) -> str:
    return f"{name} {_SUFFIXES[side]}" + (f", {where}" if several else "")


def _object(target: Target) -> NetworkObject:
    for word in (target.name, target.cluster, target.namespace, target.host):
        if "*" in word or word.startswith("-"):
            raise Refused(f"{word!r:.200} is a pattern: name one", where="body")
    return NetworkObject(
        name=PREFIX + _label(target),
        kind="image" if target.container else "service",
        values=(target.name,),
        clusters=(target.cluster,) if target.cluster else (),
        namespaces=(target.namespace,) if target.namespace else (),
        hosts=(target.host,) if target.host else (),
        addresses=target.addresses if target.container else (),
    )


def _label(target: Target) -> str:
    """What a person recognises, and no two targets share."""
    label = target.name
    if within := "/".join(part for part in (target.cluster, target.namespace) if part):
        label += f" in {within}"
    if target.host:
        label += f" on {target.host}"
    if target.kind == "instance" and target.container:
        label += f" {target.instance[:12]}"
    if len(label) > _LABEL_CHARS_MAX or not label.isprintable():
        mark = blake2b(msgspec.json.encode(target), digest_size=4).hexdigest()
        printable = "".join(one if one.isprintable() else "?" for one in label)
        label = f"{printable[: _LABEL_CHARS_MAX - 9].rstrip()}~{mark}"
    return label
