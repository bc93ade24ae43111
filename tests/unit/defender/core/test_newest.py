"""Generations of a stream: only newer ones, and whatever a new stream says first."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.newest import Newest


class Told(msgspec.Struct, frozen=True):
    """Something of which there are generations."""

    generation: int
    text: str = ""


def test_within_a_stream_only_newer_ones_are_followed() -> None:
    newest: Newest[Told] = Newest()
    newest.opened()
    assert [newest.take(Told(number)) for number in (3, 3, 2, 4, 1, 5)] == [
        *(True, False, False, True, False, True)
    ]
    assert newest.value == Told(5)
    assert not newest.take(Told(5, "another"))


def test_a_console_that_went_back_to_a_backup_is_followed() -> None:
    newest = Newest(Told(9))
    newest.opened()
    assert newest.take(Told(4))
    assert not newest.take(Told(3))
    assert newest.take(Told(5))


def test_a_new_stream_that_says_the_same_is_no_news() -> None:
    newest = Newest(Told(9))
    newest.opened()
    assert not newest.take(Told(9))
    # It was the first: what comes after it has to be newer.
    assert not newest.take(Told(8))
    newest.opened()
    assert newest.take(Told(9, "another Console's"))


def test_what_came_by_another_way_is_not_the_first_of_a_stream() -> None:
    newest = Newest(Told(5))
    newest.opened()
    newest.ahead(Told(7))
    # Said by the Console as it was before its backup: now this one counts.
    assert newest.take(Told(6))


@given(st.lists(st.lists(st.integers(1, 9), min_size=1)))
def test_it_ends_where_the_last_stream_does(streams: list[list[int]]) -> None:
    newest: Newest[Told] = Newest()
    for stream in streams:
        newest.opened()
        followed = [number for number in stream if newest.take(Told(number))]
        # The first may be what is followed already.
        assert followed == sorted(set(followed))
        assert newest.value == Told(max(stream[0], *stream))
