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
    TABLE_MEMBERS_MAX,
    TABLE_PEERS_MAX,
)
from cnnf.defender.core.tables import (
    ALERT,
    ALLOW,
    ANYONE,
    PREVENT,
    TCP,
    UDP,
    Behind,
    InvalidTablesError,
    Listeners,
    MemberList,
    Membership,
    Named,
    PeerList,
    Place,
    Tables,
    check_addresses,
    check_behind,
    check_classes,
    check_host_addresses,
    check_listeners,
    check_members,
    check_memberships,
    check_named,
    check_peers,
    check_places,
    unpack_rules,
)
from cnnf.defender.netlink.nfqueue import INPUT, OUTPUT

_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK6 = bytes(15) + b"\x01"

#: Nobody known stands behind the address: only subnets may select it.
_NOBODY = (0,)
#: An end elsewhere that was not told of: judged as nobody, and doubted for it may be anyone.
_STRANGER = (-1,)
_ANYONE = (ANYONE,)
#: An end without names, in place of the class of its names; and the asker that is this host.
_NAMELESS = -1
_HOST = b""

#: Nothing is doubted; it matters who is there; and some would be prevented, others not.
CERTAIN, MATTERS, GRAVE = 0, 1, 2

_Class = tuple[int, int]


class Verdict(NamedTuple):
    """The effect, the rule that decided (-1: none), and whether all candidates agree; and what may
    be otherwise once an end elsewhere is known that is not yet. `settled`: no name that an end may
    get would change the effect."""

    effect: int
    rule: int
    unanimous: bool
    doubt: int = CERTAIN
    settled: bool = True


class Judge:
    """Decides by one set of tables, which grows by what is told of endpoints."""

    def __init__(self, tables: Tables) -> None:
        self.version = tables.version
        self.hold_ms, self.wait_ms = tables.hold_ms, tables.wait_ms
        self.holds_per_second = tables.holds_per_second
        self._scopes = tables.containers, tables.hosts
        self._effects = tables.effects
        rules = len(tables.effects)
        containers = (1 << tables.container_rules) - 1
        #: The rules for containers, the rules for hosts.
        self._lists = containers, ((1 << rules) - 1) & ~containers
        self._of_effect = [
            sum(1 << rule for rule in range(rules) if tables.effects[rule] == effect)
            for effect in (ALLOW, ALERT, PREVENT)
        ]
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
        self._peers: dict[Place, tuple[int, ...]] = {}
        #: Ports elsewhere that lead to other ports.
        self._leads: dict[Place, int] = {}
        self._put_peers(tables.peers)
        self._by_name = unpack_rules(tables.by_name[0]), unpack_rules(tables.by_name[1])
        self._by_dns = unpack_rules(tables.by_dns[0]), unpack_rules(tables.by_dns[1])
        self._members: dict[Membership, int] = {}
        self._put_members(tables.members)
        self._private = tables.private
        self.stranger_ms = tables.stranger_ms
        self._listeners: dict[tuple[int, bytes], tuple[tuple[int], int]] = {}
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
        peers: PeerList | None = None,
        gone: list[Place] | None = None,
        members: MemberList | None = None,
        left: list[Membership] | None = None,
    ) -> None:
        """More classes, numbered on; who stands behind addresses; who listens; own addresses; who
        stands at ends elsewhere; whose names an asker was told."""
        peers, gone, members, left = peers or [], gone or [], members or [], left or []
        known = len(self._classes) + len(classes)
        check_classes(classes, len(self._effects))
        check_behind(put, known)
        check_addresses(drop)
        check_listeners(listeners or [], known)
        check_host_addresses(host_addresses or [])
        check_peers(peers, known)
        check_places(gone)
        check_members(members, known)
        check_memberships(left)
        if (
            known > TABLE_CLASSES_MAX
            or len(self._addresses) + len(put) > TABLE_ADDRESSES_MAX
            or len(self._peers) + len(peers) > TABLE_PEERS_MAX
            or len(self._members) + len(members) > TABLE_MEMBERS_MAX
        ):
            raise InvalidTablesError("more classes, addresses, peers or members than a loop knows")
        self._add_classes(classes)
        for address in drop:
            self._addresses.pop(address, None)
        for address, who in put:
            self._addresses[address] = tuple(who)
        if listeners is not None:
            self._set_listeners(listeners)
        if host_addresses is not None:
            self._host_addresses = frozenset(host_addresses)
        for place in gone:
            self._peers.pop(place, None)
            self._leads.pop(place, None)
        self._put_peers(peers)
        for membership in left:
            self._members.pop(membership, None)
        self._put_members(members)

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

    def _put_peers(self, peers: PeerList) -> None:
        for address, port, protocol, who, leads_to in peers:
            place = address, port, protocol
            self._peers[place] = tuple(who)
            self._leads.pop(place, None)
            if leads_to:
                self._leads[place] = leads_to

    def _put_members(self, members: MemberList) -> None:
        for asker, address, class_ in members:
            self._members[asker, address] = class_

    def _set_listeners(self, listeners: Listeners) -> None:
        self._listeners = {
            (port, address): ((who,), leads_to) for port, address, who, leads_to in listeners
        }

    # --- decisions

    def is_named(self, cgroup: int) -> bool:
        """Does the cgroup tell the service by itself?"""
        return cgroup in self._cgroups

    def awaits(self, hook: int, source: bytes, destination: bytes) -> bool:
        """Could an end be a container that discovery has not told of yet, and does it matter?"""
        if not self._lists[0] or not self._scopes[0]:
            return False
        ends = (plain(destination),) if hook == OUTPUT else (plain(source), plain(destination))
        return any(
            end not in self._addresses and not self._is_host(end) and _lies_in(end, self._networks)
            for end in ends
        )

    def strangers(
        self, hook: int, source: bytes, destination: bytes, port: int, protocol: int
    ) -> list[Place]:
        """The ends of a packet that lie elsewhere and that nobody has told of."""
        source, destination = plain(source), plain(destination)
        found: list[Place] = []
        if hook != OUTPUT and self._elsewhere(source, 0, 0) is _STRANGER:
            found.append((source, 0, 0))
        own = hook == INPUT or self._is_host(destination)
        if not own and self._elsewhere(destination, port, protocol) is _STRANGER:
            found.append((destination, port, protocol))
        return found

    def knows(self, place: Place) -> bool:
        """Has this end elsewhere been told of?"""
        return place in self._peers

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
        told = self._cgroups.get(cgroup, owner)
        if told >= 0:
            sources: tuple[int, ...] = (told,)
        else:
            sources = self._host if hook == OUTPUT else self._elsewhere(source, 0, 0)
        to_host = hook == INPUT or self._is_host(destination)
        if to_host:
            destinations, leads_to = self._listening(destination, port)
        else:
            destinations = self._elsewhere(destination, port, protocol)
            leads_to = self._leads.get((destination, port, protocol), 0)
        port = leads_to or port
        # Each end's names are those that the other one was told.
        asker = _HOST if hook == OUTPUT or self._is_host(source) else source
        names = (
            self._members.get((_HOST if to_host else destination, source), _NAMELESS),
            self._members.get((asker, destination), _NAMELESS),
        )
        key = (
            sources,
            self._stretch(source),
            destinations,
            self._stretch(destination),
            bisect_right(self._port_starts, port),
            protocol,
            names,
        )
        verdict = self._cache.get(key)
        if verdict is None:
            verdict = self._judge(sources, key[1], destinations, key[3], port, protocol, names)
            if len(self._cache) >= JUDGE_CACHE_MAX:
                self._cache.clear()
            self._cache[key] = verdict
        return verdict

    def _judge(
        self,
        sources: tuple[int, ...],
        source_stretch: int,
        destinations: tuple[int, ...],
        destination_stretch: int,
        port: int,
        protocol: int,
        names: tuple[int, int],
    ) -> Verdict:
        from_, to = self._classes[source_stretch][0], self._classes[destination_stretch][1]
        called = self._named_class(names[0])[0], self._named_class(names[1])[1]
        rules = self._protocols.get(protocol, 0)
        rules &= self._port_rules[bisect_right(self._port_starts, port) - 1]
        subnets = self._any[0] | from_ | called[0], self._any[1] | to | called[1]
        known = _known_as(sources, _NOBODY), _known_as(destinations, _NOBODY)
        found = self._outcomes(*known, rules, subnets)
        effect, rule = min(found)
        unanimous = len({one for one, _ in found}) == 1
        settled = True
        if any(self._by_dns):
            # Whoever has several names is decided about by the first rule that he meets.
            anyhow = self._outcomes(*known, rules, subnets, self._by_dns)
            settled = len({one for one, _ in anyhow}) == 1
        if sources is not _STRANGER and destinations is not _STRANGER:
            return Verdict(effect, rule, unanimous, CERTAIN, settled)
        found = self._outcomes(
            _known_as(sources, _ANYONE), _known_as(destinations, _ANYONE), rules, subnets
        )
        effects = {one for one, _ in found}
        grave = PREVENT in effects and len(effects) > 1
        doubt = GRAVE if grave else MATTERS if len(found) > 1 else CERTAIN
        return Verdict(effect, rule, unanimous, doubt, settled)

    def _named_class(self, number: int) -> _Class:
        return self._classes[number] if number >= 0 else (0, 0)

    def _outcomes(
        self,
        sources: tuple[int, ...],
        destinations: tuple[int, ...],
        rules: int,
        subnets: tuple[int, int],
        named: tuple[int, int] = (0, 0),
    ) -> set[tuple[int, int]]:
        """The effects and rules that may decide, over all pairs of candidates; `named` are rules
        that may select either end besides."""
        everybody = sources + destinations
        if any(who & 1 for who in everybody):
            lists: tuple[int, ...] = (0,)
        else:
            lists = (0, 1) if ANYONE in everybody else (1,)
        found: set[tuple[int, int]] = set()
        for number in lists:
            if not self._scopes[number]:
                found.add((ALLOW, -1))
                continue
            listed = rules & self._lists[number]
            for one in sources:
                sure, maybe = self._selecting(one, 0)
                matching = (
                    listed & (subnets[0] | sure),
                    listed & (subnets[0] | maybe | named[0]),
                )
                for other in destinations:
                    sure, maybe = self._selecting(other, 1)
                    found |= self._first(
                        matching[0] & (subnets[1] | sure),
                        matching[1] & (subnets[1] | maybe | named[1]),
                    )
        return found

    def _selecting(self, who: int, side: int) -> tuple[int, int]:
        """The rules that select a candidate, and those that may."""
        if who == ANYONE:
            return 0, self._by_name[side]
        rules = self._classes[who >> 1][side]
        return rules, rules

    def _first(self, sure: int, maybe: int) -> set[tuple[int, int]]:
        """What may decide: the first rule that surely matches, or one before it that may."""
        first = _lowest(sure)
        found = {(self._effects[first] if first >= 0 else ALLOW, first)}
        before = maybe & ((1 << first) - 1) if first >= 0 else maybe
        if before:
            for effect, rules in enumerate(self._of_effect):
                if before & rules:
                    found.add((effect, _lowest(before & rules)))
        return found

    def _elsewhere(self, address: bytes, port: int, protocol: int) -> tuple[int, ...]:
        """Who may stand behind an address that is not ours, at this port."""
        who = self._addresses.get(address)
        if who is not None:
            return who
        if self._is_host(address):
            return self._host
        who = self._peers.get((address, port, protocol))
        if who is not None:
            return who
        strange = _lies_in(address, self._private) and not _lies_in(address, self._networks)
        # Port 0 is how it is asked who connects from there.
        return _STRANGER if strange and (port or not protocol) else _NOBODY

    def _listening(self, address: bytes, port: int) -> tuple[tuple[int, ...], int]:
        exact = self._listeners.get((port, address))
        return exact or self._listeners.get((port, b"")) or (self._host, 0)

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


def _lies_in(address: bytes, networks: list[tuple[bytes, bytes]]) -> bool:
    return any(len(address) == len(first) and first <= address <= last for first, last in networks)


def _known_as(who: tuple[int, ...], otherwise: tuple[int, ...]) -> tuple[int, ...]:
    return otherwise if who is _STRANGER else who


def _lowest(rules: int) -> int:
    """The lowest rule of a set, -1 when it is empty."""
    return (rules & -rules).bit_length() - 1


def _cut(starts: bytes, length: int) -> list[bytes]:
    return [starts[at : at + length] for at in range(0, len(starts), length)]


__all__ = ["ALERT", "ALLOW", "CERTAIN", "GRAVE", "MATTERS", "PREVENT", "Judge", "Verdict", "plain"]
