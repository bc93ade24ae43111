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
from cnnf.defender.core.limits import ADDRESSES_REMEMBERED_MAX, LISTENER_WAIT_MS, NAME_WAIT_MS
from cnnf.defender.core.plan import Scopes
from cnnf.policy.addresses import is_internet
from cnnf.protocol.messages import Effect, Endpoint, Process, Protocol

_ANY = (bytes(4), bytes(16))
_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK6 = bytes(15) + b"\x01"
#: What Docker's forwarder and its unit are called: it takes a connection to a published port and
#: makes a second one, which is the first one's other half.
_FORWARDER = frozenset({"docker-proxy", "dockerd", "docker"})


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
    """The local end behind a socket: an instance's id, the program's name, and an example."""

    instance: str
    program: str
    process: Process | None


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
    """Who listens on this host: (address, port) -> instance. Replaced as a whole when read anew."""

    def __init__(self, entries: Iterable[tuple[bytes, int, Owner]] = ()) -> None:
        self._by_port: dict[int, dict[bytes, Owner]] = {}
        for address, port, owner in entries:
            self._by_port.setdefault(port, {})[plain(address)] = owner

    def find(self, address: bytes, port: int) -> Owner | None:
        """The listener that a connection to this address and port reaches."""
        at = self._by_port.get(port)
        if not at:
            return None
        exact = at.get(address)
        if exact is not None:
            return exact
        # `::` also takes IPv4 unless told otherwise; a listener on 0.0.0.0 is the closer match.
        for any_address in _ANY if len(address) == 4 else _ANY[1:]:
            if any_address in at:
                return at[any_address]
        return None

    def entries(self) -> Iterable[tuple[int, bytes, Owner]]:
        """Every listener: port, packed plain address, owner."""
        for port, at in self._by_port.items():
            for address, owner in at.items():
                yield port, address, owner

    def at(self, port: int) -> Iterable[Owner]:
        """Everybody who listens on this port, on whatever address."""
        return self._by_port.get(port, {}).values()


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


def is_loopback(address: bytes) -> bool:
    """Does the packed, plain address never leave its network namespace?"""
    return address[0] == 127 if len(address) == 4 else address == _LOOPBACK6


def attribute(sighting: Sighting, around: Surroundings) -> Ends | Unnamed | None:
    """Name both ends. None when the sighting is the second half of another one (a forwarder's).

    `Unnamed` when a container's name is missing that discovery may still bring.
    """
    owner = around.owners.get((sighting.cgroup, sighting.inode)) if sighting.cgroup else None
    source = _source(sighting, owner, around)
    destination, port = _destination(sighting, around)
    if _is_second_half(sighting, owner, destination, port, around):
        return None
    process = owner.process if owner is not None else None
    ends = Ends(source, destination, port, process)
    if any(_may_get_name(sighting, end, around) for end in (sighting.source, sighting.destination)):
        return Unnamed(ends, NAME_WAIT_MS)
    own = _is_host(plain(sighting.destination), around.host_addresses)
    if not destination.instance and own and sighting.protocol == "tcp":
        return Unnamed(ends, LISTENER_WAIT_MS)
    return ends


def _is_second_half(
    sighting: Sighting, owner: Owner | None, destination: Endpoint, port: int, around: Surroundings
) -> bool:
    """Is this a forwarder's connection to the container whose port it publishes?

    Its sockets live so briefly that the process is often gone before it is found; then the
    forwarder's listener on the published port tells.
    """
    if not destination.instance:
        return False
    if sighting.source and not _is_host(plain(sighting.source), around.host_addresses):
        return False
    host_ports = around.book.published_at(destination.instance, port)
    if not host_ports:
        return False
    if owner is not None and owner.instance:
        return _forwards(owner)
    return any(_forwards(one) for host_port in host_ports for one in around.listeners.at(host_port))


def _forwards(owner: Owner) -> bool:
    name = owner.instance.removeprefix("service:")
    return owner.program in _FORWARDER or name in _FORWARDER


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
    if sighting.protocol != "tcp":
        return Endpoint(address=text), sighting.port
    listener = around.listeners.find(address, sighting.port)
    if listener is None or _forwards(listener):
        published = around.book.published(sighting.port)
        if published is not None:
            return Endpoint(address=text, instance=published.container), published.port
    return Endpoint(address=text, instance=listener.instance if listener else ""), sighting.port


def _container(address: bytes, sighting: Sighting, around: Surroundings) -> str:
    """The one container that can have had the address all the while; '' where there were others,
    or several share it and their sockets have not told."""
    found = around.book.tenants(address, sighting.first_seen, sighting.last_seen)
    return found.containers[0] if len(found.containers) == 1 else ""


def _may_get_name(sighting: Sighting, end: bytes, around: Surroundings) -> bool:
    """Is it worth waiting until discovery has told who has come?

    Where nobody is known, and where the owner went before the span was over: the next one may have
    been there for its end.
    """
    address = plain(end)
    own = not end or _is_host(address, around.host_addresses)
    if own or not around.book.in_network(address):
        return False
    found = around.book.tenants(address, sighting.first_seen, sighting.last_seen)
    if found.until:
        return around.now_ms < sighting.last_seen + NAME_WAIT_MS
    return not found.containers and not found.disputed


@lru_cache(ADDRESSES_REMEMBERED_MAX)
def _text(address: bytes) -> str:
    # A busy host's flows are mostly between the same addresses, and this is the dearest part.
    return str(ip_address(address))


def _is_host(address: bytes, host_addresses: frozenset[bytes]) -> bool:
    return address in host_addresses or is_loopback(address)
