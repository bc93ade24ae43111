"""`cnnf up` on a host of its own: first map, modes, services, and nothing left behind."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cnnf.defender.core.dns_chains import HELD
from cnnf.defender.core.ruleset import HANDOVER
from tests.kernel.conftest import ROOT, TRAFFIC, failed, queues, wait_until_clean
from tests.lab import netns
from tests.lab.netns import Namespace, veth
from tests.lab.product import CNNF, Product, eventually
from tests.lab.units import Unit

pytestmark = pytest.mark.kernel

HOST, PEER = "10.73.1.1", "10.73.1.2"
#: Documentation addresses count as the internet; this one is the peer's, and nowhere else.
INTERNET = "203.0.113.9"


class Host:
    """A host with a neighbour, which also stands in for the internet."""

    def __init__(self, here: Namespace, peer: Namespace, place: Path) -> None:
        self.here, self.peer, self.place = here, peer, place
        self._units: list[Unit] = []
        veth(here, "eth0", peer, "eth0")
        # A second address of the network stays when the first goes.
        here.run("sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1")
        here.address("eth0", f"{HOST}/24", "fd73:1::1/64")
        peer.address("eth0", f"{PEER}/24", "fd73:1::2/64")
        peer.run("ip", "address", "add", f"{INTERNET}/32", "dev", "lo")
        here.run("ip", "route", "add", INTERNET, "via", PEER)

    def unit(self, name: str) -> Unit:
        """A service of this host."""
        made = Unit(name)
        self._units.append(made)
        return made

    def serve(self, unit: Unit, address: str, *ports: int) -> None:
        """The service listens."""
        self._ready(unit.start(self.here, *_server(address, *ports), **_PIPED))

    def serve_peer(self, address: str, *ports: int) -> "subprocess.Popen[bytes]":
        """The neighbour listens."""
        server = self.peer.start(*_server(address, *ports), **_PIPED)
        self._ready(server)
        return server

    def connect(self, unit: Unit, count: int, address: str, *ports: int, hold_s: float = 0) -> None:
        """The service connects, every time with success."""
        command = (*TRAFFIC, "--hold", str(hold_s), "connect", str(count), address)
        client = self.here.start(*unit.command(*command, *map(str, ports)), **_PIPED)
        assert failed(client) == 0

    def product(self, *options: str) -> Product:
        """cnnf on this host; not started."""
        return Product(self.here, self.place / "data", *options)

    def end(self) -> None:
        """End all services."""
        for unit in self._units:
            unit.end()

    @staticmethod
    def _ready(server: "subprocess.Popen[bytes]") -> None:
        assert server.stdout is not None
        assert server.stdout.readline() == b"serving\n"


_PIPED = {"stdout": subprocess.PIPE, "cwd": ROOT}


def _server(address: str, *ports: int) -> tuple[str, ...]:
    return (*TRAFFIC, "serve", address, *map(str, ports))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host and its neighbour, removed afterwards."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    with ExitStack() as cleanup:
        here, peer = cleanup.enter_context(netns.namespaces(2))
        made = Host(here, peer, tmp_path)
        cleanup.callback(made.end)
        yield made


@pytest.fixture
def product(host: Host) -> Iterator[Product]:
    """cnnf enabled on the host, stopped afterwards with nothing left behind."""
    made = host.product()
    made.start()
    yield made
    assert made.stop() == 0
    wait_until_clean(host.here)


def test_services_of_one_host_are_told_apart(host: Host, product: Product) -> None:
    """They share its addresses; and when those change the nodes stay what they are."""
    web, worker, store = host.unit("kt-web"), host.unit("kt-worker"), host.unit("kt-store")
    host.serve(web, "0.0.0.0", 7001)
    host.serve(store, "127.0.0.1", 7002)
    host.connect(worker, 5, HOST, 7001)
    host.connect(web, 7, "127.0.0.1", 7002)
    assert failed(host.peer.start(*TRAFFIC, "connect", "3", HOST, "7001", **_PIPED)) == 0
    server = host.serve_peer(PEER, 7003)
    host.connect(worker, 4, PEER, 7003)
    expected = {
        ("kt-worker", "kt-web", 7001): 5,
        ("kt-web", "kt-store", 7002): 7,
        (PEER, "kt-web", 7001): 3,
        ("kt-worker", PEER, 7003): 4,
    }

    def counted() -> dict[tuple[str, str, int], int]:
        edges = product.radar("hosts").edges
        return {key: edges[key]["connections"] for key in expected if key in edges}

    # What a flow's first packet tells is there at once, what the kernel counts within a generation.
    eventually(lambda: counted().keys() == expected.keys(), 3.0, "every edge")
    eventually(lambda: counted() == expected, 15.0, "every count")
    before = {name: node["id"] for name, node in product.radar("hosts").nodes.items()}

    host.here.run("ip", "address", "add", "10.73.1.7/24", "dev", "eth0")
    host.here.run("ip", "address", "del", f"{HOST}/24", "dev", "eth0")
    host.connect(worker, 2, "10.73.1.7", 7001)
    host.connect(worker, 1, PEER, 7003)
    expected |= {("kt-worker", "kt-web", 7001): 7, ("kt-worker", PEER, 7003): 5}
    eventually(lambda: counted() == expected, 20.0, "the counts on the new address")
    after = {name: node["id"] for name, node in product.radar("hosts").nodes.items()}
    assert {name: after.get(name) for name in before} == before
    nodes = product.radar("hosts").nodes
    assert all(nodes[name]["instances"] == 1 for name in ("kt-web", "kt-worker", "kt-store"))
    server.kill()
    server.communicate()


def test_connections_of_before_are_on_the_first_map(host: Host) -> None:
    """A pool that was opened long before the Defender came."""
    client = host.unit("kt-pool")
    with host.peer.entered():
        listener = socket.create_server((PEER, 7010))
    pool = client.start(
        host.here,
        *(sys.executable, "-c"),
        f"import socket,time; s=[socket.create_connection(('{PEER}',7010)) for _ in range(3)]; "
        "print('open', flush=True); time.sleep(600)",
        stdout=subprocess.PIPE,
    )
    assert pool.stdout is not None
    assert pool.stdout.readline() == b"open\n"
    product = host.product()
    seconds = product.start()
    try:
        assert seconds < 15

        def found() -> int:
            edge = product.radar("hosts").edges.get(("kt-pool", PEER, 7010))
            return edge["found"] if edge else 0

        eventually(lambda: found() == 3, 3.0, "the pool's connections")
        # They are no attempts.
        assert product.radar("hosts").edges["kt-pool", PEER, 7010]["connections"] == 0
    finally:
        product.stop()
        listener.close()
    wait_until_clean(host.here)


def test_limited_view_shows_local_and_internet_until_enabled(host: Host) -> None:
    """Disabled as shipped: nothing is queued; the switch changes that live, and back."""
    client, server = host.unit("kt-client"), host.unit("kt-server")
    host.serve(server, "127.0.0.1", 7020)
    peers = [host.serve_peer(PEER, 7021), host.serve_peer(INTERNET, 7022)]
    product = host.product()
    product.start(enable=False)
    try:
        assert product.radar("hosts").body["mode"]["limited"] is True
        assert "limited view" in product.printed

        def connect_all() -> None:
            for address, port in (("127.0.0.1", 7020), (PEER, 7021), (INTERNET, 7022)):
                # Nothing waits for the limited view: a client has to be there when it looks.
                host.connect(client, 1, address, port, hold_s=0.3)

        local = ("kt-client", "kt-server", 7020)
        internet = ("kt-client", "internet", 7022)
        neighbour = ("kt-client", PEER, 7021)
        connect_all()
        eventually(
            lambda: {local, internet} <= product.radar("hosts").edges.keys(), 3.0, "both edges"
        )
        assert neighbour not in product.radar("hosts").edges
        for hook in ("input", "forward", "output"):
            rules = host.here.run("nft", "list", "chain", "inet", "cnnf", f"{hook}_syn")
            assert "goto ask" not in rules

        with host.here.entered():
            living = socket.create_connection((PEER, 7021))
        product.enable(containers=True, hosts=True)
        connect_all()
        eventually(lambda: neighbour in product.radar("hosts").edges, 3.0, "the neighbour")
        assert product.radar("hosts").body["mode"]["limited"] is False
        product.enable(containers=False, hosts=False)
        before = product.radar("hosts").edges[neighbour]["connections"]
        connect_all()
        time.sleep(1)
        assert product.radar("hosts").edges[neighbour]["connections"] == before
        living.close()
    finally:
        product.stop()
        for peer in peers:
            peer.kill()
            peer.communicate()
    wait_until_clean(host.here)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_behind(host: Host, number: signal.Signals, code: int) -> None:
    """Rules, table, queues and processes are gone, and the exit code says what happened."""
    product = host.product()
    product.start()
    assert queues(host.here) != []
    family = product.family()
    assert len(family) >= 5
    assert product.stop(number) == code
    wait_until_clean(host.here)
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []
    assert host.here.processes() == []


def test_cnnf_up_killed_takes_everything_with_it(host: Host) -> None:
    """SIGKILL to `cnnf up` alone: what it started notices, ends and cleans up."""
    product = host.product()
    product.start()
    family = product.family()
    product.stop(signal.SIGKILL)
    eventually(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), 15.0, "the processes"
    )
    wait_until_clean(host.here)


def test_after_sigkill_clean_or_the_next_start_mends(host: Host) -> None:
    """Everything killed at once leaves rules that pass all traffic, and both ways remove them."""
    product = host.product()
    product.start()
    product.kill_all()
    assert "inet cnnf" in host.here.run("nft", "list", "tables")
    # Fail open: with nobody at the queues connections still come about.
    server = host.serve_peer(PEER, 7030)
    client = host.here.start(*TRAFFIC, "connect", "3", PEER, "7030", **_PIPED)
    assert failed(client) == 0
    said = json.loads(host.here.run(*CNNF, "clean", "--json"))
    assert said["rules_removed"] is True
    wait_until_clean(host.here)
    assert json.loads(host.here.run(*CNNF, "clean", "--json"))["rules_removed"] is False

    product.start()
    product.kill_all()
    product.start()
    # One rule hands over what is to be judged, one the answers of DNS that have to wait.
    for chain in (HANDOVER, HELD):
        rules = host.here.run("nft", "list", "chain", "inet", "cnnf", chain)
        assert rules.count("queue num") == 1
    assert host.here.run("nft", "list", "ruleset").count("queue num") == 2
    # A running one is stopped by `clean`, and a second one refuses to start beside it.
    said = json.loads(host.here.run(*CNNF, "clean", "--json"))
    assert said["stopped"] is not None
    product.stop(signal.SIGKILL)
    server.kill()
    server.communicate()


def test_other_peoples_rules_are_left_alone(host: Host) -> None:
    """What stood in iptables and nft before stands there after, word by word."""
    host.here.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9999", "-j", "DROP")
    host.here.run("iptables", "-t", "security", "-A", "OUTPUT", "-m", "mark", "--mark", "0x400")
    host.here.run("nft", "add", "table", "inet", "other")
    before = _rules(host.here)
    product = host.product()
    product.start()
    product.stop()
    assert _rules(host.here) == before


def _rules(namespace: Namespace) -> list[str]:
    """All rules; tables that iptables makes for itself when asked do not count."""
    saved = namespace.run("iptables-save") + namespace.run("ip6tables-save")
    tables = [
        line
        for line in namespace.run("nft", "list", "tables").splitlines()
        if line.split()[1] == "inet"
    ]
    return [line for line in saved.splitlines() if line.startswith("-A")] + tables
