"""Whose an answer is: only of those who have asked there, and of all of them in the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import answers as answers_module
from cnnf.defender.core.answers import Asker, Awaited, Place

PLACE, OTHER = Place(b"\x0a\0\0\1", 443, 6), Place(b"\x0a\0\0\1", 443, 17)
BACKUP, CURL, WGET = Asker(7, 0), Asker(9, 4711), Asker(9, 4712)


def test_the_only_one_who_asked_gets_every_answer() -> None:
    awaited = Awaited()
    awaited.ask(PLACE, BACKUP, 2)
    assert awaited.answer(PLACE, 1) == ([(BACKUP, 1)], 0)
    assert awaited.answer(PLACE, 2) == ([(BACKUP, 1)], 1)
    # What nobody has asked for, though it is told late, is theirs all the same.
    assert awaited.last_resort(PLACE) == BACKUP


def test_nobody_asked_nobody_is_answered() -> None:
    awaited = Awaited()
    awaited.ask(PLACE, BACKUP, 1)
    assert awaited.answer(OTHER, 1) == ([], 1)
    assert awaited.last_resort(OTHER) is None


def test_several_get_as_many_as_they_asked() -> None:
    awaited = Awaited()
    awaited.ask(PLACE, CURL, 1)
    awaited.ask(PLACE, BACKUP, 2)
    awaited.ask(PLACE, WGET, 1)
    assert awaited.answer(PLACE, 3) == ([(BACKUP, 2), (CURL, 1)], 0)
    assert awaited.answer(PLACE, 1) == ([(WGET, 1)], 0)


def test_beyond_the_bound_the_places_asked_longest_ago_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers_module, "ANSWERS_AWAITED_MAX", 3)
    awaited = Awaited()
    awaited.ask(PLACE, CURL, 1)
    awaited.ask(OTHER, CURL, 1)
    awaited.ask(PLACE, BACKUP, 1)
    awaited.ask(PLACE, BACKUP, 1)
    awaited.ask(PLACE, WGET, 1)
    assert awaited.answer(OTHER, 1) == ([], 1)
    assert awaited.answer(PLACE, 4) == ([(BACKUP, 2), (CURL, 1), (WGET, 1)], 0)


askers = st.sampled_from([BACKUP, CURL, WGET])
places = st.sampled_from([PLACE, OTHER])


@given(
    st.lists(st.tuples(st.just("ask"), places, askers, st.integers(1, 3)), max_size=12),
    st.lists(st.tuples(places, st.integers(1, 5)), max_size=8),
)
def test_every_answer_goes_to_somebody_who_asked(
    asks: list[tuple[str, Place, Asker, int]], answers: list[tuple[Place, int]]
) -> None:
    awaited = Awaited()
    who: dict[Place, dict[Asker, int]] = {}
    for _, place, asker, attempts in asks:
        awaited.ask(place, asker, attempts)
        asked = who.setdefault(place, {})
        asked[asker] = asked.get(asker, 0) + attempts
    got: dict[Place, dict[Asker, int]] = {}
    for place, number in answers:
        shares, left = awaited.answer(place, number)
        assert sum(share for _, share in shares) + left == number
        assert all(share > 0 for _, share in shares)
        for asker, share in shares:
            so_far = got.setdefault(place, {})
            so_far[asker] = so_far.get(asker, 0) + share
        # Nobody gets more than they asked, and nothing is left while somebody has asked for it.
        assert all(count <= who[place][one] for one, count in got.get(place, {}).items())
        if left:
            assert got.get(place, {}) == {one: n for one, n in who.get(place, {}).items() if n}
            assert (awaited.last_resort(place) is None) == (place not in who)
