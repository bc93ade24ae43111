"""Who lives on a Defender's host, and from when until when: the directory's records.

Half a million of them may be there, so what many instances share is kept once. Everything that the
directory looks up is an immutable value that is replaced as a whole: one thread changes it, others
may look at the same time and see the state before or after.
"""

from typing import NamedTuple

import msgspec

from cnnf.console.core import nodes
from cnnf.console.core.nodes import Node
from cnnf.policy.addresses import Network
from cnnf.protocol.messages import Instance, Known

#: (port of the host, protocol)
Port = tuple[int, str]


class Identity(msgspec.Struct, frozen=True):
    """What rules may select an instance by, and the node that it is one of."""

    known: Known
    node: Node


class Resident(NamedTuple):
    """An instance had its places from `since` until `until` (ms of its host's clock; 0: it still
    has them, or nobody knows since when)."""

    defender: str
    id: str
    identity: Identity
    since: int
    until: int


class Opening(NamedTuple):
    """A port of the host that leads to a resident's own port `to`; no address: on all of them.
    Where a service listens is not `published`: another one's published port is before it."""

    resident: Resident
    address: str
    to: int
    published: bool


class Tenancy(NamedTuple):
    """A resident with its places. `routed` are those of its addresses that lead to it from
    elsewhere; `behind`: its connections leave by the host's own addresses."""

    resident: Resident
    addresses: tuple[str, ...]
    routed: tuple[str, ...]
    ports: tuple[tuple[Port, str, int, bool], ...]
    host_network: bool
    behind: bool


class HostNet(NamedTuple):
    """A network of containers of a host, as told."""

    network: Network
    routed: bool


class Interned:
    """Identities, each kept once for as long as somebody has it."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], tuple[Identity, int]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def take(self, instance: Instance) -> Identity:
        """The identity of this instance."""
        key = _key(instance)
        held = self._held.get(key)
        if held is None:
            identity = Identity(_known(instance), node_of(instance))
            self._held[key] = (identity, 1)
            return identity
        self._held[key] = (held[0], held[1] + 1)
        return held[0]

    def drop(self, identity: Identity) -> None:
        """One who had it is gone."""
        key = _key(identity.known)
        held, count = self._held[key]
        if count == 1:
            del self._held[key]
        else:
            self._held[key] = (held, count - 1)


def _key(one: Instance | Known) -> tuple[object, ...]:
    return (
        one.kind, one.name, one.tag, one.digest, one.cluster, one.namespace,
        tuple(sorted(one.labels.items())),
    )  # fmt: skip


def _known(instance: Instance) -> Known:
    return Known(
        kind=instance.kind,
        name=instance.name,
        tag=instance.tag,
        digest=instance.digest,
        cluster=instance.cluster,
        namespace=instance.namespace,
        labels=instance.labels,
    )


def node_of(instance: Instance) -> Node:
    """The node that this instance is one of."""
    if instance.kind == "container":
        return nodes.app(instance.name, cluster=instance.cluster, namespace=instance.namespace)
    return nodes.service(instance.name)


def at(residents: tuple[Resident, ...], times: tuple[int, ...]) -> Resident | None:
    """Who had the place at the first of these times at which somebody had it.

    Oldest first: a new owner may have had it before it was told of, but not while it was still its
    predecessor's.
    """
    for time in times:
        for resident in residents:
            if not resident.until or resident.until >= time:
                return resident
    return None
