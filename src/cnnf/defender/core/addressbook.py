"""Whose address is it? Containers by address and time, container networks, published ports.

One owner: the daemon. Sources' changes go in, the packet loop's addresses come out as names. An
address is used again within a tenth of a second, and news of that is later than the packets; so a
name is given for a span of time only if one owner alone can have had the address within all of it
(docs/decisions/0016-one-owner-for-the-whole-span.md).
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from cnnf.defender.core.containers import LIVE_STATES, Attachment, Container, ContainerNetwork
from cnnf.defender.core.limits import (
    ADDRESS_LINGER_MS,
    ADDRESS_OWNERS_MAX,
    ADDRESSES_REMEMBERED_MAX,
    JOIN_LEAD_MS,
    START_LEAD_MS,
)
from cnnf.defender.core.pods import VirtualPlace
from cnnf.policy.addresses import Network
from cnnf.protocol.limits import NETWORKS_MAX
from cnnf.protocol.messages import HostNetwork, Protocol

#: Drivers whose packets meet our hooks: on a bridge of this host, or routed by it.
_SEEN_DRIVERS = frozenset({"bridge", "nat", "routed"})


class _Tenure(NamedTuple):
    """A container may have had an address from `since` until `until` (ms; 0: still has it), and
    surely had it at `sure` (0: not known). Those of one `room`, a network namespace, have it
    together. `container` is '' until it is told of, and its room then its id."""

    container: str
    room: str
    since: int
    sure: int
    until: int

    @property
    def holder(self) -> str:
        """The container's id, also while nothing else is told of it."""
        return self.container or self.room


class Tenants(NamedTuple):
    """Who had an address during a span: nobody known, one, or all that share a namespace.

    `disputed`: it changed hands within the span, or may have, so nobody is named. `expected`: who
    had it has still to be told. `until` is not 0 where the owner had gone before the span was over:
    somebody else may yet turn out to have come.
    """

    containers: tuple[str, ...] = ()
    until: int = 0
    disputed: bool = False
    expected: bool = False


_NOBODY = Tenants()


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
        #: When each running container was last told of, what addresses it has, who lives with it.
        self._told: dict[str, int] = {}
        self._held: dict[str, set[bytes]] = {}
        self._guests: dict[str, set[str]] = {}
        self._hosted: list[HostNetwork] = []
        self._virtual: frozenset[tuple[bytes, int, Protocol]] = frozenset()
        self._networks: tuple[Network, ...] = extra_networks
        self._inside: dict[bytes, bool] = {}
        self._bridges: tuple[str, ...] = ()
        self._published: dict[tuple[Protocol, int], dict[bytes, set[Published]]] = {}

    @property
    def containers(self) -> dict[str, Container]:
        """The running containers by id."""
        return self._containers

    @property
    def networks(self) -> tuple[Network, ...]:
        """The container networks of this host."""
        return self._networks

    @property
    def hosted(self) -> list[HostNetwork]:
        """All networks of containers, as the Console is told of them."""
        return self._hosted

    @property
    def bridges(self) -> tuple[str, ...]:
        """The interfaces of those networks."""
        return self._bridges

    def set_places(self, places: frozenset[VirtualPlace]) -> None:
        """All places where a cluster's services are reached."""
        self._virtual = frozenset(
            (ip_address(one.address).packed if one.address else b"", one.port, one.protocol)
            for one in places
        )

    def is_virtual(self, address: bytes, port: int, protocol: Protocol) -> bool:
        """Does a service of the cluster stand for this place, b'' for a port of every node?"""
        return (address, port, protocol) in self._virtual

    def expect(self, container: str, addresses: Iterable[bytes], since_ms: int) -> bool:
        """Somebody has these addresses since then; who it is will be told, or that it has gone.
        True when somebody else is thereby known to have gone."""
        if container in self._containers:
            return False
        taken = False
        held = self._held.setdefault(container, set())
        for address in set(addresses) - held:
            taken = self._take_over(address, container, since_ms) or taken
            self._add(address, _Tenure("", container, since_ms, 0, 0))
            held.add(address)
        return taken

    def give_up(self, container: str, at_ms: int) -> bool:
        """Who was expected has gone, and was never told of; False when nobody was."""
        if container in self._containers:
            return False
        held = self._held.pop(container, set())
        for address in held:
            self._end(address, container, at_ms, 0)
        return bool(held)

    def put(self, container: Container, now_ms: int) -> None:
        """A container runs, or is different than before."""
        if container.state not in LIVE_STATES:
            self.remove(container.id, now_ms)
            return
        before = self._containers.get(container.id)
        self._containers[container.id] = container
        if container.shared_network:
            self._guests.setdefault(container.shared_network, set()).add(container.id)
        self._house(container, now_ms)
        for guest in self._guests_of(container.id):
            self._house(guest, now_ms)
        self._told[container.id] = now_ms
        if container.published != (before.published if before else ()):
            self._index_published()

    def remove(self, container: str, at_ms: int, *, sure_ms: int = 0) -> Container | None:
        """A container has ended, at the latest at `at_ms` and after `sure_ms`, when it was seen to
        live; it is returned if it was known."""
        gone = self._containers.pop(container, None)
        if gone is None:
            return None
        # Who lives in its network namespace is left without these addresses.
        for one in (gone, *self._guests_of(container)):
            for address in self._held.pop(one.id, ()):
                self._end(address, one.id, at_ms, sure_ms)
        mates = self._guests.get(gone.shared_network, set())
        mates.discard(container)
        if gone.shared_network and not mates:
            self._guests.pop(gone.shared_network, None)
        self._told.pop(container, None)
        if gone.published:
            self._index_published()
        return gone

    def _house(self, container: Container, now_ms: int) -> None:
        """Give it the addresses that it has now, and take those that it no longer has."""
        owner = self._containers.get(container.shared_network, container)
        room = container.pod_uid or owner.id
        has = {
            ip_address(text).packed: self._since(container, place if owner is container else None)
            for place in owner.attachments
            for text in place.addresses
        }
        had = self._held.get(container.id, set())
        self._held[container.id] = set(has)
        for address in had | has.keys():
            self._name(address, container.id)
        for address in had - has.keys():
            self._end(address, container.id, now_ms, 0)
        for address in has.keys() - had:
            self._take_over(address, room, now_ms)
            former = self._tenures.get(address, [])
            # Nor did it have the address while another surely had, before it was started.
            others = (one.sure for one in former if one.room != room)
            since = max([has[address], *(sure for sure in others if sure <= container.started_at)])
            self._add(address, _Tenure(container.id, room, since, 0, 0))

    def _take_over(self, address: bytes, room: str, now_ms: int) -> bool:
        """Whoever is in another room has the address no longer; False when nobody was."""
        tenures = self._tenures.get(address, ())
        others = [one for one in tenures if not one.until and one.room != room]
        for tenure in others:
            self._end(address, tenure.holder, now_ms, 0)
            self._held.get(tenure.holder, set()).discard(address)
        return bool(others)

    def _add(self, address: bytes, newest: _Tenure) -> None:
        former = self._tenures.get(address, [])
        kept, forgotten = former[: ADDRESS_OWNERS_MAX - 1], former[ADDRESS_OWNERS_MAX - 1 :]
        self._tenures[address] = [newest, *kept, *_forgotten(forgotten)]

    def _name(self, address: bytes, container: str) -> None:
        """Who was expected is told of now."""
        tenures = self._tenures.get(address, ())
        if any(not one.container and one.room == container for one in tenures):
            self._tenures[address] = [
                one._replace(container=container) if one.holder == container else one
                for one in tenures
            ]

    def _since(self, container: Container, place: Attachment | None) -> int:
        """From when on a container may have sent from an address: since it joined the network, or
        was last told of without it, or a while before it is said to have started."""
        if place is not None and place.since:
            # What starts has joined before its first process is there.
            starts = container.started_at >= place.since
            return place.since if starts else place.since - JOIN_LEAD_MS
        if container.id in self._told:
            return self._told[container.id]
        return container.started_at - START_LEAD_MS if container.started_at else 0

    def _guests_of(self, container: str) -> list[Container]:
        """Those who live in this one's network namespace."""
        found = (self._containers.get(one) for one in sorted(self._guests.get(container, ())))
        return [one for one in found if one is not None]

    def set_networks(self, networks: tuple[ContainerNetwork, ...]) -> bool:
        """All networks there are; True when that makes a difference to the kernel's rules."""
        ours = [network for network in networks if network.driver in _SEEN_DRIVERS]
        subnets = {ip_network(text, strict=False) for network in ours for text in network.subnets}
        before = (self._networks, self._bridges)
        everything = subnets | set(self._extra)
        self._inside.clear()
        self._networks = tuple(sorted(everything, key=lambda net: (net.version, str(net))))
        self._bridges = tuple(sorted({network.bridge for network in ours if network.bridge}))
        # Stated networks are those of plugins, whose pods see one another's addresses.
        routed = {str(network): True for network in self._extra}
        for network in networks:
            for subnet in network.subnets:
                routed[subnet] = network.is_routed(subnet) or network.driver == "routed"
        self._hosted = [
            HostNetwork(cidr=cidr, routed=routed[cidr]) for cidr in sorted(routed)[:NETWORKS_MAX]
        ]
        return before != (self._networks, self._bridges)

    def behind(self) -> dict[bytes, list[Container]]:
        """Every address that is a container's now, with all that may stand behind it: those that
        live in the network namespace that has it."""
        found = {}
        for address, tenures in self._tenures.items():
            owners = [self._containers.get(one.container) for one in tenures if not one.until]
            present = [owner for owner in owners if owner is not None]
            if present:
                # As they came, the address's own container first.
                found[address] = present[::-1]
        return found

    def tenants(self, address: bytes, first_ms: int, last_ms: int) -> Tenants:
        """Who had the address from the first to the last of these moments."""
        tenures = self._tenures.get(address)
        if not tenures:
            # So it is for most ends of most flows.
            return _NOBODY
        found = [
            one
            for one in tenures
            if one.since <= last_ms and (not one.until or first_ms <= one.until)
        ]
        if len({one.room for one in found}) > 1:
            return Tenants(disputed=True)
        until = max((one.until for one in found), default=0)
        if any(not one.until for one in found) or until >= last_ms:
            until = 0
        names = (one.container for one in reversed(found) if one.container)
        expected = any(one.room and not one.container for one in found)
        return Tenants(tuple(dict.fromkeys(names)), until, expected=expected)

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

    def published(
        self, port: int, address: bytes = b"", protocol: Protocol = "tcp"
    ) -> Published | None:
        """The container behind a port of the host, at one of the host's addresses if that is
        known; None when there is none or when it is not certain."""
        at = self._published.get((protocol, port), {})
        found = at.get(address) or at.get(bytes(len(address))) if address else None
        if found is None:
            found = set().union(*at.values())
        return next(iter(found)) if len(found) == 1 else None

    def published_at(self, container: str, port: int) -> list[int]:
        """The host's TCP ports that lead to this container's port."""
        target = Published(container, port)
        return [
            host_port
            for (protocol, host_port), at in self._published.items()
            if protocol == "tcp" and any(target in targets for targets in at.values())
        ]

    def forget_old(self, now_ms: int) -> None:
        """Drop tenures that ended so long ago that no report can still mean them."""
        for address in list(self._tenures):
            kept = [
                tenure
                for tenure in self._tenures[address]
                if not tenure.until or now_ms - tenure.until < ADDRESS_LINGER_MS
            ]
            if kept:
                self._tenures[address] = kept
            else:
                del self._tenures[address]

    def _end(self, address: bytes, container: str, at_ms: int, sure_ms: int) -> None:
        self._tenures[address] = [
            tenure._replace(
                until=max(at_ms, tenure.since + 1), sure=min(max(sure_ms, tenure.sure), at_ms)
            )
            if tenure.holder == container and not tenure.until
            else tenure
            for tenure in self._tenures.get(address, ())
        ]

    def _index_published(self) -> None:
        index: dict[tuple[Protocol, int], dict[bytes, set[Published]]] = {}
        for container in self._containers.values():
            for place in container.published:
                at = index.setdefault((place.protocol, place.host_port), {})
                target = Published(container.id, place.port)
                at.setdefault(ip_address(place.host_address).packed, set()).add(target)
        self._published = index


def _forgotten(tenures: list[_Tenure]) -> list[_Tenure]:
    """Those in one that is nobody's: that somebody had the address must not be forgotten."""
    return [_Tenure("", "", 0, 0, max(one.until for one in tenures))] if tenures else []
