"""Identical estates, one for each contestant, in which the same connections are made in turn.

They all stand all the time. A round makes the same connections in each, in changing order, right
after each other; its figures are compared only with each other.
"""

import itertools
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench import estate as estates
from bench import generator
from bench.benchmark import Tell
from bench.contestants import MINIMAL, NOTHING, PRODUCTS, RIVALS, Contestant, left_out, standing
from bench.errors import BenchError
from bench.estate import Estate
from bench.generator import Load
from bench.rows import Row
from bench.series import Comparison, Series

#: Slots of known flows are short so that what disturbs one disturbs its neighbours too, and long
#: enough for thousands of connections: a p99 stands on 20 of them or more.
_SLOT_SECONDS = 0.15
#: First-seen connections a slot, by how many are in flight: some 0.4 s, so that a Defender works
#: on the first of them while the last are made.
_FRESH = {1: 3_000, 64: 8_000}
#: The slowest contestant makes no more than a thousand a second: its slot ends by time.
_FRESH_SLOT_SECONDS = 1.0
#: The first start of a service, and of settings on their way from the Console.
_WARM_SECONDS = 15.0
#: Flows a case is tried with until it goes as it should.
_WARM_FLOWS = 200
#: What taking the estates down needs of the time.
_END_SECONDS = 6.0
#: So many rounds are made whatever the time, so that there is a figure at all.
_ROUNDS_LEAST = 3
#: At most this share of connections that should be remembered may reach a packet loop: each new
#: generation asks once more about what is in flight. And at least this share of the others must.
_ASKED_KNOWN_MOST = 0.10
_ASKED_FRESH_LEAST = 0.90


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One way of connecting. With `fresh` each goes to a flow that was never seen before.

    `way` says where from: "routed" and "routed6" from the client, "outbound" from the host itself,
    "bridged" from the bridge's left end.
    """

    name: str
    way: str
    target: generator.Target
    in_flight: int
    fresh: bool
    seconds: float
    comparisons: tuple[Comparison, ...]

    @property
    def subject(self) -> str:
        """The contestant that it is about: the first comparison's."""
        return self.comparisons[0].of

    @property
    def contestants(self) -> frozenset[str]:
        """All that take part."""
        return frozenset(name for one in self.comparisons for name in (one.of, one.against))


class _Field:
    """The estates and what runs in them, by contestant."""

    def __init__(
        self,
        estates_: Mapping[str, Estate],
        running: Mapping[str, Contestant],
        cgroup: Path,
    ) -> None:
        self._estates = estates_
        self._running = running
        self._cgroup = cgroup
        self._flows = itertools.count(step=max(_FRESH.values()))

    @property
    def contestants(self) -> frozenset[str]:
        """All that are here."""
        return frozenset(self._running)

    def warm_up(self, cases: Iterable[Case]) -> None:
        """Wait until each cnnf judges, and remembers what it is to remember. Raises BenchError."""
        deadline = time.monotonic() + _WARM_SECONDS
        for case in cases:
            for name in sorted(case.contestants & PRODUCTS):
                self._warm_up(case, name, deadline)
            if MINIMAL in case.contestants:
                self._try_minimal(case)

    def _warm_up(self, case: Case, name: str, deadline: float) -> None:
        connections = _WARM_FLOWS if case.fresh else 0
        while True:
            load, asked = self._slot(case, name, next(self._flows), connections)
            if _as_meant(case, asked / load.connections):
                break
            if time.monotonic() > deadline:
                raise BenchError(f"{case.name}: {name} does not treat connections as it should")
            time.sleep(0.1)
        self._running[name].rest(load.connections if case.fresh else 0)

    def _try_minimal(self, case: Case) -> None:
        """Raises BenchError when the minimal loop is not asked, or does not remember."""
        flow = next(self._flows)
        for first in (True, False):
            load, asked = self._slot(case, MINIMAL, flow, _WARM_FLOWS)
            share = asked / load.connections
            if share < _ASKED_FRESH_LEAST if first else share > _ASKED_KNOWN_MOST:
                raise BenchError(f"{case.name}: the minimal loop was asked about {share:.0%}")

    def round(self, case: Case, order: Sequence[str], series: Series) -> None:
        """One slot in the estate of each of these."""
        loads: dict[str, Load] = {}
        asked, flow = 0, next(self._flows)
        connections = _FRESH[case.in_flight] if case.fresh else 0
        for name in order:
            loads[name], count = self._slot(case, name, flow, connections)
            self._running[name].rest(loads[name].connections if case.fresh else 0)
            self._running[name].check()
            share = count / loads[name].connections
            if case.fresh and name not in NOTHING and share < _ASKED_FRESH_LEAST:
                raise BenchError(f"{case.name}: {name} was asked about {share:.1%} only")
            if name == case.subject:
                asked = count
        series.add(loads, asked, loads[case.subject].connections)

    def _slot(self, case: Case, name: str, flow: int, connections: int) -> tuple[Load, int]:
        """Its load, and how many packets the kernel put into a queue meanwhile."""
        estate = self._estates[name]
        before = estate.asked()
        starts = {"outbound": estate.host, "bridged": estate.left}
        load = generator.load(
            starts.get(case.way, estate.client),
            case.target,
            in_flight=case.in_flight,
            seconds=_FRESH_SLOT_SECONDS if case.fresh else _SLOT_SECONDS,
            connections=connections,
            offset=flow if case.fresh else 0,
            cgroup=self._cgroup if case.way == "outbound" else None,
        )
        return load, estate.asked() - before


def measured(name: str, cases: Sequence[Case], deadline: float, tell: Tell) -> list[Row]:
    """Measure the cases of the benchmark called so; their rows. Raises BenchError."""
    rows: list[Row] = []
    tell("building the estates and starting what is compared")
    with ExitStack() as stack:
        cgroup = stack.enter_context(estates.service_cgroup())
        directory = stack.enter_context(estates.place())
        field = _field(stack, cases, directory, cgroup, tell)
        field.warm_up(cases)
        left = sum(case.seconds for case in cases)
        for index, case in enumerate(cases):
            now = time.monotonic()
            until = now + (deadline - _END_SECONDS - now) * case.seconds / left
            left -= case.seconds
            where = f"{index + 1}/{len(cases)} {name}-{case.name}"
            series = _rounds(field, case, until, where, tell)
            rows += series.rows(f"{name}-{case.name}", asked_by=case.subject)
        tell("taking everything down")
    return rows


def _field(
    stack: ExitStack, cases: Sequence[Case], directory: Path, cgroup: Path, tell: Tell
) -> _Field:
    made: dict[str, Estate] = {}
    running: dict[str, Contestant] = {}
    for name in sorted(frozenset[str]().union(*(case.contestants for case in cases))):
        reason = left_out(name)
        if reason:
            tell(f"left out: {name}: {reason}", last=True)
            continue
        estate = stack.enter_context(estates.estate())
        place = directory / name
        place.mkdir()
        try:
            running[name] = stack.enter_context(standing(name, estate.host, place))
        except BenchError as error:
            if name not in RIVALS:
                raise
            tell(f"left out: {name}: {error}", last=True)
        else:
            made[name] = estate
    return _Field(made, running, cgroup)


def _rounds(field: _Field, case: Case, until: float, where: str, tell: Tell) -> Series:
    comparisons = [one for one in case.comparisons if {one.of, one.against} <= field.contestants]
    series = Series(comparisons)
    # Seeded by the case: a second run has the same orders.
    orders = random.Random(case.name)
    while series.rounds < _ROUNDS_LEAST or (time.monotonic() < until and not series.precise()):
        order = sorted(series.wanted())
        orders.shuffle(order)
        field.round(case, order, series)
        rate = series.ratio(comparisons[0], "rate").median
        tell(f"{where}: {series.rounds} rounds, rate {rate:.3f}")
    if not _as_meant(case, series.asked):
        expected = "all" if case.fresh else "none but a few"
        raise BenchError(
            f"{case.name}: {series.asked:.1%} of the connections reached a packet loop, "
            f"where {expected} should have: this is not what the figure is about"
        )
    return series


def _as_meant(case: Case, share: float) -> bool:
    return share >= _ASKED_FRESH_LEAST if case.fresh else share <= _ASKED_KNOWN_MOST
