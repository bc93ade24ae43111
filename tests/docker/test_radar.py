"""The whole way: real containers' connections, seen in the kernel, become the estate's own map."""

import json
import subprocess
import time

import pytest

from cnnf.cli.demo_estate.definition import (
    APPS,
    BACK,
    CONTAINER_EDGES,
    HOST_EDGES,
    HOST_TO_CONTAINER_EDGES,
    INTERNET_ADDRESS,
    Edge,
)
from tests.docker.estate import EdgeKey, Map, until
from tests.docker.test_demo import CNNF
from tests.lab.engine import IMAGE, Engine

pytestmark = pytest.mark.docker

#: The promises, in seconds: a started container is on the map, its first connection's edge too.
APPEARS_S = 3.0
EDGE_S = 2.0
#: Until every edge of the estate was used and reported.
SETTLED_S = 20.0
#: Rounds of the estate's traffic that must not add anything to the map.
WATCHED_S = 15.0


def keys(edges: tuple[Edge, ...]) -> set[EdgeKey]:
    return {
        (
            edge.source,
            "internet" if edge.destination == INTERNET_ADDRESS else edge.destination,
            edge.port,
        )
        for edge in edges
    }


def test_the_map_holds_exactly_the_estates_edges(radar: Map) -> None:
    expected = keys(CONTAINER_EDGES) | keys(HOST_TO_CONTAINER_EDGES)
    until(lambda: expected <= radar.edges("containers"), SETTLED_S)
    # Long enough for whatever is invented now and then to show up.
    time.sleep(WATCHED_S)
    assert radar.edges("containers") == expected


def test_instances_are_counted(radar: Map) -> None:
    assert radar.instances() == {app.repository: app.replicas for app in APPS}


def test_the_hosts_view_tells_its_services_apart(radar: Map) -> None:
    expected = keys(HOST_EDGES) | keys(HOST_TO_CONTAINER_EDGES)
    until(lambda: expected <= radar.edges("hosts"), SETTLED_S)
    # Console and Defender are services of this host too, and this test talks to them.
    others = {edge for edge in radar.edges("hosts") if "cnnf" not in edge}
    assert others == expected


def test_the_command_prints_the_same_graph(radar: Map, engine: Engine) -> None:
    command = engine.namespace.command(
        *(*CNNF, "radar", "--json"),
        *("--data-dir", str(radar.data)),
    )
    printed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    graph = radar.graph("containers")
    assert {node["id"] for node in printed["nodes"]} == {node["id"] for node in graph["nodes"]}


def test_a_container_started_later_and_its_first_connection_appear(
    radar: Map, engine: Engine
) -> None:
    engine.run_box("--name", "newcomer", "--network", BACK)
    try:
        until(lambda: radar.instances().get("lab/box") == 1, APPEARS_S)
        engine.docker("exec", "newcomer", "/bin/nc", "-w", "2", "database", "5432")
        until(lambda: ("lab/box", "shop/database", 5432) in radar.edges("containers"), EDGE_S)
    finally:
        engine.docker("rm", "-f", "newcomer")
    until(lambda: not radar.instances().get("lab/box"), APPEARS_S)


def test_the_very_first_connection_of_a_container_is_named(radar: Map, engine: Engine) -> None:
    """It connects as its first deed, so that its name has to be found out while the SYN waits."""
    engine.docker("tag", IMAGE, "lab/hasty:1")
    try:
        call = ("sh", "-c", "nc -w 2 cache 6379 </dev/null; sleep 600")
        engine.docker("run", "-d", "--name", "hasty", "--network", BACK, "lab/hasty:1", *call)
        until(lambda: ("lab/hasty", "shop/cache", 6379) in radar.edges("containers"), EDGE_S)
    finally:
        engine.docker("rm", "-f", "hasty")
        engine.docker("rmi", "lab/hasty:1")


def test_a_stopped_container_leaves_the_count(radar: Map, engine: Engine) -> None:
    engine.docker("kill", "shop-frontend-2")
    until(lambda: radar.instances()["shop/frontend"] == 1, APPEARS_S)
    engine.docker("start", "shop-frontend-2")
    until(lambda: radar.instances()["shop/frontend"] == 2, APPEARS_S)


def test_the_attack_is_on_the_map(radar: Map, engine: Engine) -> None:
    command = engine.namespace.command(*CNNF, "demo", "attack", "--docker", engine.address)
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    expected = {("shop/frontend", "shop/database", 5432), ("shop/cart", "internet", 4444)}
    until(lambda: expected <= radar.edges("containers"), EDGE_S)
