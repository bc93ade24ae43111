"""Decisions that are kept: the same as those worked out each time."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnf.policy import limits
from cnnf.policy.compiled import compile_policy
from cnnf.policy.decisions import Decisions
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import evaluate
from cnnf.policy.rules import Policy
from tests.unit.policy.strategies import PORTS, candidates, policies


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    policy=policies(),
    pairs=st.lists(st.tuples(candidates(), candidates(), PORTS), min_size=1, max_size=4),
)
def test_the_same_when_seen_again(
    policy: Policy, pairs: list[tuple[Candidate, Candidate, int]]
) -> None:
    compiled = compile_policy(policy)
    decisions = Decisions(compiled)
    for source, destination, port in (*pairs, *pairs):
        found = decisions.of(source, destination, port, "tcp")
        assert found == evaluate(compiled, [source], [destination], port, "tcp")
        assert decisions.of(source, destination, port, "tcp") is found


def test_no_more_are_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DECISIONS_CACHED_MAX", 2)
    decisions = Decisions(compile_policy(Policy()))
    kept = [decisions.of(Candidate(), Candidate(), port, "tcp") for port in (1, 2, 3)]
    assert decisions.of(Candidate(), Candidate(), 3, "tcp") is kept[2]
    assert decisions.of(Candidate(), Candidate(), 1, "tcp") is not kept[0]
