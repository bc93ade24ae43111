"""Beside Docker: its rules stay its own, containers are reached, and its restart is survived."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import ROOT, wait_until_clean
from tests.lab import engine as lab
from tests.lab import netns
from tests.lab.engine import IMAGE, Engine
from tests.lab.netns import Namespace, veth
from tests.lab.product import Graph, Product, eventually

pytestmark = pytest.mark.docker

HOST, PEER = "10.75.1.1", "10.75.1.2"
#: Docker takes a while to start containers again that are to be restarted.
AGAIN_S = 20.0
POLICY = f"""
apiVersion: cnnf/v1
networkObjects:
  - {{name: web, type: image, values: ["{IMAGE.partition(":")[0]}"]}}
rules:
  containers:
    - {{name: barred, destination: [web], ports: [8081], effect: prevent}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Namespace]]:
    """An engine of its own, which may be restarted, and the host's neighbour."""
    missing = lab.missing()
    if missing:
        pytest.skip(missing)
    netns.remove_stale()
    with netns.namespaces(2) as (here, peer):
        veth(here, "eth0", peer, "eth0")
        here.address("eth0", f"{HOST}/24")
        peer.address("eth0", f"{PEER}/24")
        engine = Engine(here, Path(f"/tmp/cnnf-test-{os.getpid()}-restart"))
        try:
            engine.start()
            engine.import_box()
            yield engine, peer
        finally:
            engine.remove()


@pytest.fixture
def witness(place: tuple[Engine, Namespace]) -> Iterator[Path]:
    """The neighbour's server, which writes down who has connected: a file of addresses."""
    log = Path(f"/tmp/cnnf-test-{os.getpid()}-seen")
    program = (
        "import socket; s = socket.create_server(('0.0.0.0', 9000)); "
        "[print(s.accept()[1][0], flush=True) for _ in iter(int, 1)]"
    )
    with log.open("wb") as output:
        server = place[1].start(sys.executable, "-c", program, stdout=output)
    yield log
    server.kill()
    server.wait()
    log.unlink()


def foreign(here: Namespace) -> list[str]:
    """All rules of iptables, without counters; ours are in none of its tables.

    Which container has which address is the engine's to choose anew when it starts.
    """
    saved = here.run("iptables-save") + here.run("ip6tables-save")
    rules = [line for line in saved.splitlines() if line.startswith(("-A", "-N"))]
    return [re.sub(r"\b172\.17\.0\.[2-9]\b", "ADDRESS", rule) for rule in rules]


def reaches(where: Namespace, address: str, port: int) -> bool:
    """Does a connection come about?"""
    program = f"import socket; socket.create_connection(('{address}', {port}), timeout=3).recv(1)"
    done = subprocess.run(
        where.command(sys.executable, "-c", program), capture_output=True, cwd=ROOT, check=False
    )
    return done.returncode == 0


def from_container(engine: Engine, container: str, address: str, port: int) -> bool:
    """Does a connection come about from within a container?"""
    command = ("docker", "-H", engine.address, "exec", container, "nc", "-w", "3", address)
    return subprocess.run((*command, str(port)), capture_output=True, stdin=subprocess.DEVNULL,
                          check=False).returncode == 0  # fmt: skip


def count(product: Product, port: int) -> dict[tuple[str, str], int]:
    """Connections to a port by (source, destination)."""
    graph: Graph = product.radar("containers")
    return {key[:2]: one["connections"] for key, one in graph.edges.items() if key[2] == port}


def run_web(engine: Engine, name: str, *options: str) -> str:
    """A container that serves two ports, and is started again with the engine."""
    serve = "while true; do echo hi | nc -l -p 8080; done & while true; do echo hi | nc -l -p 8081; done"  # noqa: E501
    return engine.run_box("--name", name, "--restart", "always", *options,
                          command=("sh", "-c", serve))  # fmt: skip


def address(engine: Engine, name: str) -> str:
    """A container's address."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return engine.docker("inspect", "-f", form, name)


def test_beside_docker_and_its_restart(
    place: tuple[Engine, Namespace], witness: Path, tmp_path: Path
) -> None:
    engine, peer = place
    here = engine.namespace
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    run_web(engine, "web", "--publish", "18080:8080", "--publish", "18081:8081")
    run_web(engine, "other")
    before = foreign(here)
    assert any("MASQUERADE" in rule for rule in before)
    product = Product(
        here, tmp_path / "data", "--docker-socket", str(engine.socket), "--policy", str(policy)
    )
    product.start()
    try:
        assert foreign(here) == before
        works(engine, peer, witness)
        # Once, though it passes several hooks and Docker's own translation.
        app = IMAGE.partition(":")[0]
        eventually(lambda: sum(count(product, 8080).values()) == 2, 15.0, "two connections to web")
        assert all(key[1].endswith(app) for key in count(product, 8080))

        engine.stop()
        engine.start()
        eventually(lambda: len(engine.docker("ps", "-q").split()) == 2, AGAIN_S, "the containers")
        eventually(lambda: reaches(peer, HOST, 18080), AGAIN_S, "the published port")
        # Ours hold as well within five seconds of that, whatever Docker did to its own.
        eventually(lambda: not reaches(peer, HOST, 18081), 5.0 + 3.0, "what is prevented")
        works(engine, peer, witness)
        assert sorted(foreign(here)) == sorted(before)
    finally:
        code = product.stop()
    assert code == 0
    wait_until_clean(here)
    assert sorted(foreign(here)) == sorted(before)
    assert reaches(peer, HOST, 18081)


def works(engine: Engine, peer: Namespace, witness: Path) -> None:
    """Published ports, masquerading and containers among themselves, as allowed and prevented."""
    assert reaches(peer, HOST, 18080)
    assert not reaches(peer, HOST, 18081)
    web = address(engine, "web")
    assert from_container(engine, "other", web, 8080)
    assert not from_container(engine, "other", web, 8081)
    known = witness.read_text().count("\n")
    assert from_container(engine, "other", PEER, 9000)
    eventually(lambda: witness.read_text().count("\n") > known, 3.0, "the neighbour's server")
    # Masqueraded: the neighbour sees the host's address.
    assert witness.read_text().split()[-1] == HOST
