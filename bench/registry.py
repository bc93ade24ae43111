"""The benchmarks there are. A new one is a module with a BENCHMARK, named in `benchmarks`."""

from collections.abc import Sequence

from bench.benchmark import Benchmark
from bench.connections import BENCHMARK as CONNECTIONS
from bench.errors import BenchError


def benchmarks() -> tuple[Benchmark, ...]:
    """All of them, in the order in which they run."""
    return (CONNECTIONS,)


def chosen(known: Sequence[Benchmark], only: str | None) -> list[tuple[Benchmark, list[str]]]:
    """The benchmarks and cases whose full name (`NAME-CASE`) begins with `only`; all for None.

    Raises BenchError, with the names there are, when there is none.
    """
    found = []
    for benchmark in known:
        cases = [
            case
            for case in benchmark.cases
            if only is None or f"{benchmark.name}-{case}-".startswith(f"{only}-")
        ]
        if cases:
            found.append((benchmark, cases))
    if not found:
        names = ", ".join(f"{one.name}-{case}" for one in known for case in one.cases)
        raise BenchError(f"no benchmark is called {only}; there are {names}")
    return found
