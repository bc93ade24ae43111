"""A container that talks past the hooks is found; one that is seen, or talks to itself, is not."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cnnf.defender.core.coverage import Coverage
from cnnf.defender.kernel import coverage as adapter
from cnnf.defender.kernel import namespaces
from tests.lab import netns
from tests.lab.netns import Namespace, veth

pytestmark = pytest.mark.kernel

#: What the Defender's hooks see, in short: SYNs that the host forwards, by where they come from.
HOOKS = """
add table inet seen
add chain inet seen c { type filter hook forward priority 0; }
add counter inet seen normal
add counter inet seen hidden
add rule inet seen c ip saddr 10.73.1.2 tcp flags & (syn|ack) == syn counter name normal
add rule inet seen c ip saddr 10.73.9.3 tcp flags & (syn|ack) == syn counter name hidden
"""
LAG = 0.3


class Estate:
    """A host with a routed container (`normal`), one with a macvlan on a device of the host's
    (`hidden`), one that has a loopback only (`inward`), and a server beyond the host."""

    def __init__(self, cleanup: ExitStack, made: list[Namespace]) -> None:
        self.host, self.normal, self.hidden, self.inward, self.server = made
        veth(self.host, "to1", self.normal, "eth0")
        veth(self.host, "up0", self.server, "eth0")
        self.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.host.address("to1", "10.73.1.1/24")
        self.host.address("up0", "10.73.9.1/24")
        self.normal.address("eth0", "10.73.1.2/24")
        self.normal.run("ip", "route", "add", "default", "via", "10.73.1.1")
        self.server.address("eth0", "10.73.9.2/24")
        self.server.run("ip", "route", "add", "default", "via", "10.73.9.1")
        self.host.run(
            *("ip", "link", "add", "mac0", "link", "up0", "netns", self.hidden.name),
            *("type", "macvlan", "mode", "bridge"),
        )
        self.hidden.address("mac0", "10.73.9.3/24")
        self.host.run("nft", HOOKS.strip().replace("\n", "; ").replace(";;", ";"))
        self.pids = {}
        for name in ("normal", "hidden", "inward"):
            process = getattr(self, name).start("sleep", "300")
            cleanup.callback(process.wait)
            cleanup.callback(process.kill)
            netns.wait_until_entered(process.pid)
            self.pids[name] = process.pid
        with self.server.entered():
            self._listener = cleanup.enter_context(socket.create_server(("10.73.9.2", 80)))
        with self.inward.entered():
            self._inner = cleanup.enter_context(socket.create_server(("127.0.0.1", 80)))

    def talk(self, name: str, count: int) -> None:
        """Make connections from a container."""
        where: Namespace = getattr(self, name)
        listener = self._inner if name == "inward" else self._listener
        address = listener.getsockname()
        for _ in range(count):
            with where.entered():
                client = socket.socket()
            with client:
                client.settimeout(3)
                client.connect(address)
                listener.accept()[0].close()

    def seen(self, name: str) -> int:
        """SYNs of a container that the hooks have met."""
        words = self.host.run("nft", "list", "counter", "inet", "seen", name).split()
        return int(words[words.index("packets") + 1])


@pytest.fixture
def estate() -> Iterator[Estate]:
    """The containers."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    with netns.namespaces(5) as made, ExitStack() as cleanup:
        yield Estate(cleanup, made)


def test_only_the_one_past_the_hooks_is_found(estate: Estate) -> None:
    ids = {name: namespaces.id_of(pid) for name, pid in estate.pids.items()}
    coverage = Coverage(LAG)

    def feed() -> None:
        for namespace, opened in adapter.read(estate.pids.values()).items():
            coverage.feed(namespace, opened, time.monotonic())

    feed()
    for name, count in (("normal", 30), ("hidden", 20), ("inward", 40)):
        estate.talk(name, count)
    feed()
    # Reports come later than the connections.
    assert estate.seen("normal") == 30
    coverage.seen(ids["normal"], 30, time.monotonic())
    assert estate.seen("hidden") == 0
    time.sleep(LAG)
    (found,) = coverage.unobserved(time.monotonic())
    assert (found.namespace, found.at_least) == (ids["hidden"], 20)


def test_attempts_that_fail_are_not_taken_for_traffic(estate: Estate) -> None:
    coverage = Coverage(0)

    def read() -> None:
        for namespace, opened in adapter.read([estate.pids["normal"]]).items():
            coverage.feed(namespace, opened, time.monotonic())

    read()
    with estate.normal.entered():
        for address, port in (("10.73.9.2", 81), ("10.73.1.99", 80), ("127.0.0.1", 9)):
            with socket.socket() as client:
                # Refused by the server; a neighbour that is not there; refused by itself.
                client.settimeout(4)
                with pytest.raises(OSError, match=r"."):
                    client.connect((address, port))
    coverage.seen(namespaces.id_of(estate.pids["normal"]), 1, time.monotonic())
    read()
    assert coverage.unobserved(time.monotonic()) == []


def test_ways_out_are_named(estate: Estate) -> None:
    assert adapter.ways_out(estate.pids["hidden"]) == ("mac0 (macvlan)",)
    assert adapter.ways_out(estate.pids["normal"]) == ()
    assert adapter.ways_out(2**22 + 1) == ()


def test_a_process_that_is_gone_is_passed_by(estate: Estate) -> None:
    read = adapter.read([2**22 + 1, *estate.pids.values(), os.getpid()])
    assert len(read) == 4
    assert namespaces.own_id() in read
