"""The small network with a peer in every place, and what tests of verdicts ask of it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from tests.kernel.conftest import ROOT, Network, Recording, wait_until_clean
from tests.lab import netns
from tests.lab.netns import Namespace
from tests.lab.units import Unit

#: How the host's own programs are named: units, and a program that belongs to none.
CLIENT, SERVER, PROGRAM = "kernel-test-client", "kernel-test-server", "tests.kernel.peer"

#: A refusal must be there within so many milliseconds.
REFUSED_MS = 100.0
#: How long a client waits for what does not come: less than a SYN takes to be sent again (1 s).
SILENT_SECONDS = 0.5

Target = tuple[str, int]


class Peer:
    """`tests.kernel.peer` in a namespace."""

    def __init__(self, namespace: Namespace, unit: Unit | None = None) -> None:
        command = (sys.executable, "-m", "tests.kernel.peer")
        self._process = namespace.start(
            *(unit.command(*command) if unit else command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._asked = 0

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def tell(self, command: str, *arguments: Any) -> None:
        """Begin a command; `answer` gives what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The oldest command's answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the peer ended"
        return json.loads(line)

    def ask(self, command: str, *arguments: Any) -> Any:
        """One command's answer."""
        self.tell(command, *arguments)
        return self.answer()

    def connect(self, *targets: Target, count: int = 1, **options: Any) -> list[list[str]]:
        """The outcomes of `count` attempts at each target."""
        return [
            [outcome for outcome, _ in tries]
            for tries in self.timed(*targets, count=count, **options)
        ]

    def timed(
        self, *targets: Target, count: int = 1, **options: Any
    ) -> list[list[tuple[str, float]]]:
        """The same with the milliseconds that each took."""
        found: list[list[tuple[str, float]]] = self.ask("connect", targets, count, options)
        return found

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


class Way(NamedTuple):
    """From one place to another: which hook judges it, and how flows call its ends."""

    hook: str
    client: str
    server: str


#: Peers: ends of the network, the host's two units, and its program that belongs to none.
WAYS = (
    Way("forward", "a", "b"),
    Way("input", "a", "server"),
    Way("output by unit", "client", "b"),
    Way("output by program", "program", "b"),
    Way("bridge", "c", "d"),
)


class Stage:
    """The network, its peers, and the Defender's kernel side where one is wanted."""

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        host, *ends = cleanup.enter_context(netns.namespaces(5))
        self.network = Network(host, dict(zip("abcd", ends, strict=True)))
        cleanup.callback(self.network.end)
        self.host = host
        self.peers: dict[str, Peer] = {}
        for name, namespace in self.network.ends.items():
            self._add(name, namespace, None)
        for name, unit in (("client", Unit(CLIENT)), ("server", Unit(SERVER))):
            # After its processes, whose end is asked for later and so comes before.
            cleanup.callback(unit.end)
            self._add(name, host, unit)
        self._add("program", host, None)

    def _add(self, name: str, namespace: Namespace, unit: Unit | None) -> None:
        self.peers[name] = Peer(namespace, unit)
        self._cleanup.callback(self.peers[name].end)

    def namespace(self, name: str) -> Namespace:
        """Where a peer is."""
        return self.network.ends.get(name, self.host)

    def address(self, way: Way, family: int) -> str:
        """The address that a way leads to; family 0 is IPv4, 1 IPv6."""
        if way.server == "server":
            return str(Network.HOST[way.client][family])
        return str(Network.ADDRESSES[way.server][family])

    def listen(self, *ports: int, protocol: str = "tcp") -> None:
        """Every server listens there, for both families."""
        for name in ("b", "d", "server"):
            self.peers[name].ask("listen", "", ports, protocol)

    def served(self) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
        """Accepted connections and received bytes so far, by server."""
        return {name: tuple(self.peers[name].ask("served")) for name in ("b", "d", "server")}

    @contextmanager
    def recording(self, **options: Any) -> Iterator[Recording]:
        """The Defender's kernel side, for a while."""
        made = Recording(self.host, networks=Network.NETWORKS, **options)
        try:
            yield made
        finally:
            made.end()
            wait_until_clean(self.host)


@contextmanager
def made_stage() -> Iterator[Stage]:
    """A stage, removed afterwards."""
    netns.remove_stale()
    with ExitStack() as cleanup:
        yield Stage(cleanup)


def policy(*rules: str, objects: Iterable[str] = (), containers: Iterable[str] = ()) -> str:
    """A policy of rules for hosts, each a line of YAML's flow form."""
    lines = ["apiVersion: cnnf/v1"]
    for name, given in (("networkObjects", list(objects)),):
        lines += [f"{name}:", *(f"  - {{{one}}}" for one in given)] if given else []
    lines.append("rules:")
    for name, given in (("containers", list(containers)), ("hosts", list(rules))):
        lines += [f"  {name}:", *(f"    - {{{one}}}" for one in given)] if given else []
    return "\n".join(lines) + "\n"


def until(holds: Any, seconds: float, what: str) -> None:
    """Wait for something that comes by itself. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
