"""Which batches are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.console.core.sequence import Decision, decide
from cnnf.protocol.messages import Gap


@pytest.mark.parametrize(
    ("mark", "sequence", "gap", "decision"),
    [
        (0, 1, None, "take"),
        (4, 5, None, "take"),
        (4, 4, None, "duplicate"),
        (4, 1, None, "duplicate"),
        (4, 6, None, "missing"),
        (4, 6, Gap(first=5, last=5), "take"),
        (4, 8, Gap(first=5, last=7), "take"),
        (4, 8, Gap(first=3, last=7), "take"),
        (4, 8, Gap(first=6, last=7), "missing"),
        (4, 8, Gap(first=5, last=6), "missing"),
        (4, 3, Gap(first=1, last=2), "duplicate"),
        (0, 9, Gap(first=1, last=8), "take"),
    ],
)
def test_decisions(mark: int, sequence: int, gap: Gap | None, decision: Decision) -> None:
    assert decide(mark, sequence, gap) == decision


@given(st.lists(st.integers(1, 6), max_size=40))
def test_in_whatever_order_they_come_each_is_taken_once_and_in_order(order: list[int]) -> None:
    mark, taken = 0, []
    for sequence in order:
        if decide(mark, sequence, None) == "take":
            taken.append(sequence)
            mark = sequence
    assert taken == list(range(1, len(taken) + 1))
