"""`cnnf policy` as it is typed: files in, text or JSON and an exit code out."""

import json
from pathlib import Path
from typing import Any

import pytest

from cnnf.cli.main import main

POLICY = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: shop, type: image, values: ["shop/*"]}
rules:
  containers:
    - {name: web, destination: [shop], ports: [443], effect: allow, expires: 2026-01-31}
    - {name: rest, destination: [shop], effect: prevent}
  hosts: []
"""
FLOWS = """\
- {destination: {image: shop/frontend}, port: 443}
- {destination: {image: shop/frontend}, port: 80, expect: prevent}
- {destination: {ip: 10.0.0.1}, port: 80}
"""


class Typed:
    """The command line, in a directory of its own."""

    def __init__(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.path, self._monkeypatch, self._capsys = path, monkeypatch, capsys

    def file(self, name: str, text: str) -> str:
        """A file's path."""
        (self.path / name).write_text(text)
        return str(self.path / name)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, what was printed, what was said on standard error."""
        self._monkeypatch.setattr("sys.argv", ["cnnf", "policy", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = self._capsys.readouterr()
        code = caught.value.code
        return (0 if code is None else int(code)), out, err


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    monkeypatch.setenv("COLUMNS", "200")
    return Typed(tmp_path, monkeypatch, capsys)


def judged(typed: Typed, flows: str = FLOWS, *options: str) -> tuple[int, list[Any], str]:
    files = typed.file("p.yaml", POLICY), typed.file("f.yaml", flows)
    code, out, err = typed.run("test", *files, "--json", *options)
    return code, json.loads(out), err


def test_flows_are_judged_in_order(typed: Typed) -> None:
    code, entries, err = judged(typed, FLOWS, "--at", "2026-01-30T23:59:59Z")
    assert (code, err) == (0, "")
    assert [list(entry) for entry in entries] == [["effect", "cause", "reason"]] * 3
    assert [(entry["effect"], entry["cause"]) for entry in entries] == [
        ("allow", "rule:web"),
        ("prevent", "rule:rest"),
        ("allow", "default"),
    ]


def test_an_expired_rule_is_absent(typed: Typed) -> None:
    _, entries, _ = judged(typed, FLOWS, "--at", "2026-01-31")
    assert entries[0]["cause"] == "rule:rest"


def test_a_difference_from_what_is_expected_is_an_exit_code(typed: Typed) -> None:
    code, entries, err = judged(typed, FLOWS, "--expect", "allow", "--at", "2026-01-31")
    assert code == 1
    # What a flow says itself comes before what the command says.
    assert [entry.get("expected") for entry in entries] == [
        {"effect": "allow", "cause": ""},
        None,
        None,
    ]
    assert err == f"{typed.path}/f.yaml:1: expected allow, is prevent by rule:rest\n"


def test_another_cause_than_expected_is_a_difference(typed: Typed) -> None:
    flow = "- {destination: {ip: 10.0.0.1}, port: 1, expect: {effect: allow, cause: 'rule:web'}}"
    code, _, err = judged(typed, flow)
    assert (code, err.partition(": ")[2]) == (
        1,
        "expected allow by rule:web, is allow by default\n",
    )


def test_every_rule_is_explained(typed: Typed) -> None:
    _, entries, _ = judged(typed, FLOWS, "--explain", "--at", "2026-01-31")
    assert entries[1]["rules"] == [
        {
            "rule": "web",
            "list": "containers",
            "effect": "allow",
            "matched": False,
            "decides": False,
            "mismatches": ["expired"],
        },
        {
            "rule": "rest",
            "list": "containers",
            "effect": "prevent",
            "matched": True,
            "decides": True,
            "mismatches": [],
        },
    ]


def test_people_get_a_table(typed: Typed) -> None:
    files = typed.file("p.yaml", POLICY), typed.file("f.yaml", FLOWS)
    code, out, _ = typed.run("test", *files)
    assert code == 0
    row = out.splitlines()[2].split()
    assert row[-2:] == ["prevent", "rule:rest"]
    assert "80/tcp" in row
    _, out, _ = typed.run("test", *files, "--explain", "--at", "2026-01-01")
    assert "  no match  containers: web (port)" in out.splitlines()
    assert "  decides   containers: rest, prevent" in out.splitlines()


def test_problems_of_both_files_are_told_at_once(typed: Typed) -> None:
    files = typed.file("p.yaml", POLICY.replace("allow", "permit")), typed.file("f.yaml", "- {}")
    code, out, err = typed.run("test", *files, "--json")
    assert (code, out) == (2, "")
    assert "p.yaml:6:62: `effect` is 'permit'" in err
    assert "f.yaml:1:3: a flow without port" in err


def test_a_missing_file_is_wrong_input(typed: Typed) -> None:
    code, _, err = typed.run("test", "/no/such/file", typed.file("f.yaml", FLOWS))
    assert (code, err) == (2, "cnnf: /no/such/file: No such file or directory\n")


def test_a_wrong_time_is_wrong_input(typed: Typed) -> None:
    files = typed.file("p.yaml", POLICY), typed.file("f.yaml", FLOWS)
    code, _, err = typed.run("test", *files, "--at", "noon")
    assert code == 2
    assert "--at: 'noon' is no time" in err


def test_findings_are_shown(typed: Typed) -> None:
    text = POLICY.replace("hosts: []", "hosts:\n    - {name: late, effect: allow}")
    file = typed.file("p.yaml", text)
    code, out, _ = typed.run("check", file, "--at", "2026-02-01", "--json")
    assert code == 0
    assert json.loads(out) == [
        {
            "kind": "expired",
            "name": "web",
            "list": "containers",
            "because": "",
            "message": "has expired at 2026-01-31T00:00:00Z: take it out, or let it end later",
        }
    ]
    code, out, _ = typed.run("check", file, "--strict", "--at", "2026-02-01")
    assert (code, out.splitlines()[1].split()[:3]) == (1, ["expired", "containers", "web"])
    code, out, _ = typed.run("check", file, "--strict", "--at", "2026-01-01")
    assert (code, out) == (0, "Nothing found in 3 rules and 1 network objects.\n")


def test_those_who_are_there_are_looked_for(typed: Typed) -> None:
    known = typed.file("k.yaml", "- {image: shop/web, ip: 10.0.0.1}")
    code, out, _ = typed.run(
        "check", typed.file("p.yaml", POLICY), "--known", known, "--at", "2025-01-01"
    )
    assert (code, out[:7]) == (0, "Nothing")
    none = typed.file("k.yaml", "[]")
    _, out, _ = typed.run("check", typed.file("p.yaml", POLICY), "--known", none, "--json")
    assert "unmatched-object" in out
    code, _, err = typed.run("check", typed.file("p.yaml", "a"), "--known", typed.file("k", "a"))
    assert code == 2
    assert (err.count("p.yaml:1:1"), err.count("/k:1:1")) == (1, 1)


def test_a_difference_is_told_by_name_and_order(typed: Typed) -> None:
    old = typed.file("old.yaml", POLICY)
    assert typed.run("diff", old, old) == (0, "No difference.\n", "")
    lines = POLICY.splitlines()
    lines[5], lines[6] = lines[6].replace("prevent", "alert"), lines[5]
    new = typed.file("new.yaml", "\n".join(lines).replace("shop/*", "shop/web"))
    code, out, _ = typed.run("diff", old, new)
    assert code == 0
    assert out.splitlines() == [
        "~ network object shop changed: values",
        "> rule for containers rest moved, first",
        "~ rule for containers rest changed: effect",
    ]
    _, out, _ = typed.run("diff", old, new, "--json")
    assert json.loads(out)[0] == {
        "kind": "changed",
        "name": "shop",
        "list": "",
        "fields": ["values"],
        "after": "",
    }


def test_a_file_is_brought_into_its_one_form(typed: Typed) -> None:
    file = typed.file("p.yaml", f"# comment\n{POLICY}")
    code, _, err = typed.run("format", file, "--check")
    assert code == 1
    assert "is not in its one form" in err
    code, printed, _ = typed.run("format", file)
    assert code == 0
    assert Path(file).read_text("utf-8").startswith("# comment")
    assert typed.run("format", file, "--write") == (0, "", "")
    assert Path(file).read_text("utf-8") == printed
    assert typed.run("format", file, "--check") == (0, "", "")
    assert [one.name for one in typed.path.iterdir()] == ["p.yaml"]


def test_a_wrong_file_is_not_written(typed: Typed) -> None:
    file = typed.file("p.yaml", "apiVersion: cnnf/v2\n")
    code, _, err = typed.run("format", file, "--write")
    assert (code, "p.yaml:1:13" in err) == (2, True)
    assert Path(file).read_text("utf-8") == "apiVersion: cnnf/v2\n"
