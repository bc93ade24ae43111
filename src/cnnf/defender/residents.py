"""Who lives here: takes what sources tell of containers and pods, and passes on what follows.

One owner: the daemon, whose tasks follow the news. Addresses go to the book, instances to the
inventory, endpoints to the packet loops; container bridges are made to pass the hooks. Sources are
named, and none undoes what another has told (`core/sources.py`).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import Listeners
from cnnf.defender.core.conditions import Code
from cnnf.defender.core.containers import (
    Change,
    Container,
    ContainerExpected,
    ContainerGone,
    EngineHealth,
    Snapshot,
    as_instance,
)
from cnnf.defender.core.inventory import Inventory
from cnnf.defender.core.limits import (
    ENDED_SWITCH_SPACING_SECONDS,
    EXITS_LOOK_SECONDS,
    OWNER_SWITCH_SPACING_SECONDS,
)
from cnnf.defender.core.sources import Effects, Sources
from cnnf.defender.judging import Judging
from cnnf.defender.kernel import bridges
from cnnf.defender.kernel.errors import KernelError
from cnnf.defender.kernel.exits import ExitWatch
from cnnf.defender.kernel.footprint import Footprint
from cnnf.defender.kernel.loops import Loops
from cnnf.protocol.messages import Instance

#: The condition of each kind of source; a host may have several engines of one kind.
_CODES: dict[str, Code] = {
    "docker": "docker-unreachable",
    "podman": "podman-unreachable",
    "cri": "cri-unreachable",
    "kubernetes": "kubernetes-unreachable",
}


class Residents:
    """Owns what sources have told. `sharing` is called when it may be otherwise who shares an
    address, `named` when an address may have got a name;
    `raise_` and `clear` are for conditions."""

    def __init__(
        self,
        book: AddressBook,
        inventory: Inventory,
        judging: Judging,
        loops: Loops,
        footprint: Footprint,
        *,
        sharing: Callable[[], None],
        named: Callable[[], None],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], object],
    ) -> None:
        self._book = book
        self._inventory = inventory
        self._judging = judging
        self._loops = loops
        self._footprint = footprint
        self._sharing = sharing
        self._named = named
        self._raise = raise_
        self._clear = clear
        self._sources = Sources()
        self._exits = ExitWatch(self._ended)
        #: Containers that were seen to end before their source said so: process and start. What is
        #: told of that life of theirs from then on is late.
        self._over: dict[str, tuple[int, int]] = {}
        self._freed = asyncio.Event()
        #: On which ports of the host instances listen, as last read.
        self._ports: dict[str, set[int]] = {}
        self._looking: asyncio.Task[None] | None = None
        #: What is wrong with a source, by its name; '' when nothing is. All that are awaited.
        self._troubles: dict[str, str] = {}
        self._awaited: set[str] = set()
        #: Every source has answered once, or said that it can't.
        self.discovered = asyncio.Event()
        #: The networks of containers are others: the kernel's rules have to follow.
        self.networks_news = asyncio.Event()
        #: An address or a port has another owner: what is remembered by it must not outlive that.
        self.owner_news = asyncio.Event()

    def start(self) -> None:
        """See containers end, from now on."""
        asyncio.get_running_loop().add_reader(self._exits.fileno(), self._exits.look)
        self._looking = asyncio.create_task(self._look_for_ever())

    def stop(self) -> None:
        """See nobody any more."""
        if self._looking is not None:
            self._looking.cancel()
        asyncio.get_running_loop().remove_reader(self._exits.fileno())
        self._exits.close()

    async def follow_owners(self, renew: Callable[[], Awaitable[None]]) -> None:
        """What is remembered and counted by address belongs to one owner: begin anew with each,
        for ever; soon where an address has become free, since the next one may have it at once."""
        while True:
            await self.owner_news.wait()
            self.owner_news.clear()
            self._freed.clear()
            await renew()
            await asyncio.sleep(ENDED_SWITCH_SPACING_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    OWNER_SWITCH_SPACING_SECONDS - ENDED_SWITCH_SPACING_SECONDS
                ):
                    await self._freed.wait()

    def expect(self, sources: Iterable[str]) -> None:
        """These will tell; until each has, not everybody is known."""
        self._awaited |= set(sources)
        if not self._awaited:
            self.discovered.set()

    def take(self, source: str, change: Change) -> None:
        """One source's news, in the order it happened. `source` is its kind (`docker`, `podman`,
        `cri`, `kubernetes`), with `:` and a name where it is one of several."""
        if isinstance(change, EngineHealth):
            self._well_or_not(source, change)
            self._answered(source)
            return
        now_ms = _now_ms()
        if isinstance(change, ContainerExpected):
            addresses = (ip_address(text).packed for text in change.addresses)
            if self._book.expect(change.id, addresses, change.since):
                self._address_freed()
        self._apply(self._sources.take(source, change, now_ms), now_ms)
        if isinstance(change, ContainerGone) and self._book.give_up(change.id, change.at):
            self._address_freed()
        if isinstance(change, Snapshot):
            self._answered(source)
        # First what a container was told by DNS: its packets wait until it is known.
        self._named()
        self.tell_endpoints()

    def tell_endpoints(self) -> None:
        """Tell the packet loops who stands behind addresses now."""
        self._sharing()
        if self._judging.tell_endpoints(self._loops):
            self.owner_news.set()

    def surroundings(self, listeners: Listeners, host_addresses: frozenset[bytes]) -> None:
        """Who listens on this host and what addresses it has now."""
        self._sharing()
        self._ports = listeners.ports()
        for container in self._book.containers.values():
            if container.host_network:
                self._inventory.put(self._instance(container))
        if self._judging.set_surroundings(self._loops, listeners, host_addresses):
            self.owner_news.set()

    def services(self, running: list[Instance]) -> None:
        """All services that run now."""
        for instance in running:
            self._inventory.put(instance)
        for gone in self._inventory.running("service") - {instance.id for instance in running}:
            self._inventory.stop(gone, _now_ms())

    async def filter_bridges(self) -> None:
        """See to it that packets within a container network meet our hooks."""
        problems = []
        for bridge in self._book.bridges:
            try:
                changed = await asyncio.to_thread(bridges.switch_on, bridge)
                self._footprint.bridge_changed(bridge, changed)
            except KernelError as error:
                problems.append(str(error))
        if problems:
            self._raise("bridge-not-filtered", "; ".join(problems))
        else:
            self._clear("bridge-not-filtered")

    async def _look_for_ever(self) -> None:
        """Who lives had its address all the while: the end of that is then known the closer."""
        while True:
            self._exits.look()
            await asyncio.sleep(EXITS_LOOK_SECONDS)

    def _apply(self, effects: Effects, now_ms: int) -> None:
        for gone, at_ms in effects.gone:
            self._gone(gone, at_ms)
        for container in effects.put:
            self._put(container, now_ms)
        if effects.networks and self._book.set_networks(self._sources.networks()):
            self.networks_news.set()

    def _put(self, container: Container, now_ms: int) -> None:
        life = (container.pid, container.started_at)
        if self._over.get(container.id) == life:
            return
        self._over.pop(container.id, None)
        before = self._book.containers.get(container.id)
        self._book.put(container, now_ms)
        self._inventory.put(self._instance(container))
        if before is None or (before.pid, before.started_at) != life:
            self._exits.watch(container.id, container.pid)

    def _instance(self, container: Container) -> Instance:
        return as_instance(container, listening=self._ports.get(container.id, ()))

    def _gone(self, container: str, at_ms: int) -> None:
        self._over.pop(container, None)
        self._exits.forget(container)
        self._forget(container, at_ms, 0)

    def _ended(self, container: str, at_ms: int, alive_ms: int) -> None:
        """A container's first process has ended; its source will say so."""
        one = self._book.containers.get(container)
        if one is None:
            return
        self._over[container] = (one.pid, one.started_at)
        self._forget(container, at_ms, alive_ms)
        self.tell_endpoints()
        self._named()

    def _forget(self, container: str, at_ms: int, alive_ms: int) -> None:
        if self._book.remove(container, at_ms, sure_ms=alive_ms) is not None:
            self._address_freed()
        self._inventory.stop(container, at_ms)

    def _address_freed(self) -> None:
        self.owner_news.set()
        self._freed.set()

    def _well_or_not(self, source: str, health: EngineHealth) -> None:
        # A host without that engine is no defect.
        defect = health.code not in ("", "engine-absent")
        self._troubles[source] = health.message if defect else ""
        kind = source.partition(":")[0]
        troubles = [
            message
            for name, message in sorted(self._troubles.items())
            if message and name.partition(":")[0] == kind
        ]
        if troubles:
            self._raise(_CODES[kind], "; ".join(troubles))
        else:
            self._clear(_CODES[kind])

    def _answered(self, source: str) -> None:
        self._awaited.discard(source)
        if not self._awaited:
            self.discovered.set()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
