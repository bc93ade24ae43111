import pytest
from bench.generations import Burst
from bench.generator import Load
from bench.switching import Seen, rows_of


@pytest.mark.parametrize(
    ("failures", "counted", "reached"),
    [
        (0, 1_000, (True, True, True)),
        (1, 1_000, (False, True, True)),
        (0, 999, (True, False, True)),
        (0, 1_001, (True, True, False)),
    ],
)
def test_what_is_lost_uncounted_or_counted_twice_misses_its_target(
    failures: int, counted: int, reached: tuple[bool, ...]
) -> None:
    load = Load(
        connections=1_000,
        seconds=1.0,
        p50_us=50.0,
        p99_us=90.0,
        max_us=12_300.0,
        failures=failures,
        error="",
    )
    change = Burst(began=5.0, ended=5.25, transactions=2)
    rows = {
        row.name.removeprefix("switch-flows-100000-"): row
        for row in rows_of(Seen(port=8000, load=load, change=change), counted)
    }
    assert tuple(rows[name].reached for name in ("lost", "uncounted", "counted-twice")) == reached
    assert rows["time"].value == 250.0
    assert rows["longest-connect"].value == 12.3
