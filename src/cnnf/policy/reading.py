"""Reads a tree part by part and notes every problem with its place, going on with the next part.

Knows nothing of policies; `form` does. A part that can't be read is told once and then left out
(`Unreadable` leads to the nearest `tried` or `each`).
"""

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from cnnf.policy import limits
from cnnf.policy.checks import within
from cnnf.policy.errors import InvalidFormError, InvalidValueError, Problem
from cnnf.policy.tree import Fields, Items, Node, Text

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

Choice = TypeVar("Choice", bound=str)
Part = TypeVar("Part")
Value = TypeVar("Value")
Other = TypeVar("Other")


class Unreadable(Exception):
    """A part can't be read; why is among the problems already."""


class Reader:
    """What every part is read with, and the problems found so far."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._problems: list[Problem] = []
        self._more = 0

    @property
    def problems(self) -> int:
        """How many there are, told or only counted."""
        return len(self._problems) + self._more

    def finish(self) -> None:
        """Raises InvalidFormError if there was any problem."""
        if self._problems:
            ordered = sorted(self._problems, key=lambda one: (one.line, one.column))
            raise InvalidFormError(tuple(ordered), self._more)

    def fields(
        self, node: Node, what: str, known: Sequence[str], needed: Sequence[str]
    ) -> dict[str, Node]:
        """A mapping of known keys (others are problems), all the needed ones among them."""
        pairs = self.pairs(node, what)
        for key, _ in pairs:
            if key.text not in known:
                self.note(
                    key, f"unknown key {key.text!r:.80} in {what}: write one of {any_of(known)}"
                )
        found = {key.text: value for key, value in pairs}
        missing = [name for name in needed if name not in found]
        if missing:
            self.refuse(node, f"{what} without {any_of(missing, 'and')}: add it")
        return found

    def pairs(self, node: Node, what: str) -> list[tuple[Text, Node]]:
        """A mapping with different texts as keys."""
        if not isinstance(node, Fields):
            self.refuse(node, f"{what}: write a mapping, `key: value`, not {_said(node)}")
        seen: dict[str, Text] = {}
        found = []
        for key, value in node.pairs:
            if not isinstance(key, Text) or key.read_as != "str":
                self.refuse(key, f"{_said(key)} as a key in {what}: write a text, quoted")
            if seen.setdefault(key.text, key) is not key:
                line = seen[key.text].place.line
                self.refuse(key, f"{key.text!r:.80} stands in line {line} already: write it once")
            found.append((key, value))
        return found

    def items(self, node: Node, what: str, most: int) -> list[Node]:
        """A list of at least one and at most so many."""
        if not isinstance(node, Items):
            self.refuse(node, f"`{what}`: write a list, [a, b], not {_said(node)}")
        if not node.items:
            self.refuse(node, f"`{what}` is empty: write at least one, or leave it out for any")
        self.ask(node, lambda: within(what, node.items, most))
        return node.items

    def texts(
        self, node: Node, what: str, most: int, check: Callable[[str], object]
    ) -> tuple[str, ...]:
        """A list of different texts, each of them right."""
        seen: dict[str, Node] = {}

        def read(one: Node) -> str:
            text = self.text(one, what)
            self.ask(one, lambda: check(text))
            if seen.setdefault(text, one) is not one:
                self.refuse(one, f"{text!r:.80} stands in `{what}` already: write it once")
            return text

        return self.each(self.items(node, what, most), read)

    def text(self, node: Node, what: str) -> str:
        """A text; what YAML reads as something else has to be quoted."""
        if not isinstance(node, Text):
            self.refuse(node, f"`{what}`: write a text, not {_said(node)}")
        if node.read_as != "str":
            self.refuse(
                node,
                f'`{what}`: {_said(node)} where a text is due: write "{node.text:.80}", quoted',
            )
        return node.text

    def choice(self, node: Node, what: str, choices: tuple[Choice, ...]) -> Choice:
        """One of a few words."""
        text = self.text(node, what)
        found = next((choice for choice in choices if choice == text), None)
        if found is None:
            self.refuse(node, f"`{what}` is {text!r:.80}: write {any_of(choices)}")
        return found

    def truth(self, node: Node, what: str) -> bool:
        """True or false."""
        if not isinstance(node, Text) or node.read_as != "bool":
            self.refuse(node, f"`{what}`: write true or false, not {_said(node)}")
        return _TRUTHS[node.text.lower()]

    def each(self, parts: Sequence[Part], read: Callable[[Part], Value]) -> tuple[Value, ...]:
        """All parts, read. Raises Unreadable after the last one if any was."""
        found = self.some(parts, read)
        if len(found) < len(parts):
            raise Unreadable
        return found

    def some(self, parts: Sequence[Part], read: Callable[[Part], Value]) -> tuple[Value, ...]:
        """What can be read of the parts."""
        found = []
        for part in parts:
            try:
                found.append(read(part))
            except Unreadable:
                continue
        return tuple(found)

    def tried(self, read: Callable[[], Value], otherwise: Other) -> Value | Other:
        """What is read, or what stands for it until the problems are raised."""
        try:
            return read()
        except Unreadable:
            return otherwise

    def ask(self, node: Node, check: Callable[[], Value]) -> Value:
        """What a check gives; what it refuses is a problem of this node."""
        try:
            return check()
        except InvalidValueError as error:
            self.refuse(node, str(error))

    def refuse(self, node: Node, message: str) -> NoReturn:
        """Notes a problem and leaves the part."""
        self.note(node, message)
        raise Unreadable

    def note(self, node: Node, message: str) -> None:
        """Notes a problem."""
        if len(self._problems) >= limits.PROBLEMS_MAX:
            self._more += 1
            return
        place = node.place
        self._problems.append(
            Problem(subject=self._subject, line=place.line, column=place.column, message=message)
        )


def is_nothing(node: Node) -> bool:
    """True where nothing is written after a key."""
    return isinstance(node, Text) and node.read_as == "null"


def any_of(words: Sequence[str], last: str = "or") -> str:
    """`a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _said(node: Node) -> str:
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Fields):
        return "a mapping"
    names = {"str": "a text", "int": "a number", "float": "a number", "bool": "a truth value"}
    return names.get(node.read_as, "nothing" if node.read_as == "null" else f"a {node.read_as}")
