"""Whose address is it? Containers by address and time, container networks, published ports.

One owner: the daemon. Discovery's changes go in, the packet loop's addresses come out as names. An
address that had another owner a moment ago still belongs to that one for packets of that moment.
"""

from ipaddress import ip_address, ip_network
from typing import NamedTuple

from cnnf.defender.core.containers import LIVE_STATES, Container, ContainerNetwork
from cnnf.defender.core.limits import (
    ADDRESS_LINGER_MS,
    ADDRESS_OWNERS_MAX,
    ADDRESSES_REMEMBERED_MAX,
)
from cnnf.policy.addresses import Network

#: Drivers whose networks lie on a bridge of this host, so that their packets meet our hooks.
_BRIDGE_DRIVERS = frozenset({"bridge", "nat"})


class _Tenure(NamedTuple):
    """A container had an address from `since` until `until` (ms; 0: still has it)."""

    container: str
    since: int
    until: int


class Published(NamedTuple):
    """What a host's port leads to."""

    container: str
    port: int


class AddressBook:
    """Containers, their addresses and networks, as far as discovery has told."""

    def __init__(self, extra_networks: tuple[Network, ...] = ()) -> None:
        self._extra = extra_networks
        self._containers: dict[str, Container] = {}
        self._tenures: dict[bytes, list[_Tenure]] = {}
        self._networks: tuple[Network, ...] = extra_networks
        self._inside: dict[bytes, bool] = {}
        self._bridges: tuple[str, ...] = ()
        self._published: dict[int, list[Published]] = {}

    @property
    def containers(self) -> dict[str, Container]:
        """The running containers by id."""
        return self._containers

    @property
    def networks(self) -> tuple[Network, ...]:
        """The container networks of this host."""
        return self._networks

    @property
    def bridges(self) -> tuple[str, ...]:
        """The interfaces of those networks."""
        return self._bridges

    def put(self, container: Container, now_ms: int) -> None:
        """A container runs, or is different than before."""
        if container.state not in LIVE_STATES:
            self.remove(container.id, now_ms)
            return
        before = self._containers.get(container.id)
        self._containers[container.id] = container
        had = set(_packed(before)) if before else set()
        has = set(_packed(container))
        for address in had - has:
            self._end(address, container.id, now_ms)
        for address in has - had:
            for tenure in self._tenures.get(address, ()):
                if not tenure.until:
                    self._end(address, tenure.container, now_ms)
            # The address was the container's before we heard of it: its first SYN may be older
            # than the news. An earlier owner's end is the limit, and `owner` looks at that first.
            newest = _Tenure(container.id, container.started_at, 0)
            former = self._tenures.get(address, [])[: ADDRESS_OWNERS_MAX - 1]
            self._tenures[address] = [newest, *former]
        self._index_published()

    def remove(self, container: str, at_ms: int) -> Container | None:
        """A container no longer runs; it is returned if it was known."""
        gone = self._containers.pop(container, None)
        if gone is not None:
            for address in _packed(gone):
                self._end(address, container, at_ms)
            self._index_published()
        return gone

    def set_networks(self, networks: tuple[ContainerNetwork, ...]) -> bool:
        """All networks there are; True when that makes a difference to the kernel's rules."""
        ours = [network for network in networks if network.driver in _BRIDGE_DRIVERS]
        subnets = {ip_network(text, strict=False) for network in ours for text in network.subnets}
        before = (self._networks, self._bridges)
        everything = subnets | set(self._extra)
        self._inside.clear()
        self._networks = tuple(sorted(everything, key=lambda net: (net.version, str(net))))
        self._bridges = tuple(sorted({network.bridge for network in ours if network.bridge}))
        return before != (self._networks, self._bridges)

    def behind(self) -> dict[bytes, list[Container]]:
        """Every address that is a container's now, with all that may stand behind it: the one
        that owns it, and those that live in that one's network namespace."""
        guests: dict[str, list[Container]] = {}
        for container in self._containers.values():
            if container.shared_network:
                guests.setdefault(container.shared_network, []).append(container)
        found = {}
        for address, tenures in self._tenures.items():
            owners = [self._containers.get(one.container) for one in tenures if not one.until]
            present = [owner for owner in owners if owner is not None]
            if present:
                found[address] = [one for own in present for one in (own, *guests.get(own.id, ()))]
        return found

    def owner(self, address: bytes, at_ms: int) -> str:
        """The id of the container that had the address at a time; '' when none is known."""
        # Oldest first: a new owner may claim time from before it was heard of, but not what was
        # still its predecessor's.
        for tenure in reversed(self._tenures.get(address, ())):
            over = tenure.until and tenure.until < at_ms
            if not over and tenure.since <= at_ms + ADDRESS_LINGER_MS:
                return tenure.container
        return ""

    def in_network(self, address: bytes) -> bool:
        """Does the address lie in a container network of this host?"""
        inside = self._inside.get(address)
        if inside is None:
            parsed = ip_address(address)
            inside = any(parsed in net for net in self._networks if net.version == parsed.version)
            if len(self._inside) >= ADDRESSES_REMEMBERED_MAX:
                self._inside.clear()
            self._inside[address] = inside
        return inside

    def published(self, port: int) -> Published | None:
        """The container behind a host's TCP port, None when none or when it is not certain."""
        found = self._published.get(port, ())
        return found[0] if len(found) == 1 else None

    def published_at(self, container: str, port: int) -> list[int]:
        """The host's ports that lead to this container's port."""
        target = Published(container, port)
        return [host_port for host_port, targets in self._published.items() if target in targets]

    def forget_old(self, now_ms: int) -> None:
        """Drop tenures that ended so long ago that no report can still mean them."""
        for address in list(self._tenures):
            kept = [
                tenure
                for tenure in self._tenures[address]
                if not tenure.until or now_ms - tenure.until < ADDRESS_LINGER_MS * 12
            ]
            if kept:
                self._tenures[address] = kept
            else:
                del self._tenures[address]

    def _end(self, address: bytes, container: str, at_ms: int) -> None:
        tenures = self._tenures.get(address, [])
        self._tenures[address] = [
            tenure._replace(until=max(at_ms, tenure.since + 1))
            if tenure.container == container and not tenure.until
            else tenure
            for tenure in tenures
        ]

    def _index_published(self) -> None:
        index: dict[int, set[Published]] = {}
        for container in self._containers.values():
            for place in container.published:
                if place.protocol == "tcp":
                    target = Published(container.id, place.port)
                    index.setdefault(place.host_port, set()).add(target)
        self._published = {port: sorted(targets) for port, targets in index.items()}


def _packed(container: Container) -> list[bytes]:
    return [ip_address(text).packed for text in container.addresses]
