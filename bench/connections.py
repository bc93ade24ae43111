"""What a connection costs: connections a second and latency, with cnnf, without, and beside others.

Identical estates stand all the time, one for each contestant: cnnf, twice nothing, twice the
minimal loop, and others of its kind. A round makes the same connections in each, in changing order,
right after each other; its figures are compared only with each other. The second one of the same
kind shows what the method says of two things that are the same: a ratio means no more than that
one's distance from 1.
"""

from collections.abc import Sequence

from bench import estate as estates
from bench import field, generator
from bench.benchmark import Benchmark, Tell
from bench.contestants import (
    CNNF,
    MINIMAL,
    MINIMAL_AGAIN,
    NETFILTERQUEUE,
    NONE,
    NONE_AGAIN,
    OPENSNITCH,
)
from bench.field import Case
from bench.rows import Row, Target
from bench.series import Comparison

NAME = "connect"

#: Pairs of what is only there to be looked at: enough for an interval.
_RIVAL_PAIRS = 6


def _known(way: str, target: generator.Target, in_flight: int, seconds: float) -> Case:
    targets = {"rate": Target(at_least=0.97), "p99": Target(at_most=1.10)}
    return Case(
        name=f"{way}-known-{in_flight}",
        way=way,
        target=target,
        in_flight=in_flight,
        fresh=False,
        seconds=seconds,
        comparisons=(
            Comparison(of=CNNF, against=NONE, targets=targets),
            Comparison(of=NONE_AGAIN, against=NONE, suffix="-none-again"),
        ),
    )


def _first(way: str, target: generator.Target, in_flight: int, seconds: float) -> Case:
    targets = {"rate": Target(at_least=0.75 if in_flight == 1 else 0.90)}
    rivals = (NETFILTERQUEUE, OPENSNITCH) if way == "outbound" else (NETFILTERQUEUE,)
    return Case(
        name=f"{way}-first-{in_flight}",
        way=way,
        target=target,
        in_flight=in_flight,
        fresh=True,
        seconds=seconds,
        comparisons=(
            Comparison(of=CNNF, against=MINIMAL, suffix="-minimal", targets=targets),
            Comparison(of=MINIMAL_AGAIN, against=MINIMAL, suffix="-minimal-again"),
            Comparison(of=CNNF, against=NONE, pairs_most=_RIVAL_PAIRS),
            *(
                Comparison(of=name, against=MINIMAL, suffix=f"-{name}", pairs_most=_RIVAL_PAIRS)
                for name in rivals
            ),
        ),
    )


_CASES = (
    *(_known("routed", estates.ROUTED_ONE, in_flight, 22.0) for in_flight in (1, 64)),
    *(_known("outbound", estates.OUTBOUND_ONE, in_flight, 22.0) for in_flight in (1, 64)),
    *(_known("routed6", estates.ROUTED6_ONE, in_flight, 10.0) for in_flight in (1, 64)),
    *(_known("bridged", estates.BRIDGED_ONE, in_flight, 10.0) for in_flight in (1, 64)),
    *(_first("routed", estates.ROUTED_MANY, in_flight, 40.0) for in_flight in (1, 64)),
    *(_first("outbound", estates.OUTBOUND_MANY, in_flight, 40.0) for in_flight in (1, 64)),
)


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    return field.measured(NAME, [case for case in _CASES if case.name in cases], deadline, tell)


BENCHMARK = Benchmark(
    name=NAME, cases={case.name: case.seconds for case in _CASES}, measure=_measure
)
