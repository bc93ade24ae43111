"""A small network of namespaces with the Defender's kernel side in its middle."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.lab import netns
from tests.lab.netns import Namespace, veth
from tests.lab.units import Unit

TRAFFIC = (sys.executable, "-m", "tests.kernel.traffic")
ROOT = Path(__file__).parents[2]
#: The unit that the host's own clients belong to.
SERVICE = "kernel-test-client"


class Recording:
    """The recorder program in a namespace."""

    def __init__(self, namespace: Namespace, **options: Any) -> None:
        self._process = namespace.start(
            *(sys.executable, "-m", "tests.kernel.recorder", json.dumps(options)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self.loops: list[int] = self.ask("ready")

    @property
    def pid(self) -> int:
        """The daemon's process, as it were."""
        return self._process.pid

    def ask(self, command: str, *arguments: Any) -> Any:
        """One command's answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the recorder ended at {command!r}"
        return json.loads(line)

    def flows(self) -> dict[tuple[str, str, int], int]:
        """(source, destination, port) -> connections, everything since the last call."""
        found: dict[tuple[str, str, int], int] = {}
        for flow in self.ask("flows"):
            key = (flow["source"], flow["destination"], flow["port"])
            found[key] = found.get(key, 0) + flow["connections"]
        return found

    def end(self) -> None:
        """End it the way `cnnf` ends, which takes everything back."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


class Network:
    """host: a router with two routed networks (a, b) and one bridge with two members (c, d)."""

    #: namespace name -> its addresses; both families everywhere.
    ADDRESSES: ClassVar = {
        "a": ("10.71.1.2", "fd71:1::2"),
        "b": ("10.71.2.2", "fd71:2::2"),
        "c": ("10.71.3.2", "fd71:3::2"),
        "d": ("10.71.3.3", "fd71:3::3"),
    }
    HOST: ClassVar = {"a": ("10.71.1.1", "fd71:1::1"), "b": ("10.71.2.1", "fd71:2::1")}
    NETWORKS = (
        "10.71.1.0/24", "10.71.2.0/24", "10.71.3.0/24", "fd71:1::/64", "fd71:2::/64", "fd71:3::/64",
    )  # fmt: skip

    def __init__(self, host: Namespace, ends: dict[str, Namespace]) -> None:
        self.host, self.ends = host, ends
        self.unit = Unit(SERVICE)
        self._servers: list[subprocess.Popen[bytes]] = []
        for namespace in (host, *ends.values()):
            # Link-local addresses too are usable at once: while they are examined, which takes a
            # second, neighbours are not found and a SYN is sent again, which is one more attempt.
            for name in ("all", "default"):
                namespace.run("sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0")
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for name in ("a", "b"):
            veth(host, f"to-{name}", ends[name], "eth0")
            host.address(f"to-{name}", f"{self.HOST[name][0]}/24", f"{self.HOST[name][1]}/64")
        host.run("ip", "link", "add", "br0", "type", "bridge")
        host.address("br0", "10.71.3.1/24", "fd71:3::1/64")
        for name in ("c", "d"):
            veth(host, f"to-{name}", ends[name], "eth0")
            host.run("ip", "link", "set", f"to-{name}", "master", "br0")
        for name, end in ends.items():
            v4, v6 = self.ADDRESSES[name]
            end.address("eth0", f"{v4}/24", f"{v6}/64")
            gateway4, gateway6 = self.HOST.get(name, ("10.71.3.1", "fd71:3::1"))
            end.run("ip", "route", "add", "default", "via", gateway4)
            end.run("ip", "-6", "route", "add", "default", "via", gateway6)

    def serve(self, name: str, address: str, *ports: int) -> None:
        """A server in an end, or on the host itself."""
        where = self.host if name == "host" else self.ends[name]
        server = where.start(
            *(*TRAFFIC, "serve", address, *map(str, ports)), stdout=subprocess.PIPE, cwd=ROOT
        )
        assert server.stdout is not None
        assert server.stdout.readline() == b"serving\n"
        self._servers.append(server)

    def connect(
        self, name: str, count: int, address: str, *ports: int, options: int = 0
    ) -> "subprocess.Popen[bytes]":
        """Start making connections; `failed` tells how it went."""
        where = self.host if name == "host" else self.ends[name]
        # On the host, clients are a service's: what their cgroup is tells who they are.
        command = (
            *(*TRAFFIC, "--options", str(options), "connect", str(count), address),
            *map(str, ports),
        )
        return where.start(
            *(self.unit.command(*command) if name == "host" else command),
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def end(self) -> None:
        """End the servers."""
        for server in self._servers:
            server.kill()
            server.wait()
            assert server.stdout is not None
            server.stdout.close()
        self.unit.end()


def failed(client: "subprocess.Popen[bytes]", seconds: float = 90) -> int:
    """How many of a client's connections broke."""
    out, _ = client.communicate(timeout=seconds)
    return int(out)


@pytest.fixture
def network() -> Iterator[Network]:
    """The small network, removed afterwards."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    with netns.namespaces(5) as (host, *ends):
        made = Network(host, dict(zip("abcd", ends, strict=True)))
        try:
            yield made
        finally:
            made.end()


@pytest.fixture
def recording(network: Network) -> Iterator[Recording]:
    """The Defender's kernel side on the network's host."""
    made = Recording(network.host, networks=Network.NETWORKS)
    try:
        yield made
    finally:
        made.end()
        wait_until_clean(network.host)


def wait_until_clean(host: Namespace) -> None:
    """Nothing of ours is left in this namespace. Raises AssertionError."""
    tables = host.run("nft", "list", "tables")
    assert "inet cnnf" not in tables
    for family in ("iptables", "ip6tables"):
        assert "cnnf" not in host.run(f"{family}-save")
    deadline = time.monotonic() + 5
    while queues(host) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert queues(host) == []


def queues(host: Namespace) -> list[int]:
    """The NFQUEUE numbers somebody answers in this namespace."""
    text = host.run("cat", "/proc/net/netfilter/nfnetlink_queue", check=False)
    return [int(line.split()[0]) for line in text.splitlines()]
