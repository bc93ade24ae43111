"""NetworkPolicies, namespaces and pods as values: what the API's objects say, with its defaults.

Made by `reading`, translated by `translation`, and made by `export`. The source is the API's
reference, `networking.k8s.io/v1` and `v1`, and its validation.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

SelectorOperator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
Direction = Literal["ingress", "egress"]
PolicyProtocol = Literal["tcp", "udp", "sctp"]

API_VERSION = "networking.k8s.io/v1"
DEFAULT_NAMESPACE = "default"
#: Every namespace has this label, whose value is its name (well-known labels of the API).
NAME_LABEL = "kubernetes.io/metadata.name"


class Requirement(msgspec.Struct, frozen=True):
    """One expression of a selector; `matchLabels` are `In` with one value."""

    key: str
    operator: SelectorOperator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """True for labels that pass; `NotIn` holds without the label too."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator == "In")


#: A label selector: all of it has to hold, nothing in it holds for everybody.
LabelSelector = tuple[Requirement, ...]


class IpBlock(msgspec.Struct, frozen=True):
    """Addresses of a network, less those of some networks in it."""

    cidr: str
    excepted: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """As a subnet object has them."""
        return (self.cidr, *(f"-{one}" for one in self.excepted))


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Who may be on the other side: a block, or pods by their labels and their namespace's."""

    pods: LabelSelector | None = None
    namespaces: LabelSelector | None = None
    block: IpBlock | None = None


class PolicyPort(msgspec.Struct, frozen=True, kw_only=True):
    """A destination port: a range, a name, or (neither) every port of the protocol."""

    protocol: PolicyProtocol = "tcp"
    ports: tuple[int, int] | None = None
    name: str = ""


class TrafficRule(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule lets through. No peers: anybody; no ports: every port and protocol."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


class NetworkPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy; `ingress` and `egress` are None where it says nothing of that direction.

    An empty tuple isolates and lets nothing through.
    """

    name: str
    namespace: str = DEFAULT_NAMESPACE
    pods: LabelSelector = ()
    ingress: tuple[TrafficRule, ...] | None = None
    egress: tuple[TrafficRule, ...] | None = None


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace and its labels."""

    name: str
    labels: Mapping[str, str] = {}


class PodPort(msgspec.Struct, frozen=True, order=True):
    """A container's port that has a name."""

    name: str
    port: int
    protocol: PolicyProtocol = "tcp"


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """What of a pod matters to policies."""

    name: str
    namespace: str = DEFAULT_NAMESPACE
    labels: Mapping[str, str] = {}
    ports: tuple[PodPort, ...] = ()
    node: str = ""
    host_network: bool = False
