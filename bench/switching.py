"""A change of generation while very many flows are remembered, and connections go on.

A Defender begins anew what it remembers and counts, now and then and with every change of what it
is to enforce. Nobody who connects may notice, and none may be missing from the count: so steady
connections to one port run from before the flows are made until the change is over, and are then
compared with what the Console has counted on that port. They come from a service of the host,
which Radar shows by its name; the flows around them are of a container network.
"""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench import estate as estates
from bench import generations, generator
from bench.benchmark import Benchmark, Tell
from bench.errors import BenchError
from bench.estate import Estate
from bench.generator import Load, Target
from bench.product import Product, product
from bench.rows import Row, single
from bench.rows import Target as Goal

NAME = "switch"
_FLOWS = 100_000
_CASE = f"flows-{_FLOWS}"
_SECONDS = 50.0

#: The steady connections have a port of their own in each attempt: nothing else is counted there.
_STEADY_PORTS = range(estates.FIRST_PORT, estates.FIRST_PORT + 4)
_STEADY_RATE = 2_000
_STEADY_SECONDS = 120.0
_FILL = Target(
    address=estates.ROUTED_MANY.address,
    addresses=estates.ROUTED_MANY.addresses,
    port=_STEADY_PORTS.stop,
    ports=estates.ROUTED_MANY.ports - len(_STEADY_PORTS),
)
_IN_FLIGHT = 64
#: Of the flows that were made, so many are made again to see that they are remembered.
_SAMPLE = 2_000
_REMEMBERED_LEAST = 0.90

#: Flows that take longer are not all made between two changes, which are 10 s apart at least.
_FILL_SECONDS = 9.0

#: Without a transaction for so long a change is over: reading 100,000 counts takes a second or two.
_QUIET_SECONDS = 4.0
#: The same for one with nothing to read, after which there is little time to lose.
_QUIET_EMPTY_SECONDS = 0.3
#: Generations follow each other after 10 s, or up to a minute when there was much to read.
_CHANGE_SECONDS = 75.0
_LOOK_SECONDS = 0.05
#: How long the last counts may take to the Console.
_DELIVERY_SECONDS = 40.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The steady connections of one attempt, and what the change did meanwhile."""

    port: int
    load: Load
    change: generations.Burst


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    with ExitStack() as stack:
        tell(f"{NAME}-{_CASE}: building the estate and starting cnnf")
        directory = stack.enter_context(estates.place())
        cgroup = stack.enter_context(estates.service_cgroup())
        estate = stack.enter_context(estates.estate())
        running = stack.enter_context(product(estate.host, directory, estates.CONTAINER_NETWORKS))
        seen = _attempts(estate, running, cgroup, tell)
        tell(f"{NAME}-{_CASE}: waiting for the last counts")
        counted = _counted(running, seen.port, seen.load.connections)
        tell("taking everything down")
    return rows_of(seen, counted)


def rows_of(seen: Seen, counted: int) -> list[Row]:
    """What the steady connections and the Console's count of them say."""
    name = f"{NAME}-{_CASE}"
    load, change = seen.load, seen.change
    none = Goal(at_most=0)
    return [
        single(f"{name}-lost", "connections", load.failures, none),
        single(f"{name}-uncounted", "connections", max(0, load.connections - counted), none),
        single(f"{name}-counted-twice", "connections", max(0, counted - load.connections), none),
        single(f"{name}-connections", "connections", load.connections),
        single(f"{name}-time", "ms", (change.ended - change.began) * 1e3),
        single(f"{name}-longest-connect", "ms", load.max_us / 1e3),
    ]


def _attempts(estate: Estate, running: Product, cgroup: Path, tell: Tell) -> Seen:
    """Try until the flows were all made between two changes. Raises BenchError."""
    with generations.watched(estate.host) as watch:
        for number, port in enumerate(_STEADY_PORTS):
            tell(f"{NAME}-{_CASE}: waiting for a change of generation")
            _next_change(watch, running, time.monotonic(), _QUIET_EMPTY_SECONDS)
            tell(f"{NAME}-{_CASE}: making {_FLOWS:,} flows")
            steady = generator.steady(
                estate.host,
                msgspec.structs.replace(estates.OUTBOUND_ONE, port=port),
                rate=_STEADY_RATE,
                seconds=_STEADY_SECONDS,
                cgroup=cgroup,
            )
            with steady as connections:
                began = time.monotonic()
                complete = _fill(estate, number * _FLOWS)
                tell(f"{NAME}-{_CASE}: waiting for the change of generation")
                change = _next_change(watch, running, began, _QUIET_SECONDS)
                load = connections.stop()
            if change.began > complete:
                return Seen(port=port, load=load, change=change)
    raise BenchError(
        f"{_FLOWS:,} flows could not be made between two changes of generation, "
        f"{len(_STEADY_PORTS)} times: this machine is too busy"
    )


def _fill(estate: Estate, offset: int) -> float:
    """Make the flows; when they were there and remembered, infinity when they are too slow."""

    def make(connections: int) -> float:
        before = estate.asked()
        load = generator.load(
            estate.client,
            _FILL,
            in_flight=_IN_FLIGHT,
            seconds=_FILL_SECONDS,
            connections=connections,
            offset=offset,
        )
        return (estate.asked() - before) / connections if load.connections == connections else 2.0

    asked = make(_FLOWS)
    again = make(_SAMPLE)
    filled = asked <= 1.5 and again <= 1 - _REMEMBERED_LEAST
    return time.monotonic() if filled else math.inf


def _next_change(
    watch: generations.Watch, running: Product, after: float, quiet_seconds: float
) -> generations.Burst:
    """The first change of generation that begins after `after`, once it is over."""
    deadline = time.monotonic() + _CHANGE_SECONDS
    while time.monotonic() < deadline:
        running.check()
        changes = [(at, count) for at, count in list(watch.changes) if at > after]
        first = next(iter(generations.bursts(changes, quiet_seconds)), None)
        if first is not None and time.monotonic() - first.ended > quiet_seconds:
            return first
        time.sleep(_LOOK_SECONDS)
    raise BenchError(f"no change of generation in {_CHANGE_SECONDS:.0f} s")


def _counted(running: Product, port: int, expected: int) -> int:
    """The connections on this port that the Console has counted, once they are as expected."""
    deadline = time.monotonic() + _DELIVERY_SECONDS
    while True:
        counted = sum(
            one["connections"]
            for edge in running.radar("hosts")["edges"]
            for one in edge["ports"]
            if one["port"] == port
        )
        if counted == expected or time.monotonic() > deadline:
            return int(counted)
        time.sleep(1.0)


BENCHMARK = Benchmark(name=NAME, cases={_CASE: _SECONDS}, measure=_measure)
