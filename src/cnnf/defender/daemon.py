"""The Defender's composition root: builds every part, starts them in order, takes them down again.

Order in: claim the namespace (undoing what a killed Defender left), learn what runs here, put the
table and rules in, start the loops. Order out: rules and table first, then loops, then the last
counts to the Console. A failing task becomes a health condition and is started again; only what
makes the whole pointless (no rules can be set) ends the program.
"""

import asyncio
import contextlib
import os
import platform
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog

from cnnf import __version__
from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.conditions import Code, Conditions
from cnnf.defender.core.containers import (
    Change,
    ContainerChanged,
    ContainerGone,
    EngineHealth,
    NetworksChanged,
    Snapshot,
    as_instance,
)
from cnnf.defender.core.inventory import Inventory
from cnnf.defender.core.limits import (
    BATCH_INTERVAL_SECONDS,
    OUTBOX_BATCHES_MAX,
    OWNER_SWITCH_SPACING_SECONDS,
    SERVICES_INTERVAL_SECONDS,
    SWITCH_INTERVAL_SECONDS,
    SWITCH_INTERVAL_SECONDS_MAX,
)
from cnnf.defender.core.marks import DEFAULT_MASK, marks_at
from cnnf.defender.core.observations import Report
from cnnf.defender.core.outbox import Outbox
from cnnf.defender.core.ruleset import Plan, Scopes
from cnnf.defender.core.tallies import Tally
from cnnf.defender.discovery.docker import DEFAULT_SOCKET, DockerDiscovery
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.kernel import bridges, sockets, table
from cnnf.defender.kernel.addresses import AddressWatch
from cnnf.defender.kernel.errors import KernelError
from cnnf.defender.kernel.footprint import RUN_DIRECTORY, Footprint
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.kernel.offload import CountsUnreadError, Offload
from cnnf.defender.kernel.watch import Watch
from cnnf.defender.link.credentials import Credentials
from cnnf.defender.link.uplink import Uplink
from cnnf.defender.local_services import LocalServices
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.observer import Observer
from cnnf.defender.publisher import Publisher
from cnnf.policy.addresses import Network
from cnnf.protocol.messages import HostInfo, Settings

_log = structlog.get_logger(__name__)

#: Discovery's first answer is waited for so long, so that the first map has names.
_DISCOVERY_SECONDS = 3.0
_LOOPS_READY_SECONDS = 10.0
#: How long the last counts may take to reach the Console on the way out.
_DRAIN_SECONDS = 2.0
_TASK_RETRY_SECONDS = 1.0

DEFAULT_QUEUE = 8030
#: More queues than two do not help before the machine has more cores than that to spare.
_QUEUES_MAX = 4


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a Defender is run. `networks` are container networks that no engine tells about."""

    directory: Path
    queue_first: int = DEFAULT_QUEUE
    queue_count: int = 0
    mark_mask: int = DEFAULT_MASK
    log_group: int = DEFAULT_QUEUE
    fail_closed: bool = False
    docker_socket: Path = DEFAULT_SOCKET
    networks: tuple[Network, ...] = ()
    host_name: str = ""
    run_directory: Path = RUN_DIRECTORY
    #: The process to stop when somebody wants this Defender to end; 0: this one.
    stop_pid: int = 0


class Defender:
    """One Defender on one network namespace."""

    def __init__(self, options: Options) -> None:
        self._options = options
        queues = options.queue_count or min(os.cpu_count() or 1, _QUEUES_MAX)
        self._credentials = Credentials(options.directory)
        self._footprint = Footprint(options.run_directory, options.stop_pid)
        self._conditions = Conditions()
        self._inventory = Inventory()
        self._book = AddressBook(options.networks)
        cgroups = Cgroups(cgroup2_mount())
        self._services = LocalServices(cgroups, Processes(cgroups))
        self._loops = Loops(
            range(options.queue_first, options.queue_first + queues),
            mark_mask=options.mark_mask,
            fail_closed=options.fail_closed,
            on_report=self._reported,
            on_restart=self._loop_restarted,
        )
        self._observer = Observer(
            self._book, self._services, self._loops.name_cgroups, self._inventory.put
        )
        self._watch = Watch(options.log_group, self._observer.take_logged, self._log_lost)
        plan = Plan(
            marks=marks_at(options.mark_mask),
            queue_first=options.queue_first,
            queue_count=queues,
            log_group=options.log_group,
            networks=options.networks,
        )
        self._offload = Offload(plan, self._loops.use_generation)
        self._outbox = Outbox(OUTBOX_BATCHES_MAX)
        incarnation = secrets.token_hex(16)
        self._publisher = Publisher(
            incarnation, self._outbox, self._inventory, self._observer.flows, self._conditions
        )
        link = self._credentials.link()
        self._uplink = Uplink(
            link.url,
            self._credentials.tls(),
            self._outbox,
            incarnation=incarnation,
            on_settings=self._wanted_changed,
            on_refused=lambda reason: self._condition("batch-refused", reason),
        )
        self._address_watch = AddressWatch(self._addresses_changed)
        self._address_news = asyncio.Event()
        self._owner_news = asyncio.Event()
        self._wanted = self._credentials.settings() or Settings(generation=0)
        self._wanted_news = asyncio.Event()
        self._networks_news = asyncio.Event()
        self._discovered = asyncio.Event()
        self._counted_since_ms = _now_ms()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until SIGTERM or SIGINT. Raises KernelError when there is no way to work at all."""
        stop = asyncio.Event()
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, stop.set)
        await asyncio.to_thread(self._footprint.claim)
        try:
            await self._start()
            ready()
            await stop.wait()
        finally:
            await self._stop()

    async def _start(self) -> None:
        self._spawn("settings", self._uplink.listen_for_ever)
        discovery = DockerDiscovery(self._discovery_changed, self._options.docker_socket)
        self._spawn("discovery", discovery.run)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCOVERY_SECONDS):
                await self._discovered.wait()
                # The mode is known from the last time, unless this is the first.
                if not self._wanted.generation:
                    await self._wanted_news.wait()
        self._networks_news.clear()
        self._wanted_news.clear()
        await self._refresh_services()
        await self._filter_bridges()
        scopes = Scopes(containers=self._wanted.containers, hosts=self._wanted.hosts)
        # Connections that are made while we look are counted by both; better twice than not at
        # all only here, so the look comes before the rules.
        await self._observer.find_existing(scopes, before=None)
        self._address_watch.start()
        self._watch.start()
        self._loops.start(self._offload.plan.generation)
        if not await self._loops.ready(_LOOPS_READY_SECONDS):
            raise KernelError("the packet loops did not start; their messages stand above")
        await self._offload.install()
        await self._apply_wanted()
        self._publisher.host = self._host()
        for name, work in (
            ("observer", self._observer.run),
            ("publisher", self._publish_for_ever),
            ("upload", self._uplink.send_for_ever),
            ("scopes", self._follow_wanted),
            ("networks", self._follow_networks),
            ("addresses", self._follow_addresses),
            ("owners", self._follow_owners),
            ("generations", self._switch_for_ever),
            ("services", self._watch_services),
        ):
            self._spawn(name, work)

    async def _stop(self) -> None:
        """Take everything back; each step is tried whatever the one before did."""
        upload = [task for task in self._tasks if task.get_name() == "upload"]
        others = [task for task in self._tasks if task not in upload]
        await _cancel(others)
        with contextlib.suppress(KernelError, CountsUnreadError):
            if self._tasks:
                await self._switch()
        try:
            await asyncio.to_thread(self._footprint.release)
        finally:
            await self._loops.stop()
            self._watch.stop()
            self._address_watch.stop()
            if upload:
                with contextlib.suppress(OSError, NetlinkError):
                    await self._observer.attribute_all()
                self._publisher.publish()
                self._uplink.notify()
                await self._uplink.drained(_DRAIN_SECONDS)
            await _cancel(upload)
            self._services.close()

    # --- what discovery tells

    def _discovery_changed(self, change: Change) -> None:
        now_ms = _now_ms()
        if isinstance(change, EngineHealth):
            self._discovered.set()
            # A host without Docker is no defect.
            if change.code and change.code != "engine-absent":
                self._condition("docker-unreachable", change.message)
            else:
                self._conditions.clear("docker-unreachable")
            return
        if isinstance(change, Snapshot):
            known = {container.id for container in change.containers}
            for gone in set(self._book.containers) - known:
                self._container_gone(gone, now_ms)
            for container in change.containers:
                self._book.put(container, now_ms)
                self._inventory.put(as_instance(container))
            self._networks_changed(self._book.set_networks(change.networks))
            self._discovered.set()
        elif isinstance(change, ContainerChanged):
            self._book.put(change.container, now_ms)
            self._inventory.put(as_instance(change.container))
        elif isinstance(change, ContainerGone):
            self._container_gone(change.id, change.at)
        elif isinstance(change, NetworksChanged):
            self._networks_changed(self._book.set_networks(change.networks))
        self._observer.names_changed()

    def _container_gone(self, container: str, at_ms: int) -> None:
        if self._book.remove(container, at_ms) is not None:
            self._owner_news.set()
        self._inventory.stop(container, at_ms)

    def _networks_changed(self, changed: bool) -> None:
        if changed:
            self._networks_news.set()

    async def _follow_networks(self) -> None:
        while True:
            await self._networks_news.wait()
            self._networks_news.clear()
            await self._filter_bridges()
            await self._switch(networks=self._book.networks)

    def _addresses_changed(self) -> None:
        self._address_news.set()

    async def _follow_addresses(self) -> None:
        while True:
            await self._address_news.wait()
            self._address_news.clear()
            await self._observer.read_addresses()
            self._publisher.host = self._host()

    async def _follow_owners(self) -> None:
        """What is remembered and counted by address belongs to one owner: begin anew with each."""
        while True:
            await self._owner_news.wait()
            self._owner_news.clear()
            await self._switch()
            await asyncio.sleep(OWNER_SWITCH_SPACING_SECONDS)

    async def _filter_bridges(self) -> None:
        problems = []
        for bridge in self._book.bridges:
            try:
                changed = await asyncio.to_thread(bridges.switch_on, bridge)
                self._footprint.bridge_changed(bridge, changed)
            except KernelError as error:
                problems.append(str(error))
        if problems:
            self._condition("bridge-not-filtered", "; ".join(problems))
        else:
            self._conditions.clear("bridge-not-filtered")

    # --- what the Console wants

    def _wanted_changed(self, settings: Settings) -> None:
        if settings.generation >= self._wanted.generation and settings != self._wanted:
            self._wanted = settings
            self._wanted_news.set()

    async def _follow_wanted(self) -> None:
        while True:
            await self._wanted_news.wait()
            self._wanted_news.clear()
            await self._apply_wanted()

    async def _apply_wanted(self) -> None:
        wanted, before = self._wanted, self._offload.plan.scopes
        scopes = Scopes(containers=wanted.containers, hosts=wanted.hosts)
        await self._switch(scopes=scopes, networks=self._book.networks)
        if self._publisher.applied is not None and scopes != before:
            # What the view so far did not show was there before the switch, too.
            await self._observer.find_existing(scopes, before=before)
        await asyncio.to_thread(self._credentials.keep_settings, wanted)
        self._publisher.applied = wanted
        _log.info("settings applied", containers=wanted.containers, hosts=wanted.hosts)

    # --- generations

    async def _switch_for_ever(self) -> None:
        while True:
            started = time.monotonic()
            await self._switch()
            await self._read_health()
            # Reading 100,000 counts takes a second: then switch less often, up to the bound.
            took = time.monotonic() - started
            interval = min(max(SWITCH_INTERVAL_SECONDS, took * 20), SWITCH_INTERVAL_SECONDS_MAX)
            self._book.forget_old(_now_ms())
            await asyncio.sleep(interval)

    async def _switch(
        self, *, scopes: Scopes | None = None, networks: tuple[Network, ...] | None = None
    ) -> None:
        """A new generation, also with new scopes or networks; what was counted is taken."""
        since_ms, now_ms = self._counted_since_ms, _now_ms()
        try:
            if scopes is None and networks is None:
                tallies: list[Tally] = await self._offload.next_generation()
            else:
                tallies = await self._offload.change(scopes=scopes, networks=networks)
        except CountsUnreadError as error:
            self._condition("counts-unread", str(error))
            return
        except KernelError as error:
            self._condition("rules-failed", str(error))
            if scopes is not None or networks is not None:
                raise
            return
        self._conditions.clear("counts-unread")
        self._conditions.clear("rules-failed")
        self._counted_since_ms = now_ms
        self._observer.take_tallies(tallies, since_ms)

    async def _read_health(self) -> None:
        """Turn what the kernel and the loops have counted into conditions."""
        with contextlib.suppress(KernelError):
            counted = await asyncio.to_thread(table.counters)
            bypassed = counted.get("bypassed", 0)
            if bypassed:
                self._condition(
                    "packets-bypassed",
                    f"{bypassed} connections passed without a verdict since the start "
                    "(while a packet loop was not there, or its queue was full)",
                )
        statistics = await asyncio.to_thread(sockets.queue_statistics)
        plan = self._offload.plan
        ours = range(plan.queue_first, plan.queue_first + plan.queue_count)
        dropped = sum(sum(statistics[queue][1:]) for queue in ours if queue in statistics)
        if dropped:
            self._condition("queue-overflow", f"{dropped} packets did not fit into the queues")
        _, undecodable, unaccounted = self._loops.totals
        if undecodable:
            self._condition("packets-undecodable", f"{undecodable} packets could not be read")
        if unaccounted:
            self._condition("packets-unaccounted", f"{unaccounted} connections were not counted")
        lost = self._observer.lost + self._observer.flows.lost
        if lost:
            self._condition("flows-lost", f"{lost} connections did not fit into memory")
        if self._outbox.gap is not None:
            gap = self._outbox.gap
            self._condition("batches-lost", f"batches {gap.first} to {gap.last} were given up")

    # --- services, batches, conditions

    async def _watch_services(self) -> None:
        while True:
            await asyncio.sleep(SERVICES_INTERVAL_SECONDS)
            await self._refresh_services()
            self._publisher.host = self._host()

    async def _refresh_services(self) -> None:
        instances = await self._observer.refresh()
        running = {instance.id for instance in instances}
        for instance in instances:
            self._inventory.put(instance)
        for gone in self._inventory.running("service") - running:
            self._inventory.stop(gone, _now_ms())

    async def _publish_for_ever(self) -> None:
        while True:
            if self._publisher.publish():
                self._uplink.notify()
            await asyncio.sleep(BATCH_INTERVAL_SECONDS)

    def _reported(self, report: Report) -> None:
        self._observer.take_report(report)

    def _loop_restarted(self, queue: int) -> None:
        self._condition("loop-restarted", f"the packet loop of queue {queue} ended and was started")

    def _log_lost(self) -> None:
        self._condition("log-lost", "the kernel logged more connections than could be read")

    def _condition(self, code: Code, message: str) -> None:
        self._conditions.put(code, message, _now_ms())

    def _host(self) -> HostInfo:
        return HostInfo(
            name=self._options.host_name or socket.gethostname(),
            addresses=self._observer.host_addresses[:64],
            kernel=platform.release(),
            system=_system_name(),
            version=__version__,
        )

    def _spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(self._keep(name, work), name=name))

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run a task for ever; what makes it fail is shown, and it is tried again."""
        while True:
            try:
                await work()
            except Exception as error:
                _log.exception("task failed", task=name)
                self._condition("internal", f"{name}: {error or type(error).__name__}")
            await asyncio.sleep(_TASK_RETRY_SECONDS)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
