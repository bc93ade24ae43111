"""Discovery against a real containerd: what happens to pods is known here within the second."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnf.defender.core.containers import ContainerGone
from cnnf.defender.core.services import container_of
from tests.docker.follower import Follower, command
from tests.docker.runtime import GATEWAY, SUBNET, following_pods, running_containerd
from tests.lab.containerd import Containerd, Pod

pytestmark = pytest.mark.docker

SOON_S = 3.0
#: A runtime that comes back is found after at most this: the wait between two attempts, doubled.
BACK_S = 15.0
FRONT = "docker.io/shop/frontend:1.4"

Scene = Callable[[Follower], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def runtime() -> Iterator[Containerd]:
    with running_containerd("cri", FRONT) as made:
        yield made


@pytest.fixture
def pods(runtime: Containerd) -> Iterator[Callable[..., Pod]]:
    """Runs pods, which are removed after the test."""
    made: list[Pod] = []

    def run(name: str, **more: Any) -> Pod:
        made.append(runtime.run_pod(name, **more))
        return made[-1]

    yield run
    for pod in made:
        runtime.remove_pod(pod)


def cgroup_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text().split("0::")[1].strip()


def play(runtime: Containerd, scene: Scene) -> None:
    async def whole() -> None:
        with runtime.namespace.entered():
            # The interfaces of the runtime's namespace are looked at, as where a Defender runs.
            async with following_pods(runtime.socket, cluster="lab") as follower:
                await follower.until(lambda: follower.snapshots == 1, SOON_S)
                await scene(follower)
                assert follower.health.code == ""

    asyncio.run(whole())


def test_what_runs_already_is_in_the_snapshot_with_all_that_names_it(
    runtime: Containerd, pods: Callable[..., Pod]
) -> None:
    labels = {"app": "front", "pod-template-hash": "5d8f7c6b9", "evil": "a\x1b[31mb"}
    pod = pods("frontend-5d8f7c6b9-x2xkq", namespace="shop", labels=labels)
    container = runtime.run_container(pod, "web", image=FRONT)

    async def scene(follower: Follower) -> None:
        assert list(follower.containers) == [container]
        found = follower.containers[container]
        assert (found.image, found.tag) == ("shop/frontend", "1.4")
        assert (found.cluster, found.namespace) == ("lab", "shop")
        assert (found.pod, found.workload) == (pod.config.metadata.name, "deployment/frontend")
        assert found.pod_uid == pod.config.metadata.uid
        assert found.title == "frontend-5d8f7c6b9-x2xkq/web"
        assert found.labels == {"app": "front", "pod-template-hash": "5d8f7c6b9", "evil": "a [31mb"}
        assert len(found.addresses) == 1
        assert found.addresses[0].startswith("10.88.0.")
        assert abs(found.started_at - time.time() * 1000) < 60_000
        # Its process is the one in its cgroup, and the cgroup leads back to it.
        assert container_of(await asyncio.to_thread(cgroup_of, found.pid)) == container

    play(runtime, scene)


def test_networks_are_those_of_the_configuration(
    runtime: Containerd, pods: Callable[..., Pod]
) -> None:
    pods("here")

    async def scene(follower: Follower) -> None:
        (network,) = follower.networks.values()
        assert (network.driver, network.bridge) == ("bridge", "cni0")
        assert (network.subnets, network.gateways) == ((SUBNET,), (GATEWAY,))

    play(runtime, scene)


def test_a_container_is_known_while_it_starts_and_gone_when_it_ends(
    runtime: Containerd, pods: Callable[..., Pod]
) -> None:
    pod = pods("worker")

    async def scene(follower: Follower) -> None:
        container = await command(lambda: runtime.run_container(pod, "job"))
        # It is told of while the call that starts it still returns.
        await follower.until(lambda: container in follower.containers, 0.5)
        before = time.time() * 1000
        await asyncio.to_thread(runtime.stop_container, container)
        await follower.until(lambda: container not in follower.containers, SOON_S)
        (gone,) = follower.gone
        assert before - 100 < gone.at <= time.time() * 1000

    play(runtime, scene)


def test_sidecars_share_the_pods_address(runtime: Containerd, pods: Callable[..., Pod]) -> None:
    pod = pods("both")
    first = runtime.run_container(pod, "app", image=FRONT)
    second = runtime.run_container(pod, "proxy")

    async def scene(follower: Follower) -> None:
        one, other = follower.containers[first], follower.containers[second]
        assert one.addresses == other.addresses != ()
        assert (one.image, other.image) == ("shop/frontend", "lab/box")

    play(runtime, scene)


def test_a_pod_on_the_hosts_network_has_no_address(
    runtime: Containerd, pods: Callable[..., Pod]
) -> None:
    pod = pods("agent", host_network=True)
    container = runtime.run_container(pod, "agent")

    async def scene(follower: Follower) -> None:
        found = follower.containers[container]
        assert found.host_network
        assert found.addresses == ()

    play(runtime, scene)


def test_a_restart_is_another_container_of_the_same_pod(
    runtime: Containerd, pods: Callable[..., Pod]
) -> None:
    pod = pods("crashing")

    async def scene(follower: Follower) -> None:
        first = await command(lambda: runtime.run_container(pod, "app"))
        await follower.until(lambda: first in follower.containers, SOON_S)
        await asyncio.to_thread(runtime.stop_container, first)
        second = await command(lambda: runtime.run_container(pod, "app", attempt=1))
        await follower.until(lambda: list(follower.containers) == [second], SOON_S)
        assert follower.containers[second].restarts == 1
        assert follower.containers[second].pod_uid == pod.config.metadata.uid

    play(runtime, scene)


def test_a_container_that_lives_50_ms_is_known(
    runtime: Containerd, pods: Callable[..., Pod]
) -> None:
    pod = pods("short")

    async def scene(follower: Follower) -> None:
        container = await command(lambda: runtime.run_container(pod, "blink", "/bin/sleep", "0.05"))
        await follower.until(
            lambda: any(isinstance(one, ContainerGone) for one in follower.changes), SOON_S
        )
        assert [gone.id for gone in follower.gone] == [container]

    play(runtime, scene)


def test_probes_are_no_news(runtime: Containerd, pods: Callable[..., Pod]) -> None:
    pod = pods("probed")
    container = runtime.run_container(pod, "app")

    async def scene(follower: Follower) -> None:
        told = len(follower.changes)
        for _ in range(5):
            await command(lambda: runtime.execute(container, "/bin/echo", "well"))
        await asyncio.sleep(0.5)
        assert len(follower.changes) == told

    play(runtime, scene)


def test_a_runtime_that_restarts_is_found_again_with_what_ended_meanwhile(
    runtime: Containerd, pods: Callable[..., Pod]
) -> None:
    pod = pods("survivor")
    stays = runtime.run_container(pod, "stays")
    ends = runtime.run_container(pod, "ends", "/bin/sleep", "4")

    async def scene(follower: Follower) -> None:
        await follower.until(lambda: ends in follower.containers, SOON_S)
        await asyncio.to_thread(runtime.stop)
        await follower.until(lambda: follower.health.code == "engine-refused", SOON_S)
        await asyncio.sleep(4)
        # Nobody says that they ended: the network and the processes go on without a runtime.
        assert set(follower.containers) == {stays, ends}
        await asyncio.to_thread(runtime.start)
        await follower.until(lambda: set(follower.containers) == {stays}, BACK_S)
        await follower.until(lambda: follower.health.code == "", SOON_S)

    play(runtime, scene)


def test_no_runtime_is_no_defect(tmp_path: Path) -> None:
    async def scene() -> None:
        async with following_pods(tmp_path / "nothing.sock") as follower:
            await follower.until(lambda: follower.health.code == "engine-absent", SOON_S)

    asyncio.run(scene())
