"""Names for addresses elsewhere: reads copies of DNS, and says what an address is called.

One owner: the daemon. `core/dns_exchanges.py` tells what an answer says, `core/names.py` keeps it
for who asked. A container's address may be another container's tomorrow, who was told nothing yet:
so it is kept in mind who had it.

While a rule goes by names, answers are not copied but wait here until the packet loops have
confirmed that they know what they say: the connection that follows is judged by it.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from cnnf.defender.core import dns_chains, resolvers
from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import is_loopback, packed, plain
from cnnf.defender.core.dns_exchanges import Exchanges
from cnnf.defender.core.limits import (
    DNS_COPY_BYTES,
    EARLY_ANSWER_MS,
    EARLY_ANSWERS_MAX,
    NAMES_LOOK_SECONDS,
    RESOLV_CONF_BYTES_MAX,
)
from cnnf.defender.core.marks import Marks
from cnnf.defender.core.memberships import Membership
from cnnf.defender.core.name_rules import NameRules
from cnnf.defender.core.names import HOST, Learned, Names
from cnnf.defender.held_answers import HeldAnswers
from cnnf.defender.kernel import table
from cnnf.defender.kernel.answer_queue import AnswerQueue, Held
from cnnf.defender.kernel.watch import Watch
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.nflog import LoggedPacket
from cnnf.defender.netlink.nfqueue import FORWARD
from cnnf.protocol.limits import ENDPOINT_NAMES_MAX
from cnnf.protocol.messages import Endpoint


class Naming:
    """What is known of names. `unread` hears, as a sentence, of DNS that gave none."""

    def __init__(
        self,
        group: int,
        book: AddressBook,
        host_addresses: Callable[[], frozenset[bytes]],
        unread: Callable[[str], None],
    ) -> None:
        self.names = Names()
        self._exchanges = Exchanges()
        self._watch = Watch(group, self._take, self._overflowed, copy_bytes=DNS_COPY_BYTES)
        self._book = book
        self._host_addresses = host_addresses
        self._unread = unread
        self._resolvers = resolvers.Configured()
        self._rules = NameRules()
        self._queue: AnswerQueue | None = None
        self._held: HeldAnswers | None = None
        #: Who has an address, and who had an asker's when that was last looked at.
        self._present: dict[bytes, frozenset[str]] = {}
        self._owners: dict[bytes, frozenset[str]] = {}
        #: The addresses of those who have an address.
        self._kin: dict[bytes, tuple[bytes, ...]] = {}
        self._early: deque[tuple[Learned, int]] = deque(maxlen=EARLY_ANSWERS_MAX)
        self._expired_ms = _now_ms()
        self._overflows = 0
        self._told = (0, 0, 0, 0)

    def hold_answers(
        self,
        rules: NameRules,
        queue: int,
        marks: Marks,
        *,
        fail_closed: bool,
        stated: Iterable[bytes],
        tell: Callable[[list[Membership]], None],
        heard: Callable[[float], Awaitable[bool]],
    ) -> None:
        """Before the start: keep what rules go by, too. `tell` tells the packet loops, `heard` says
        when they know; answers of `stated` resolvers count, packed, beside the configured ones."""
        self._rules, self._resolvers = rules, resolvers.Configured(stated)
        self._queue = AnswerQueue(queue, marks, self._take_held, fail_closed=fail_closed)
        self._held = HeldAnswers(tell, heard, self._queue.release)

    def start(self) -> None:
        """Begin to read. Raises KernelRefused, KernelError, OSError."""
        self.look_for_resolvers()
        self._watch.start()
        if self._queue is not None:
            self._queue.start()

    def stop(self) -> None:
        """Stop reading; what waits goes."""
        if self._held is not None:
            self._held.stop()
        if self._queue is not None:
            self._queue.stop()
        self._watch.stop()

    def look_for_resolvers(self) -> None:
        """Whose answers count for rules: as this host is configured now."""
        texts = []
        for name in resolvers.FILES:
            with contextlib.suppress(OSError), Path(name).open("rb") as file:
                texts.append(file.read(RESOLV_CONF_BYTES_MAX).decode("utf-8", "replace"))
        self._resolvers.use(texts)

    async def run(self) -> None:
        """Forget what is old and tell of what could not be read, for ever."""
        while True:
            await asyncio.sleep(NAMES_LOOK_SECONDS)
            self.look_for_resolvers()
            self.expire()
            for asker in self._owners.keys() - self.names.askers:
                del self._owners[asker]
            await self.tell_unread()

    def expire(self) -> None:
        """Names that are over, are so from now on."""
        now_ms = _now_ms()
        self.names.expire(self._expired_ms, now_ms)
        self._told_of(self._rules.expire(self._expired_ms, now_ms))
        self._expired_ms = now_ms

    def called(self, source: Endpoint, destination: Endpoint) -> tuple[str, ...]:
        """What the destination of a flow is called by whoever the source is, newest first; nothing
        where it has a name of its own, or the source was told of none."""
        if destination.instance or not destination.address:
            return ()
        address, now_ms = packed(destination.address), _now_ms()
        asker = self._asker(packed(source.address)) if source.address else HOST
        # It may have asked over one family, and connect over the other.
        for one in (asker, *self._kin.get(asker, ())):
            names = self.names.label(one, address, now_ms)
            if names:
                return names[:ENDPOINT_NAMES_MAX]
        return ()

    def owners_changed(self) -> None:
        """Addresses may have other owners now: what their former ones were told is forgotten."""
        behind = self._book.behind()
        present = self._present = {
            plain(address): frozenset(one.id for one in containers)
            for address, containers in behind.items()
        }
        self._resolvers.set_containers(behind)
        self._kin = _kin(present)
        now_ms = _now_ms()
        told = self._take_early(now_ms)
        for asker, before in list(self._owners.items()):
            now = present.get(asker)
            if not now:
                # Nobody new; flows of the one who had it may still be told of.
                continue
            if before and not before & now:
                self.names.forget(asker)
                told += self._rules.forget(asker, now_ms)
                del self._owners[asker]
            else:
                self._owners[asker] = now
        self._told_of(told + self._rules.related(self._kin, now_ms))

    def _asker(self, address: bytes) -> bytes:
        own = address in self._host_addresses() or is_loopback(address)
        return HOST if own else address

    def _take(self, packet: LoggedPacket) -> None:
        self._told_of(self._learn(packet))

    def _learn(self, packet: LoggedPacket | Held) -> list[Membership]:
        """Take what a packet says; what the loops are to be told of it."""
        now_ms, told = _now_ms(), []
        for learned in self._exchanges.take(packet.hook, packet.payload, now_ms):
            self.names.learn(learned, now_ms)
            if self._counts(learned, packet.hook):
                told += self._rules.learn(learned, now_ms)
            elif learned.asker not in self._present and self._book.in_network(learned.asker):
                self._early.append((learned, now_ms))
            if learned.asker != HOST:
                owners = self._present.get(learned.asker, frozenset())
                self._owners.setdefault(learned.asker, owners)
        return told

    def _take_early(self, now_ms: int) -> list[Membership]:
        """Answers to containers that nobody had told of yet: by now it is known whom they ask."""
        told: list[Membership] = []
        early, self._early = self._early, deque(maxlen=EARLY_ANSWERS_MAX)
        for learned, at_ms in early:
            if learned.asker not in self._present:
                if now_ms - at_ms <= EARLY_ANSWER_MS:
                    self._early.append((learned, at_ms))
            elif self._resolvers.count(learned.asker, learned.server):
                told += self._rules.learn(learned, now_ms)
        return told

    def _counts(self, learned: Learned, hook: int) -> bool:
        """Is the server one that was configured, or a program of this host itself? What passes
        FORWARD is from elsewhere, whatever address it bears."""
        server = learned.server
        own = hook != FORWARD and (is_loopback(server) or server in self._host_addresses())
        return own or self._resolvers.count(learned.asker, server)

    def _told_of(self, memberships: list[Membership]) -> None:
        if self._held is not None:
            self._held.tell(memberships)

    def _take_held(self, packets: list[Held]) -> None:
        # What was asked was copied before, but may not be read yet.
        self._watch.drain()
        told = [one for packet in packets for one in self._learn(packet)]
        if self._held is not None:
            self._held.hold([packet.id for packet in packets], told)

    def _overflowed(self) -> None:
        self._overflows += 1

    async def tell_unread(self) -> None:
        """Tell of what could not be read since the last time."""
        try:
            passed = (await asyncio.to_thread(table.counters)).get(dns_chains.COUNTER, 0)
        except (NetlinkError, OSError):
            passed = 0
        hasty = self._held.hasty if self._held is not None else 0
        hasty += self._queue.overdue if self._queue is not None else 0
        figures = (self._exchanges.unreadable, passed, self._overflows, hasty)
        # A table that was made anew counts from 0.
        more = [max(0, now - before) for now, before in zip(figures, self._told, strict=True)]
        self._told = figures
        said = []
        if more[0]:
            said.append(f"{more[0]} were none, or cut ({self._exchanges.problem})")
        if more[1]:
            said.append(f"{more[1]} were more than are read in a second")
        if more[2]:
            said.append("the kernel copied more than could be read")
        sentences = [f"packets of DNS gave no names: {'; '.join(said)}"] if said else []
        if more[3]:
            sentences.append(f"{more[3]} answers of DNS went on before the packet loops knew them")
        if sentences:
            self._unread(". ".join(sentences))


def _kin(present: Mapping[bytes, frozenset[str]]) -> dict[bytes, tuple[bytes, ...]]:
    addresses: dict[str, list[bytes]] = {}
    for address, containers in present.items():
        for container in containers:
            addresses.setdefault(container, []).append(address)
    return {
        address: tuple({other for one in containers for other in addresses[one]} - {address})
        for address, containers in present.items()
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
