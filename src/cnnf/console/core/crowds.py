"""Who may be on a side, as two policies tell people apart.

A draft and the policy in force see of somebody only which rules select them. Whoever both policies
take for the same is of one *class*; a side is a *crowd*, the set of its classes. Thousands of
instances make a few classes, a million flows some thousands of crowds.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cnnf.policy.compiled import Compiled
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import selected_by
from cnnf.policy.rulesets import Selected


class Class(NamedTuple):
    """What both policies see of somebody; `container`: it is one."""

    container: bool
    draft: Selected
    before: Selected


class Crowd(NamedTuple):
    """Numbers of classes, in order; `whole`: nobody else can be there."""

    classes: tuple[int, ...]
    whole: bool


class Crowds:
    """Classes and crowds, each with a number of its own."""

    def __init__(self, draft: Compiled, before: Compiled) -> None:
        self._draft = draft
        self._before = before
        self.classes: list[Class] = []
        self.crowds: list[Crowd] = []
        self._class_numbers: dict[Class, int] = {}
        self._crowd_numbers: dict[Crowd, int] = {}

    def class_of(self, one: Candidate) -> int:
        """The class of somebody."""
        found = Class(
            one.identity is not None and one.identity.kind == "container",
            selected_by(self._draft, one),
            selected_by(self._before, one),
        )
        number = self._class_numbers.get(found)
        if number is None:
            number = self._class_numbers[found] = len(self.classes)
            self.classes.append(found)
        return number

    def crowd_of(self, candidates: Iterable[Candidate], *, whole: bool) -> int:
        """The crowd of all of these."""
        return self.crowd(sorted(set(map(self.class_of, candidates))), whole=whole)

    def crowd(self, classes: Sequence[int], *, whole: bool) -> int:
        """The crowd of these classes, which are different and in order."""
        found = Crowd(tuple(classes), whole)
        number = self._crowd_numbers.get(found)
        if number is None:
            number = self._crowd_numbers[found] = len(self.crowds)
            self.crowds.append(found)
        return number
