"""What a draft changes for flows between two crowds, on one stretch of ports, by one protocol.

Every class of the one crowd is judged with every class of the other, by the draft and by the policy
in force, once for all the flows that are alike.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from cnnf.console import limits
from cnnf.console.core.crowds import Crowds
from cnnf.policy.compiled import PROTOCOL_NUMBERS, Compiled
from cnnf.policy.limits import RULES_MAX
from cnnf.policy.rules import EFFECTS, Effect
from cnnf.policy.rulesets import first_match


class Change(NamedTuple):
    """One effect that is new: by the draft's rule `rule`, where `before` decided (numbers of rules,
    -1 for the default; `before` is of the policy in force).

    `sources` and `targets` are the classes that it may be about, `met` one pair of them that
    the rule decides; None: all that may be there, and any. `certain`: it is about all of them.
    """

    effect: Effect
    rule: int
    before: int
    certain: bool
    sources: tuple[int, ...] | None = None
    targets: tuple[int, ...] | None = None
    met: tuple[int, int] | None = None


class Outcome(NamedTuple):
    """Where the draft's effect is another than the policy's in force, and all its effects: each is
    new where another was recorded."""

    policy: tuple[Change, ...]
    draft: tuple[Change, ...]


class _Met(NamedTuple):
    """Classes of either side that both policies judge alike, and by which rules."""

    after: int
    before: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]


class _Alike(NamedTuple):
    """Classes that the same rules of both policies select on a port."""

    container: bool
    draft: int
    before: int
    classes: tuple[int, ...]


class _Where(NamedTuple):
    """A port, the number of the stretch that it lies in, and the protocol's number."""

    port: int
    stretch: int
    protocol: int


class Outcomes:
    """Every outcome, worked out when it is first asked for."""

    def __init__(
        self, draft: Compiled, before: Compiled, crowds: Crowds, check: Callable[[], None]
    ) -> None:
        """`check` is called in between; what it raises ends the work."""
        self._policies = draft, before
        self._crowds = crowds
        self._check = check
        self._starts = sorted({*draft.ports()[0], *before.ports()[0]})
        self._found: dict[tuple[int, int, int, int], Outcome] = {}
        self._shared: dict[tuple[int, int, bool], Outcome] = {}
        self._known: dict[tuple[int, int, int, int], list[_Alike]] = {}

    def of(self, source: int, target: int, port: int, protocol: str) -> Outcome:
        """The outcome between two crowds, by their numbers."""
        where = _Where(port, bisect_right(self._starts, port), PROTOCOL_NUMBERS[protocol])
        sources, targets = self._alike(source, 0, where), self._alike(target, 1, where)
        crowds = self._crowds.crowds
        whole = crowds[source].whole and crowds[target].whole
        if len(sources) == len(targets) == 1:
            after, before = self._decided(sources[0], targets[0], where)
            return self._single(after, before, whole)
        key = source, target, where.stretch, where.protocol
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= limits.WHAT_IF_SETS_MAX:
                self._found.clear()
            found = self._found[key] = self._several(sources, targets, where, whole)
        return found

    def _single(self, after: int, before: int, whole: bool) -> Outcome:
        """Nearly all are alike on both sides: there is one decision by each policy."""
        key = after, before, whole
        found = self._shared.get(key)
        if found is None:
            effect = self._effect(0, after)
            change = Change(effect, after, before, whole)
            changed = effect != self._effect(1, before)
            found = self._shared[key] = Outcome((change,) if changed else (), (change,))
        return found

    def _several(
        self, sources: list[_Alike], targets: list[_Alike], where: _Where, whole: bool
    ) -> Outcome:
        met = []
        for source in sources:
            self._check()
            met += [
                _Met(*self._decided(source, target, where), source.classes, target.classes)
                for target in targets
            ]
        new = [one for one in met if self._effect(0, one.after) != self._effect(1, one.before)]
        return Outcome(
            tuple(self._changes(new, whole=whole, all_met=len(met))),
            tuple(self._changes(met, whole=whole, all_met=len(met))),
        )

    def _changes(self, new: list[_Met], *, whole: bool, all_met: int) -> Iterator[Change]:
        """By effect, the rule that is the first in the draft's order."""
        for effect in EFFECTS:
            its = [one for one in new if self._effect(0, one.after) == effect]
            if not its:
                continue
            first = min(its, key=lambda one: (_place(one.after), _place(one.before)))
            yield Change(
                effect=effect,
                rule=first.after,
                before=first.before,
                certain=whole and len(its) == all_met,
                sources=tuple(sorted({number for one in its for number in one.sources})),
                targets=tuple(sorted({number for one in its for number in one.targets})),
                met=(first.sources[0], first.targets[0]),
            )

    def _decided(self, source: _Alike, target: _Alike, where: _Where) -> tuple[int, int]:
        """The rules that decide, of the draft and of the policy in force."""
        draft, before = self._policies
        container = source.container or target.container
        return (
            first_match(
                draft.judging(container, where.protocol, where.port) & source.draft & target.draft
            ),
            first_match(
                before.judging(container, where.protocol, where.port)
                & source.before
                & target.before
            ),
        )

    def _alike(self, crowd: int, side: Literal[0, 1], where: _Where) -> list[_Alike]:
        """The classes of a crowd by which of the rules on a port select them: most are alike."""
        key = crowd, side, where.stretch, where.protocol
        found = self._known.get(key)
        if found is None:
            draft, before = (
                one.protocols[where.protocol] & one.by_port(where.port) for one in self._policies
            )
            together: dict[tuple[bool, int, int], list[int]] = {}
            for number in self._crowds.crowds[crowd].classes:
                one = self._crowds.classes[number]
                sets = one.container, draft & one.draft[side], before & one.before[side]
                together.setdefault(sets, []).append(number)
            if len(self._known) >= limits.WHAT_IF_SETS_MAX:
                self._known.clear()
            found = [_Alike(*sets, tuple(numbers)) for sets, numbers in together.items()]
            self._known[key] = found
        return found

    def _effect(self, policy: Literal[0, 1], rule: int) -> Effect:
        return self._policies[policy].rules[rule].effect if rule >= 0 else EFFECTS[0]


def _place(rule: int) -> int:
    """In the order of the list; the default comes last."""
    return rule if rule >= 0 else RULES_MAX
