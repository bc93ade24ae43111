"""Discovery against a runtime over real gRPC: events of every kind, and all that goes wrong."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest

from cnnf.defender.discovery import limits
from tests.contract.cri_runtime import Runtime, container_id
from tests.docker.follower import Follower
from tests.docker.runtime import following_pods

SOON_S = 5.0
Scene = Callable[[Runtime, Follower], Coroutine[Any, Any, None]]


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    made = Runtime(tmp_path / "sock")
    made.start(1)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to spare a runtime waits less here."""
    monkeypatch.setattr(limits, "CRI_POLL_S", 0.2)
    monkeypatch.setattr(limits, "RETRY_LAST_S", 0.5)


def play(runtime: Runtime, scene: Scene) -> None:
    async def whole() -> None:
        async with runtime.serving(), following_pods(runtime.socket) as follower:
            await scene(runtime, follower)

    asyncio.run(whole())


@pytest.mark.parametrize("events", ["interface", "off", "none"])
def test_containers_come_and_go_whatever_events_there_are(runtime: Runtime, events: Any) -> None:
    runtime.events = events

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: follower.snapshots == 1, SOON_S)
        (found,) = follower.containers.values()
        assert (found.image, found.tag, found.pid) == ("quay.io/shop/api", "3", 42)
        assert (found.namespace, found.pod, found.addresses) == ("shop", "api-0", ("10.85.0.7",))
        await asyncio.sleep(0.5)
        runtime.start(2)
        await follower.until(lambda: len(follower.containers) == 2, SOON_S)
        runtime.end(1)
        await follower.until(lambda: list(follower.containers) == [container_id(2)], SOON_S)
        assert follower.snapshots == 1
        assert follower.health.code == ""

    play(runtime, scene)


def test_an_event_that_is_ahead_of_the_state_is_asked_about_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CRI_POLL_S", 3600.0)

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: runtime.listeners == 1, SOON_S)
        await follower.until(lambda: follower.snapshots == 1, SOON_S)
        # It says that the container has ended, and shows it running for a while.
        runtime.tell(container_id(1), 2)
        await asyncio.sleep(0.1)
        assert follower.containers
        runtime.states[container_id(1)] = 2
        await follower.until(lambda: not follower.containers, 1.0)

    play(runtime, scene)


def test_lies_about_events_do_no_harm(runtime: Runtime) -> None:
    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: runtime.listeners == 1, SOON_S)
        await follower.until(lambda: follower.snapshots == 1, SOON_S)
        for kind in (0, 1, 2, 3):
            runtime.tell(container_id(7), kind)
            runtime.tell("x" * 100_000, kind)
            runtime.tell("", kind)
        await asyncio.sleep(1.5)
        assert list(follower.containers) == [container_id(1)]
        runtime.start(2)
        await follower.until(lambda: len(follower.containers) == 2, SOON_S)

    play(runtime, scene)


def test_a_stream_of_garbage_is_begun_again(runtime: Runtime) -> None:
    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: runtime.listeners == 1, SOON_S)
        runtime.say(b"\xff\xff\xff\xff")
        await follower.until(lambda: "event stream" in follower.health.message, SOON_S)
        await follower.until(lambda: follower.snapshots == 2, SOON_S)
        runtime.start(2)
        await follower.until(lambda: len(follower.containers) == 2, SOON_S)
        await follower.until(lambda: follower.health.code == "", SOON_S)

    play(runtime, scene)


@pytest.mark.parametrize("call", ["Version", "ListContainers"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (b"\xff\xff\xff\xff", "engine-bad-answer"),
        (grpc.StatusCode.INTERNAL, "engine-bad-answer"),
        (grpc.StatusCode.UNAVAILABLE, "engine-refused"),
        (b"\x0a\xff\xff\xff\x7f" + b"x" * 100, "engine-bad-answer"),
    ],
    ids=["garbage", "error", "unavailable", "cut"],
)
def test_answers_that_are_none_are_reported_and_got_over(
    runtime: Runtime, call: str, fault: Any, code: str
) -> None:
    runtime.faults[call] = fault

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: follower.health.code == code, SOON_S)
        assert follower.snapshots == 0
        runtime.faults.clear()
        await follower.until(lambda: follower.snapshots == 1, SOON_S)
        await follower.until(lambda: follower.health.code == "", SOON_S)

    play(runtime, scene)


@pytest.mark.parametrize("call", ["PodSandboxStatus", "ContainerStatus"])
def test_a_container_that_cannot_be_understood_is_left_out_and_said(
    runtime: Runtime, call: str
) -> None:
    runtime.faults[call] = b"\xff\xff\xff\xff"

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: "is left out" in follower.health.message, SOON_S)
        assert follower.containers == {}
        runtime.faults.clear()
        runtime.start(1)
        await follower.until(lambda: len(follower.containers) == 1, SOON_S)
        await follower.until(lambda: follower.health.code == "", SOON_S)

    play(runtime, scene)


def test_an_answer_without_end_is_refused(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CRI_ANSWER_BYTES_MAX", 100_000)
    runtime.faults["ListContainers"] = b"x" * 200_000

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: "larger than max" in follower.health.message, SOON_S)

    play(runtime, scene)


def test_a_silent_runtime_is_told(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_TIMEOUT_S", 0.3)
    runtime.faults["ListContainers"] = 60.0

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: follower.health.code == "engine-silent", SOON_S)

    play(runtime, scene)


def test_a_runtime_that_is_too_old_is_told_what_it_takes(runtime: Runtime) -> None:
    runtime.only_older = True

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: follower.health.code == "engine-unsupported", SOON_S)
        assert "containerd 1.6" in follower.health.message

    play(runtime, scene)


def test_a_daemon_without_pods_is_no_defect(runtime: Runtime) -> None:
    """As the containerd that Docker brings, with its CRI plugin switched off."""
    runtime.faults["Version"] = grpc.StatusCode.UNIMPLEMENTED

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: follower.health.code == "engine-absent", SOON_S)

    play(runtime, scene)


def test_more_containers_than_are_followed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONTAINERS_MAX", 3)
    for number in range(2, 8):
        runtime.start(number)

    async def scene(runtime: Runtime, follower: Follower) -> None:
        await follower.until(lambda: follower.health.code == "engine-too-many", SOON_S)
        assert len(follower.containers) == 3

    play(runtime, scene)
