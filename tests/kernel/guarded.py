"""A host that cnnf guards, a neighbour that never stops connecting to it, and what is promised.

For tests that inject a fault: the policy prevents a range of the host's ports, all else is allowed.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.kernel.conftest import ROOT, TRAFFIC, failed, wait_until_clean
from tests.lab import netns
from tests.lab.netns import Namespace, veth
from tests.lab.product import Product, eventually
from tests.lab.units import Unit

HOST, PEER = "10.74.1.1", "10.74.1.2"
#: The host's service; every port of its listens.
SERVER = "kg-server"
OPEN, BARRED = range(7400, 7460), range(7500, 7560)

POLICY = f"""
apiVersion: cnnf/v1
networkObjects:
  - {{name: this, type: host, values: ["*"]}}
rules:
  hosts:
    - {{name: barred, destination: [this], ports: ["{BARRED[0]}-{BARRED[-1]}"], effect: prevent}}
"""


#: A loop reports within a quarter of a second, the kernel is read every 2 s, and what nobody told
#: of is certain the time after.
COUNTED_S = 30.0


class Connection(NamedTuple):
    """One connection of a stream; times are of `time.monotonic()`."""

    port: int
    began: float
    ended: float
    outcome: str


class Stream:
    """The neighbour's client, for as long as the test lets it."""

    def __init__(self, where: Namespace, log: Path, *options: str, to: str = HOST) -> None:
        self._log = log
        *flags, lanes = options
        command = (TRAFFIC[0], "-m", "tests.kernel.stream", *flags, to, *lanes.split())
        with log.open("wb") as output:
            self._process = where.start(*command, stdout=output, cwd=ROOT)

    def since(self, moment: float, ports: range | None = None) -> list[Connection]:
        """The connections that began after a moment, so far."""
        lines = [line.split() for line in self._log.read_text().splitlines(keepends=True)
                 if line.endswith("\n")]  # fmt: skip
        made = [Connection(int(a), float(b), float(c), d) for a, b, c, d in lines]
        return sorted(
            (one for one in made if one.began >= moment and (not ports or one.port in ports)),
            key=lambda one: one.began,
        )

    def outcomes(self, moment: float = 0, ports: range | None = None) -> set[str]:
        """How those went."""
        return {one.outcome for one in self.since(moment, ports)}

    def end(self) -> None:
        """Connect no more; what was begun is written down first."""
        self._process.terminate()
        self._process.wait(20)


class Guarded:
    """The host and its neighbour; cnnf is started by the test."""

    def __init__(self, here: Namespace, peer: Namespace, place: Path) -> None:
        self.here, self.peer, self.place = here, peer, place
        self.policy = place / "policy.yaml"
        self.policy.write_text(POLICY)
        veth(here, "eth0", peer, "eth0")
        here.address("eth0", f"{HOST}/24", "fd74:1::1/64")
        peer.address("eth0", f"{PEER}/24", "fd74:1::2/64")
        self._server = Unit(SERVER)
        self._streams: list[Stream] = []
        serve = (*TRAFFIC, "serve", "0.0.0.0", *map(str, (*OPEN, *BARRED)))
        server = self._server.start(here, *serve, stdout=subprocess.PIPE, cwd=ROOT)
        assert server.stdout is not None
        assert server.stdout.readline() == b"serving\n"

    def product(self, *options: str) -> Product:
        """cnnf on this host; not started."""
        return Product(self.here, self.place / "data", "--policy", str(self.policy), *options)

    def stream(self, lanes: str, *flags: str) -> Stream:
        """Begin to connect, in every lane at once."""
        log = self.place / f"stream{len(self._streams)}.log"
        self._streams.append(Stream(self.peer, log, *flags, lanes))
        return self._streams[-1]

    def connect(self, count: int, *ports: int) -> None:
        """So many connections from the neighbour, every one a success."""
        command = (*TRAFFIC, "connect", str(count), HOST, *map(str, ports))
        assert failed(self.peer.start(*command, stdout=subprocess.PIPE, cwd=ROOT)) == 0

    def end(self) -> None:
        """End all traffic."""
        for stream in self._streams:
            stream.end()
        self._server.end()


@contextmanager
def guarded(place: Path) -> Iterator[Guarded]:
    """The host, removed afterwards."""
    netns.remove_stale()
    with ExitStack() as cleanup:
        here, peer = cleanup.enter_context(netns.namespaces(2))
        made = Guarded(here, peer, place)
        cleanup.callback(made.end)
        yield made


@contextmanager
def running(guarded: Guarded, *options: str) -> Iterator[Product]:
    """cnnf enabled, stopped afterwards with nothing left behind."""
    product = guarded.product(*options)
    try:
        product.start()
        yield product
        assert product.stop() == 0
    finally:
        product.end()
    wait_until_clean(guarded.here)
    assert not [pid for pid in guarded.here.processes() if _is_cnnf(pid)]


def conditions(product: Product) -> dict[str, str]:
    """The messages of the conditions that stand, by code."""
    return {one["code"]: one["message"] for one in product.get("/defenders")[0]["conditions"]}


def tells(product: Product, code: str, *words: str, within_s: float = 8.0) -> None:
    """Wait until a condition stands, with these words in its message."""
    found: dict[str, str] = {}

    def stands() -> bool:
        found.update(conditions(product))
        return code in found and all(word in found[code] for word in words)

    try:
        eventually(stands, within_s, f"condition {code}")
    except AssertionError as error:
        raise AssertionError(f"{error}, with {words} in it; there was {found}") from error


def counted(product: Product) -> dict[int, dict[str, Any]]:
    """What Radar shows of connections from the neighbour to the service, by port."""
    edges = product.radar("hosts").edges
    return {key[2]: port for key, port in edges.items() if key[:2] == (PEER, SERVER)}


def total(product: Product, ports: range) -> int:
    """Connections to these ports on Radar, whatever became of them."""
    return sum(one["connections"] for port, one in counted(product).items() if port in ports)


def counts(product: Product, ports: range, made: int) -> None:
    """Wait until Radar shows so many connections to these ports, and no more."""
    seen = -1
    until = time.monotonic() + COUNTED_S
    while seen != made:
        assert time.monotonic() < until, f"{made} connections were made, Radar shows {seen}"
        seen = total(product, ports)


def rules(here: Namespace) -> str:
    """Our table as it stands, without what changes by itself."""
    return here.run("nft", "-s", "list", "table", "inet", "cnnf")


def first(
    stream: Stream, after: float, holds: Callable[[Connection], bool], within_s: float
) -> Connection:
    """The first connection begun after a moment of which this is true."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for one in stream.since(after):
            if holds(one):
                return one
        time.sleep(0.02)
    raise AssertionError(f"no such connection within {within_s} s: {stream.since(after)[-5:]}")


def _is_cnnf(pid: int) -> bool:
    try:
        return b"cnnf" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
