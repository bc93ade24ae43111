"""What cnnf costs while nothing happens: a host with containers that are idle, cnnf enabled.

The Defender's processes are counted together, the daemon, its packet loops, and whatever it starts
and reaps meanwhile; the Console's beside. They are told apart by their command lines.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
from tests.lab import engine as engines
from tests.lab.engine import Engine

from bench import estate as estates
from bench import processes
from bench.benchmark import Benchmark, Tell
from bench.errors import Unfit
from bench.product import product
from bench.rows import Row, Target, single

NAME = "idle"
_CONTAINERS = 50
_CASE = f"containers-{_CONTAINERS}"
_SECONDS = 70.0

#: The least and the most time that is looked at: at 1 % of a core, 30 s are 30 ticks of 10 ms.
_WINDOW_SECONDS = (10.0, 30.0)
#: What starting the containers has left to do is done by then: models, names, the first batches.
_SETTLE_SECONDS = 10.0
_END_SECONDS = 12.0
_SAMPLE_SECONDS = 2.0
#: Engines take containers one after the other for the most part; more at once only wait.
_STARTED_AT_ONCE = 4

_TARGETS = {"cpu": Target(at_most=1.0), "memory": Target(at_most=90.0)}


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a program's processes used: % of a core over the window, the most memory in MB."""

    cpu_percent: float
    memory_mb: float
    processes: int


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    missing = engines.missing()
    if missing:
        raise Unfit(missing)
    with ExitStack() as stack:
        directory = stack.enter_context(estates.place())
        host = stack.enter_context(estates.estate()).host
        engine = Engine(host, Path(f"/tmp/cnnf-test-{os.getpid()}-bench"))
        stack.callback(engine.remove)
        tell(f"{NAME}-{_CASE}: starting {_CONTAINERS} containers")
        engine.start()
        engine.import_box()
        with ThreadPoolExecutor(_STARTED_AT_ONCE) as starting:
            for started in [starting.submit(engine.run_box) for _ in range(_CONTAINERS)]:
                started.result()
        running = stack.enter_context(product(host, directory, (), docker_socket=engine.socket))
        tell(f"{NAME}-{_CASE}: waiting until nothing happens")
        time.sleep(_SETTLE_SECONDS)
        running.check()
        least, most = _WINDOW_SECONDS
        seconds = min(most, max(least, deadline - _END_SECONDS - time.monotonic()))
        tell(f"{NAME}-{_CASE}: looking on for {seconds:.0f} s")
        used = _look_on(running.pid, seconds)
        running.check()
        tell("taking everything down")
    rows = []
    for program, usage in used.items():
        targets = _TARGETS if program == "defender" else {}
        name = f"{NAME}-{_CASE}-{program}"
        rows += [
            single(f"{name}-cpu", "% of a core", usage.cpu_percent, targets.get("cpu")),
            single(f"{name}-memory", "MB", usage.memory_mb, targets.get("memory")),
            single(f"{name}-processes", "processes", usage.processes),
        ]
    return rows


def _look_on(pid: int, seconds: float) -> dict[str, Usage]:
    """What Defender and Console, started by the process `pid`, use in the next `seconds`."""
    trees: dict[str, Callable[[], list[int]]] = {
        "defender": lambda: processes.tree(pid, "cnnf defender run"),
        "console": lambda: processes.tree(pid, "cnnf console"),
    }
    memory = dict.fromkeys(trees, 0.0)
    started = time.monotonic()
    before = {name: processes.cpu_seconds(of()) for name, of in trees.items()}
    for _ in _moments(started, seconds):
        for name, of in trees.items():
            memory[name] = max(memory[name], processes.memory_bytes(of()) / 1e6)
    took = time.monotonic() - started
    return {
        name: Usage(
            cpu_percent=100.0 * (processes.cpu_seconds(of()) - before[name]) / took,
            memory_mb=memory[name],
            processes=len(of()),
        )
        for name, of in trees.items()
    }


def _moments(started: float, seconds: float) -> Iterator[None]:
    while True:
        yield
        left = started + seconds - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _SAMPLE_SECONDS))


BENCHMARK = Benchmark(name=NAME, cases={_CASE: _SECONDS}, measure=_measure)
