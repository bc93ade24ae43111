"""What a connection costs: connections a second and latency, with cnnf and without.

Three identical estates stand all the time: one with a running cnnf, two without. A round makes the
same connections in each, in changing order, right after each other; its figures are compared only
with each other. The second one without cnnf shows what the method says of two things that are the
same: a ratio of cnnf means no more than that one's distance from 1.
"""

import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from bench import estate as estates
from bench import generator
from bench.benchmark import Benchmark, Tell
from bench.errors import BenchError
from bench.estate import Estate
from bench.generator import Load, Target
from bench.product import Product, product
from bench.ratios import Ratio, ratio_of
from bench.rows import Row, row

NAME = "connect"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One way of connecting. With `connections` each goes to a flow that was never seen before."""

    name: str
    outbound: bool
    target: Target
    in_flight: int
    connections: int = 0


#: First-seen connections a slot: enough for a p99, few enough that a Defender which has to name
#: each is done with them a moment later.
_FRESH = 1_000

_CASES = tuple(
    Case(
        name=f"{way}-{state}-{in_flight}",
        outbound=way == "outbound",
        target=target,
        in_flight=in_flight,
        connections=_FRESH if state == "first" else 0,
    )
    for way, state, target in (
        ("routed", "known", estates.ROUTED_ONE),
        ("outbound", "known", estates.OUTBOUND_ONE),
        ("routed", "first", estates.ROUTED_MANY),
        ("outbound", "first", estates.OUTBOUND_MANY),
    )
    for in_flight in (1, 64)
)

#: (name, unit) of each figure of a slot.
_FIGURES = (("rate", "connections/s"), ("p50", "µs"), ("p99", "µs"))
#: A case is done when both these are known to this share of themselves, half the interval's width.
_DECISIVE = ("rate", "p50")
_PRECISION = 0.03
_PAIRS_ENOUGH = 10
#: So many rounds are made whatever the time, so that there is a figure at all.
_PAIRS_LEAST = 3

#: Slots are short so that what disturbs one disturbs its neighbours too, and long enough for
#: thousands of connections: a p99 stands on 20 of them or more.
_SLOT_SECONDS = 0.15
_FRESH_SLOT_SECONDS = 2.0
_SETTLE_SECONDS = 3.0
#: The first start of a service, and of settings on their way from the Console.
_WARM_SECONDS = 15.0
#: What taking the estates down needs of the time.
_END_SECONDS = 6.0

#: At most this share of connections that should be remembered may reach a packet loop: each new
#: generation asks once more about what is in flight. And at least this share of the others must.
_ASKED_KNOWN_MOST = 0.10
_ASKED_FRESH_LEAST = 0.90

_WITH, _WITHOUT, _AGAIN = "with", "without", "again"
_ORDERS = tuple(itertools.permutations((_WITH, _WITHOUT, _AGAIN)))


class _Lab:
    """The three estates and what runs in them."""

    def __init__(self, estates_: dict[str, Estate], running: Product, cgroup: Path) -> None:
        self._estates = estates_
        self._product = running
        self._cgroup = cgroup
        self._flows = itertools.count(step=_FRESH)

    def warm_up(self) -> None:
        """Wait until cnnf judges, and remembers what it is to remember. Raises BenchError."""
        deadline = time.monotonic() + _WARM_SECONDS
        for case in _CASES:
            while not _as_meant(case, *self._asked_slot(case, self._next_flow())[:2]):
                if time.monotonic() > deadline:
                    raise BenchError(f"{case.name}: cnnf does not treat connections as it should")
                time.sleep(0.1)
        self._product.settle(_SETTLE_SECONDS)

    def round(self, case: Case, order: Sequence[str]) -> tuple[dict[str, Load], int]:
        """One slot in each estate; the figures by estate and how many packets were asked about."""
        loads, asked = {}, 0
        flow = self._next_flow()
        for which in order:
            if which == _WITH:
                asked, _, loads[which] = self._asked_slot(case, flow)
                if case.connections:
                    # Each has to be named and reported; what is remembered leaves nothing to do.
                    self._product.settle(_SETTLE_SECONDS)
            else:
                loads[which] = self._slot(case, which, flow)
        self._product.check()
        return loads, asked

    def _next_flow(self) -> int:
        return next(self._flows)

    def _asked_slot(self, case: Case, flow: int) -> tuple[int, int, Load]:
        estate = self._estates[_WITH]
        before = estate.asked()
        load = self._slot(case, _WITH, flow)
        return estate.asked() - before, load.connections, load

    def _slot(self, case: Case, which: str, flow: int) -> Load:
        estate = self._estates[which]
        return generator.load(
            estate.host if case.outbound else estate.client,
            case.target,
            in_flight=case.in_flight,
            seconds=_FRESH_SLOT_SECONDS if case.connections else _SLOT_SECONDS,
            connections=case.connections,
            offset=flow if case.connections else 0,
            cgroup=self._cgroup if case.outbound else None,
        )


class _Series:
    """The rounds of one case."""

    def __init__(self) -> None:
        self.pairs = 0
        self.asked = self.connections = 0
        self._values: dict[tuple[str, str], list[float]] = {}

    def add(self, loads: dict[str, Load], asked: int) -> None:
        self.pairs += 1
        self.asked += asked
        self.connections += loads[_WITH].connections
        for which, load in loads.items():
            for figure, value in (("rate", load.rate), ("p50", load.p50_us), ("p99", load.p99_us)):
                self._values.setdefault((which, figure), []).append(value)

    def ratio(self, which: str, figure: str) -> Ratio:
        return ratio_of(self._values[which, figure], self._values[_WITHOUT, figure])

    def middle(self, which: str, figure: str) -> float:
        return median(self._values[which, figure])

    def precise(self) -> bool:
        return self.pairs >= _PAIRS_ENOUGH and all(
            self.ratio(which, figure).half_width <= _PRECISION
            for which in (_WITH, _AGAIN)
            for figure in _DECISIVE
        )


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    wanted = [case for case in _CASES if case.name in cases]
    rows: list[Row] = []
    tell("building the estates and starting cnnf")
    generator.build()
    with ExitStack() as stack:
        made = {which: stack.enter_context(estates.estate()) for which in _ORDERS[0]}
        cgroup = stack.enter_context(estates.service_cgroup())
        directory = stack.enter_context(estates.place())
        running = stack.enter_context(
            product(made[_WITH].host, directory, estates.CONTAINER_NETWORKS)
        )
        lab = _Lab(made, running, cgroup)
        lab.warm_up()
        for index, case in enumerate(wanted):
            now = time.monotonic()
            until = now + (deadline - _END_SECONDS - now) / (len(wanted) - index)
            rows += _measure_case(lab, case, until, f"{index + 1}/{len(wanted)}", tell)
        tell("taking everything down")
    return rows


def _measure_case(lab: _Lab, case: Case, until: float, where: str, tell: Tell) -> list[Row]:
    series = _Series()
    orders = itertools.cycle(_ORDERS)
    while series.pairs < _PAIRS_LEAST or (time.monotonic() < until and not series.precise()):
        series.add(*lab.round(case, next(orders)))
        rate = series.ratio(_WITH, "rate")
        tell(f"{where} {NAME}-{case.name}: {series.pairs} pairs, rate {rate.median:.3f}")
    if not _as_meant(case, series.asked, series.connections):
        share = series.asked / series.connections
        expected = "none but a few" if case.connections == 0 else "all"
        raise BenchError(
            f"{case.name}: {share:.1%} of the connections reached a packet loop, "
            f"where {expected} should have: this is not what the figure is about"
        )
    return _rows(case, series)


def _as_meant(case: Case, asked: int, connections: int) -> bool:
    share = asked / connections
    return share >= _ASKED_FRESH_LEAST if case.connections else share <= _ASKED_KNOWN_MOST


def _rows(case: Case, series: _Series) -> list[Row]:
    rows = []
    for which, suffix in ((_WITH, ""), (_AGAIN, "-none-again")):
        asked = series.asked / series.connections if which == _WITH else None
        for figure, unit in _FIGURES:
            rows.append(
                row(
                    f"{NAME}-{case.name}-{figure}{suffix}",
                    unit,
                    series.middle(which, figure),
                    series.middle(_WITHOUT, figure),
                    series.ratio(which, figure),
                    asked,
                )
            )
    return rows


BENCHMARK = Benchmark(name=NAME, cases=tuple(case.name for case in _CASES), measure=_measure)
