"""Windows from text, and the buckets that answer them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.errors import Refused

NOW = 1_790_000_000_000


@pytest.mark.parametrize(
    ("text", "minutes"), [("5m", 5), ("1h", 60), ("24h", 1440), ("7d", 10_080), ("31d", 44_640)]
)
def test_lengths(text: str, minutes: int) -> None:
    assert windows.parse_length(text) == minutes * limits.MINUTE_MS


@given(st.text(max_size=8))
def test_any_other_text_is_refused_by_its_place(text: str) -> None:
    try:
        length = windows.parse_length(text)
    except Refused:
        return
    assert limits.WINDOW_MIN_MS <= length <= limits.WINDOW_MAX_MS


@pytest.mark.parametrize(
    ("length", "resolution"),
    [("5m", "minute"), ("6h", "minute"), ("7h", "hour"), ("14d", "hour"), ("31d", "day")],
)
def test_longer_windows_are_answered_by_coarser_buckets(length: str, resolution: str) -> None:
    assert windows.last(windows.parse_length(length), NOW).resolution == resolution


def test_windows_of_long_ago_use_what_is_still_kept() -> None:
    day = limits.DAY_MS
    for ago, resolution in ((3, "minute"), (10, "hour"), (100, "day")):
        start = NOW - ago * day
        window = windows.between(start, start + limits.HOUR_MS, NOW)
        assert window.resolution == resolution
        assert window.start <= start
        assert window.start % windows.BUCKET_MS[window.resolution] == 0


def test_a_window_ends_after_it_starts_and_is_bounded() -> None:
    for start, end in ((5, 5), (6, 5), (-1, 5), (NOW - 32 * limits.DAY_MS, NOW)):
        with pytest.raises(Refused):
            windows.between(start, end, NOW)


@given(st.integers(0, 2**47 - 1))
def test_times_come_back_as_they_went(moment: int) -> None:
    written = windows.text(moment)
    assert written.endswith("Z")
    assert windows.parse_time(written, "x") == moment


@given(st.text(max_size=30))
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    with contextlib.suppress(Refused):
        assert windows.parse_time(text, "query.from") >= 0


def test_a_moment_is_a_time_or_how_long_ago() -> None:
    assert windows.parse_moment("90m", "query.since", NOW) == NOW - 90 * limits.MINUTE_MS
    assert windows.parse_moment("999999d", "query.since", NOW) == 0
    assert windows.parse_moment(windows.text(NOW - 7), "query.since", NOW) == NOW - 7
    for text in ("", "m", "1s", "-1h", "soon", "٣h"):
        with pytest.raises(Refused) as refused:
            windows.parse_moment(text, "query.since", NOW)
        assert refused.value.where == "query.since"
