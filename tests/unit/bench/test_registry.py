from collections.abc import Sequence

import pytest
from bench.benchmark import Benchmark, Tell
from bench.errors import BenchError
from bench.registry import benchmarks, chosen
from bench.rows import Row


def _nothing(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    return []


_CONNECT = Benchmark(name="connect", cases={"routed-1": 1.0, "routed-64": 1.0}, measure=_nothing)
_INGEST = Benchmark(name="ingest", cases={"batches": 2.0}, measure=_nothing)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], [("connect", ["routed-1", "routed-64"]), ("ingest", ["batches"])]),
        (["connect"], [("connect", ["routed-1", "routed-64"])]),
        (["connect-routed"], [("connect", ["routed-1", "routed-64"])]),
        (["connect-routed-64"], [("connect", ["routed-64"])]),
        (["ingest-batches"], [("ingest", ["batches"])]),
        (["ingest", "connect-routed-1"], [("connect", ["routed-1"]), ("ingest", ["batches"])]),
    ],
)
def test_a_name_chooses_what_is_called_so(
    names: list[str], expected: list[tuple[str, list[str]]]
) -> None:
    found = chosen([_CONNECT, _INGEST], names)
    assert [(benchmark.name, cases) for benchmark, cases in found] == expected


@pytest.mark.parametrize("name", ["", "conn", "connect-routed-6", "elsewhere"])
def test_a_name_of_nothing_is_answered_with_the_names_there_are(name: str) -> None:
    with pytest.raises(BenchError, match="connect-routed-1, connect-routed-64, ingest-batches"):
        chosen([_CONNECT, _INGEST], ["connect", name])


def test_names_of_figures_stay() -> None:
    # Later runs are compared with earlier ones by these names: add to them, never change them.
    names = {f"{one.name}-{case}" for one in benchmarks() for case in one.cases}
    assert names >= {
        f"connect-{way}-{state}-{in_flight}"
        for way in ("routed", "outbound")
        for state in ("known", "first")
        for in_flight in (1, 64)
    }
