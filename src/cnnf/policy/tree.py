"""YAML text as a plain tree whose every part knows its place.

Only what a policy needs of YAML: mappings, lists and texts, and one document, unless somebody
else's form (Kubernetes') has several. Anchors and aliases are refused there; in others an alias
counts as if it were written out, so a short text can't grow (an alias of aliases of aliases). Tags
are refused everywhere: nothing in it makes an object. Made from the parser's
events, not recursively: nesting costs no stack.
"""

from collections.abc import Iterator
from functools import lru_cache

import msgspec
import yaml
from yaml.resolver import Resolver

from cnnf.policy import limits
from cnnf.policy.errors import InvalidFormError, Problem

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml: the same events, ten times slower.
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

_RESOLVER = Resolver()
_TAG_PREFIX = "tag:yaml.org,2002:"


# None of them can contain itself, so the collector need not look at half a million of them.
class Place(msgspec.Struct, frozen=True, gc=False):
    """Where something begins, from 1."""

    line: int
    column: int


class Text(msgspec.Struct, frozen=True, gc=False):
    """One text. `read_as` is what YAML reads in it: `str`, else `int`, `bool`, `null`, …"""

    place: Place
    text: str
    read_as: str


class Items(msgspec.Struct, frozen=True, gc=False):
    """A list."""

    place: Place
    items: "list[Node]"


class Fields(msgspec.Struct, frozen=True, gc=False):
    """A mapping, keys in order; whether they are texts and different is not looked at here."""

    place: Place
    pairs: "list[tuple[Node, Node]]"


Node = Text | Items | Fields


def read_tree(data: str | bytes, subject: str) -> Node:
    """The tree of a text. Raises InvalidFormError with the first thing that is no such YAML."""
    builder = _Builder(subject, limits.FORM_DEPTH_MAX, 1)
    (root,) = _built(builder, data, subject) or (None,)
    if root is None:
        raise _refusal(subject, Place(1, 1), "nothing in it: begin with `apiVersion: cnnf/v1`")
    return root


def read_documents(data: str | bytes, subject: str, *, depth_max: int) -> list[Node]:
    """The trees of a text of several documents (`---` between them), in order.

    Raises InvalidFormError as `read_tree` does; what is nested deeper than `depth_max` is refused.
    """
    return _built(_Builder(subject, depth_max, limits.FORM_NODES_MAX), data, subject)


def _built(builder: "_Builder", data: str | bytes, subject: str) -> list[Node]:
    text = _decoded(data, subject)
    try:
        return builder.built(_events(text))
    except yaml.YAMLError as error:
        raise _refusal(subject, _place_of(error, text), f"no YAML: {_said(error)}") from error


def _events(text: str) -> Iterator[yaml.Event]:
    # As `yaml.parse` does, which asks twice for each of the 200,000 events of 10,000 rules.
    loader = _Loader(text)
    try:
        yield from iter(loader.get_event, None)
    finally:
        loader.dispose()


def _decoded(data: str | bytes, subject: str) -> str:
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > limits.FORM_BYTES_MAX:
        raise _refusal(
            subject, Place(1, 1), f"{len(raw):,} bytes: at most {limits.FORM_BYTES_MAX:,}"
        )
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line_start = raw.rfind(b"\n", 0, error.start) + 1
        place = Place(raw.count(b"\n", 0, error.start) + 1, error.start - line_start + 1)
        raise _refusal(subject, place, "not UTF-8: save the file as UTF-8") from error


class _Builder:
    """Puts nodes where they belong as their events come."""

    def __init__(self, subject: str, depth_max: int, documents_max: int) -> None:
        self._subject = subject
        self._depth_max = depth_max
        self._documents_max = documents_max
        self._open: list[Items | Fields] = []
        #: What is called by an anchor, once it is whole; the anchors of what is open.
        self._anchored: dict[str, Node] = {}
        self._anchors: list[str | None] = []
        #: For each open mapping the key that waits for its value.
        self._keys: list[Node | None] = []
        self._roots: list[Node] = []
        self._count = 0

    def built(self, events: Iterator[yaml.Event]) -> list[Node]:
        """The trees of all events, one a document."""
        for event in events:
            if isinstance(event, yaml.CollectionEndEvent):
                self._close()
                continue
            mark = event.start_mark
            assert mark is not None, "the parser marks every event"
            place = Place(mark.line + 1, mark.column + 1)
            if isinstance(event, yaml.NodeEvent):
                self._take(event, place)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._anchored.clear()
                if len(self._roots) >= self._documents_max:
                    raise self._refused(place, "a second document: write one policy a file")
        return self._roots

    def _take(self, event: yaml.NodeEvent, place: Place) -> None:
        anchor = event.anchor
        if anchor is not None and self._documents_max == 1:
            raise self._refused(place, "anchors and aliases are not read here: write it out")
        if isinstance(event, yaml.AliasEvent):
            assert anchor is not None, "an alias is of an anchor"
            self._put(self._known(anchor, place))
            return
        self._count_one(place)
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise self._refused(place, f"tags as {tag!r:.80} are not read here: leave it out")
        if isinstance(event, yaml.ScalarEvent):
            text = Text(place, event.value, read_as(event.value) if event.implicit[0] else "str")
            if anchor is not None:
                self._anchored[anchor] = text
            self._put(text)
            return
        node: Items | Fields
        node = Items(place, []) if isinstance(event, yaml.SequenceStartEvent) else Fields(place, [])
        self._put(node)
        self._open.append(node)
        self._anchors.append(anchor)
        self._keys.append(None)
        if len(self._open) > self._depth_max:
            raise self._refused(place, f"nested more than {self._depth_max} deep")

    def _close(self) -> None:
        node, anchor = self._open.pop(), self._anchors.pop()
        self._keys.pop()
        if anchor is not None:
            self._anchored[anchor] = node

    def _known(self, anchor: str, place: Place) -> Node:
        """What an alias stands for; it counts as if it were written out."""
        node = self._anchored.get(anchor)
        if node is None:
            raise self._refused(place, f"nothing whole is called {anchor!r:.80} before")
        waiting = [(node, len(self._open))]
        while waiting:
            one, depth = waiting.pop()
            self._count_one(place)
            if depth > self._depth_max:
                raise self._refused(place, f"nested more than {self._depth_max} deep")
            if isinstance(one, Items):
                waiting += ((each, depth + 1) for each in one.items)
            elif isinstance(one, Fields):
                waiting += ((each, depth + 1) for pair in one.pairs for each in pair)
        return node

    def _count_one(self, place: Place) -> None:
        self._count += 1
        if self._count > limits.FORM_NODES_MAX:
            raise self._refused(place, f"more than {limits.FORM_NODES_MAX:,} keys and values")

    def _put(self, node: Node) -> None:
        if not self._open:
            self._roots.append(node)
            return
        parent, key = self._open[-1], self._keys[-1]
        if isinstance(parent, Items):
            parent.items.append(node)
        elif key is None:
            self._keys[-1] = node
        else:
            parent.pairs.append((key, node))
            self._keys[-1] = None

    def _refused(self, place: Place, message: str) -> InvalidFormError:
        return _refusal(self._subject, place, message)


def read_as(text: str) -> str:
    """What YAML reads in a text without quotes: `str`, or `int`, `bool`, `null`, …"""
    return _known(text) if len(text) <= limits.NAME_CHARS_MAX else _resolved(text)


def _resolved(text: str) -> str:
    tag = _RESOLVER.resolve(  # type: ignore[no-untyped-call]
        yaml.ScalarNode, text, (True, False)
    )
    return str(tag).removeprefix(_TAG_PREFIX)


# Most texts of a policy are the same few: keys, effects, ports, names of objects.
_known = lru_cache(limits.SCALARS_CACHED_MAX)(_resolved)


def _refusal(subject: str, place: Place, message: str) -> InvalidFormError:
    return InvalidFormError(
        (Problem(subject=subject, line=place.line, column=place.column, message=message),)
    )


def _place_of(error: yaml.YAMLError, text: str) -> Place:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return Place(mark.line + 1, mark.column + 1)
    position = getattr(error, "position", 0)
    return Place(text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))


def _said(error: yaml.YAMLError) -> str:
    """The parser's own words, without the places it repeats."""
    words = [getattr(error, name, None) for name in ("context", "problem", "reason")]
    return ", ".join(word for word in words if word) or "it can't be read"
