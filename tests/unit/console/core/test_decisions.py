"""The most severe decision is kept, and impossible outcomes are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core.decisions import UNDECIDED, VERDICTS, check_flows, decision_of
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge
from cnnf.protocol.messages import Effect, Endpoint, Flow


def flow(**more: object) -> Flow:
    ends = {"source": Endpoint(address="10.0.0.1"), "destination": Endpoint(address="10.0.0.2")}
    values: dict[str, object] = {"port": 1, "first_seen": 1, "last_seen": 1}
    return Flow(**ends, **(values | more))  # type: ignore[arg-type]


def test_severity_is_a_verdicts_place() -> None:
    assert VERDICTS == ("none", "allow", "alert", "prevent")
    assert decision_of(flow(effect="prevent", cause="rule:x")) == (3, "rule:x")
    # A cause without an effect decided nothing.
    assert decision_of(flow(cause="rule:x")) == UNDECIDED


effects = st.sampled_from([None, "allow", "alert", "prevent"])


@given(effects, effects, st.text(max_size=3), st.text(max_size=3))
def test_the_greater_is_the_more_severe(
    one: Effect | None, two: Effect | None, cause: str, other: str
) -> None:
    first, second = flow(effect=one, cause=cause), flow(effect=two, cause=other)
    kept = max(decision_of(first), decision_of(second))
    assert VERDICTS[kept[0]] == max(one or "none", two or "none", key=VERDICTS.index)
    assert kept in (decision_of(first), decision_of(second))


@pytest.mark.parametrize("name", ["answered", "refused", "cut"])
@pytest.mark.parametrize("value", [-1, 2**53])
def test_impossible_outcomes_are_refused(name: str, value: int) -> None:
    with pytest.raises(MalformedMessage, match=rf"flows\[1\]: {name}: {value}"):
        check_flows([flow(), flow(**{name: value})])


def test_a_cause_is_bounded() -> None:
    check_flows([flow(cause="x" * limits.CAUSE_CHARS_MAX, answered=2**53 - 1)])
    with pytest.raises(MessageTooLarge, match=r"flows\[0\]\.cause"):
        check_flows([flow(cause="x" * (limits.CAUSE_CHARS_MAX + 1))])
