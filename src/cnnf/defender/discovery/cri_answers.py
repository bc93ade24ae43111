"""A container runtime's answers to values.

Values in, values out. Whatever a runtime says is checked here: what is not as the interface has it
raises BadAnswer, text is cleaned, lists are cut.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from cnnf.defender.core.containers import (
    Attachment,
    Container,
    PublishedPort,
    clean_text,
)
from cnnf.defender.core.images import ImageName, image_id, name_image, parse_image
from cnnf.defender.core.pods import pod_labels, workload_by_labels
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.errors import BadAnswer
from cnnf.defender.discovery.generated import cri_pb2 as cri
from cnnf.policy.addresses import parse_address
from cnnf.protocol.limits import ADDRESSES_MAX
from cnnf.protocol.messages import Protocol

#: Names of one image that are looked at.
_NAMES_MAX = 8
_PROTOCOLS: dict[int, Protocol] = {0: "tcp", 1: "udp"}


class _PortMapping(msgspec.Struct):
    container_port: int = 0
    host_port: int = 0
    host_ip: str = ""
    protocol: int = 0


class _SandboxConfig(msgspec.Struct):
    port_mappings: list[_PortMapping] | None = None


class _SandboxInfo(msgspec.Struct):
    """What containerd adds for who asks for everything, as far as it is of interest."""

    config: _SandboxConfig | None = None


class _ContainerInfo(msgspec.Struct):
    """The same of a container; CRI-O writes `pid` as well."""

    pid: int = 0


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that is there, with what all of its containers share."""

    id: str
    uid: str
    namespace: str
    name: str
    workload: str
    labels: dict[str, str]
    addresses: tuple[str, ...]
    host_network: bool
    published: tuple[PublishedPort, ...] = ()


def sandbox_from(answer: cri.PodSandboxStatusResponse) -> Sandbox:
    """The pod that a runtime described. Raises BadAnswer."""
    status = answer.status
    namespaces = status.linux.namespaces.options
    host_network = namespaces.network == cri.NODE
    name = clean_text(status.metadata.name)
    labels = dict(status.labels)
    return Sandbox(
        id=checked_id(status.id),
        uid=clean_text(status.metadata.uid, 64),
        namespace=clean_text(status.metadata.namespace),
        name=name,
        workload=workload_by_labels(name, labels),
        labels=pod_labels(labels),
        # The runtime does not know the addresses of one that has the host's.
        addresses=() if host_network else _addresses(status.network),
        host_network=host_network,
        published=() if host_network else _published(answer.info),
    )


def container_from(
    listed: cri.Container,
    answer: cri.ContainerStatusResponse,
    sandbox: Sandbox,
    image: cri.Image | None,
    cluster: str = "",
) -> Container:
    """The container a runtime listed and described, in its pod. Raises BadAnswer.

    `image` adds names and digests where it is known.
    """
    status = answer.status
    named = _named(listed, status, image)
    place = Attachment(
        network=f"pod:{sandbox.uid}", name=sandbox.namespace, addresses=sandbox.addresses
    )
    return Container(
        id=checked_id(listed.id),
        image=named.name(),
        tag=named.tag,
        digest=named.digest or _digest_of(named, (status.image_ref, *_names(image))),
        title=clean_text(f"{sandbox.name}/{status.metadata.name}"),
        # A container's own are the kubelet's, which the fields say already.
        labels=sandbox.labels,
        attachments=(place,) if sandbox.addresses else (),
        pid=_pid(answer.info),
        started_at=max(status.started_at // 1_000_000, 0),
        state="running",
        host_network=sandbox.host_network,
        published=sandbox.published,
        restarts=status.metadata.attempt,
        cluster=cluster,
        namespace=sandbox.namespace,
        pod=sandbox.name,
        pod_uid=sandbox.uid,
        workload=sandbox.workload,
    )


def checked_id(text: str) -> str:
    """The id, which names a cgroup too. Raises BadAnswer for what is none."""
    if not (12 <= len(text) <= 64 and all(c in "0123456789abcdef" for c in text)):
        raise BadAnswer(f"{clean_text(text, 80)!r} is no id")
    return text


def image_references(listed: cri.Container, status: cri.ContainerStatus) -> Iterable[str]:
    """By what the runtime may know the container's image, the surest first."""
    return [text for text in (listed.image_ref, status.image_ref, listed.image.image) if text]


def _addresses(network: cri.PodSandboxNetworkStatus) -> tuple[str, ...]:
    texts = [network.ip, *(one.ip for one in network.additional_ips[:ADDRESSES_MAX])]
    found = []
    for text in texts:
        if text:
            try:
                found.append(str(parse_address(text)))
            except ValueError as error:
                raise BadAnswer(f"{clean_text(text, 80)!r} is no address") from error
    return tuple(dict.fromkeys(found))[:ADDRESSES_MAX]


def _named(
    listed: cri.Container, status: cri.ContainerStatus, image: cri.Image | None
) -> ImageName:
    """What was asked for, if it is told: one image may have several names.

    A kubelet hands the runtime an id; only since 1.28 it says by which name that was wanted.
    """
    wanted = (
        listed.image.user_specified_image,
        status.image.user_specified_image,
        listed.image.image,
        status.image.image,
        *_names(image),
        status.image_ref,
    )
    names = [text for text in wanted if text and not _is_id(text)]
    identity = next(
        (text for text in (listed.image_ref, status.image_ref) if _is_id(text)),
        image.id if image is not None else listed.image.image,
    )
    return name_image(names[0] if names else identity, identity, tuple(names[1:]))


def _is_id(text: str) -> bool:
    # A shorter run of hex digits may be a name; runtimes write ids in full.
    return len(image_id(text)) == 64


def _names(image: cri.Image | None) -> tuple[str, ...]:
    if image is None:
        return ()
    return (*image.repo_tags[:_NAMES_MAX], *image.repo_digests[:_NAMES_MAX])


def _digest_of(named: ImageName, references: Iterable[str]) -> str:
    for reference in references:
        try:
            candidate = parse_image(reference)
        except ValueError:
            continue
        if candidate.digest and candidate.full_name() == named.full_name():
            return candidate.digest
    return ""


def _pid(info: Any) -> int:
    details = _info(info, _ContainerInfo)
    return max(details.pid, 0) if details is not None else 0


def _published(info: Any) -> tuple[PublishedPort, ...]:
    """The ports of the host that lead to the pod; which of its containers, nobody says."""
    details = _info(info, _SandboxInfo)
    mappings = (details.config.port_mappings if details and details.config else None) or []
    found = []
    for mapping in mappings[: limits.PUBLISHED_MAX]:
        protocol = _PROTOCOLS.get(mapping.protocol)
        ports = mapping.host_port, mapping.container_port
        if protocol is None or not all(0 < port < 65_536 for port in ports):
            continue
        try:
            address = str(parse_address(mapping.host_ip)) if mapping.host_ip else "0.0.0.0"
        except ValueError:
            continue
        found.append(
            PublishedPort(
                host_address=address, host_port=ports[0], port=ports[1], protocol=protocol
            )
        )
    return tuple(found)


def _info(info: Any, kind: Any) -> Any:
    """The runtime's own description, which no interface promises: None where it is another."""
    text = info.get("info", "")
    if not 0 < len(text) <= limits.INSPECT_BYTES_MAX:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
