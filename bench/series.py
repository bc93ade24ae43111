"""The rounds of one case, and what they say of its contestants. Pure: values in, values out."""

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from bench.generator import Load
from bench.ratios import Ratio, ratio_of
from bench.rows import Row, Target, row

#: (name, unit) of each figure of a slot.
FIGURES = (("rate", "connections/s"), ("p50", "µs"), ("p99", "µs"))
#: A comparison is done when both these are known to this share of themselves, half the interval.
DECISIVE = ("rate", "p50")
PRECISION = 0.03
PAIRS_ENOUGH = 10


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two contestants that are compared, and what their rows' names end with.

    `pairs_most` bounds what is only there to be looked at; a comparison without it goes on until
    it is precise.
    """

    of: str
    against: str
    suffix: str = ""
    targets: Mapping[str, Target] = {}
    pairs_most: int = 0


class Series:
    """The rounds of one case."""

    def __init__(self, comparisons: Sequence[Comparison]) -> None:
        self._comparisons = comparisons
        self._rounds: list[Mapping[str, Load]] = []
        self._asked = self._connections = 0

    def add(self, loads: Mapping[str, Load], asked: int, connections: int) -> None:
        """Take a round: every contestant's load, and cnnf's share that reached a packet loop."""
        self._rounds.append(loads)
        self._asked += asked
        self._connections += connections

    @property
    def rounds(self) -> int:
        """How many there are."""
        return len(self._rounds)

    @property
    def asked(self) -> float:
        """The share of cnnf's connections that reached a packet loop."""
        return self._asked / self._connections if self._connections else 0.0

    def wanted(self) -> set[str]:
        """The contestants of the next round."""
        return {
            name
            for one in self._comparisons
            if not one.pairs_most or self._pairs(one) < one.pairs_most
            for name in (one.of, one.against)
        }

    def precise(self) -> bool:
        """Whether further rounds would say no more than is wanted."""
        return self.rounds >= PAIRS_ENOUGH and all(
            self.ratio(one, figure).half_width <= PRECISION
            for one in self._comparisons
            if not one.pairs_most
            for figure in DECISIVE
        )

    def ratio(self, one: Comparison, figure: str) -> Ratio:
        """How the two compare. Raises ValueError when no round has both."""
        pairs = self._values(one, figure)
        return ratio_of([value for value, _ in pairs], [base for _, base in pairs])

    def rows(self, name: str, asked_by: str) -> list[Row]:
        """A row for each comparison and figure; `asked` stands in those of `asked_by`."""
        rows = []
        for one in self._comparisons:
            if not self._pairs(one):
                continue
            for figure, unit in FIGURES:
                pairs = self._values(one, figure)
                rows.append(
                    row(
                        f"{name}-{figure}{one.suffix}",
                        unit,
                        median(value for value, _ in pairs),
                        median(base for _, base in pairs),
                        self.ratio(one, figure),
                        against=one.against,
                        asked=self.asked if one.of == asked_by else None,
                        target=one.targets.get(figure),
                    )
                )
        return rows

    def _pairs(self, one: Comparison) -> int:
        return len(self._values(one, "rate"))

    def _values(self, one: Comparison, figure: str) -> list[tuple[float, float]]:
        return [
            (_figure(loads[one.of], figure), _figure(loads[one.against], figure))
            for loads in self._rounds
            if one.of in loads and one.against in loads
        ]


def _figure(load: Load, figure: str) -> float:
    return {"rate": load.rate, "p50": load.p50_us, "p99": load.p99_us}[figure]
