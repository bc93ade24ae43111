"""From what the kernel tells to flows between named ends: the Defender's middle.

One task owns everything here. Reports of the packet loops, logged packets, counts of finished
generations and connections found at start come in as sightings; lookups that read /proc run in one
worker thread; what is named goes to the flow table, what discovery has not named yet waits a while.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, NamedTuple

import structlog

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import (
    Ends,
    Listeners,
    Owner,
    Sighting,
    Surroundings,
    Unnamed,
    attribute,
    is_local,
    is_loopback,
    is_visible,
    plain,
)
from cnnf.defender.core.existing import merge
from cnnf.defender.core.flows import FlowTable
from cnnf.defender.core.limits import LISTENER_WAIT_MS, PENDING_FLOWS_MAX
from cnnf.defender.core.observations import Report
from cnnf.defender.core.pace import pause
from cnnf.defender.core.plan import Scopes
from cnnf.defender.core.reckoning import Reckoning
from cnnf.defender.core.tallies import Tally
from cnnf.defender.judging import Judging
from cnnf.defender.kernel import addresses
from cnnf.defender.kernel.cutting import survey
from cnnf.defender.kernel.errors import KernelError
from cnnf.defender.kernel.sockdiag import SocketOwner
from cnnf.defender.local_services import LocalServices
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.inet_diag import TCP_ESTABLISHED
from cnnf.defender.netlink.nflog import LoggedPacket
from cnnf.defender.netlink.nfqueue import OUTPUT
from cnnf.defender.netlink.packets import parse_segment
from cnnf.protocol.messages import Instance

_log = structlog.get_logger(__name__)

#: Sightings attributed in one go, between which other tasks get their turn: ten milliseconds. A new
#: policy takes some thirty turns until it is in force.
_BATCH_MAX = 100
#: How often waiting sightings are tried again.
_RETRY_SECONDS = 0.1
#: Quick looks a second: at a millisecond each a tenth of one core.
_QUICK_LOOKS_MAX = 100
#: The same while a rule asks who connects: what is not looked at is judged as the host's.
_RULED_LOOKS_MAX = 400
#: A listener that is missing is looked for again at most this often.
_LISTENERS_SECONDS = 0.2


class _Waiting(NamedTuple):
    """A sighting without a name for an end, and until when it waits for one."""

    until_ms: int
    for_listener: bool
    sighting: Sighting


class Observer:
    """Names sightings.

    `on_named` is told when more cgroups may name a service by themselves, `on_service` of a service
    that was seen for the first time, `on_opened` how many connections an instance has opened ('':
    nobody that is known).
    """

    def __init__(
        self,
        book: AddressBook,
        services: LocalServices,
        judging: Judging,
        on_named: Callable[[], None],
        on_service: Callable[[Instance], None],
        on_opened: Callable[[str, int], None],
    ) -> None:
        self.flows = FlowTable()
        self._book = book
        self._services = services
        self._judging = judging
        self._reckoning = Reckoning(
            self._is_own, lambda source: self.shared(source) is not None, self._put
        )
        self._on_named = on_named
        self._on_service = on_service
        self._on_opened = on_opened
        self._sightings: deque[Sighting] = deque()
        self._waiting: deque[_Waiting] = deque()
        #: Counts what may have given a name to something that waits.
        self._news = self._retried_news = 0
        self._arrived = asyncio.Event()
        self._listeners = Listeners()
        self._listeners_at = 0.0
        self._host_addresses: frozenset[bytes] = frozenset()
        self._addresses_read = False
        #: Made once: some hosts have thousands.
        self._told_addresses: list[str] = []
        self._log_owner = SocketOwner()
        #: Who can be asked about connections from an address that containers share.
        self.shared: Callable[[bytes], SocketOwner | None] = lambda _: None
        self._worker = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._quick_since = 0.0
        self._quick_looks = 0
        self.lost = 0
        #: Told of every sighting, also of what the kernel counts by itself.
        self.met: Callable[[Sighting], None] = lambda _: None
        #: Packets that no loop's flows tell of, set by who reads the counters; and that loops told
        #: of when there was no room.
        self.untold = self._left_out = 0

    def close(self) -> None:
        """Close the socket that asks the kernel."""
        self._log_owner.close()

    @property
    def host_addresses(self) -> list[str]:
        """This host's addresses but loopback and link-local ones."""
        return self._told_addresses

    @property
    def listeners(self) -> Listeners:
        """Who listens on this host, as last read."""
        return self._listeners

    @property
    def packed_host_addresses(self) -> frozenset[bytes]:
        """This host's addresses as the kernel has them."""
        return self._host_addresses

    def take_report(self, report: Report) -> None:
        """A packet loop's flows. One without a count is held, and only to be looked at."""
        for seen in report.flows:
            if seen.source and seen.inode:
                self._look_quickly(seen.cgroup, seen.inode)
            if seen.count:
                cause = self._judging.cause(report, seen)
                if cause.effect in _UNTOLD and len(self._sightings) >= PENDING_FLOWS_MAX:
                    # As if no loop had told: the kernel has counted them, and says so later.
                    self._left_out += seen.count
                else:
                    self._put(self._reckoning.seen(seen, cause))

    def take_logged(self, packet: LoggedPacket) -> None:
        """A SYN of the limited view; its socket is looked up at once, while it is connecting."""
        segment = parse_segment(packet.payload, 0, len(packet.payload))
        if segment is None:
            return
        owner = None
        own = packet.hook == OUTPUT
        asked = self._log_owner if own else self.shared(segment.source)
        if asked is not None:
            source, destination, source_port, port, _ = segment
            device = packet.out_device if own else 0
            owner = asked.find(source, source_port, destination, port, device)
        if owner is not None:
            self._look_quickly(owner.cgroup, owner.inode)
        now_ms = _now_ms()
        self._put(
            Sighting(
                source=segment.source,
                cgroup=owner.cgroup if owner else 0,
                inode=owner.inode if owner else 0,
                destination=segment.destination,
                port=segment.port,
                connections=1,
                first_seen=now_ms,
                last_seen=now_ms,
            )
        )

    @property
    def misses(self) -> bool:
        """Has something been asked about that no loop tells of? Then `asked` is to be counted."""
        return self._missing > self._reckoning.missed

    @property
    def _missing(self) -> int:
        return self.untold + self._left_out

    def switch(self, generation: int) -> None:
        """This generation is about to be in force."""
        self._reckoning.switch(generation)

    async def take_tallies(
        self, tallies: list[Tally], generation: int, since_ms: int, now_ms: int, *, final: bool
    ) -> None:
        """What the kernel counted by itself in a span of time; `final`: that generation is over.

        There may be more than can wait for a name. What was counted is not lost for that: it is
        named meanwhile.
        """
        async with self._taking:
            # Answers that have waited long enough are sightings, too.
            await self._make_room()
            taken_ms = time.monotonic_ns() // 1_000_000
            self._reckoning.begin(tallies, generation, taken_ms)
            for at, tally in enumerate(tallies):
                if not at % _BATCH_MAX:
                    await self._make_room()
                self._reckoning.take(tally, since_ms, now_ms)
            self._reckoning.end(self._missing, since_ms, now_ms, final=final)

    async def settle(self) -> None:
        """Tell of what no report has come of in time."""
        async with self._taking:
            await self._make_room()
            self._reckoning.settle(self._missing, time.monotonic_ns() // 1_000_000, _now_ms())

    def _is_own(self, source: bytes) -> bool:
        return plain(source) in self._host_addresses or is_loopback(plain(source))

    def names_changed(self) -> None:
        """Discovery has news: what waits for a name may have one."""
        self._news += 1
        self._arrived.set()

    async def run(self) -> None:
        """Attribute for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS if self._waiting else None):
                    await self._arrived.wait()
            self._arrived.clear()
            await self.attribute_all()

    async def attribute_all(self, *, patient: bool = True) -> None:
        """Attribute everything that has arrived, and what waits where its time has come; all of it
        when there is no time left."""
        if not patient:
            self._reckoning.finish(self._missing, _now_ms())
        while self._sightings:
            started = time.thread_time()
            await self._attribute_next()
            if patient:
                await asyncio.sleep(pause(time.thread_time() - started, len(self._sightings)))
        await self._look_after_waiting(patient)

    async def _attribute_next(self) -> None:
        batch = [self._sightings.popleft() for _ in _some(self._sightings)]
        await self._attribute(batch, wait=True)

    async def _make_room(self) -> None:
        """Let others work, and name what waits until half of what can wait may come."""
        await asyncio.sleep(0)
        while len(self._sightings) > PENDING_FLOWS_MAX // 2:
            await self._attribute_next()
            await asyncio.sleep(0)

    async def _look_after_waiting(self, patient: bool) -> None:
        """Attribute what has waited long enough, and what has got a name by now.

        Names are looked up again only when there is news of any: thousands may be waiting.
        """
        if any(one.for_listener for one in self._waiting) and self._listeners_are_old:
            with contextlib.suppress(NetlinkError, OSError):
                await self._read_listeners()
        again, self._retried_news = self._news != self._retried_news, self._news
        waiting, self._waiting = self._waiting, deque()
        try:
            while waiting:
                done = self._ready([waiting.popleft() for _ in _some(waiting)], again, patient)
                if done:
                    await self._attribute(done, wait=False)
                await asyncio.sleep(0)
        finally:
            self._waiting.extend(waiting)

    def _ready(self, waiting: list[_Waiting], again: bool, patient: bool) -> list[Sighting]:
        """Those whose time has come, or who have a name by now; the others wait on."""
        around, now_ms = self._around(), _now_ms()
        done = []
        for one in waiting:
            if (
                not patient
                or one.until_ms <= now_ms
                or (again and not isinstance(attribute(one.sighting, around), Unnamed))
            ):
                done.append(one.sighting)
            else:
                self._waiting.append(one)
        return done

    async def refresh(self) -> list[Instance]:
        """Read the host's listeners and services anew, and its addresses where that failed.

        Raises NetlinkError, OSError.
        """
        if not self._addresses_read:
            await self.read_addresses()
        await self._read_listeners()
        async with self._worker:
            return await asyncio.to_thread(self._services.instances, self.host_addresses)

    async def read_addresses(self) -> None:
        """Read the host's addresses anew; the ones known so far stay when that fails."""
        self._addresses_read = False
        try:
            found = frozenset(await asyncio.to_thread(addresses.host_addresses))
            self._addresses_read = True
            if found != self._host_addresses:
                self._host_addresses = found
                self._told_addresses = _told(found)
                self._news += 1
        except KernelError as error:
            _log.warning("host addresses can't be read", error=str(error))

    async def find_existing(self, scopes: Scopes, *, before: Scopes | None) -> None:
        """Report connections that were there before us, each once.

        After a change of scopes from `before` only those that were not to be seen until then.
        """
        pids = [one.pid for one in self._book.containers.values() if one.pid]
        sightings = await asyncio.to_thread(_existing, pids)
        around = self._around()
        for sighting in sightings:
            if not is_visible(sighting, scopes, around):
                continue
            if before is None or not is_visible(sighting, before, around):
                self._put(sighting)

    def _look_quickly(self, cgroup: int, inode: int) -> None:
        """Look for a short-lived process at once, within a bounded share of the event loop."""
        now = time.monotonic()
        if now - self._quick_since >= 1.0:
            self._quick_since, self._quick_looks = now, 0
        ruled = self._judging.asks_who
        if self._quick_looks < (_RULED_LOOKS_MAX if ruled else _QUICK_LOOKS_MAX):
            self._quick_looks += 1
            self._services.look_quickly(cgroup, inode, thoroughly=ruled)

    def _put(self, sighting: Sighting) -> None:
        # Room for what nothing else tells of: what was counted, and who was kept away.
        if len(self._sightings) >= 2 * PENDING_FLOWS_MAX:
            self.lost += sighting.connections
            return
        self.met(sighting)
        self._sightings.append(sighting)
        self._arrived.set()

    async def _attribute(self, batch: list[Sighting], *, wait: bool) -> None:
        try:
            owners = await self._look_up(batch)
        except asyncio.CancelledError:
            # Whoever takes over names them.
            self._sightings.extendleft(reversed(batch))
            raise
        self._name(batch, owners, wait=wait)

    async def _look_up(self, batch: list[Sighting]) -> dict[tuple[int, int], Owner]:
        """Whose sockets these are."""
        keys = {(one.cgroup, one.inode) for one in batch if one.cgroup}
        owners: dict[tuple[int, int], Owner] = {}
        if keys:
            async with self._worker:
                owners = await asyncio.to_thread(self._services.owners, keys)
            self._on_named()
        if self._misses_listener(batch):
            with contextlib.suppress(NetlinkError, OSError):
                await self._read_listeners()
            # An engine's forwarder may have come since the last reading, and have connected.
            owners |= self._services.still_unknown(owners)
        return owners

    def _name(
        self, batch: list[Sighting], owners: dict[tuple[int, int], Owner], *, wait: bool
    ) -> None:
        # An instance has to be told before or with its first flow, or the flow has no name.
        for instance in self._services.take_new(self.host_addresses):
            self._on_service(instance)
        around = self._around(owners)
        now_ms = _now_ms()
        for sighting in batch:
            ends = attribute(sighting, around)
            if isinstance(ends, Unnamed):
                if wait and len(self._waiting) < PENDING_FLOWS_MAX:
                    for_listener = ends.wait_ms == LISTENER_WAIT_MS
                    self._waiting.append(_Waiting(now_ms + ends.wait_ms, for_listener, sighting))
                    continue
                ends = ends.ends
            if sighting.connections:
                self._on_opened(ends.source.instance if ends else "", sighting.connections)
            if ends is not None:
                self.flows.add(self._with_own_process(ends, sighting), sighting)

    def _with_own_process(self, ends: Ends, sighting: Sighting) -> Ends:
        """A service's flow has an example of its processes; an event has the very one, or none."""
        if sighting.effect not in _TOLD or not self._services.owner_of_cgroup(sighting.cgroup):
            return ends
        return ends._replace(process=self._services.process_of(sighting.inode))

    def _around(self, owners: dict[tuple[int, int], Owner] | None = None) -> Surroundings:
        return Surroundings(
            book=self._book,
            host_addresses=self._host_addresses,
            listeners=self._listeners,
            owners=owners or {},
            now_ms=_now_ms(),
        )

    @property
    def _listeners_are_old(self) -> bool:
        return time.monotonic() - self._listeners_at >= _LISTENERS_SECONDS

    def _misses_listener(self, batch: list[Sighting]) -> bool:
        if not self._listeners_are_old:
            return False
        around = self._around()
        return any(
            one.protocol == "tcp"
            and is_local(one.destination, around)
            and self._listeners.find(plain(one.destination), one.port) is None
            for one in batch
        )

    async def _read_listeners(self) -> None:
        async with self._worker:
            self._listeners = await asyncio.to_thread(self._services.listeners)
        self._listeners_at = time.monotonic()
        self._news += 1


def _told(host_addresses: Iterable[bytes]) -> list[str]:
    parsed = sorted(map(ip_address, host_addresses), key=lambda one: (one.version, one))
    return [str(one) for one in parsed if not one.is_loopback and not one.is_link_local]


def _existing(pids: list[int]) -> list[Sighting]:
    found = survey(pids)
    rooms = [
        room.sockets._replace(
            established=[one for one in room.sockets.established if one.state == TCP_ESTABLISHED]
        )
        for room in found.rooms
    ]
    return merge(rooms, found.tracked, _now_ms())


#: What a flow is taken to be that only the kernel has counted.
_UNTOLD = frozenset({None, "allow"})
#: Effects that a person is told of.
_TOLD = frozenset({"alert", "prevent"})


def _some(waiting: "deque[Any]") -> range:
    """As many as are attributed in one go."""
    return range(min(_BATCH_MAX, len(waiting)))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
