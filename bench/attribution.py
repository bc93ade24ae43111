"""Whose is a connection? How often the answer is right, and what it costs to know.

*service* and *program* are clients that live a few milliseconds, each with a connection to a port
of its own, made within a service's cgroup and outside of any: which service they were of, and which
very process, is compared with what was started. *answer* is how long a packet loop takes to answer
a SYN, the question to the kernel included, and *refresh* is what it costs to read anew which
services there are and where they listen, on a host with 500 services of 2,000 processes.
"""

import os
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.kernel.conftest import Network, Recording
from tests.kernel.stage import CLIENT, policy
from tests.lab import netns
from tests.lab.netns import Namespace
from tests.lab.units import Unit
from tests.native.harness import queued, running, segment

from bench.benchmark import Benchmark, Tell
from bench.errors import BenchError
from bench.rows import Row, Target, single
from cnnf.defender.core.observations import Cgroups as NamedCgroups
from cnnf.defender.core.tables import Tables
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.kernel.sockdiag import SocketOwner
from cnnf.defender.local_services import LocalServices
from cnnf.defender.netlink.nfqueue import OUTPUT

NAME = "attribution"
_SERVICE, _PROGRAM, _ANSWER, _REFRESH = "service", "program", "answer", "refresh"

_SERVER = "10.71.2.2"
_FIRST_PORT = 20_000
#: One-shot clients of each kind: one that is not found is a third of a percent.
_CLIENTS = 300
_QUESTIONS = 5_000
_UNITS, _PROCESSES = 500, 2_000
_REFRESHES = 15
#: A host's services are read anew this often (SERVICES_INTERVAL_SECONDS).
_REFRESH_SECONDS = 5.0


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    if cgroup2_mount() is None:
        raise BenchError("no cgroup v2 hierarchy is mounted; a service has no name without it")
    rows: list[Row] = []
    for case, measure in _CASES.items():
        if case in cases and time.monotonic() < deadline:
            tell(f"{NAME}-{case}")
            rows += measure()
    return rows


# --- one-shot clients


def _one_shots() -> list[Row]:
    """Clients of a service."""
    service, process = _made_by(Unit(CLIENT), f"service:{CLIENT}")
    return [
        single(f"{NAME}-{_SERVICE}-named", "share", service, Target(at_least=1.0)),
        single(f"{NAME}-{_SERVICE}-process", "share", process, Target(at_least=0.99)),
    ]


def _programs() -> list[Row]:
    """The same of no unit: a program is known by its process alone."""
    service, process = _made_by(None, "service:bash")
    return [
        single(f"{NAME}-{_PROGRAM}-named", "share", service),
        single(f"{NAME}-{_PROGRAM}-process", "share", process),
    ]


def _made_by(unit: Unit | None, name: str) -> tuple[float, float]:
    """The shares of connections whose service, and whose very process, was told right."""
    with ExitStack() as stack:
        host, *ends = stack.enter_context(netns.namespaces(5))
        network = Network(host, dict(zip("abcd", ends, strict=True)))
        stack.callback(network.end)
        if unit is not None:
            stack.callback(unit.end)
        recording = Recording(host)
        try:
            # A person is told who was alerted on: so each connection's process is looked for.
            recording.ask(
                "policy",
                policy(
                    "name: tell, effect: alert, source: [host]",
                    objects=["name: host, type: host, values: ['*']"],
                ),
            )
            last = _FIRST_PORT + _CLIENTS - 1
            script = (
                f"for port in $(seq {_FIRST_PORT} {last}); do"
                f' bash -c "exec 3<>/dev/tcp/{_SERVER}/$port" 2>/dev/null; done'
            )
            command = ("bash", "-c", script)
            started = host.start(*(unit.command(*command) if unit else command))
            started.wait(60)
            flows = [
                one for one in recording.ask("flows") if one["port"] in range(_FIRST_PORT, last + 1)
            ]
        finally:
            recording.end()
    right = {one["port"] for one in flows if one["source"] == name and one["connections"]}
    very = {
        one["port"]
        for one in flows
        if one["connections"] and one["process"].endswith(f"/{one['port']}")
    }
    return len(right) / _CLIENTS, len(very & right) / _CLIENTS


# --- the answer of a loop


def _answers() -> list[Row]:
    """From handing a SYN to the loop until its verdict is there, by a socket pair in the place of
    the queue; and the question to the kernel alone, as the Python loop asks it."""
    with ExitStack() as stack:
        namespace, silent = stack.enter_context(netns.namespaces(2))
        netns.veth(namespace, "out", silent, "in")
        namespace.address("out", "10.71.9.1/24")
        # Nobody has this address, and nobody is asked who has: the SYN waits for its answer.
        namespace.run(
            "ip", "neigh", "add", "10.71.9.2", "lladdr", "02:00:00:00:00:02", "dev", "out"
        )
        stack.enter_context(namespace.entered())
        loop = stack.enter_context(running("native"))
        waiting = stack.enter_context(socket.socket())
        waiting.bind(("10.71.9.1", 0))
        waiting.setblocking(False)
        with suppress(BlockingIOError):
            waiting.connect(("10.71.9.2", 80))
        here, there = socket.inet_aton("10.71.9.1"), socket.inet_aton("10.71.9.2")
        port = waiting.getsockname()[1]
        owner = SocketOwner()
        stack.callback(owner.close)
        found = owner.find(here, port, there, 80, 0)
        if found is None:
            raise BenchError("the connecting socket was not found")
        loop.prepare(Tables(version=1, hosts=True))
        loop.tell(NamedCgroups(put=[(found.cgroup, 0)]))
        loop.barrier()
        syn = segment(here, there, 80, source_port=port)
        answer, question = [], []
        loop.kernel.settimeout(5)
        for number in range(_QUESTIONS):
            packet = queued(number, OUTPUT, syn)
            started = time.perf_counter_ns()
            loop.kernel.send(packet)
            loop.kernel.recv(1 << 16)
            answer.append((time.perf_counter_ns() - started) / 1000)
            started = time.perf_counter_ns()
            owner.find(here, port, there, 80, 0)
            question.append((time.perf_counter_ns() - started) / 1000)
            if number % 256 == 255:
                loop.read_for(0.001)  # what it reports, so that it need not wait for us
        loop.read_for(0.5)
        told = {flow.cgroup for report in loop.reports for flow in report.flows}
        if told != {found.cgroup}:
            raise BenchError(f"the loop told of cgroups {told}, not of {found.cgroup}")
    return [
        single(f"{NAME}-{_ANSWER}-p50", "us", statistics.median(answer), Target(at_most=50.0)),
        single(f"{NAME}-{_ANSWER}-p99", "us", _high(answer)),
        single(f"{NAME}-{_ANSWER}-kernel-p50", "us", statistics.median(question)),
    ]


def _high(figures: list[float]) -> float:
    return sorted(figures)[int(len(figures) * 0.99)]


# --- a refresh


@contextmanager
def _many_services(host: Namespace) -> Iterator[list[Path]]:
    mount = cgroup2_mount()
    assert mount is not None
    slice_ = mount / "system.slice" / f"system-cnnf-bench-{os.getpid()}.slice"
    units = [slice_ / f"cnnf-bench-{number}.service" for number in range(_UNITS)]
    each = _PROCESSES // _UNITS
    started: list[subprocess.Popen[bytes]] = []
    try:
        for unit in units:
            unit.mkdir(parents=True)
            script = (
                f"echo $$ >{unit}/cgroup.procs; " + "sleep 300 & " * (each - 1) + "exec sleep 300"
            )
            started.append(host.start("sh", "-c", script))
        yield units
    finally:
        for unit in units:
            with suppress(OSError):
                (unit / "cgroup.kill").write_text("1")
        for process in started:
            process.wait()
        time.sleep(0.2)
        for path in (*units, slice_):
            with suppress(OSError):
                path.rmdir()


def _refreshes() -> list[Row]:
    """All services and listeners read anew, once everything is known."""
    with ExitStack() as stack:
        (host,) = stack.enter_context(netns.namespaces(1))
        stack.enter_context(_many_services(host))
        stack.enter_context(host.entered())
        cgroups = Cgroups(cgroup2_mount())
        services = LocalServices(cgroups, Processes(cgroups))
        stack.callback(services.close)
        deadline = time.monotonic() + 20
        while len(services.instances([])) < _UNITS:
            if time.monotonic() > deadline:
                raise BenchError(
                    f"only {len(services.instances([]))} of {_UNITS} services were seen"
                )
            time.sleep(0.1)
        taken = []
        for _ in range(_REFRESHES):
            started = time.process_time()
            services.listeners()
            services.instances([])
            taken.append(time.process_time() - started)
    cost = statistics.median(taken)
    return [
        single(f"{NAME}-{_REFRESH}-cpu", "ms", cost * 1000),
        single(f"{NAME}-{_REFRESH}-core", "share", cost / _REFRESH_SECONDS, Target(at_most=0.02)),
    ]


_CASES = {
    _SERVICE: _one_shots,
    _PROGRAM: _programs,
    _ANSWER: _answers,
    _REFRESH: _refreshes,
}

BENCHMARK = Benchmark(
    name=NAME,
    cases={_SERVICE: 15.0, _PROGRAM: 15.0, _ANSWER: 5.0, _REFRESH: 15.0},
    measure=_measure,
)
