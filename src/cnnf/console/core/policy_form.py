"""The JSON form of a policy's objects and rules: the keys of the YAML form, one value each.

What is left out narrows nothing, as in YAML. Reading raises InvalidValueError with what is wrong;
whether names exist and a rule can apply is looked at when the whole policy is compiled.
"""

from typing import Literal

import msgspec

from cnnf.policy.analysis import Finding
from cnnf.policy.changes import Change, ChangeKind
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.moments import moment, moment_text
from cnnf.policy.objects import LabelTest, NetworkObject, ObjectKind
from cnnf.policy.rules import Effect, ListName, Policy, PortRange, Rule, RuleProtocol, port_range

#: A label's tests in order, all of which have to hold: `in` and `not in` with texts, `exists` with
#: true or false.
LabelKey = Literal["in", "not in", "exists"]
LabelForm = dict[LabelKey, list[str] | bool]


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


class PolicyChange(msgspec.Struct, frozen=True, kw_only=True):
    """One object or rule that is another than before. `list` is '' for an object; `fields` are what
    a `changed` one differs in; `after` is the rule before an added or moved one, '' for none."""

    kind: ChangeKind
    name: str
    list: str
    fields: tuple[str, ...]
    after: str


class FindingForm(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at: of the kinds of `cnnf policy check`, or `never-hit`. `list` is '' for
    an object, `because` the rule or object that causes it."""

    kind: str
    name: str
    list: str
    because: str
    message: str


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
    changes: list[PolicyChange]
    more_changes: int
    findings: list[FindingForm]
    more_findings: int
    notes: list[str]


class DiffForm(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two versions."""

    old: int
    new: int
    changes: list[PolicyChange]
    more_changes: int


class HitsForm(msgspec.Struct, frozen=True, kw_only=True):
    """How often a rule of the policy in force decided within the time that hits are kept, and when
    last. `since` is when it was enabled, null where it is not; `never_hit`: a week ago or more, and
    nothing since."""

    rule: str
    list: ListName
    hits: int
    last_hit: str | None
    since: str | None
    never_hit: bool


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


def change_form(one: Change) -> PolicyChange:
    """The change as it is answered."""
    return PolicyChange(
        kind=one.kind, name=one.name, list=one.list, fields=one.fields, after=one.after
    )


def finding_form(one: Finding) -> FindingForm:
    """The finding as it is answered."""
    return FindingForm(
        kind=one.kind, name=one.name, list=one.list, because=one.because, message=one.message
    )


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
    return dict(map(_label_test_form, tests))


def _label_test_form(test: LabelTest) -> tuple[LabelKey, list[str] | bool]:
    if test.operator == "in" or test.operator == "not in":
        return test.operator, list(test.values)
    return "exists", test.operator == "exists"


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
    if not value:
        raise InvalidValueError(f"label {key!r:.80}: write at least one of in, not in or exists")
    return [_label_test(key, operator, asked) for operator, asked in value.items()]


def _label_test(key: str, operator: LabelKey, asked: list[str] | bool) -> LabelTest:
    if operator == "exists":
        if not isinstance(asked, bool):
            raise InvalidValueError(f"label {key!r:.80}: `exists` is true or false")
        return LabelTest(key=key, operator="exists" if asked else "not exists")
    if isinstance(asked, bool):
        raise InvalidValueError(f"label {key!r:.80}: `{operator}` is a list of texts")
    return LabelTest(key=key, operator=operator, values=_different(f"label {key}", asked))


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
