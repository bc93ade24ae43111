"""Patterns with `*`, and an index that finds the patterns a text matches without trying them all.

A pattern is in no case a regular expression: matching takes each literal part at its first place
from the left, so its cost is the text's length times the parts, whatever somebody writes.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from cnnf.policy.errors import InvalidValueError
from cnnf.policy.limits import VALUE_CHARS_MAX

Value = TypeVar("Value")


class Pattern(msgspec.Struct, frozen=True, gc=False):
    """`*` anywhere, case-insensitive. `parts` are the literal texts between the stars."""

    parts: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """True when the whole text is matched; `text` is in lower case already."""
        parts = self.parts
        if len(parts) == 1:
            return text == parts[0]
        first, last = parts[0], parts[-1]
        if not text.startswith(first):
            return False
        at, end = len(first), len(text) - len(last)
        if end < at or not text.endswith(last):
            return False
        for part in parts[1:-1]:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


ANYTHING = Pattern(("", ""))


def pattern(text: str) -> Pattern:
    """The pattern that a text writes; several stars together are one."""
    parts = text.lower().split("*")
    middle = [part for part in parts[1:-1] if part]
    return Pattern((parts[0], *middle, parts[-1]) if len(parts) > 1 else (parts[0],))


def split_exclusion(text: str) -> tuple[bool, str]:
    """Whether a value excludes (a leading `-`), and the value without it.

    Raises InvalidValueError when nothing is left, when it is too long, or has characters that
    nothing could match.
    """
    excludes = text.startswith("-")
    value = text[1:] if excludes else text
    if not value:
        raise InvalidValueError(f"{text!r} is empty: write a value, or `*` for any")
    if len(value) > VALUE_CHARS_MAX:
        raise InvalidValueError(f"a value of {len(value)} characters: at most {VALUE_CHARS_MAX}")
    if not value.isprintable() or " " in value:
        raise InvalidValueError(f"{text!r:.80} has a space or a character that can't be printed")
    return excludes, value


class PatternIndex(Generic[Value]):
    """Values by pattern. Built once, then only read.

    Found by the whole text where a pattern has no star, else by its literal beginning or end, so
    that 10,000 patterns cost a few look-ups; only patterns that begin and end with `*` are tried
    one by one.
    """

    def __init__(self) -> None:
        self._exact: dict[str, list[Value]] = {}
        self._beginnings: dict[int, dict[str, list[tuple[Pattern, Value]]]] = {}
        self._ends: dict[int, dict[str, list[tuple[Pattern, Value]]]] = {}
        self._anything: list[Value] = []
        self._others: list[tuple[Pattern, Value]] = []

    def add(self, one: Pattern, value: Value) -> None:
        """Let a value be found by every text that the pattern matches."""
        first, last = one.parts[0], one.parts[-1]
        if len(one.parts) == 1:
            self._exact.setdefault(first, []).append(value)
        elif first:
            places = self._beginnings.setdefault(len(first), {})
            places.setdefault(first, []).append((one, value))
        elif last:
            self._ends.setdefault(len(last), {}).setdefault(last, []).append((one, value))
        elif one == ANYTHING:
            self._anything.append(value)
        else:
            self._others.append((one, value))

    def find(self, text: str) -> Iterator[Value]:
        """The values of all patterns that match; `text` in lower case."""
        yield from self._exact.get(text, ())
        yield from self._anything
        for one, value in self._possible(text):
            if one.matches(text):
                yield value

    def _possible(self, text: str) -> Iterator[tuple[Pattern, Value]]:
        for length, places in self._beginnings.items():
            yield from places.get(text[:length], ())
        for length, places in self._ends.items():
            yield from places.get(text[-length:], ())
        yield from self._others
