"""The reference judge: what becomes of a SYN, by the tables alone.

The native loop decides the same in compiled code and is tested against this; the Python loop uses
it as it is. Nothing here waits, and the cache in front of it is keyed by whom the ends may be, not
by their addresses, so that a change of address needs no invalidation: it is another key.
"""

from bisect import bisect_right
from typing import NamedTuple

from cnnf.defender.core.limits import (
    JUDGE_CACHE_MAX,
    TABLE_ADDRESSES_MAX,
    TABLE_CGROUPS_MAX,
    TABLE_CLASSES_MAX,
)
from cnnf.defender.core.tables import (
    ALERT,
    ALLOW,
    PREVENT,
    TCP,
    UDP,
    Behind,
    InvalidTablesError,
    Listeners,
    Named,
    Tables,
    check_addresses,
    check_behind,
    check_classes,
    check_host_addresses,
    check_listeners,
    check_named,
    unpack_rules,
)
from cnnf.defender.netlink.nfqueue import INPUT, OUTPUT

_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK6 = bytes(15) + b"\x01"

#: Nobody known stands behind the address: only subnets may select it.
_NOBODY = (0,)

_Class = tuple[int, int]


class Verdict(NamedTuple):
    """The effect, the rule that decided (-1: none), and whether all candidates agree."""

    effect: int
    rule: int
    unanimous: bool


class Judge:
    """Decides by one set of tables, which grows by what is told of endpoints."""

    def __init__(self, tables: Tables) -> None:
        self.version = tables.version
        self.hold_ms, self.wait_ms = tables.hold_ms, tables.wait_ms
        self.holds_per_second = tables.holds_per_second
        self._scopes = tables.containers, tables.hosts
        self._effects = tables.effects
        rules = len(tables.effects)
        self._container_list = (1 << tables.container_rules) - 1
        self._host_list = ((1 << rules) - 1) & ~self._container_list
        self._protocols = {TCP: unpack_rules(tables.tcp), UDP: unpack_rules(tables.udp)}
        self._any = unpack_rules(tables.any_source), unpack_rules(tables.any_destination)
        self._port_starts = tables.port_starts
        self._port_rules = [unpack_rules(one) for one in tables.port_rules]
        self._classes: list[_Class] = []
        self._add_classes(tables.classes)
        self._starts = {
            4: _cut(tables.starts4, 4),
            16: _cut(tables.starts6, 16),
        }
        self._stretches = {4: tables.classes4, 16: tables.classes6}
        self._addresses = {address: tuple(who) for address, who in tables.addresses}
        self._cgroups = dict(tables.cgroups)
        self._host = (tables.host,)
        self._networks = tables.networks
        self._listeners: dict[tuple[int, bytes], tuple[int]] = {}
        self._set_listeners(tables.listeners)
        self._host_addresses = frozenset(tables.host_addresses)
        self._cache: dict[tuple[object, ...], Verdict] = {}
        #: While a prevention is in force, what can't be read must not slip past it.
        self.prevents = PREVENT in tables.effects and any(self._scopes)

    # --- what is told of endpoints; each raises InvalidTablesError, and then nothing has changed

    def change(
        self,
        classes: list[tuple[bytes, bytes]],
        put: Behind,
        drop: list[bytes],
        listeners: Listeners | None,
        host_addresses: list[bytes] | None,
    ) -> None:
        """More classes, numbered on; who stands behind addresses; who listens; own addresses."""
        known = len(self._classes) + len(classes)
        check_classes(classes, len(self._effects))
        check_behind(put, known)
        check_addresses(drop)
        check_listeners(listeners or [], known)
        check_host_addresses(host_addresses or [])
        if known > TABLE_CLASSES_MAX or len(self._addresses) + len(put) > TABLE_ADDRESSES_MAX:
            raise InvalidTablesError("more classes or addresses than a loop knows")
        self._add_classes(classes)
        for address in drop:
            self._addresses.pop(address, None)
        for address, who in put:
            self._addresses[address] = tuple(who)
        if listeners is not None:
            self._set_listeners(listeners)
        if host_addresses is not None:
            self._host_addresses = frozenset(host_addresses)

    def put_cgroups(self, put: Named, drop: list[int]) -> None:
        """Which cgroups name a service."""
        check_named(put, len(self._classes))
        if len(self._cgroups) + len(put) > TABLE_CGROUPS_MAX:
            raise InvalidTablesError("more cgroups than a loop knows")
        for cgroup in drop:
            self._cgroups.pop(cgroup, None)
        self._cgroups.update(put)

    def check_owners(self, owners: Named) -> None:
        """Candidates that were found behind inodes."""
        check_named(owners, len(self._classes))

    def _add_classes(self, classes: list[tuple[bytes, bytes]]) -> None:
        self._classes += [(unpack_rules(one), unpack_rules(two)) for one, two in classes]

    def _set_listeners(self, listeners: Listeners) -> None:
        self._listeners = {(port, address): (who,) for port, address, who in listeners}

    # --- decisions

    def is_named(self, cgroup: int) -> bool:
        """Does the cgroup tell the service by itself?"""
        return cgroup in self._cgroups

    def awaits(self, hook: int, source: bytes, destination: bytes) -> bool:
        """Could an end be a container that discovery has not told of yet, and does it matter?"""
        if not self._container_list or not self._scopes[0]:
            return False
        ends = (plain(destination),) if hook == OUTPUT else (plain(source), plain(destination))
        return any(
            end not in self._addresses
            and not self._is_host(end)
            and any(
                len(end) == len(first) and first <= end <= last for first, last in self._networks
            )
            for end in ends
        )

    def decide(
        self,
        hook: int,
        source: bytes,
        destination: bytes,
        port: int,
        protocol: int,
        cgroup: int = 0,
        owner: int = -1,
    ) -> Verdict:
        """Packed addresses; `owner` is the candidate found behind an unnamed cgroup's socket.

        A cgroup that names a service goes before it: by that the flow is remembered.
        """
        source, destination = plain(source), plain(destination)
        if hook != OUTPUT:
            sources = self._behind(source)
        else:
            named = self._cgroups.get(cgroup, owner)
            sources = self._host if named < 0 else (named,)
        if hook == INPUT or self._is_host(destination):
            destinations = self._listening(destination, port)
        else:
            destinations = self._behind(destination)
        key = (
            sources,
            self._stretch(source),
            destinations,
            self._stretch(destination),
            bisect_right(self._port_starts, port),
            protocol,
        )
        verdict = self._cache.get(key)
        if verdict is None:
            verdict = self._decide(sources, key[1], destinations, key[3], port, protocol)
            if len(self._cache) >= JUDGE_CACHE_MAX:
                self._cache.clear()
            self._cache[key] = verdict
        return verdict

    def _decide(
        self,
        sources: tuple[int, ...],
        source_stretch: int,
        destinations: tuple[int, ...],
        destination_stretch: int,
        port: int,
        protocol: int,
    ) -> Verdict:
        container = any(who & 1 for who in sources + destinations)
        rules = self._container_list if container else self._host_list
        if not self._scopes[0 if container else 1]:
            return Verdict(ALLOW, -1, True)
        rules &= self._protocols.get(protocol, 0)
        rules &= self._port_rules[bisect_right(self._port_starts, port) - 1]
        from_subnets = self._any[0] | self._classes[source_stretch][0]
        to_subnets = self._any[1] | self._classes[destination_stretch][1]
        effect, rule, effects = PREVENT, len(self._effects), set()
        for one in sources:
            matching = rules & (from_subnets | self._classes[one >> 1][0])
            for other in destinations:
                both = matching & (to_subnets | self._classes[other >> 1][1])
                first = (both & -both).bit_length() - 1
                found = self._effects[first] if first >= 0 else ALLOW
                effects.add(found)
                if (found, first) < (effect, rule):
                    effect, rule = found, first
        return Verdict(effect, rule, len(effects) == 1)

    def _behind(self, address: bytes) -> tuple[int, ...]:
        who = self._addresses.get(address)
        if who is not None:
            return who
        return self._host if self._is_host(address) else _NOBODY

    def _listening(self, address: bytes, port: int) -> tuple[int, ...]:
        exact = self._listeners.get((port, address))
        return exact or self._listeners.get((port, b"")) or self._host

    def _is_host(self, address: bytes) -> bool:
        if address in self._host_addresses or address == _LOOPBACK6:
            return True
        return len(address) == 4 and address[0] == 127

    def _stretch(self, address: bytes) -> int:
        length = len(address)
        at = bisect_right(self._starts[length], address) - 1
        return self._stretches[length][at]


def plain(address: bytes) -> bytes:
    """The packed address; an IPv4-mapped IPv6 address is that IPv4 address."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


def _cut(starts: bytes, length: int) -> list[bytes]:
    return [starts[at : at + length] for at in range(0, len(starts), length)]


__all__ = ["ALERT", "ALLOW", "PREVENT", "Judge", "Verdict", "plain"]
