"""Random clusters: namespaces, pods and policies of every shape, as manifests."""

from typing import Any

import yaml
from hypothesis import strategies as st

from cnnf.policy.addresses import parse_address
from cnnf.policy.endpoints import Candidate, Identity, port_label, sorted_labels
from tests.unit.policy.kubernetes.oracle import End, Manifest, labels_of, namespace_of

NAMESPACES = ("default", "shop", "data", "edge")
#: Where policies and pods are; '' is `default`. Few, so that policies meet pods and each other.
USED = ("", "", "shop")
LABELS = {"app": ("web", "db"), "tier": ("a", "b", ""), "kubernetes.io/name": ("x",)}
NODES = {"node-1": "192.168.0.1", "node-2": "192.168.0.2"}
BLOCKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("0.0.0.0/0", ("10.1.0.0/16", "203.0.113.7/32", "192.168.0.0/24")),
    ("10.0.0.0/8", ("10.1.0.0/24", "10.1.1.0/24")),
    ("10.1.0.0/24", ("10.1.0.2/31",)),
    ("203.0.113.0/24", ("203.0.113.7/32",)),
    ("192.168.0.1/32", ()),
    ("fd00::/8", ("fd00:1::/32",)),
)
OUTSIDE = ("203.0.113.7", "203.0.113.8", "192.168.0.9", "fd00:2::1")
PORT_NAMES = ("http", "web", "dns")
NUMBERS = (53, 80, 81, 8080)
FLOW_PORTS = (*NUMBERS, 82)


@st.composite
def selectors(draw: st.DrawFn, known: dict[str, tuple[str, ...]]) -> Manifest:
    """Mostly broad ones: of narrow ones alone no two ends would ever meet."""
    found: Manifest = {}
    if draw(st.booleans()):
        return found
    if draw(st.booleans()):
        names = st.sampled_from(tuple(known))
        keys = draw(st.lists(names, max_size=2, unique=True))
        found["matchLabels"] = {key: draw(st.sampled_from(known[key])) for key in keys}
    if draw(st.booleans()):
        found["matchExpressions"] = draw(st.lists(expressions(known), max_size=3))
    return found


@st.composite
def expressions(draw: st.DrawFn, known: dict[str, tuple[str, ...]]) -> Manifest:
    key = draw(st.sampled_from(tuple(known)))
    operator = draw(st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist")))
    found: Manifest = {"key": key, "operator": operator}
    if operator in ("In", "NotIn"):
        values = st.sampled_from((*known[key], "other"))
        found["values"] = draw(st.lists(values, min_size=1, max_size=2))
    return found


NAMESPACE_LABELS = {"team": ("a", "b"), "env": ("prod",), "kubernetes.io/metadata.name": NAMESPACES}


@st.composite
def peers(draw: st.DrawFn) -> Manifest:
    kind = draw(st.sampled_from(("pods", "namespaces", "both", "block")))
    if kind == "block":
        cidr, holes = draw(st.sampled_from(BLOCKS))
        block: Manifest = {"cidr": cidr}
        excepting: bool = draw(st.booleans())
        if holes and excepting:
            block["except"] = draw(st.lists(st.sampled_from(holes), max_size=2, unique=True))
        return {"ipBlock": block}
    found = {}
    if kind in ("pods", "both"):
        found["podSelector"] = draw(selectors(LABELS))
    if kind in ("namespaces", "both"):
        found["namespaceSelector"] = draw(selectors(NAMESPACE_LABELS))
    return found


@st.composite
def ports(draw: st.DrawFn) -> Manifest:
    found: Manifest = {}
    protocol = draw(st.sampled_from((None, "TCP", "UDP", "SCTP")))
    if protocol:
        found["protocol"] = protocol
    kind = draw(st.sampled_from(("number", "range", "name", "name", "any")))
    if kind == "name":
        found["port"] = draw(st.sampled_from(PORT_NAMES))
    elif kind != "any":
        found["port"] = draw(st.sampled_from(NUMBERS))
        if kind == "range":
            found["endPort"] = draw(st.sampled_from((found["port"], 8079, 65_535)))
            if found["endPort"] < found["port"]:
                del found["endPort"]
    return found


@st.composite
def traffic(draw: st.DrawFn, word: str) -> list[Manifest]:
    found = []
    for _ in range(draw(st.sampled_from((0, 1, 1, 2)))):
        rule: Manifest = {}
        if draw(st.integers(0, 3)):
            rule[word] = draw(st.lists(peers(), max_size=2))
        if draw(st.integers(0, 2)) == 0:
            rule["ports"] = draw(st.lists(ports(), max_size=2))
        found.append(rule)
    return found


@st.composite
def policies(draw: st.DrawFn, name: str) -> Manifest:
    spec: Manifest = {}
    if draw(st.integers(0, 5)):
        spec["podSelector"] = draw(selectors(LABELS))
    for direction, word in (("ingress", "from"), ("egress", "to")):
        if draw(st.integers(0, 2)):
            spec[direction] = draw(traffic(word))
    if draw(st.booleans()):
        spec["policyTypes"] = draw(
            st.lists(st.sampled_from(("Ingress", "Egress")), max_size=2, unique=True)
        )
    metadata = {"name": name}
    if namespace := draw(st.sampled_from(USED)):
        metadata["namespace"] = namespace
    return manifest("networking.k8s.io/v1", "NetworkPolicy", metadata, spec=spec)


@st.composite
def namespaces(draw: st.DrawFn) -> list[Manifest]:
    found = []
    for name in draw(st.lists(st.sampled_from(NAMESPACES), unique=True)):
        labels = {
            key: draw(st.sampled_from(NAMESPACE_LABELS[key]))
            for key in ("team", "env")
            if draw(st.booleans())
        }
        found.append(manifest("v1", "Namespace", {"name": name, "labels": labels}))
    return found


@st.composite
def pods(draw: st.DrawFn, number: int) -> Manifest:
    labels = {key: draw(st.sampled_from(LABELS[key])) for key in LABELS if draw(st.booleans())}
    node = draw(st.sampled_from(tuple(NODES)))
    named = [
        {
            "name": name,
            "containerPort": draw(st.sampled_from(NUMBERS)),
            **draw(st.sampled_from(({}, {"protocol": "UDP"}))),
        }
        for name in draw(st.lists(st.sampled_from(PORT_NAMES), unique=True, max_size=2))
    ]
    spec: Manifest = {"nodeName": node, "containers": [{"name": "c", "ports": named}]}
    address = draw(st.sampled_from((f"10.1.0.{number}", f"10.1.1.{number}", f"fd00:1::{number}")))
    if draw(st.integers(0, 7)) == 0:
        # Labels tell it, as they do of what a DaemonSet makes.
        labels["net"] = "host"
        spec["hostNetwork"] = True
        address = NODES[node]
    metadata = {"name": f"pod-{number}", "labels": labels}
    if namespace := draw(st.sampled_from(USED)):
        metadata["namespace"] = namespace
    return manifest("v1", "Pod", metadata, spec=spec, status={"podIP": address})


def manifest(version: str, kind: str, metadata: Manifest, **rest: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def written(manifests: list[Manifest], as_list: bool = False) -> str:
    """The manifests as a file."""
    if as_list:
        return yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": manifests})
    return yaml.safe_dump_all(manifests)


def ends(pods: list[Manifest]) -> list[End]:
    """Everybody there is."""
    return [
        *(End(pod["status"]["podIP"], pod) for pod in pods),
        *(End(address) for address in OUTSIDE),
        *(End(address, None, node) for node, address in NODES.items()),
    ]


def candidate(end: End, *, ports_told: bool) -> Candidate:
    """As we know somebody; a pod's named ports are known or not."""
    address = parse_address(end.address)
    if end.pod is None:
        if not end.node:
            return Candidate(address=address)
        return Candidate(identity=Identity(kind="host", name=end.node), address=address)
    labels = labels_of(end.pod)
    if ports_told:
        for container in end.pod["spec"]["containers"]:
            for one in container.get("ports") or []:
                protocol = one.get("protocol", "TCP").lower()
                labels[port_label(one["name"], protocol)] = str(one["containerPort"])
    identity = Identity(
        kind="container",
        name="shop/app",
        host=end.pod["spec"]["nodeName"],
        namespace=namespace_of(end.pod),
        labels=sorted_labels(labels),
    )
    return Candidate(identity=identity, address=address)
