"""Names that containers of a real engine are told, through Docker's own resolver and without it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import ROOT, TRAFFIC, Recording, wait_until_clean
from tests.kernel.stage import policy
from tests.lab import netns
from tests.lab.engine import IMAGE, Engine
from tests.lab.netns import Namespace

OUTSIDE = "192.0.2.53"
GATEWAY = "192.0.2.1"
SUBNET = "172.31.7.0/24"
PORT = 8003
ZONE = {"api.pay.example": [["CNAME", 60, "edge.example"]], "edge.example": [["A", 60, OUTSIDE]]}


@pytest.fixture
def outside(box: Engine, tmp_path: Path) -> Iterator[Namespace]:
    """A name server and something to connect to, beyond the engine's host."""
    zone = tmp_path / "zone.json"
    zone.write_text(json.dumps(ZONE))
    with netns.namespaces() as (made,):
        netns.veth(box.namespace, "to-outside", made, "eth0")
        box.namespace.address("to-outside", f"{GATEWAY}/24")
        made.address("eth0", f"{OUTSIDE}/24")
        made.run("ip", "route", "add", "default", "via", GATEWAY)
        serving = [
            _program(made, "-m", "tests.kernel.nameserver", OUTSIDE, str(zone)),
            _program(made, *TRAFFIC[1:], "serve", OUTSIDE, str(PORT)),
        ]
        try:
            yield made
        finally:
            for one in serving:
                one.kill()
                one.wait()
                assert one.stdout is not None
                one.stdout.close()


def _program(where: Namespace, *arguments: str) -> "subprocess.Popen[bytes]":
    started = where.start(sys.executable, *arguments, stdout=subprocess.PIPE, cwd=ROOT)
    assert started.stdout is not None
    assert started.stdout.readline() == b"serving\n"
    return started


@pytest.fixture
def recording(box: Engine, outside: Namespace) -> Iterator[Recording]:
    networks = [SUBNET, "172.17.0.0/16"]
    made = Recording(box.namespace, networks=networks, resolvers=[OUTSIDE])
    try:
        yield made
    finally:
        made.end()
        wait_until_clean(box.namespace)


def called(recording: Recording, box: Engine, *options: str) -> list[str]:
    """What the destination is called that a container looks up and connects to."""
    script = f"busybox nslookup api.pay.example; busybox nc -w 2 {OUTSIDE} {PORT} </dev/null"
    said = box.docker("run", "--rm", *options, IMAGE, "sh", "-c", script)
    assert OUTSIDE in said
    (flow,) = (one for one in recording.ask("flows") if one["port"] == PORT)
    assert flow["source"].startswith("172.")
    found: list[str] = flow["names"]
    return found


def test_docker_s_own_resolver(recording: Recording, box: Engine) -> None:
    """On a network of one's own containers ask 127.0.0.11, and the engine asks for them."""
    box.docker("network", "create", "--subnet", SUBNET, "shop")
    assert called(recording, box, "--dns", OUTSIDE, "--network", "shop") == ["api.pay.example"]


def test_without_a_resolver_of_docker_s(recording: Recording, box: Engine) -> None:
    assert called(recording, box, "--dns", OUTSIDE) == ["api.pay.example"]


def test_rules_by_what_docker_s_own_resolver_told(recording: Recording, box: Engine) -> None:
    """The engine asks for each container from its own namespace: each knows what it was told."""
    box.docker("network", "create", "--subnet", SUBNET, "shop")
    addresses = ["172.31.7.10", "172.31.7.11"]
    for address in addresses:
        recording.ask("container", address, "shop:1", 0, [address])
    payments = "name: payments, type: dns, values: ['*.pay.example']"
    rules = (
        "name: dns, ports: ['53'], effect: allow",
        "name: pay, destination: [payments], effect: allow",
        "name: rest, effect: prevent",
    )
    recording.ask("policy", policy(objects=[payments], containers=rules))
    reach = f"busybox nc -w 2 {OUTSIDE} {PORT} </dev/null && echo reached || echo refused"
    lookup = "busybox nslookup api.pay.example >/dev/null"
    scripts = (f"{reach}; {lookup}; {reach}", reach)
    said = [
        box.docker(
            *("run", "--rm", "--network", "shop", "--ip", address, "--dns", OUTSIDE),
            *(IMAGE, "sh", "-c", script),
        ).split()
        for address, script in zip(addresses, scripts, strict=True)
    ]
    assert said == [["refused", "reached"], ["refused"]]
