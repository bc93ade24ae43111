"""Which image, service, host and dns objects lie wholly within which others, and which are empty.

Asked by `analysis`. Sound, not complete: what is said to contain another does, whatever there is;
that two patterns together contain a third is not found. One dimension after the other (values,
clusters, labels, …), each over its different contents only, so that 10,000 objects of one shape
cost as much as one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cnnf.policy.objects import LabelTest, NetworkObject, ObjectKind, name_value, qualifier
from cnnf.policy.patterns import ANYTHING, Pattern, PatternIndex

_Labels = tuple[LabelTest, ...]


class _Value(NamedTuple):
    """A name and, of an image, its tag and digest."""

    name: Pattern
    tag: Pattern = ANYTHING
    digest: Pattern = ANYTHING

    def contains(self, other: "_Value") -> bool:
        return all(_subsumes(one, two) for one, two in zip(self, other, strict=True))


class _Words(NamedTuple):
    """The values of one dimension: any of the included ones, none of the excluded ones.

    `several`: one endpoint may have several names, as DNS gives them.
    """

    included: tuple[_Value, ...]
    excluded: tuple[_Value, ...]
    several: bool = False

    def contain(self, other: "_Words") -> bool:
        return all(
            any(mine.contains(theirs) for mine in self.included) for theirs in other.included
        ) and all(self._harmless(one, other) for one in self.excluded)

    def _harmless(self, one: _Value, other: "_Words") -> bool:
        """Does what is excluded here take nothing away from the other?"""
        if any(theirs.contains(one) for theirs in other.excluded):
            return True
        # Who has one of the other's names has no more, so what isn't that name isn't excluded.
        return not self.several and all(
            len(theirs.name.parts) == 1 and not one.name.matches(theirs.name.parts[0])
            for theirs in other.included
        )

    def empty(self) -> bool:
        return all(any(no.contains(yes) for no in self.excluded) for yes in self.included)


class Containment:
    """The objects of a policy, by number in its order. Subnets are left out."""

    def __init__(self, objects: Sequence[NetworkObject]) -> None:
        self._by_kind: dict[ObjectKind, int] = {}
        dimensions: list[_Dimension] = [_WordsOf(_values)]
        dimensions += [_WordsOf(_narrowing(word)) for word in ("clusters", "namespaces", "hosts")]
        dimensions += [_LabelTests(), _Addresses()]
        self._dimensions = dimensions
        self._objects = objects
        for number, one in enumerate(objects):
            if one.kind != "subnet":
                self._by_kind[one.kind] = self._by_kind.get(one.kind, 0) | 1 << number
                for dimension in self._dimensions:
                    dimension.add(number, one)

    def containing(self, number: int) -> int:
        """The set of objects that contain one, itself among them; a bit is an object's number."""
        one = self._objects[number]
        found = self._by_kind[one.kind]
        for dimension in self._dimensions:
            found &= dimension.containing(one)
        return found


def is_empty(one: NetworkObject) -> bool:
    """Can an object of names select nothing, whatever there is?"""
    words = [_values(one), *(_narrowing(word)(one) for word in ("clusters", "namespaces", "hosts"))]
    return any(word.empty() for word in words) or any(
        _exclude(test, other)
        for at, test in enumerate(one.labels)
        for other in one.labels[at + 1 :]
        if test.key == other.key
    )


class _Dimension:
    """One property of objects, and which contents of it contain which."""

    def add(self, number: int, one: NetworkObject) -> None:
        raise NotImplementedError

    def containing(self, one: NetworkObject) -> int:
        raise NotImplementedError


class _WordsOf(_Dimension):
    def __init__(self, words: Callable[[NetworkObject], _Words]) -> None:
        self._words = words
        self._having: dict[_Words, int] = {}
        self._index: PatternIndex[_Words] = PatternIndex()
        self._containing: dict[_Words, int] = {}

    def add(self, number: int, one: NetworkObject) -> None:
        words = self._words(one)
        if words not in self._having:
            for name in {value.name for value in words.included}:
                self._index.add(name, words)
        self._having[words] = self._having.get(words, 0) | 1 << number

    def containing(self, one: NetworkObject) -> int:
        words = self._words(one)
        found = self._containing.get(words)
        if found is None:
            found = 0
            # A star stands for itself in the text: only a star of the other can have matched it.
            for other in set(self._index.find(_text(words.included[0].name))):
                if other.contain(words):
                    found |= self._having[other]
            self._containing[words] = found
        return found


class _LabelTests(_Dimension):
    def __init__(self) -> None:
        self._having: dict[_Labels, int] = {}
        #: By a test's key and each value that it wants, None where it wants none.
        self._index: dict[tuple[str, str | None], list[_Labels]] = {}
        self._containing: dict[_Labels, int] = {}

    def add(self, number: int, one: NetworkObject) -> None:
        if one.labels and one.labels not in self._having:
            first = one.labels[0]
            values = first.values if first.operator == "in" else (None,)
            for value in values:
                self._index.setdefault((first.key, value), []).append(one.labels)
        self._having[one.labels] = self._having.get(one.labels, 0) | 1 << number

    def containing(self, one: NetworkObject) -> int:
        found = self._containing.get(one.labels)
        if found is None:
            found = self._having.get((), 0)
            for other in self._possible(one.labels):
                if all(any(_implies(mine, test) for mine in one.labels) for test in other):
                    found |= self._having[other]
            self._containing[one.labels] = found
        return found

    def _possible(self, tests: _Labels) -> set[_Labels]:
        found: set[_Labels] = set()
        for test in tests:
            found.update(self._index.get((test.key, None), ()))
            if test.operator == "in":
                found.update(self._index.get((test.key, test.values[0]), ()))
        return found


class _Addresses(_Dimension):
    """Where an image is met: the same addresses, or any."""

    def __init__(self) -> None:
        self._having: dict[frozenset[str], int] = {}

    def add(self, number: int, one: NetworkObject) -> None:
        key = _addresses(one)
        self._having[key] = self._having.get(key, 0) | 1 << number

    def containing(self, one: NetworkObject) -> int:
        return self._having.get(_addresses(one), 0) | self._having.get(frozenset(), 0)


def _addresses(one: NetworkObject) -> frozenset[str]:
    return frozenset(one.addresses)


def _values(one: NetworkObject) -> _Words:
    parsed = [name_value(one.kind, text) for text in one.values]
    found = _split((value.excludes, _Value(*value[1:])) for value in parsed)
    return found._replace(several=one.kind == "dns")


def _narrowing(word: str) -> Callable[[NetworkObject], _Words]:
    def words(one: NetworkObject) -> _Words:
        texts: tuple[str, ...] = getattr(one, word)
        parsed = (qualifier(text) for text in texts or ("*",))
        return _split((excludes, _Value(pattern)) for excludes, pattern in parsed)

    return words


def _split(values: Iterable[tuple[bool, _Value]]) -> _Words:
    listed = list(values)
    return _Words(
        tuple(value for excludes, value in listed if not excludes),
        tuple(value for excludes, value in listed if excludes),
    )


def _text(pattern: Pattern) -> str:
    return "*".join(pattern.parts)


def _subsumes(one: Pattern, other: Pattern) -> bool:
    return one.matches(_text(other))


def _implies(test: LabelTest, other: LabelTest) -> bool:
    """Does whoever passes the one pass the other?"""
    if test.key != other.key:
        return False
    mine, theirs = set(test.values), set(other.values)
    match test.operator, other.operator:
        case "in", "in":
            return mine <= theirs
        case "in", "not in":
            return mine.isdisjoint(theirs)
        case "in" | "exists", "exists":
            return True
        case "not exists", "not exists" | "not in":
            return True
        case "not in", "not in":
            return theirs <= mine
        case _:
            return False


def _exclude(test: LabelTest, other: LabelTest) -> bool:
    """Can nobody pass both tests of one label?"""
    operators = {test.operator, other.operator}
    if operators == {"in", "not in"}:
        wanted, refused = (test, other) if test.operator == "in" else (other, test)
        return set(wanted.values) <= set(refused.values)
    return operators == {"in", "not exists"}
