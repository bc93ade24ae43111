"""Living connections are cut at both of their ends, at once, and no other is touched."""

import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from cnnf.defender.core.cutting import Living, decide
from cnnf.defender.kernel import cutting
from cnnf.defender.kernel.cutting import CutReport
from tests.lab import netns
from tests.lab.netns import Namespace, veth

pytestmark = pytest.mark.kernel

CLIENT, SERVER, OUTSIDE = "10.72.1.2", "10.72.2.2", "10.72.3.2"
CLIENT6, SERVER6 = "fd72:1::2", "fd72:2::2"
HOST = "10.72.1.1"

#: The host translates port 8080 of its own to the server, and the server's clients' addresses.
RULES = f"""
add table ip nat
add chain ip nat pre {{ type nat hook prerouting priority -100; }}
add chain ip nat post {{ type nat hook postrouting priority 100; }}
add rule ip nat pre ip daddr {HOST} tcp dport 8080 dnat to {SERVER}:80
add rule ip nat post tcp dport 81 masquerade
add table inet watching
add chain inet watching c {{ type filter hook forward priority 0; }}
add rule inet watching c ct state new accept
add rule inet watching c ct mark and 0x1000 == 0x1000 reject with tcp reset
"""


class Connection:
    """A living connection and both of its sockets."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server

    def works(self) -> bool:
        """Do bytes pass both ways?"""
        for one, other in ((self.client, self.server), (self.server, self.client)):
            one.settimeout(2)
            other.settimeout(2)
            try:
                one.sendall(b"x")
                if other.recv(1) != b"x":
                    return False
            except OSError:
                return False
        return True

    def ended_after_ms(self) -> float:
        """Until both ends have noticed; more than 2,000 when one has not."""
        started = time.monotonic()
        poll = select.poll()
        for one in (self.client, self.server):
            poll.register(one, select.POLLERR | select.POLLHUP)
        waiting = 2
        while waiting and time.monotonic() - started < 2:
            for descriptor, _ in poll.poll(50):
                poll.unregister(descriptor)
                waiting -= 1
        return (time.monotonic() - started) * 1000 + (10_000 if waiting else 0)


class Estate:
    """A host that routes between a client, a server and the outside; the first two as containers:
    the host knows them by a process."""

    def __init__(self, cleanup: ExitStack, host: Namespace, ends: list[Namespace]) -> None:
        self.host = host
        self.client, self.server, self.outside = ends
        self._cleanup = cleanup
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for namespace in (host, *ends):
            for name in ("all", "default"):
                namespace.run("sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0")
        for number, end in enumerate(ends, 1):
            veth(host, f"to{number}", end, "eth0")
            host.address(f"to{number}", f"10.72.{number}.1/24", f"fd72:{number}::1/64")
            end.address("eth0", f"10.72.{number}.2/24", f"fd72:{number}::2/64")
            end.run("ip", "route", "add", "default", "via", f"10.72.{number}.1")
            end.run("ip", "-6", "route", "add", "default", "via", f"fd72:{number}::1")
        subprocess.run(host.command("nft", "-f", "-"), input=RULES.encode(), check=True)
        self.pids = []
        for end in (self.client, self.server):
            process = end.start("sleep", "300")
            cleanup.callback(process.wait)
            cleanup.callback(process.kill)
            netns.wait_until_entered(process.pid)
            self.pids.append(process.pid)

    def listen(self, where: Namespace, address: str, port: int) -> socket.socket:
        """A listener in a namespace."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with where.entered():
            sock = self._cleanup.enter_context(socket.socket(family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(2048)
        return sock

    def connect(
        self, where: Namespace, address: str, port: int, listener: socket.socket
    ) -> Connection:
        """A connection that works."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with where.entered():
            client = self._cleanup.enter_context(socket.socket(family))
        client.settimeout(2)
        client.connect((address, port))
        server = self._cleanup.enter_context(listener.accept()[0])
        made = Connection(client, server)
        assert made.works()
        return made

    def cut(
        self, is_prevented: Callable[[Living], bool], *, refuse_mark: int = 0, udp: bool = False
    ) -> CutReport:
        """What the Defender does on the host."""
        with self.host.entered():
            found = cutting.survey(self.pids, udp=udp)
            assert found.unread == {}
            decided = decide(
                found.rooms, found.tracked, lambda one: "rule" if is_prevented(one) else None
            )
            assert decided.ambiguous == []
            return cutting.cut(decided.cuts, refuse_mark=refuse_mark)

    def entries(self) -> str:
        """The host's conntrack."""
        return self.host.run("conntrack", "-L", check=False)


@pytest.fixture
def estate() -> Iterator[Estate]:
    """The small network."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    with netns.namespaces(4) as (host, *ends), ExitStack() as cleanup:
        yield Estate(cleanup, host, ends)


def to_port(port: int) -> Callable[[Living], bool]:
    """A rule that refuses a port."""
    return lambda living: living.port == port


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_both_ends_are_cut_and_others_stay(estate: Estate, address: str) -> None:
    web = estate.listen(estate.server, address, 80)
    other = estate.listen(estate.server, address, 90)
    meant = [estate.connect(estate.client, address, 80, web) for _ in range(3)]
    stay = [estate.connect(estate.client, address, 90, other) for _ in range(3)]
    report = estate.cut(to_port(80))
    assert [one.ended_after_ms() < 100 for one in meant] == [True] * 3
    assert all(one.works() for one in stay)
    assert (report.connections, report.failed, report.passing) == (3, [], [])
    assert report.sockets + report.gone == 6
    assert report.entries == 3
    # The listener is none of the connection's ends.
    assert estate.connect(estate.client, address, 80, web).works()


def test_a_cut_end_says_so_to_its_owner(estate: Estate) -> None:
    web = estate.listen(estate.server, SERVER, 80)
    one = estate.connect(estate.client, SERVER, 80, web)
    assert estate.cut(to_port(80)).connections == 1
    with pytest.raises((ConnectionAbortedError, ConnectionResetError)):
        one.client.recv(1)


def test_translated_connections_are_cut(estate: Estate) -> None:
    web, app = (estate.listen(estate.server, SERVER, port) for port in (80, 81))
    published = estate.connect(estate.client, HOST, 8080, web)
    hidden = estate.connect(estate.client, SERVER, 81, app)
    assert hidden.server.getpeername()[0] != CLIENT, "masqueraded"
    seen: list[Living] = []

    def note(living: Living) -> bool:
        seen.append(living)
        return living.port == 80

    assert estate.cut(note).connections == 1
    assert published.ended_after_ms() < 100
    assert hidden.works()
    packed = [socket.inet_aton(address) for address in (CLIENT, SERVER)]
    assert {(one.source, one.destination, one.port) for one in seen} == {
        (*packed, 80),
        (*packed, 81),
    }
    assert estate.cut(to_port(81)).connections == 1
    assert hidden.ended_after_ms() < 100


def test_connections_of_the_host_are_cut(estate: Estate) -> None:
    # With a container, with the outside (whose end is not here), and within the host.
    web = estate.listen(estate.server, SERVER, 80)
    far = estate.listen(estate.outside, OUTSIDE, 80)
    own = estate.listen(estate.host, "127.0.0.1", 80)
    mapped = estate.listen(estate.host, "::", 82)
    made = [
        estate.connect(estate.host, SERVER, 80, web),
        estate.connect(estate.host, OUTSIDE, 80, far),
        estate.connect(estate.host, "127.0.0.1", 80, own),
        estate.connect(estate.client, HOST, 82, mapped),
    ]
    stay = estate.connect(estate.outside, "10.72.3.1", 82, mapped)
    report = estate.cut(lambda one: one.port == 80 or one.source == socket.inet_aton(CLIENT))
    assert [one.ended_after_ms() < 100 for one in made] == [True] * 4
    assert (report.connections, report.failed) == (4, [])
    assert stay.works()


def test_half_closed_connections_are_cut(estate: Estate) -> None:
    web = estate.listen(estate.server, SERVER, 80)
    one = estate.connect(estate.client, SERVER, 80, web)
    one.client.shutdown(socket.SHUT_WR)
    one.server.sendall(b"still")
    assert one.client.recv(5) == b"still"
    assert estate.cut(to_port(80)).connections == 1
    assert one.ended_after_ms() < 100


def test_another_connection_with_the_same_ends_is_not_the_one_that_was_meant(
    estate: Estate,
) -> None:
    web = estate.listen(estate.server, SERVER, 80)
    first = estate.connect(estate.client, SERVER, 80, web)
    port = first.client.getsockname()[1]
    with estate.host.entered():
        found = cutting.survey(estate.pids)
    decided = decide(found.rooms, found.tracked, lambda one: "rule")
    # It ends, and another one takes its ends before the cut.
    estate.cut(to_port(80))
    first.client.close()
    first.server.close()
    with estate.client.entered():
        client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((CLIENT, port))
    client.settimeout(2)
    client.connect((SERVER, 80))
    server, _ = web.accept()
    second = Connection(client, server)
    with client, server:
        assert second.works()
        with estate.host.entered():
            report = cutting.cut(decided.cuts)
        assert (report.sockets, report.entries, report.gone) == (0, 0, 2)
        assert (report.connections, report.failed) == (0, [])
        assert second.works()


def test_what_only_passes_is_reported_or_rejected(estate: Estate) -> None:
    far = estate.listen(estate.outside, OUTSIDE, 80)
    estate.pids = []
    one = estate.connect(estate.client, OUTSIDE, 80, far)
    stay = estate.connect(estate.client, OUTSIDE, 80, far)
    port = one.client.getsockname()[1]
    report = estate.cut(lambda living: living.source_port == port)
    assert (report.connections, report.passing_count) == (0, 1)
    assert report.passing[0].connection.source_port == port
    assert one.works(), "nothing was done to it"
    report = estate.cut(lambda living: living.source_port == port, refuse_mark=0x1000)
    assert (report.marked, report.failed) == (1, [])
    assert not one.works()
    assert stay.works()


def test_a_container_that_is_gone_takes_its_connections_with_it(estate: Estate) -> None:
    web = estate.listen(estate.server, SERVER, 80)
    estate.connect(estate.client, SERVER, 80, web)
    with estate.host.entered():
        found = cutting.survey([*estate.pids, 2**22 + 1])
        decided = decide(found.rooms, found.tracked, lambda one: "rule")
        gone = [
            one._replace(ends=tuple(end._replace(pid=2**22 + 1) for end in one.ends))
            for one in decided.cuts
        ]
        report = cutting.cut(gone)
    assert (report.gone, report.sockets, report.failed) == (2, 0, [])


def test_udp_is_forgotten(estate: Estate) -> None:
    with estate.client.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.connect((SERVER, 53))
        sock.send(b"x")
        assert "dport=53" in estate.entries()
        report = estate.cut(lambda one: one.protocol == 17 and one.port == 53, udp=True)
        assert (report.connections, report.entries, report.sockets) == (1, 1, 0)
        assert "dport=53" not in estate.entries()


def test_a_thousand_connections_are_cut_quickly(estate: Estate) -> None:
    web = estate.listen(estate.server, SERVER, 80)
    made = [estate.connect(estate.client, SERVER, 80, web) for _ in range(1_000)]
    started = time.monotonic()
    report = estate.cut(to_port(80))
    took_ms = (time.monotonic() - started) * 1000
    assert all(one.ended_after_ms() < 100 for one in made)
    assert (report.connections, report.failed) == (1_000, [])
    assert took_ms < 2_000, f"{took_ms:.0f} ms"
    print(f"cut 1,000 connections in {took_ms:.0f} ms")
