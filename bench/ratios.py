"""Interleaved pairs to one ratio and how sure of it we are. Pure: values in, values out.

Two runs of the same thing differ by up to 20 % on a busy machine, so a figure with cnnf is only
ever compared with the one without it that was measured next to it. The ratio is the median over the
pairs; its 95 % interval is the sign test's: of n independent ratios the k-th smallest and the k-th
largest hold the median between them unless fewer than k lie on one side of it, which has a
probability of 2 * P(Binomial(n, 1/2) < k). It assumes nothing about how ratios are distributed.
"""

import math
from collections.abc import Sequence
from statistics import median

import msgspec

#: An interval of 95 % confidence leaves at most this on each side.
_TAIL = 0.025
#: With fewer pairs no order statistics make a 95 % interval: 2 * 2**-5 > 0.05.
PAIRS_LEAST = 6


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """The median of some pairs' ratios between the ends of its 95 % interval.

    With fewer than PAIRS_LEAST pairs the interval is unbounded: 0 to infinity.
    """

    median: float
    low: float
    high: float
    pairs: int

    @property
    def half_width(self) -> float:
        """Half the interval's width as a share of the median; infinite when it has no bounds."""
        return (self.high - self.low) / 2 / self.median


def ratio_of(values: Sequence[float], baselines: Sequence[float]) -> Ratio:
    """Compare values with the baselines measured beside them, pair by pair.

    Raises ValueError when there is none, when they are not pairs, or one is not above zero.
    """
    if len(values) != len(baselines) or not values:
        raise ValueError(f"{len(values)} values and {len(baselines)} baselines make no pairs")
    if min(*values, *baselines) <= 0:
        raise ValueError("a figure that is not above zero has no ratio")
    ratios = sorted(value / base for value, base in zip(values, baselines, strict=True))
    rank = rank_of(len(ratios))
    return Ratio(
        median=median(ratios),
        low=ratios[rank - 1] if rank else 0.0,
        high=ratios[-rank] if rank else math.inf,
        pairs=len(ratios),
    )


def rank_of(count: int) -> int:
    """Which smallest and largest of `count` ratios bound the interval: 1 is the outermost, 0 none.

    The largest k with P(Binomial(count, 1/2) < k) <= 0.025.
    """
    below, rank = 0.0, 0
    while rank < count:
        below += math.comb(count, rank) / 2**count
        if below > _TAIL:
            break
        rank += 1
    return rank
