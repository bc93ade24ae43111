import json
import math

import pytest
from bench.ratios import Ratio
from bench.rows import Row, as_json, as_table, row

_RATIO = Ratio(median=0.98041, low=0.9512, high=1.01, pairs=24)
_NO_BOUNDS = Ratio(median=1.0, low=0.0, high=math.inf, pairs=3)


def test_json_is_a_list_of_rows_with_stable_fields() -> None:
    rows = [row("connect-x-rate", "connections/s", 19_600.126, 20_000.0, _RATIO, 0.00004)]
    assert json.loads(as_json(rows)) == [
        {
            "name": "connect-x-rate",
            "value": 19_600.13,
            "unit": "connections/s",
            "baseline": 20_000.0,
            "ratio": 0.9804,
            "ratio_low": 0.9512,
            "ratio_high": 1.01,
            "pairs": 24,
            "asked": 0.0,
        }
    ]


def test_json_has_no_infinity_and_no_nulls() -> None:
    (only,) = json.loads(as_json([row("x", "µs", 1.0, 1.0, _NO_BOUNDS)]))
    assert only == {
        "name": "x", "value": 1.0, "unit": "µs", "baseline": 1.0, "ratio": 1.0, "pairs": 3,
    }  # fmt: skip


def test_json_of_a_figure_without_pairs() -> None:
    plain = Row(name="x", value=1.0, unit="s", baseline=2.0, ratio=0.5)
    (only,) = json.loads(as_json([plain]))
    assert set(only) == {"name", "value", "unit", "baseline", "ratio"}


def test_json_of_nothing_is_an_empty_list() -> None:
    assert json.loads(as_json([])) == []


def test_two_rows_of_one_name_are_refused() -> None:
    same = row("x", "µs", 1.0, 1.0, _RATIO)
    with pytest.raises(ValueError, match="same name: x"):
        as_json([same, same])


def test_the_table_is_aligned() -> None:
    text = as_table(
        [
            row("connect-x-rate", "connections/s", 19_600.1, 20_000.0, _RATIO, 0.0),
            row("connect-x-p50", "µs", 12.34, 11.0, _NO_BOUNDS),
        ]
    )
    head, rate, latency = text.splitlines()
    assert rate.split() == [
        "connect-x-rate", "19,600", "20,000", "connections/s",
        "0.980", "0.951", "to", "1.010", "24", "0.0%",
    ]  # fmt: skip
    assert latency.split() == ["connect-x-p50", "12.3", "11.0", "µs", "1.000", "3"]
    assert head.index("unit") == rate.index("connections/s") == latency.index("µs")
    end = head.index("with cnnf") + len("with cnnf")
    assert rate[:end].endswith("19,600")
    assert latency[:end].endswith("12.3")
