"""Discovery against a cluster's API over real HTTPS: watches, and all that goes wrong with them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cnnf.defender.core.containers import Change, EngineHealth, Pod, PodChanged, PodGone, Snapshot
from cnnf.defender.core.pods import VirtualPlace
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.kubernetes import KubernetesDiscovery
from cnnf.defender.discovery.kubernetes_access import in_cluster
from tests.contract.cluster import PODS, SERVICES, Cluster
from tests.contract.cluster_objects import NODE, kubeadm, node, owner, parent, pod, service

SOON_S = 10.0
KUBEADM = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
JOBS = "/apis/batch/v1/namespaces/shop/jobs/"
REPLICA_SETS = "/apis/apps/v1/namespaces/shop/replicasets/"


class Listener:
    """Applies changes as the daemon does."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.snapshots = 0
        self.changes: list[Change] = []
        self.health = EngineHealth()
        self.places: frozenset[VirtualPlace] = frozenset()

    def take(self, change: Change) -> None:
        self.changes.append(change)
        match change:
            case Snapshot(pods=pods):
                self.snapshots += 1
                self.pods = {one.name: one for one in pods}
            case PodChanged(pod=one):
                self.pods[one.name] = one
            case PodGone(uid=uid):
                self.pods = {name: one for name, one in self.pods.items() if one.uid != uid}
            case EngineHealth():
                self.health = change

    def take_places(self, places: frozenset[VirtualPlace]) -> None:
        self.places = places

    async def until(self, what: Callable[[], object], within_s: float = SOON_S) -> None:
        deadline = time.monotonic() + within_s
        while not what():
            if time.monotonic() > deadline:
                told = "\n".join(map(str, self.changes[-5:]))
                raise AssertionError(f"not within {within_s} s; last told:\n{told}")
            # Not only changes are waited for, also what the cluster was asked.
            await asyncio.sleep(0.01)


@asynccontextmanager
async def following(cluster: Cluster, *, name: str = "") -> AsyncIterator[Listener]:
    listener = Listener()
    discovery = KubernetesDiscovery(
        listener.take,
        partial(in_cluster, cluster.environment, cluster.account),
        node=NODE,
        cluster=name,
        places=listener.take_places,
    )
    task = asyncio.create_task(discovery.run())
    try:
        yield listener
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    made = Cluster(tmp_path / "cluster")
    made.single[f"/api/v1/nodes/{NODE}"] = node()
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to spare a server waits less here."""
    monkeypatch.setattr(limits, "KUBERNETES_WATCH_S_MIN", 0.05)
    monkeypatch.setattr(limits, "KUBERNETES_RETRY_LAST_S", 0.5)


Scene = Callable[[Listener], Coroutine[Any, Any, None]]


def play(cluster: Cluster, scene: Scene, *, name: str = "") -> None:
    async def whole() -> None:
        async with cluster.serving(), following(cluster, name=name) as listener:
            await scene(listener)

    asyncio.run(whole())


async def begun(cluster: Cluster, listener: Listener) -> None:
    """Everything was listed and is watched."""
    await listener.until(lambda: listener.snapshots and cluster.watches == 2)


def test_a_pod_is_told_with_all_that_the_cluster_knows(cluster: Cluster) -> None:
    made_by = owner("ReplicaSet", "frontend-5d8f7c6b9")
    cluster.put(PODS, pod("frontend-5d8f7c6b9-x2xkq", made_by=made_by))
    cluster.put(PODS, pod("elsewhere", node="node-b"))

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        (found,) = listener.pods.values()
        assert found == Pod(
            uid="uid-of-frontend-5d8f7c6b9-x2xkq",
            namespace="shop",
            name="frontend-5d8f7c6b9-x2xkq",
            cluster="prod",
            workload="deployment/frontend",
            labels={"app": "frontend", "pod-template-hash": "5d8f7c6b9"},
            addresses=("10.244.1.17", "fd00:10:244:1::11"),
            containers=("c" * 64,),
        )
        assert listener.health.code == ""
        # Its Deployment was told by name and label: nothing was read for it.
        assert {path for path, _ in cluster.requests} == {
            PODS, SERVICES, f"/api/v1/nodes/{NODE}",
        }  # fmt: skip
        assert cluster.asked(PODS)[0]["resourceVersion"] == "0"

    play(cluster, scene, name="prod")


@pytest.mark.parametrize(
    ("name", "made_by", "parents", "expected"),
    [
        ("db-0", owner("StatefulSet", "db"), {}, "statefulset/db"),
        ("logs-x2xkq", owner("DaemonSet", "logs"), {}, "daemonset/logs"),
        ("bare", None, {}, "pod/bare"),
        ("etcd-node-a", owner("Node", NODE), {}, "pod/etcd-node-a"),
        ("kafka-0", owner("StrimziPodSet", "kafka"), {}, "strimzipodset/kafka"),
        (
            "report-29384-abcde",
            owner("Job", "report-29384"),
            {JOBS + "report-29384": parent("Job", "report-29384", owner("CronJob", "report"))},
            "cronjob/report",
        ),
        (
            "once-abcde",
            owner("Job", "once"),
            {JOBS + "once": parent("Job", "once", None)},
            "job/once",
        ),
        (
            "web-77-abcde",
            owner("ReplicaSet", "web-77"),
            {REPLICA_SETS + "web-77": parent("ReplicaSet", "web-77", owner("Rollout", "web"))},
            "rollout/web",
        ),
        ("gone-abcde", owner("Job", "gone"), {}, "job/gone"),
        ("many", owner("Deployment", "no", controller=False), {}, "pod/many"),
    ],
)
def test_workloads(
    cluster: Cluster,
    name: str,
    made_by: dict[str, Any] | None,
    parents: dict[str, Any],
    expected: str,
) -> None:
    cluster.single.update(parents)
    cluster.put(PODS, pod(name, made_by=made_by, labels={"app": "x"}))

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert listener.pods[name].workload == expected
        # Once is enough, whatever happens to the pod.
        changed = pod(name, made_by=made_by, labels={"app": "y"})
        cluster.put(PODS, changed)
        await listener.until(lambda: listener.pods[name].labels == {"app": "y"})
        assert [len(cluster.asked(path)) for path in parents] == [1] * len(parents)

    play(cluster, scene)


def test_without_the_right_to_read_owners_their_own_names_have_to_do(cluster: Cluster) -> None:
    cluster.forbidden = {"/apis/"}
    cluster.put(PODS, pod("report-abcde", made_by=owner("Job", "report-29384")))

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert listener.pods["report-abcde"].workload == "job/report-29384"
        assert listener.health.code == ""

    play(cluster, scene)


@pytest.mark.parametrize(
    ("given", "configured", "labels", "expected"),
    [
        ("mine", "theirs", {}, "mine"),
        ("", "theirs", {"alpha.eksctl.io/cluster-name": "eks-1"}, "theirs"),
        # What kubeadm calls every cluster is no name.
        ("", "kubernetes", {"alpha.eksctl.io/cluster-name": "eks-1"}, "eks-1"),
        ("", "", {"kubernetes.azure.com/cluster": "MC_rg_aks-1_westeurope"},
         "MC_rg_aks-1_westeurope"),
        ("", "", {}, ""),
    ],
)  # fmt: skip
def test_the_clusters_name(
    cluster: Cluster, given: str, configured: str, labels: dict[str, str], expected: str
) -> None:
    cluster.single[f"/api/v1/nodes/{NODE}"] = node(labels=labels)
    if configured:
        cluster.single[KUBEADM] = kubeadm(configured)
    cluster.put(PODS, pod("one"))

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert listener.pods["one"].cluster == expected

    play(cluster, scene, name=given)


def test_a_static_pod_has_the_uid_its_runtime_knows(cluster: Cluster) -> None:
    static = pod("etcd-node-a", made_by=owner("Node", NODE))
    static["metadata"]["annotations"] |= {
        "kubernetes.io/config.hash": "0123abcd" * 4,
        "kubernetes.io/config.mirror": "0123abcd" * 4,
    }
    cluster.put(PODS, static)

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert listener.pods["etcd-node-a"].uid == "0123abcd" * 4
        cluster.delete(PODS, "etcd-node-a")
        await listener.until(lambda: not listener.pods)

    play(cluster, scene)


def test_a_pod_that_is_over_has_no_address(cluster: Cluster) -> None:
    over = pod("report-abcde")
    over["status"]["phase"] = "Succeeded"
    cluster.put(PODS, over)

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert listener.pods["report-abcde"].addresses == ()

    play(cluster, scene)


def test_changes_are_told_as_they_happen_and_only_once(cluster: Cluster) -> None:
    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        for name in ("a", "b"):
            cluster.put(PODS, pod(name))
        await listener.until(lambda: set(listener.pods) == {"a", "b"})
        told = len(listener.changes)
        again = pod("a")
        again["status"]["conditions"][0]["status"] = "False"
        cluster.put(PODS, again)
        cluster.delete(PODS, "b")
        await listener.until(lambda: set(listener.pods) == {"a"})
        # A condition of the pod's is none of ours.
        assert len(listener.changes) == told + 1

    play(cluster, scene)


def test_a_cut_watch_goes_on_where_it_was(cluster: Cluster) -> None:
    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        cluster.put(PODS, pod("before"))
        await listener.until(lambda: "before" in listener.pods)
        cluster.bookmark()
        await asyncio.sleep(0.2)
        reached = str(cluster.version)
        cluster.cut()
        cluster.put(PODS, pod("meanwhile"))
        await listener.until(lambda: "meanwhile" in listener.pods)
        assert listener.snapshots == 1
        watched = [query for query in cluster.asked(PODS) if "watch" in query]
        # The bookmark had moved it on.
        assert watched[-1]["resourceVersion"] == reached
        assert {query["allowWatchBookmarks"] for query in watched} == {"true"}
        assert listener.health.code == ""

    play(cluster, scene)


@pytest.mark.parametrize("as_status", [True, False], ids=["status", "in the stream"])
def test_a_forgotten_version_makes_it_list_again(cluster: Cluster, as_status: bool) -> None:
    cluster.gone_as_status = as_status

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        cluster.put(PODS, pod("stays"))
        cluster.put(PODS, pod("goes"))
        await listener.until(lambda: set(listener.pods) == {"stays", "goes"})
        # A watch that breaks off at once would be an outage.
        await asyncio.sleep(0.2)
        cluster.cut()
        cluster.delete(PODS, "goes")
        cluster.bookmark()
        cluster.forget()
        await listener.until(lambda: set(listener.pods) == {"stays"})
        assert listener.snapshots > 1
        # Listed anew from the store itself: the memory may be as old as what was forgotten.
        lists = [query for query in cluster.asked(PODS) if "watch" not in query]
        assert "resourceVersion" not in lists[-1]

    play(cluster, scene)


def test_lists_come_in_pages_and_begin_again_when_one_expires(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KUBERNETES_PAGE_OBJECTS", 3)
    for number in range(8):
        cluster.put(PODS, pod(f"pod-{number}"))
    cluster.expire_pages = 1

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert len(listener.pods) == 8

    play(cluster, scene)


def test_another_token_is_read_when_the_old_one_is_refused(cluster: Cluster) -> None:
    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        cluster.token = "second"
        cluster.cut()
        await listener.until(lambda: "status 401" in listener.health.message)
        assert listener.health.code == "engine-bad-answer"
        cluster.give("second")
        cluster.put(PODS, pod("new"))
        await listener.until(lambda: "new" in listener.pods)
        await listener.until(lambda: listener.health.code == "")

    play(cluster, scene)


def test_what_is_forbidden_is_said_with_what_to_do(cluster: Cluster) -> None:
    cluster.forbidden = {PODS}

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: "status 403" in listener.health.message)
        assert "docs/operating/kubernetes.md" in listener.health.message
        # Its services are followed all the same.
        cluster.put(SERVICES, service("frontend"))
        await listener.until(lambda: listener.places)

    play(cluster, scene)


def test_a_host_that_is_no_node_is_told_so(cluster: Cluster) -> None:
    del cluster.single[f"/api/v1/nodes/{NODE}"]

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: "--node" in listener.health.message)

    play(cluster, scene)


def test_an_api_that_goes_away_and_comes_back(cluster: Cluster) -> None:
    async def whole() -> None:
        async with cluster.serving():
            pass
        async with following(cluster) as listener:
            await listener.until(lambda: listener.health.code == "engine-refused")
            assert str(cluster.port) in listener.health.message
            cluster.put(PODS, pod("there"))
            async with cluster.serving():
                await listener.until(lambda: "there" in listener.pods)
                await listener.until(lambda: listener.health.code == "")

    asyncio.run(whole())


def test_another_authority_is_not_believed(cluster: Cluster, tmp_path: Path) -> None:
    other = Cluster(tmp_path / "other")
    (cluster.account / "ca.crt").write_text((other.account / "ca.crt").read_text())

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: "certificate" in listener.health.message.lower())
        assert cluster.requests == []

    play(cluster, scene)


@pytest.mark.parametrize(
    "line",
    [
        b"no json at all\n",
        b'{"type":"MODIFIED","object":{"metadata":[]}}\n',
        b'{"type":17}\n',
        b"\xff\xfe\n",
        b'{"type":"ADDED","object":' + b"[" * 5000 + b"\n",
        b'{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}\n',
    ],
    ids=["text", "metadata", "type", "bytes", "depth", "expired"],
)
def test_a_change_that_cannot_be_read_makes_it_list_again(cluster: Cluster, line: bytes) -> None:
    cluster.put(PODS, pod("there"))

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        cluster.say(line)
        await listener.until(lambda: listener.snapshots > 1)
        cluster.put(PODS, pod("later"))
        await listener.until(lambda: set(listener.pods) == {"there", "later"})

    play(cluster, scene)


def test_a_change_without_end_is_not_kept(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KUBERNETES_LINE_BYTES_MAX", 65_536)

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        for _ in range(10):
            cluster.say(b"x" * 32_768)
        cluster.put(PODS, pod("later"))
        await listener.until(lambda: "later" in listener.pods)
        assert listener.snapshots > 1

    play(cluster, scene)


def test_an_error_within_the_stream_is_told(cluster: Cluster) -> None:
    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        cluster.say(b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}\n')
        await listener.until(lambda: any("etcd" in str(one) for one in listener.changes))
        await listener.until(lambda: listener.snapshots > 1 and listener.health.code == "")

    play(cluster, scene)


def test_a_pod_that_lies_is_left_out_and_said(cluster: Cluster) -> None:
    strange = pod("strange")
    strange["status"]["podIPs"] = "everywhere"
    cluster.put(PODS, strange)
    loud = pod("loud", labels={f"key-{n}": "\x1b[31m" + "x" * 10_000 for n in range(500)})
    loud["status"]["podIP"] = "not an address"
    cluster.put(PODS, loud)

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert set(listener.pods) == {"loud"}
        assert listener.health.message.startswith("pod shop/strange is left out")
        labels = listener.pods["loud"].labels
        assert len(labels) == 64
        assert all(len(value) <= 256 and "\x1b" not in value for value in labels.values())
        assert listener.pods["loud"].addresses == ("10.244.1.17", "fd00:10:244:1::11")
        cluster.put(PODS, pod("strange"))
        await listener.until(lambda: "strange" in listener.pods and not listener.health.code)

    play(cluster, scene)


@pytest.mark.parametrize("answer", [b"<html>login</html>", b"[]", b'{"items": 3}', b""])
def test_an_answer_that_is_none(cluster: Cluster, answer: bytes) -> None:
    cluster.answer = answer

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: listener.health.code == "engine-bad-answer")
        cluster.answer = None
        await begun(cluster, listener)
        await listener.until(lambda: listener.health.code == "")

    play(cluster, scene)


def test_an_answer_without_end_is_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LIST_BYTES_MAX", 100_000)
    cluster.answer = b'{"items": [' + b"1," * 100_000

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: "more than 100000 bytes" in listener.health.message)

    play(cluster, scene)


def test_a_server_that_is_silent_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_TIMEOUT_S", 0.3)
    cluster.silent = True

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: listener.health.code == "engine-silent")

    play(cluster, scene)


def test_more_pods_than_are_followed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KUBERNETES_PODS_MAX", 3)
    for number in range(5):
        cluster.put(PODS, pod(f"pod-{number}"))

    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)
        assert len(listener.pods) == 3
        assert listener.health.code == "engine-too-many"

    play(cluster, scene)


def test_watches_that_end_at_once_are_asked_less_and_less(cluster: Cluster) -> None:
    async def scene(listener: Listener) -> None:
        await begun(cluster, listener)

        async def end_them() -> None:
            while True:
                cluster.say(b"")
                await asyncio.sleep(0.002)

        ending = asyncio.create_task(end_them())
        before = len(cluster.requests)
        await asyncio.sleep(1.0)
        ending.cancel()
        # Two watches, waiting 50, 100, 200 and 400 ms.
        assert len(cluster.requests) - before < 20

    play(cluster, scene)


def test_services_are_told_by_where_they_are_reached(cluster: Cluster) -> None:
    cluster.put(SERVICES, service("frontend", node_port=30080))
    cluster.put(SERVICES, service("headless", "None"))

    async def scene(listener: Listener) -> None:
        await listener.until(lambda: listener.places)
        assert listener.places == {
            VirtualPlace(address="10.96.12.7", port=80, service="shop/frontend"),
            VirtualPlace(port=30080, service="shop/frontend"),
        }
        await begun(cluster, listener)
        cluster.put(SERVICES, service("api", "fd00:96::7"))
        await listener.until(lambda: len(listener.places) == 3)
        cluster.delete(SERVICES, "frontend")
        await listener.until(
            lambda: (
                listener.places == {VirtualPlace(address="fd00:96::7", port=80, service="shop/api")}
            )
        )

    play(cluster, scene)
