"""Kubernetes' NetworkPolicies on the wire: pods reach each other as `cnnf policy test` says of the
import, which is held to Kubernetes' own words elsewhere (`tests/unit/policy/kubernetes`)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docker.estate import until
from tests.docker.runtime import product_beside, running_containerd
from tests.lab import containerd as lab
from tests.lab import netns
from tests.lab.containerd import Containerd, Pod
from tests.lab.product import CNNF, Product, eventually
from tests.lab.wire import Judgement, on_radar

pytestmark = pytest.mark.docker

FRONT, API = "docker.io/shop/frontend:1.4", "docker.io/shop/api:2.0"
CLUSTER = "lab"
PORTS = (8080, 8081)
SERVE = " & ".join(f"nc -ll -p {port} -e /bin/echo yes" for port in PORTS) + " & sleep 600"
APPLIED_S, TOLD_S = 10.0, 10.0

NAMESPACES = """
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: pay, labels: {team: pay}}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: batch, labels: {team: night}}}
"""
POLICIES = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  podSelector: {matchExpressions: [{key: tier, operator: In, values: [api]}]}
  ingress:
    - {from: [{podSelector: {matchLabels: {tier: web}}}], ports: [{port: 8080}]}
    - from: [{namespaceSelector: {matchLabels: {team: pay}}}]
      ports: [{port: 8081, endPort: 8090}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: little, namespace: batch}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
    - {to: [{ipBlock: {cidr: 10.88.0.0/24}}], ports: [{port: 8081}]}
"""


@dataclass(frozen=True)
class Place:
    """A pod with one container."""

    pod: Pod
    container: str
    address: str
    side: dict[str, Any]
    node: str


#: Who connects to whom at which port, and whether NetworkPolicies let it.
FLOWS = (
    ("front", "api", 8080, True),
    ("front", "api", 8081, False),
    ("other", "api", 8080, False),
    ("payer", "api", 8081, True),
    ("payer", "api", 8080, False),
    ("night", "api", 8081, False),
    ("night", "payer", 8081, True),
    ("night", "payer", 8080, False),
    ("payer", "night", 8080, True),
    ("other", "payer", 8080, True),
)


@pytest.fixture(scope="module")
def runtime() -> Iterator[Containerd]:
    with running_containerd("policies", FRONT, API) as made:
        yield made


@pytest.fixture(scope="module")
def product(runtime: Containerd) -> Iterator[Product]:
    with product_beside(runtime, CLUSTER) as made:
        yield made


@pytest.fixture(scope="module")
def pods(runtime: Containerd, product: Product) -> dict[str, Place]:
    def run(name: str, namespace: str, image: str, **labels: str) -> Place:
        pod = runtime.run_pod(name, namespace=namespace, labels=labels)
        container = runtime.run_container(pod, "c", "/bin/sh", "-c", SERVE, image=image)
        text = runtime.execute(container, "/bin/ip", "-4", "-o", "address", "show", "dev", "eth0")
        address = text.split("inet ")[1].split("/")[0]
        side = {
            "image": image,
            "namespace": namespace,
            "cluster": CLUSTER,
            "labels": labels,
            "ip": address,
        }
        repository = image.removeprefix("docker.io/").partition(":")[0]
        return Place(pod, container, address, side, f"{CLUSTER}/{namespace}/{repository}")

    return {
        "front": run("front-0", "shop", FRONT, tier="web"),
        "api": run("api-0", "shop", API, tier="api"),
        "other": run("other-0", "shop", lab.IMAGE, tier="cache"),
        "payer": run("payer-0", "pay", FRONT),
        "night": run("night-0", "batch", API, tier="web"),
    }


@pytest.fixture(scope="module")
def policy(runtime: Containerd, product: Product) -> Path:
    """The import, in force."""
    place = runtime.place
    (place / "policies.yaml").write_text(POLICIES)
    (place / "namespaces.yaml").write_text(NAMESPACES)
    made = place / "policy.yaml"
    made.write_text(
        netns.run(
            *(*CNNF, "policy", "import", "--format", "kubernetes", str(place / "policies.yaml")),
            *("--namespaces", str(place / "namespaces.yaml"), "--cluster", CLUSTER),
        )
    )
    where = ("--data-dir", str(product.data))
    product.namespace.run(*CNNF, "policy", "apply", str(made), "--yes", *where)
    version = product.get("/policy")["version"]

    def enforced() -> bool:
        (one,) = product.get("/defenders")
        return bool(one["policy"] and one["policy"]["generation"] == version)

    eventually(enforced, APPLIED_S, "the import to be enforced")
    return made


def test_pods_reach_each_other_as_the_import_says(
    runtime: Containerd, product: Product, pods: dict[str, Place], policy: Path
) -> None:
    said = judged(policy, pods)
    assert [one.effect != "prevent" for one in said] == [allowed for *_, allowed in FLOWS]
    assert {one.cause == "default" for one in said} == {True, False}

    made = []
    for source, target, port, _ in FLOWS:
        reach = f"nc -w 2 {pods[target].address} {port} </dev/null || echo refused"
        made.append(
            runtime.execute(pods[source].container, "/bin/sh", "-c", f"{reach}; {reach}").split()
        )
    assert made == [["yes" if one.effect == "allow" else "refused"] * 2 for one in said]

    edges = [(pods[source].node, pods[target].node, port) for source, target, port, _ in FLOWS]
    until(lambda: [told(product).get(edge) for edge in edges] == said, TOLD_S)
    events = {
        (_node(one["source"]["name"]), _node(one["destination"]["name"]), one["port"], one["cause"])
        for one in product.get("/events", limit="500")
    }
    assert events == {
        (_node(source), _node(target), port, one.cause)
        for (source, target, port), one in zip(edges, said, strict=True)
        if one.effect == "prevent"
    }


def judged(policy: Path, pods: dict[str, Place]) -> list[Judgement]:
    """What `cnnf policy test` says of all flows."""
    flows = policy.with_name("flows.yaml")
    flows.write_text(
        json.dumps(
            [
                {"source": pods[source].side, "destination": pods[target].side, "port": port}
                for source, target, port, _ in FLOWS
            ]
        )
    )
    said = json.loads(netns.run(*CNNF, "policy", "test", str(policy), str(flows), "--json"))
    return [Judgement(one["effect"], one["cause"]) for one in said]


def told(product: Product) -> dict[tuple[str, str, int], Judgement]:
    """What Radar shows, by cluster, namespace and name."""
    graph = product.get("/radar", view="containers", window="1h")
    names = {node["id"]: "/".join((*node["group"], node["name"])) for node in graph["nodes"]}
    return {
        (names[edge["source"]], names[edge["target"]], port["port"]): on_radar(port)
        for edge in graph["edges"]
        for port in edge["ports"]
    }


def _node(name: str) -> str:
    """The repository alone, as events have it."""
    return "/".join(name.split("/")[-2:])
