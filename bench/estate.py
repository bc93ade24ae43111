"""One of several identical estates: a client, a host that routes, a server, joined by veth pairs.

    client 10.77.1.2 --- 10.77.1.1 host 10.77.2.1 --- 10.77.2.2 server (also 10.77.64.0/18 and
           fd77:1::2     fd77:1::1      fd77:2::1     fd77:2::2         10.78.0.0/16)
                              bridge 10.77.3.1
             left 10.77.3.2 ---|         |--- 10.77.3.3 right

The host is where a Defender works, or nothing. 10.77.1.0/24, 10.77.2.0/24, 10.77.3.0/24,
10.77.64.0/18 and the IPv6 networks stand for container networks; 10.78.0.0/16 for what is none.
Every address of these ranges answers on every port the server listens on, which makes a supply of
flows that nobody has seen yet. On the bridge packets meet netfilter, as on any host with Docker.
Namespaces keep estates apart, so that all of them use the same addresses.
"""

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.lab import engine
from tests.lab.netns import Namespace, ip, remove_stale, veth

from bench.errors import BenchError
from bench.generator import Target, serving
from cnnf.defender.discovery.services import cgroup2_mount

CONTAINER_NETWORKS = (
    "10.77.1.0/24",
    "10.77.2.0/24",
    "10.77.3.0/24",
    "10.77.64.0/18",
    "fd77:1::/64",
    "fd77:2::/64",
)

FIRST_PORT, _PORTS = 8000, 64
#: One flow each: what a service talks to all day.
ROUTED_ONE = Target(address="10.77.2.2", port=FIRST_PORT)
OUTBOUND_ONE = Target(address="10.78.0.1", port=FIRST_PORT)
ROUTED6_ONE = Target(address="fd77:2::2", port=FIRST_PORT)
BRIDGED_ONE = Target(address="10.77.3.3", port=FIRST_PORT)
#: A million flows each: more than a run makes between two of the Defender's generations.
ROUTED_MANY = Target(address="10.77.64.0", addresses=16_384, port=FIRST_PORT, ports=_PORTS)
OUTBOUND_MANY = Target(address="10.78.0.0", addresses=16_384, port=FIRST_PORT, ports=_PORTS)

#: What this run's services are called, as a pattern of a policy.
SERVICES = "cnnf-bench-*"
_CGROUP_NAME = re.compile(r"cnnf-bench-(?P<pid>\d+)\.service\Z")
#: The queues of the namespace that the reading thread is in.
_QUEUES = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
_PLACE_NAME = re.compile(r"cnnf-bench-(?P<pid>\d+)\Z")
#: A cgroup is empty a moment after its last process was reaped.
_CGROUP_SECONDS = 2.0


class Estate:
    """Joined namespaces, the servers already listening."""

    def __init__(self, client: Namespace, host: Namespace, left: Namespace) -> None:
        self.client = client
        self.host = host
        self.left = left

    def asked(self) -> int:
        """How many packets the kernel has put into queues on the host so far."""
        with self.host.entered():
            lines = _QUEUES.read_text().splitlines()
        # nfnetlink_queue.c, seq_show: the eighth column is the last packet's number.
        return sum(int(line.split()[7]) for line in lines)


@contextmanager
def estate() -> Iterator[Estate]:
    """Make an estate, and remove it with everything that still runs in it."""
    with ExitStack() as cleanup:
        made = []
        for _ in range(5):
            namespace = Namespace()
            cleanup.callback(namespace.delete)
            made.append(namespace)
        client, host, server, left, right = made
        _route(client, host, server)
        _bridge(host, left, right)
        for one in (server, right):
            cleanup.enter_context(serving(one, FIRST_PORT, _PORTS))
        yield Estate(client, host, left)


def _route(client: Namespace, host: Namespace, server: Namespace) -> None:
    veth(client, "uplink", host, "clients")
    veth(server, "uplink", host, "servers")
    client.address("uplink", "10.77.1.2/24", "fd77:1::2/64")
    host.address("clients", "10.77.1.1/24", "fd77:1::1/64")
    host.address("servers", "10.77.2.1/24", "fd77:2::1/64")
    server.address("uplink", "10.77.2.2/24", "fd77:2::2/64")
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for namespace, number in ((client, 1), (server, 2)):
        for gateway in (f"10.77.{number}.1", f"fd77:{number}::1"):
            namespace.run("ip", "route", "add", "default", "via", gateway)
    for network in ("10.77.64.0/18", "10.78.0.0/16"):
        host.run("ip", "route", "add", network, "via", "10.77.2.2")
        server.run("ip", "route", "add", "local", network, "dev", "lo")


def _bridge(host: Namespace, left: Namespace, right: Namespace) -> None:
    host.run("ip", "link", "add", "bridge", "type", "bridge")
    host.run("ip", "link", "set", "bridge", "type", "bridge", "nf_call_iptables", "1")
    host.address("bridge", "10.77.3.1/24")
    for namespace, port, address in (
        (left, "left", "10.77.3.2/24"),
        (right, "right", "10.77.3.3/24"),
    ):
        veth(namespace, "uplink", host, port)
        host.run("ip", "link", "set", port, "master", "bridge")
        namespace.address("uplink", address)


@contextmanager
def service_cgroup() -> Iterator[Path]:
    """A cgroup as systemd makes one for a service: /system.slice/NAME.service of the v2 hierarchy.

    Raises BenchError where there is no v2 hierarchy, or it may not be written.
    """
    mount = cgroup2_mount()
    if mount is None:
        raise BenchError("no cgroup v2 hierarchy is mounted; a service has no name without it")
    slice_ = mount / "system.slice"
    path = slice_ / f"cnnf-bench-{os.getpid()}.service"
    had_slice = slice_.exists()
    try:
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise BenchError(f"making the cgroup {path}: {error.strerror}") from error
        yield path
    finally:
        _remove_cgroup(path)
        if not had_slice:
            # Somebody else may have put a service there meanwhile; then it stays.
            with suppress(OSError):
                slice_.rmdir()


@contextmanager
def place() -> Iterator[Path]:
    """A directory of this run's own, removed at the end."""
    path = Path(tempfile.gettempdir()) / f"cnnf-bench-{os.getpid()}"
    try:
        path.mkdir(mode=0o700)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def remove_left() -> None:
    """Remove what killed runs have left, and what of our own a Ctrl-C kept from being noted.

    The latter is a namespace that was made while the signal came; called before and after a run.
    """
    engine.remove_stale()
    remove_stale()
    for entry in Path("/var/run/netns").glob(f"cnnf-test-{os.getpid()}-*"):
        for pid in ip("netns", "pids", entry.name).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        ip("netns", "del", entry.name)
    for entry in _of_the_dead(Path(tempfile.gettempdir()), _PLACE_NAME):
        shutil.rmtree(entry, ignore_errors=True)
    mount = cgroup2_mount()
    if mount is not None:
        for entry in _of_the_dead(mount / "system.slice", _CGROUP_NAME):
            with suppress(OSError):
                entry.rmdir()


def _of_the_dead(directory: Path, name: re.Pattern[str]) -> Iterator[Path]:
    """What lies there in the name of a process that is gone."""
    for entry in list(directory.iterdir()) if directory.is_dir() else []:
        match = name.match(entry.name)
        if match and not Path(f"/proc/{match['pid']}").exists():
            yield entry


def _remove_cgroup(path: Path) -> None:
    deadline = time.monotonic() + _CGROUP_SECONDS
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise BenchError(f"removing the cgroup {path}: {error.strerror}") from error
            time.sleep(0.02)
        else:
            return
