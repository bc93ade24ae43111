"""What tests of rules by name share: servers of DNS, programs that ask them, and the rules."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.kernel.conftest import ROOT, Network, Recording, wait_until_clean
from tests.kernel.stage import policy
from tests.lab.netns import Namespace

COUNT = 200
INSIDE = ("10.71.3.0/24", "fd71:3::/64")
SERVER, SERVER6 = Network.ADDRESSES["b"]
#: Nobody has configured this one.
OWN_SERVER = Network.ADDRESSES["a"][0]
HERE = Network.HOST["a"][0]
#: Where systemd-resolved answers the programs of a host.
LOCAL = "127.0.0.53"
#: All of it is `b`'s; a name has an address of its own.
POOL, POOL6 = "198.18.0.0/23", "fd71:f::/64"
PAID = {f"n{at}.pay.example": f"198.18.0.{at}" for at in range(COUNT)}
ZONE: dict[str, list[list[object]]] = {
    **{name: [["A", 60, address]] for name, address in PAID.items()},
    "www.pay.example": [["CNAME", 60, "edge.cdn.example"]],
    "edge.cdn.example": [["A", 60, "198.18.1.1"]],
    "short.pay.example": [["A", 0, "198.18.1.2"]],
    "pay.example": [["A", 60, "198.18.1.3"]],
    "more.pay.example": [["A", 60, "198.18.1.4"]],
    "other.example": [["A", 60, "198.18.1.4"]],
    "both.pay.example": [["A", 60, "198.18.1.5"], ["AAAA", 60, "fd71:f::5"]],
    # Its last address is the one that is connected to; in 4,096 bytes, and in more than are copied.
    "big.pay.example": [["A", 60, f"198.18.1.{at}"] for at in range(6, 246)],
    "huge.pay.example": [["A", 60, f"198.18.1.{at % 240}"] for at in range(300)]
    + [["A", 60, "198.18.1.250"]],
    "many.pay.example": [["A", 60, f"198.19.{at // 250}.{at % 250}"] for at in range(255)]
    + [["A", 60, "198.18.1.246"]],
    # Over UDP cut after the first address.
    "cut.pay.example": [["CUT", 0, ""], ["A", 60, "198.18.1.247"], ["A", 60, "198.18.1.248"]],
    # Whatever stands before it.
    "*.flood.pay.example": [["A", 60, "198.18.1.249"]],
}
NAMES = "name: payments, type: dns, values: ['*.pay.example']"
DNS = "name: dns, ports: ['53'], effect: allow"
ONLY = (DNS, "name: pay, destination: [payments], effect: allow", "name: rest, effect: prevent")
NEVER = ("name: never, destination: [payments], effect: prevent",)


class Client:
    """A program that resolves and connects, within a namespace."""

    def __init__(self, where: Namespace, wrap: Callable[..., tuple[str, ...]] | None) -> None:
        command = (sys.executable, "-m", "tests.kernel.resolving")
        self._process = where.start(
            *(wrap(*command) if wrap else command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def tell(self, *command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self, *command: str) -> Any:
        self.tell(*command)
        return self.answer()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def serving(where: Namespace, *command: str) -> Iterator[None]:
    process = where.start(sys.executable, "-m", *command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"serving\n"
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def resolving(network: Network, directory: Path) -> Iterator[Network]:
    """`b` resolves and is connected to; `a` and the host resolve, too."""
    zone = directory / "zone.json"
    zone.write_text(json.dumps(ZONE))
    ends = network.ends
    ends["b"].run("ip", "route", "add", "local", POOL, "dev", "lo")
    network.host.run("ip", "route", "add", POOL, "via", SERVER)
    ends["b"].run("ip", "route", "add", "local", POOL6, "dev", "lo")
    network.host.run("ip", "route", "add", POOL6, "via", SERVER6)
    with ExitStack() as stack:
        for where, address in (
            (ends["b"], SERVER),
            (ends["b"], SERVER6),
            (ends["a"], OWN_SERVER),
            (network.host, HERE),
            (network.host, LOCAL),
        ):
            stack.enter_context(serving(where, "tests.kernel.nameserver", address, str(zone)))
        stack.enter_context(serving(ends["b"], "tests.kernel.resolving", "echo"))
        yield network


@contextmanager
def recording(network: Network, **options: Any) -> Iterator[Recording]:
    made = Recording(network.host, networks=INSIDE, resolvers=[SERVER, SERVER6], **options)
    try:
        yield made
    finally:
        made.end()
        wait_until_clean(network.host)


@contextmanager
def client(network: Network, name: str) -> Iterator[Client]:
    """One in a container's namespace, or of a service of the host."""
    host = name == "host"
    where = network.host if host else network.ends[name]
    made = Client(where, network.unit.command if host else None)
    try:
        yield made
    finally:
        made.end()


def use(made: Recording, *rules: str) -> None:
    """The same rules for both."""
    for name in "cd":
        # Nobody is waited for.
        made.ask("container", name, f"{name}:1", 0, list(Network.ADDRESSES[name]))
    containers = [rule.replace("name: ", "name: container ", 1) for rule in rules]
    made.ask("policy", policy(*rules, objects=[NAMES], containers=containers))
