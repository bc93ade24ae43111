"""Containers and their networks as values, and the changes discovery reports about them.

Discovery makes them from an engine's answers; the daemon keeps the current set, gives the packet
loop the networks and the link the instances. Text from labels and names is somebody else's: it is
cleaned and cut here, once.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Literal

import msgspec

from cnnf.protocol.limits import (
    ADDRESSES_MAX,
    LABEL_CHARS_MAX,
    LABELS_MAX,
    NAME_CHARS_MAX,
    PORTS_MAX,
)
from cnnf.protocol.messages import Instance, Protocol, Published

ContainerState = Literal["created", "running", "paused", "restarting", "exited", "dead"]

#: States in which a container's processes exist, so that it is an instance.
LIVE_STATES: frozenset[str] = frozenset(("running", "paused"))

#: Control characters (C0, DEL, C1), line and paragraph separators, characters that reorder text
#: on screen, and lone surrogates (no UTF-8 for them).
_UNCLEAN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
)


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port of the host that leads to a container's port."""

    host_address: str
    host_port: int
    port: int
    protocol: Protocol = "tcp"


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A container's place in one network, since when (ms; 0: not known). Addresses are canonical
    text, without prefix length."""

    network: str
    name: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    since: int = 0


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container. `image` is the repository as in `Instance.name`; times are ms, 0 unknown.

    `shared_network` is the id of the container whose network namespace this one lives in; such a
    container and one with `host_network` have no addresses of their own. `pid` is that of its
    first process in the engine's pid namespace, 0 when it does not run. `resolvers` are the servers
    of DNS that it was given of its own, as canonical text.

    The containers of one pod (`pod_uid`) live in one network namespace: each of them is told with
    the pod's addresses, and all of them stand behind those.
    """

    id: str
    image: str
    tag: str = ""
    digest: str = ""
    title: str = ""
    labels: dict[str, str] = {}
    project: str = ""
    compose_service: str = ""
    attachments: tuple[Attachment, ...] = ()
    pid: int = 0
    started_at: int = 0
    state: str = "running"
    host_network: bool = False
    shared_network: str = ""
    published: tuple[PublishedPort, ...] = ()
    resolvers: tuple[str, ...] = ()
    restarts: int = 0
    health: str = ""
    cluster: str = ""
    namespace: str = ""
    pod: str = ""
    pod_uid: str = ""
    workload: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address of its own, in the order of its networks."""
        return tuple(address for place in self.attachments for address in place.addresses)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The gateways of its networks: the host's own addresses on the bridges."""
        return tuple(address for place in self.attachments for address in place.gateways)

    @property
    def networks(self) -> tuple[str, ...]:
        """The ids of its networks."""
        return tuple(place.network for place in self.attachments)


class ContainerNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A network of containers. `bridge` is its interface on the host, '' where it has none.
    `routed`: its addresses are seen beyond the host, so they mean the same there; `routed6` says so
    of those of IPv6, where it is not the same."""

    id: str
    name: str
    driver: str
    bridge: str = ""
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    routed: bool = False
    routed6: bool | None = None

    def is_routed(self, subnet: str) -> bool:
        """Are the addresses of this subnet of its own seen beyond the host?"""
        if ":" in subnet and self.routed6 is not None:
            return self.routed6
        return self.routed


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a pod of this host, whoever runs its containers: it adds what they lack.

    `containers` are their ids without the runtime's prefix (`containerd://`), as far as known; a
    container told with this pod's uid belongs to it as well. `workload` is what made the pod, by
    kind and name (`deployment/frontend`).
    """

    uid: str
    namespace: str = ""
    name: str = ""
    cluster: str = ""
    workload: str = ""
    labels: dict[str, str] = {}
    addresses: tuple[str, ...] = ()
    host_network: bool = False
    containers: tuple[str, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that one source tells of now; what it told of before and is missing here has gone."""

    containers: tuple[Container, ...] = ()
    networks: tuple[ContainerNetwork, ...] = ()
    pods: tuple[Pod, ...] = ()


class ContainerChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A container started, or something about a running one is different."""

    container: Container


class ContainerExpected(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is about to start has been given these addresses at `since` (ms). All else is
    told once it has started, or else that it has gone."""

    id: str
    addresses: tuple[str, ...]
    since: int


class ContainerGone(msgspec.Struct, frozen=True, kw_only=True):
    """A container no longer runs, since `at` (ms)."""

    id: str
    at: int


class NetworksChanged(msgspec.Struct, frozen=True, kw_only=True):
    """All networks there are now."""

    networks: tuple[ContainerNetwork, ...]


class PodChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A pod came, or something about it is different."""

    pod: Pod


class PodGone(msgspec.Struct, frozen=True, kw_only=True):
    """A pod is no more. Its containers' ends are told by who runs them."""

    uid: str


class EngineHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with the source: `code` is '' while all is well, else says in which way it is
    not (`engine-absent`: there is none, which is no defect)."""

    code: str = ""
    message: str = ""


Change = (
    Snapshot
    | ContainerChanged
    | ContainerExpected
    | ContainerGone
    | NetworksChanged
    | PodChanged
    | PodGone
    | EngineHealth
)


def clean_text(text: str, chars_max: int = NAME_CHARS_MAX) -> str:
    """The text without characters that could garble a page, a log or a terminal, cut to size."""
    # Cut before cleaning too, so that a label of megabytes costs no more than a short one.
    return _UNCLEAN.sub(" ", text[: chars_max * 2]).strip()[:chars_max]


def clean_labels(labels: dict[str, str]) -> dict[str, str]:
    """At most LABELS_MAX labels, the first in alphabetical order, cleaned and cut."""
    cleaned: dict[str, str] = {}
    for key in sorted(labels)[:LABELS_MAX]:
        name = clean_text(key, LABEL_CHARS_MAX)
        if name:
            cleaned[name] = clean_text(labels[key], LABEL_CHARS_MAX)
    return cleaned


def as_instance(
    container: Container, *, listening: Iterable[int] = (), stopped_at: int = 0
) -> Instance:
    """The container as the Console is told about it; `ports` are those of the host that lead to it:
    what it publishes, and where it listens itself if it has no network of its own."""
    own = listening if container.host_network else ()
    ports = sorted({place.host_port for place in container.published}.union(own))
    return Instance(
        id=container.id,
        kind="container",
        name=container.image,
        tag=container.tag,
        digest=container.digest,
        cluster=container.cluster,
        namespace=container.namespace,
        project=container.project,
        title=container.title,
        labels=container.labels,
        addresses=list(container.addresses[:ADDRESSES_MAX]),
        ports=ports[:PORTS_MAX],
        published=_published(container),
        workload=container.workload,
        pod=container.pod,
        host_network=container.host_network,
        state="" if container.state == "running" else container.state,
        health=container.health,
        restarts=container.restarts,
        pid=container.pid,
        started_at=container.started_at,
        stopped_at=stopped_at,
    )


def _published(container: Container) -> list[Published]:
    """In a settled order, so that the same ports are no news."""
    found = {
        (
            "" if ip_address(place.host_address).is_unspecified else place.host_address,
            place.host_port,
            place.port,
            place.protocol,
        )
        for place in container.published
    }
    return [
        Published(address=address, port=port, to=to, protocol=protocol)
        for address, port, to, protocol in sorted(found)[:PORTS_MAX]
    ]
