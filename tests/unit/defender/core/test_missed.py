"""Connections that no loop has told of: each told once, when it is sure."""

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
    assert missed.settle() == []
    assert missed.settle() == [(A, 2)]
    assert missed.settle() == []


def test_a_report_that_comes_late_makes_it_whole() -> None:
    missed = Missed()
    missed.asked(A, 3)
    missed.settle()
    missed.answered(A, 3)
    assert missed.settle() == missed.settle() == []


def test_a_report_that_comes_first_is_not_missing_afterwards() -> None:
    missed = Missed()
    missed.answered(A, 2)
    assert missed.settle() == missed.settle() == []
    missed.asked(A, 2)
    assert missed.settle() == missed.settle() == []


def test_what_still_changes_is_waited_for() -> None:
    missed = Missed()
    missed.asked(A, 1)
    missed.settle()
    missed.asked(A, 1)
    assert missed.settle() == []
    assert missed.settle() == [(A, 2)]


def test_beyond_the_bound_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed_module, "MISSED_FLOWS_MAX", 2)
    missed = Missed()
    for flow in FLOWS:
        missed.asked(flow, 1)
    missed.settle()
    assert [flow for flow, _ in missed.settle()] == FLOWS[1:]


@given(
    st.lists(
        st.tuples(st.sampled_from(FLOWS), st.integers(1, 3), st.integers(0, 3), st.booleans()),
        max_size=30,
    )
)
def test_asked_is_answered_and_told_together(
    script: list[tuple[FlowKey, int, int, bool]],
) -> None:
    """Whatever the order, nothing is told that was answered in time, and all that was not."""
    missed = Missed()
    asked = dict.fromkeys(FLOWS, 0)
    accounted = dict.fromkeys(FLOWS, 0)
    for flow, ask, answer, settle in script:
        missed.asked(flow, ask)
        asked[flow] += ask
        answer = min(answer, asked[flow] - accounted[flow])
        if answer:
            missed.answered(flow, answer)
            accounted[flow] += answer
        if settle:
            for told, count in missed.settle():
                accounted[told] += count
                assert accounted[told] <= asked[told]
    for _ in range(2):
        for told, count in missed.settle():
            accounted[told] += count
    assert accounted == asked
