"""Sets of pods and of addresses, closed under intersection, and network objects of them.

A selector asks conditions that all have to hold. So the pods that two selectors have in common are
one selector again, and nothing has to be known of the pods that there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from cnnf.policy import limits
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.kubernetes.manifests import (
    NAME_LABEL,
    IpBlock,
    LabelSelector,
    Namespace,
    Requirement,
)
from cnnf.policy.objects import LabelTest, NetworkObject


class Words(msgspec.Struct, frozen=True):
    """Some words, or (`others`) every word but them."""

    words: frozenset[str]
    others: bool = False

    def __contains__(self, word: object) -> bool:
        return (word in self.words) is not self.others

    def __and__(self, other: "Words") -> "Words":
        if self.others and other.others:
            return Words(self.words | other.words, others=True)
        if self.others:
            return Words(other.words - self.words)
        return Words(self.words - other.words if other.others else self.words & other.words)

    @property
    def none(self) -> bool:
        """No word at all."""
        return not self.words and not self.others


ANY_WORD = Words(frozenset(), others=True)
NO_WORD = Words(frozenset())


class Label(msgspec.Struct, frozen=True):
    """What a label may be, and whether it may be missing."""

    values: Words
    may_miss: bool

    def __and__(self, other: "Label") -> "Label":
        return Label(self.values & other.values, self.may_miss and other.may_miss)

    @property
    def none(self) -> bool:
        """Neither a value nor its lack passes."""
        return self.values.none and not self.may_miss

    def tests(self, key: str) -> tuple[LabelTest, ...]:
        """The same as an object's tests of this label."""
        words = tuple(sorted(self.values.words))
        if not self.values.others:
            if words:
                assert not self.may_miss, "no selector asks for these values or none"
                return (LabelTest(key=key, values=words),)
            return (LabelTest(key=key, operator="not exists"),)
        found = () if self.may_miss else (LabelTest(key=key, operator="exists"),)
        return (*found, LabelTest(key=key, operator="not in", values=words)) if words else found


_LABELS = {
    "Exists": Label(ANY_WORD, may_miss=False),
    "DoesNotExist": Label(NO_WORD, may_miss=True),
}


class Pods(msgspec.Struct, frozen=True):
    """Pods by namespace, labels (pairs in order of their keys) and, where given, address."""

    namespaces: Words
    labels: tuple[tuple[str, Label], ...] = ()
    block: IpBlock | None = None

    def __and__(self, other: "Pods") -> "Pods | None":
        """The pods in both; None where there can't be any."""
        namespaces = self.namespaces & other.namespaces
        assert self.block is None or other.block is None, "one side of a rule has one block"
        if namespaces.none:
            return None
        labels = _joined((*self.labels, *other.labels))
        if labels is None:
            return None
        return Pods(namespaces, labels, self.block or other.block)

    def within(self, block: IpBlock) -> "Pods":
        """Those that have an address there."""
        return Pods(self.namespaces, self.labels, block)

    def hold(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """True for a pod of the set; its address is not asked."""
        return namespace in self.namespaces and all(
            (labels[key] in label.values) if key in labels else label.may_miss
            for key, label in self.labels
        )


ALL_PODS = Pods(ANY_WORD)
#: Who stands on a side: pods, or whoever has an address.
Side = Pods | IpBlock


def selected_pods(selector: LabelSelector, namespaces: Words) -> Pods | None:
    """The pods that a selector means; None where it contradicts itself."""
    if namespaces.none:
        return None
    labels = _joined([(one.key, _label(one)) for one in selector])
    return None if labels is None else Pods(namespaces, labels)


def selected_namespaces(selector: LabelSelector, known: Iterable[Namespace]) -> Words:
    """The namespaces that a selector means, among those that aren't known too.

    Of these nothing is known but the label that every namespace has: its name.
    """
    known = tuple(known)
    chosen = frozenset(
        one.name
        for one in known
        if all(test.holds({**one.labels, NAME_LABEL: one.name}) for test in selector)
    )
    unknown = NO_WORD
    if all(test.holds({}) for test in selector if test.key != NAME_LABEL):
        unknown = ANY_WORD
        for test in selector:
            if test.key == NAME_LABEL:
                unknown &= _label(test).values
    names = frozenset(one.name for one in known)
    if unknown.others:
        return Words((unknown.words | names) - chosen, others=True)
    return Words((unknown.words - names) | chosen)


def asks_labels(selector: LabelSelector) -> bool:
    """True where labels of namespaces matter, beside the one that every namespace has."""
    return any(test.key != NAME_LABEL for test in selector)


def without_included(these: Iterable[Pods]) -> list[Pods]:
    """The same pods by fewer sets: none that lies in another."""
    kept: list[Pods] = []
    for one in dict.fromkeys(these):
        if any(one & other == one for other in kept):
            continue
        kept = [other for other in kept if other & one != other]
        kept.append(one)
    return kept


def _label(test: Requirement) -> Label:
    if test.operator in _LABELS:
        return _LABELS[test.operator]
    words = frozenset(test.values)
    if test.operator == "In":
        return Label(Words(words), may_miss=False)
    return Label(Words(words, others=True), may_miss=True)


def _joined(labels: Iterable[tuple[str, Label]]) -> tuple[tuple[str, Label], ...] | None:
    found: dict[str, Label] = {}
    for key, label in labels:
        joined = found[key] & label if key in found else label
        if joined.none:
            return None
        found[key] = joined
    return tuple(sorted(found.items()))


class Objects:
    """Network objects for sides, each made once and named for what it selects."""

    def __init__(self, clusters: tuple[str, ...] = ()) -> None:
        self._clusters = clusters
        self._named: dict[Side, tuple[str, ...]] = {}
        self._names: dict[str, int] = {}
        self._made: list[NetworkObject] = []

    @property
    def made(self) -> tuple[NetworkObject, ...]:
        """All of them, in the order in which they were needed."""
        return tuple(self._made)

    def add(self, one: NetworkObject) -> str:
        """Takes an object as it is."""
        self._names[one.name.lower()] = 1
        self._made.append(one)
        self._check_number()
        return one.name

    def names(self, side: Side) -> tuple[str, ...]:
        """The names of the objects that together select a side.

        Raises InvalidValueError for one that no object can select.
        """
        found = self._named.get(side)
        if found is None:
            made = self._subnet(side) if isinstance(side, IpBlock) else self._images(side)
            found = self._named[side] = made
            self._check_number()
        return found

    def _check_number(self) -> None:
        if len(self._made) > limits.OBJECTS_MAX:
            raise InvalidValueError(
                f"the policies need more than {limits.OBJECTS_MAX:,} network objects: "
                "import those of fewer namespaces at once"
            )

    def _subnet(self, block: IpBlock) -> tuple[str, ...]:
        name = self._free(_block_text(block))
        self._made.append(NetworkObject(name=name, kind="subnet", values=block.values))
        return (name,)

    def _images(self, pods: Pods) -> tuple[str, ...]:
        tests = tuple(test for key, label in pods.labels for test in label.tests(key))
        called = _pods_text(pods)
        if len(tests) > limits.LABELS_MAX:
            raise InvalidValueError(
                f"{called:.200}: {len(tests)} tests of labels, at most {limits.LABELS_MAX}"
            )
        found = []
        for patterns in self._patterns(pods.namespaces, called):
            name = self._free(called)
            made = NetworkObject(
                name=name,
                kind="image",
                values=("*",),
                clusters=self._clusters,
                namespaces=patterns,
                labels=tests,
                addresses=pods.block.values if pods.block else (),
            )
            self._made.append(made)
            found.append(name)
        return tuple(found)

    @staticmethod
    def _patterns(namespaces: Words, called: str) -> Iterable[tuple[str, ...]]:
        """Patterns of each object that is needed: names can be divided, exclusions can't."""
        words = sorted(namespaces.words)
        if not namespaces.others:
            for start in range(0, len(words), limits.QUALIFIERS_MAX):
                yield tuple(words[start : start + limits.QUALIFIERS_MAX])
        elif not words:
            yield ()
        elif len(words) < limits.QUALIFIERS_MAX:
            yield ("*", *(f"-{word}" for word in words))
        else:
            raise InvalidValueError(
                f"{called:.200}: all namespaces but {len(words)}, at most "
                f"{limits.QUALIFIERS_MAX - 1} can be excluded: select them by a label they have"
            )

    def _free(self, called: str) -> str:
        # Room for a number behind it.
        return free_name(called, limits.NAME_CHARS_MAX - 8, self._names)


def free_name(called: str, chars_max: int, taken: dict[str, int]) -> str:
    """A name that isn't taken yet: shortened where it is too long, numbered where it is taken."""
    short = called if len(called) <= chars_max else called[: chars_max - 1].rstrip() + "…"
    # Names in another case would be right, but confuse people.
    key = short.lower()
    number = taken.get(key, 0) + 1
    taken[key] = number
    if number == 1:
        return short
    # A name with a number is taken too, should somebody else come by it.
    numbered = f"{short} ({number})"
    taken[numbered.lower()] = taken.get(numbered.lower(), 0) + 1
    return numbered


def _pods_text(pods: Pods) -> str:
    said = "all pods" if pods.namespaces == ANY_WORD else f"pods {_namespaces_text(pods)}"
    labels = ", ".join(_test_text(test) for key, label in pods.labels for test in label.tests(key))
    if labels:
        said += f" with {labels}"
    return f"{said} at {_block_text(pods.block)}" if pods.block else said


def _namespaces_text(pods: Pods) -> str:
    words = ", ".join(_few(sorted(pods.namespaces.words)))
    return f"not of {words}" if pods.namespaces.others else f"of {words}"


def _test_text(test: LabelTest) -> str:
    if test.operator == "exists":
        return test.key
    if test.operator == "not exists":
        return f"no {test.key}"
    equal = "=" if test.operator == "in" else "≠"
    return f"{test.key}{equal}{'|'.join(_few(test.values))}"


def _block_text(block: IpBlock) -> str:
    if not block.excepted:
        return block.cidr
    return f"{block.cidr} but {', '.join(_few(block.excepted))}"


def _few(words: Sequence[str]) -> list[str]:
    """The first ones of many."""
    return [*islice(words, 3), *(["…"] if len(words) > 3 else [])]
