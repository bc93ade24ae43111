"""What a benchmark is: its name, its cases, and how they are measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from bench.rows import Row


class Tell(Protocol):
    """Told to the person who waits: one line, without a newline; one that stays if `last`."""

    def __call__(self, line: str, last: bool = False) -> None: ...


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """Some cases that are measured in the same surroundings.

    `cases` says how many seconds each may take in a run of the usual length.
    `measure(cases, deadline, tell)` measures these cases until the monotonic clock shows
    `deadline`, in seconds, and returns their rows: `NAME-CASE-FIGURE` each. It raises BenchError,
    and Unfit when this machine has not what it needs.
    """

    name: str
    cases: Mapping[str, float]
    measure: Callable[[Sequence[str], float, Tell], list[Row]]
