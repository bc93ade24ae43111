"""Rules that change: what lives is cut, what is acknowledged holds, and nothing is miscounted."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.kernel.conftest import Network, Recording
from tests.kernel.stage import WAYS, Stage, Target, Way, made_stage, policy
from tests.lab import netns

pytestmark = pytest.mark.kernel

#: Ports whose rules change, and one that is always allowed.
FLIPPED = (8021, 8022, 8023)
STEADY = 8024
FLIPS = 100
SEED = 20_250_101


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with made_stage() as made:
        made.listen(*FLIPPED, STEADY)
        yield made


@pytest.fixture(scope="module", params=["native", "python"])
def recording(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Recording]:
    with stage.recording(loop=request.param) as made:
        # Discovery tells of all four, whose sockets are then the Defender's to cut.
        for name in "abcd":
            pid, addresses = stage.peers[name].pid, Network.ADDRESSES[name]
            made.ask("container", f"id-{name}", f"shop/{name}", pid, addresses)
        yield made


def effects(by_port: dict[int, str]) -> str:
    """A policy that says what becomes of connections to ports, whoever makes them."""
    return policy(
        *(f"name: h{port}, ports: [{port}], effect: {by_port[port]}" for port in by_port),
        containers=(f"name: c{port}, ports: [{port}], effect: {by_port[port]}" for port in by_port),
    )


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_a_rule_cuts_what_lives(stage: Stage, recording: Recording, family: int) -> None:
    """On every way, at both ends that are here; what no rule prevents lives on."""
    recording.ask("policy", policy())
    recording.ask("settings", {"cut": True})
    meant: list[tuple[Way, int]] = []
    others: list[tuple[Way, int]] = []
    for way in WAYS:
        for port, held in ((FLIPPED[0], meant), (STEADY, others)):
            target = (stage.address(way, family), port)
            held.append((way, stage.peers[way.client].ask("hold", target, {})))
    recording.ask("policy", effects({FLIPPED[0]: "prevent"}))
    assert [stage.peers[way.client].ask("lives", one) for way, one in meant] == [False] * 5
    assert [stage.peers[way.client].ask("lives", one) for way, one in others] == [True] * 5
    assert "cut-failed" not in recording.ask("state")["conditions"]


def test_nothing_is_cut_where_that_is_off(stage: Stage, recording: Recording) -> None:
    recording.ask("policy", policy())
    recording.ask("settings", {"cut": False})
    target = (Network.ADDRESSES["b"][0], FLIPPED[0])
    held = stage.peers["client"].ask("hold", target, {})
    recording.ask("policy", effects({FLIPPED[0]: "prevent"}))
    assert stage.peers["client"].connect(target) == [["refused"]]
    assert stage.peers["client"].ask("lives", held)
    recording.ask("settings", {"cut": True})
    assert stage.peers["client"].ask("lives", held), "the mode has changed, no rule has"
    # Of the next change of the rules it is no different from any other.
    recording.ask("policy", effects({FLIPPED[0]: "prevent", FLIPPED[1]: "alert"}))
    assert not stage.peers["client"].ask("lives", held)


class Flip(NamedTuple):
    """A policy: when the change to it began, when it was acknowledged, what it prevents."""

    began: float
    acknowledged: float
    prevented: frozenset[int]


def flip(recording: Recording, times: int) -> list[Flip]:
    """Change the effects at random; each policy holds for a short while."""
    chance = random.Random(SEED)
    flips = [Flip(0.0, 0.0, frozenset())]
    for _ in range(times):
        chosen = {port: chance.choice(("allow", "alert", "prevent")) for port in FLIPPED}
        began = time.monotonic()
        recording.ask("policy", effects(chosen))
        prevented = frozenset(port for port, effect in chosen.items() if effect == "prevent")
        flips.append(Flip(began, time.monotonic(), prevented))
        time.sleep(0.03)
    return flips


def expected(flips: list[Flip], port: int, began: float, ended: float) -> str:
    """What has to become of an attempt at a port; nothing where it may be either."""
    possible = {
        port in one.prevented
        for one, after in zip(flips, [*flips[1:], None], strict=True)
        if one.began <= ended and (after is None or after.acknowledged > began)
    }
    if len(possible) == 2:
        return ""
    return "refused" if possible.pop() else "answered"


def hammered(stage: Stage) -> dict[str, list[Target]]:
    """Every way, its targets by client; `a` has two."""
    ports = (*FLIPPED, STEADY)
    found: dict[str, list[Target]] = {}
    for way in WAYS:
        found.setdefault(way.client, []).extend(
            (stage.address(way, family), port) for family in (0, 1) for port in ports
        )
    return found


def test_no_prevented_syn_passes_after_the_acknowledgement(
    stage: Stage, recording: Recording, request: pytest.FixtureRequest
) -> None:
    """Many changes under traffic on every way: each connect is judged by what held then."""
    recording.ask("settings", {"cut": True, "refuse_with": "reset"})
    recording.ask("policy", effects(dict.fromkeys(FLIPPED, "allow")))
    recording.ask("flows")
    targets = hammered(stage)
    before = sum(sum(counted[0].values()) for counted in stage.served().values())
    for name, given in targets.items():
        stage.peers[name].ask("hammer", given, 1)
    flips = flip(recording, FLIPS if "native" in request.node.name else FLIPS // 4)
    tried = {name: stage.peers[name].ask("stop") for name in targets}
    served = sum(sum(counted[0].values()) for counted in stage.served().values()) - before

    judged: Counter[str] = Counter()
    made: Counter[str] = Counter()
    wrong = []
    for name, attempts in tried.items():
        for index, began, ended, outcome in attempts:
            made[outcome] += 1
            wanted = expected(flips, targets[name][index][1], began, ended)
            judged[wanted] += 1
            # What was let through may be cut before its answer; but it is never broken otherwise.
            either = {"answered", "refused", "accepted", "reset"}
            if outcome not in ({wanted} if wanted else either):
                wrong.append((name, targets[name][index], began, ended, outcome))
    assert wrong == []
    assert min(judged["refused"], judged["answered"]) >= 100, judged

    counted: Counter[str] = Counter()
    for one in recording.ask("flows"):
        counted["prevent" if one["effect"] == "prevent" else "passed"] += one["connections"]
        counted["answered"] += one["answered"]
    through = sum(made.values()) - made["refused"]
    assert counted == {"prevent": made["refused"], "passed": through, "answered": through}
    # One that was cut may have been given up before the server took it.
    assert through - made["accepted"] - made["reset"] <= served <= through


def test_what_was_there_before_is_not_cut() -> None:
    # On a stage of its own, where no Defender is yet.
    with made_stage() as stage:
        stage.listen(FLIPPED[0])
        leave_what_was_there(stage)


def leave_what_was_there(stage: Stage) -> None:
    """A connection, a Defender whose first policy prevents it, and its end."""
    target = (Network.ADDRESSES["b"][0], FLIPPED[0])
    held = stage.peers["client"].ask("hold", target, {})
    with stage.recording() as recording:
        assert stage.peers["client"].ask("lives", held)
        assert recording.ask("flows") == []
        # The first policy, as at a start.
        recording.ask("policy", effects({FLIPPED[0]: "prevent"}))
        assert stage.peers["client"].connect(target) == [["refused"]]
        assert stage.peers["client"].ask("lives", held)
    assert stage.peers["client"].ask("lives", held)
