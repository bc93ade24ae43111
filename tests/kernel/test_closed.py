"""The fail mode: what passes, and what does not, while nobody judges."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.conftest import Recording, queues
from tests.kernel.recorder import ANSWERS
from tests.kernel.stage import SILENT_SECONDS, WAYS, Stage, Target, made_stage, policy, until
from tests.lab import netns

pytestmark = pytest.mark.kernel

FREE, FAILSAFE, PREVENTED = 8031, 8032, 8033
RULES = policy(
    f"name: never, ports: [{PREVENTED}], effect: prevent",
    f"name: not even there, ports: [{FAILSAFE}], source: [elsewhere], effect: prevent",
    objects=("name: elsewhere, type: subnet, values: [192.0.2.0/24]",),
)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with made_stage() as made:
        made.listen(FREE, FAILSAFE, PREVENTED)
        yield made


@contextmanager
def stopped(stage: Stage, recording: Recording) -> Iterator[None]:
    """Nobody answers the loops' queues: they are killed, and the one who starts them waits. What he
    has himself, that for answers of DNS, stays his."""
    loops = recording.ask("ready")
    os.kill(recording.pid, signal.SIGSTOP)
    try:
        for pid in loops:
            os.kill(pid, signal.SIGKILL)
        until(lambda: queues(stage.host) == [ANSWERS], 3, "the killed loops' queues go with them")
        yield
    finally:
        os.kill(recording.pid, signal.SIGCONT)
    # What comes between is as before; from the queue's opening on it waits for the loop.
    until(lambda: len(queues(stage.host)) == len(loops) + 1, 10, "new loops")


def outcomes(
    stage: Stage, port: int, hooks: tuple[str, ...] = (), timeout: float = 5.0
) -> set[str]:
    """What comes of new connections on every way (or some), over both families."""
    ways = [way for way in WAYS if not hooks or way.hook in hooks]
    options = {"timeout": timeout, "together": True}
    for way in ways:
        targets: list[Target] = [(stage.address(way, family), port) for family in (0, 1)]
        stage.peers[way.client].tell("connect", targets, 1, options)
    answers = [stage.peers[way.client].answer() for way in ways]
    return {outcome for answer in answers for tries in answer for outcome, _ in tries}


@pytest.mark.parametrize("loop", ["native", "python"])
def test_closed(stage: Stage, loop: str) -> None:
    """Nothing passes unjudged but what is never judged."""
    options = {"fail_closed": True, "failsafe": [FAILSAFE], "loop": loop}
    with stage.recording(**options) as recording:
        recording.ask("policy", RULES)
        assert outcomes(stage, FREE) == {"answered"}
        assert outcomes(stage, PREVENTED) == {"refused"}
        living = stage.peers["a"].ask("hold", (stage.address(WAYS[0], 0), FREE), {})
        # Nothing is remembered any more: each connect would have to be asked about.
        recording.ask("switch")
        with stopped(stage, recording):
            assert outcomes(stage, FREE, timeout=SILENT_SECONDS) == {"silent"}
            assert outcomes(stage, PREVENTED, timeout=SILENT_SECONDS) == {"silent"}
            assert outcomes(stage, FAILSAFE, ("input",)) == {"answered"}
            assert stage.peers["a"].ask("lives", living)
        assert outcomes(stage, FREE) == {"answered"}
        assert outcomes(stage, PREVENTED) == {"refused"}


@pytest.mark.parametrize("loop", ["native", "python"])
def test_open(stage: Stage, loop: str) -> None:
    """Everything passes, even what is prevented: but not what the kernel remembers to refuse."""
    with stage.recording(loop=loop) as recording:
        recording.ask("policy", RULES)
        recording.ask("switch")
        with stopped(stage, recording):
            assert outcomes(stage, FREE) == {"answered"}
            assert outcomes(stage, PREVENTED) == {"answered"}
        assert outcomes(stage, FREE) == {"answered"}
        # By now its unit is known by its cgroup.
        time.sleep(0.5)
        assert outcomes(stage, PREVENTED) == {"refused"}
        remembered = ("forward", "input", "output by unit", "bridge")
        with stopped(stage, recording):
            assert outcomes(stage, PREVENTED, remembered) == {"refused"}
            assert outcomes(stage, PREVENTED, ("output by program",)) == {"answered"}
        assert outcomes(stage, PREVENTED) == {"refused"}


@pytest.mark.parametrize("loop", ["native", "python"])
def test_what_cannot_be_read_failing_closed(stage: Stage, loop: str) -> None:
    """A SYN whose ports lie beyond what is copied, though nothing is prevented."""
    with stage.recording(loop=loop, fail_closed=True) as recording:
        target = (stage.address(WAYS[0], 1), FREE)
        assert stage.peers["a"].connect(target) == [["answered"]]
        recording.ask("switch")
        tried = stage.peers["a"].connect(target, headers=800, timeout=SILENT_SECONDS)
        assert tried == [["silent"]]
