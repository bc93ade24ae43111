"""UDP: judged once for each of its conntrack entries, where that is wanted; never asked else."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.kernel.conftest import Recording
from tests.kernel.stage import SILENT_SECONDS, WAYS, Stage, Target, made_stage, policy
from tests.lab import netns

pytestmark = pytest.mark.kernel

FREE, ALERTED, PREVENTED = 8061, 8062, 8063
RULES = policy(
    f"name: tcp only, ports: [{FREE}], protocol: tcp, effect: prevent",
    f"name: look, ports: [{ALERTED}], protocol: udp, effect: alert",
    f"name: never, ports: [{PREVENTED}], protocol: udp, effect: prevent",
)
EFFECTS = {FREE: None, ALERTED: "alert", PREVENTED: "prevent"}
COUNT = 3


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with made_stage() as made:
        made.listen(*EFFECTS, protocol="udp")
        yield made


@pytest.fixture(scope="module", params=["native", "python"])
def recording(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Recording]:
    with stage.recording(loop=request.param) as made:
        made.ask("policy", RULES)
        yield made


def attempts(stage: Stage, port: int, **options: object) -> set[str]:
    """What becomes of COUNT datagrams on every way, each from a socket of its own."""
    given = {"udp": True, "together": True, "timeout": 2.0, **options}
    for way in WAYS:
        targets: list[Target] = [(stage.address(way, family), port) for family in (0, 1)]
        stage.peers[way.client].tell("connect", targets, COUNT, given)
    answers = [stage.peers[way.client].answer() for way in WAYS]
    return {outcome for answer in answers for tries in answer for outcome, _ in tries}


def test_never_asked_where_it_is_off(stage: Stage, recording: Recording) -> None:
    recording.ask("settings", {"udp": False})
    before = recording.ask("state")["asked"]
    for port in EFFECTS:
        assert attempts(stage, port) == {"answered"}
    assert recording.ask("state")["asked"] == before


@pytest.mark.parametrize("refuse_with", ["reset", "drop"])
def test_each_verdict(stage: Stage, recording: Recording, refuse_with: str) -> None:
    recording.ask("settings", {"udp": True, "refuse_with": refuse_with})
    assert attempts(stage, FREE) == {"answered"}
    assert attempts(stage, ALERTED) == {"answered"}
    # ICMP says so, or nothing does; a datagram of the host's own can't be sent.
    told = {"refused", "denied"} if refuse_with == "reset" else {"silent", "denied"}
    assert attempts(stage, PREVENTED, timeout=SILENT_SECONDS) == told
    counted: Counter[int] = Counter()
    for one in recording.ask("flows"):
        if one["protocol"] == "udp" and one["port"] in EFFECTS:
            assert one["effect"] == EFFECTS[one["port"]], one
            counted[one["port"]] += one["connections"]
    assert counted == dict.fromkeys(EFFECTS, COUNT * 2 * len(WAYS))


def test_once_for_each_entry(stage: Stage, recording: Recording) -> None:
    """Of a conversation only the first datagram is asked about."""
    recording.ask("settings", {"udp": True, "refuse_with": "reset"})
    for way in WAYS:
        recording.ask("switch")
        before = recording.ask("state")["asked"]
        target = (stage.address(way, 0), ALERTED)
        held = stage.peers[way.client].ask("hold", target, {"udp": True})
        assert all(stage.peers[way.client].ask("lives", held) for _ in range(10))
        assert recording.ask("state")["asked"] == before + 1, way
