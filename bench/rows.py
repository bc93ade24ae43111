"""What a run leaves: one row a figure, as a table for people and as JSON for programs. Pure."""

import math
from collections.abc import Iterable, Sequence

import msgspec

from bench.ratios import Ratio


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure. `name` is stable; `value` is with cnnf, `baseline` without, `ratio` their ratio.

    `ratio` is the median of the pairs' ratios, so it may differ from value / baseline. The fields
    after it are there where they make sense: the ends of its 95 % interval, the number of pairs,
    and the share of connections that the kernel had to ask the packet loop about.
    """

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float
    ratio_low: float | None = None
    ratio_high: float | None = None
    pairs: int | None = None
    asked: float | None = None


def row(
    name: str, unit: str, value: float, baseline: float, ratio: Ratio, asked: float | None = None
) -> Row:
    """A row with an interval; one without bounds is left out, as JSON knows no infinity."""
    bounded = math.isfinite(ratio.high)
    return Row(
        name=name,
        value=round(value, 2),
        unit=unit,
        baseline=round(baseline, 2),
        ratio=round(ratio.median, 4),
        ratio_low=round(ratio.low, 4) if bounded else None,
        ratio_high=round(ratio.high, 4) if bounded else None,
        pairs=ratio.pairs,
        asked=None if asked is None else round(asked, 4),
    )


def as_json(rows: Sequence[Row]) -> bytes:
    """The rows as a JSON list, readable. Raises ValueError when two have the same name."""
    names = [one.name for one in rows]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"rows of the same name: {', '.join(sorted(twice))}")
    return msgspec.json.format(msgspec.json.encode(list(rows)), indent=2) + b"\n"


_HEADINGS = ("figure", "with cnnf", "without", "unit", "ratio", "95 % interval", "pairs", "asked")


def as_table(rows: Iterable[Row]) -> str:
    """The rows as aligned columns, names and units to the left, numbers to the right."""
    lines = [_HEADINGS, *(_cells(one) for one in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    left = (0, 3)
    texts = []
    for line in lines:
        cells = (
            cell.ljust(width) if column in left else cell.rjust(width)
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
        _number(one.baseline),
        one.unit,
        f"{one.ratio:.3f}",
        interval,
        "" if one.pairs is None else str(one.pairs),
        "" if one.asked is None else f"{one.asked:.1%}",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"
