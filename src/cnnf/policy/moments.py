"""Moments in a policy's text: `2026-12-31T18:00:00Z`, in the program milliseconds since 1970.

Asks no clock: whoever judges hands in what time it is.
"""

from datetime import UTC, datetime, timedelta

from cnnf.policy.errors import InvalidValueError

_START = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
#: The last second that four digits of a year can say.
MOMENT_MS_MAX = ((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _START) // _SECOND) * 1000


def moment(text: str) -> int:
    """Milliseconds since 1970 of a time with its zone, or of a day's begin in UTC (RFC 3339).

    Whole seconds only. Raises InvalidValueError.
    """
    try:
        found = datetime.fromisoformat(text)
        if len(text) == len("2026-12-31"):
            found = found.replace(tzinfo=UTC)
        if found.tzinfo is None:
            raise InvalidValueError(f"{text!r:.80} has no time zone: add Z, or as +02:00")
        seconds, rest = divmod(found - _START, _SECOND)
    except (ValueError, OverflowError):
        raise InvalidValueError(
            f"{text!r:.80} is no time: write 2026-12-31T18:00:00Z, or 2026-12-31 for its first "
            "moment in UTC"
        ) from None
    if rest:
        raise InvalidValueError(f"{text!r:.80}: write whole seconds")
    check_moment(seconds * 1000)
    return seconds * 1000


def check_moment(moment_ms: int) -> None:
    """Raises InvalidValueError for what the form can't write."""
    if not 0 <= moment_ms <= MOMENT_MS_MAX or moment_ms % 1000:
        raise InvalidValueError(
            f"{moment_ms} ms: write a whole second from 1970-01-01 to 9999-12-31"
        )


def moment_text(moment_ms: int) -> str:
    """A moment as people write it, in UTC."""
    return (_START + timedelta(milliseconds=moment_ms)).strftime("%4Y-%m-%dT%H:%M:%SZ")
