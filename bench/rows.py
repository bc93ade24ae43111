"""What a run leaves: one row a figure, as a table for people and as JSON for programs. Pure."""

import math
from collections.abc import Iterable, Sequence

import msgspec

from bench.ratios import Ratio


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a figure must reach: its ratio where it has one, else its value. One of the two."""

    at_least: float | None = None
    at_most: float | None = None

    def reached_by(self, value: float) -> bool:
        """Whether a value is on the right side."""
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most

    def __str__(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}"


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure. `name` is stable; `baseline` is that of `against`, `ratio` compares the two.

    `ratio` is the median of the pairs' ratios, so it may differ from value / baseline. The fields
    are there where they make sense: the ends of the ratio's 95 % interval, the number of pairs, the
    share of connections that the kernel had to ask the packet loop about, what is to be reached and
    whether it was. `sure` is false when the interval lies on both sides of the target.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    against: str | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    pairs: int | None = None
    asked: float | None = None
    target: Target | None = None
    reached: bool | None = None
    sure: bool | None = None


def row(
    name: str,
    unit: str,
    value: float,
    baseline: float,
    ratio: Ratio,
    *,
    against: str,
    asked: float | None = None,
    target: Target | None = None,
) -> Row:
    """A row with an interval; one without bounds is left out, as JSON knows no infinity."""
    bounded = math.isfinite(ratio.high)
    reached = sure = None
    if target is not None:
        reached = target.reached_by(ratio.median)
        ends = {target.reached_by(ratio.low), target.reached_by(ratio.high)}
        sure = ends == {reached}
    return Row(
        name=name,
        value=round(value, 2),
        unit=unit,
        baseline=round(baseline, 2),
        against=against,
        ratio=round(ratio.median, 4),
        ratio_low=round(ratio.low, 4) if bounded else None,
        ratio_high=round(ratio.high, 4) if bounded else None,
        pairs=ratio.pairs,
        asked=None if asked is None else round(asked, 4),
        target=target,
        reached=reached,
        sure=sure,
    )


def single(name: str, unit: str, value: float, target: Target | None = None) -> Row:
    """A row of one figure that is compared with nothing but perhaps a target."""
    return Row(
        name=name,
        value=round(value, 4),
        unit=unit,
        target=target,
        reached=None if target is None else target.reached_by(value),
    )


def as_json(rows: Sequence[Row]) -> bytes:
    """The rows as a JSON list, readable. Raises ValueError when two have the same name."""
    names = [one.name for one in rows]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"rows of the same name: {', '.join(sorted(twice))}")
    return msgspec.json.format(msgspec.json.encode(list(rows)), indent=2) + b"\n"


_HEADINGS = (
    *("figure", "value", "baseline", "unit", "against", "ratio"),
    *("95 % interval", "pairs", "asked", "target", "reached"),
)
#: Columns of words; the others are of numbers.
_LEFT = (0, 3, 4, 9, 10)


def as_table(rows: Iterable[Row]) -> str:
    """The rows as aligned columns, words to the left, numbers to the right."""
    lines = [_HEADINGS, *(_cells(one) for one in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    texts = []
    for line in lines:
        cells = (
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts) + "\n"


def _cells(one: Row) -> tuple[str, ...]:
    interval = ""
    if one.ratio_low is not None and one.ratio_high is not None:
        interval = f"{one.ratio_low:.3f} to {one.ratio_high:.3f}"
    return (
        one.name,
        _number(one.value),
        "" if one.baseline is None else _number(one.baseline),
        one.unit,
        one.against or "",
        "" if one.ratio is None else f"{one.ratio:.3f}",
        interval,
        "" if one.pairs is None else str(one.pairs),
        "" if one.asked is None else f"{one.asked:.1%}",
        "" if one.target is None else str(one.target),
        _reached(one),
    )


def _reached(one: Row) -> str:
    if one.reached is None:
        return ""
    return ("yes" if one.reached else "no") + ("?" if one.sure is False else "")


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"
