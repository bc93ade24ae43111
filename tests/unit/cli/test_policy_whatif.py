"""`cnnf policy what-if` before and after the Console is asked."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cnnf.cli.failure import Failure
from cnnf.cli.main import app
from cnnf.cli.policy_whatif import show

NOTHING: dict[str, Any] = {
    "flows": 0, "connections": 0, "certain": {"flows": 0, "connections": 0},
    "rules": [], "more_rules": 0, "listed": [], "more": 0,
}  # fmt: skip


def end(name: str, *examples: str, more: int = 0) -> dict[str, Any]:
    return {"name": name, "examples": list(examples), "more": more}


def found(**comparison: Any) -> dict[str, Any]:
    whole = {"prevented": NOTHING, "alerted": NOTHING, "allowed": NOTHING} | comparison
    return {
        "version": 7,
        "judged": {"flows": 2, "connections": 12},
        "unjudged": {"flows": 1, "connections": 1},
        "policy": whole,
        "recorded": {"prevented": NOTHING, "alerted": NOTHING, "allowed": NOTHING},
    }


def test_what_is_new_is_told_with_rule_count_and_whom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    listed = {
        "source": end("shop/front", "container shop/front:canary on web-1", more=3),
        "destination": end("10.9.9.9", "10.9.9.9"),
        "port": 443, "protocol": "tcp", "connections": 10, "certain": False,
        "cause": "rule:no\x1b", "before": {"effect": "allow", "cause": "default"},
    }  # fmt: skip
    prevented = NOTHING | {
        "flows": 2, "connections": 12, "certain": {"flows": 1, "connections": 2},
        "rules": [{"cause": "rule:no\x1b", "flows": 2, "connections": 12}], "more_rules": 1,
        "listed": [listed], "more": 1,
    }  # fmt: skip
    show(found(prevented=prevented), "policy", "24h")
    out = capsys.readouterr().out
    for part in (
        "2 flows with 12 connections in the last 24h, compared with version 7.",
        "1 flow with 1 connection",
        "newly prevented: 2 flows with 12 connections, for certain 1 flow with 2 connections",
        "shop/front",
        "canary",
        "up to 10",
        "allow, default",
        "and 1 more",
    ):
        assert part in out
    assert "\x1b" not in out
    assert "Nothing new" not in out


def test_nothing_new_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    show(found(), "recorded", "7d")
    out = capsys.readouterr().out
    assert "compared with what was decided" in out
    assert "Nothing new." in out


def test_a_wrong_draft_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text("apiVersion: cnnf/v1\nrule: {}\n")
    arguments = ["policy", "what-if", str(draft), "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Failure)
    assert result.exception.exit_code == 2
    assert f"{draft}:2:1" in str(result.exception)


def test_without_an_answer_the_exit_code_is_not_that_of_differences(tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text("apiVersion: cnnf/v1\n")
    arguments = ["policy", "what-if", str(draft), "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, Failure)
    assert result.exception.exit_code == 2
    assert "no Console runs" in str(result.exception)
