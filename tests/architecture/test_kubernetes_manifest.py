"""The DaemonSet asks for what the Defender needs and for nothing else."""

from pathlib import Path
from typing import Any

import yaml

from cnnf.defender.kernel.privileges import DAEMON
from cnnf.policy.form import parse_policy

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "deploy" / "kubernetes" / "defender.yaml"
PAGE = ROOT / "docs" / "operating" / "kubernetes.md"

#: What discovery asks the API for: `discovery/kubernetes.py`.
RIGHTS = {
    ("", "pods", ("list", "watch")),
    ("", "services", ("list", "watch")),
    ("", "nodes", ("get",)),
    ("apps", "replicasets", ("get",)),
    ("batch", "jobs", ("get",)),
    ("", "configmaps", ("get",)),
}


def things() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(MANIFEST.read_text("utf-8"))}


def test_the_rights_are_those_that_are_used() -> None:
    given = {
        (group, resource, tuple(rule["verbs"]))
        for kind in ("ClusterRole", "Role")
        for rule in things()[kind]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert given == RIGHTS
    (rule,) = things()["Role"]["rules"]
    assert rule["resourceNames"] == ["kubeadm-config"]
    source = "".join(
        path.read_text("utf-8")
        for path in (ROOT / "src/cnnf/defender/discovery").glob("kubernetes*.py")
    )
    assert all(f"/{resource}" in source for _, resource, _ in RIGHTS)


def test_it_has_the_capabilities_that_the_defender_keeps() -> None:
    spec = things()["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    capabilities = container["securityContext"]["capabilities"]
    assert capabilities["drop"] == ["ALL"]
    assert set(capabilities["add"]) == set(DAEMON)
    assert "privileged" not in container["securityContext"]
    assert spec["hostNetwork"]
    assert spec["hostPID"]


def test_its_options_are_options() -> None:
    known = (ROOT / "docs/reference/commands.md").read_text("utf-8")
    spec = things()["DaemonSet"]["spec"]["template"]["spec"]
    words = [
        word
        for container in spec["initContainers"] + spec["containers"]
        for argument in container["command"]
        for word in argument.split()
        if word.startswith("--")
    ]
    assert words
    assert [word for word in words if f"`{word}`" not in known] == []
    names = {
        entry["name"]
        for container in spec["initContainers"] + spec["containers"]
        for entry in container["env"]
        if entry["name"].startswith("CNNF_")
    }
    assert [name for name in names if f"`{name}`" not in known] == []


def test_the_pages_policy_is_one() -> None:
    text = PAGE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    assert [rule["name"] for rule in yaml.safe_load(text)["rules"]["containers"]] == ["probes"]
    parse_policy(text, subject=PAGE.name)
