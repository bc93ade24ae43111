"""Image names: from whatever an engine says to (registry, repository, tag, digest).

Discovery names instances with it and policy compares names in their full form, so that `nginx`,
`library/nginx` and `docker.io/library/nginx:latest` are one app. The grammar is that of the
distribution project's `reference` package.
"""

import re

import msgspec

from cnnf.protocol.limits import NAME_CHARS_MAX

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

#: Other spellings of the default registry that engines and old configurations use.
_DEFAULT_REGISTRY_ALIASES = ("docker.io", "index.docker.io", "registry-1.docker.io")

_REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?\Z")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,128}\Z")
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})\Z")

#: Characters of an image id or container id that people read and type.
SHORT_ID_CHARS = 12


class ImageName(msgspec.Struct, frozen=True, kw_only=True):
    """An image's name in parts. `repository` is the path within the registry."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def name(self) -> str:
        """What Radar shows: without tag, and without the registry when it is the default one."""
        if self.registry != DEFAULT_REGISTRY:
            return f"{self.registry}/{self.repository}"
        return self.repository.removeprefix("library/")

    def full_name(self) -> str:
        """What patterns are compared with: `docker.io/library/nginx`, without tag and digest."""
        return f"{self.registry}/{self.repository}"


def parse_image(text: str) -> ImageName:
    """The parts of an image reference; without tag and digest the tag is `latest`.

    Raises ValueError when the text is no image reference (an image id is none either: it has to
    be looked up, see `image_id`).
    """
    if not 0 < len(text) <= NAME_CHARS_MAX:
        raise ValueError(f"image name of {len(text)} characters, 1 to {NAME_CHARS_MAX} expected")
    if image_id(text) and text.startswith("sha256:"):
        raise ValueError(f"{text!r} is an image id, not a name")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise ValueError(f"{text!r:.200}: malformed digest")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.match(tag):
        raise ValueError(f"{text!r:.200}: malformed tag")
    registry, repository = _split_registry(head + slash + last)
    if not _REGISTRY.match(registry):
        raise ValueError(f"{text!r:.200}: malformed registry")
    if not all(_COMPONENT.match(component) for component in repository.split("/")):
        raise ValueError(f"{text!r:.200}: malformed repository")
    if not tag and not digest:
        tag = DEFAULT_TAG
    return ImageName(registry=registry, repository=repository, tag=tag, digest=digest)


def _split_registry(path: str) -> tuple[str, str]:
    first, slash, rest = path.partition("/")
    # The first component is a registry only if it can't be part of a path: it has a dot, a port
    # or capitals, or is `localhost`.
    is_registry = bool(slash) and (
        "." in first or ":" in first or first == "localhost" or first != first.lower()
    )
    if not is_registry:
        first, rest = DEFAULT_REGISTRY, path
    elif first in _DEFAULT_REGISTRY_ALIASES:
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def image_id(text: str) -> str:
    """The hex digits if the text can be an image id (`sha256:…` or 12 to 64 digits), else ''.

    A bare run of hex digits can be a repository too; ask `is_id_of` when the engine's own id is
    at hand.
    """
    match = _IMAGE_ID.match(text)
    return match.group(1) if match else ""


def is_id_of(text: str, full_id: str) -> bool:
    """True when a container was started by its image's id instead of by a name."""
    digits = image_id(text)
    return bool(digits) and image_id(full_id).startswith(digits)


def full_name(text: str) -> str:
    """`docker.io/library/nginx` for `nginx:1.25`. Raises ValueError, see `parse_image`."""
    return parse_image(text).full_name()


def name_image(reference: str, full_id: str, tags: tuple[str, ...] = ()) -> ImageName:
    """The best name for a container's image; never fails.

    `reference` is what the container was started with, `full_id` the image's id and `tags` the
    names the engine has for that id now. An image without any name is known by its short id.
    """
    candidates = tags if is_id_of(reference, full_id) else (reference, *tags)
    for candidate in candidates:
        try:
            return parse_image(candidate)
        except ValueError:
            continue
    digits = image_id(full_id) or image_id(reference)
    return ImageName(
        registry=DEFAULT_REGISTRY,
        repository=digits[:SHORT_ID_CHARS] or "unknown",
        digest=f"sha256:{digits}" if len(digits) == 64 else "",
    )
