"""Each loop finds the socket behind a SYN that leaves the host, of whatever kind it is."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from cnnf.defender.core.tables import Tables
from cnnf.defender.kernel.loop_process import LoopKind
from cnnf.defender.netlink.nfqueue import OUTPUT
from tests.lab import netns
from tests.lab.netns import Namespace
from tests.native.harness import queued, running, segment

HERE, THERE, OTHER = "10.71.9.1", "10.71.9.2", "10.71.9.3"
HERE6, THERE6 = "fd71:9::1", "fd71:9::2"
_IPPROTO_MPTCP, _TCP_FASTOPEN_CONNECT = 262, 30

pytestmark = pytest.mark.skipif(not netns.can_make(), reason="needs root and ip")


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """SYNs that leave it are not answered: the sockets stay connecting."""
    with netns.namespaces(2) as (made, silent):
        netns.veth(made, "out", silent, "in")
        made.address("out", f"{HERE}/24", f"{HERE6}/64")
        for address in (THERE, OTHER, THERE6):
            made.run("ip", "neigh", "add", address, "lladdr", "02:00:00:00:00:02", "dev", "out")
        yield made


def _plain(family: int, protocol: int = 0) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM, protocol)


def _bound_to_device() -> socket.socket:
    made = _plain(socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"out")
    return made


def _fast_open() -> socket.socket:
    made = _plain(socket.AF_INET)
    made.setsockopt(socket.IPPROTO_TCP, _TCP_FASTOPEN_CONNECT, 1)
    return made


KINDS: dict[str, tuple[Callable[[], socket.socket], str, str]] = {
    "IPv4": (lambda: _plain(socket.AF_INET), HERE, THERE),
    "IPv6": (lambda: _plain(socket.AF_INET6), HERE6, THERE6),
    "mapped": (lambda: _plain(socket.AF_INET6), f"::ffff:{HERE}", f"::ffff:{THERE}"),
    "bound to a device": (_bound_to_device, HERE, THERE),
    "MPTCP": (lambda: _plain(socket.AF_INET, _IPPROTO_MPTCP), HERE, THERE),
    "fast open": (_fast_open, HERE, THERE),
}


@pytest.mark.parametrize("translated", [False, True])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["native", "python"])
def test_the_socket_is_found(
    namespace: Namespace, kind: LoopKind, name: str, translated: bool
) -> None:
    make, source, destination = KINDS[name]
    with namespace.entered():
        device = socket.if_nametoindex("out")
        try:
            connecting = make()
        except OSError:
            pytest.skip("the kernel has none of these")
        with running(kind) as loop, connecting:
            connecting.bind((source, 0))
            connecting.setblocking(False)
            with suppress(BlockingIOError):
                connecting.connect((destination, 80))
                if name == "fast open":
                    connecting.send(b"x")
            port = connecting.getsockname()[1]
            inode = os.fstat(connecting.fileno()).st_ino
            seen_source = source.removeprefix("::ffff:")
            # What is sent goes elsewhere than what the socket knows, where it is translated.
            seen = destination.removeprefix("::ffff:")
            if translated:
                seen = "fd71:9::3" if ":" in seen else OTHER
            version = socket.AF_INET6 if ":" in seen else socket.AF_INET
            packed = [socket.inet_pton(version, one) for one in (seen_source, seen)]
            loop.prepare(Tables(version=1))
            loop.barrier()
            syn = segment(packed[0], packed[1], 80, source_port=port)
            loop.kernel.send(queued(7, OUTPUT, syn, device=device))
            loop.read_until(lambda: any(report.flows for report in loop.reports))
            found = {flow.inode for report in loop.reports for flow in report.flows}
            assert found == {inode}


def test_nobody_is_named_where_two_connect_from_one_port(namespace: Namespace) -> None:
    with namespace.entered(), running("native") as loop:
        made = []
        for destination in (THERE, OTHER):
            one = _plain(socket.AF_INET)
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((HERE, 41_000))
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect((destination, 80))
        loop.prepare(Tables(version=1))
        loop.barrier()
        here, elsewhere = socket.inet_aton(HERE), socket.inet_aton("10.71.9.4")
        loop.kernel.send(queued(7, OUTPUT, segment(here, elsewhere, 80, source_port=41_000)))
        loop.read_until(lambda: any(report.flows for report in loop.reports))
        assert {flow.inode for report in loop.reports for flow in report.flows} == {0}
        for one in made:
            one.close()
