"""Connections that no loop has told of: each told once, when it is sure, and never too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import missed as missed_module
from cnnf.defender.core.missed import Missed
from cnnf.defender.core.tallies import FlowKey

FLOWS = [FlowKey(bytes([10, 0, 0, host]), 0, bytes([10, 0, 0, 9]), 80, 6) for host in range(3)]
A, B, _ = FLOWS


def test_what_is_missing_twice_is_told_once() -> None:
    missed = Missed()
    missed.asked(A, 3)
    missed.answered(A, 1)
    assert missed.settle(2, final=False) == []
    assert missed.settle(2, final=False) == [(A, 2)]
    assert missed.settle(2, final=False) == []
    assert missed.told == 2


def test_at_a_generations_end_all_is_told_at_once() -> None:
    missed = Missed()
    missed.asked(A, 3)
    assert missed.settle(3, final=True) == [(A, 3)]
    assert missed.settle(3, final=True) == []


def test_a_report_that_comes_late_makes_it_whole() -> None:
    missed = Missed()
    missed.asked(A, 3)
    missed.settle(0, final=False)
    missed.answered(A, 3)
    assert missed.settle(9, final=False) == missed.settle(9, final=True) == []


def test_a_report_that_comes_first_is_not_missing_afterwards() -> None:
    missed = Missed()
    missed.answered(A, 2)
    assert missed.settle(9, final=False) == []
    missed.asked(A, 2)
    assert missed.settle(9, final=False) == missed.settle(9, final=True) == []


def test_what_still_changes_is_waited_for() -> None:
    missed = Missed()
    missed.asked(A, 1)
    missed.settle(9, final=False)
    missed.asked(A, 1)
    assert missed.settle(9, final=False) == []
    assert missed.settle(9, final=False) == [(A, 2)]


def test_no_more_is_told_than_is_missing_in_all() -> None:
    missed = Missed()
    # Asked in the generation before, told of in this one: no packet is missing.
    missed.asked(A, 2)
    assert missed.settle(0, final=True) == []
    # Of two flows that could miss something one packet is missing: it is told of one of them.
    missed.asked(A, 1)
    missed.asked(B, 1)
    assert sum(count for _, count in missed.settle(1, final=True)) == 1
    assert missed.told == 1


def test_a_generation_leaves_nothing_to_the_next() -> None:
    missed = Missed()
    missed.answered(A, 5)
    missed.settle(0, final=True)
    missed.asked(A, 1)
    assert missed.settle(1, final=True) == [(A, 1)]


def test_beyond_the_bound_further_flows_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed_module, "MISSED_FLOWS_MAX", 2)
    missed = Missed()
    for flow in FLOWS:
        missed.asked(flow, 1)
    missed.asked(A, 1)
    assert missed.settle(9, final=True) == [(A, 2), (B, 1)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(FLOWS),
            st.integers(1, 3),
            st.integers(0, 3),
            st.sampled_from(["", "settle", "end"]),
        ),
        max_size=30,
    )
)
def test_what_is_told_is_missing_and_all_that_is_missing_is_told(
    script: list[tuple[FlowKey, int, int, str]],
) -> None:
    """Whatever the order; where each report comes within its generation, flow by flow."""
    missed = Missed()
    balance, told = dict.fromkeys(FLOWS, 0), dict.fromkeys(FLOWS, 0)

    def settle(*, final: bool) -> None:
        for flow, count in missed.settle(sum(balance.values()), final=final):
            told[flow] += count
            assert told[flow] <= balance[flow]

    reported = dict.fromkeys(FLOWS, 0)
    for flow, ask, answer, then in script:
        missed.asked(flow, ask)
        balance[flow] += ask
        answer = min(answer, balance[flow] - told[flow])
        if answer:
            missed.answered(flow, answer)
            balance[flow] -= answer
            reported[flow] += answer
        if then:
            settle(final=then == "end")
    settle(final=True)
    assert told == balance
