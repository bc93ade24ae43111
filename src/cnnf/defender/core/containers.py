"""Containers and their networks as values, and the changes discovery reports about them.

Discovery makes them from an engine's answers; the daemon keeps the current set, gives the packet
loop the networks and the link the instances. Text from labels and names is somebody else's: it is
cleaned and cut here, once.
"""

import re
from typing import Literal

import msgspec

from cnnf.protocol.limits import (
    ADDRESSES_MAX,
    LABEL_CHARS_MAX,
    LABELS_MAX,
    NAME_CHARS_MAX,
    PORTS_MAX,
)
from cnnf.protocol.messages import Instance

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
    protocol: str


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A container's place in one network. Addresses are canonical text, without prefix length."""

    network: str
    name: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container. `image` is the repository as in `Instance.name`; times are ms, 0 unknown.

    `shared_network` is the id of the container whose network namespace this one lives in; such a
    container and one with `host_network` have no addresses of their own. `pid` is that of its
    first process in the engine's pid namespace, 0 when it does not run.
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
    restarts: int = 0
    health: str = ""

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
    """A network of containers. `bridge` is its interface on the host, '' where it has none."""

    id: str
    name: str
    driver: str
    bridge: str = ""
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that runs now; whatever was known before and is missing here has stopped."""

    containers: tuple[Container, ...]
    networks: tuple[ContainerNetwork, ...]


class ContainerChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A container started, or something about a running one is different."""

    container: Container


class ContainerGone(msgspec.Struct, frozen=True, kw_only=True):
    """A container no longer runs, since `at` (ms)."""

    id: str
    at: int


class NetworksChanged(msgspec.Struct, frozen=True, kw_only=True):
    """All networks there are now."""

    networks: tuple[ContainerNetwork, ...]


class EngineHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with the engine: `code` is '' while all is well, else names the condition."""

    code: str = ""
    message: str = ""


Change = Snapshot | ContainerChanged | ContainerGone | NetworksChanged | EngineHealth


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


def as_instance(container: Container, *, stopped_at: int = 0) -> Instance:
    """The container as the Console is told about it; `ports` are those of the host it publishes."""
    ports = sorted({place.host_port for place in container.published})
    return Instance(
        id=container.id,
        kind="container",
        name=container.image,
        tag=container.tag,
        digest=container.digest,
        project=container.project,
        title=container.title,
        labels=container.labels,
        addresses=list(container.addresses[:ADDRESSES_MAX]),
        ports=ports[:PORTS_MAX],
        pid=container.pid,
        started_at=container.started_at,
        stopped_at=stopped_at,
    )
