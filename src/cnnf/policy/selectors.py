"""Which network objects select an identity or a DNS name: indexes made once of all objects.

A set of objects is a whole number, bit i for object i. What an identity says is looked at one part
after the other (name, cluster, namespace, host, labels, address); each part's text is looked at
once, whoever else has it, and gives the set of objects that it rules out. So objects that differ in
one part only cost as much as one, be they thousands.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from cnnf.policy import limits
from cnnf.policy.endpoints import Identity
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.images import full_repository
from cnnf.policy.objects import (
    LabelTest,
    NameValue,
    NetworkObject,
    ObjectKind,
    name_value,
    qualifier,
)
from cnnf.policy.patterns import ANYTHING, Pattern, PatternIndex
from cnnf.policy.subnets import Ranges, contains, ranges_of

Key = TypeVar("Key", bound=Hashable)


class _Words(NamedTuple):
    """Patterns of one qualifier: any of the included ones, none of the excluded ones."""

    included: tuple[Pattern, ...]
    excluded: tuple[Pattern, ...]

    def hold(self, text: str) -> bool:
        text = text.lower()
        if any(one.matches(text) for one in self.excluded):
            return False
        return not self.included or any(one.matches(text) for one in self.included)


class _Remembered(dict[Key, int]):
    """Sets of objects that were worked out; all of them go at once when they are too many."""

    def keep(self, key: Key, objects: int) -> int:
        if len(self) >= limits.IDENTITIES_CACHED_MAX:
            self.clear()
        self[key] = objects
        return objects


class _Values:
    """The values of the objects of one kind, those that are alike together."""

    def __init__(self) -> None:
        self._included: dict[NameValue, int] = {}
        self._excluded: dict[NameValue, int] = {}
        self._index: PatternIndex[NameValue] = PatternIndex()
        self._known: _Remembered[tuple[str, str, str]] = _Remembered()

    def add(self, number: int, value: NameValue) -> None:
        held = self._excluded if value.excludes else self._included
        if value not in held:
            self._index.add(value.name, value)
        held[value] = held.get(value, 0) | 1 << number

    def having(self, name: str, tag: str = "", digest: str = "") -> int:
        """The objects that a name, of an image with tag and digest, is of. In lower case."""
        key = name, tag, digest
        found = self._known.get(key)
        return self._known.keep(key, self._having(*key)) if found is None else found

    def _having(self, name: str, tag: str, digest: str) -> int:
        included, excluded = self.matching(name, tag, digest)
        return included & ~excluded

    def matching(self, name: str, tag: str = "", digest: str = "") -> tuple[int, int]:
        """The objects that include it, and those that exclude it."""
        included = excluded = 0
        for value in self._index.find(name):
            if _tagged(value, tag, digest):
                if value.excludes:
                    excluded |= self._excluded[value]
                else:
                    included |= self._included[value]
        return included, excluded


def _tagged(value: NameValue, tag: str, digest: str) -> bool:
    return (value.tag is ANYTHING or value.tag.matches(tag)) and (
        value.digest is ANYTHING or value.digest.matches(digest)
    )


class _Qualifiers:
    """One qualifier of all objects."""

    def __init__(self) -> None:
        self._words: dict[_Words, int] = {}
        self._known: _Remembered[str] = _Remembered()

    def add(self, number: int, texts: tuple[str, ...]) -> None:
        if texts:
            words = _words(texts)
            self._words[words] = self._words.get(words, 0) | 1 << number

    def failing(self, text: str) -> int:
        """The objects for which this is not the right one."""
        if not self._words:
            return 0
        found = self._known.get(text)
        if found is None:
            found = 0
            for words, objects in self._words.items():
                if not words.hold(text):
                    found |= objects
            self._known.keep(text, found)
        return found


class _Labels:
    """The label tests of all objects, by key."""

    def __init__(self) -> None:
        self._tests: dict[str, dict[LabelTest, int]] = {}
        self._known: _Remembered[tuple[str, str | None]] = _Remembered()

    def add(self, number: int, tests: tuple[LabelTest, ...]) -> None:
        for test in tests:
            alike = self._tests.setdefault(test.key, {})
            alike[test] = alike.get(test, 0) | 1 << number

    def failing(self, labels: tuple[tuple[str, str], ...]) -> int:
        """The objects with a test that these labels do not pass."""
        own = dict(labels)
        failing = 0
        for key in self._tests:
            value = own.get(key)
            found = self._known.get((key, value))
            failing |= self._failing(key, value) if found is None else found
        return failing

    def _failing(self, key: str, value: str | None) -> int:
        labels = {} if value is None else {key: value}
        failing = 0
        for test, objects in self._tests[key].items():
            if not test.holds(labels):
                failing |= objects
        return self._known.keep((key, value), failing)


class Selectors:
    """Every object but the subnets, ready to be asked. Nothing changes but what is remembered."""

    def __init__(self, objects: Sequence[NetworkObject]) -> None:
        """Raises InvalidValueError, with the object's name, for a value that means nothing."""
        self._values: dict[ObjectKind, _Values] = {}
        self._clusters, self._namespaces, self._hosts = _Qualifiers(), _Qualifiers(), _Qualifiers()
        self._labels = _Labels()
        self._addresses: dict[tuple[str, ...], tuple[Ranges, int]] = {}
        for number, one in enumerate(objects):
            if one.kind == "subnet":
                continue
            try:
                self._add(number, one)
            except InvalidValueError as error:
                raise InvalidValueError(f"object {one.name!r}: {error}") from error

    def _add(self, number: int, one: NetworkObject) -> None:
        values = self._values.setdefault(one.kind, _Values())
        for text in one.values:
            values.add(number, name_value(one.kind, text))
        self._clusters.add(number, one.clusters)
        self._namespaces.add(number, one.namespaces)
        self._hosts.add(number, one.hosts)
        self._labels.add(number, one.labels)
        if one.addresses:
            ranges, alike = self._addresses.get(one.addresses) or (ranges_of(one.addresses), 0)
            self._addresses[one.addresses] = ranges, alike | 1 << number

    @property
    def asks_address(self) -> bool:
        """Whether it may matter at which address an identity is met."""
        return bool(self._addresses)

    def of_identity(self, identity: Identity, packed: bytes) -> int:
        """The image, service and host objects that select an identity.

        `packed` is the address that it is met at, empty where none is known.

        A host object selects the host and every service on it, not the containers that run there:
        these have an identity and mostly addresses of their own.
        """
        found = self.of_identity_anywhere(identity)
        return found & ~self._elsewhere(packed) if found and self._addresses else found

    def of_identity_anywhere(self, identity: Identity) -> int:
        """The same, whatever the address that it is met at."""
        found = self._named(identity)
        if found:
            host = identity.host or (identity.name if identity.kind == "host" else "")
            found &= ~(
                self._clusters.failing(identity.cluster)
                | self._namespaces.failing(identity.namespace)
                | self._hosts.failing(host)
                | self._labels.failing(identity.labels)
            )
        return found

    def of_names(self, names: Iterable[str]) -> int:
        """The dns objects that have one of the names, and exclude none of them."""
        included = excluded = 0
        values = self._values.get("dns")
        if values is None:
            return 0
        for name in names:
            more, fewer = values.matching(name.lower().removesuffix("."))
            included |= more
            excluded |= fewer
        return included & ~excluded

    def _named(self, identity: Identity) -> int:
        """The objects that an identity's name is of."""
        if identity.kind == "container":
            values = self._values.get("image")
            if values is None:
                return 0
            name = full_repository(identity.name)
            return values.having(name, identity.tag.lower(), identity.digest.lower())
        hosts, found = self._values.get("host"), 0
        if identity.kind == "service":
            values = self._values.get("service")
            if values is not None:
                found = values.having(identity.name.lower().removesuffix(".service"))
            if hosts is not None and identity.host:
                found |= hosts.having(identity.host.lower())
        elif hosts is not None:
            found = hosts.having(identity.name.lower())
        return found

    def _elsewhere(self, packed: bytes) -> int:
        """The objects that are narrowed to addresses of which this is none."""
        found = 0
        for ranges, objects in self._addresses.values():
            if not contains(ranges, packed):
                found |= objects
        return found


def numbers(objects: int) -> Iterator[int]:
    """The numbers of the objects of a set, in order."""
    while objects:
        lowest = objects & -objects
        yield lowest.bit_length() - 1
        objects ^= lowest


def _words(texts: tuple[str, ...]) -> _Words:
    parsed = [qualifier(text) for text in texts]
    return _Words(
        tuple(one for excludes, one in parsed if not excludes),
        tuple(one for excludes, one in parsed if excludes),
    )
