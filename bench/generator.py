"""The load generator and its server: built from connect.c when needed, run in a namespace."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.lab.netns import Namespace

from bench import programs
from bench.errors import BenchError

LAST = 10_000
#: What the generator may take beyond its own time: its start, and 3 s for what is in flight.
_SLACK_SECONDS = 10.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where connections go: `addresses` consecutive ones from `address` on, the same for ports."""

    address: str
    port: int
    addresses: int = 1
    ports: int = 1


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One run's figures as the generator prints them; latencies in microseconds."""

    connections: int
    seconds: float
    p50_us: float
    p99_us: float
    max_us: float
    failures: int
    error: str
    #: When the last ones that came to stand were begun, by the wall clock, where that was asked.
    last_begun_ns: tuple[int, ...] = ()

    @property
    def rate(self) -> float:
        """Connections a second."""
        return self.connections / self.seconds


@contextmanager
def serving(namespace: Namespace, port: int, ports: int) -> Iterator[None]:
    """A server on `ports` ports from `port` on, until the end. Raises BenchError."""
    command = (str(_program()), "serve", "--port", str(port), "--ports", str(ports))
    with programs.running(namespace, *command):
        yield


def load(
    namespace: Namespace,
    target: Target,
    *,
    in_flight: int,
    seconds: float,
    connections: int = 0,
    offset: int = 0,
    cgroup: Path | None = None,
) -> Load:
    """Open connections for `seconds`, at most `connections` (0: no limit); see connect.c.

    Raises BenchError when one failed: what is then measured is something else.
    """
    more = ["--offset", str(offset)]
    if connections:
        more += ["--connections", str(connections)]
    if cgroup is not None:
        more += ["--cgroup", str(cgroup)]
    with _started(namespace, target, in_flight, seconds, more) as process:
        result = _result(process, seconds)
    if result.failures or not result.connections:
        raise BenchError(
            f"{result.failures} of {result.connections + result.failures} connections to "
            f"{target.address} port {target.port} failed: {result.error or 'none was made'}"
        )
    return result


class Steady:
    """Connections that go on until `stop`; failures are counted, not raised."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def stop(self) -> Load:
        """End it and hear what it did. Raises BenchError when it has nothing to tell."""
        self._process.terminate()
        return _result(self._process, 0.0)


@contextmanager
def steady(
    namespace: Namespace, target: Target, *, rate: int, seconds: float, cgroup: Path
) -> Iterator[Steady]:
    """`rate` connections a second, one at a time, until stopped or for `seconds`.

    However many fail, and with the times when the last LAST of the others were begun.
    """
    more = ["--rate", str(rate), "--cgroup", str(cgroup), "--last", str(LAST)]
    more += ["--failures", str(round(rate * seconds))]
    with _started(namespace, target, 1, seconds, more) as process:
        yield Steady(process)


@contextmanager
def _started(
    namespace: Namespace, target: Target, in_flight: int, seconds: float, more: list[str]
) -> "Iterator[subprocess.Popen[bytes]]":
    # Not in our session: a Ctrl-C is for us, who then end it.
    process = namespace.start(
        *("setpriv", "--pdeathsig", "KILL", str(_program()), "load"),
        *("--address", target.address, "--addresses", str(target.addresses)),
        *("--port", str(target.port), "--ports", str(target.ports)),
        *("--in-flight", str(in_flight), "--seconds", str(seconds), *more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _result(process: "subprocess.Popen[bytes]", seconds: float) -> Load:
    try:
        output, complaint = process.communicate(timeout=seconds + _SLACK_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BenchError("the load generator did not end in time") from error
    if process.returncode != 0:
        raise BenchError(complaint.decode(errors="replace").strip() or "the load generator failed")
    return msgspec.json.decode(output, type=Load)


def _program() -> Path:
    return programs.compiled("connect")
