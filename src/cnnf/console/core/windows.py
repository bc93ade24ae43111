"""Time windows: their text form, their bounds, and the resolution that answers them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from cnnf.console import limits
from cnnf.console.errors import Refused

Resolution = Literal["minute", "hour", "day"]

#: Bucket length in milliseconds.
BUCKET_MS: dict[Resolution, int] = {
    "minute": limits.MINUTE_MS,
    "hour": limits.HOUR_MS,
    "day": limits.DAY_MS,
}
#: Finest first: (resolution, longest window it answers, how far back it reaches). A window of 6 h
#: over 1,500 edges reads at most 540,000 minute buckets, about a quarter of a second.
RESOLUTIONS: tuple[tuple[Resolution, int, int], ...] = (
    ("minute", 6 * limits.HOUR_MS, limits.MINUTES_KEPT_MS),
    ("hour", 14 * limits.DAY_MS, limits.HOURS_KEPT_MS),
    ("day", limits.DAYS_KEPT_MS, limits.DAYS_KEPT_MS),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"m": limits.MINUTE_MS, "h": limits.HOUR_MS, "d": limits.DAY_MS}


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """`[start, end)` in milliseconds; `start` lies on a bucket of `resolution`."""

    start: int
    end: int
    resolution: Resolution


def _length(text: str) -> int | None:
    """Milliseconds of a number and m, h or d; None when it is none."""
    digits, unit = text[:-1], text[-1:]
    # isdecimal alone also takes the digits of other scripts.
    if unit not in _UNITS or not (digits.isascii() and digits.isdecimal() and len(digits) <= 6):
        return None
    return int(digits) * _UNITS[unit]


def parse_length(text: str) -> int:
    """Milliseconds of `5m` to `31d`. Raises Refused, naming `query.window`."""
    length = _length(text)
    if length is None:
        raise Refused(
            f"{text!r:.40} is no window: a number and m, h or d, such as 15m, 1h or 7d",
            where="query.window",
        )
    if not limits.WINDOW_MIN_MS <= length <= limits.WINDOW_MAX_MS:
        raise Refused(f"{text} is out of range: a window is 5m to 31d", where="query.window")
    return length


def last(length: int, now: int) -> Window:
    """The window of this length that ends now."""
    return between(now - length, now, now)


def between(start: int, end: int, now: int) -> Window:
    """The window from start to end, widened to whole buckets at its start."""
    if not 0 <= start < end:
        raise Refused("the window ends before it starts", where="query.from")
    if end - start > limits.WINDOW_MAX_MS:
        raise Refused("a window is at most 31d long", where="query.from")
    fitting: Iterator[Resolution] = (
        resolution
        for resolution, longest, reach in RESOLUTIONS
        if end - start <= longest and start >= now - reach
    )
    resolution: Resolution = next(fitting, "day")
    return Window(start=start - start % BUCKET_MS[resolution], end=end, resolution=resolution)


def text(time_ms: int) -> str:
    """The time as the API writes it: `2026-01-31T12:00:00.000Z`."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(value: str, where: str) -> int:
    """Milliseconds of an RFC 3339 time. Raises Refused, naming `where`."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        result = (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError) as error:
        raise Refused(f"{value!r:.40} is no time such as 2026-01-31T12:00:00Z", where=where) from (
            error
        )
    if not 0 <= result < 2**47:
        raise Refused(f"{value!r:.40} is out of range", where=where)
    return result


def parse_moment(value: str, where: str, now: int) -> int:
    """Milliseconds of an RFC 3339 time, or of so long ago: `15m`, `6h`, `7d`. Raises Refused,
    naming `where`."""
    length = _length(value)
    return parse_time(value, where) if length is None else max(0, now - length)
