import random

import pytest
from bench.generator import Load
from bench.rows import Target
from bench.series import PAIRS_ENOUGH, Comparison, Series

_MAIN = Comparison(of="cnnf", against="none", targets={"rate": Target(at_least=0.97)})
_AGAIN = Comparison(of="none-again", against="none", suffix="-none-again")
_RIVAL = Comparison(of="rival", against="none", suffix="-rival", pairs_most=2)


def _load(rate: float) -> Load:
    return Load(
        connections=round(rate),
        seconds=1.0,
        p50_us=1e6 / rate,
        p99_us=2e6 / rate,
        max_us=3e6 / rate,
        failures=0,
        error="",
    )


def _round(series: Series, asked: int = 0, **rates: float) -> None:
    loads = {name.replace("_", "-"): _load(rate) for name, rate in rates.items()}
    series.add(loads, asked, loads["cnnf"].connections)


def test_a_rival_takes_part_until_it_has_its_pairs() -> None:
    series = Series((_MAIN, _AGAIN, _RIVAL))
    for _ in range(2):
        assert series.wanted() == {"cnnf", "none", "none-again", "rival"}
        _round(series, cnnf=90, none=100, none_again=100, rival=50)
    assert series.wanted() == {"cnnf", "none", "none-again"}
    _round(series, cnnf=90, none=100, none_again=100)
    rows = {row.name: row for row in series.rows("x", asked_by="cnnf")}
    assert rows["x-rate"].pairs == 3
    assert rows["x-rate-rival"].pairs == 2
    assert rows["x-rate-rival"].ratio == 0.5


def test_rows_are_named_for_figure_and_comparison() -> None:
    series = Series((_MAIN, _AGAIN))
    _round(series, asked=5, cnnf=98, none=100, none_again=101)
    rows = series.rows("connect-x", asked_by="cnnf")
    assert [row.name for row in rows] == [
        "connect-x-rate", "connect-x-p50", "connect-x-p99",
        "connect-x-rate-none-again", "connect-x-p50-none-again", "connect-x-p99-none-again",
    ]  # fmt: skip
    assert [row.against for row in rows] == ["none"] * 6
    # What cnnf was asked about says nothing of a row without cnnf.
    assert [row.asked for row in rows] == [round(5 / 98, 4)] * 3 + [None] * 3
    assert [row.target for row in rows] == [Target(at_least=0.97)] + [None] * 5


def test_a_comparison_that_no_round_has_makes_no_row() -> None:
    series = Series((_MAIN, _RIVAL))
    _round(series, cnnf=98, none=100)
    assert [row.name for row in series.rows("x", asked_by="")] == ["x-rate", "x-p50", "x-p99"]


def test_it_is_precise_when_all_that_decide_are() -> None:
    series = Series((_MAIN, _AGAIN, _RIVAL))
    for _ in range(PAIRS_ENOUGH - 1):
        _round(series, cnnf=90, none=100, none_again=100)
    assert not series.precise()
    _round(series, cnnf=90, none=100, none_again=100)
    assert series.precise()
    seeded = random.Random(1)
    for _ in range(4 * PAIRS_ENOUGH):
        _round(series, cnnf=90, none=100, none_again=100 * seeded.uniform(0.5, 1.5))
    assert not series.precise()


def test_no_rounds_have_no_share() -> None:
    series = Series((_MAIN,))
    assert (series.rounds, series.asked) == (0, 0.0)
    with pytest.raises(ValueError, match="make no pairs"):
        series.ratio(_MAIN, "rate")
