"""What made a pod, which labels are people's, what a cluster is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.pods import (
    OwnerReference,
    cluster_by_kubeadm,
    cluster_by_node,
    controller_of,
    parent_known,
    pod_labels,
    workload,
    workload_by_labels,
)
from cnnf.protocol.limits import LABELS_MAX, NAME_CHARS_MAX

HASH = {"pod-template-hash": "5d8f7c6b9"}
DAEMON = {"pod-template-generation": "3", "controller-revision-hash": "7c9d"}


@pytest.mark.parametrize(
    ("pod", "labels", "expected"),
    [
        ("frontend-5d8f7c6b9-x2xkq", HASH, "deployment/frontend"),
        ("a-b-5d8f7c6b9-x2xkq", HASH, "deployment/a-b"),
        # Another hash in the name: made by hand, or by somebody else.
        ("frontend-77777-x2xkq", HASH, ""),
        ("frontend-5d8f7c6b9-x2xkq", {}, ""),
        # A name that was cut to make room says nothing.
        ("f" * 58 + "x2xkq", HASH, ""),
        ("db-0", {"statefulset.kubernetes.io/pod-name": "db-0"}, "statefulset/db"),
        ("db-0", {"statefulset.kubernetes.io/pod-name": "db-1"}, ""),
        ("logs-x2xkq", DAEMON, "daemonset/logs"),
        ("logs-x2xkq", {"controller-revision-hash": "7c9d"}, ""),
        # A CronJob may be behind it.
        ("report-29384-abcde", {"job-name": "report-29384"}, ""),
        ("", {}, ""),
    ],
)
def test_workloads_by_name_and_labels(pod: str, labels: dict[str, str], expected: str) -> None:
    assert workload_by_labels(pod, labels) == expected


def owner(kind: str, name: str) -> OwnerReference:
    return OwnerReference(kind=kind, name=name, uid="u", controller=True)


def test_a_deployment_is_known_by_its_replica_sets_name_and_the_pods_hash() -> None:
    known, last = parent_known(owner("ReplicaSet", "frontend-5d8f7c6b9"), HASH)
    assert last
    assert known is not None
    assert workload(known, "frontend-5d8f7c6b9-x2xkq") == "deployment/frontend"


@pytest.mark.parametrize(
    ("kind", "labels", "last"),
    [("ReplicaSet", {}, False), ("Job", {}, False), ("StatefulSet", {}, True), ("X", HASH, True)],
)
def test_what_has_to_be_read(kind: str, labels: dict[str, str], last: bool) -> None:
    one = owner(kind, "frontend-5d8f7c6b9")
    assert parent_known(one, labels) == (one, last)


def test_a_replica_set_that_is_nothing_but_its_hash_is_no_deployment() -> None:
    one = owner("ReplicaSet", "-5d8f7c6b9")
    assert parent_known(one, HASH) == (one, False)


def test_only_the_controller_made_it() -> None:
    other = OwnerReference(kind="Deployment", name="no", controller=False)
    assert controller_of((other,)) is None
    assert controller_of((other, owner("Job", "x"))) == owner("Job", "x")
    assert parent_known(None, {}) == (None, True)


def test_nobody_s_pods_are_their_own_workload() -> None:
    assert workload(None, "debug") == "pod/debug"
    assert workload(owner("Node", "node-a"), "etcd-node-a") == "pod/etcd-node-a"
    assert workload(None, "") == ""


def test_the_kubelets_own_labels_are_left_out() -> None:
    given_labels = {"app": "web", "io.kubernetes.pod.name": "web-0", "evil": "a\x1bb"}
    assert pod_labels(given_labels) == {"app": "web", "evil": "a b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apiVersion: v1\nclusterName: prod-1\nkind: ClusterConfiguration\n", "prod-1"),
        ('clusterName: "prod"', "prod"),
        ("clusterName: prod # ours\n", "prod"),
        ("clusterName: kubernetes\n", ""),
        ("networking:\n  clusterName: no\n", ""),
        ("", ""),
    ],
)
def test_the_name_kubeadm_was_given(text: str, expected: str) -> None:
    assert cluster_by_kubeadm(text) == expected


def test_the_name_a_provider_labels_nodes_with() -> None:
    assert cluster_by_node({"eks.amazonaws.com/nodegroup": "ng-1"}) == ""
    assert cluster_by_node({"alpha.eksctl.io/cluster-name": "a\x00b"}) == "a b"


texts = st.text(max_size=600)


@given(texts, st.dictionaries(texts, texts, max_size=100), texts)
def test_nothing_is_too_strange(pod: str, labels: dict[str, str], configuration: str) -> None:
    assert len(workload_by_labels(pod, labels)) <= NAME_CHARS_MAX
    assert len(workload(owner(pod, configuration), pod)) <= NAME_CHARS_MAX
    assert len(pod_labels(labels)) <= LABELS_MAX
    assert len(cluster_by_kubeadm(configuration)) <= 253
