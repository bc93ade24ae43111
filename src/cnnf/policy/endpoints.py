"""Who may stand on a side of a connection, as far as it is known.

Made by the Defender (from discovery and sockets) and by the Console (from what Defenders report);
judged by `evaluation`. An address is not an identity: one side is a *set* of candidates.
"""

from typing import Literal

import msgspec

from cnnf.policy.addresses import Address
from cnnf.policy.images import split_reference

IdentityKind = Literal["container", "service", "host"]


class Identity(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """What a Defender protects: a container, a service, or a host whose service isn't known.

    `name` is the image's repository (with or without the default registry, both are the same), the
    service's name or the host's name. `tag` is without colon, `digest` is `sha256:…`; either is ''
    where it isn't known. `host` is the name of the host it runs on. `labels` are pairs sorted by
    key (`sorted_labels`), so that equal identities are equal values.
    """

    kind: IdentityKind
    name: str
    tag: str = ""
    digest: str = ""
    host: str = ""
    cluster: str = ""
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class Candidate(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """One of those that a side may be. All three may be missing: then nothing is known of it.

    `address` is an address or its 4 or 16 bytes; `names` are the DNS names it was found by.
    """

    identity: Identity | None = None
    address: Address | bytes | None = None
    names: tuple[str, ...] = ()


def sorted_labels(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Labels as an identity has them."""
    return tuple(sorted(labels.items()))


def port_label(name: str, protocol: str) -> str:
    """The label by which a container's named port is known; its value is the port's number.

    So that a rule for a port by name (`http`, as Kubernetes' NetworkPolicies have them) is one for
    a number and for an object of those who mean that number by it. No label of Kubernetes' has a
    colon: `port:http/tcp`.
    """
    return f"port:{name}/{protocol}"


def container_identity(
    reference: str,
    *,
    host: str = "",
    cluster: str = "",
    namespace: str = "",
    labels: dict[str, str] | None = None,
) -> Identity:
    """The identity of a container started from `shop/frontend:1.4`; without a tag it is latest."""
    repository, tag, digest = split_reference(reference)
    if tag is None:
        tag = "" if digest else "latest"
    return Identity(
        kind="container",
        name=repository,
        tag=tag,
        digest=digest or "",
        host=host,
        cluster=cluster,
        namespace=namespace,
        labels=sorted_labels(labels or {}),
    )
