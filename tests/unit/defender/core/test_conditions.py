"""Conditions stand from when they are raised until they are cleared."""

from typing import get_args

from cnnf.defender.core.conditions import SEVERITIES, Code, Conditions
from cnnf.protocol.limits import BATCH_CONDITIONS_MAX
from cnnf.protocol.messages import Condition


def test_every_code_has_a_severity_and_all_fit_into_a_batch() -> None:
    assert set(SEVERITIES) == set(get_args(Code))
    assert len(SEVERITIES) <= BATCH_CONDITIONS_MAX


def test_a_condition_keeps_its_beginning_while_its_text_changes() -> None:
    conditions = Conditions()
    conditions.put("packets-bypassed", "3 packets", 100)
    conditions.put("packets-bypassed", "5 packets", 200)
    assert conditions.standing() == [
        Condition(code="packets-bypassed", severity="warning", message="5 packets", since=100)
    ]


def test_only_differences_are_news() -> None:
    conditions = Conditions()
    news = [conditions.changed]
    for step in (
        lambda: conditions.put("internal", "failed", 100),
        conditions.standing,
        lambda: conditions.put("internal", "failed", 200),
        lambda: conditions.clear("rules-failed"),
        lambda: conditions.put("internal", "failed again", 300),
        conditions.standing,
        lambda: conditions.clear("internal"),
    ):
        step()
        news.append(conditions.changed)
    assert news == [False, True, False, False, False, True, False, True]
    assert conditions.standing() == []


def test_the_oldest_comes_first_and_what_returns_begins_anew() -> None:
    conditions = Conditions()
    conditions.put("internal", "a", 300)
    conditions.put("log-lost", "b", 100)
    conditions.put("flows-lost", "c", 200)
    conditions.clear("log-lost")
    conditions.put("log-lost", "b", 400)
    assert [(one.code, one.since) for one in conditions.standing()] == [
        ("flows-lost", 200),
        ("internal", 300),
        ("log-lost", 400),
    ]


def test_a_long_text_is_cut() -> None:
    conditions = Conditions()
    conditions.put("internal", "x" * 100_000, 1)
    (condition,) = conditions.standing()
    assert len(condition.message) == 500
