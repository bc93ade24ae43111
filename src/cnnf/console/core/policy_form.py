"""The JSON form of a policy's objects and rules: the keys of the YAML form, one value each.

What is left out narrows nothing, as in YAML. Reading raises InvalidValueError with what is wrong;
whether names exist and a rule can apply is looked at when the whole policy is compiled.
"""

from typing import Literal

import msgspec

from cnnf.policy.analysis import Finding
from cnnf.policy.changes import Change
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.moments import moment, moment_text
from cnnf.policy.objects import LabelTest, NetworkObject, ObjectKind
from cnnf.policy.rules import Effect, ListName, Policy, PortRange, Rule, RuleProtocol, port_range


class LabelForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tests of one label; all that are given have to hold."""

    any_of: list[str] | None = msgspec.field(default=None, name="in")
    none_of: list[str] | None = msgspec.field(default=None, name="not in")
    exists: bool | None = None


class ObjectForm(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A network object. A label is a text (exactly that) or tests."""

    name: str
    type: ObjectKind
    values: list[str]
    clusters: list[str] = []
    namespaces: list[str] = []
    hosts: list[str] = []
    addresses: list[str] = []
    labels: dict[str, str | LabelForm] = {}


class RuleForm(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A rule. `ports` are single ones and ranges (`443`, `"8000-8100"`), `expires` is RFC 3339."""

    name: str
    effect: Effect
    source: list[str] = []
    destination: list[str] = []
    ports: list[int | str] = []
    protocol: RuleProtocol = "any"
    enabled: bool = True
    owner: str = ""
    expires: str = ""
    note: str = ""


class RulesForm(msgspec.Struct, frozen=True, kw_only=True):
    """Both lists, in order."""

    containers: list[RuleForm]
    hosts: list[RuleForm]


class VersionForm(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the policy without its text. `kind` is what made it, `subject` what that was
    about: an object, a rule, the version that was gone back to."""

    version: int
    digest: str
    author: str
    reason: str
    at: str
    kind: str
    subject: str
    rule_count: int
    object_count: int


class PolicyForm(VersionForm, frozen=True, kw_only=True):
    """A version, whole."""

    network_objects: list[ObjectForm] = msgspec.field(name="networkObjects")
    rules: RulesForm


class ChangedForm(msgspec.Struct, frozen=True, kw_only=True):
    """What a change makes of the policy. `version` is the one in force after it: the same as before
    for a preview, and where nothing is different. `changes` are the first so many, `more_changes`
    counts the others; likewise for what was found on the way."""

    version: int
    digest: str
    preview: bool
    changes: list[Change]
    more_changes: int
    findings: list[Finding]
    more_findings: int
    notes: list[str]


class UseForm(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a rule names an object."""

    rule: str
    list: ListName
    side: Literal["source", "destination"]


class ListedObjectForm(msgspec.Struct, frozen=True, kw_only=True):
    """A network object and where rules name it."""

    object: ObjectForm
    used_by: list[UseForm]


class ListedRuleForm(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and its place: the list, and how many rules come before it there."""

    rule: RuleForm
    list: ListName
    position: int


def object_form(one: NetworkObject) -> ObjectForm:
    """The object as it is answered."""
    tests: dict[str, list[LabelTest]] = {}
    for test in one.labels:
        tests.setdefault(test.key, []).append(test)
    return ObjectForm(
        name=one.name,
        type=one.kind,
        values=list(one.values),
        clusters=list(one.clusters),
        namespaces=list(one.namespaces),
        hosts=list(one.hosts),
        addresses=list(one.addresses),
        labels={key: _label_form(of_key) for key, of_key in tests.items()},
    )


def _label_form(tests: list[LabelTest]) -> str | LabelForm:
    if len(tests) == 1 and tests[0].operator == "in" and len(tests[0].values) == 1:
        return tests[0].values[0]
    by_operator = {test.operator: test for test in tests}
    any_of, none_of = by_operator.get("in"), by_operator.get("not in")
    exists = True if "exists" in by_operator else None
    return LabelForm(
        any_of=list(any_of.values) if any_of else None,
        none_of=list(none_of.values) if none_of else None,
        exists=False if "not exists" in by_operator else exists,
    )


def rule_form(rule: Rule) -> RuleForm:
    """The rule as it is answered."""
    return RuleForm(
        name=rule.name,
        effect=rule.effect,
        source=list(rule.source),
        destination=list(rule.destination),
        ports=[low if low == high else f"{low}-{high}" for low, high in rule.ports],
        protocol=rule.protocol,
        enabled=rule.enabled,
        owner=rule.owner,
        expires="" if rule.expires_ms is None else moment_text(rule.expires_ms),
        note=rule.note,
    )


def rules_form(policy: Policy) -> RulesForm:
    """Both lists as they are answered."""
    return RulesForm(
        containers=[rule_form(rule) for rule in policy.containers],
        hosts=[rule_form(rule) for rule in policy.hosts],
    )


def read_object(form: ObjectForm) -> NetworkObject:
    """The object that a form writes. Raises InvalidValueError."""
    labels: list[LabelTest] = []
    for key, value in form.labels.items():
        labels += _label_tests(key, value)
    return NetworkObject(
        name=form.name,
        kind=form.type,
        values=_different("values", form.values),
        clusters=_different("clusters", form.clusters),
        namespaces=_different("namespaces", form.namespaces),
        hosts=_different("hosts", form.hosts),
        addresses=_different("addresses", form.addresses),
        labels=tuple(labels),
    )


def _label_tests(key: str, value: str | LabelForm) -> list[LabelTest]:
    if isinstance(value, str):
        return [LabelTest(key=key, values=(value,))]
    tests = []
    if value.any_of is not None:
        tests.append(LabelTest(key=key, values=_different(f"label {key}", value.any_of)))
    if value.none_of is not None:
        none_of = _different(f"label {key}", value.none_of)
        tests.append(LabelTest(key=key, operator="not in", values=none_of))
    if value.exists is not None:
        tests.append(LabelTest(key=key, operator="exists" if value.exists else "not exists"))
    if not tests:
        raise InvalidValueError(f"label {key!r:.80}: write at least one of in, not in or exists")
    return tests


def read_rule(form: RuleForm) -> Rule:
    """The rule that a form writes. Raises InvalidValueError."""
    return Rule(
        name=form.name,
        effect=form.effect,
        source=_different("source", form.source),
        destination=_different("destination", form.destination),
        ports=tuple(_ports(one) for one in form.ports),
        protocol=form.protocol,
        enabled=form.enabled,
        owner=form.owner,
        expires_ms=moment(form.expires) if form.expires else None,
        note=form.note,
    )


def _ports(one: int | str) -> PortRange:
    return port_range(str(one))


def _different(what: str, texts: list[str]) -> tuple[str, ...]:
    """As the YAML form has it, so that what is stored can be read again."""
    if len(set(texts)) < len(texts):
        twice = next(text for at, text in enumerate(texts) if text in texts[:at])
        raise InvalidValueError(f"{twice!r:.80} stands in `{what}` twice: write it once")
    return tuple(texts)
