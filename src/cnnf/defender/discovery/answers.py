"""A Docker Engine's answers to values: `/containers/ID/json`, `/networks`, `/images/…`, `/events`.

Values in, values out. Whatever an engine says is checked here: wrong types raise BadAnswer, text is
cleaned, lists are cut. Fields are those of Engine API 1.40; later versions keep them.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, TypeVar

import msgspec

from cnnf.defender.core.containers import (
    Attachment,
    Container,
    ContainerNetwork,
    PublishedPort,
    clean_labels,
    clean_text,
)
from cnnf.defender.core.images import SHORT_ID_CHARS, ImageName, name_image, parse_image
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.errors import BadAnswer
from cnnf.policy.addresses import parse_address
from cnnf.protocol.limits import ADDRESSES_MAX

COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"
BRIDGE_NAME = "com.docker.network.bridge.name"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"
GATEWAY_MODE6 = "com.docker.network.bridge.gateway_mode_ipv6"
#: Networks whose containers are known by the same addresses to others than this host.
_ROUTED_DRIVERS = frozenset({"macvlan", "ipvlan", "overlay"})

T = TypeVar("T")


class _Struct(msgspec.Struct, rename="pascal"):
    """Docker writes its fields in CamelCase."""


class _Binding(_Struct):
    host_ip: str = ""
    host_port: str = ""


class _Endpoint(_Struct):
    network_id: str = msgspec.field(default="", name="NetworkID")
    ip_address: str = msgspec.field(default="", name="IPAddress")
    gateway: str = ""
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")


class _NetworkSettings(_Struct):
    networks: dict[str, _Endpoint | None] | None = None
    ports: dict[str, list[_Binding] | None] | None = None


class _Health(_Struct):
    status: str = ""


class _State(_Struct):
    status: str = ""
    pid: int = 0
    started_at: str = ""
    health: _Health | None = None


class _Config(_Struct):
    image: str = ""
    labels: dict[str, str] | None = None


class _HostConfig(_Struct):
    network_mode: str = ""
    dns: list[str] | None = None


class InspectedContainer(_Struct):
    """What `GET /containers/ID/json` says, as far as it is of interest."""

    id: str
    state: _State
    config: _Config
    name: str = ""
    image: str = ""
    restart_count: int = 0
    host_config: _HostConfig = msgspec.field(default_factory=_HostConfig)
    network_settings: _NetworkSettings = msgspec.field(default_factory=_NetworkSettings)


class ListedContainer(_Struct):
    """An entry of `GET /containers/json`."""

    id: str
    state: str = ""


class InspectedImage(_Struct):
    """What `GET /images/NAME/json` says, as far as it is of interest."""

    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None


class _IpamConfig(_Struct):
    subnet: str = ""
    gateway: str = ""


class _Ipam(_Struct):
    config: list[_IpamConfig] | None = None


class _Network(_Struct):
    id: str
    name: str = ""
    driver: str = ""
    ipam: _Ipam | None = msgspec.field(default=None, name="IPAM")
    options: dict[str, str] | None = None


class _Member(_Struct):
    ipv4: str = msgspec.field(default="", name="IPv4Address")
    ipv6: str = msgspec.field(default="", name="IPv6Address")


class _InspectedNetwork(_Struct):
    containers: dict[str, _Member | None] | None = None


class _Actor(_Struct):
    id: str = msgspec.field(default="", name="ID")
    attributes: dict[str, str] | None = None


class Event(msgspec.Struct):
    """A line of `GET /events`."""

    type: str = msgspec.field(name="Type")
    action: str = msgspec.field(name="Action")
    actor: _Actor = msgspec.field(name="Actor")
    time_ns: int = msgspec.field(default=0, name="timeNano")

    @property
    def container(self) -> str:
        """The id of the container it is about; '' when it is about none."""
        if self.type == "container":
            return self.actor.id
        return (self.actor.attributes or {}).get("container", "")


class _Component(_Struct):
    name: str = ""


class _PodmanSubnet(msgspec.Struct):
    subnet: str = ""
    gateway: str = ""


class _PodmanNetwork(msgspec.Struct):
    id: str
    name: str = ""
    driver: str = ""
    network_interface: str = ""
    subnets: list[_PodmanSubnet] | None = None


class Version(_Struct):
    """What `GET /version` says, as far as it is of interest."""

    api_version: str
    components: list[_Component] | None = None

    @property
    def is_podman(self) -> bool:
        """Is it Podman that answers?"""
        return any(one.name == "Podman Engine" for one in self.components or ())


def decode(data: bytes, kind: type[T] | Any, what: str) -> T:
    """The answer as the type asked for. Raises BadAnswer, naming what was asked."""
    try:
        answer: T = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = clean_text(data[:80].decode("utf-8", "replace"))
        raise BadAnswer(f"{what}: {error}; it begins {start!r}") from error
    return answer


def api_version(text: str) -> tuple[int, int]:
    """(1, 41) from `1.41`. Raises BadAnswer."""
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal() and len(text) < 10):
        raise BadAnswer(f"version: {clean_text(text, 40)!r} is no API version")
    return int(major), int(minor)


def container_from(answer: InspectedContainer, image: InspectedImage | None) -> Container:
    """The container an engine described; `image` adds names and digests where it is known."""
    labels = answer.config.labels or {}
    named = _named(answer, image)
    mode = answer.host_config.network_mode
    running = answer.state.pid > 0
    return Container(
        id=_checked_id(answer.id),
        image=named.name(),
        tag=named.tag,
        digest=named.digest or _digest_of(named, image),
        title=clean_text(answer.name.lstrip("/")),
        labels=clean_labels(labels),
        project=clean_text(labels.get(COMPOSE_PROJECT, "")),
        compose_service=clean_text(labels.get(COMPOSE_SERVICE, "")),
        attachments=_attachments(answer.network_settings),
        pid=max(answer.state.pid, 0),
        started_at=milliseconds(answer.state.started_at) if running else 0,
        state=clean_text(answer.state.status, 20),
        host_network=mode == "host",
        shared_network=clean_text(mode.removeprefix("container:"))
        if mode.startswith("container:")
        else "",
        published=_published(answer.network_settings),
        resolvers=_resolvers(answer.host_config.dns or ()),
        restarts=max(answer.restart_count, 0),
        health=_health(answer.state.health),
    )


def networks_from(data: bytes, *, masquerades6: bool = True) -> tuple[ContainerNetwork, ...]:
    """The networks in `GET /networks`, without those that have no interface of their own.
    `masquerades6`: the engine's host stands in for IPv6 addresses as it does for IPv4.

    One that cannot be read is left out, the rest still counts. Raises BadAnswer when the answer
    as a whole is no list of networks.
    """
    answers: list[_Network] = decode(data, list[_Network], "networks")
    return tuple(
        _network(answer, masquerades6=masquerades6)
        for answer in answers[: limits.NETWORKS_MAX]
        if answer.driver not in ("null", "host")
    )


def addresses_in_network(data: bytes, container: str) -> tuple[str, ...]:
    """A container's addresses by `GET /networks/ID`; none when it is not in there. Raises
    BadAnswer."""
    answer: _InspectedNetwork = decode(data, _InspectedNetwork, "network")
    place = (answer.containers or {}).get(container)
    texts = (place.ipv4, place.ipv6) if place is not None else ()
    return _addresses(tuple(text.partition("/")[0] for text in texts))


def podman_networks_from(data: bytes) -> tuple[ContainerNetwork, ...]:
    """The networks in Podman's own `GET /libpod/networks/json`, which tells their interfaces.

    Raises BadAnswer when the answer as a whole is no list of networks.
    """
    answers: list[_PodmanNetwork] = decode(data, list[_PodmanNetwork], "networks")
    found = []
    for answer in answers[: limits.NETWORKS_MAX]:
        subnets, gateways = _subnets(
            (one.subnet, one.gateway) for one in (answer.subnets or ())[: limits.ATTACHMENTS_MAX]
        )
        is_bridge = answer.driver == "bridge"
        found.append(
            ContainerNetwork(
                id=_checked_id(answer.id),
                name=clean_text(answer.name),
                driver=clean_text(answer.driver, 64),
                bridge=clean_text(answer.network_interface, 15) if is_bridge else "",
                subnets=subnets,
                gateways=gateways,
                routed=answer.driver in _ROUTED_DRIVERS,
            )
        )
    return tuple(found)


def milliseconds(text: str) -> int:
    """Milliseconds since the epoch from RFC 3339 text; 0 for what is no time, or year 1."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment.year < 1970:
        return 0
    return int(moment.timestamp() * 1000)


def _checked_id(text: str) -> str:
    if not (12 <= len(text) <= 64 and all(c in "0123456789abcdef" for c in text)):
        raise BadAnswer(f"{clean_text(text, 80)!r} is no id")
    return text


def _named(answer: InspectedContainer, image: InspectedImage | None) -> ImageName:
    tags = tuple((image.repo_tags or ())[:8]) if image else ()
    digests = tuple((image.repo_digests or ())[:8]) if image else ()
    return name_image(answer.config.image, answer.image, tags + digests)


def _digest_of(named: ImageName, image: InspectedImage | None) -> str:
    for reference in (image.repo_digests or ())[:8] if image else ():
        try:
            candidate = parse_image(reference)
        except ValueError:
            continue
        if candidate.full_name() == named.full_name():
            return candidate.digest
    return ""


def _addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for text in texts:
        if text:
            try:
                found.append(str(parse_address(text)))
            except ValueError as error:
                raise BadAnswer(f"{clean_text(text, 80)!r} is no address") from error
    return tuple(found)


def _resolvers(texts: Sequence[str]) -> tuple[str, ...]:
    """What is no address is left out, as resolvers do."""
    found = []
    for text in texts[: limits.RESOLVERS_MAX]:
        with suppress(ValueError):
            found.append(str(parse_address(text)))
    return tuple(found)


def _attachments(settings: _NetworkSettings) -> tuple[Attachment, ...]:
    places = []
    for name, endpoint in list((settings.networks or {}).items())[: limits.ATTACHMENTS_MAX]:
        if endpoint is None or name in ("host", "none"):
            continue
        places.append(
            Attachment(
                network=clean_text(endpoint.network_id),
                name=clean_text(name),
                addresses=_addresses((endpoint.ip_address, endpoint.ipv6_address)),
                gateways=_addresses((endpoint.gateway, endpoint.ipv6_gateway)),
            )
        )
    return tuple(places)[:ADDRESSES_MAX]


def _published(settings: _NetworkSettings) -> tuple[PublishedPort, ...]:
    found = []
    for exposed, bindings in (settings.ports or {}).items():
        port, _, protocol = exposed.partition("/")
        if protocol not in ("tcp", "udp", ""):
            # SCTP can be published; no flow of it is ever told.
            continue
        for binding in bindings or ():
            if not (port.isdecimal() and binding.host_port.isdecimal()):
                raise BadAnswer(f"port {clean_text(exposed, 40)!r} is no port")
            found.append(
                PublishedPort(
                    host_address=next(iter(_addresses((binding.host_ip,))), "0.0.0.0"),
                    host_port=_checked_port(binding.host_port),
                    port=_checked_port(port),
                    protocol="udp" if protocol == "udp" else "tcp",
                )
            )
            if len(found) == limits.PUBLISHED_MAX:
                return tuple(found)
    return tuple(found)


def _checked_port(text: str) -> int:
    if len(text) > 5 or int(text) > 65_535:
        raise BadAnswer(f"{text!r:.40} is no port")
    return int(text)


def _health(health: _Health | None) -> str:
    status = clean_text(health.status, 20) if health else ""
    return "" if status == "none" else status


def _subnets(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The subnets and gateways in pairs of both, checked."""
    subnets: list[str] = []
    gateways: list[str] = []
    for subnet, gateway in pairs:
        if subnet:
            try:
                subnets.append(str(ip_network(subnet, strict=False)))
            except ValueError as error:
                raise BadAnswer(f"{clean_text(subnet, 80)!r} is no subnet") from error
        # A gateway may carry its prefix length.
        gateways.extend(_addresses((gateway.partition("/")[0],)))
    return tuple(subnets), tuple(gateways)


def _network(answer: _Network, *, masquerades6: bool) -> ContainerNetwork:
    configured = ((answer.ipam.config if answer.ipam else None) or ())[: limits.ATTACHMENTS_MAX]
    subnets, gateways = _subnets((one.subnet, one.gateway) for one in configured)
    bridge = ""
    options = answer.options or {}
    routed = routed6 = answer.driver in _ROUTED_DRIVERS
    if answer.driver == "bridge":
        bare = options.get(MASQUERADE) == "false"
        routed = bare or options.get(GATEWAY_MODE) == "routed"
        routed6 = bare or not masquerades6 or options.get(GATEWAY_MODE6) == "routed"
        named = options.get(BRIDGE_NAME, "")
        # IFNAMSIZ is 16 with the closing zero.
        bridge = clean_text(named, 15) or f"br-{answer.id[:SHORT_ID_CHARS]}"
    return ContainerNetwork(
        id=_checked_id(answer.id),
        name=clean_text(answer.name),
        driver=clean_text(answer.driver, 64),
        bridge=bridge,
        subnets=subnets,
        gateways=gateways,
        routed=routed,
        routed6=routed6,
    )
