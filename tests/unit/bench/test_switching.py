import pytest
from bench.errors import BenchError
from bench.generator import Load
from bench.rows import Row
from bench.switching import Seen, policy, rows_of

from cnnf.policy.form import parse_policy

_TOLD, _ACKNOWLEDGED = 1_000_000_000, 1_040_000_000


def _load(connections: int, failures: int = 0, last: tuple[int, ...] = ()) -> Load:
    return Load(
        connections=connections,
        seconds=1.0,
        p50_us=50.0,
        p99_us=90.0,
        max_us=12_300.0,
        failures=failures,
        error="",
        last_begun_ns=last,
    )


def _rows(steady: Load, barred: Load, counted: int = 1_000) -> dict[str, Row]:
    seen = Seen(steady=steady, barred=barred, told_ns=_TOLD, acknowledged_ns=_ACKNOWLEDGED)
    return {
        row.name.removeprefix("switch-flows-100000-"): row for row in rows_of(seen, counted, 1.5)
    }


_BARRED = _load(3, failures=10, last=(999_000_000, 1_010_000_000, 1_025_000_000))


@pytest.mark.parametrize(
    ("failures", "counted", "late", "missed"),
    [
        (0, 1_000, 0, None),
        (1, 1_000, 0, "lost"),
        (0, 999, 0, "uncounted"),
        (0, 1_001, 0, "counted-twice"),
        (0, 1_000, 1, "let-through"),
    ],
)
def test_each_thing_that_must_not_happen_misses_its_own_target(
    failures: int, counted: int, late: int, missed: str | None
) -> None:
    last = (*_BARRED.last_begun_ns, *(_ACKNOWLEDGED + 1 + number for number in range(late)))
    rows = _rows(_load(1_000, failures), _load(len(last), 10, last), counted)
    reached = {name: row.reached for name, row in rows.items() if row.target is not None}
    assert reached == {
        name: name != missed for name in ("lost", "uncounted", "counted-twice", "let-through")
    }
    if missed is not None:
        assert rows[missed].value == 1


def test_times_are_from_the_word_on() -> None:
    rows = _rows(_load(1_000), _BARRED)
    assert rows["time"].value == 40.0
    assert rows["in-force"].value == 25.0
    assert rows["longest-connect"].value == 12.3


@pytest.mark.parametrize("barred", [_load(0, failures=5), _load(5, last=(999_000_000,))])
def test_a_policy_that_changed_nothing_is_no_measurement(barred: Load) -> None:
    with pytest.raises(BenchError, match="both were to be seen"):
        _rows(_load(1_000), barred)


@pytest.mark.parametrize("effect", ["allow", "prevent"])
def test_the_policies_are_policies(effect: str) -> None:
    read = parse_policy(policy(effect), subject="policy.yaml")
    assert [(rule.name, rule.effect) for rule in read.hosts] == [
        ("steady", "allow"), ("barred", effect),
    ]  # fmt: skip
