import json
import math

import pytest
from bench.ratios import Ratio
from bench.rows import Target, as_json, as_table, row, single

_RATIO = Ratio(median=0.98041, low=0.9512, high=1.01, pairs=24)
_NO_BOUNDS = Ratio(median=1.0, low=0.0, high=math.inf, pairs=3)


def test_json_is_a_list_of_rows_with_stable_fields() -> None:
    rows = [
        row(
            "connect-x-rate",
            "connections/s",
            19_600.126,
            20_000.0,
            _RATIO,
            against="none",
            asked=0.00004,
        )
    ]
    assert json.loads(as_json(rows)) == [
        {
            "name": "connect-x-rate",
            "value": 19_600.13,
            "unit": "connections/s",
            "baseline": 20_000.0,
            "against": "none",
            "ratio": 0.9804,
            "ratio_low": 0.9512,
            "ratio_high": 1.01,
            "pairs": 24,
            "asked": 0.0,
        }
    ]


def test_json_has_no_infinity_and_no_nulls() -> None:
    (only,) = json.loads(as_json([row("x", "µs", 1.0, 1.0, _NO_BOUNDS, against="none")]))
    assert only == {
        "name": "x", "value": 1.0, "unit": "µs", "baseline": 1.0, "against": "none",
        "ratio": 1.0, "pairs": 3,
    }  # fmt: skip


def test_json_of_a_figure_without_pairs() -> None:
    (only,) = json.loads(as_json([single("x", "MB", 89.0, Target(at_most=90.0))]))
    assert only == {
        "name": "x", "value": 89.0, "unit": "MB", "target": {"at_most": 90.0}, "reached": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "reached", "sure"),
    [
        (Ratio(median=0.98, low=0.975, high=0.99, pairs=9), True, True),
        (Ratio(median=0.98, low=0.96, high=0.99, pairs=9), True, False),
        (Ratio(median=0.96, low=0.95, high=0.98, pairs=9), False, False),
        (Ratio(median=0.96, low=0.95, high=0.965, pairs=9), False, True),
        (_NO_BOUNDS, True, False),
    ],
)
def test_a_target_is_reached_by_the_median_and_surely_by_the_interval(
    ratio: Ratio, reached: bool, sure: bool
) -> None:
    one = row("x", "µs", 1.0, 1.0, ratio, against="none", target=Target(at_least=0.97))
    assert (one.reached, one.sure) == (reached, sure)
    # The other way round for what must not exceed: 1 / 0.97 of it.
    mirrored = Ratio(
        median=1 / ratio.median,
        low=1 / ratio.high,
        high=math.inf if ratio.low == 0 else 1 / ratio.low,
        pairs=9,
    )
    other = row("x", "µs", 1.0, 1.0, mirrored, against="none", target=Target(at_most=1 / 0.97))
    assert (other.reached, other.sure) == (reached, sure)


def test_the_table_shows_the_target_and_whether_it_was_reached() -> None:
    target = Target(at_least=0.97)
    lines = as_table(
        [
            row("a", "µs", 1.0, 1.0, _RATIO, against="none", target=target),
            single("b", "MB", 91.0, Target(at_most=90)),
            single("c", "MB", 91.0),
        ]
    ).splitlines()
    assert [line.split()[-3:] for line in lines[1:]] == [
        [">=", "0.97", "yes?"], ["<=", "90", "no"], ["c", "91.0", "MB"],
    ]  # fmt: skip


def test_json_of_nothing_is_an_empty_list() -> None:
    assert json.loads(as_json([])) == []


def test_two_rows_of_one_name_are_refused() -> None:
    same = row("x", "µs", 1.0, 1.0, _RATIO, against="none")
    with pytest.raises(ValueError, match="same name: x"):
        as_json([same, same])


def test_the_table_is_aligned() -> None:
    text = as_table(
        [
            row(
                "connect-x-rate",
                "connections/s",
                19_600.1,
                20_000.0,
                _RATIO,
                against="none",
                asked=0.0,
            ),
            row("connect-x-p50", "µs", 12.34, 11.0, _NO_BOUNDS, against="none"),
        ]
    )
    head, rate, latency = text.splitlines()
    assert rate.split() == [
        "connect-x-rate", "19,600", "20,000", "connections/s",
        "none", "0.980", "0.951", "to", "1.010", "24", "0.0%",
    ]  # fmt: skip
    assert latency.split() == ["connect-x-p50", "12.3", "11.0", "µs", "none", "1.000", "3"]
    assert head.index("unit") == rate.index("connections/s") == latency.index("µs")
    end = head.index("value") + len("value")
    assert rate[:end].endswith("19,600")
    assert latency[:end].endswith("12.3")
