"""Named ports of pods, as a cluster's API tells them, become what rules for them ask."""

from typing import Any

import msgspec
import pytest

from cnnf.defender.core.containers import Pod
from cnnf.defender.discovery.kubernetes_answers import PodObject, pod_from
from cnnf.policy.compiled import compile_policy
from cnnf.policy.endpoints import Candidate, Identity, sorted_labels
from cnnf.policy.evaluation import evaluate
from cnnf.policy.kubernetes.reading import parse_pods, parse_policies
from cnnf.policy.kubernetes.translation import translate
from cnnf.protocol.limits import LABELS_MAX


def told(*ports: Any, labels: dict[str, str] | None = None, **spec: Any) -> Pod:
    """A pod with one container that has these ports."""
    answer = {
        "metadata": {"name": "a", "namespace": "shop", "uid": "u", "labels": labels or {}},
        "spec": {"containers": [{"name": "web", "ports": list(ports)}], **spec},
        "status": {"phase": "Running", "podIP": "10.244.1.17"},
    }
    return pod_from(msgspec.json.decode(msgspec.json.encode(answer), type=PodObject), "", "one")


def port(name: str, number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": protocol}


def test_named_ports_are_labels_beside_the_pods_own() -> None:
    found = told(port("http", 8080), port("dns", 53, "UDP"), labels={"app": "web"})
    assert found.labels == {"app": "web", "port:http/tcp": "8080", "port:dns/udp": "53"}


@pytest.mark.parametrize(
    "unnamed",
    [
        {"containerPort": 80},
        {"name": "", "containerPort": 80},
        port("s", 80, "SCTP"),
        port("zero", 0),
        port("high", 65_536),
    ],
)
def test_what_is_no_named_port_here_is_none(unnamed: dict[str, Any]) -> None:
    assert told(unnamed).labels == {}


def test_of_several_with_one_name_the_first_counts_and_sidecars_come_last() -> None:
    sidecar = {"restartPolicy": "Always", "ports": [port("http", 1), port("admin", 2)]}
    ends = {"ports": [port("gone", 3)]}
    found = told(port("http", 8080), port("http", 9090), initContainers=[ends, sidecar])
    assert found.labels == {"port:http/tcp": "8080", "port:admin/tcp": "2"}


def test_named_ports_have_room_before_labels() -> None:
    labels = {f"l{at}": "x" for at in range(LABELS_MAX + 10)}
    found = told(port("http", 8080), port("admin", 81), labels=labels)
    assert len(found.labels) == LABELS_MAX
    assert found.labels["port:http/tcp"] == "8080"


POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{ports: [{port: http}]}]
"""
PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: PLACE, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, ports: [{name: http, containerPort: NUMBER}]}]}
"""


def test_an_imported_policy_means_the_ports_that_each_pod_gives_the_name() -> None:
    policies = parse_policies(POLICY, subject="policies")
    both = "---\n".join(
        PODS.replace("NUMBER", number).replace("PLACE", f"pod-{number}")
        for number in ("8080", "9090")
    )
    pods = parse_pods(both, subject="pods")
    compiled = compile_policy(translate(policies.policies, None, pods.pods, "").policy)
    for number in (8080, 9090):
        found = told(port("http", number), labels={"app": "web"})
        identity = Identity(
            kind="container", name="shop/web", namespace="shop", cluster="one",
            labels=sorted_labels(found.labels),
        )  # fmt: skip
        for asked in (8080, 9090):
            decision = evaluate(compiled, [], [Candidate(identity=identity)], asked, "tcp")
            assert decision.effect == ("allow" if asked == number else "prevent")
