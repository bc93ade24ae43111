"""Modes switched under traffic, and what no rule is asked about."""

import time
from collections.abc import Iterator

import pytest

from tests.kernel.conftest import Network, Recording
from tests.kernel.stage import CLIENT, SERVER, WAYS, Stage, Target, made_stage, policy
from tests.lab import netns

pytestmark = pytest.mark.kernel

FREE, PREVENTED, FAILSAFE, CONSOLE, OWN_CONSOLE = 8071, 8072, 8073, 8074, 8075
NEVER = policy(f"name: never, ports: [{PREVENTED}], effect: prevent")
#: Everybody, everywhere.
NOTHING = policy(
    "name: hosts nothing, effect: prevent",
    containers=("name: containers nothing, effect: prevent",),
)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with made_stage() as made:
        made.listen(FREE, PREVENTED, FAILSAFE, CONSOLE, OWN_CONSOLE)
        yield made


@pytest.fixture(scope="module", params=["native", "python"])
def recording(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Recording]:
    console = [(address, CONSOLE) for address in Network.ADDRESSES["b"]]
    console += [(address, OWN_CONSOLE) for address in Network.HOST["a"]]
    options = {"failsafe": [FAILSAFE], "console": console, "loop": request.param}
    with stage.recording(**options) as made:
        yield made


def test_modes_are_switched_under_traffic(stage: Stage, recording: Recording) -> None:
    """Disabled and enabled, for containers and for hosts: no connection is lost or refused."""
    recording.ask("policy", NEVER)
    living = [(way, stage.peers[way.client].ask("hold", (stage.address(way, 0), FREE), {}))
              for way in WAYS]  # fmt: skip
    targets: dict[str, list[Target]] = {}
    for way in WAYS:
        targets.setdefault(way.client, []).extend((stage.address(way, f), FREE) for f in (0, 1))
    for name, given in targets.items():
        stage.peers[name].ask("hammer", given, 1)
    for _ in range(3):
        for containers, hosts in ((False, True), (False, False), (True, False), (True, True)):
            recording.ask("settings", {"containers": containers, "hosts": hosts})
            time.sleep(0.1)
            for way, held in living:
                assert stage.peers[way.client].ask("lives", held)
    for name in targets:
        tried = stage.peers[name].ask("stop")
        assert {outcome for *_, outcome in tried} == {"answered"}
        assert len(tried) > 20


def test_what_a_mode_judges(stage: Stage, recording: Recording) -> None:
    """Nothing is refused where it is disabled, and everything again where it is enabled."""
    recording.ask("policy", NEVER)
    for containers, hosts in ((False, False), (True, True), (False, True)):
        recording.ask("settings", {"containers": containers, "hosts": hosts})
        for way in WAYS:
            # The rule is the hosts', and what is behind these addresses nobody knows.
            judged = hosts and (containers or way.hook not in ("forward", "bridge"))
            tried = stage.peers[way.client].connect((stage.address(way, 0), PREVENTED), count=2)
            assert tried == [["refused" if judged else "answered"] * 2], (way, containers, hosts)
    recording.ask("settings", {"containers": True, "hosts": True})


def test_never_refused(stage: Stage, recording: Recording) -> None:
    """Failsafe ports of the host and the Console's place: not asked about, and yet counted."""
    recording.ask("policy", NOTHING)
    asked = recording.ask("state")["asked"]
    for family in (0, 1):
        own, b = Network.HOST["a"][family], Network.ADDRESSES["b"][family]
        tried = stage.peers["a"].connect((own, FAILSAFE), count=5)
        assert tried == [["answered"] * 5]
        # The Console is on this host, and others come to it.
        assert stage.peers["a"].connect((own, OWN_CONSOLE), count=5) == [["answered"] * 5]
        for name in ("client", "program"):
            assert stage.peers[name].connect((b, CONSOLE), count=5) == [["answered"] * 5]
    state = recording.ask("state")
    assert state["asked"] == asked
    assert state["failsafe"] > 0
    found: dict[int, int] = {}
    for one in recording.ask("flows"):
        if one["port"] not in (FAILSAFE, CONSOLE, OWN_CONSOLE):
            continue
        found[one["port"]] = found.get(one["port"], 0) + one["connections"]
        assert one["effect"] != "prevent", one
    assert found == {FAILSAFE: 10, CONSOLE: 20, OWN_CONSOLE: 10}
    # Everything else is, those ports elsewhere too.
    for family in (0, 1):
        own, b = Network.HOST["a"][family], Network.ADDRESSES["b"][family]
        assert stage.peers["a"].connect((own, CONSOLE), (own, FREE)) == [["refused"]] * 2
        assert stage.peers["client"].connect((b, FAILSAFE), (b, FREE)) == [["refused"]] * 2
        other = Network.HOST["b"][family]
        assert stage.peers["b"].connect((other, OWN_CONSOLE)) == [["refused"]]


def test_neighbours_are_found_whatever_is_prevented(stage: Stage, recording: Recording) -> None:
    """ICMPv6 neighbour discovery and ARP: those who may not connect know where they would."""
    recording.ask("policy", NOTHING)
    for name in ("program", *"abcd"):
        stage.namespace(name).run("ip", "neigh", "flush", "all")
    for family in (0, 1):
        hops = {
            "a": (Network.HOST["a"][family], (Network.HOST["a"][family], FREE)),
            "c": (Network.ADDRESSES["d"][family], (Network.ADDRESSES["d"][family], FREE)),
            # The host's own SYN would not even be sent.
            "b": (Network.HOST["b"][family], (Network.HOST["b"][family], FAILSAFE)),
        }
        for name, (neighbour, target) in hops.items():
            wanted = "answered" if target[1] == FAILSAFE else "refused"
            assert stage.peers[name].connect(target) == [[wanted]], name
            known = stage.namespace(name).run("ip", "neigh", "show", neighbour)
            assert "lladdr" in known, (name, neighbour)


def test_loopback_only_where_a_rule_says_so(stage: Stage, recording: Recording) -> None:
    recording.ask("settings", {"refuse_with": "reset"})
    recording.ask("policy", NEVER)
    for address in ("127.0.0.1", "::1"):
        for name in ("client", "program"):
            tried = stage.peers[name].connect((address, FREE), (address, PREVENTED), count=2)
            assert tried == [["answered"] * 2, ["refused"] * 2]
    told = {
        (one["source"], one["port"]): one["effect"]
        for one in recording.ask("flows")
        if one["connections"] and one["destination"] == f"service:{SERVER}"
    }
    assert told[f"service:{CLIENT}", PREVENTED] == "prevent"
    assert told[f"service:{CLIENT}", FREE] is None
