"""A policy in its YAML form again: reading what is written gives the same policy.

One line an object and a rule, so that a difference of two files is read rule by rule.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import yaml

from cnnf.policy import limits
from cnnf.policy.form import API_VERSION
from cnnf.policy.moments import moment_text
from cnnf.policy.objects import LabelTest, NetworkObject
from cnnf.policy.rules import Policy, PortRange, Rule

try:
    from yaml import CSafeDumper as _Base
except ImportError:  # PyYAML built without libyaml: the same text, slower.
    from yaml import SafeDumper as _Base  # type: ignore[assignment]


class _Quoted(str):
    """A text of several lines; only in double quotes does it stay on one."""

    __slots__ = ()


class _Dumper(_Base):
    pass


_Dumper.add_representer(
    _Quoted,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'),
)

#: Wider than any line can be, so that none is folded.
_WIDTH = 2**30


def write_policy(policy: Policy) -> str:
    """The YAML form of a policy that is right (`checks.check_policy`)."""
    lines = [f"apiVersion: {API_VERSION}"]
    lines += _list("networkObjects", "", map(_object_line, policy.objects))
    lines.append("rules:")
    lines += _list("containers", "  ", map(_rule_line, policy.containers))
    lines += _list("hosts", "  ", map(_rule_line, policy.hosts))
    return "\n".join(lines) + "\n"


# A line takes 0.3 ms. Whoever edits a policy of 10,000 rules writes it after each edit, and all
# lines but one are what they were.


@lru_cache(limits.OBJECTS_MAX)
def _object_line(one: NetworkObject) -> str:
    return _line(_object(one))


@lru_cache(limits.RULES_MAX)
def _rule_line(rule: Rule) -> str:
    return _line(_rule(rule))


def _list(name: str, indent: str, entries: Iterable[str]) -> Iterator[str]:
    written = [f"{indent}  - {entry}" for entry in entries]
    yield f"{indent}{name}:" if written else f"{indent}{name}: []"
    yield from written


def _line(entry: dict[str, object]) -> str:
    text: str = yaml.dump(
        entry,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH,
    )
    return text.rstrip("\n")


def _object(one: NetworkObject) -> dict[str, object]:
    entry: dict[str, object] = {"name": one.name, "type": one.kind, "values": list(one.values)}
    for word in ("clusters", "namespaces", "hosts"):
        if patterns := getattr(one, word):
            entry[word] = list(patterns)
    if one.addresses:
        entry["addresses"] = list(one.addresses)
    if one.labels:
        tests: dict[str, list[LabelTest]] = {}
        for test in one.labels:
            tests.setdefault(test.key, []).append(test)
        entry["labels"] = {key: _label(of_key) for key, of_key in tests.items()}
    return entry


def _label(tests: list[LabelTest]) -> object:
    if len(tests) == 1 and tests[0].operator == "in" and len(tests[0].values) == 1:
        return tests[0].values[0]
    return dict(map(_label_test, tests))


def _label_test(test: LabelTest) -> tuple[str, object]:
    if test.operator in ("exists", "not exists"):
        return "exists", test.operator == "exists"
    return test.operator, list(test.values)


def _rule(rule: Rule) -> dict[str, object]:
    entry: dict[str, object] = {"name": rule.name}
    for side, names in (("source", rule.source), ("destination", rule.destination)):
        if names:
            entry[side] = list(names)
    if rule.ports:
        entry["ports"] = [_ports(one) for one in rule.ports]
    if rule.protocol != "any":
        entry["protocol"] = rule.protocol
    entry["effect"] = rule.effect
    if not rule.enabled:
        entry["enabled"] = False
    if rule.owner:
        entry["owner"] = rule.owner
    if rule.expires_ms is not None:
        entry["expires"] = moment_text(rule.expires_ms)
    if rule.note:
        entry["note"] = _Quoted(rule.note) if "\n" in rule.note else rule.note
    return entry


def _ports(ports: PortRange) -> int | str:
    low, high = ports
    return low if low == high else f"{low}-{high}"
