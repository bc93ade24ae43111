"""Connections that no loop has told of: each told once, when it is sure, and never too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import missed as missed_module
from cnnf.defender.core.limits import REPORT_LATE_MS
from cnnf.defender.core.missed import Missed
from cnnf.defender.core.tallies import FlowKey

FLOWS = [FlowKey(bytes([10, 0, 0, host]), 0, bytes([10, 0, 0, 9]), 80, 6) for host in range(3)]
A, B, _ = FLOWS


class Book:
    """What is missing, read again and again; as late as a report may come, or at once.

    `final`: a generation begins, and what the one before had counted is then read.
    """

    def __init__(self) -> None:
        self.missed = Missed()
        self.at_ms = 0

    def settle(
        self, untold: int, *, final: bool = False, after_ms: int = REPORT_LATE_MS
    ) -> list[tuple[FlowKey, int]]:
        self.at_ms += after_ms
        if final:
            self.missed.switch()
        return self.missed.settle(untold, self.at_ms, final=final)


@pytest.fixture
def book() -> Book:
    return Book()


def test_what_is_missing_twice_is_told_once(book: Book) -> None:
    book.missed.asked(A, 3)
    book.missed.answered(A, 1)
    assert book.settle(2) == []
    assert book.settle(2, after_ms=REPORT_LATE_MS - 1) == []
    assert book.settle(2, after_ms=1) == [(A, 2)]
    assert book.settle(2) == []
    assert book.missed.told == 2


def test_after_a_generations_end_it_is_told_as_late(book: Book) -> None:
    book.missed.asked(A, 3)
    assert book.settle(3, final=True) == []
    assert book.settle(3, after_ms=10) == []
    assert book.settle(3) == [(A, 3)]
    assert book.settle(3, final=True) == []


def test_where_no_more_reports_come_it_is_told_at_once(book: Book) -> None:
    book.missed.asked(A, 3)
    book.settle(3, final=True)
    book.missed.asked(B, 2)
    assert book.missed.settle_all(4) == [(A, 3), (B, 1)]
    assert book.missed.settle_all(4) == []


def test_a_report_that_comes_late_makes_it_whole(book: Book) -> None:
    book.missed.asked(A, 3)
    book.settle(9)
    book.missed.answered(A, 3)
    assert book.settle(9) == book.settle(9, final=True) == []


def test_a_report_of_a_generation_that_is_over_makes_it_whole(book: Book) -> None:
    """The daemon had more to do than to read it."""
    book.missed.asked(A, 3)
    book.settle(9, final=True)
    book.missed.answered(A, 2)
    assert book.settle(9) == []
    book.missed.answered(A, 1)
    assert book.settle(9) == book.settle(9) == []


def test_what_a_new_generation_is_told_of_first_is_not_missing_in_it(book: Book) -> None:
    """Its reports come while the sets of the one before are still to be read, for seconds."""
    book.missed.asked(A, 2)
    book.missed.switch()
    book.missed.answered(A, 3)
    book.missed.asked(B, 1, ending=True)
    assert book.missed.settle(9, 1, final=True) == []
    book.missed.asked(A, 1)
    assert book.missed.settle(9, REPORT_LATE_MS, final=False) == []
    assert book.missed.settle(9, 1 + REPORT_LATE_MS, final=False) == [(B, 1)]
    assert book.missed.settle_all(9) == []


def test_a_report_that_comes_first_is_not_missing_afterwards(book: Book) -> None:
    book.missed.answered(A, 2)
    assert book.settle(9) == []
    book.missed.asked(A, 2)
    assert book.settle(9) == book.settle(9, final=True) == book.settle(9) == []


def test_what_still_changes_is_waited_for(book: Book) -> None:
    book.missed.asked(A, 1)
    book.settle(9)
    book.missed.asked(A, 1)
    assert book.settle(9) == []
    assert book.settle(9) == [(A, 2)]


def test_no_more_is_told_than_is_missing_in_all(book: Book) -> None:
    # Asked in the generation before, told of in this one: no packet is missing.
    book.missed.asked(A, 2)
    assert book.settle(0, final=True) == book.settle(9) == []
    # Of two flows that could miss something one packet is missing: it is told of one of them.
    book.missed.asked(A, 1)
    book.missed.asked(B, 1)
    book.settle(1)
    assert sum(count for _, count in book.settle(1)) == 1
    assert book.missed.told == 1


def test_answers_of_a_generation_mean_nothing_to_the_next(book: Book) -> None:
    book.missed.answered(A, 5)
    book.settle(0, final=True)
    book.missed.asked(A, 1)
    book.settle(1)
    assert book.settle(1) == [(A, 1)]


def test_beyond_the_bound_further_flows_are_not_kept(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_module, "MISSED_FLOWS_MAX", 2)
    for flow in FLOWS:
        book.missed.asked(flow, 1)
    book.missed.asked(A, 1)
    assert book.missed.settle_all(9) == [(A, 2), (B, 1)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FLOWS),
            st.integers(1, 3),
            st.integers(0, 3),
            st.sampled_from(["", "settle", "end"]),
            st.integers(0, 2 * REPORT_LATE_MS),
        ),
        max_size=30,
    )
)
def test_what_is_told_is_missing_and_all_that_is_missing_is_told(
    script: list[tuple[FlowKey, int, int, str, int]],
) -> None:
    """Whatever the order, also where a report comes after its generation's end."""
    book = Book()
    balance, told = dict.fromkeys(FLOWS, 0), dict.fromkeys(FLOWS, 0)

    def note(found: list[tuple[FlowKey, int]]) -> None:
        for flow, count in found:
            told[flow] += count
            assert told[flow] <= balance[flow]

    for flow, ask, answer, then, after_ms in script:
        book.missed.asked(flow, ask)
        balance[flow] += ask
        answer = min(answer, balance[flow] - told[flow])
        if answer:
            book.missed.answered(flow, answer)
            balance[flow] -= answer
        if then:
            note(book.settle(sum(balance.values()), final=then == "end", after_ms=after_ms))
    note(book.missed.settle_all(sum(balance.values())))
    assert told == balance
