"""Pods of this node as a Kubernetes cluster describes them, and where its services are reached.

The daemon runs `KubernetesDiscovery(...).run()` as a task. What runs is told by the runtime; here
comes what only the cluster knows: who made a pod, its labels as they are now, the cluster's name.
The objects behind pods are read once each, where a pod's own word is not enough.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import quote

import structlog

from cnnf.defender.core.containers import (
    Change,
    EngineHealth,
    Pod,
    PodChanged,
    PodGone,
    Snapshot,
    clean_text,
)
from cnnf.defender.core.pods import (
    OwnerReference,
    VirtualPlace,
    cluster_by_kubeadm,
    cluster_by_node,
    controller_of,
    parent_known,
    workload,
)
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.answers import decode
from cnnf.defender.discovery.errors import BadAnswer, EngineError, EngineUnreachable
from cnnf.defender.discovery.kubernetes_access import Access
from cnnf.defender.discovery.kubernetes_answers import (
    Described,
    PodObject,
    ServiceObject,
    configuration_from,
    owners_of,
    places_of,
    pod_from,
)
from cnnf.defender.discovery.kubernetes_client import KubernetesClient
from cnnf.defender.discovery.kubernetes_watch import Told, Watched

_KUBEADM = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
#: Where the objects are that may have been made by another: kind -> folder of the API.
_FOLDERS = {
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets/",
    "Job": "/apis/batch/v1/namespaces/{}/jobs/",
}
_FORBIDDEN, _NOT_FOUND = 403, 404

_log = structlog.get_logger(__name__)


class KubernetesDiscovery:
    """Follows one cluster until cancelled; calls `on_change` from its own event loop.

    `access` is asked for each session. `node` is this host's name in the cluster, `cluster` what
    the cluster is called, '' where the cluster itself has to say. `places` gets all virtual places
    whenever they change.
    """

    def __init__(
        self,
        on_change: Callable[[Change], None],
        access: Callable[[], Access],
        *,
        node: str,
        cluster: str = "",
        places: Callable[[frozenset[VirtualPlace]], None] | None = None,
    ) -> None:
        self._on_change = on_change
        self._access = access
        self._node = node
        self._cluster = cluster
        self._places = places
        self._health = EngineHealth()
        #: What is wrong with each part; what is right is not in here.
        self._troubles: dict[str, EngineHealth] = {}

    async def run(self) -> None:
        """Follow the cluster for ever; whatever fails is reported as EngineHealth and retried."""
        parts = [self._keep("pods", self._follow_pods)]
        if self._places is not None:
            parts.append(self._keep("services", partial(self._follow_services, self._places)))
        await asyncio.gather(*parts)

    async def _keep(self, part: str, work: Callable[[KubernetesClient], Awaitable[None]]) -> None:
        wait_s = limits.RETRY_FIRST_S
        while True:
            began = asyncio.get_running_loop().time()
            try:
                access = await asyncio.to_thread(self._access)
                async with KubernetesClient(access) as client:
                    await work(client)
            except EngineError as error:
                self._trouble(part, EngineHealth(code=error.code, message=str(error)))
            if asyncio.get_running_loop().time() - began > limits.KUBERNETES_RETRY_LAST_S:
                wait_s = limits.RETRY_FIRST_S
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, limits.KUBERNETES_RETRY_LAST_S)

    async def _follow_pods(self, client: KubernetesClient) -> None:
        labels = await _node_labels(client, self._node)
        cluster = self._cluster or await _cluster(client, labels)
        pods = _Pods(client, cluster, self._on_change)

        async def listed(objects: list[bytes]) -> None:
            await pods.replace(objects)
            self._settle_pods(watched, pods)

        async def told(change: Told) -> None:
            await pods.take(change)
            self._settle_pods(watched, pods)

        watched = Watched(
            client,
            "/api/v1/pods",
            objects_max=limits.KUBERNETES_PODS_MAX,
            listed=listed,
            told=told,
            fieldSelector=f"spec.nodeName={self._node}",
        )
        await watched.run()

    def _settle_pods(self, watched: Watched, pods: "_Pods") -> None:
        if watched.too_many:
            message = f"more than {limits.KUBERNETES_PODS_MAX} pods; the rest is left out"
            self._trouble("pods", EngineHealth(code="engine-too-many", message=message))
        elif pods.left_out:
            name, why = next(iter(pods.left_out.items()))
            message = f"pod {name} is left out: {why}"
            self._trouble("pods", EngineHealth(code="engine-bad-answer", message=message))
        else:
            self._trouble("pods", EngineHealth())

    async def _follow_services(
        self, tell_places: Callable[[frozenset[VirtualPlace]], None], client: KubernetesClient
    ) -> None:
        known: dict[str, tuple[VirtualPlace, ...]] = {}

        def put(raw: bytes) -> None:
            try:
                service: ServiceObject = decode(raw, ServiceObject, "service")
            except BadAnswer as error:
                _log.warning("service unreadable", error=str(error))
                return
            known[service.metadata.uid] = places_of(service)

        def tell() -> None:
            places = [place for one in known.values() for place in one]
            tell_places(frozenset(places[: limits.KUBERNETES_PLACES_MAX]))
            self._trouble("services", EngineHealth())

        async def listed(objects: list[bytes]) -> None:
            known.clear()
            for raw in objects:
                put(raw)
            tell()

        async def told(change: Told) -> None:
            if change.deleted:
                gone: Described = decode(change.raw, Described, "service")
                known.pop(gone.metadata.uid, None)
            elif len(known) < limits.KUBERNETES_SERVICES_MAX:
                put(change.raw)
            tell()

        await Watched(
            client,
            "/api/v1/services",
            objects_max=limits.KUBERNETES_SERVICES_MAX,
            listed=listed,
            told=told,
        ).run()

    def _trouble(self, part: str, health: EngineHealth) -> None:
        """Say how it stands with the cluster, when that is news; what was found stays."""
        if health.code:
            self._troubles[part] = health
        else:
            self._troubles.pop(part, None)
        # Pods come first: without them nobody is named.
        whole = self._troubles.get("pods") or next(iter(self._troubles.values()), EngineHealth())
        if whole != self._health:
            self._health = whole
            log = _log.warning if whole.code else _log.info
            log("cluster", code=whole.code or "well", message=whole.message)
            self._on_change(whole)


class _Pods:
    """The node's pods as last told, and who made them."""

    def __init__(
        self, client: KubernetesClient, cluster: str, tell: Callable[[Change], None]
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._tell = tell
        self._known: dict[str, Pod] = {}
        self._parents: OrderedDict[str, OwnerReference | None] = OrderedDict()
        self._slots = asyncio.Semaphore(limits.REQUESTS_MAX)
        self.left_out: dict[str, str] = {}

    async def replace(self, objects: list[bytes]) -> None:
        """Every pod was listed."""
        self.left_out.clear()
        made = await asyncio.gather(*(self._pod(raw) for raw in objects))
        self._known = {pod.uid: pod for pod in made if pod is not None}
        self._tell(Snapshot(pods=tuple(self._known.values())))

    async def take(self, change: Told) -> None:
        """A pod came, changed or went."""
        if change.deleted:
            gone: PodObject = decode(change.raw, PodObject, "pod")
            self.left_out.pop(_title(gone), None)
            if self._known.pop(gone.uid, None) is not None:
                self._tell(PodGone(uid=gone.uid))
            return
        pod = await self._pod(change.raw)
        if pod is None or self._known.get(pod.uid) == pod:
            return
        if len(self._known) >= limits.KUBERNETES_PODS_MAX and pod.uid not in self._known:
            return
        self._known[pod.uid] = pod
        self._tell(PodChanged(pod=pod))

    async def _pod(self, raw: bytes) -> Pod | None:
        """The pod in full; None where it can't be understood, which is reported."""
        name = "?"
        try:
            name = _title(decode(raw, Described, "pod"))
            described: PodObject = decode(raw, PodObject, "pod")
            owner = await self._owner(described)
            made = workload(owner, described.metadata.name)
            pod = pod_from(described, made, self._cluster)
        except BadAnswer as error:
            if len(self.left_out) < limits.KUBERNETES_PODS_MAX:
                self.left_out[name] = str(error)
            return None
        self.left_out.pop(name, None)
        return pod

    async def _owner(self, pod: PodObject) -> OwnerReference | None:
        owner = controller_of(pod.owners)
        known, is_last = parent_known(owner, pod.metadata.labels or {})
        if is_last or known is None:
            return known
        key = known.uid or f"{pod.metadata.namespace}/{known.name}"
        if key not in self._parents:
            self._parents[key] = await self._parent(known, pod.metadata.namespace)
            if len(self._parents) > limits.KUBERNETES_PARENTS_MAX:
                self._parents.popitem(last=False)
        return self._parents[key] or known

    async def _parent(self, owner: OwnerReference, namespace: str) -> OwnerReference | None:
        """Who made a ReplicaSet or a Job; None for nobody, or where we may not know."""
        folder = _FOLDERS[owner.kind].format(quote(namespace, safe=""))
        try:
            async with self._slots:
                body = await self._client.get(folder + quote(owner.name, safe=""))
            described: Described = decode(body, Described, owner.kind)
        except BadAnswer as error:
            # Without the right to know, or with the owner gone, its own name has to do.
            _log.info("owner not read", owner=f"{owner.kind}/{owner.name}", error=str(error))
            return None
        return controller_of(owners_of(described.metadata))


def _title(pod: PodObject | Described) -> str:
    return clean_text(f"{pod.metadata.namespace}/{pod.metadata.name}", 200)


async def _node_labels(client: KubernetesClient, node: str) -> dict[str, str]:
    """The node's labels. Raises EngineUnreachable when the cluster has no such node."""
    try:
        body = await client.get(f"/api/v1/nodes/{quote(node, safe='')}")
    except BadAnswer as error:
        if error.status == _NOT_FOUND:
            raise EngineUnreachable(
                f"the cluster has no node {node!r:.200}; say which one this host is with --node",
                "engine-refused",
            ) from error
        if error.status == _FORBIDDEN:
            return {}
        raise
    described: Described = decode(body, Described, "node")
    return described.metadata.labels or {}


async def _cluster(client: KubernetesClient, labels: dict[str, str]) -> str:
    """What the cluster is called: as kubeadm set it up, else as a provider labels its nodes."""
    try:
        name = cluster_by_kubeadm(configuration_from(await client.get(_KUBEADM)))
    except BadAnswer as error:
        if error.status not in (_FORBIDDEN, _NOT_FOUND):
            raise
        name = ""
    return name or cluster_by_node(labels)
