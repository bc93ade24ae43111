"""Image names and patterns in their full form: `nginx` is `docker.io/library/nginx`.

Engines, people and the Defender spell the default registry or leave it out; compared are full
forms only, in lower case. Nothing here fails: what is no image name is compared as it stands, so
that a strange name selects nothing rather than stopping a decision.
"""

from typing import NamedTuple

DEFAULT_REGISTRY = "docker.io"
#: Other spellings of the default registry that engines and old configurations use.
_ALIASES = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io"))


class Reference(NamedTuple):
    """An image reference in parts, unchecked. Tag and digest are None where nothing is said."""

    repository: str
    tag: str | None
    digest: str | None


def split_reference(text: str) -> Reference:
    """`registry:5000/team/app:1.2@sha256:…` in its parts; the registry's port is no tag."""
    rest, at, digest = text.partition("@")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    return Reference(head + slash + last, tag if colon else None, digest if at else None)


def full_repository(name: str) -> str:
    """The full form of a repository's name, in lower case.

    A first component is a registry if it has a dot, a port or capitals, or is `localhost` (the
    grammar of the distribution project's `reference` package).
    """
    first, slash, rest = name.partition("/")
    is_registry = bool(slash) and (_names_registry(first) or first != first.lower())
    if not is_registry:
        first, rest = DEFAULT_REGISTRY, name
    return _joined(first.lower(), rest.lower())


def full_pattern(pattern: str) -> str:
    """The full form of a repository's pattern, in lower case.

    What begins with `*` stands for anything before it too, registry and all; everything else is
    completed as a name would be: `ngin*` is `docker.io/library/ngin*`, `shop/*` is
    `docker.io/shop/*`, `docker.io/*` is all of that registry.
    """
    pattern = pattern.lower()
    if pattern.startswith("*"):
        return pattern
    first, slash, rest = pattern.partition("/")
    if not (slash and _names_registry(first)):
        first, rest = DEFAULT_REGISTRY, pattern
    return _joined(first, rest)


def _names_registry(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost"


def _joined(registry: str, rest: str) -> str:
    if registry in _ALIASES:
        registry = DEFAULT_REGISTRY
        if "/" not in rest and not rest.startswith("*"):
            rest = f"library/{rest}"
    return f"{registry}/{rest}"
