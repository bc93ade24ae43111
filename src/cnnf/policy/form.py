"""The YAML form of a policy, read: text in, a whole policy or every problem of it out.

Used by whoever is handed a file or an upload. Each problem says where it is and what to write
instead; a text with any problem gives no policy at all. `export` writes the form.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import TypeVar

from cnnf.policy import limits
from cnnf.policy.checks import check_label, check_note, check_owner, check_value, within
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.moments import moment
from cnnf.policy.objects import (
    BUILT_IN,
    KINDS,
    LabelTest,
    NetworkObject,
    ObjectKind,
    check_name,
    check_narrowing,
    check_only_exclusions,
    qualifier,
)
from cnnf.policy.reading import Reader, Unreadable, any_of, is_nothing
from cnnf.policy.rules import (
    EFFECTS,
    LISTS,
    PROTOCOLS,
    ListName,
    Policy,
    PortRange,
    Rule,
    RuleProtocol,
    check_sides,
    port_range,
)
from cnnf.policy.tree import Fields, Items, Node, Text, read_tree

API_VERSION = "cnnf/v1"

_TOP = ("apiVersion", "networkObjects", "rules")
_OBJECT = ("name", "type", "values", "clusters", "namespaces", "hosts", "addresses", "labels")
_QUALIFIERS = ("clusters", "namespaces", "hosts")
_RULE = ("name", "source", "destination", "ports", "protocol", "effect", "enabled", "note")
_ABOUT = ("owner", "expires")
_LABEL = ("in", "not in", "exists")
#: Every key that the form has, but the names of labels.
KEYS = frozenset((*_TOP, *LISTS, *_OBJECT, *_RULE, *_ABOUT, *_LABEL))

_NO_FIELDS: dict[str, Node] = {}

Value = TypeVar("Value")
Other = TypeVar("Other")


def parse_policy(data: str | bytes, *, subject: str) -> Policy:
    """The policy that a text writes; `subject` is what its problems call it, a file's name.

    Raises InvalidFormError with every problem of the text, at most `limits.PROBLEMS_MAX` of them.
    """
    return _PolicyReader(subject).policy(read_tree(data, subject))


class _PolicyReader(Reader):
    def __init__(self, subject: str) -> None:
        super().__init__(subject)
        #: None for an object that can't be read: told once, not again by each rule that names it.
        self._kinds: dict[str, ObjectKind | None] = dict(BUILT_IN)
        self._spellings = {name.lower(): name for name in BUILT_IN}
        #: Whether every object's name is known; one that can't be read may be what a rule names.
        self._all_named = True
        self._named: dict[tuple[str, str], Text] = {}
        self._values = 0

    def policy(self, root: Node) -> Policy:
        """All of it. Raises InvalidFormError."""
        top = self.tried(lambda: self.fields(root, "a policy", _TOP, ()), _NO_FIELDS)
        if "apiVersion" in top:
            self.tried(lambda: self.choice(top["apiVersion"], "apiVersion", (API_VERSION,)), "")
        elif top is not _NO_FIELDS:
            self.note(root, f"a policy without apiVersion: write `apiVersion: {API_VERSION}`")
        objects: tuple[NetworkObject, ...] = ()
        if "networkObjects" in top and not is_nothing(top["networkObjects"]):
            node = top["networkObjects"]
            objects = self._long_list(node, "networkObjects", limits.OBJECTS_MAX, self._object)
            named = len(self._kinds) - len(BUILT_IN)
            self._all_named = isinstance(node, Items) and named == len(node.items)
        lists: dict[str, Node] = {}
        if "rules" in top and not is_nothing(top["rules"]):
            lists = self.tried(lambda: self.fields(top["rules"], "rules", LISTS, ()), _NO_FIELDS)
        rules: dict[str, tuple[Rule, ...]] = {}
        left = limits.RULES_MAX
        for where in LISTS:
            if where in lists and not is_nothing(lists[where]):
                read = partial(self._rule, where)
                rules[where] = self._long_list(lists[where], where, left, read)
                left -= len(rules[where])
        self.finish()
        return Policy(
            objects=objects, containers=rules.get("containers", ()), hosts=rules.get("hosts", ())
        )

    def _long_list(
        self, node: Node, what: str, most: int, read: Callable[[Node], Value]
    ) -> tuple[Value, ...]:
        """What can be read of a list that may be empty."""
        if isinstance(node, Items) and not node.items:
            return ()
        return self.tried(lambda: self.some(self.items(node, what, most), read), ())

    # Network objects.

    def _object(self, node: Node) -> NetworkObject:
        fields = self.fields(node, "a network object", _OBJECT, ("name", "type", "values"))
        name = self._name(fields["name"], "object")
        self._spellings[name.lower()] = name
        self._kinds[name] = None
        kind = self.choice(fields["type"], "type", KINDS)
        before = self.problems
        values = self.tried(lambda: self._object_values(fields["values"], kind), ())
        words = {
            word: self.tried(partial(self._qualifiers, fields[word], word), ())
            for word in _QUALIFIERS
            if word in fields
        }
        if "addresses" in fields:
            read = partial(self._object_values, fields["addresses"], "subnet", "addresses")
            words["addresses"] = self.tried(read, ())
        labels: tuple[LabelTest, ...] = ()
        if "labels" in fields:
            labels = self.tried(lambda: self._labels(fields["labels"]), ())
        if self.problems > before:
            raise Unreadable
        found = NetworkObject(name=name, kind=kind, values=values, labels=labels, **words)
        self.ask(node, lambda: check_narrowing(found))
        self._kinds[name] = kind
        return found

    def _object_values(self, node: Node, kind: ObjectKind, word: str = "values") -> tuple[str, ...]:
        values = self.texts(node, word, limits.VALUES_MAX, partial(check_value, kind))
        self.ask(node, lambda: check_only_exclusions(values))
        self._values += len(values)
        if self._values > limits.POLICY_VALUES_MAX:
            self.refuse(node, f"more than {limits.POLICY_VALUES_MAX:,} values in all objects")
        return values

    def _qualifiers(self, node: Node, word: str) -> tuple[str, ...]:
        found = self.texts(node, word, limits.QUALIFIERS_MAX, qualifier)
        self.ask(node, lambda: check_only_exclusions(found))
        return found

    def _labels(self, node: Node) -> tuple[LabelTest, ...]:
        pairs = self.pairs(node, "labels")
        if not pairs:
            self.refuse(node, "`labels` is empty: write a label, or leave it out")
        self.ask(node, lambda: within("labels", pairs, limits.LABELS_MAX))
        return tuple(chain.from_iterable(self.each(pairs, lambda pair: self._label(*pair))))

    def _label(self, key: Text, node: Node) -> tuple[LabelTest, ...]:
        what = f"label {key.text!r:.80}"
        if isinstance(node, Fields):
            before = self.problems
            fields = self.fields(node, what, _LABEL, ())
            if self.problems > before:
                raise Unreadable
            if not fields:
                self.refuse(node, f"{what}: write at least one of {any_of(_LABEL)}")
            found = self.each(tuple(fields.items()), lambda pair: self._label_test(key.text, *pair))
        else:
            found = (LabelTest(key=key.text, values=(self.text(node, what),)),)
        for test in found:
            self.ask(key, partial(check_label, test))
        return found

    def _label_test(self, key: str, operator: str, node: Node) -> LabelTest:
        if operator == "exists":
            return LabelTest(
                key=key, operator="exists" if self.truth(node, operator) else "not exists"
            )
        values = self.texts(node, operator, limits.LABEL_VALUES_MAX, str)
        return LabelTest(key=key, operator="in" if operator == "in" else "not in", values=values)

    # Rules.

    def _rule(self, where: ListName, node: Node) -> Rule:
        fields = self.fields(node, "a rule", (*_RULE, *_ABOUT), ("name", "effect"))
        before = self.problems
        name = self.tried(lambda: self._name(fields["name"], "rule"), "")
        effect = self.tried(lambda: self.choice(fields["effect"], "effect", EFFECTS), EFFECTS[0])
        sides = {
            side: self.tried(partial(self._side, fields[side], side), ())
            for side in ("source", "destination")
            if side in fields
        }
        ports: tuple[PortRange, ...] = ()
        if "ports" in fields:
            ports = self.tried(lambda: self._ports(fields["ports"]), ())
        protocol: RuleProtocol = "any"
        if "protocol" in fields:
            read = partial(self.choice, fields["protocol"], "protocol", PROTOCOLS)
            protocol = self.tried(read, protocol)
        enabled = True
        if "enabled" in fields:
            enabled = self.tried(lambda: self.truth(fields["enabled"], "enabled"), enabled)
        note = self._about(fields, "note", self._note, "")
        owner = self._about(fields, "owner", self._owner, "")
        expires_ms = self._about(fields, "expires", self._moment, None)
        if self.problems > before:
            raise Unreadable
        found = Rule(
            name=name,
            effect=effect,
            ports=ports,
            protocol=protocol,
            enabled=enabled,
            expires_ms=expires_ms,
            note=note,
            owner=owner,
            **sides,
        )
        self.ask(node, lambda: self._check_sides(where, found))
        return found

    def _check_sides(self, where: ListName, rule: Rule) -> None:
        source = [self._kinds.get(name) for name in rule.source]
        destination = [self._kinds.get(name) for name in rule.destination]
        known = [{kind for kind in side if kind is not None} for side in (source, destination)]
        if None not in (*source, *destination):
            check_sides(where, *known)

    def _side(self, node: Node, side: str) -> tuple[str, ...]:
        return self.texts(node, side, limits.SIDE_OBJECTS_MAX, self._known)

    def _known(self, name: str) -> None:
        if name in self._kinds or not self._all_named:
            return
        near = self._spellings.get(name.lower())
        hint = f"write {near!r}" if near else "add it to `networkObjects`"
        raise InvalidValueError(f"no network object is called {name!r:.80}: {hint}")

    def _ports(self, node: Node) -> tuple[PortRange, ...]:
        return self.each(self.items(node, "ports", limits.PORTS_MAX), self._port)

    def _port(self, node: Node) -> PortRange:
        if not isinstance(node, Text) or node.read_as not in ("int", "str"):
            self.refuse(node, 'no port: write 443 or "8000-8100"')
        return self.ask(node, lambda: port_range(node.text))

    def _about(
        self, fields: dict[str, Node], key: str, read: Callable[[Node], Value], otherwise: Other
    ) -> Value | Other:
        return self.tried(lambda: read(fields[key]), otherwise) if key in fields else otherwise

    def _owner(self, node: Node) -> str:
        owner = self.text(node, "owner")
        self.ask(node, lambda: check_owner(owner))
        return owner

    def _moment(self, node: Node) -> int:
        if not isinstance(node, Text) or node.read_as not in ("timestamp", "str"):
            self.refuse(node, "`expires`: write a time, 2026-12-31T18:00:00Z")
        return self.ask(node, lambda: moment(node.text))

    def _note(self, node: Node) -> str:
        note = self.text(node, "note")
        self.ask(node, lambda: check_note(note))
        return note

    def _name(self, node: Node, what: str) -> str:
        name = self.text(node, "name")
        self.ask(node, lambda: check_name(name))
        assert isinstance(node, Text)
        if what == "object" and name in BUILT_IN:
            self.refuse(node, f"{name!r} is built in: use another name")
        other = self._named.setdefault((what, name), node)
        if other is not node:
            line = other.place.line
            self.refuse(node, f"the {what} in line {line} is called {name!r} too: rename one")
        return name
