"""The directory: who stands behind an address of somebody else's host.

Made of what every Defender tells of its host, kept in memory, rebuilt from the store at start. A
wrong name is worse than none: an address that two Defenders claim, or that means something on its
own host only, leads to nobody. Changed by one thread (the event loop's, with each batch); ingest
looks names up from the writer's.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from cnnf.console import limits
from cnnf.console.core import hosts, nodes
from cnnf.console.core.hosts import Host
from cnnf.console.core.nodes import Node
from cnnf.console.core.public import widened
from cnnf.console.core.residents import HostNet, Interned, Opening, Port, Resident, Tenancy, at
from cnnf.policy.addresses import Address, Network, is_internet, parse_address
from cnnf.protocol.limits import CANDIDATES_TOLD_MAX, PUBLIC_MAX
from cnnf.protocol.messages import Answer, Batch, HostInfo, Instance, Known, Sought


class Found(NamedTuple):
    """Whose host an address leads to, and what stands there.

    `port` is the destination's own, where a published one led to it. `exact`: an instance was
    found; else `node` is the host, or the bare address where it is a container's.
    """

    defender: str
    node: Node
    port: int
    exact: bool


class _Place(NamedTuple):
    """Whose an address is: a host's own, or one that `residents` have had, in a routed network."""

    host: Host
    routed: bool
    residents: tuple[Resident, ...] = ()


class Directory:
    """Every Defender's host. Values that are read by other threads are replaced, never changed."""

    def __init__(self, generation: int = 0) -> None:
        #: Grows with every change that an answer may depend on.
        self.generation = generation
        self._interned = Interned()
        self._hosts: dict[str, Host] = {}
        #: Host address -> the Defenders that have it.
        self._owners: dict[str, tuple[str, ...]] = {}
        #: Address in a routed network -> who has had it, oldest first.
        self._routed: dict[str, tuple[Resident, ...]] = {}
        #: (version, prefix length) -> routed network's number -> the Defenders that have it.
        self._networks: dict[tuple[int, int], dict[int, tuple[str, ...]]] = {}
        self._stale: set[str] = set()
        self._public: tuple[str, ...] | None = None

    # -- changes ---------------------------------------------------------------------------------

    def take(self, defender: str, batch: Batch, received_at: int) -> None:
        """What this batch says of its Defender's host."""
        self.tell(
            defender,
            batch.host,
            batch.instances,
            snapshot=batch.snapshot,
            # A clock that runs ahead has not told what is still to come.
            sent_at=min(batch.sent_at, received_at),
        )

    def tell(
        self,
        defender: str,
        info: HostInfo | None,
        instances: Iterable[Instance],
        *,
        snapshot: bool,
        sent_at: int,
    ) -> None:
        """As `take`. What was told before the newest news may name what is over, no more."""
        host = self._hosts.get(defender)
        if host is None:
            host = self._hosts[defender] = Host(defender)
        newest = sent_at >= host.told_at
        if info is not None and newest:
            self._take_host(host, info)
        named = set()
        for instance in instances:
            named.add(instance.id)
            self._put(host, instance, newest=newest, sent_at=sent_at)
        if not newest:
            return
        if snapshot:
            for id_ in [one for one in host.running if one not in named]:
                self._stop(host, id_, sent_at)
        host.told_at = sent_at
        self._forget(host, sent_at)

    def remove(self, defender: str) -> None:
        """It is no longer enrolled."""
        host = self._hosts.get(defender)
        if host is None:
            return
        self._take_host(host, HostInfo(name=""))
        for tenancy in (*host.running.values(), *host.former.values()):
            self._end(host, tenancy)
            self._interned.drop(tenancy.resident.identity)
        del self._hosts[defender]

    def take_stale(self) -> set[str]:
        """The addresses whose answers may be different than when this was called last."""
        stale, self._stale = self._stale, set()
        return stale

    def _changed(self, addresses: Collection[str]) -> None:
        # Also when it is stale already: an answer may have been given in between.
        if addresses:
            self._stale.update(addresses)
            self.generation += 1

    def _take_host(self, host: Host, info: HostInfo) -> None:
        told = (info.name, tuple(info.addresses), tuple(info.networks))
        if told == host.told:
            return
        networks = _networks(info)
        addresses = {
            str(one)
            for one in map(parse_address, info.addresses)
            if _is_reachable(one) and not _inside(one, networks, routed=False)
        }
        renamed = info.name != host.name
        self._public = None
        for address in host.addresses - addresses:
            self._disown(address, host.defender)
        for address in addresses - host.addresses:
            self._owners[address] = (*self._owners.get(address, ()), host.defender)
        self._changed(host.addresses if renamed else ())
        self._changed(host.addresses ^ addresses)
        for net in set(host.networks) - set(networks):
            self._network(net, host.defender, add=False)
        for net in set(networks) - set(host.networks):
            self._network(net, host.defender, add=True)
        moved = host.networks != networks
        host.told, host.name = told, info.name
        host.addresses, host.networks = frozenset(addresses), networks
        if renamed:
            host.renamed()
        if moved:
            # Which addresses are routed, and who is behind the host's own, is different now.
            for tenancy in list(host.running.values()):
                self._changed(tenancy.routed)
                self._end(host, tenancy)
                self._settle(host, self._placed(host, tenancy))

    def _disown(self, address: str, defender: str) -> None:
        left = tuple(one for one in self._owners.get(address, ()) if one != defender)
        if left:
            self._owners[address] = left
        else:
            self._owners.pop(address, None)

    def _network(self, net: HostNet, defender: str, *, add: bool) -> None:
        if not net.routed:
            return
        network = net.network
        by_number = self._networks.setdefault((network.version, network.prefixlen), {})
        number = int(network.network_address)
        left = tuple(one for one in by_number.get(number, ()) if one != defender)
        if add or left:
            by_number[number] = (*left, defender) if add else left
        else:
            by_number.pop(number, None)

    def _put(self, host: Host, instance: Instance, *, newest: bool, sent_at: int) -> None:
        held = host.running.get(instance.id)
        if held is None:
            if newest and not instance.stopped_at:
                if len(host.running) < limits.DIRECTORY_RESIDENTS_MAX:
                    self._settle(host, self._tenancy(host, instance, until=0))
            elif (instance.id, instance.started_at) not in {one[:2] for one in host.former}:
                until = max(instance.stopped_at or sent_at, instance.started_at + 1)
                self._settle(host, self._tenancy(host, instance, until=until))
            return
        if not newest:
            return
        if instance.stopped_at:
            self._stop(host, instance.id, instance.stopped_at)
            return
        tenancy = self._tenancy(host, instance, until=0)
        if tenancy == held:
            self._interned.drop(tenancy.resident.identity)
            return
        since = held.resident.since
        self._stop(host, instance.id, sent_at)
        if tenancy.resident.since <= since:
            # The same one in other places or by another name, and only from now on.
            tenancy = tenancy._replace(resident=tenancy.resident._replace(since=sent_at))
        self._settle(host, tenancy)

    def _settle(self, host: Host, tenancy: Tenancy) -> None:
        host.settle(tenancy)
        resident = tenancy.resident
        for address in tenancy.routed:
            present = (*self._routed.get(address, ()), resident)
            self._routed[address] = tuple(sorted(present, key=lambda one: one.since))
        if not resident.until:
            self._tell_change(host, tenancy)

    def _stop(self, host: Host, id_: str, at_ms: int) -> None:
        """It has its places no longer, and had them until then."""
        tenancy = host.running[id_]
        self._tell_change(host, tenancy)
        self._end(host, tenancy)
        former = hosts.ended(tenancy, at_ms)
        key = (former.resident.id, former.resident.since, former.resident.until)
        if key in host.former:
            self._interned.drop(tenancy.resident.identity)
        else:
            self._settle(host, former)

    def _end(self, host: Host, tenancy: Tenancy) -> None:
        host.end(tenancy)
        for address in tenancy.routed:
            left = tuple(one for one in self._routed[address] if one is not tenancy.resident)
            if left:
                self._routed[address] = left
            else:
                del self._routed[address]

    def _forget(self, host: Host, now: int) -> None:
        while host.former:
            oldest = next(iter(host.former.values()))
            fresh = oldest.resident.until >= now - limits.DIRECTORY_FORMER_MS
            if fresh and len(host.former) <= limits.DIRECTORY_FORMER_MAX:
                return
            self._end(host, oldest)
            self._interned.drop(oldest.resident.identity)

    def _tell_change(self, host: Host, tenancy: Tenancy) -> None:
        self._changed(tenancy.routed)
        # Its host's addresses: whoever asked who is behind them, or at one of its ports.
        if tenancy.behind or tenancy.ports:
            self._changed(host.addresses)

    def _tenancy(self, host: Host, instance: Instance, *, until: int) -> Tenancy:
        identity = self._interned.take(instance)
        resident = Resident(host.defender, instance.id, identity, instance.started_at, until)
        # Each once: the same one may be told as IPv4 and as IPv4-mapped.
        told = () if instance.host_network else instance.addresses
        own = tuple(dict.fromkeys(map(_text, told)))
        return self._placed(
            host, Tenancy(resident, own, (), _ports(instance), instance.host_network, False)
        )

    def _placed(self, host: Host, tenancy: Tenancy) -> Tenancy:
        """The tenancy with what its host's networks make of its addresses."""
        service = tenancy.resident.identity.known.kind == "service"
        own = () if service or tenancy.host_network else tenancy.addresses
        routed = tuple(one for one in own if _inside(_parsed(one), host.networks, routed=True))
        return tenancy._replace(routed=routed, behind=not own or len(routed) < len(own))

    # -- look-ups --------------------------------------------------------------------------------

    @property
    def public(self) -> tuple[str, ...]:
        """Addresses on the internet that protected hosts have, as networks; wider ones when they
        are many."""
        public = self._public
        if public is None:
            narrow: list[Network] = [ip_network(one) for one in list(self._owners)]
            for (version, length), by_number in self._networks.items():
                kind = IPv4Network if version == 4 else IPv6Network
                narrow += [kind((number, length)) for number in list(by_number)]
            inside = [one for one in narrow if is_internet(one.network_address)]
            public = self._public = tuple(map(str, widened(inside, PUBLIC_MAX)))
        return public

    def host_node(self, defender: str) -> Node:
        """The node of this Defender's host."""
        host = self._hosts.get(defender)
        return nodes.host(defender, host.name if host else "")

    def delivered(self, defender: str) -> int:
        """Until when this Defender has told who lives on its host (ms, its clock)."""
        host = self._hosts.get(defender)
        return host.told_at if host else 0

    def is_own(self, defender: str, address: str) -> bool:
        """Is it an address of this Defender's own host, or of one of its containers?"""
        host = self._hosts.get(defender)
        if host is None:
            return False
        text = _text(address)
        if text in host.addresses or any(
            one.defender == defender for one in self._routed.get(text, ())
        ):
            return True
        net = self.own_network(defender, address)
        return net is not None and not net.routed

    def own_network(self, defender: str, address: str) -> HostNet | None:
        """The network of containers of this Defender's host that the address lies in."""
        host = self._hosts.get(defender)
        parsed = _parsed(address)
        for net in host.networks if host else ():
            if net.network.version == parsed.version and parsed in net.network:
                return net
        return None

    def find_destination(
        self, asker: str, address: str, port: int, protocol: str, times: tuple[int, ...]
    ) -> Found | None:
        """What a connection from the asker's host to this address and port reached at these times
        (the first that tells counts). None: nothing of another Defender's, or not certain."""
        place = self._locate(asker, address)
        if place is None:
            return None
        host = place.host
        if place.routed:
            return self._routed_found(place, address, port, times)
        opening = host.opening(port, protocol, _text(address), times)
        if opening is not None:
            return Found(host.defender, opening.resident.identity.node, opening.to, True)
        return Found(host.defender, nodes.host(host.defender, host.name), port, False)

    def find_source(self, asker: str, address: str, times: tuple[int, ...]) -> Found | None:
        """Whose host a connection to the asker's host came from; `exact` where its address tells
        the container. None: no other Defender's, or not certain."""
        place = self._locate(asker, address)
        if place is None:
            return None
        if place.routed:
            return self._routed_found(place, address, 0, times)
        return Found(
            place.host.defender, nodes.host(place.host.defender, place.host.name), 0, False
        )

    def answer(self, asker: str, sought: Sought) -> Answer:
        """Everybody who may stand there now; see `Answer`."""
        text = _text(sought.address)
        place = self._locate(asker, text)
        residents: tuple[Known, ...] = ()
        leads_to = 0
        if place is not None:
            openings: Sequence[Opening] = ()
            if not place.routed and sought.port:
                openings = place.host.at_port(sought.port, sought.protocol, text)
            ports = {one.to for one in openings} - {sought.port}
            # Where it leads to several there is nothing that holds for all of them.
            leads_to = ports.pop() if len(ports) == 1 else 0
            residents = self._candidates(place, openings, sought)
        most = CANDIDATES_TOLD_MAX
        return Answer(
            address=sought.address,
            port=sought.port,
            protocol=sought.protocol,
            candidates=list(residents[:most]),
            more=len(residents) > most,
            leads_to=leads_to,
        )

    def _candidates(
        self, place: _Place, openings: Sequence[Opening], sought: Sought
    ) -> tuple[Known, ...]:
        host = place.host
        if place.routed:
            present = [one.identity for one in place.residents if not one.until]
        elif sought.port:
            present = [one.resident.identity for one in openings]
        else:
            return host.behind() or (host.itself,)
        known = tuple(host.known(one) for one in {id(one): one for one in present}.values())
        return known or (() if place.routed else (host.itself,))

    def _routed_found(
        self, place: _Place, address: str, port: int, times: tuple[int, ...]
    ) -> Found:
        resident = at(place.residents, times)
        defender = place.host.defender
        if resident is not None:
            return Found(defender, resident.identity.node, port, True)
        return Found(defender, nodes.unmanaged(_text(address)), port, False)

    def _locate(self, asker: str, address: str) -> _Place | None:
        """The one place elsewhere that this address leads to from the asker's host."""
        parsed, text = canonical(address)
        owners = self._owners.get(text, ())
        residents = self._routed.get(text, ())
        # Who has it now; else who has had it.
        claims = {one.defender for one in residents if not one.until}
        claims = set(owners) | (claims or {one.defender for one in residents})
        if not claims:
            claims = set(self._routed_by(parsed))
        # Nearly every address is the internet's: it costs no more than the look-ups above.
        if len(claims) != 1 or asker in claims or not _is_reachable(parsed):
            return None
        own = self._hosts.get(asker)
        if own is not None and _inside(parsed, own.networks, routed=False):
            return None
        (defender,) = claims
        host = self._hosts.get(defender)
        if host is None:
            return None
        return _Place(host, not owners, residents)

    def _routed_by(self, address: Address) -> tuple[str, ...]:
        """The Defenders whose routed network the address lies in, the narrowest one."""
        bits = address.max_prefixlen
        for version, length in sorted(self._networks, reverse=True):
            if version == address.version:
                number = int(address) >> (bits - length) << (bits - length)
                found = self._networks[version, length].get(number)
                if found:
                    return found
        return ()


@lru_cache(limits.ADDRESSES_PARSED_MAX)
def canonical(text: str) -> tuple[Address, str]:
    """The address and its one text. Raises ValueError when it is none."""
    # The same few thousand over and over; parsing takes longer than all the rest of a look-up.
    address = parse_address(text)
    return address, str(address)


def _parsed(text: str) -> Address:
    return canonical(text)[0]


def _is_reachable(address: Address) -> bool:
    """Can it mean the same from another host? Loopback, link-local and the like can't."""
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
    )


def _networks(info: HostInfo) -> tuple[HostNet, ...]:
    return tuple(
        dict.fromkeys(HostNet(ip_network(one.cidr, strict=False), one.routed)
                      for one in info.networks)
    )  # fmt: skip


def _inside(address: Address, networks: tuple[HostNet, ...], *, routed: bool) -> bool:
    return any(
        net.routed == routed and net.network.version == address.version and address in net.network
        for net in networks
    )


def _text(address: str) -> str:
    return canonical(address)[1]


def _ports(instance: Instance) -> tuple[tuple[Port, str, int, bool], ...]:
    """Port, address ('' for all), where it leads to, and whether it is published."""
    published = {
        (
            (one.port, one.protocol),
            _text(one.address) if one.address and not _is_any(one.address) else "",
            one.to,
            True,
        )
        for one in instance.published
    }
    told = {port for (port, _), *_ in published}
    listening = {((port, "tcp"), "", port, False) for port in instance.ports if port not in told}
    return tuple(sorted(published | listening))


def _is_any(address: str) -> bool:
    return _parsed(address).is_unspecified
