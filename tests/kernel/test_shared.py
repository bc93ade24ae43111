"""Containers that share a network namespace: each connection is judged and named by its socket."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cnnf.defender.discovery.services import cgroup2_mount
from cnnf.defender.kernel.loop_process import LoopKind
from tests.kernel.conftest import Recording
from tests.kernel.stage import Peer, Stage, made_stage, policy
from tests.lab import netns
from tests.lab.units import Unit

APP, SIDECAR, OTHER = ("a1" * 32, "b2" * 32, "c3" * 32)
PORT = 8100

pytestmark = pytest.mark.skipif(
    not netns.can_make() or cgroup2_mount() is None, reason="needs root, ip and cgroup v2"
)

RULES = policy(
    containers=[
        "name: stop, source: [sidecar], destination: [server], effect: prevent",
        "name: tell, source: [app], destination: [server], effect: alert",
    ],
    objects=[
        'name: sidecar, type: image, values: ["shop/sidecar"]',
        'name: app, type: image, values: ["shop/app"]',
        "name: server, type: subnet, values: [10.71.0.0/16]",
    ],
)


class _Container(Unit):
    """A container's cgroup, as an engine with cgroupfs makes it."""

    def __init__(self, key: str) -> None:
        mount = cgroup2_mount()
        assert mount is not None
        self.name = key
        self.path: Path = mount / "docker" / key
        self.path.mkdir(parents=True, exist_ok=True)
        self._processes = []


@pytest.fixture(params=["native", "python"])
def kind(request: pytest.FixtureRequest) -> LoopKind:
    chosen: LoopKind = request.param
    return chosen


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with made_stage() as made:
        made.listen(PORT)
        yield made


@pytest.fixture(scope="module")
def peers(stage: Stage) -> Iterator[dict[str, Peer]]:
    """A peer in each of two containers that live in `a`."""
    made, cgroups = {}, []
    for key in (APP, SIDECAR):
        cgroup = _Container(key)
        cgroups.append(cgroup)
        made[key] = Peer(stage.network.ends["a"], cgroup)
        made[key].connect(("127.0.0.1", 1))  # it has started
    yield made
    for peer in made.values():
        with suppress(ProcessLookupError):
            os.kill(peer.pid, signal.SIGKILL)
        peer.end()
    time.sleep(0.1)
    for cgroup in cgroups:
        cgroup.end()
    with suppress(OSError):
        cgroups[0].path.parent.rmdir()


def _share(recording: Recording, peers: dict[str, Peer]) -> None:
    recording.ask("container", APP, "shop/app", peers[APP].pid, ["10.71.1.2", "fd71:1::2"])
    recording.ask("container", SIDECAR, "shop/sidecar", peers[SIDECAR].pid, [], APP)


@pytest.mark.parametrize("family", [0, 1])
def test_each_is_judged_and_named_by_its_own_socket(
    stage: Stage, peers: dict[str, Peer], kind: LoopKind, family: int
) -> None:
    server = ("10.71.2.2", "fd71:2::2")[family]
    rules = RULES if not family else RULES.replace("10.71.0.0/16", '"fd71::/16"')
    with stage.recording(loop=kind) as recording:
        recording.ask("container", OTHER, "shop/server", 0, ["10.71.2.2", "fd71:2::2"])
        _share(recording, peers)
        recording.ask("policy", rules)
        for _ in range(5):
            assert peers[APP].connect((server, PORT)) == [["answered"]]
            assert peers[SIDECAR].connect((server, PORT)) != [["answered"]]
        found = {
            (one["source"], one["effect"]): (one["connections"], one["answered"])
            for one in recording.ask("flows")
            if one["port"] == PORT and one["connections"]
        }
        assert found == {(APP, "alert"): (5, 5), (SIDECAR, "prevent"): (5, 0)}


def test_without_a_rule_both_are_named_and_their_answers_are_theirs(
    stage: Stage, peers: dict[str, Peer], kind: LoopKind
) -> None:
    with stage.recording(loop=kind) as recording:
        _share(recording, peers)
        for number in range(20):
            peer = peers[SIDECAR if number % 4 else APP]
            assert peer.connect(("10.71.2.2", PORT)) == [["answered"]]
        found: dict[str, list[int]] = {}
        for one in recording.ask("flows"):
            if one["port"] == PORT:
                counts = found.setdefault(one["source"], [0, 0])
                counts[0] += one["connections"]
                counts[1] += one["answered"]
        assert found == {APP: [5, 5], SIDECAR: [15, 15]}


def test_a_loop_that_starts_later_knows_of_shared_namespaces(
    stage: Stage, peers: dict[str, Peer], kind: LoopKind
) -> None:
    with stage.recording(loop=kind) as recording:
        _share(recording, peers)
        recording.ask("policy", RULES)
        for pid in recording.ask("state")["loops"]:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 15
        while len(recording.ask("state")["ended"]) < 2 or len(recording.ask("state")["loops"]) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)
        for _ in range(3):
            assert peers[APP].connect(("10.71.2.2", PORT)) == [["answered"]]
            assert peers[SIDECAR].connect(("10.71.2.2", PORT)) != [["answered"]]


def test_who_leaves_leaves_the_address_to_the_other(
    stage: Stage, peers: dict[str, Peer], kind: LoopKind
) -> None:
    with stage.recording(loop=kind) as recording:
        _share(recording, peers)
        # The same app twice need not be told apart, so it is remembered by its address.
        recording.ask("container", SIDECAR, "shop/app", peers[SIDECAR].pid, [], APP)
        packets = recording.ask("state")["packets"]
        for _ in range(10):
            assert peers[APP].connect(("10.71.2.2", PORT)) == [["answered"]]
        time.sleep(0.6)
        assert recording.ask("state")["packets"] - packets <= 2
