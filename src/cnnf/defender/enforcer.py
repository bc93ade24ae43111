"""What is in force: mode, policy and plan, changed together and kept right.

Every change has the same order. The loops get the tables that they are to judge by; the kernel's
rules are switched to a new generation, in which nothing is remembered yet; the loops confirm it.
From then on nothing is let through by what held before, and only then living connections are cut.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.conditions import Code
from cnnf.defender.core.cutting import Living, decide, identities, is_exempt, parts
from cnnf.defender.core.judge import Judge
from cnnf.defender.core.limits import CGROUP_LEVELS, COUNT_FIRST_SECONDS_MAX
from cnnf.defender.core.plan import Place, Scopes
from cnnf.defender.core.tables import PREVENT
from cnnf.defender.core.tallies import Tally
from cnnf.defender.judging import Judging
from cnnf.defender.kernel import bridges, cutting
from cnnf.defender.kernel.errors import KernelError, ProgrammingFailed
from cnnf.defender.kernel.loops import Loops
from cnnf.defender.kernel.offload import CountsUnreadError, Offload
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.nfqueue import FORWARD, INPUT, OUTPUT
from cnnf.defender.observer import Observer
from cnnf.policy.compiled import Compiled
from cnnf.protocol.messages import Settings

_log = structlog.get_logger(__name__)


class _Span(NamedTuple):
    """From when until when, ms."""

    since_ms: int
    until_ms: int


class Enforcer:
    """Owns the order of things between tables, loops and kernel; one change at a time.

    What the kernel has counted goes to the observer; `happened`, `raise_` and `clear` get
    conditions: what is over again, what stands, what no longer does.
    """

    def __init__(
        self,
        offload: Offload,
        loops: Loops,
        judging: Judging,
        book: AddressBook,
        observer: Observer,
        *,
        happened: Callable[[Code, str], None],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], object],
    ) -> None:
        self._offload = offload
        self._loops = loops
        self._judging = judging
        self._book = book
        self._observer = observer
        self._collecting: asyncio.Task[None] | None = None
        self._counting: set[asyncio.Task[None]] = set()
        self._happened = happened
        self._raise = raise_
        self._clear = clear
        self._changing = asyncio.Lock()
        #: Where the Console is, as last looked up; none: not known (then the last stays).
        self.console: tuple[Place, ...] = ()
        #: What was there before us and still lives; None before the first rules.
        self._spared: frozenset[object] | None = None
        #: From when on the generation in force has counted what was not taken yet, and what span
        #: the one before is still to be taken of.
        self._counted_since_ms = _now_ms()
        self._former = _Span(self._counted_since_ms, self._counted_since_ms)
        self._switched_at = time.monotonic()

    @property
    def scopes(self) -> Scopes:
        """Where it is enabled now."""
        return self._offload.plan.scopes

    @property
    def seconds_in_generation(self) -> float:
        """How long ago the last switch was."""
        return time.monotonic() - self._switched_at

    @property
    def misses_levels(self) -> bool:
        """Does a service lie in a deeper cgroup than flows are remembered for?"""
        return min(self._judging.levels, CGROUP_LEVELS) > self._offload.plan.levels

    async def apply(self, settings: Settings, compiled: Compiled | None = None) -> None:
        """Put a mode, and another policy if one is given, in force.

        Raises KernelError, NetlinkError or OSError when it is not; what held before then holds, or
        the new one does where only the confirmation of a loop is missing.
        """
        scopes = Scopes(containers=settings.containers, hosts=settings.hosts)
        async with self._changing:
            await self._spare()
            if compiled is not None or scopes != self.scopes:
                self._judging.change(scopes, compiled)
                self._loops.prepare(self._judging.tables())
            await self._switch(
                scopes=scopes,
                networks=self._book.networks,
                bridged=await asyncio.to_thread(bridges.any_present),
                udp=settings.udp,
                refuse_with=settings.refuse_with,
                prevents=self._judging.prevents,
                answers_held=self._judging.goes_by_names,
            )
            if compiled is not None and settings.cut and self._judging.prevents:
                await self._cut(settings)

    async def renew(self) -> None:
        """A new generation of the same: it is time for one."""
        async with self._changing:
            await self._switch_kindly()

    async def renew_for_others(self) -> None:
        """The same, since somebody else stands behind an address, or soon may.

        What was counted by now is taken beside it: that is done in a few milliseconds, in which
        nobody else can have got the address yet, while other rules take tens of them.
        """
        if self._offload.reading_seconds <= COUNT_FIRST_SECONDS_MAX:
            await asyncio.gather(self.count(), self.renew())
        else:
            await self.renew()

    async def use_networks(self) -> None:
        """The container networks are others now."""
        async with self._changing:
            bridged = await asyncio.to_thread(bridges.any_present)
            self._judging.change(self.scopes)
            self._loops.prepare(self._judging.tables())
            await self._switch(networks=self._book.networks, bridged=bridged)

    async def count(self) -> None:
        """Take what the kernel has counted since the last time. A change does not wait for it."""
        # What was read is taken, also when whoever asked for it is stopped.
        counting = asyncio.create_task(self._count())
        self._counting.add(counting)
        counting.add_done_callback(self._counting.discard)
        await asyncio.shield(counting)

    async def _count(self) -> None:
        generation = self._offload.plan.generation
        began_ms = _now_ms()
        tallies = await self._read(self._offload.count)
        if tallies is None:
            return
        # Counters are read one after the other: what comes meanwhile may be with these already.
        if generation == self._offload.plan.generation:
            span = _Span(self._counted_since_ms, _now_ms())
            self._counted_since_ms = began_ms
        else:
            span, self._former = self._former, self._former._replace(since_ms=began_ms)
        await self._observer.take_tallies(tallies, generation, *span, final=False)

    async def restore(self, by: str) -> None:
        """Put back what somebody has changed of ours. Raises KernelError, NetlinkError, OSError."""
        async with self._changing:
            try:
                if not await self._offload.restore():
                    return
            except KernelError as error:
                self._raise("rules-failed", str(error))
                raise
            # What is answered now was asked by rules that are gone.
            await self._switch_kindly()
        who = f" by {by}" if by else ""
        self._happened("rules-restored", f"rules of cnnf were removed or changed{who}; put back")

    async def end(self) -> None:
        """Ask nothing any more and take the last counts; the loops still answer what waits."""
        async with self._changing:
            if self._counting:
                await asyncio.wait(self._counting)
            await self._switch(scopes=Scopes(), prevents=False, answers_held=False)
            await self._collect()

    async def _switch_kindly(self) -> None:
        try:
            await self._switch()
        except (KernelError, NetlinkError, OSError) as error:
            self._raise("rules-failed", str(error))

    async def _switch(self, **changes: object) -> None:
        """A new generation; true to its word once this returns. Raises KernelError and the like.

        What the last one has counted is read afterwards: with many flows that takes seconds, and
        until then there can't be another switch.
        """
        if self._collecting is not None:
            await self._collecting
        # Tried again where it failed the last time.
        await self._collect()
        # Where nothing can be cut off it is asked about, since that tells which program connects.
        cut_off = self._judging.prevents or self._offload.plan.fail_closed
        changes["console"] = self.console if cut_off else ()
        changes["guarded"] = self._offload.plan.guarded or self._judging.prevents
        levels = max(self._offload.plan.levels, min(self._judging.levels, CGROUP_LEVELS))
        # Counting begins when `nft` is done, more than a millisecond later: whoever has ended just
        # now had no part in it.
        began_ms = _now_ms() + 1
        self._observer.switch(self._offload.plan.generation + 1)
        try:
            confirmed = await self._offload.change(levels=levels, **changes)
        except CountsUnreadError as error:
            raise ProgrammingFailed(f"{error} is not read yet") from error
        except KernelError as error:
            self._raise("rules-failed", str(error))
            raise
        self._clear("rules-failed")
        if confirmed:
            self._clear("loops-behind")
        else:
            # A loop may still answer for the generation before. It is started again soon, or it
            # answers: before the next switch its sets are read once more.
            self._raise("loops-behind", "a packet loop has not confirmed what is in force now")
        self._switched_at = time.monotonic()
        # The one generation has counted until now, the other since it was put in force.
        self._former = _Span(self._counted_since_ms, self._offload.in_force_ms)
        self._counted_since_ms = began_ms
        self._collecting = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        """Take what the generation before has counted, if that is still to be done."""
        tallies = await self._read(self._offload.collect)
        if tallies is not None:
            generation = self._offload.plan.generation - 1
            await self._observer.take_tallies(tallies, generation, *self._former, final=True)

    async def _read(self, read: Callable[..., Awaitable[list[Tally] | None]]) -> list[Tally] | None:
        try:
            tallies = await read(asked=self._observer.misses)
        except (CountsUnreadError, KernelError) as error:
            self._raise("counts-unread", str(error))
            return None
        if tallies is not None:
            self._clear("counts-unread")
        return tallies

    async def _spare(self) -> None:
        """What lives before the first rules are in force is never cut."""
        if self._spared is not None:
            return
        try:
            found = await asyncio.to_thread(cutting.survey, self._pids(), udp=True)
        except (NetlinkError, OSError) as error:
            self._raise("cut-failed", f"living connections could not be looked at: {error}")
            return
        self._spared = identities(found.rooms, found.tracked)

    def _pids(self) -> list[int]:
        return [container.pid for container in self._book.containers.values() if container.pid]

    async def _cut(self, settings: Settings) -> None:
        """End what lives and would now be refused."""
        try:
            report, ambiguous = await asyncio.to_thread(
                self._cut_now, self._judging.judge(), self._pids(), udp=settings.udp
            )
        except (NetlinkError, OSError) as error:
            self._raise("cut-failed", f"living connections could not be looked at: {error}")
            return
        _log.info(
            "living connections cut",
            connections=report.connections,
            passing=report.passing_count,
            ambiguous=ambiguous,
            failed=report.failed_count,
        )
        left = report.failed_count + report.passing_count + ambiguous
        if left:
            reason = report.failed[0].reason if report.failed else (
                "they only pass through this host, or their ends can't be told apart"
            )  # fmt: skip
            self._raise(
                "cut-failed", f"{left} living connections go on that a rule prevents: {reason}"
            )
        else:
            self._clear("cut-failed")

    def _cut_now(
        self, judge: Judge, pids: list[int], *, udp: bool
    ) -> tuple[cutting.CutReport, int]:
        failsafe = self._offload.plan.failsafe

        def prevented(one: Living) -> str | None:
            if is_exempt(one, failsafe, self.console):
                return None
            hook = OUTPUT if one.cgroup or one.inode else INPUT if one.to_host else FORWARD
            owner = self._judging.candidate_of(one.cgroup, one.inode) if hook == OUTPUT else -1
            verdict = judge.decide(
                hook, one.source, one.destination, one.port, one.protocol, one.cgroup, owner
            )
            # Whoever is not known yet may be one that is let through.
            refused = verdict.effect == PREVENT and not verdict.doubt
            return str(verdict.rule) if refused else None

        found = cutting.survey(pids, udp=udp)
        decided = decide(found.rooms, found.tracked, prevented)
        spared = self._spared or frozenset()
        cuts = [one for one in decided.cuts if spared.isdisjoint(parts(one))]
        # An entry's number is used again: whatever has gone is not spared any more.
        self._spared = spared & identities(found.rooms, found.tracked)
        return cutting.cut(cuts), len(decided.ambiguous)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
