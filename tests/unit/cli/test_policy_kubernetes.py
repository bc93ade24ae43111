"""`cnnf policy import` and `cnnf policy export` on files."""

import json
from pathlib import Path

from typer.testing import CliRunner

from cnnf.cli.main import app
from cnnf.policy.form import parse_policy
from cnnf.policy.kubernetes.reading import parse_policies

POLICIES = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: web}}}]
      ports: [{port: 5432}]
---
{apiVersion: v1, kind: Service, metadata: {name: db}}
"""


def run(*arguments: str | Path) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["policy", *map(str, arguments)])
    message = str(found.exception) if found.exception else ""
    return found.exit_code, found.stdout, found.stderr + message


def test_there_and_back(tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(POLICIES)
    code, out, told = run("import", "--format", "kubernetes", file)
    assert code == 0
    assert parse_policy(out, subject="out").containers
    assert "left out 1 Service" in told
    ours = tmp_path / "policy.yaml"
    ours.write_text(out)
    code, out, told = run("export", "--format", "kubernetes", ours)
    assert code == 0
    assert "rule kubelet left out" in told
    assert len(parse_policies(out, subject="out").policies) == 2
    code, out, _ = run("export", "--format", "kubernetes", "--json", ours)
    found = json.loads(out)
    assert [one["kind"] for one in found["policies"]] == ["NetworkPolicy"] * 2
    assert [one["rule"] for one in found["left_out"]] == ["kubelet"]


def test_wrong_files_are_told_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(POLICIES.replace("5432", "0"))
    code, out, told = run("import", "--format", "kubernetes", file)
    assert code != 0
    assert out == ""
    assert f"{file}:8:22: `port` is 0" in told


def test_the_format_has_to_be_said(tmp_path: Path) -> None:
    assert run("import", tmp_path / "x")[0] == 2


def test_a_file_is_exported_in_the_one_form(tmp_path: Path) -> None:
    ours = tmp_path / "policy.yaml"
    ours.write_text("rules: {hosts: [{effect: alert, name: a}]}\napiVersion: cnnf/v1\n")
    code, out, _ = run("export", ours)
    assert code == 0
    assert "    - {name: a, effect: alert}\n" in out
    code, _, told = run("export", "--json", ours)
    assert code != 0
    assert "--format kubernetes" in told
