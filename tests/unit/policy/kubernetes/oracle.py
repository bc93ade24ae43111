"""What Kubernetes decides, written from the API's reference as literally as can be.

Works on manifests as the API has them (plain mappings); shares no line with what is tested.
"""

from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

Manifest = dict[str, Any]


class End(NamedTuple):
    """One side of a connection: a pod, or (pod None) an address outside, maybe that of a node."""

    address: str
    pod: Manifest | None = None
    node: str = ""


def allowed(
    policies: list[Manifest],
    namespaces: list[Manifest],
    source: End,
    destination: End,
    port: int,
    protocol: str,
) -> bool:
    """Does a connection get through?"""
    for one, other in ((source, destination), (destination, source)):
        # "Traffic to and from the node where a Pod is running is always allowed."
        if one.pod is not None and other.pod is None and other.node == one.pod["spec"]["nodeName"]:
            return True
    return one_way(
        "Egress", policies, namespaces, source, destination, destination, port, protocol
    ) and one_way("Ingress", policies, namespaces, destination, source, destination, port, protocol)


def one_way(
    direction: str,
    policies: list[Manifest],
    namespaces: list[Manifest],
    subject: End,
    other: End,
    destination: End,
    port: int,
    protocol: str,
) -> bool:
    """Does the one side let the connection with the other through in that direction?"""
    # "it ignores hostNetwork pods when matching podSelector and namespaceSelector"
    if subject.pod is None or on_host(subject):
        return True
    isolating = [
        one
        for one in policies
        if namespace_of(one) == namespace_of(subject.pod)
        and selects(one["spec"].get("podSelector"), labels_of(subject.pod))
        and direction in types_of(one["spec"])
    ]
    if not isolating:
        return True
    word, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    for policy in isolating:
        for rule in policy["spec"].get(word) or []:
            listed = rule.get(peers) or []
            if listed and not any(
                peer_matches(one, namespace_of(policy), namespaces, other) for one in listed
            ):
                continue
            ports = rule.get("ports") or []
            if not ports or any(port_matches(one, destination, port, protocol) for one in ports):
                return True
    return False


def types_of(spec: Manifest) -> list[str]:
    if spec.get("policyTypes"):
        return list(spec["policyTypes"])
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def peer_matches(peer: Manifest, home: str, namespaces: list[Manifest], who: End) -> bool:
    if "ipBlock" in peer:
        address = ip_address(who.address)
        return address in ip_network(peer["ipBlock"]["cidr"]) and not any(
            address in ip_network(one) for one in peer["ipBlock"].get("except") or []
        )
    if who.pod is None or on_host(who):
        return False
    theirs = namespace_of(who.pod)
    if peer.get("namespaceSelector") is None:
        if theirs != home:
            return False
    else:
        labels = {"kubernetes.io/metadata.name": theirs}
        for one in namespaces:
            if one["metadata"]["name"] == theirs:
                labels |= one["metadata"].get("labels") or {}
        if not selects(peer["namespaceSelector"], labels):
            return False
    return selects(peer.get("podSelector"), labels_of(who.pod))


def port_matches(wanted: Manifest, destination: End, port: int, protocol: str) -> bool:
    if wanted.get("protocol", "TCP") != protocol:
        return False
    if wanted.get("port") is None:
        return True
    if isinstance(wanted["port"], int):
        return bool(wanted["port"] <= port <= wanted.get("endPort", wanted["port"]))
    if destination.pod is None or on_host(destination):
        return False
    return any(
        one.get("name") == wanted["port"]
        and one["containerPort"] == port
        and one.get("protocol", "TCP") == protocol
        for container in destination.pod["spec"]["containers"]
        for one in container.get("ports") or []
    )


def selects(selector: Manifest | None, labels: dict[str, str]) -> bool:
    selector = selector or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        key, operator, values = one["key"], one["operator"], one.get("values")
        if operator == "In" and (key not in labels or labels[key] not in values):
            return False
        if operator == "NotIn" and key in labels and labels[key] in values:
            return False
        if operator == "Exists" and key not in labels:
            return False
        if operator == "DoesNotExist" and key in labels:
            return False
    return True


def on_host(who: End) -> bool:
    return who.pod is not None and bool(who.pod["spec"].get("hostNetwork"))


def namespace_of(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("namespace", "default"))


def labels_of(manifest: Manifest) -> dict[str, str]:
    return dict(manifest["metadata"].get("labels") or {})
