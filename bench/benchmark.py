"""What a benchmark is: its name, its cases, and how they are measured."""

from collections.abc import Callable, Sequence

import msgspec

from bench.rows import Row

#: Told to the person who waits: one line, without a newline.
Tell = Callable[[str], None]


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """Some cases that are measured in the same surroundings.

    `measure(cases, deadline, tell)` measures these cases until the monotonic clock shows
    `deadline`, in seconds, and returns their rows: `NAME-CASE-FIGURE` each. It raises BenchError.
    """

    name: str
    cases: tuple[str, ...]
    measure: Callable[[Sequence[str], float, Tell], list[Row]]
