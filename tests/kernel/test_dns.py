"""Names for the outside: what real clients were told by a real name server, on flows."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import ROOT, TRAFFIC, Network, Recording, wait_until_clean
from tests.lab.netns import Namespace

#: `c` is a container network's member; `b` is outside: it resolves and is connected to.
INSIDE = ("10.71.3.0/24", "fd71:3::/64")
OUTSIDE4, OUTSIDE6 = Network.ADDRESSES["b"]
ZONE = {
    "api.pay.example": [["CNAME", 300, "edge.cdn.example"]],
    "edge.cdn.example": [["A", 60, OUTSIDE4], ["AAAA", 60, OUTSIDE6]],
    "other.example": [["A", 0, OUTSIDE4]],
    "big.example": [*(["A", 60, f"198.51.100.{at}"] for at in range(250)), ["A", 60, OUTSIDE4]],
}
PORT = 8003


@pytest.fixture
def resolver(network: Network, tmp_path: Path) -> Iterator[Network]:
    """A name server in `b`, over both families and both protocols."""
    zone = tmp_path / "zone.json"
    zone.write_text(json.dumps(ZONE))
    serving = [_resolver(network.ends["b"], address, zone) for address in (OUTSIDE4, OUTSIDE6)]
    network.serve("b", OUTSIDE4, PORT)
    network.serve("b", OUTSIDE6, PORT)
    yield network
    for one in serving:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


def _resolver(where: Namespace, address: str, zone: Path) -> "subprocess.Popen[bytes]":
    started = where.start(
        *(sys.executable, "-m", "tests.kernel.nameserver", address, str(zone)),
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"serving\n"
    return started


@pytest.fixture
def named(resolver: Network) -> Iterator[Recording]:
    made = Recording(resolver.host, networks=INSIDE)
    try:
        yield made
    finally:
        made.end()
        wait_until_clean(resolver.host)


def ask(where: Namespace, name: str, *options: str, server: str = OUTSIDE4) -> str:
    """Look a name up as a program does."""
    command = (sys.executable, "-m", "tests.lab.lookup", server, name, *options)
    return where.run("env", "-C", str(ROOT), *command)


def reach(where: Namespace, address: str) -> None:
    where.run("env", "-C", str(ROOT), *TRAFFIC, "connect", "1", address, str(PORT))


def names(recording: Recording) -> dict[tuple[str, str], list[str]]:
    """What flows' destinations are called, by their ends."""
    return {
        (flow["source"], flow["destination"]): flow["names"]
        for flow in recording.ask("flows")
        if flow["port"] == PORT
    }


POD, POD6 = Network.ADDRESSES["c"]
OTHER_POD = Network.ADDRESSES["d"][0]


def test_a_container_s_flow_is_called_what_it_asked_for(
    named: Recording, resolver: Network
) -> None:
    pod, other = resolver.ends["c"], resolver.ends["d"]
    # busybox asks for both families, as glibc does, and follows what a name is an alias of.
    assert OUTSIDE4 in pod.run("busybox", "nslookup", "api.pay.example", OUTSIDE4)
    reach(pod, OUTSIDE4)
    reach(pod, OUTSIDE6)
    # Another one was told nothing.
    reach(other, OUTSIDE4)
    told = names(named)
    assert told[POD, OUTSIDE4] == ["api.pay.example"]
    # Nothing says yet that this is the same one.
    assert told[POD6, OUTSIDE6] == []
    assert told[OTHER_POD, OUTSIDE4] == []


def test_a_container_asks_over_one_family_and_connects_over_the_other(
    named: Recording, resolver: Network
) -> None:
    pod = resolver.ends["c"]
    named.ask("container", "shop", "shop:1", 0, [POD, POD6])
    ask(pod, "api.pay.example", server=OUTSIDE4)
    reach(pod, OUTSIDE6)
    assert names(named)["shop", OUTSIDE6] == ["api.pay.example"]
    # Another container has got the address, and was told nothing.
    named.ask("container", "other", "other:1", 0, [POD, POD6])
    reach(pod, OUTSIDE6)
    reach(pod, OUTSIDE4)
    told = names(named)
    assert told["other", OUTSIDE4] == told["other", OUTSIDE6] == []


@pytest.mark.parametrize("options", [(), ("--tcp",), ("--tcp", "--slowly")])
@pytest.mark.parametrize("server", [OUTSIDE4, OUTSIDE6])
def test_over_both_protocols_and_families(
    named: Recording, resolver: Network, options: tuple[str, ...], server: str
) -> None:
    pod = resolver.ends["c"]
    ask(pod, "api.pay.example", *options, server=server)
    ask(pod, "other.example", *options, server=server)
    host = named.ask("state")
    assert "dns-unread" not in host["conditions"]
    for address in (OUTSIDE4, OUTSIDE6):
        reach(pod, address)
    told = names(named)
    if server == OUTSIDE4:
        assert told[POD, OUTSIDE4] == ["other.example", "api.pay.example"]
    else:
        assert told[POD6, OUTSIDE6] == ["api.pay.example"]


def test_the_host_s_own(named: Recording, resolver: Network) -> None:
    ask(resolver.host, "api.pay.example", server=OUTSIDE6)
    reach(resolver.host, OUTSIDE4)
    reach(resolver.ends["c"], OUTSIDE4)
    told = names(named)
    assert told.pop((POD, OUTSIDE4)) == []
    # By program and by address alone, while it was not known yet.
    assert {tuple(found) for found in told.values()} == {("api.pay.example",)}


def test_a_large_answer_whole(named: Recording, resolver: Network) -> None:
    """4,048 bytes of EDNS, in fragments over UDP and in segments over TCP."""
    pod = resolver.ends["c"]
    for options in ((), ("--tcp",)):
        assert OUTSIDE4 in ask(pod, "big.example", *options)
    reach(pod, OUTSIDE4)
    assert names(named)[POD, OUTSIDE4] == ["big.example"]


def test_an_answer_that_nobody_asked_for(named: Recording, resolver: Network) -> None:
    outside, pod = resolver.ends["a"], resolver.ends["c"]
    forged = "forge", POD, "40000", "api.pay.example", OUTSIDE4
    outside.run("env", "-C", str(ROOT), sys.executable, "-m", "tests.lab.lookup", *forged)
    reach(pod, OUTSIDE4)
    assert names(named)[POD, OUTSIDE4] == []


def test_what_can_t_be_read_is_told(named: Recording, resolver: Network) -> None:
    pod = resolver.ends["c"]
    pod.run("env", "-C", str(ROOT), sys.executable, "-m", "tests.lab.lookup", "noise", OUTSIDE4)
    assert "gave no names: 1 were none" in named.ask("state")["conditions"]["dns-unread"]
    # More than are read in a second pass all the same.
    for _ in range(2):
        flood = "flood", OUTSIDE4, "3000"
        pod.run("env", "-C", str(ROOT), sys.executable, "-m", "tests.lab.lookup", *flood)
    assert "more than are read" in named.ask("state")["conditions"]["dns-unread"]
    ask(resolver.ends["d"], "api.pay.example")


@pytest.mark.parametrize("address", ["127.0.0.53", Network.HOST["a"][0]])
def test_a_resolver_on_the_host(
    named: Recording, resolver: Network, tmp_path: Path, address: str
) -> None:
    serving = _resolver(resolver.host, address, tmp_path / "zone.json")
    try:
        ask(resolver.host, "api.pay.example", server=address)
        if not address.startswith("127."):
            ask(resolver.ends["c"], "other.example", server=address)
    finally:
        serving.kill()
        serving.communicate()
    reach(resolver.host, OUTSIDE4)
    reach(resolver.ends["c"], OUTSIDE4)
    told = names(named)
    pods = [] if address.startswith("127.") else ["other.example"]
    assert told.pop((POD, OUTSIDE4)) == pods
    assert {tuple(found) for found in told.values()} == {("api.pay.example",)}
