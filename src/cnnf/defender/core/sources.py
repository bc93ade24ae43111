"""What each source has told of containers and pods, and which containers that makes.

A host may have several sources that tell of the same container by the same id: the runtime that
runs it, and Kubernetes that had it run. One wins, by the order in `ORDER`, and the others add what
it lacks; so nobody's news undoes somebody else's. Pure; `residents.py` owns it.
"""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from cnnf.defender.core.containers import (
    LIVE_STATES,
    Attachment,
    Change,
    Container,
    ContainerChanged,
    ContainerGone,
    ContainerNetwork,
    NetworksChanged,
    Pod,
    PodChanged,
    PodGone,
    Snapshot,
)
from cnnf.defender.core.limits import ENDED_CONTAINERS_MAX, PODS_MAX
from cnnf.protocol.limits import LABELS_MAX

#: Who is believed first. Who runs a container knows best when it began and ended, what it is
#: called and where it is published; Kubernetes hears of all that later, from the runtime. A source
#: may be one of several of its kind: `docker:/run/other.sock`.
ORDER = ("docker", "podman", "cri", "kubernetes")

#: What another source may add where the one that wins says nothing, or none of it.
_ADDED = ("cluster", "namespace", "pod", "pod_uid", "workload", "title", "digest", "project", "pid")


class Effects(NamedTuple):
    """What a change comes to: containers that are there or different, those that have ended (id,
    ms), and whether the networks have to be looked at."""

    put: list[Container]
    gone: list[tuple[str, int]]
    networks: bool


class _Source:
    __slots__ = ("containers", "networks", "pods")

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.pods: dict[str, Pod] = {}
        self.networks: tuple[ContainerNetwork, ...] = ()


class Sources:
    """All that was told and still holds, by source."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        #: Which pod a container is part of, by what pods say; a container's own word goes first.
        self._pod_of: dict[str, str] = {}
        #: Containers that a source has ended, and its rank: what is told later by those who only
        #: heard of it does not bring one back.
        self._ended: OrderedDict[str, int] = OrderedDict()

    def take(self, source: str, change: Change, now_ms: int) -> Effects:
        """One source's news. `EngineHealth` changes nothing here: what was told stays."""
        told = self._sources.setdefault(source, _Source())
        match change:
            case Snapshot():
                return self._replace(source, told, change, now_ms)
            case ContainerChanged(container=container):
                if container.state not in LIVE_STATES:
                    return self._drop(source, told, container.id, now_ms)
                told.containers[container.id] = container
                self._lives(source, container.id)
                return self._effects([container.id])
            case ContainerGone():
                return self._drop(source, told, change.id, change.at)
            case NetworksChanged():
                told.networks = change.networks
                return Effects([], [], True)
            case PodChanged(pod=pod):
                touched = self._put_pod(told, pod)
                return self._effects(sorted(touched))
            case PodGone(uid=uid):
                gone = told.pods.pop(uid, None)
                return self._effects(sorted(self._forget_pod(gone)) if gone else [])
            case _:
                return Effects([], [], False)

    def networks(self) -> tuple[ContainerNetwork, ...]:
        """The networks of all sources, each once."""
        found: dict[str, ContainerNetwork] = {}
        for source in self._ordered():
            for network in self._sources[source].networks:
                found.setdefault(network.id, network)
        return tuple(found.values())

    def container(self, container: str) -> Container | None:
        """A container as it is by everything that was told; None when nobody tells of it."""
        merged = None
        for source in self._ordered():
            told = self._sources[source].containers.get(container)
            if told is not None and not self._is_stale(source, container):
                merged = told if merged is None else merge(merged, told)
        if merged is None:
            return None
        for pod in self._pods_of(merged):
            merged = enrich(merged, pod)
        return merged

    def _replace(self, source: str, told: _Source, change: Snapshot, now_ms: int) -> Effects:
        now = {one.id: one for one in change.containers if one.state in LIVE_STATES}
        missing = sorted(told.containers.keys() - now.keys())
        touched = set(now)
        for pod in list(told.pods.values()):
            touched |= self._forget_pod(pod)
        told.pods = {}
        for pod in change.pods:
            touched |= self._put_pod(told, pod)
        told.containers, told.networks = now, change.networks
        for container in now:
            self._lives(source, container)
        put: list[Container] = []
        gone: list[tuple[str, int]] = []
        for container in missing:
            self._ends(source, container)
        for container in sorted(touched | set(missing)):
            present = self.container(container)
            if present is not None:
                put.append(present)
            elif container in missing:
                gone.append((container, now_ms))
        return Effects(put, gone, True)

    def _drop(self, source: str, told: _Source, container: str, at_ms: int) -> Effects:
        if told.containers.pop(container, None) is None:
            return Effects([], [], False)
        self._ends(source, container)
        present = self.container(container)
        if present is not None:
            return Effects([present], [], False)
        return Effects([], [(container, at_ms)], False)

    def _effects(self, containers: list[str]) -> Effects:
        present = [self.container(container) for container in containers]
        return Effects([one for one in present if one is not None], [], False)

    # --- who is believed

    def _ordered(self) -> list[str]:
        return sorted(self._sources, key=lambda source: (_rank(source), source))

    def _ends(self, source: str, container: str) -> None:
        self._ended[container] = _rank(source)
        self._ended.move_to_end(container)
        if len(self._ended) > ENDED_CONTAINERS_MAX:
            self._ended.popitem(last=False)

    def _lives(self, source: str, container: str) -> None:
        if not self._is_stale(source, container):
            self._ended.pop(container, None)

    def _is_stale(self, source: str, container: str) -> bool:
        """Has somebody who knows better said that it ended?"""
        ended = self._ended.get(container)
        return ended is not None and ended < _rank(source)

    # --- pods

    def _put_pod(self, told: _Source, pod: Pod) -> set[str]:
        before = told.pods.get(pod.uid)
        if before is None and len(told.pods) >= PODS_MAX:
            return set()
        touched = self._forget_pod(before) if before is not None else set()
        told.pods[pod.uid] = pod
        for container in pod.containers:
            self._pod_of[container] = pod.uid
        return touched | set(pod.containers) | self._members(pod.uid)

    def _forget_pod(self, pod: Pod) -> set[str]:
        """Whom the pod's word was about."""
        for container in pod.containers:
            if self._pod_of.get(container) == pod.uid:
                del self._pod_of[container]
        return set(pod.containers) | self._members(pod.uid)

    def _members(self, uid: str) -> set[str]:
        return {
            one.id
            for source in self._sources.values()
            for one in source.containers.values()
            if one.pod_uid == uid
        }

    def _pods_of(self, container: Container) -> list[Pod]:
        uid = container.pod_uid or self._pod_of.get(container.id, "")
        if not uid:
            return []
        found = (self._sources[source].pods.get(uid) for source in self._ordered())
        return [pod for pod in found if pod is not None]


def merge(first: Container, other: Container) -> Container:
    """The first, with what it lacks and the other knows."""
    added = {
        name: getattr(other, name)
        for name in _ADDED
        if not getattr(first, name) and getattr(other, name)
    }
    own = first.attachments or first.host_network or first.shared_network
    if not own:
        added["attachments"] = other.attachments
        added["host_network"] = other.host_network
        added["shared_network"] = other.shared_network
    if not first.published:
        added["published"] = other.published
    added["labels"] = _united(first.labels, other.labels)
    return msgspec.structs.replace(first, **added)


def enrich(container: Container, pod: Pod) -> Container:
    """The container as part of its pod.

    The pod's labels go before the container's own: they are what people give, select by and see,
    a container's own came with its image.
    """
    added: dict[str, object] = {
        "pod_uid": pod.uid,
        "pod": container.pod or pod.name,
        "namespace": container.namespace or pod.namespace,
        "cluster": container.cluster or pod.cluster,
        "workload": container.workload or pod.workload,
        "labels": _united(pod.labels, container.labels),
    }
    own = container.attachments or container.host_network or container.shared_network
    if not own and pod.host_network:
        added["host_network"] = True
    elif not own and pod.addresses:
        added["attachments"] = (
            Attachment(network=f"pod:{pod.uid}", name=pod.namespace, addresses=pod.addresses),
        )
    return msgspec.structs.replace(container, **added)


def _united(first: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """Both; the first goes before the other where they differ, and where there are too many."""
    if not other or first == other:
        return first
    united = {**first, **{key: value for key, value in other.items() if key not in first}}
    return dict(list(united.items())[:LABELS_MAX])


def _rank(source: str) -> int:
    kind = source.partition(":")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)
