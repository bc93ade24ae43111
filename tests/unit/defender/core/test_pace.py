"""What can wait takes its share, and nothing is lost for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.limits import NAMING_PAUSE_SECONDS_MAX, NAMING_SHARE, PENDING_FLOWS_MAX
from cnnf.defender.core.pace import pause

FEW = PENDING_FLOWS_MAX // 4


@given(st.floats(0.0, 0.1), st.integers(0, FEW))
def test_work_takes_its_share_of_the_time(worked: float, waiting: int) -> None:
    assert worked == pytest.approx(NAMING_SHARE * (worked + pause(worked, waiting)))


@given(st.floats(0.0, 60.0), st.integers(0, PENDING_FLOWS_MAX))
def test_no_pause_is_long_and_none_is_made_when_many_wait(worked: float, waiting: int) -> None:
    assert 0.0 <= pause(worked, waiting) <= NAMING_PAUSE_SECONDS_MAX
    assert pause(worked, FEW + 1 + waiting) == 0.0
