"""Names for addresses elsewhere: reads copies of DNS, and says what an address is called.

One owner: the daemon. `core/dns_exchanges.py` tells what an answer says, `core/names.py` keeps it
for who asked. A container's address may be another container's tomorrow, who was told nothing yet:
so it is kept in mind who had it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address

from cnnf.defender.core import dns_chains
from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import is_loopback, plain
from cnnf.defender.core.dns_exchanges import Exchanges
from cnnf.defender.core.limits import ADDRESSES_REMEMBERED_MAX, DNS_COPY_BYTES
from cnnf.defender.core.names import HOST, Names
from cnnf.defender.kernel import table
from cnnf.defender.kernel.watch import Watch
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.nflog import LoggedPacket
from cnnf.protocol.limits import ENDPOINT_NAMES_MAX
from cnnf.protocol.messages import Endpoint

#: Seconds between two looks at what has become too old, and at what could not be read.
_INTERVAL_SECONDS = 10.0


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
        #: Who has an address, and who had an asker's when that was last looked at.
        self._present: dict[bytes, frozenset[str]] = {}
        self._owners: dict[bytes, frozenset[str]] = {}
        #: The addresses of those who have an address.
        self._kin: dict[bytes, tuple[bytes, ...]] = {}
        self._expired_ms = _now_ms()
        self._overflows = 0
        self._told = (0, 0, 0)

    def start(self) -> None:
        """Begin to read. Raises KernelRefused, OSError."""
        self._watch.start()

    def stop(self) -> None:
        """Stop reading."""
        self._watch.stop()

    async def run(self) -> None:
        """Forget what is old and tell of what could not be read, for ever."""
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            now_ms = _now_ms()
            self.names.expire(self._expired_ms, now_ms)
            self._expired_ms = now_ms
            for asker in self._owners.keys() - self.names.askers:
                del self._owners[asker]
            await self.tell_unread()

    def called(self, source: Endpoint, destination: Endpoint) -> tuple[str, ...]:
        """What the destination of a flow is called by whoever the source is, newest first; nothing
        where it has a name of its own, or the source was told of none."""
        if destination.instance or not destination.address:
            return ()
        address, now_ms = _packed(destination.address), _now_ms()
        asker = self._asker(_packed(source.address)) if source.address else HOST
        # It may have asked over one family, and connect over the other.
        for one in (asker, *self._kin.get(asker, ())):
            names = self.names.label(one, address, now_ms)
            if names:
                return names[:ENDPOINT_NAMES_MAX]
        return ()

    def owners_changed(self) -> None:
        """Addresses may have other owners now: what their former ones were told is forgotten."""
        present = self._present = {
            plain(address): frozenset(one.id for one in containers)
            for address, containers in self._book.behind().items()
        }
        self._kin = _kin(present)
        for asker, before in list(self._owners.items()):
            now = present.get(asker)
            if not now:
                # Nobody new; flows of the one who had it may still be told of.
                continue
            if before and not before & now:
                self.names.forget(asker)
                del self._owners[asker]
            else:
                self._owners[asker] = now

    def _asker(self, address: bytes) -> bytes:
        own = address in self._host_addresses() or is_loopback(address)
        return HOST if own else address

    def _take(self, packet: LoggedPacket) -> None:
        now_ms = _now_ms()
        for learned in self._exchanges.take(packet.hook, packet.payload, now_ms):
            self.names.learn(learned, now_ms)
            if learned.asker != HOST:
                owners = self._present.get(learned.asker, frozenset())
                self._owners.setdefault(learned.asker, owners)

    def _overflowed(self) -> None:
        self._overflows += 1

    async def tell_unread(self) -> None:
        """Tell of what could not be read since the last time."""
        try:
            passed = (await asyncio.to_thread(table.counters)).get(dns_chains.COUNTER, 0)
        except (NetlinkError, OSError):
            passed = 0
        figures = (self._exchanges.unreadable, passed, self._overflows)
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
        if said:
            self._unread(f"packets of DNS gave no names: {'; '.join(said)}")


def _kin(present: Mapping[bytes, frozenset[str]]) -> dict[bytes, tuple[bytes, ...]]:
    addresses: dict[str, list[bytes]] = {}
    for address, containers in present.items():
        for container in containers:
            addresses.setdefault(container, []).append(address)
    return {
        address: tuple({other for one in containers for other in addresses[one]} - {address})
        for address, containers in present.items()
    }


@lru_cache(ADDRESSES_REMEMBERED_MAX)
def _packed(address: str) -> bytes:
    return plain(ip_address(address).packed)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
