"""Pods as people know them: what made one, which labels are its own, what its cluster is called.

Pure. The runtime's adapter (`discovery/cri_answers.py`) and that of Kubernetes
(`discovery/kubernetes_answers.py`) both name by it, so that they agree. A workload is written by
kind and name, `deployment/frontend`; '' where it can't be told for certain.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from cnnf.defender.core.containers import clean_labels, clean_text
from cnnf.policy.endpoints import port_label
from cnnf.protocol.limits import LABELS_MAX
from cnnf.protocol.messages import Protocol

#: What a kubelet writes on sandboxes and containers (`pkg/kubelet/types/labels.go`).
POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

#: What controllers write on pods: of a Deployment, of a DaemonSet, of a StatefulSet.
TEMPLATE_HASH = "pod-template-hash"
_GENERATION = "pod-template-generation"
_REVISION = "controller-revision-hash"
_STATEFUL = "statefulset.kubernetes.io/pod-name"

#: Labels of nodes that say which cluster they are of: eksctl, Amazon's and Azure's own groups,
#: Google's node pools, Cluster API, in the order in which they are believed.
_CLUSTER_LABELS = (
    "alpha.eksctl.io/cluster-name",
    "eks.amazonaws.com/cluster-name",
    "kubernetes.azure.com/cluster",
    "cluster.x-k8s.io/cluster-name",
    "cloud.google.com/gke-cluster-name",
)

# `utilrand.String`: no vowels and nothing that looks like one.
_SUFFIX = "[bcdfghjklmnpqrstvwxz2456789]{5}"
_HASHED = re.compile(rf"(?P<name>.+)-(?P<hash>[a-z0-9]{{1,10}})-{_SUFFIX}\Z")
_SUFFIXED = re.compile(rf"(?P<name>.+)-{_SUFFIX}\Z")
_ORDINAL = re.compile(r"(?P<name>.+)-\d{1,10}\Z")
_CLUSTER_NAME = re.compile(r"^clusterName:[ \t]*[\"']?([^\"'#\s]+)[\"']?[ \t]*(?:#.*)?$", re.M)


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True):
    """What an object says of who made it (`metadata.ownerReferences`)."""

    kind: str
    name: str
    uid: str = ""
    controller: bool = False


def controller_of(owners: tuple[OwnerReference, ...]) -> OwnerReference | None:
    """The one among an object's owners that manages it; there is one at most."""
    return next((owner for owner in owners if owner.controller), None)


def parent_known(
    owner: OwnerReference | None, labels: Mapping[str, str]
) -> tuple[OwnerReference | None, bool]:
    """The workload behind a pod's controller, and whether that is the last word.

    What is not certain by itself is whether somebody stands behind a ReplicaSet or a Job: the
    object has to be read, once. A Deployment writes its hash into the ReplicaSet's name and on its
    pods, and nobody else does.
    """
    if owner is None:
        return None, True
    if owner.kind == "ReplicaSet":
        hashed = labels.get(TEMPLATE_HASH, "")
        name = owner.name.removesuffix(f"-{hashed}") if hashed else owner.name
        if name not in (owner.name, ""):
            return OwnerReference(kind="Deployment", name=name), True
        return owner, False
    return owner, owner.kind != "Job"


def workload(owner: OwnerReference | None, pod: str) -> str:
    """`deployment/frontend`; a pod that nobody made is its own workload: `pod/debug`.

    A static pod's owner is its node, which says nothing: it is `pod/NAME` too.
    """
    if owner is None or owner.kind == "Node":
        return clean_text(f"pod/{pod}") if pod else ""
    return clean_text(f"{owner.kind.lower()}/{owner.name}")


def workload_by_labels(pod: str, labels: Mapping[str, str]) -> str:
    """What made a pod, by its name and what its controller has written on it, nobody asked.

    '' where these do not say it for certain: for Jobs (a CronJob may be behind one), for pods of
    controllers of other makers, and for names so long that they were cut.
    """
    hashed = _HASHED.match(pod)
    if hashed and labels.get(TEMPLATE_HASH) == hashed["hash"]:
        return clean_text(f"deployment/{hashed['name']}")
    ordinal = _ORDINAL.match(pod)
    if ordinal and labels.get(_STATEFUL) == pod:
        return clean_text(f"statefulset/{ordinal['name']}")
    suffixed = _SUFFIXED.match(pod)
    if suffixed and _GENERATION in labels and _REVISION in labels:
        return clean_text(f"daemonset/{suffixed['name']}")
    return ""


class NamedPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a container that has a name, as its pod says."""

    name: str
    port: int
    protocol: Protocol = "tcp"


def pod_labels(labels: Mapping[str, str], ports: Iterable[NamedPort] = ()) -> dict[str, str]:
    """The labels that people gave, without what the kubelet adds for itself, cleaned and cut; and
    one for each named port (`policy.endpoints.port_label`), by which rules mean it.

    Of a name that several ports have, the first counts, as in Kubernetes. Named ports come before
    labels where there are too many: what is narrowed by one has to be found.
    """
    named: dict[str, str] = {}
    for one in ports:
        named.setdefault(port_label(clean_text(one.name, 63), one.protocol), str(one.port))
    named = dict(list(named.items())[:LABELS_MAX])
    own = {key: value for key, value in labels.items() if not key.startswith("io.kubernetes.")}
    kept = list(clean_labels(own).items())[: LABELS_MAX - len(named)]
    return dict(kept) | named


def cluster_by_kubeadm(configuration: str) -> str:
    """`clusterName` of kubeadm's `ClusterConfiguration` (YAML); '' where it has none.

    kubeadm calls every cluster `kubernetes` unless told otherwise: that is no name.
    """
    found = _CLUSTER_NAME.search(configuration[:65_536])
    name = clean_text(found[1], 253) if found else ""
    return "" if name == "kubernetes" else name


def cluster_by_node(labels: Mapping[str, str]) -> str:
    """The cluster that a provider's label on the node names; '' where there is none."""
    for key in _CLUSTER_LABELS:
        name = clean_text(labels.get(key, ""), 253)
        if name:
            return name
    return ""


class VirtualPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a cluster's service is reached: an address nobody has, and a port. Without an address:
    that port on every node."""

    address: str = ""
    port: int
    protocol: Protocol = "tcp"
    service: str = ""
