"""Rules by names: the connection right after the answer is judged by what the answer says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import ROOT, Network, Recording, wait_until_clean
from tests.kernel.stage import policy, until
from tests.lab.netns import Namespace

COUNT = 200
INSIDE = ("10.71.3.0/24", "fd71:3::/64")
SERVER = Network.ADDRESSES["b"][0]
#: Nobody has configured this one.
OWN_SERVER = Network.ADDRESSES["a"][0]
HERE = Network.HOST["a"][0]
#: All of it is `b`'s; a name has an address of its own.
POOL = "198.18.0.0/23"
PAID = {f"n{at}.pay.example": f"198.18.0.{at}" for at in range(COUNT)}
ZONE: dict[str, list[list[object]]] = {
    **{name: [["A", 60, address]] for name, address in PAID.items()},
    "www.pay.example": [["CNAME", 60, "edge.cdn.example"]],
    "edge.cdn.example": [["A", 60, "198.18.1.1"]],
    "short.pay.example": [["A", 0, "198.18.1.2"]],
    "pay.example": [["A", 60, "198.18.1.3"]],
    "more.pay.example": [["A", 60, "198.18.1.4"]],
    "other.example": [["A", 60, "198.18.1.4"]],
}
NAMES = "name: payments, type: dns, values: ['*.pay.example']"
DNS = "name: dns, ports: ['53'], effect: allow"
ONLY = (DNS, "name: pay, destination: [payments], effect: allow", "name: rest, effect: prevent")
NEVER = ("name: never, destination: [payments], effect: prevent",)

Run = Callable[..., tuple["Client", Recording]]


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


@pytest.fixture
def estate(network: Network, tmp_path: Path) -> Iterator[Network]:
    """`b` resolves and is connected to; `a` and the host resolve, too."""
    zone = tmp_path / "zone.json"
    zone.write_text(json.dumps(ZONE))
    ends = network.ends
    ends["b"].run("ip", "route", "add", "local", POOL, "dev", "lo")
    network.host.run("ip", "route", "add", POOL, "via", SERVER)
    with ExitStack() as stack:
        for where, address in ((ends["b"], SERVER), (ends["a"], OWN_SERVER), (network.host, HERE)):
            stack.enter_context(serving(where, "tests.kernel.nameserver", address, str(zone)))
        stack.enter_context(serving(ends["b"], "tests.kernel.resolving", "echo"))
        yield network


@contextmanager
def recording(network: Network, **options: Any) -> Iterator[Recording]:
    made = Recording(network.host, networks=INSIDE, resolvers=[SERVER], **options)
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
        made.ask("container", name, f"{name}:1", 0, [Network.ADDRESSES[name][0]])
    containers = [rule.replace("name: ", "name: container ", 1) for rule in rules]
    made.ask("policy", policy(*rules, objects=[NAMES], containers=containers))


@pytest.fixture(params=["native", "python"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("who", ["host", "c"])
def test_the_first_connection_is_let_through(estate: Network, loop: str, who: str) -> None:
    with recording(estate, loop=loop) as made, client(estate, who) as asking:
        use(made, *ONLY)
        some = list(PAID.values())[:20]
        # Nothing of this may be remembered.
        assert asking.ask("try", *some, *some) == ["refused"] * 40
        assert asking.ask("reach", SERVER, *PAID) == ["answered"] * COUNT
        waited_ms, told = made.ask("waited")
        assert told == COUNT
        assert waited_ms < 100
        assert asking.ask("try", "198.18.1.3") == ["refused"]


@pytest.mark.parametrize("who", ["host", "c"])
def test_the_first_connection_is_refused(estate: Network, loop: str, who: str) -> None:
    with recording(estate, loop=loop) as made, client(estate, who) as asking:
        use(made, *NEVER)
        assert asking.ask("try", *[*PAID.values()] * 2) == ["answered"] * COUNT * 2
        assert asking.ask("reach", SERVER, *PAID) == ["refused"] * COUNT
        # Once there is no such rule, nobody waits any more, and it is over.
        use(made)
        before = made.ask("waited")
        assert asking.ask("reach", SERVER, *PAID) == ["answered"] * COUNT
        assert made.ask("waited") == before
        # Names from before a policy count in it.
        use(made, *NEVER)
        assert asking.ask("try", *PAID.values()) == ["refused"] * COUNT


def test_which_names_an_object_has(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking, client(estate, "d") as other:
        use(made, *ONLY)
        # An alias counts by what was asked for; what stands before the name has to be there.
        assert asking.ask("reach", SERVER, "www.pay.example") == ["answered"]
        assert asking.ask("reach", SERVER, "pay.example", "edge.cdn.example") == [
            "refused",
            "answered",
        ]
        # Another one was not told, or by another name.
        assert asking.ask("reach", SERVER, "more.pay.example", "other.example") == ["answered"] * 2
        assert other.ask("try", "198.18.1.1") == ["refused"]
        assert other.ask("reach", SERVER, "other.example", "edge.cdn.example") == ["refused"] * 2


def test_whose_answers_count(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking:
        use(made, *ONLY)
        assert asking.ask("reach", OWN_SERVER, "n1.pay.example") == ["refused"]
        forged = (
            "forge",
            Network.ADDRESSES["c"][0],
            "40000",
            "n2.pay.example",
            PAID["n2.pay.example"],
        )
        lookup = (sys.executable, "-m", "tests.lab.lookup", *forged)
        estate.ends["d"].run("env", "-C", str(ROOT), *lookup)
        assert asking.ask("try", PAID["n2.pay.example"]) == ["refused"]
        # A program of the host's own, and the one that was stated.
        assert asking.ask("reach", HERE, "n1.pay.example") == ["answered"]
        assert asking.ask("reach", SERVER, "n2.pay.example") == ["answered"]


def test_a_name_ends_and_what_lives_stays(estate: Network) -> None:
    with recording(estate, name_ttl_ms=300) as made, client(estate, "c") as asking:
        use(made, *ONLY)
        assert asking.ask("reach", SERVER, "short.pay.example") == ["answered"]
        asking.ask("keep", "198.18.1.2")
        assert asking.ask("still")
        time.sleep(0.35)
        made.ask("expire")
        assert asking.ask("try", "198.18.1.2") == ["refused"]
        assert asking.ask("still")
        assert asking.ask("reach", SERVER, "short.pay.example") == ["answered"]


def test_a_container_s_other_address_and_its_next_owner(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking, client(estate, "d") as other:
        use(made, *ONLY)
        addresses = [Network.ADDRESSES[name][0] for name in "cd"]
        assert asking.ask("reach", SERVER, "n1.pay.example") == ["answered"]
        assert other.ask("try", PAID["n1.pay.example"]) == ["refused"]
        # Both namespaces are as it were one container's.
        made.ask("container", "c", "c:1", 0, addresses)
        made.ask("container", "d", "d:1", 0, [])
        assert other.ask("try", PAID["n1.pay.example"]) == ["answered"]
        made.ask("container", "c", "c:1", 0, addresses[:1])
        made.ask("container", "d", "d:1", 0, addresses[1:])
        assert other.ask("try", PAID["n1.pay.example"]) == ["refused"]
        assert asking.ask("try", PAID["n1.pay.example"]) == ["answered"]


def test_an_answer_waits_no_longer_than_it_may(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking:
        use(made, *NEVER)
        # Loops that say nothing: the answer comes all the same.
        for pid in made.loops:
            os.kill(pid, signal.SIGSTOP)
        try:
            asking.tell("reach", SERVER, "n1.pay.example")
            until(lambda: made.ask("waited")[1] > 0, 5, "the answer has been read")
            time.sleep(0.2)
            assert 90 < made.ask("waited")[0] < 400
        finally:
            for pid in made.loops:
                os.kill(pid, signal.SIGCONT)
        assert asking.answer() == ["refused"]


@pytest.mark.parametrize("fail_closed", [False, True])
def test_when_nobody_reads(estate: Network, fail_closed: bool) -> None:
    made = Recording(estate.host, networks=INSIDE, resolvers=[SERVER], fail_closed=fail_closed)
    with client(estate, "c") as asking:
        use(made, *NEVER)
        os.kill(made.pid, signal.SIGKILL)
        made._process.communicate()
        try:
            asking.tell("reach", SERVER, "n1.pay.example")
            if not fail_closed:
                assert asking.answer() == ["answered"]
        finally:
            estate.host.run("nft", "delete", "table", "inet", "cnnf")
