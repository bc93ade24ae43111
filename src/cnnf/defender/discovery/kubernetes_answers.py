"""A cluster's objects to values: pods, services, and what is asked about them.

Values in, values out. Whatever the API says is checked here: wrong types raise BadAnswer, text is
cleaned, lists are cut. Fields are those of the core v1, apps v1 and batch v1 groups.
"""

from itertools import islice

import msgspec

from cnnf.defender.core.containers import Pod, clean_text
from cnnf.defender.core.pods import NamedPort, OwnerReference, VirtualPlace, pod_labels
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.answers import decode
from cnnf.policy.addresses import parse_address
from cnnf.protocol.limits import ADDRESSES_MAX

#: Annotations of a static pod's picture in the API: the kubelet runs it under the hash as its uid.
_MIRROR, _HASH = "kubernetes.io/config.mirror", "kubernetes.io/config.hash"
#: Phases in which a pod's containers have ended for good; its address may be another's by then.
_OVER = frozenset(("Succeeded", "Failed"))


class _Struct(msgspec.Struct, rename="camel"):
    """The API writes its fields in camelCase."""


class _Owner(_Struct):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Meta(_Struct):
    """`metadata` of any object, as far as it is of interest."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None


class Described(_Struct):
    """Any object of which only its owners or labels are of interest."""

    metadata: Meta


class _ContainerPort(_Struct):
    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class _PodContainer(_Struct):
    ports: list[_ContainerPort] | None = None
    restart_policy: str = ""


class _PodSpec(_Struct):
    host_network: bool = False
    containers: list[_PodContainer] | None = None
    init_containers: list[_PodContainer] | None = None


class _PodIp(_Struct):
    ip: str = ""


class _ContainerStatus(_Struct):
    container_id: str = msgspec.field(default="", name="containerID")


class _PodStatus(_Struct):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[_PodIp] | None = msgspec.field(default=None, name="podIPs")
    container_statuses: list[_ContainerStatus] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None
    ephemeral_container_statuses: list[_ContainerStatus] | None = None


class PodObject(_Struct):
    """A pod."""

    metadata: Meta
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)

    @property
    def owners(self) -> tuple[OwnerReference, ...]:
        """Who made it, by its own word."""
        return owners_of(self.metadata)

    @property
    def uid(self) -> str:
        """The uid that the runtime knows it by."""
        annotations = self.metadata.annotations or {}
        hashed = annotations.get(_HASH, "") if _MIRROR in annotations else ""
        return clean_text(hashed or self.metadata.uid, 64)


class _ServicePort(_Struct):
    port: int = 0
    node_port: int = 0
    protocol: str = "TCP"


class _ServiceSpec(_Struct):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    ports: list[_ServicePort] | None = None


class _Ingress(_Struct):
    ip: str = ""


class _LoadBalancer(_Struct):
    ingress: list[_Ingress] | None = None


class _ServiceStatus(_Struct):
    load_balancer: _LoadBalancer = msgspec.field(default_factory=_LoadBalancer)


class ServiceObject(_Struct):
    """A service."""

    metadata: Meta
    spec: _ServiceSpec = msgspec.field(default_factory=_ServiceSpec)
    status: _ServiceStatus = msgspec.field(default_factory=_ServiceStatus)


class _ConfigMap(_Struct):
    data: dict[str, str] | None = None


def pod_from(answer: PodObject, workload: str, cluster: str) -> Pod:
    """The pod as its containers' runtime lacks it. Raises BadAnswer."""
    status = answer.status
    over = status.phase in _OVER
    statuses = (
        *(status.container_statuses or ()),
        *(status.init_container_statuses or ()),
        *(status.ephemeral_container_statuses or ()),
    )
    ids = (one.container_id.rpartition("://")[2] for one in statuses)
    addresses = () if over or answer.spec.host_network else _addresses(status)
    return Pod(
        uid=answer.uid,
        namespace=clean_text(answer.metadata.namespace),
        name=clean_text(answer.metadata.name),
        cluster=cluster,
        workload=workload,
        labels=pod_labels(answer.metadata.labels or {}, _named_ports(answer.spec)),
        addresses=addresses,
        host_network=answer.spec.host_network,
        containers=tuple(one for one in ids if 0 < len(one) <= 64)[: limits.ATTACHMENTS_MAX],
    )


def places_of(answer: ServiceObject) -> tuple[VirtualPlace, ...]:
    """The addresses and ports that the service stands for; none where it has no address."""
    spec = answer.spec
    ingress = answer.status.load_balancer.ingress or ()
    texts = dict.fromkeys(
        (
            spec.cluster_ip,
            *(spec.cluster_ips or ()),
            *(spec.external_ips or ()),
            *(one.ip for one in ingress),
        )
    )
    name = clean_text(f"{answer.metadata.namespace}/{answer.metadata.name}")
    found = []
    for port in (spec.ports or ())[: limits.KUBERNETES_PORTS_MAX]:
        protocol = port.protocol.lower()
        if protocol not in ("tcp", "udp"):
            continue
        for text in list(texts)[:ADDRESSES_MAX]:
            # A service without an address of its own has `None` there.
            if text in ("", "None") or not 0 < port.port < 65_536:
                continue
            try:
                address = str(parse_address(text))
            except ValueError:
                continue
            found.append(
                VirtualPlace(address=address, port=port.port, protocol=protocol, service=name)  # type: ignore[arg-type]
            )
        if 0 < port.node_port < 65_536:
            found.append(VirtualPlace(port=port.node_port, protocol=protocol, service=name))  # type: ignore[arg-type]
    return tuple(found)


def owners_of(metadata: Meta) -> tuple[OwnerReference, ...]:
    """Who made an object, by its own word."""
    owners = (metadata.owner_references or ())[: limits.KUBERNETES_OWNERS_MAX]
    return tuple(
        OwnerReference(
            kind=clean_text(one.kind, 64),
            name=clean_text(one.name),
            uid=clean_text(one.uid, 64),
            controller=bool(one.controller),
        )
        for one in owners
    )


def configuration_from(body: bytes) -> str:
    """kubeadm's `ClusterConfiguration` out of its ConfigMap; '' where it has none."""
    answer: _ConfigMap = decode(body, _ConfigMap, "kubeadm-config")
    return (answer.data or {}).get("ClusterConfiguration", "")


def _named_ports(spec: _PodSpec) -> list[NamedPort]:
    """The ports that have names, of all containers that stay: those that begin before the others
    and don't end are the last, as in Kubernetes' own search."""
    stay = [one for one in spec.init_containers or () if one.restart_policy == "Always"]
    listed = (port for one in (*(spec.containers or ()), *stay) for port in one.ports or ())
    found = []
    for one in islice(listed, limits.KUBERNETES_PORTS_MAX):
        protocol = one.protocol.lower()
        if one.name and protocol in ("tcp", "udp") and 0 < one.container_port < 65_536:
            found.append(NamedPort(name=one.name, port=one.container_port, protocol=protocol))
    return found


def _addresses(status: _PodStatus) -> tuple[str, ...]:
    texts = [status.pod_ip, *(one.ip for one in (status.pod_ips or ())[:ADDRESSES_MAX])]
    found: dict[str, None] = {}
    for text in texts:
        if text:
            try:
                found[str(parse_address(text))] = None
            except ValueError:
                # What is no address names nobody; the rest of the pod still counts.
                continue
    return tuple(found)[:ADDRESSES_MAX]
