"""The benchmarks there are. A new one is a module with a BENCHMARK, named in `benchmarks`."""

from collections.abc import Sequence

from bench.attribution import BENCHMARK as ATTRIBUTION
from bench.benchmark import Benchmark
from bench.connections import BENCHMARK as CONNECTIONS
from bench.decision import BENCHMARK as DECISION
from bench.directory import BENCHMARK as DIRECTORY
from bench.errors import BenchError
from bench.idle import BENCHMARK as IDLE
from bench.peers import BENCHMARK as PEERS
from bench.policy_engine import BENCHMARK as POLICY
from bench.switching import BENCHMARK as SWITCH
from bench.what_if import BENCHMARK as WHAT_IF


def benchmarks() -> tuple[Benchmark, ...]:
    """All of them, in the order in which they run."""
    return (CONNECTIONS, DECISION, SWITCH, IDLE, ATTRIBUTION, DIRECTORY, PEERS, POLICY, WHAT_IF)


def chosen(known: Sequence[Benchmark], names: Sequence[str]) -> list[tuple[Benchmark, list[str]]]:
    """The benchmarks and cases whose full name (`NAME-CASE`) is, or begins with, one of `names`.

    All when there is no name. Raises BenchError, with the names there are, for a name of nothing.
    """
    for name in names:
        if not any(_called(one, case, name) for one in known for case in one.cases):
            there = ", ".join(f"{one.name}-{case}" for one in known for case in one.cases)
            raise BenchError(f"no benchmark is called {name}; there are {there}")
    found = []
    for benchmark in known:
        cases = [
            case
            for case in benchmark.cases
            if not names or any(_called(benchmark, case, name) for name in names)
        ]
        if cases:
            found.append((benchmark, cases))
    return found


def _called(benchmark: Benchmark, case: str, name: str) -> bool:
    return f"{benchmark.name}-{case}-".startswith(f"{name}-")
