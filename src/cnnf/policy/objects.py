"""Network objects: named sets of endpoints, as a person writes them.

What a value means stands here (`subnet_value`, `name_value`, `image_value`); `compiled` makes
indexes of it. The built-in object `internet` is everything that `addresses.is_internet` says.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import msgspec

from cnnf.policy import limits
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.images import full_pattern, split_reference
from cnnf.policy.patterns import ANYTHING, Pattern, pattern, split_exclusion

ObjectKind = Literal["subnet", "dns", "image", "service", "host"]
LabelOperator = Literal["in", "not in", "exists", "not exists"]

KINDS: tuple[ObjectKind, ...] = get_args(ObjectKind)
#: Kinds of what a Defender protects; only these can be narrowed by cluster, namespace, host, label.
PROTECTED: frozenset[ObjectKind] = frozenset(("image", "service", "host"))

INTERNET = "internet"
#: Names that are taken, and the kind of each.
BUILT_IN: Mapping[str, ObjectKind] = {INTERNET: "subnet"}


class LabelTest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a label must be. `values` are for `in` and `not in`; `not in` holds without it too."""

    key: str
    operator: LabelOperator = "in"
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """True for labels that pass."""
        if self.operator == "exists":
            return self.key in labels
        if self.operator == "not exists":
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator == "in")


class NetworkObject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A named set of endpoints. `values` are as written; what is left empty narrows nothing.

    `addresses` of an image object are a subnet's values: what is selected has to be met there.
    """

    name: str
    kind: ObjectKind
    values: tuple[str, ...]
    clusters: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    labels: tuple[LabelTest, ...] = ()
    addresses: tuple[str, ...] = ()


class NameValue(NamedTuple):
    """A value that names something; `tag` and `digest` are for images only."""

    excludes: bool
    name: Pattern
    tag: Pattern = ANYTHING
    digest: Pattern = ANYTHING


def check_name(name: str) -> None:
    """Raises InvalidValueError when a rule or object can't be called so."""
    if not 0 < len(name) <= limits.NAME_CHARS_MAX:
        raise InvalidValueError(
            f"a name of {len(name)} characters: write 1 to {limits.NAME_CHARS_MAX}"
        )
    if name != name.strip() or not name.isprintable():
        raise InvalidValueError(
            f"the name {name!r} begins or ends with a space, or has what can't be printed"
        )


@lru_cache(limits.SCALARS_CACHED_MAX)
def name_value(kind: ObjectKind, text: str) -> NameValue:
    """A value of a `dns`, `image`, `service` or `host` object. Raises InvalidValueError."""
    excludes, value = split_exclusion(text)
    if kind == "image":
        return _image_value(excludes, value)
    if kind == "dns":
        value = value.removesuffix(".")
    elif kind == "service":
        value = value.removesuffix(".service")
    if not value:
        raise InvalidValueError(f"{text!r} names nothing")
    return NameValue(excludes, pattern(value))


def _image_value(excludes: bool, value: str) -> NameValue:
    repository, tag, digest = split_reference(value)
    if not repository or tag == "" or digest == "":
        raise InvalidValueError(
            f"{value!r} lacks a repository, a tag or a digest: write `shop/frontend`, "
            "`shop/frontend:1.*` or `*:canary`"
        )
    return NameValue(
        excludes,
        pattern(full_pattern(repository)),
        ANYTHING if tag is None else pattern(tag),
        ANYTHING if digest is None else pattern(digest),
    )


@lru_cache(limits.SCALARS_CACHED_MAX)
def qualifier(text: str) -> tuple[bool, Pattern]:
    """One of an object's clusters, namespaces or hosts. Raises InvalidValueError."""
    excludes, value = split_exclusion(text)
    return excludes, pattern(value)


def check_only_exclusions(texts: tuple[str, ...]) -> None:
    """Raises InvalidValueError for a list that only takes away: there is nothing to take from."""
    if texts and all(text.startswith("-") for text in texts):
        raise InvalidValueError("nothing but exclusions: write what they exclude from, `*` for any")


def check_narrowing(one: NetworkObject) -> None:
    """Raises InvalidValueError where an object is narrowed by what its kind doesn't have."""
    if one.addresses and one.kind != "image":
        # A host's services share all its addresses.
        raise InvalidValueError(
            f"`addresses` of a {one.kind} object: only images have it; leave it out"
        )
    if one.kind in PROTECTED:
        return
    for word in ("clusters", "namespaces", "hosts", "labels"):
        if getattr(one, word):
            raise InvalidValueError(
                f"`{word}` of a {one.kind} object: addresses and names have none; leave it out"
            )
