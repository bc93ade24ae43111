"""Another policy while very many flows are remembered, and connections go on.

With every change of what it is to enforce a Defender begins a new generation, in which nothing is
remembered. Who is still allowed may not notice, and none may be missing from the count: so *steady*
connections to one port run from before the flows are made until the change is over, and are then
compared with what the Console has counted on that port. Who no longer is allowed must not come
through once the change is acknowledged: the *barred* connections to another port, which the new
policy prevents. Both come from a service of the host, which Radar shows by its name; the flows
around them are of a container network.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import msgspec

from bench import estate as estates
from bench import generator
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

_STEADY_PORT, _BARRED_PORT = estates.FIRST_PORT, estates.FIRST_PORT + 1
_RATE = 2_000
#: Flows on all other ports.
_FILL = Target(
    address=estates.ROUTED_MANY.address,
    addresses=estates.ROUTED_MANY.addresses,
    port=estates.FIRST_PORT + 2,
    ports=estates.ROUTED_MANY.ports - 2,
)
_FILL_IN_FLIGHT = 64
_FILL_SECONDS = 60.0
#: Of the flows that were made, so many are made again to see that they are remembered.
_SAMPLE = 2_000
_REMEMBERED_LEAST = 0.90

#: The longest it may take from the word to the acknowledgement, and how long is looked on after it.
_ACKNOWLEDGE_SECONDS = 60.0
_AFTER_SECONDS = 1.0
#: The acknowledgement is seen so much late at most: what comes through then is not found.
_LOOK_SECONDS = 0.002
#: The whole of it, with time to spare: then the connections end by themselves.
_CONNECT_SECONDS = 120.0
#: How long the last counts may take to the Console: 100,000 flows are named beside the work.
_DELIVERY_SECONDS = 90.0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the two sorts of connections met, and when the word was given and acknowledged.

    Times are the wall clock's, in nanoseconds.
    """

    steady: Load
    barred: Load
    told_ns: int
    acknowledged_ns: int


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    with ExitStack() as stack:
        tell(f"{NAME}-{_CASE}: building the estate and starting cnnf")
        directory = stack.enter_context(estates.place())
        cgroup = stack.enter_context(estates.service_cgroup())
        estate = stack.enter_context(estates.estate())
        file = directory / "policy.yaml"
        _write(file, "allow")
        running = stack.enter_context(
            product(
                estate.host,
                directory,
                estates.CONTAINER_NETWORKS,
                options=("--policy", str(file)),
            )
        )
        with (
            _connections(estate, cgroup, _STEADY_PORT) as steady,
            _connections(estate, cgroup, _BARRED_PORT) as barred,
        ):
            tell(f"{NAME}-{_CASE}: making {_FLOWS:,} flows")
            _fill(estate)
            tell(f"{NAME}-{_CASE}: changing the policy")
            told_ns, acknowledged_ns = _change(running, lambda: _write(file, "prevent"))
            time.sleep(_AFTER_SECONDS)
            seen = Seen(
                steady=steady.stop(),
                barred=barred.stop(),
                told_ns=told_ns,
                acknowledged_ns=acknowledged_ns,
            )
        tell(f"{NAME}-{_CASE}: waiting for the last counts")
        counted, counted_s = _counted(running, _STEADY_PORT, seen.steady.connections)
        tell("taking everything down")
    return rows_of(seen, counted, counted_s)


def rows_of(seen: Seen, counted: int, counted_s: float) -> list[Row]:
    """What the connections and the Console's count of the steady ones say, which was waited for so
    long.

    Raises BenchError when the barred ones were not let through before, or not barred at all.
    """
    name = f"{NAME}-{_CASE}"
    steady, barred = seen.steady, seen.barred
    if not barred.connections or not barred.failures:
        raise BenchError(
            f"{name}: of the barred connections {barred.connections} were let through and "
            f"{barred.failures} were not; both were to be seen"
        )
    late = sum(begun > seen.acknowledged_ns for begun in barred.last_begun_ns)
    in_force_ns = max(0, max(barred.last_begun_ns) - seen.told_ns)
    none = Goal(at_most=0)
    return [
        single(f"{name}-lost", "connections", steady.failures, none),
        single(f"{name}-uncounted", "connections", max(0, steady.connections - counted), none),
        single(f"{name}-counted-twice", "connections", max(0, counted - steady.connections), none),
        single(f"{name}-let-through", "connections", late, none),
        single(f"{name}-connections", "connections", steady.connections),
        single(f"{name}-time", "ms", (seen.acknowledged_ns - seen.told_ns) / 1e6),
        single(f"{name}-in-force", "ms", in_force_ns / 1e6),
        single(f"{name}-longest-connect", "ms", steady.max_us / 1e3),
        single(f"{name}-until-counted", "s", counted_s),
    ]


def policy(effect: str) -> str:
    """The text of a policy that lets the service connect to the barred port, or not."""
    rules = (("steady", _STEADY_PORT, "allow"), ("barred", _BARRED_PORT, effect))
    return json.dumps(
        {
            "apiVersion": "cnnf/v1",
            "networkObjects": [
                {"name": "service", "type": "service", "values": [estates.SERVICES]}
            ],
            "rules": {
                "hosts": [
                    {
                        "name": name,
                        "source": ["service"],
                        "ports": [str(port)],
                        "protocol": "tcp",
                        "effect": effect,
                    }
                    for name, port, effect in rules
                ]
            },
        }
    )


def _write(file: Path, effect: str) -> None:
    """As a whole: nobody may read half a policy."""
    partial = file.with_suffix(".new")
    partial.write_text(policy(effect))
    partial.replace(file)


def _connections(
    estate: Estate, cgroup: Path, port: int
) -> AbstractContextManager[generator.Steady]:
    return generator.steady(
        estate.host,
        msgspec.structs.replace(estates.OUTBOUND_ONE, port=port),
        rate=_RATE,
        seconds=_CONNECT_SECONDS,
        cgroup=cgroup,
    )


def _fill(estate: Estate) -> None:
    """Make the flows. Raises BenchError when they are not there afterwards."""

    def make(connections: int) -> float:
        before = estate.asked()
        load = generator.load(
            estate.client,
            _FILL,
            in_flight=_FILL_IN_FLIGHT,
            seconds=_FILL_SECONDS,
            connections=connections,
        )
        if load.connections < connections:
            raise BenchError(f"only {load.connections:,} flows in {_FILL_SECONDS:.0f} s")
        return (estate.asked() - before) / connections

    # The first of them may come while the packet loops are still told what is in force.
    make(_SAMPLE)
    make(_FLOWS)
    forgotten = make(_SAMPLE)
    if forgotten > 1 - _REMEMBERED_LEAST:
        raise BenchError(f"{forgotten:.0%} of {_FLOWS:,} flows were not remembered")


def _change(running: Product, change: Callable[[], None]) -> tuple[int, int]:
    """Change the policy's file and say so; when that was, and when it was acknowledged."""
    before = running.policies_applied()
    change()
    told_ns = time.time_ns()
    running.reload()
    deadline = time.monotonic() + _ACKNOWLEDGE_SECONDS
    while running.policies_applied() == before:
        running.check()
        if time.monotonic() > deadline:
            raise BenchError(f"the policy was not applied in {_ACKNOWLEDGE_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)
    return told_ns, time.time_ns()


def _counted(running: Product, port: int, expected: int) -> tuple[int, float]:
    """The connections on this port that the Console has counted, once they are as expected, and
    how many seconds that took."""
    began = time.monotonic()
    while True:
        counted = sum(
            one["connections"]
            for edge in running.radar("hosts")["edges"]
            for one in edge["ports"]
            if one["port"] == port
        )
        took = time.monotonic() - began
        if counted == expected or took > _DELIVERY_SECONDS:
            return int(counted), took
        time.sleep(1.0)


BENCHMARK = Benchmark(name=NAME, cases={_CASE: _SECONDS}, measure=_measure)
