"""A policy in its YAML form again: reading what is written gives the same policy.

One line an object and a rule, so that a difference of two files is read rule by rule.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import yaml

from cnnf.policy import limits
from cnnf.policy.form import API_VERSION
from cnnf.policy.moments import moment_text
from cnnf.policy.objects import LabelTest, NetworkObject
from cnnf.policy.rules import Policy, PortRange, Rule
from cnnf.policy.tree import read_as

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
#: What the dumper writes as it is, or in single quotes where YAML would read something else in it.
#: A text of a few words, with nothing that means something in a list.
_PLAIN = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./*@-]*(?: [A-Za-z0-9_./@-]+)*").fullmatch
#: What it writes in single quotes: a colon, or a star at the beginning, means something there.
_QUOTED = re.compile(r"(?=\*|[^:]+:)[A-Za-z0-9_/*][A-Za-z0-9_./*@:-]*").fullmatch
#: A longer key is written in another way.
_KEY_CHARS_MAX = 100


def write_policy(policy: Policy) -> str:
    """The YAML form of a policy that is right (`checks.check_policy`)."""
    lines = [f"apiVersion: {API_VERSION}"]
    lines += _list("networkObjects", "", map(_object_line, policy.objects))
    lines.append("rules:")
    lines += _list("containers", "  ", map(_rule_line, policy.containers))
    lines += _list("hosts", "  ", map(_rule_line, policy.hosts))
    return "\n".join(lines) + "\n"


# Whoever edits a policy of 10,000 rules writes it after each edit, and all lines but one are what
# they were. What is written the first time is put together here where every text is an ordinary
# one: the dumper takes ten times as long for the same.


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
    try:
        return _written(entry)
    except _Unusual:
        return _dumped(entry)


class _Unusual(Exception):
    """Something that the dumper has to write."""


def _written(value: object) -> str:
    """As the dumper writes it. Raises _Unusual for what is not looked at here."""
    match value:
        case _Quoted():
            raise _Unusual
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case list():
            return f"[{', '.join(map(_written, value))}]"
        case dict():
            return f"{{{', '.join(f'{_key(key)}: {_written(one)}' for key, one in value.items())}}}"
    raise _Unusual


def _key(text: str) -> str:
    if len(text) > _KEY_CHARS_MAX:
        raise _Unusual
    return _text(text)


def _text(text: str) -> str:
    if _PLAIN(text):
        return text if read_as(text) == "str" else f"'{text}'"
    if _QUOTED(text):
        return f"'{text}'"
    raise _Unusual


def _dumped(entry: dict[str, object]) -> str:
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
