"""What makes a policy right as a whole, whoever made it; `compile_policy` asks first.

The YAML form finds the same problems with their places and in numbers; here the first one is
raised, with the rule's or object's name.
"""

from collections.abc import Collection, Iterable, Sized

from cnnf.policy import limits
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.moments import check_moment
from cnnf.policy.objects import (
    BUILT_IN,
    KINDS,
    LabelTest,
    NetworkObject,
    ObjectKind,
    check_name,
    check_narrowing,
    check_only_exclusions,
    name_value,
    qualifier,
)
from cnnf.policy.rules import (
    EFFECTS,
    PORT_MAX,
    PROTOCOLS,
    ListName,
    Policy,
    Rule,
    check_sides,
)
from cnnf.policy.subnets import subnet_value


def check_policy(policy: Policy) -> None:
    """Raises InvalidValueError for the first thing that is wrong."""
    rules = [*policy.containers, *policy.hosts]
    within("rules", rules, limits.RULES_MAX)
    within("network objects", policy.objects, limits.OBJECTS_MAX)
    values = [v for one in policy.objects for v in (*one.values, *one.addresses)]
    within("values", values, limits.POLICY_VALUES_MAX)
    kinds: dict[str, ObjectKind] = dict(BUILT_IN)
    for one in policy.objects:
        try:
            _check_free(one.name, kinds)
            check_object(one)
        except InvalidValueError as error:
            raise _about("object", one.name, error) from error
        kinds[one.name] = one.kind
    names: set[str] = set()
    lists: tuple[tuple[ListName, tuple[Rule, ...]], ...] = (
        ("containers", policy.containers),
        ("hosts", policy.hosts),
    )
    for where, listed in lists:
        for rule in listed:
            try:
                _check_free(rule.name, names)
                check_rule(where, rule, kinds)
            except InvalidValueError as error:
                raise _about("rule", rule.name, error) from error
            names.add(rule.name)


def _about(what: str, name: str, error: InvalidValueError) -> InvalidValueError:
    return InvalidValueError(f"{what} {name!r:.200}: {error}")


def _check_free(name: str, taken: Collection[str]) -> None:
    if name in taken:
        raise InvalidValueError("the name is taken already")


def check_object(one: NetworkObject) -> None:
    """Raises InvalidValueError for an object that is wrong by itself."""
    check_name(one.name)
    if one.kind not in KINDS:
        raise InvalidValueError(f"kind {one.kind!r}: write one of {', '.join(KINDS)}")
    if not one.values:
        raise InvalidValueError("no values: write at least one, `*` for any")
    within("values", one.values, limits.VALUES_MAX)
    for text in one.values:
        check_value(one.kind, text)
    check_only_exclusions(one.values)
    check_narrowing(one)
    for word in (one.clusters, one.namespaces, one.hosts):
        within("patterns", word, limits.QUALIFIERS_MAX)
        for text in word:
            qualifier(text)
        check_only_exclusions(word)
    within("addresses", one.addresses, limits.VALUES_MAX)
    for text in one.addresses:
        subnet_value(text)
    check_only_exclusions(one.addresses)
    within("labels", one.labels, limits.LABELS_MAX)
    for test in one.labels:
        check_label(test)
    if len({(test.key, _form_key(test)) for test in one.labels}) < len(one.labels):
        raise InvalidValueError("the same test of one label twice: write one")


def check_value(kind: ObjectKind, text: str) -> None:
    """Raises InvalidValueError for a value that means nothing in an object of this kind."""
    if kind == "subnet":
        subnet_value(text)
    else:
        name_value(kind, text)


def check_label(test: LabelTest) -> None:
    """Raises InvalidValueError for a test of a label that can't be."""
    for text in (test.key, *test.values):
        if len(text) > limits.VALUE_CHARS_MAX or not (text == "" or text.isprintable()):
            raise InvalidValueError(f"label {test.key!r:.80}: {text!r:.80} can't be a label's")
    if not test.key:
        raise InvalidValueError("a label without a key")
    within("values", test.values, limits.LABEL_VALUES_MAX)
    if bool(test.values) is not (test.operator in ("in", "not in")):
        raise InvalidValueError(f"label {test.key!r}: `{test.operator}` has the wrong values")


def _form_key(test: LabelTest) -> str:
    """`exists` and its opposite are one key of the form, with true or false."""
    return "exists" if test.operator in ("exists", "not exists") else test.operator


def check_rule(where: ListName, rule: Rule, kinds: dict[str, ObjectKind]) -> None:
    """Raises InvalidValueError for a rule that is wrong by itself or can never apply."""
    check_name(rule.name)
    if rule.effect not in EFFECTS:
        raise InvalidValueError(f"effect {rule.effect!r}: write one of {', '.join(EFFECTS)}")
    if rule.protocol not in PROTOCOLS:
        raise InvalidValueError(f"protocol {rule.protocol!r}: write one of {', '.join(PROTOCOLS)}")
    if rule.note:
        check_note(rule.note)
    if rule.owner:
        check_owner(rule.owner)
    if rule.expires_ms is not None:
        check_moment(rule.expires_ms)
    within("port ranges", rule.ports, limits.PORTS_MAX)
    for low, high in rule.ports:
        if not 0 <= low <= high <= PORT_MAX:
            raise InvalidValueError(f"ports {low}-{high}: write ports from 0 to {PORT_MAX}")
    for side in (rule.source, rule.destination):
        within("objects on one side", side, limits.SIDE_OBJECTS_MAX)
        for name in side:
            if name not in kinds:
                raise InvalidValueError(f"no network object is called {name!r:.200}")
    check_sides(where, _kinds(rule.source, kinds), _kinds(rule.destination, kinds))


def check_note(note: str) -> None:
    """Raises InvalidValueError for a note that is too long or can't be printed."""
    if len(note) > limits.NOTE_CHARS_MAX:
        raise InvalidValueError(
            f"a note of {len(note)} characters: at most {limits.NOTE_CHARS_MAX}"
        )
    if not note.replace("\n", " ").isprintable():
        raise InvalidValueError("a note with a character that can't be printed")


def check_owner(owner: str) -> None:
    """Raises InvalidValueError for an owner who can't be called so."""
    try:
        check_name(owner)
    except InvalidValueError as error:
        raise InvalidValueError(f"owner: {error}") from error


def within(what: str, these: Sized, most: int) -> None:
    """Raises InvalidValueError for more than there may be."""
    if len(these) > most:
        raise InvalidValueError(f"{len(these):,} {what}: at most {most:,}")


def _kinds(side: Iterable[str], kinds: dict[str, ObjectKind]) -> set[ObjectKind]:
    return {kinds[name] for name in side}
