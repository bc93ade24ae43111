"""The demo estate on a real engine: built in time, every edge alive, nothing left behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnf.cli.demo_estate.definition import APPS, CONTAINER_EDGES, EDGES, HOST_SERVICES, app
from cnnf.defender.discovery.services import cgroup2_mount
from tests.lab.engine import Engine

pytestmark = pytest.mark.docker

#: Seconds for the whole estate to stand, and to be gone.
BUILD_S = 45.0
REMOVE_S = 45.0

CNNF = (sys.executable, "-c", "from cnnf.cli.main import main; main()")
GUARD = "unreachable 203.0.113.0/24"


def cnnf(engine: Engine, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = engine.namespace.command(*CNNF, "demo", *arguments, "--docker", engine.address)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def start(engine: Engine) -> "subprocess.Popen[bytes]":
    """Start the demo and wait until it says that the shop is open."""
    process = engine.namespace.start(
        *(*CNNF, "demo", "--docker", engine.address), stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if b"The shop is open" in line:
            return process
    process.communicate(timeout=REMOVE_S)
    raise AssertionError(f"the demo ended: {said.decode()}")


def end(process: "subprocess.Popen[bytes]") -> int:
    """End the demo; its exit code, and what it said where that isn't 0."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=REMOVE_S)
    if process.returncode:
        print(said.decode(errors="replace"))
    return process.returncode


def leftovers(engine: Engine) -> dict[str, Any]:
    mount = cgroup2_mount()
    slices = (mount / "system.slice").glob("shop-*.service") if mount else iter(())
    inode = engine.namespace.path.stat().st_ino
    return {
        "containers": engine.docker("ps", "-aq"),
        "networks": engine.docker("network", "ls", "-q", "--filter", "label=cnnf.demo"),
        "images": engine.docker("images", "-q", "--filter", "label=cnnf.demo"),
        "routes": engine.namespace.run("ip", "route", "show", "203.0.113.0/24"),
        "links": engine.namespace.run("ip", "link", "show", "type", "veth"),
        "namespace": Path(f"/var/run/netns/cnnf-demo-{inode}").exists(),
        "state": Path(f"/run/cnnf/demo-{inode}").exists(),
        "services": [path.name for path in slices],
        "processes": [pid for pid in engine.namespace.processes() if b"busybox" in program(pid)],
    }


def program(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


NOTHING: dict[str, Any] = {
    "containers": "",
    "networks": "",
    "images": "",
    "routes": "",
    "links": "",
    "namespace": False,
    "state": False,
    "services": [],
    "processes": [],
}


@pytest.fixture(scope="module")
def demo(engine: Engine) -> Iterator[Engine]:
    """The engine with the estate on it."""
    began = time.monotonic()
    process = start(engine)
    try:
        assert time.monotonic() - began < BUILD_S
        yield engine
    finally:
        code = end(process)
    assert code == 0
    assert leftovers(engine) == NOTHING


def conversations(engine: Engine, seconds: float) -> set[tuple[str, str, int]]:
    """Answered connections seen within some seconds, as (source, destination, port) addresses."""
    command = engine.namespace.command(
        *("timeout", str(seconds), "conntrack", "-E", "-e", "UPDATES", "-p", "tcp", "-o", "xml")
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = set()
    for flow in done.stdout.split("<flow ")[1:]:
        if "<state>ESTABLISHED</state>" in flow:
            first = flow.partition('direction="reply"')[0]
            values = [
                first.partition(f"<{name}>")[2].partition("<")[0]
                for name in ("src", "dst", "dport")
            ]
            found.add((values[0], values[1], int(values[2])))
    return found


def test_the_status_names_everything(demo: Engine) -> None:
    done = cnnf(demo, "status", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["complete"]
    assert {one["image"] for one in status["containers"]} == {one.image for one in APPS}
    assert len(status["containers"]) == sum(one.replicas for one in APPS)
    assert {one["name"] for one in status["services"]} == {one.name for one in HOST_SERVICES}


def test_exactly_the_defined_connections_are_made_and_answered(demo: Engine) -> None:
    owners: dict[str, str] = {}
    for one in APPS:
        for name in one.containers():
            networks = json.loads(demo.docker("inspect", name))[0]["NetworkSettings"]["Networks"]
            owners |= {network["IPAddress"]: one.repository for network in networks.values()}
            for network in networks.values():
                owners.setdefault(network["Gateway"], "host")
    seen = {
        (owners.get(source, source), owners.get(destination, destination), port)
        for source, destination, port in conversations(demo, 4)
    }
    between = {edge for edge in seen if "host" not in edge and not edge[0].startswith("127.")}
    assert between == {(edge.source, edge.destination, edge.port) for edge in CONTAINER_EDGES}
    others = {(destination, port) for _, destination, port in seen - between}
    assert others == {
        ("shop/frontend", 8080),
        ("shop/database", 5432),
        *(("127.0.0.1", port) for port in (*app("frontend").published, 19100)),
    }
    assert len({(edge.source, edge.destination, edge.port) for edge in EDGES}) == len(EDGES)


def test_host_services_live_in_their_own_cgroups(demo: Engine) -> None:
    mount = cgroup2_mount()
    assert mount is not None
    inside = set(demo.namespace.processes())
    for service in HOST_SERVICES:
        pids = (mount / "system.slice" / service.unit / "cgroup.procs").read_text().split()
        assert {int(pid) for pid in pids} & inside, service


def test_a_second_start_is_refused_and_changes_nothing(demo: Engine) -> None:
    done = cnnf(demo)
    assert done.returncode == 1
    assert "already running" in done.stderr
    assert cnnf(demo, "status").returncode == 0


def test_the_attack_does_what_it_says_and_leaves_the_estate_as_it_was(demo: Engine) -> None:
    networks = demo.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", "shop-frontend-1")
    done = cnnf(demo, "attack", "--json")
    assert done.returncode == 0, done.stderr
    acts = {act["kind"]: act for act in json.loads(done.stdout)}
    assert set(acts) == {"scan", "trespass", "stranger"}
    assert acts["scan"]["source"] == acts["stranger"]["source"] == "shop/cart"
    table = demo.namespace.run("conntrack", "-L", "-p", "tcp")
    assert table.count("dst=203.0.113.66 ") == acts["stranger"]["connections"]
    after = demo.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", "shop-frontend-1")
    assert set(json.loads(after)) == set(json.loads(networks)) == {"shop-front"}


def test_packets_for_the_internet_side_never_leave(demo: Engine) -> None:
    routes = demo.namespace.run("ip", "route", "show", "203.0.113.0/24")
    assert GUARD in routes


def test_servers_do_not_pile_up_processes(demo: Engine) -> None:
    for one in APPS:
        listed = demo.docker("exec", one.containers()[0], "/bin/ps").splitlines()
        assert len(listed) < 12, listed
