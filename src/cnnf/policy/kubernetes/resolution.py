"""What named ports mean: numbers that differ by pod, of the pods that are known.

A named port becomes a number and the pods that mean this number by it. These are told by what is
known of them where a connection is judged (`endpoints.port_label`); where that is nothing, by the
labels of the pods that the cluster has.
"""

from collections.abc import Iterable, Iterator

from cnnf.policy.endpoints import port_label
from cnnf.policy.kubernetes.manifests import Pod, PodPort
from cnnf.policy.kubernetes.port_sets import Stretch
from cnnf.policy.kubernetes.selection import (
    ALL_PODS,
    ANY_WORD,
    NO_WORD,
    Label,
    Pods,
    Side,
    Words,
)

_ABSENT = Label(NO_WORD, may_miss=True)
#: Namespace and labels: pods that have both alike can't be told apart by them.
_Class = tuple[str, tuple[tuple[str, str], ...]]


class KnownPods:
    """The pods of the cluster, by their namespaces and labels."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._classes: dict[_Class, list[Pod]] = {}
        self._in: dict[str, list[_Class]] = {}
        for pod in pods:
            alike = (pod.namespace, tuple(sorted(pod.labels.items())))
            if alike not in self._classes:
                self._in.setdefault(pod.namespace, []).append(alike)
            self._classes.setdefault(alike, []).append(pod)

    @property
    def host_network(self) -> list[Pods]:
        """Those that have their node's network, where nobody else is like them."""
        return [
            self._exactly(alike)
            for alike, pods in self._classes.items()
            if all(pod.host_network for pod in pods)
        ]

    @property
    def mixed_networks(self) -> list[str]:
        """Pods like which some have their node's network and some don't: one of each."""
        return [
            f"{pods[0].namespace}/{pods[0].name}"
            for pods in self._classes.values()
            if len({pod.host_network for pod in pods}) > 1
        ]

    @property
    def mixed_ports(self) -> list[str]:
        """Pods like which not all have the same named ports: one of each."""
        return [
            f"{pods[0].namespace}/{pods[0].name}"
            for pods in self._classes.values()
            if not _alike(pods)
        ]

    @property
    def nodes(self) -> list[str]:
        """The nodes that pods run on."""
        return sorted({pod.node for pods in self._classes.values() for pod in pods if pod.node})

    def meant(self, side: Side | None, named: Stretch, protocol: str) -> dict[int, list[Pods]]:
        """The numbers that a named port has on a side, and the pods that have each.

        Nobody but pods has named ports; a side that is None is everybody.
        """
        pods = side if isinstance(side, Pods) else ALL_PODS
        if side is not None and not isinstance(side, Pods):
            pods = ALL_PODS.within(side)
        keys = sorted(port_label(name, protocol) for name in named.names)
        found: dict[int, list[Pods]] = {}
        for number in sorted(self._numbers(named, protocol)):
            value = Label(Words(frozenset((str(number),))), may_miss=False)
            told = pods & Pods(ANY_WORD, tuple((key, value) for key in keys))
            if told is not None:
                found[number] = [told]
        untold = Pods(ANY_WORD, tuple((key, _ABSENT) for key in keys))
        for alike in self._within(pods.namespaces):
            members = self._classes[alike]
            if members[0].host_network or not _alike(members):
                continue
            if not pods.hold(alike[0], dict(alike[1])):
                continue
            one = self._exactly(alike) & untold
            # No label of Kubernetes has a colon: these never contradict each other.
            assert one is not None, alike
            if pods.block is not None:
                one = one.within(pods.block)
            for number in _numbers_of(members[0], named, protocol):
                found.setdefault(number, []).append(one)
        return found

    def _within(self, namespaces: Words) -> Iterator[_Class]:
        for namespace, classes in self._in.items():
            if namespace in namespaces:
                yield from classes

    def _numbers(self, named: Stretch, protocol: str) -> set[int]:
        return {
            number
            for pods in self._classes.values()
            for pod in pods
            for number in _numbers_of(pod, named, protocol)
        }

    def _exactly(self, alike: _Class) -> Pods:
        """These pods and none of the others that are known."""
        namespace, labels = alike
        own = dict(labels)
        wanted = {key: Label(Words(frozenset((value,))), may_miss=False) for key, value in labels}
        for _, other in self._in_namespace(namespace):
            # Whoever has all of their labels and more is told by what he has more.
            if len(other) > len(own) and own.items() <= dict(other).items():
                wanted |= {key: _ABSENT for key, _ in other if key not in own}
        return Pods(Words(frozenset((namespace,))), tuple(sorted(wanted.items())))

    def _in_namespace(self, namespace: str) -> list[_Class]:
        return self._in.get(namespace, [])


def _alike(pods: list[Pod]) -> bool:
    return len({(pod.host_network, frozenset(pod.ports)) for pod in pods}) == 1


def _numbers_of(pod: Pod, named: Stretch, protocol: str) -> set[int]:
    """The numbers that have all the names on a pod."""
    return {
        one.port
        for one in pod.ports
        if one.protocol == protocol
        and named.low <= one.port <= named.high
        and all(PodPort(name, one.port, one.protocol) in pod.ports for name in named.names)
    }
