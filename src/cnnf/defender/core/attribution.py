"""From addresses and sockets to named ends: what a sighting becomes.

Pure: what the adapters have found out (who owns a socket, who listens where, which addresses are
this host's) is handed in. An end that can't be told stays an address; nothing is guessed.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

import msgspec

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.limits import (
    ADDRESSES_REMEMBERED_MAX,
    EXPECTED_WAIT_MS,
    LISTENER_WAIT_MS,
    NAME_WAIT_MS,
)
from cnnf.defender.core.plan import Scopes
from cnnf.policy.addresses import is_internet
from cnnf.protocol.messages import Effect, Endpoint, Process, Protocol

_ANY4, _ANY6 = bytes(4), bytes(16)
#: How a listener on `::` is kept that does not take IPv4; no address has 17 bytes.
_ANY6_ONLY = bytes(17)
_WIDE = frozenset({_ANY4, _ANY6, _ANY6_ONLY})
_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK6 = bytes(15) + b"\x01"


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A flow as the kernel told it. Packed addresses; milliseconds since the epoch.

    `source` is empty when only the cgroup is known. `cgroup` 0 means that the flow is not one of
    this host's own sockets, or that its socket could not be found. The figures are a flow's, see
    `cnnf.protocol.messages.Flow`.
    """

    source: bytes = b""
    cgroup: int = 0
    inode: int = 0
    destination: bytes
    port: int
    protocol: Protocol = "tcp"
    connections: int = 0
    answered: int = 0
    refused: int = 0
    found: int = 0
    cut: int = 0
    effect: Effect | None = None
    cause: str = ""
    first_seen: int
    last_seen: int


class Owner(NamedTuple):
    """The local end behind a socket: an instance's id, the program's name, and an example.

    `forwards`: it is an engine's forwarder, which takes a connection to a published port and makes
    a second one that is the first one's other half. Not by its name alone: see `local_services`.
    """

    instance: str
    program: str
    process: Process | None
    forwards: bool = False


#: Several have a place, and nobody can tell which of them gets a connection.
_NOT_CERTAIN = Owner("", "", None)


class Listener(NamedTuple):
    """Somebody takes connections (or datagrams) at a place. The address is packed and plain; `::`
    takes IPv4 too unless it is `v6_only`."""

    address: bytes
    port: int
    owner: Owner
    protocol: Protocol = "tcp"
    v6_only: bool = False


class Ends(NamedTuple):
    """A sighting's two ends, its port as the destination has it, and the local process."""

    source: Endpoint
    destination: Endpoint
    port: int
    process: Process | None


class Unnamed(NamedTuple):
    """An end has no name yet that may still come: worth waiting for so long."""

    ends: Ends
    wait_ms: int


class Listeners:
    """Who listens on this host. Replaced as a whole when read anew.

    Where sockets of several owners share a place (SO_REUSEPORT) nobody is told: the kernel deals
    connections out among them.
    """

    def __init__(self, entries: Iterable[Listener] = ()) -> None:
        self._at: dict[tuple[Protocol, int], dict[bytes, Owner]] = {}
        self._on_port: dict[int, list[Owner]] = {}
        for one in entries:
            places = self._at.setdefault((one.protocol, one.port), {})
            address = plain(one.address)
            if one.v6_only and address == _ANY6:
                address = _ANY6_ONLY
            other = places.get(address, one.owner)
            places[address] = one.owner if other.instance == one.owner.instance else _NOT_CERTAIN
            if one.protocol == "tcp":
                self._on_port.setdefault(one.port, []).append(one.owner)

    def find(self, address: bytes, port: int, protocol: Protocol = "tcp") -> Owner | None:
        """The listener that a connection to this address and port reaches."""
        at = self._at.get((protocol, port))
        if not at:
            return None
        # `::` also takes IPv4 unless told otherwise; a listener on 0.0.0.0 is the closer match.
        wide = (_ANY4, _ANY6) if len(address) == 4 else (_ANY6_ONLY, _ANY6)
        for place in (address, *wide):
            if place in at:
                return at[place]
        return None

    def entries(self, own: Iterable[bytes] = ()) -> Iterable[tuple[int, bytes, Owner]]:
        """Every TCP listener: port, packed plain address, owner.

        An unspecified address stands for both families. Where they differ, that of IPv6 is told
        for each of the host's `own` addresses.
        """
        for (protocol, port), at in self._at.items():
            if protocol != "tcp":
                continue
            both = at.get(_ANY4) or at.get(_ANY6)
            wide6 = at.get(_ANY6_ONLY) or at.get(_ANY6)
            if both is not None:
                yield port, _ANY4, both
            if wide6 is not None and (both is None or wide6.instance != both.instance):
                for address in (*own, _LOOPBACK6):
                    if len(address) == 16 and address not in at:
                        yield port, address, wide6
            for address, owner in at.items():
                if address not in _WIDE:
                    yield port, address, owner

    def ports(self) -> dict[str, set[int]]:
        """The TCP ports on which each instance listens, but not on loopback alone."""
        found: dict[str, set[int]] = {}
        for (protocol, port), at in self._at.items():
            for address, owner in at.items():
                local = len(address) <= 16 and is_loopback(address)
                if protocol == "tcp" and owner.instance and not local:
                    found.setdefault(owner.instance, set()).add(port)
        return found

    def at(self, port: int) -> Iterable[Owner]:
        """Everybody who listens on this TCP port, on whatever address."""
        return self._on_port.get(port, ())


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What is known around a sighting when it is attributed."""

    book: AddressBook
    host_addresses: frozenset[bytes]
    listeners: Listeners
    owners: Mapping[tuple[int, int], Owner]
    #: The time now, ms; by default all news there will be is there.
    now_ms: int = 2**53


def plain(address: bytes) -> bytes:
    """The packed address; an IPv4-mapped IPv6 address is that IPv4 address."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


@lru_cache(ADDRESSES_REMEMBERED_MAX)
def packed(text: str) -> bytes:
    """The same of an address as text. Raises ValueError."""
    return plain(ip_address(text).packed)


def is_loopback(address: bytes) -> bool:
    """Does the packed, plain address never leave its network namespace?"""
    return address[0] == 127 if len(address) == 4 else address == _LOOPBACK6


def attribute(sighting: Sighting, around: Surroundings) -> Ends | Unnamed | None:
    """Name both ends. None when the sighting is half of another one: a forwarder's second, or the
    first of a connection to a cluster's service.

    `Unnamed` when a container's name is missing that discovery may still bring.
    """
    owner = around.owners.get((sighting.cgroup, sighting.inode)) if sighting.cgroup else None
    source = _source(sighting, owner, around)
    destination, port = _destination(sighting, around)
    if _is_second_half(sighting, owner, destination, port, around):
        return None
    if not destination.instance and _is_first_half(sighting, around):
        return None
    process = owner.process if owner is not None else None
    ends = Ends(source, destination, port, process)
    wait_ms = max(
        _name_wait(sighting, end, around) for end in (sighting.source, sighting.destination)
    )
    if wait_ms:
        return Unnamed(ends, wait_ms)
    own = _is_host(plain(sighting.destination), around.host_addresses)
    if not destination.instance and own and sighting.protocol == "tcp":
        return Unnamed(ends, LISTENER_WAIT_MS)
    return ends


def _is_second_half(
    sighting: Sighting, owner: Owner | None, destination: Endpoint, port: int, around: Surroundings
) -> bool:
    """Is this a forwarder's connection to the container whose port it publishes?

    Where its socket was not found the forwarder's listener on the published port tells.
    """
    if not destination.instance:
        return False
    if sighting.source and not _is_host(plain(sighting.source), around.host_addresses):
        return False
    host_ports = around.book.published_at(destination.instance, port)
    if not host_ports:
        return False
    if owner is not None:
        return owner.forwards
    return any(one.forwards for host_port in host_ports for one in around.listeners.at(host_port))


def _is_first_half(sighting: Sighting, around: Surroundings) -> bool:
    """Does a balancer of the cluster's (IPVS) send this on, so that it is seen again with the pod
    behind the service as its destination?

    Mostly a service's address is translated before we look. What was decided about one that was
    not is told: if it was refused, there is no other half.
    """
    if sighting.effect not in (None, "allow"):
        return False
    address = plain(sighting.destination)
    place = sighting.port, sighting.protocol
    if around.book.is_virtual(address, *place):
        return True
    own = _is_host(address, around.host_addresses)
    return own and around.book.is_virtual(b"", *place)


def is_local(address: bytes, around: Surroundings) -> bool:
    """Is the address this host's own or one of its containers'?"""
    address = plain(address)
    return _is_host(address, around.host_addresses) or around.book.in_network(address)


def is_visible(sighting: Sighting, scopes: Scopes, around: Surroundings) -> bool:
    """Does what is enabled show it? The limited view shows what is local at both ends, or goes
    from here to the internet; flows that only pass through this host are never shown."""
    source = sighting.source and is_local(sighting.source, around)
    target = is_local(sighting.destination, around)
    if sighting.source and not source and not target:
        return False
    container = around.book.in_network(plain(sighting.destination)) or (
        sighting.source and around.book.in_network(plain(sighting.source))
    )
    if scopes.containers if container else scopes.hosts:
        return True
    if sighting.source and not source:
        return False
    return target or is_internet(ip_address(plain(sighting.destination)))


def _source(sighting: Sighting, owner: Owner | None, around: Surroundings) -> Endpoint:
    address = plain(sighting.source)
    text = _text(address) if address else ""
    if owner is not None and owner.instance:
        return Endpoint(address=text, instance=owner.instance)
    if address and not _is_host(address, around.host_addresses):
        return Endpoint(address=text, instance=_container(address, sighting, around))
    if not text:
        # Counted by a cgroup that is gone and names nothing: it was this host, that much is sure.
        text = "127.0.0.1" if len(sighting.destination) == 4 else "::1"
    return Endpoint(address=text)


def _destination(sighting: Sighting, around: Surroundings) -> tuple[Endpoint, int]:
    address = plain(sighting.destination)
    text = _text(address)
    if not _is_host(address, around.host_addresses):
        return Endpoint(address=text, instance=_container(address, sighting, around)), sighting.port
    listener = around.listeners.find(address, sighting.port, sighting.protocol)
    if sighting.protocol == "tcp" and (listener is None or listener.forwards):
        published = around.book.published(sighting.port)
        if published is not None:
            return Endpoint(address=text, instance=published.container), published.port
    return Endpoint(address=text, instance=listener.instance if listener else ""), sighting.port


def _container(address: bytes, sighting: Sighting, around: Surroundings) -> str:
    """The one container that can have had the address all the while; '' where there were others,
    or several share it and their sockets have not told."""
    found = around.book.tenants(address, sighting.first_seen, sighting.last_seen)
    return found.containers[0] if len(found.containers) == 1 else ""


def _name_wait(sighting: Sighting, end: bytes, around: Surroundings) -> int:
    """How long it is worth waiting until discovery has told who has come, ms; 0: not at all.

    Where nobody is known, and where the owner went before the span was over: the next one may have
    been there for its end.
    """
    address = plain(end)
    own = not end or _is_host(address, around.host_addresses)
    if own or not around.book.in_network(address):
        return 0
    found = around.book.tenants(address, sighting.first_seen, sighting.last_seen)
    if found.expected:
        return EXPECTED_WAIT_MS
    if found.until:
        return NAME_WAIT_MS if around.now_ms < sighting.last_seen + NAME_WAIT_MS else 0
    return 0 if found.containers or found.disputed else NAME_WAIT_MS


@lru_cache(ADDRESSES_REMEMBERED_MAX)
def _text(address: bytes) -> str:
    # A busy host's flows are mostly between the same addresses, and this is the dearest part.
    return str(ip_address(address))


def _is_host(address: bytes, host_addresses: frozenset[bytes]) -> bool:
    return address in host_addresses or is_loopback(address)
