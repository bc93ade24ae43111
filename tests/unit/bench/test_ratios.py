import math
import random
from statistics import median

import pytest
from bench.ratios import PAIRS_LEAST, rank_of, ratio_of
from hypothesis import given
from hypothesis import strategies as st

_FIGURES = st.floats(min_value=1e-3, max_value=1e9)


@pytest.mark.parametrize(
    # Critical values of the two-sided sign test at 5 %, plus one: any book of tables.
    ("count", "rank"),
    [(1, 0), (5, 0), (6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (20, 6), (25, 8), (40, 14)],
)
def test_the_rank_is_that_of_the_sign_test(count: int, rank: int) -> None:
    assert rank_of(count) == rank


@given(st.integers(min_value=1, max_value=400))
def test_the_interval_is_the_narrowest_that_still_holds_95_percent(count: int) -> None:
    def missed(rank: int) -> float:
        return 2.0 * sum(math.comb(count, k) for k in range(rank)) / float(2**count)

    rank = rank_of(count)
    assert missed(rank) <= 0.05 < missed(rank + 1)


def test_pairs_are_compared_one_by_one() -> None:
    # The machine was three times slower for half of the pairs: no ratio shows it.
    baselines = [100.0, 300.0] * 6
    ratio = ratio_of([base * 0.9 for base in baselines], baselines)
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((0.9, 0.9, 0.9))
    assert ratio.pairs == 12
    assert ratio.half_width == pytest.approx(0.0)


def test_one_wild_pair_does_not_decide() -> None:
    ratio = ratio_of([*[95.0] * 9, 9_000.0], [100.0] * 10)
    assert ratio.median == pytest.approx(0.95)
    assert ratio.high == pytest.approx(0.95)


def test_too_few_pairs_bound_nothing() -> None:
    ratio = ratio_of([1.0] * (PAIRS_LEAST - 1), [1.0] * (PAIRS_LEAST - 1))
    assert (ratio.low, ratio.high) == (0.0, math.inf)
    assert ratio.half_width == math.inf
    assert ratio_of([1.0] * PAIRS_LEAST, [1.0] * PAIRS_LEAST).high == 1.0


@given(st.lists(st.tuples(_FIGURES, _FIGURES), min_size=1, max_size=80))
def test_the_median_lies_within_its_interval(pairs: list[tuple[float, float]]) -> None:
    values, baselines = zip(*pairs, strict=True)
    ratio = ratio_of(values, baselines)
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.median == median(value / base for value, base in pairs)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    chance = random.Random(7)
    runs, held = 600, 0
    for _ in range(runs):
        # Skewed and heavy-tailed, as times on a busy machine are.
        baselines = [chance.lognormvariate(0, 0.5) for _ in range(15)]
        values = [0.8 * base * chance.lognormvariate(0, 0.3) for base in baselines]
        ratio = ratio_of(values, baselines)
        held += ratio.low <= 0.8 <= ratio.high
    assert held / runs >= 0.94


@pytest.mark.parametrize(
    ("values", "baselines"),
    [([], []), ([1.0], []), ([1.0, 2.0], [1.0]), ([0.0], [1.0]), ([1.0], [0.0]), ([1.0], [-1.0])],
)
def test_what_makes_no_ratio_is_refused(values: list[float], baselines: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|above zero"):
        ratio_of(values, baselines)
