"""Who judges: keeps the policy and the people that it is about, and tells the packet loops.

One owner: the daemon. The loops get whole tables when the policy or the mode changes and when one
of them starts, and single changes when a container comes, a service is named or a listener moves.
"""

import time

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import Listeners, plain
from cnnf.defender.core.containers import Container, as_instance
from cnnf.defender.core.judge import Judge
from cnnf.defender.core.judgement import Cause, Judgement, People, effect_name
from cnnf.defender.core.limits import ORDER_PIECE_BYTES, ORDER_PIECES_MAX
from cnnf.defender.core.memberships import Membership
from cnnf.defender.core.name_rules import NameRules
from cnnf.defender.core.observations import (
    Cgroups,
    Endpoints,
    Looked,
    Report,
    Seen,
    in_pieces,
    size_of,
)
from cnnf.defender.core.peers import Change, Peers
from cnnf.defender.core.plan import Scopes
from cnnf.defender.core.tables import Listeners as TableListeners
from cnnf.defender.core.tables import Tables
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.local_services import LocalServices
from cnnf.policy.compiled import Compiled
from cnnf.policy.endpoints import Identity, sorted_labels
from cnnf.policy.rulesets import NOTHING

_SERVICE = "service:"


class Judging:
    """What the packet loops judge by, at any time."""

    def __init__(
        self,
        book: AddressBook,
        services: LocalServices,
        host_name: str,
        peers: Peers | None = None,
        names: NameRules | None = None,
    ) -> None:
        self._book = book
        self._peers = Peers() if peers is None else peers
        self._names = NameRules() if names is None else names
        self._services = services
        self._host_name = host_name
        self._judgement = Judgement(host_name)
        self._listeners = Listeners()
        self._host_addresses: frozenset[bytes] = frozenset()
        self._named: dict[int, int] = {}
        self._sent_addresses: dict[bytes, list[int]] = {}
        self._sent_listeners: TableListeners = []
        self._sent_host: frozenset[bytes] = frozenset()

    @property
    def prevents(self) -> bool:
        """May anything be refused by what is in force?"""
        return self._judgement.prevents

    @property
    def rules(self) -> int:
        """How many rules are in force."""
        return self._judgement.rules

    @property
    def levels(self) -> int:
        """How deep the cgroups lie that name services."""
        return self._services.deepest

    @property
    def asks_who(self) -> bool:
        """Does it matter to a rule which of the host's programs connects?"""
        return self._judgement.asks_who

    @property
    def goes_by_names(self) -> bool:
        """Does a rule in force select by names of DNS?"""
        return self._judgement.scopes.any and self._names.matter

    def change(self, scopes: Scopes, compiled: Compiled | None = None) -> None:
        """Another mode or policy; `Loops.prepare` sends it."""
        if compiled is not None:
            self._names.use(compiled, time.time_ns() // 1_000_000)
        self._judgement.change(scopes, compiled)

    def tables(self) -> Tables:
        """All that the loops have to know now: every one of them is to be told."""
        people = self._people()
        tables = self._judgement.tables(people)
        self._named = dict(tables.cgroups)
        self._sent_addresses = dict(tables.addresses)
        self._sent_listeners = tables.listeners
        self._sent_host = people.host_addresses
        return tables

    def judge(self) -> Judge:
        """A judge of our own, who decides as the loops do."""
        return Judge(self._judgement.describe(self._people()))

    def cause(self, report: Report, seen: Seen) -> Cause:
        """What decided about a flow that a loop tells of."""
        cause = self._judgement.cause(report.version, seen.rule)
        if cause.effect is None:
            return cause
        return Cause(effect_name(seen.effect), cause.cause)

    def name_cgroups(self, loops: Loops) -> None:
        """Tell which cgroups name a service by now; they may be remembered from then on."""
        fresh = self._services.named - self._named.keys()
        if not fresh:
            return
        put = []
        for cgroup in fresh:
            identity = self._identity(self._services.owner_of_cgroup(cgroup))
            if identity is not None:
                put.append((cgroup, self._judgement.candidate(identity)))
        self._named.update(put)
        self._send_classes(loops)
        loops.tell(Cgroups(put=put))

    def looked(self, report: Report, loops: Loops) -> Looked:
        """Whose the sockets are that packets are held for, as far as it is known by now."""
        owners = []
        for seen in report.flows:
            if seen.inode:
                identity = self._identity(self._services.owner_of(seen.cgroup, seen.inode))
                if identity is not None:
                    owners.append((seen.inode, self._judgement.candidate(identity)))
        # A loop refuses an answer that names somebody by a class it has not been told of.
        self._send_classes(loops)
        return Looked(report.held, owners)

    def candidate_of(self, cgroup: int, inode: int) -> int:
        """The candidate behind a socket of this host; -1 where nobody is known."""
        identity = self._identity(self._services.owner_of(cgroup, inode))
        return self._judgement.candidate(identity) if identity is not None else -1

    def set_surroundings(
        self, loops: Loops, listeners: Listeners, host_addresses: frozenset[bytes]
    ) -> bool:
        """What the host looks like now; True when a rule may judge differently by it."""
        self._listeners, self._host_addresses = listeners, host_addresses
        return self.tell_endpoints(loops)

    def tell_endpoints(self, loops: Loops) -> bool:
        """Tell what has changed of addresses and listeners; True when something has."""
        if not self._judgement.rules:
            return False
        people = self._people()
        addresses = self._judgement.addresses(people.addresses)
        listeners = self._judgement.listeners(people.listeners, people.leads)
        put = [
            (address, who)
            for address, who in addresses.items()
            if self._sent_addresses.get(address) != who
        ]
        drop = [address for address in self._sent_addresses if address not in addresses]
        moved = listeners != self._sent_listeners
        rehosted = people.host_addresses != self._sent_host
        if not (put or drop or moved or rehosted):
            return False
        order = Endpoints(
            classes=self._judgement.new_classes(),
            put=put,
            drop=drop,
            listeners=listeners if moved else None,
            host_addresses=sorted(people.host_addresses) if rehosted else None,
        )
        self._tell(loops, order)
        self._sent_addresses, self._sent_listeners = addresses, listeners
        self._sent_host = people.host_addresses
        return True

    def tell_peers(self, loops: Loops, changes: list[Change]) -> bool:
        """Tell who stands at ends elsewhere by now; True when what is remembered of one may not
        hold any more. What was not known was not remembered where it matters."""
        if not self._judgement.rules:
            return False
        last = {change.place: change.after for change in changes}
        peers = [
            (*place, self._judgement.crowd(who, place[0]), who.leads_to)
            for place, who in last.items()
            if who is not None
        ]
        gone = [place for place, who in last.items() if who is None]
        self._tell(loops, Endpoints(classes=self._judgement.new_classes(), peers=peers, gone=gone))
        return any(self._outlives(change) for change in changes)

    def tell_members(self, loops: Loops, memberships: list[Membership]) -> bool:
        """Tell which ends rules select by name now; True when what is remembered of one may not
        hold any more. What a name could still change was not remembered."""
        if not self._judgement.rules:
            return False
        # What was told of the same end before is over.
        last = {(one.asker, one.address): one for one in memberships}.values()
        members = self._judgement.members(one for one in last if one.selected != NOTHING)
        left = [(one.asker, one.address) for one in last if one.selected == NOTHING]
        self._tell(
            loops, Endpoints(classes=self._judgement.new_classes(), members=members, left=left)
        )
        return any(one.selected | one.before != one.selected for one in memberships)

    def tell_where_to_ask(self, loops: Loops) -> bool:
        """Who is not known matters elsewhere by now."""
        if self._judgement.rules:
            loops.prepare(self.tables())
        return self._judgement.rules > 0

    def _outlives(self, change: Change) -> bool:
        if change.forgotten:
            return False
        if change.before is None:
            # It was judged by the port that was connected to.
            return change.after is not None and change.after.leads_to > 0
        if change.after is not None and change.before.leads_to != change.after.leads_to:
            return True
        address = change.place[0]
        after = None if change.after is None else self._judgement.crowd(change.after, address)
        return self._judgement.crowd(change.before, address) != after

    def _send_classes(self, loops: Loops) -> None:
        classes = self._judgement.new_classes()
        if classes:
            self._tell(loops, Endpoints(classes=classes))

    def _tell(self, loops: Loops, order: Endpoints) -> None:
        """In pieces that a socket takes; what is too much for it goes as whole tables, by file."""
        if size_of(order) > ORDER_PIECE_BYTES * ORDER_PIECES_MAX:
            loops.prepare(self.tables())
            return
        for piece in in_pieces(order):
            loops.tell(piece)

    def _people(self) -> People:
        listeners, leads = {}, {}
        for port, address, owner in self._listeners.entries(self._host_addresses):
            instance = owner.instance
            published = self._book.published(port, address) if owner.forwards else None
            if published is not None:
                # What an engine's forwarder takes is for the container behind it.
                instance, leads[port, address] = published.container, published.port
            identity = self._identity(instance)
            if identity is not None:
                listeners[port, address] = identity
        cgroups = {}
        for cgroup in self._services.named:
            identity = self._identity(self._services.owner_of_cgroup(cgroup))
            if identity is not None:
                cgroups[cgroup] = identity
        return People(
            addresses={
                plain(address): [self._container(one) for one in containers]
                for address, containers in self._book.behind().items()
            },
            listeners=listeners,
            leads=leads,
            cgroups=cgroups,
            host_addresses=self._host_addresses,
            networks=self._book.networks,
            peers=self._peers.known(),
            doubtful=self._peers.doubtful,
            members=self._names,
        )

    def _identity(self, instance: str) -> Identity | None:
        """The identity of an instance of this host; None for what has gone or has no name."""
        if instance.startswith(_SERVICE):
            name = instance.removeprefix(_SERVICE)
            return Identity(kind="service", name=name, host=self._host_name)
        container = self._book.containers.get(instance)
        return self._container(container) if container is not None else None

    def _container(self, container: Container) -> Identity:
        instance = as_instance(container)
        return Identity(
            kind="container",
            name=instance.name,
            tag=instance.tag,
            digest=instance.digest,
            host=self._host_name,
            cluster=instance.cluster,
            namespace=instance.namespace,
            labels=sorted_labels(instance.labels),
        )
