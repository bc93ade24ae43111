"""The Defender's kernel side as a program without a Console: it prints the flows it has seen.

The real table, loops, judging and attribution, put together as the daemon does; only discovery and
the link are left out, so that flows between mere addresses, which Radar does not draw, can be
compared one by one. Started by the tests within a namespace with its options as JSON; takes a
command a line, as a JSON list, on standard input and answers with a line of JSON.
"""

import asyncio
import json
import os
import sys
import time
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import structlog

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.containers import Attachment, Container
from cnnf.defender.core.limits import NAME_TTL_MIN_MS
from cnnf.defender.core.marks import DEFAULT_MASK, marks_at
from cnnf.defender.core.memberships import Membership
from cnnf.defender.core.name_rules import NameRules
from cnnf.defender.core.observations import Looked, Report
from cnnf.defender.core.plan import Plan
from cnnf.defender.core.unjudged import Unjudged
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.enforcer import Enforcer
from cnnf.defender.judging import Judging
from cnnf.defender.kernel import table
from cnnf.defender.kernel.footprint import Footprint
from cnnf.defender.kernel.loop_process import LoopKind
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.kernel.offload import Offload
from cnnf.defender.kernel.programs import was_ours
from cnnf.defender.kernel.ruleset_watch import RulesetChange, RulesetWatch
from cnnf.defender.local_services import LocalServices
from cnnf.defender.lookout import Lookout
from cnnf.defender.naming import Naming
from cnnf.defender.observer import Observer
from cnnf.defender.sharing import Sharing
from cnnf.policy.compiled import compile_policy
from cnnf.policy.form import parse_policy
from cnnf.protocol.messages import Settings

QUEUE = 8130
#: Where answers of DNS wait, which is the daemon's own.
ANSWERS = QUEUE + 2


class Options(msgspec.Struct):
    """What a test asks for."""

    networks: list[str] = []
    loop: LoopKind = "auto"
    fail_closed: bool = False
    failsafe: list[int] = []
    console: list[tuple[str, int]] = []
    settings: dict[str, Any] = {}
    #: Put back what somebody has changed of the rules.
    restore: bool = True
    #: Servers whose answers count for rules, and how long names hold at least.
    resolvers: list[str] = []
    name_ttl_ms: int = NAME_TTL_MIN_MS


class Recorder:
    """Records everything between start and end; nothing is published."""

    def __init__(self, options: Options) -> None:
        extra = tuple(ip_network(text) for text in options.networks)
        cgroups = Cgroups(cgroup2_mount())
        marks = marks_at(DEFAULT_MASK)
        book = AddressBook(extra)
        services = LocalServices(cgroups, Processes(cgroups))
        self.options = options
        self.book = book
        self.ended: list[str] = []
        self.conditions: dict[str, str] = {}
        names = NameRules(options.name_ttl_ms)
        self.judging = Judging(book, services, "host", None, names)
        self.loops = Loops(
            range(QUEUE, QUEUE + 2),
            marks=marks,
            fail_closed=options.fail_closed,
            kind=options.loop,
            tables=self.judging.tables,
            on_report=self._reported,
            on_ended=lambda _, why: self.ended.append(why),
        )
        self.observer = Observer(
            book,
            services,
            self.judging,
            lambda: self.judging.name_cgroups(self.loops),
            lambda _: None,
            lambda _, __: None,
        )
        self.sharing = Sharing(book, self.loops)
        self.observer.shared = self.sharing.rooms.owner
        self.naming = Naming(
            QUEUE + 1,
            book,
            lambda: self.observer.packed_host_addresses,
            lambda said: self.conditions.__setitem__("dns-unread", said),
        )
        self.naming.hold_answers(
            names,
            ANSWERS,
            marks,
            fail_closed=options.fail_closed,
            stated=[ip_address(text).packed for text in options.resolvers],
            tell=self._members_changed,
            heard=self._loops_heard,
        )
        #: Seconds that each answer waited for the loops, at most; and how often they were told.
        self.waited_s, self.told = 0.0, 0
        self.observer.flows.called = self.naming.called
        plan = Plan(
            marks=marks,
            queue_first=QUEUE,
            queue_count=2,
            log_group=QUEUE,
            dns_group=QUEUE + 1,
            answer_queue=ANSWERS,
            fail_closed=options.fail_closed,
            networks=extra,
            failsafe=tuple(options.failsafe),
            console=tuple((ip_address(text), port) for text, port in options.console),
        )
        self.offload = Offload(plan, self.loops.use_generation)
        self.enforcer = Enforcer(
            self.offload,
            self.loops,
            self.judging,
            book,
            self.observer,
            happened=self.conditions.__setitem__,
            raise_=self.conditions.__setitem__,
            clear=lambda code: self.conditions.pop(code, None),
        )
        self.enforcer.console = plan.console
        self.settings = Settings(
            generation=1, **{"containers": True, "hosts": True, **options.settings}
        )
        self.changed = asyncio.Event()
        self.unjudged = Unjudged()

    def _reported(self, report: Report) -> Looked | None:
        self.observer.take_report(report)
        return self.judging.looked(report, self.loops) if report.held else None

    def _members_changed(self, memberships: list[Membership]) -> None:
        self.told += 1
        if self.judging.tell_members(self.loops, memberships):
            self.renewing = asyncio.create_task(self.enforcer.renew())

    async def _loops_heard(self, within_seconds: float) -> bool:
        began = time.monotonic()
        heard = await self.loops.heard(within_seconds)
        self.waited_s = max(self.waited_s, time.monotonic() - began)
        return heard

    async def run(self) -> None:
        """Serve commands until standard input ends."""
        footprint = Footprint()
        footprint.claim()
        watch = RulesetWatch(self._rules_changed, was_ours)
        try:
            await self.observer.refresh()
            self.loops.start(0)
            assert await self.loops.ready(10)
            await self.offload.install()
            watch.start()
            self.naming.start()
            self._tell_surroundings()
            await self.enforcer.apply(self.settings)
            working = [asyncio.create_task(self.observer.run()), asyncio.create_task(self._keep())]
            for task in working:
                task.add_done_callback(_end_with)
            while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
                print(json.dumps(await self._answer(*json.loads(line))), flush=True)
            for task in working:
                task.remove_done_callback(_end_with)
                task.cancel()
            await self.enforcer.end()
        finally:
            watch.stop()
            self.naming.stop()
            footprint.release()
            await self.loops.stop()

    def _rules_changed(self, _: RulesetChange) -> None:
        self.changed.set()

    async def _keep(self) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            if self.options.restore:
                await self.enforcer.restore("somebody")

    def _tell_surroundings(self) -> None:
        observer = self.observer
        self.judging.set_surroundings(
            self.loops, observer.listeners, observer.packed_host_addresses
        )

    async def _answer(self, command: str, *arguments: Any) -> object:
        return await getattr(self, f"do_{command}")(*arguments)

    async def do_ready(self) -> object:
        """The packet loops' processes."""
        return self.loops.pids

    async def do_policy(self, text: str) -> object:
        """Put a policy in force; the milliseconds until it was."""
        await self.observer.read_addresses()
        await self.observer.refresh()
        self._tell_surroundings()
        started = time.monotonic()
        await self.enforcer.apply(
            self.settings, compile_policy(parse_policy(text, subject="the test's policy"))
        )
        return (time.monotonic() - started) * 1000

    async def do_container(
        self, key: str, image: str, pid: int, addresses: list[str], shares: str = ""
    ) -> object:
        """A container, as discovery would tell of it; it may share another one's namespace."""
        place = Attachment(network="n", name="n", addresses=tuple(addresses))
        attachments = (place,) if addresses else ()
        container = Container(
            id=key, image=image, pid=pid, attachments=attachments, shared_network=shares
        )
        self.book.put(container, 0)
        self.sharing.update()
        self.judging.tell_endpoints(self.loops)
        self.naming.owners_changed()
        self.observer.names_changed()
        await self.enforcer.renew()
        return True

    async def do_settings(self, changes: dict[str, Any]) -> object:
        """Other settings."""
        self.settings = msgspec.structs.replace(self.settings, **changes)
        await self.enforcer.apply(self.settings)
        return True

    async def do_expire(self) -> object:
        """Forget names that are over, as is done every few seconds."""
        self.naming.expire()
        await self.enforcer.renew()
        return True

    async def do_waited(self) -> object:
        """How long an answer has waited at most, ms, and how often loops were told of names."""
        return [self.waited_s * 1_000, self.told]

    async def do_conflicts(self) -> object:
        """What of others is in our way, as the daemon looks for it."""
        lookout = Lookout(
            self.book, self.conditions.__setitem__, lambda code: self.conditions.pop(code, None)
        )
        await lookout.look_for_conflicts(self.offload.plan, self.loops.pids)
        return list(self.conditions.values())

    async def do_switch(self) -> object:
        """A new generation."""
        await self.enforcer.renew()
        return True

    async def do_count(self) -> object:
        """Read the kernel's counters, as is done every few seconds."""
        self._look_for_unjudged()
        await self.enforcer.count()
        return True

    def _look_for_unjudged(self) -> None:
        """What the daemon's health does."""
        asked = table.counters()["asked"]
        answered, undecodable, unaccounted, _, delayed = self.loops.totals
        unjudged = self.unjudged.feed(asked, answered)
        self.observer.untold = unjudged + undecodable + unaccounted + delayed

    async def do_state(self) -> object:
        """What loops and kernel have counted, and the conditions."""
        await self.naming.tell_unread()
        answered, undecodable, unaccounted, dropped, _ = self.loops.totals
        return {
            "packets": answered,
            "undecodable": undecodable,
            "unaccounted": unaccounted,
            "dropped": dropped,
            "ended": self.ended,
            "loops": self.loops.pids,
            "conditions": self.conditions,
            **table.counters(),
        }

    async def do_flows(self) -> object:
        """Everything since the last call."""
        # The loops report within a quarter of a second, listeners are waited for 0.4 s; nobody here
        # will ever be named by an engine.
        await asyncio.sleep(1.0)
        self._look_for_unjudged()
        await self.enforcer.renew()
        await asyncio.sleep(0.3)
        await self.enforcer.count()
        for _ in range(2):
            await self.observer.attribute_all(patient=False)
            await asyncio.sleep(0.3)
        return [
            {
                "source": flow.source.instance or flow.source.address,
                "names": flow.destination.names,
                "destination": flow.destination.instance or flow.destination.address,
                "port": flow.port,
                "protocol": flow.protocol,
                "connections": flow.connections,
                "answered": flow.answered,
                "refused": flow.refused,
                "effect": flow.effect,
                "cause": flow.cause,
                "process": flow.process.command if flow.process else "",
            }
            for flow in self.observer.flows.take(100_000)
        ]


def _end_with(task: "asyncio.Task[None]") -> None:
    """These run for ever: whatever ended one is a failure of the test."""
    task.print_stack(file=sys.stderr)
    os._exit(3)


async def _main() -> None:
    await Recorder(msgspec.json.decode(sys.argv[1], type=Options)).run()


if __name__ == "__main__":
    # Standard output is for answers.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(_main())
