"""The Defender's composition root: builds every part, starts them in order, takes them down again.

Order in: claim the namespace (undoing what a killed Defender left), learn what runs here, put the
table and rules in, start the loops. Order out: rules and table first, then loops, then the last
counts to the Console. A failing task becomes a health condition and is started again; only what
makes the whole pointless (no rules can be set) ends the program.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from cnnf.defender.acquaintances import Acquaintances
from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.conditions import Code, Conditions
from cnnf.defender.core.inventory import Inventory
from cnnf.defender.core.limits import (
    CGROUP_LEVELS_FIRST,
    CONFLICTS_SPACING_SECONDS,
    COUNT_INTERVAL_SECONDS,
    COUNT_TIME_SHARE,
    GENERATION_SECONDS_MAX,
    RESTORE_INTERVAL_SECONDS,
    RESTORE_SPACING_SECONDS,
    SERVICES_INTERVAL_SECONDS,
)
from cnnf.defender.core.marks import marks_at
from cnnf.defender.core.memberships import Membership
from cnnf.defender.core.name_rules import NameRules
from cnnf.defender.core.newest import Newest
from cnnf.defender.core.observations import Looked, Report
from cnnf.defender.core.peers import Change as PeerChange
from cnnf.defender.core.peers import Peers
from cnnf.defender.core.plan import Plan, Scopes
from cnnf.defender.delivery import Delivery
from cnnf.defender.discoveries import discoveries
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.enforcer import Enforcer
from cnnf.defender.health import Health
from cnnf.defender.judging import Judging
from cnnf.defender.kernel.addresses import AddressWatch
from cnnf.defender.kernel.errors import KernelError
from cnnf.defender.kernel.footprint import Footprint
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.kernel.offload import CountsUnreadError, Offload
from cnnf.defender.kernel.programs import was_ours
from cnnf.defender.kernel.ruleset_watch import RulesetChange, RulesetWatch
from cnnf.defender.kernel.watch import Watch
from cnnf.defender.link.credentials import Credentials
from cnnf.defender.link.directory import PeersFile
from cnnf.defender.link.places import places_of
from cnnf.defender.link.policy import KeptPolicy
from cnnf.defender.local_services import LocalServices
from cnnf.defender.lookout import Lookout
from cnnf.defender.naming import Naming
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.news import cancel, follow
from cnnf.defender.observer import Observer
from cnnf.defender.options import Options
from cnnf.defender.policies import Policies
from cnnf.defender.publisher import host_info
from cnnf.defender.residents import Residents
from cnnf.defender.sharing import Sharing
from cnnf.policy.compiled import Compiled
from cnnf.protocol.messages import HostInfo, Settings

_log = structlog.get_logger(__name__)

#: Discovery's first answer is waited for so long, so that the first map has names.
_DISCOVERY_SECONDS = 3.0
_LOOPS_READY_SECONDS = 10.0
#: No generation is older, and its end is counted in any case.
_COUNT_PAUSE_MAX = GENERATION_SECONDS_MAX - COUNT_INTERVAL_SECONDS
_TASK_RETRY_SECONDS = 1.0
#: A tenth of the share of everything else, where there is not enough for all.
_NICE = 10

#: More queues than two do not help before the machine has more cores than that to spare.
_QUEUES_MAX = 4


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
        host_name = options.host_name or socket.gethostname()
        marks = marks_at(options.mark_mask)
        self._lookout = Lookout(self._book, self._condition, self._conditions.clear)
        self._peers = Peers()
        names = NameRules()
        self._judging = Judging(self._book, self._services, host_name, self._peers, names)
        self._loops = Loops(
            range(options.queue_first, options.queue_first + queues),
            marks=marks,
            fail_closed=options.fail_closed,
            kind=options.loop,
            tables=self._judging.tables,
            on_report=self._reported,
            on_ended=self._loop_ended,
        )
        self._observer = Observer(
            self._book,
            self._services,
            self._judging,
            self._cgroups_named,
            self._inventory.put,
            self._lookout.seen,
        )
        self._watch = Watch(options.log_group, self._observer.take_logged, self._log_lost)
        dns_group = options.log_group + 1
        self._naming = Naming(
            dns_group,
            self._book,
            lambda: self._observer.packed_host_addresses,
            lambda said: self._health.happened("dns-unread", said),
        )
        self._naming.hold_answers(
            names,
            options.queue_first + queues,
            marks,
            fail_closed=options.fail_closed,
            stated=options.resolvers,
            tell=self._members_changed,
            heard=self._loops.heard,
        )
        self._observer.flows.called = self._naming.called
        plan = Plan(
            marks=marks,
            queue_first=options.queue_first,
            queue_count=queues,
            log_group=options.log_group,
            dns_group=dns_group,
            answer_queue=options.queue_first + queues,
            fail_closed=options.fail_closed,
            networks=options.networks,
            failsafe=options.failsafe_ports,
            levels=CGROUP_LEVELS_FIRST,
        )
        self._offload = Offload(plan, self._loops.use_generation)
        self._delivery = Delivery(
            self._credentials,
            self._inventory,
            self._observer.flows,
            self._conditions,
            quota=options.spool_bytes,
            failsafe=options.failsafe_ports,
            on_open=self._stream_opened,
            on_settings=self._wanted_changed,
            on_event=self._told,
            raise_=self._condition,
            happened=self._happened,
        )
        self._publisher = self._delivery.publisher
        self._acquaintances = Acquaintances(
            self._peers,
            self._delivery.directory,
            PeersFile(options.directory),
            owner=self._delivery.parties,
            is_own=self._is_own,
            changed=self._peers_changed,
            moved=self._public_changed,
            trouble=partial(self._or_clear, "directory-unreachable"),
        )
        self._observer.met = self._acquaintances.met
        self._health = Health(self._conditions, self._loops, self._observer, self._delivery.outbox)
        self._enforcer = Enforcer(
            self._offload,
            self._loops,
            self._judging,
            self._book,
            self._observer,
            happened=self._health.happened,
            raise_=self._condition,
            clear=self._conditions.clear,
        )
        self._ruleset_watch = RulesetWatch(self._rules_changed, was_ours)
        self._rules_news = asyncio.Event()
        self._changed_by = ""
        self._policies = Policies(
            options.policy,
            self._delivery.policy.fetch,
            KeptPolicy(self._credentials, self._delivery.console),
            tell=self._publisher.tell_policy,
            raise_=self._condition,
            clear=self._conditions.clear,
        )
        self._address_news = asyncio.Event()
        self._address_watch = AddressWatch(self._address_news.set)
        sharing = Sharing(self._book, self._loops)
        self._observer.shared = sharing.rooms.owner
        self._residents = Residents(
            self._book,
            self._inventory,
            self._judging,
            self._loops,
            self._footprint,
            sharing=sharing.update,
            named=self._named,
            raise_=self._condition,
            clear=self._conditions.clear,
        )
        self._wanted = self._credentials.settings() or Settings(generation=0)
        self._told_settings = Newest(self._wanted)
        self._wanted_news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        if options.unconfined:
            self._condition("privileges", "kept: " + "; ".join(options.unconfined))

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until SIGTERM or SIGINT. Raises KernelError when there is no way to work at all."""
        # Naming flows may wait, and with thousands a second it would take a core from those who
        # make them; packet loops give themselves more.
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
        stop = asyncio.Event()
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, stop.set)
        running.add_signal_handler(signal.SIGHUP, self._policies.look)
        # A wrong policy is told before anything is touched.
        compiled = await asyncio.to_thread(self._policies.first)
        await asyncio.to_thread(self._footprint.claim)
        try:
            await self._start(compiled)
            ready()
            await stop.wait()
        finally:
            await self._stop()

    async def _start(self, compiled: Compiled | None) -> None:
        await self._delivery.open()
        self._acquaintances.restore()
        self._spawn("settings", self._delivery.listen)
        sources = discoveries(self._options, self._residents.take, self._book.set_places)
        self._residents.start()
        self._residents.expect(sources)
        for name, work in sources.items():
            self._spawn(f"discovery {name}", work)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCOVERY_SECONDS):
                await self._residents.discovered.wait()
                # The mode is known from the last time, unless this is the first.
                if not self._wanted.generation:
                    await self._wanted_news.wait()
        self._residents.networks_news.clear()
        self._wanted_news.clear()
        self._address_watch.start()
        await self._refresh_services()
        await self._residents.filter_bridges()
        scopes = Scopes(containers=self._wanted.containers, hosts=self._wanted.hosts)
        # Connections that are made while we look are counted by both; better twice than not at
        # all only here, so the look comes before the rules.
        await self._observer.find_existing(scopes, before=None)
        self._watch.start()
        self._naming.start()
        self._loops.start(self._offload.plan.generation)
        if not await self._loops.ready(_LOOPS_READY_SECONDS):
            raise KernelError("the packet loops did not start; their messages stand above")
        await self._offload.install()
        self._ruleset_watch.start()
        self._tell_surroundings()
        await self._find_console()
        await self._apply_wanted(compiled)
        self._publisher.host = self._host()
        for name, work in (
            ("observer", self._observer.run),
            ("names", self._naming.run),
            ("directory", self._acquaintances.ask_for_ever),
            ("acquaintances", self._acquaintances.keep_for_ever),
            ("scopes", partial(follow, self._wanted_news, self._apply_wanted)),
            ("networks", partial(follow, self._residents.networks_news, self._use_networks)),
            ("addresses", partial(follow, self._address_news, self._use_addresses)),
            ("owners", partial(self._residents.follow_owners, self._enforcer.renew_for_others)),
            ("counts", self._count_for_ever),
            ("rules", self._keep_rules),
            ("coverage", lambda: self._lookout.watch_coverage(lambda: self._enforcer.scopes)),
            ("services", self._watch_services),
            ("policy", partial(self._policies.follow, self._apply_wanted)),
        ):
            self._spawn(name, work)
        for name, work in self._delivery.tasks:
            self._spawn(name, work)

    async def _stop(self) -> None:
        """Take everything back; each step is tried whatever the one before did."""
        upload = [task for task in self._tasks if task.get_name() in self._delivery.LAST]
        others = [task for task in self._tasks if task not in upload]
        await cancel(others)
        self._ruleset_watch.stop()
        with contextlib.suppress(KernelError, NetlinkError, OSError, CountsUnreadError):
            if upload:
                await self._enforcer.end()
        try:
            await asyncio.to_thread(self._footprint.release)
        finally:
            await self._loops.stop()
            self._watch.stop()
            self._naming.stop()
            self._address_watch.stop()
            if upload:
                with contextlib.suppress(OSError, NetlinkError):
                    await self._observer.attribute_all(patient=False)
                with contextlib.suppress(OSError):
                    await self._acquaintances.save()
                await self._delivery.finish()
            await cancel(upload)
            self._services.close()
            self._observer.close()
            self._residents.stop()

    # --- what discovery tells

    async def _use_networks(self) -> None:
        await self._residents.filter_bridges()
        await self._enforcer.use_networks()
        self._publisher.host = self._host()

    async def _use_addresses(self) -> None:
        await self._observer.read_addresses()
        self._publisher.host = self._host()
        self._tell_surroundings()

    # --- who is elsewhere

    def _told(self, event: str, data: str) -> None:
        self._acquaintances.take(event, data)
        self._policies.told(event, data)

    def _is_own(self, address: bytes) -> bool:
        return address in self._observer.packed_host_addresses or self._book.in_network(address)

    def _peers_changed(self, changes: list[PeerChange]) -> None:
        if self._judging.tell_peers(self._loops, changes):
            self._residents.owner_news.set()

    def _members_changed(self, memberships: list[Membership]) -> None:
        if self._judging.tell_members(self._loops, memberships):
            self._residents.owner_news.set()

    def _public_changed(self) -> None:
        if self._judging.tell_where_to_ask(self._loops):
            self._residents.owner_news.set()

    # --- what the Console and the local policy want

    def _stream_opened(self) -> None:
        self._told_settings.opened()
        self._policies.opened()

    def _wanted_changed(self, settings: Settings) -> None:
        if self._told_settings.take(settings):
            self._wanted = settings
            self._wanted_news.set()

    async def _apply_wanted(self, compiled: Compiled | None = None) -> None:
        wanted, before = self._wanted, self._enforcer.scopes
        await self._enforcer.apply(wanted, compiled)
        scopes = self._enforcer.scopes
        if self._publisher.applied is not None and scopes != before:
            # What the view so far did not show was there before the switch, too.
            await self._observer.find_existing(scopes, before=before)
        await asyncio.to_thread(self._credentials.keep_settings, wanted)
        self._publisher.applied = wanted
        _log.info("settings applied", containers=wanted.containers, hosts=wanted.hosts)

    # --- generations, and that what is in force stays so

    async def _find_console(self) -> None:
        """Its address may change while its name stays; one that can't be found stays as it was."""
        places = await asyncio.to_thread(places_of, self._delivery.url)
        self._enforcer.console = places or self._enforcer.console

    async def _count_for_ever(self) -> None:
        while True:
            if self._enforcer.seconds_in_generation > GENERATION_SECONDS_MAX:
                await self._find_console()
                await self._enforcer.renew()
            else:
                await self._enforcer.count()
            await self._health.read(self._offload.plan)
            self._observer.untold = self._health.untold
            self._book.forget_old(_now_ms())
            # The longer the last reading took, the later the next; a new generation has its own.
            waited = 0.0
            while waited <= min(self._offload.reading_seconds / COUNT_TIME_SHARE, _COUNT_PAUSE_MAX):
                await asyncio.sleep(COUNT_INTERVAL_SECONDS)
                waited += COUNT_INTERVAL_SECONDS
                await self._observer.settle()

    def _rules_changed(self, change: RulesetChange) -> None:
        self._changed_by = change.program
        self._rules_news.set()

    async def _keep_rules(self) -> None:
        looked_at = 0.0
        changed = True
        while True:
            if changed and time.monotonic() - looked_at > CONFLICTS_SPACING_SECONDS:
                looked_at, changed = time.monotonic(), False
                await self._lookout.look_for_conflicts(self._offload.plan, self._loops.pids)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RESTORE_INTERVAL_SECONDS):
                    await self._rules_news.wait()
            changed = changed or self._rules_news.is_set()
            self._rules_news.clear()
            by, self._changed_by = self._changed_by, ""
            await self._enforcer.restore(by)
            await asyncio.sleep(RESTORE_SPACING_SECONDS)

    # --- services, batches, conditions

    async def _watch_services(self) -> None:
        while True:
            await asyncio.sleep(SERVICES_INTERVAL_SECONDS)
            await self._refresh_services()
            self._publisher.host = self._host()

    async def _refresh_services(self) -> None:
        self._residents.services(await self._observer.refresh())
        self._tell_surroundings()

    def _tell_surroundings(self) -> None:
        self._residents.surroundings(self._observer.listeners, self._observer.packed_host_addresses)

    def _cgroups_named(self) -> None:
        self._judging.name_cgroups(self._loops)
        if self._enforcer.misses_levels:
            self._residents.owner_news.set()

    def _reported(self, report: Report) -> Looked | None:
        self._observer.take_report(report)
        self._acquaintances.sought(report.sought)
        return self._judging.looked(report, self._loops) if report.held else None

    def _loop_ended(self, queue: int, why: str) -> None:
        self._health.happened("loop-restarted", f"packet loop of queue {queue}: {why}; restarted")

    def _named(self) -> None:
        self._naming.owners_changed()
        self._observer.names_changed()

    def _log_lost(self) -> None:
        self._health.happened("log-lost", "the kernel logged more connections than could be read")

    def _happened(self, code: Code, message: str) -> None:
        self._health.happened(code, message)

    def _or_clear(self, code: Code, message: str) -> None:
        if message:
            self._condition(code, message)
        else:
            self._conditions.clear(code)

    def _condition(self, code: Code, message: str) -> None:
        self._conditions.put(code, message, _now_ms())

    def _host(self) -> HostInfo:
        name = self._options.host_name or socket.gethostname()
        return host_info(name, self._observer.host_addresses, self._book.hosted)

    def _spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(self._keep(name, work), name=name))

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run a task for ever; what makes it fail is shown, and it is tried again."""
        while True:
            try:
                await work()
            except KernelError as error:
                # A condition tells of it already; what was to be done still is.
                _log.error("task failed", task=name, error=str(error))
            except Exception as error:
                _log.exception("task failed", task=name)
                self._condition("internal", f"{name}: {error or type(error).__name__}")
            await asyncio.sleep(_TASK_RETRY_SECONDS)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
