"""Which network objects select an identity or a DNS name: indexes made once of all objects.

An entry of an index is (object, excludes, value): the index finds the entries whose name matches,
and only these are looked at further (tag and digest, exclusions, what the object is narrowed by).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
from cnnf.policy.patterns import Pattern, PatternIndex
from cnnf.policy.subnets import Ranges, contains, ranges_of


class _Entry(NamedTuple):
    number: int
    value: NameValue


class _Words(NamedTuple):
    """Patterns of one qualifier: any of the included ones, none of the excluded ones."""

    included: tuple[Pattern, ...]
    excluded: tuple[Pattern, ...]

    def hold(self, text: str) -> bool:
        text = text.lower()
        if any(one.matches(text) for one in self.excluded):
            return False
        return not self.included or any(one.matches(text) for one in self.included)


class _Narrowing(NamedTuple):
    clusters: _Words
    namespaces: _Words
    hosts: _Words
    labels: tuple[LabelTest, ...]
    addresses: Ranges | None

    def holds(self, identity: Identity, labels: dict[str, str], packed: bytes) -> bool:
        host = identity.host or (identity.name if identity.kind == "host" else "")
        return (
            self.clusters.hold(identity.cluster)
            and self.namespaces.hold(identity.namespace)
            and self.hosts.hold(host)
            and all(test.holds(labels) for test in self.labels)
            and (self.addresses is None or contains(self.addresses, packed))
        )


class Selectors:
    """Every object but the subnets, ready to be asked. Read only once made."""

    def __init__(self, objects: Sequence[NetworkObject]) -> None:
        """Raises InvalidValueError, with the object's name, for a value that means nothing."""
        self._indexes: dict[ObjectKind, PatternIndex[_Entry]] = {}
        self._narrowing: dict[int, _Narrowing] = {}
        #: Whether it may matter at which address an identity is met.
        self.asks_address = False
        for number, one in enumerate(objects):
            if one.kind == "subnet":
                continue
            try:
                self._add(number, one)
            except InvalidValueError as error:
                raise InvalidValueError(f"object {one.name!r}: {error}") from error

    def _add(self, number: int, one: NetworkObject) -> None:
        index = self._indexes.setdefault(one.kind, PatternIndex())
        for text in one.values:
            value = name_value(one.kind, text)
            index.add(value.name, _Entry(number, value))
        if one.clusters or one.namespaces or one.hosts or one.labels or one.addresses:
            self.asks_address |= bool(one.addresses)
            self._narrowing[number] = _Narrowing(
                _words(one.clusters),
                _words(one.namespaces),
                _words(one.hosts),
                one.labels,
                ranges_of(one.addresses) if one.addresses else None,
            )

    def of_identity(self, identity: Identity, packed: bytes) -> frozenset[int]:
        """The numbers of the image, service and host objects that select an identity.

        `packed` is the address that it is met at, empty where none is known.

        A host object selects the host and every service on it, not the containers that run there:
        these have an identity and mostly addresses of their own.
        """
        if identity.kind == "container":
            found = self._matching("image", full_repository(identity.name), identity)
        elif identity.kind == "service":
            name = identity.name.lower().removesuffix(".service")
            found = self._matching("service", name, identity)
            if identity.host:
                found |= self._matching("host", identity.host.lower(), identity)
        else:
            found = self._matching("host", identity.name.lower(), identity)
        if not found:
            return frozenset()
        labels = dict(identity.labels)
        return frozenset(
            number
            for number in found
            if number not in self._narrowing
            or self._narrowing[number].holds(identity, labels, packed)
        )

    def of_names(self, names: Iterable[str]) -> frozenset[int]:
        """The numbers of the dns objects that have one of the names, and exclude none of them."""
        included: set[int] = set()
        excluded: set[int] = set()
        index = self._indexes.get("dns")
        if index is None:
            return frozenset()
        for name in names:
            for number, value in index.find(name.lower().removesuffix(".")):
                (excluded if value.excludes else included).add(number)
        return frozenset(included - excluded)

    def _matching(self, kind: ObjectKind, name: str, identity: Identity) -> set[int]:
        included: set[int] = set()
        excluded: set[int] = set()
        index = self._indexes.get(kind)
        if index is None:
            return included
        tag, digest = identity.tag.lower(), identity.digest.lower()
        for number, value in index.find(name):
            if kind == "image" and not (value.tag.matches(tag) and value.digest.matches(digest)):
                continue
            (excluded if value.excludes else included).add(number)
        return included - excluded


def _words(texts: tuple[str, ...]) -> _Words:
    parsed = [qualifier(text) for text in texts]
    return _Words(
        tuple(one for excludes, one in parsed if not excludes),
        tuple(one for excludes, one in parsed if excludes),
    )
