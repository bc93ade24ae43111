"""Moments: what a person writes, in milliseconds, and back."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.policy.compiled import compile_policy
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.moments import MOMENT_MS_MAX, check_moment, moment, moment_text
from cnnf.policy.rules import Policy, Rule


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("1970-01-01", 0),
        ("1970-01-02T00:00:00Z", 86_400_000),
        ("1970-01-01T02:00:01+02:00", 1_000),
        ("1970-01-01 00:01:00Z", 60_000),
        ("9999-12-31T23:59:59Z", MOMENT_MS_MAX),
    ],
)
def test_a_time_is_read(text: str, moment_ms: int) -> None:
    assert moment(text) == moment_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-12-31T18:00:00",
        "2026-12-31T18:00:00.5Z",
        "1969-12-31",
        "2026-13-01",
        "0001-01-01T00:00:00+23:00",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        moment(text)


@given(st.integers(0, MOMENT_MS_MAX // 1000))
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert moment(moment_text(seconds * 1000)) == seconds * 1000


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidValueError):
        check_moment(moment(text))


def test_a_rule_ends_at_its_moment() -> None:
    rules = (
        Rule(name="a", effect="alert", expires_ms=2_000),
        Rule(name="b", effect="prevent", expires_ms=5_000),
        Rule(name="c", effect="allow", enabled=False, expires_ms=1_000),
    )
    policy = Policy(hosts=rules)
    found = [
        ([rule.name for rule in compiled.rules], compiled.ends_ms)
        for compiled in (compile_policy(policy, now_ms) for now_ms in (0, 1_999, 2_000, 5_000))
    ]
    assert found == [(["a", "b"], 2_000), (["a", "b"], 2_000), (["b"], 5_000), ([], None)]


def test_a_moment_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="rule 'a': 1 ms"):
        compile_policy(Policy(hosts=(Rule(name="a", effect="alert", expires_ms=1),)))
