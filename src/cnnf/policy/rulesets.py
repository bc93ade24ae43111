"""Sets of rules as whole numbers (bit i is rule i), and how a line is divided among them.

The Defender's tables hold these numbers and decide with the same functions.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cnnf.policy.errors import InvalidValueError
from cnnf.policy.limits import SET_BYTES_MAX


class Selected(NamedTuple):
    """The rules that select something as their source, and as their destination."""

    source: int
    destination: int

    def __or__(self, other: "Selected") -> "Selected":
        return Selected(self.source | other.source, self.destination | other.destination)


NOTHING = Selected(0, 0)


def first_match(rules: int) -> int:
    """The first rule of a set, -1 of the empty one."""
    return (rules & -rules).bit_length() - 1


def decide(sources: int, destinations: int, ports: int, protocol: int, judging: int) -> int:
    """The rule that decides, -1 where none does: the first that is in all five sets.

    `judging` is the list that judges (`Compiled.list_rules`).
    """
    return first_match(judging & protocol & ports & sources & destinations)


class _Tally:
    """How often each bit was added, in planes: plane k holds bit k of every count.

    Adding and taking away a set costs one operation a plane, whatever number of bits it has, so
    sweeping n overlapping ranges is n log n and never n².
    """

    def __init__(self) -> None:
        self._planes: list[int] = []

    def add(self, rules: int) -> None:
        carry = rules
        for number, plane in enumerate(self._planes):
            if not carry:
                return
            self._planes[number] = plane ^ carry
            carry &= plane
        if carry:
            self._planes.append(carry)

    def take(self, rules: int) -> None:
        borrow = rules
        for number, plane in enumerate(self._planes):
            if not borrow:
                return
            self._planes[number] = plane ^ borrow
            borrow &= ~plane
        assert not borrow, "taken away what was never added"

    def held(self) -> int:
        """Every bit whose count isn't zero."""
        found = 0
        for plane in self._planes:
            found |= plane
        return found


def divide(ranges: Iterable[tuple[int, int, int]], line_max: int) -> tuple[list[int], list[int]]:
    """Divides a line from 0 to `line_max` where the set of rules changes.

    Takes (first, last, rules). Gives the sorted starts, beginning with 0, and the set of each
    stretch; neighbours differ. Raises InvalidValueError where the sets would take more memory
    than a policy may.
    """
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for first, last, rules in ranges:
        begins.setdefault(first, []).append(rules)
        ends.setdefault(last + 1, []).append(rules)
    starts, sets = [0], [0]
    tally, size = _Tally(), 0
    for at in sorted(begins.keys() | ends.keys()):
        for rules in begins.get(at, ()):
            tally.add(rules)
        for rules in ends.get(at, ()):
            tally.take(rules)
        held = tally.held()
        if at > line_max or held == sets[-1]:
            continue
        if at == 0:
            sets[0] = held
            continue
        size += held.bit_length() // 8
        if size > SET_BYTES_MAX:
            raise InvalidValueError(
                f"the policy's subnets and ports overlap so much that its sets take more than "
                f"{SET_BYTES_MAX // 2**20} MiB: use fewer rules or fewer subnets"
            )
        starts.append(at)
        sets.append(held)
    return starts, sets
