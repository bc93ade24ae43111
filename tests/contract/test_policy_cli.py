"""The commands that reach the policy of a Console, as a person and a script meet them."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cnnf.protocol.messages import PolicyState
from tests.contract.conftest import ENVIRONMENT, RunningConsole
from tests.contract.joined import Joined
from tests.contract.test_policy_api import POLICY

Join = Callable[..., Joined]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(console: RunningConsole, tmp_path: Path) -> Run:
    """`cnnf …` on the Console's machine."""

    def command(*arguments: str, stdin: Any = subprocess.DEVNULL) -> Any:
        return subprocess.run(
            [sys.executable, "-c", "from cnnf.cli.main import main; main()", *arguments],
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=ENVIRONMENT | {"CNNF_DATA_DIR": str(console.data_dir)},
            check=False,
        )

    return command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def answered(run: Run, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on a terminal where somebody answers."""
    master, slave = pty.openpty()
    try:
        os.write(master, answer.encode())
        return run(*arguments, stdin=slave)
    finally:
        os.close(slave)
        os.close(master)


def versions(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("policy", "history", "--json").stdout)
    return found


def test_apply_shows_asks_and_applies(run: Run, file: Path) -> None:
    before = versions(run)[0]["version"]
    shown = run("policy", "apply", str(file), "--preview")
    assert shown.returncode == 0, shown.stderr
    assert "+ rule for containers pay added, first" in shown.stdout
    assert "+ network object office added" in shown.stdout
    assert "! office: unmatched-object" in shown.stdout
    # Nobody there to be asked; or somebody who says no.
    silent = run("policy", "apply", str(file))
    assert silent.returncode == 2
    assert "--yes" in silent.stderr
    declined = answered(run, "n\n", "policy", "apply", str(file))
    assert declined.returncode == 1
    assert "nothing was changed" in declined.stderr
    assert versions(run)[0]["version"] == before
    done = answered(run, "y\n", "policy", "apply", str(file), "--reason", "first of all")
    assert done.returncode == 0, done.stderr
    assert f"Version {before + 1} is in force." in done.stdout
    assert versions(run)[0]["reason"] == "first of all"
    again = run("policy", "apply", str(file), "--yes")
    assert again.returncode == 0
    assert again.stdout == "" or "No difference" in again.stdout
    assert versions(run)[0]["version"] == before + 1


def test_wrong_files_point_at_it(run: Run, file: Path) -> None:
    before = versions(run)[0]["version"]
    file.write_text(POLICY.replace("effect: alert", "effect: deny"))
    wrong = run("policy", "apply", str(file), "--yes")
    assert wrong.returncode == 2
    assert f"{file}:17:44: " in wrong.stderr
    assert "write allow, alert or prevent" in wrong.stderr
    assert run("policy", "apply", "gone.yaml", "--yes").returncode == 2
    assert versions(run)[0]["version"] == before


def test_merge_history_rollback_and_diff(run: Run, file: Path) -> None:
    assert run("policy", "apply", str(file), "--yes").returncode == 0
    first = versions(run)[0]["version"]
    file.write_text("apiVersion: cnnf/v1\nrules: {hosts: [{name: more, effect: alert}]}\n")
    merged = run("policy", "apply", str(file), "--merge", "--yes", "--json")
    assert json.loads(merged.stdout)["version"] == first + 1
    shown = run("policy", "show")
    assert "name: pay" in shown.stdout
    assert "name: more" in shown.stdout
    assert "name: more" not in run("policy", "show", str(first)).stdout
    assert json.loads(run("policy", "show", "--json").stdout)["version"] == first + 1
    told = run("policy", "diff", str(first), "current")
    assert told.stdout == "+ rule for hosts more added, after front\n"
    file.write_text(shown.stdout)
    assert run("policy", "diff", str(file), "current").stdout == "No difference.\n"
    assert run("policy", "export").stdout == shown.stdout
    kubernetes = run("policy", "export", "--format", "kubernetes")
    assert kubernetes.returncode == 0, kubernetes.stderr
    assert run("policy", "rollback", str(first), "--yes").returncode == 2  # why?
    back = run("policy", "rollback", str(first), "--reason", "too much", "--yes")
    assert back.returncode == 0, back.stderr
    assert f"Version {first + 2} is in force." in back.stdout
    assert run("policy", "diff", str(first), "current", "--json").stdout == "[]\n"
    table = run("policy", "history", "--count", "2").stdout
    assert f"rollback: version {first}" in table
    assert "too much" in table
    unknown = run("policy", "rollback", "99999", "--reason", "x", "--yes")
    assert unknown.returncode == 1
    assert "no version 99999" in unknown.stderr


def test_hits_and_quarantine(run: Run, file: Path) -> None:
    assert run("policy", "apply", str(file), "--yes").returncode == 0
    table = run("policy", "hits").stdout
    assert "pay" in table
    assert "never" in table
    assert {one["rule"] for one in json.loads(run("policy", "hits", "--json").stdout)} == {
        "pay", "rest", "front",
    }  # fmt: skip
    assert run("policy", "hits", "--never").stdout == "No rule was never hit.\n"
    assert run("policy", "quarantine", "list").stdout == "Nobody is isolated.\n"
    made = run("policy", "quarantine", "add", "app", "shop/cart", "--reason", "leaks")
    assert made.returncode == 0, made.stderr
    assert "cnnf policy quarantine remove 'quarantine:shop/cart'" in made.stdout
    listed = run("policy", "quarantine", "list").stdout
    assert "quarantine:shop/cart" in listed
    assert "leaks" in listed
    assert run("policy", "quarantine", "add", "app", "shop/cart").returncode == 1
    gone = run("policy", "quarantine", "remove", "quarantine:shop/cart")
    assert gone.returncode == 0, gone.stderr
    assert run("policy", "quarantine", "list", "--json").stdout == "[]\n"
    assert run("policy", "quarantine", "remove", "quarantine:shop/cart").returncode == 1


def test_defenders_say_what_they_enforce(run: Run, join: Join) -> None:
    web = join("enforcing-1")
    web.post(web.batch())
    assert "not told" in run("defenders", "list").stdout
    state = PolicyState(generation=3, digest="d", refused_generation=4, refused="a dns object")
    web.post(msgspec.structs.replace(web.batch(), policy=state))
    assert "version 3, refused 4" in run("defenders", "list").stdout
    shown = run("defenders", "show", web.id).stdout
    assert "version 4 of the policy: a dns object" in shown
