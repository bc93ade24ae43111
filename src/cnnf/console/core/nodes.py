"""What Radar draws: nodes, and how they are named.

A node's id is made of what the thing *is*, never of where it runs, so a restart, a new tag or a
new address leaves it where it was. Called by ingest (which nodes a flow joins) and by Radar.
"""

from hashlib import blake2b
from typing import Literal

import msgspec

NodeKind = Literal["app", "service", "host", "object", "internet", "unmanaged"]

INTERNET_ID = "internet"
UNMANAGED_ID = "unmanaged"
OBJECT_ID_START = "object:"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node: `cluster` and `namespace` are empty for all but apps."""

    id: str
    kind: NodeKind
    name: str
    cluster: str = ""
    namespace: str = ""


INTERNET = Node(id=INTERNET_ID, kind="internet", name="internet")
#: Takes the addresses that get no node of their own any more.
UNMANAGED_REST = Node(id=UNMANAGED_ID, kind="unmanaged", name="other addresses")


def app(name: str, *, cluster: str = "", namespace: str = "") -> Node:
    """The app of this image repository within its cluster and namespace."""
    return Node(
        id=f"app:{_short(cluster, namespace, name)}",
        kind="app",
        name=name,
        cluster=cluster,
        namespace=namespace,
    )


def service(name: str) -> Node:
    """The service of this name, on whatever hosts and addresses."""
    return Node(id=f"service:{_short(name)}", kind="service", name=name)


def host(defender: str, name: str) -> Node:
    """The host that this Defender protects, where nothing more is known than its address."""
    return Node(id=f"host:{_short(defender)}", kind="host", name=name or defender)


def unmanaged(address: str, *, host: str = "") -> Node:
    """A peer inside, that nothing here protects; on the `host` of this Defender only, where the
    address means something there only."""
    within = f"{_short(host)}:" if host else ""
    return Node(id=f"unmanaged:{within}{address}", kind="unmanaged", name=address)


def network_object(name: str) -> Node:
    """The network object of this name, in the place of what it has outside."""
    return Node(id=f"{OBJECT_ID_START}{_short(name)}", kind="object", name=name)


def _short(*parts: str) -> str:
    # 64 bits: with 100,000 nodes two share an id once in four billion estates. Parts are joined
    # by a character that no name holds, so ("a", "bc") and ("ab", "c") differ.
    return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
