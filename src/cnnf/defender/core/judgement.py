"""From the policy and from who is here to the tables that packet loops judge by.

Names, patterns and labels end here: an identity becomes a *class*, which is the rules that it
selects, and identities that select the same rules share one. Pure; `judging.py` keeps it and sends
what it makes.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

import msgspec

from cnnf.defender.core.limits import (
    ADDRESS_CANDIDATES_MAX,
    CONTAINER_WAIT_MS,
    HOLD_FOR_RULES_MS,
    HOLD_MS,
    HOLDS_FOR_RULES_PER_SECOND_MAX,
    HOLDS_PER_SECOND_MAX,
    STRANGER_DELAY_MS,
    TABLES_REMEMBERED_MAX,
)
from cnnf.defender.core.memberships import Membership
from cnnf.defender.core.peers import Crowd
from cnnf.defender.core.plan import Scopes
from cnnf.defender.core.tables import (
    ALERT,
    ALLOW,
    ANYONE,
    PREVENT,
    Listeners,
    MemberList,
    PeerList,
    Place,
    Tables,
    pack_rules,
)
from cnnf.policy.addresses import Network
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.endpoints import Identity
from cnnf.policy.rules import Policy
from cnnf.protocol.messages import Effect

EFFECTS: dict[str, int] = {"allow": ALLOW, "alert": ALERT, "prevent": PREVENT}
_NAMES: dict[int, Effect] = {ALLOW: "allow", ALERT: "alert", PREVENT: "prevent"}

_Class = tuple[int, int]


class People(msgspec.Struct, frozen=True, kw_only=True):
    """Who is here: by address (of containers), by (port, address or empty) where services listen,
    and by the cgroup that names a service; and who is known to stand at ends elsewhere, with the
    (first, last) addresses where somebody unknown may be one of them; and whose names were told to
    whom, as far as rules go by them."""

    addresses: Mapping[bytes, list[Identity]] = {}
    listeners: Mapping[tuple[int, bytes], Identity] = {}
    leads: Mapping[tuple[int, bytes], int] = {}
    cgroups: Mapping[int, Identity] = {}
    host_addresses: frozenset[bytes] = frozenset()
    networks: tuple[Network, ...] = ()
    peers: Iterable[tuple[Place, Crowd]] = ()
    doubtful: list[tuple[bytes, bytes]] = []
    members: Iterable[Membership] = ()


class Cause(msgspec.Struct, frozen=True):
    """What decided, as a flow says it; nothing but the default: no effect."""

    effect: Effect | None
    cause: str


_DEFAULT = Cause(None, "")


class Judgement:
    """One policy in force at a time, and the numbers that its identities have got."""

    def __init__(self, host_name: str) -> None:
        self._host = Identity(kind="host", name=host_name, host=host_name)
        self._compiled = compile_policy(Policy())
        self._scopes = Scopes()
        self._version = 0
        self._classes: list[_Class] = []
        self._numbers: dict[_Class, int] = {}
        self._told = 0
        self._rules: OrderedDict[int, tuple[Cause, ...]] = OrderedDict()
        self.change(Scopes())

    @property
    def version(self) -> int:
        """The number of the tables that are made now."""
        return self._version

    @property
    def rules(self) -> int:
        """How many rules are in force."""
        return len(self._compiled.rules)

    @property
    def prevents(self) -> bool:
        """May anything be refused?"""
        return self._scopes.any and any(rule.effect == "prevent" for rule in self._compiled.rules)

    @property
    def asks_who(self) -> bool:
        """Does it matter to a rule which of the host's programs connects?"""
        return self._scopes.hosts and self.rules > self._compiled.container_rules

    @property
    def scopes(self) -> Scopes:
        """Where it judges."""
        return self._scopes

    def change(self, scopes: Scopes, compiled: Compiled | None = None) -> None:
        """Judge elsewhere, or by another policy: the next tables have another number."""
        if compiled is not None:
            self._compiled = compiled
        self._scopes = scopes
        self._version += 1
        self._classes, self._numbers = [(0, 0)], {(0, 0): 0}
        self._rules[self._version] = tuple(
            Cause(rule.effect, f"rule:{rule.name}") for rule in self._compiled.rules
        )
        if len(self._rules) > TABLES_REMEMBERED_MAX:
            self._rules.popitem(last=False)

    def cause(self, version: int, rule: int) -> Cause:
        """What a rule's number meant in those tables."""
        rules = self._rules.get(version, ())
        return rules[rule] if 0 <= rule < len(rules) else _DEFAULT

    def tables(self, people: People) -> Tables:
        """Everything a loop judges by; classes that come up later are told by `new_classes`."""
        tables = self.describe(people)
        self._told = len(self._classes)
        return tables

    def describe(self, people: People) -> Tables:
        """The same for whoever judges beside the loops: what they have been told stays as it is."""
        compiled = self._compiled
        host = self.candidate(self._host)
        port_starts, port_rules = compiled.ports()
        starts4, classes4 = self._stretches(4)
        starts6, classes6 = self._stretches(6)
        ruled = self.rules > 0
        addresses = self.addresses(people.addresses) if ruled else {}
        listeners = self.listeners(people.listeners, people.leads) if ruled else []
        peers = self.peers(people.peers) if ruled else []
        members = self.members(people.members) if ruled else []
        named, by_dns = compiled.by_identity(), compiled.by_dns()
        cgroups = [(cgroup, self.candidate(who)) for cgroup, who in people.cgroups.items()]
        return Tables(
            version=self._version,
            containers=self._scopes.containers,
            hosts=self._scopes.hosts,
            container_rules=compiled.container_rules,
            effects=bytes(EFFECTS[rule.effect] for rule in compiled.rules),
            tcp=pack_rules(compiled.protocols[6]),
            udp=pack_rules(compiled.protocols[17]),
            any_source=pack_rules(compiled.anyone.source),
            any_destination=pack_rules(compiled.anyone.destination),
            port_starts=port_starts,
            port_rules=[pack_rules(one) for one in port_rules],
            classes=self._packed(self._classes),
            starts4=starts4,
            classes4=classes4,
            starts6=starts6,
            classes6=classes6,
            addresses=list(addresses.items()),
            listeners=listeners,
            cgroups=cgroups,
            host=host,
            host_addresses=sorted(people.host_addresses) if ruled else [],
            networks=[
                (net.network_address.packed, net.broadcast_address.packed)
                for net in people.networks
            ],
            hold_ms=HOLD_FOR_RULES_MS if self.asks_who else HOLD_MS,
            wait_ms=CONTAINER_WAIT_MS,
            holds_per_second=(
                HOLDS_FOR_RULES_PER_SECOND_MAX if self.asks_who else HOLDS_PER_SECOND_MAX
            ),
            peers=peers,
            by_name=(pack_rules(named.source), pack_rules(named.destination)),
            # Where no rule names anybody it does not matter who somebody is.
            private=people.doubtful if named.source | named.destination else [],
            stranger_ms=STRANGER_DELAY_MS,
            members=members,
            by_dns=(pack_rules(by_dns.source), pack_rules(by_dns.destination)),
        )

    def candidate(self, identity: Identity, address: bytes = b"") -> int:
        """The number by which the loops know somebody: the class twice, and 1 for a container.

        `address` is where somebody is met, for objects that are narrowed by addresses.
        """
        selected = self._compiled.selected(identity, address)
        class_ = self._class(selected.source, selected.destination)
        return class_ * 2 + (identity.kind == "container")

    def addresses(self, people: Mapping[bytes, list[Identity]]) -> dict[bytes, list[int]]:
        """Who stands behind addresses, each candidate once."""
        return {
            address: sorted({self.candidate(who, address) for who in whos})
            for address, whos in people.items()
        }

    def peers(self, people: Iterable[tuple[Place, Crowd]]) -> PeerList:
        """Who stands at ends elsewhere."""
        # There are thousands of places, and few ways to be judged.
        shared: dict[tuple[int, ...], list[int]] = {}
        found: PeerList = []
        for place, crowd in people:
            who = self.crowd(crowd, place[0])
            found.append((*place, shared.setdefault(tuple(who), who), crowd.leads_to))
        return found

    def members(self, memberships: Iterable[Membership]) -> MemberList:
        """Ends with names, and the class of those."""
        return [
            (one.asker, one.address, self._class(one.selected.source, one.selected.destination))
            for one in memberships
        ]

    def crowd(self, crowd: Crowd, address: bytes = b"") -> list[int]:
        """The candidates of everybody who may stand at an end elsewhere; nobody: whom only subnets
        select. Of more than a loop takes the rest may be anyone."""
        found = sorted({self.candidate(who, address) for who in crowd.identities})
        if crowd.more or len(found) > ADDRESS_CANDIDATES_MAX:
            found = [*found[: ADDRESS_CANDIDATES_MAX - 1], ANYONE]
        return found or [0]

    def listeners(
        self,
        people: Mapping[tuple[int, bytes], Identity],
        leads: Mapping[tuple[int, bytes], int],
    ) -> Listeners:
        """Who listens on this host, and at which ports of theirs."""
        return sorted(
            (
                port,
                b"" if address and ip_address(address).is_unspecified else address,
                self.candidate(who),
                leads.get((port, address), 0),
            )
            for (port, address), who in people.items()
        )

    def new_classes(self) -> list[tuple[bytes, bytes]]:
        """Classes that came up since the tables were made or this was asked."""
        fresh = self._packed(self._classes[self._told :])
        self._told = len(self._classes)
        return fresh

    def _class(self, source: int, destination: int) -> int:
        key = (source, destination)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._classes)
            self._classes.append(key)
        return number

    def _stretches(self, version: int) -> tuple[bytes, list[int]]:
        starts, selected = self._compiled.intervals(4 if version == 4 else 6)
        length = 4 if version == 4 else 16
        return (
            b"".join(start.to_bytes(length, "big") for start in starts),
            [self._class(one.source, one.destination) for one in selected],
        )

    @staticmethod
    def _packed(classes: Iterable[_Class]) -> list[tuple[bytes, bytes]]:
        return [(pack_rules(source), pack_rules(destination)) for source, destination in classes]


def effect_name(effect: int) -> Effect:
    """The effect of a number that loops use."""
    return _NAMES[effect]
