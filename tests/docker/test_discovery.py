"""Discovery against a real Docker Engine: what happens there is known here within the second."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cnnf.defender.core.containers import ContainerChanged
from tests.docker.follower import Follower, command, following
from tests.lab.engine import IMAGE, Engine

pytestmark = pytest.mark.docker

#: Seconds within which a change has to be known; the promise for a started container is 3.
SOON_S = 3.0

Scene = Callable[[Follower], Coroutine[Any, Any, None]]


def play(engine: Engine, scene: Scene) -> None:
    async def whole() -> None:
        async with following(engine.socket) as follower:
            await follower.until(lambda: follower.snapshots == 1, SOON_S)
            await scene(follower)
            assert follower.health.code == ""

    asyncio.run(whole())


async def started(engine: Engine, follower: Follower, name: str, *options: str) -> str:
    container = await command(lambda: engine.run_box("--name", name, *options))
    await follower.until(lambda: follower.by_title(name), SOON_S)
    return container


def test_what_runs_already_is_in_the_snapshot(box: Engine) -> None:
    container = box.run_box("--name", "early", "--label", "com.docker.compose.project=shop")
    box.docker("create", "--name", "never", IMAGE, "sleep", "1")

    async def scene(follower: Follower) -> None:
        assert list(follower.containers) == [container]
        found = follower.containers[container]
        assert (found.image, found.tag, found.project) == ("lab/box", "1.0", "shop")
        bridge = follower.networks["bridge"]
        assert bridge.bridge == "docker0"
        assert bridge.subnets == ("172.17.0.0/16",)
        assert found.networks == (bridge.id,)
        assert set(follower.networks) == {"bridge"}

    play(box, scene)


def test_a_started_container_is_known_with_all_that_names_it(box: Engine) -> None:
    async def scene(follower: Follower) -> None:
        before = time.time() * 1000
        labels = ("--label", "com.docker.compose.service=web", "--label", "evil=a\x1b[31mb")
        container = await started(box, follower, "web-1", "-p", "127.0.0.1:18443:8443", *labels)
        found = follower.containers[container]
        inspected = json.loads(await command(lambda: box.docker("inspect", container)))[0]
        assert found.pid == inspected["State"]["Pid"] > 0
        assert found.addresses == (inspected["NetworkSettings"]["IPAddress"],)
        assert found.gateways == ("172.17.0.1",)
        assert before - 1000 < found.started_at < time.time() * 1000 + 1000
        assert (found.state, found.compose_service) == ("running", "web")
        assert found.labels["evil"] == "a [31mb"
        (published,) = found.published
        assert (published.host_address, published.host_port) == ("127.0.0.1", 18443)
        assert (published.port, published.protocol) == (8443, "tcp")

    play(box, scene)


def test_stop_kill_pause_and_rename_are_followed(box: Engine) -> None:
    async def scene(follower: Follower) -> None:
        container = await started(box, follower, "one")
        await command(lambda: box.docker("pause", "one"))
        await follower.until(lambda: follower.containers[container].state == "paused", SOON_S)
        await command(lambda: box.docker("unpause", "one"))
        await follower.until(lambda: follower.containers[container].state == "running", SOON_S)
        await command(lambda: box.docker("rename", "one", "two"))
        await follower.until(lambda: follower.by_title("two"), SOON_S)
        await command(lambda: box.docker("stop", "-t", "0", "two"))
        await follower.until(lambda: container not in follower.containers, SOON_S)
        assert follower.gone[-1].id == container
        assert abs(follower.gone[-1].at - time.time() * 1000) < SOON_S * 1000

        first = follower.changes[0]
        await command(lambda: box.docker("start", "two"))
        await follower.until(lambda: container in follower.containers, SOON_S)
        again = follower.containers[container]
        assert first is not None
        assert again.started_at > follower.gone[-1].at
        await command(lambda: box.docker("kill", "two"))
        await follower.until(lambda: container not in follower.containers, SOON_S)

    play(box, scene)


def test_networks_come_and_go_with_their_bridges_and_both_families(box: Engine) -> None:
    async def scene(follower: Follower) -> None:
        container = await started(box, follower, "roamer")
        six = ("network", "create", "--ipv6", "--subnet", "fd00:c::/64", "six")
        network = await command(lambda: box.docker(*six))
        await follower.until(lambda: "six" in follower.networks, SOON_S)
        found = follower.networks["six"]
        assert found.bridge == f"br-{network[:12]}"
        assert "fd00:c::/64" in found.subnets
        assert len(found.subnets) == 2

        await command(lambda: box.docker("network", "connect", "six", "roamer"))
        await follower.until(lambda: network in follower.containers[container].networks, SOON_S)
        assert "fd00:c::2" in follower.containers[container].addresses
        await command(lambda: box.docker("network", "disconnect", "six", "roamer"))
        await follower.until(lambda: network not in follower.containers[container].networks, SOON_S)
        await command(lambda: box.docker("network", "rm", "six"))
        await follower.until(lambda: "six" not in follower.networks, SOON_S)

        named = ("network", "create", "-o", "com.docker.network.bridge.name=brlab", "named")
        await command(lambda: box.docker(*named))
        await follower.until(lambda: "named" in follower.networks, SOON_S)
        assert follower.networks["named"].bridge == "brlab"

    play(box, scene)


def test_host_and_shared_networks_have_no_addresses_of_their_own(box: Engine) -> None:
    async def scene(follower: Follower) -> None:
        first = await started(box, follower, "first")
        host = await started(box, follower, "hosted", "--network", "host")
        shared = await started(box, follower, "sidecar", "--network", "container:first")
        assert follower.containers[host].host_network
        assert follower.containers[host].addresses == ()
        assert follower.containers[shared].shared_network == first
        assert follower.containers[shared].addresses == ()
        assert not follower.containers[first].host_network

    play(box, scene)


def test_images_are_named_after_their_tag_moved_or_went(box: Engine) -> None:
    async def scene(follower: Follower) -> None:
        full_id = await command(lambda: box.docker("inspect", "-f", "{{.Id}}", IMAGE))
        by_id = await command(
            lambda: box.docker("run", "-d", "--name", "by-id", full_id, "sleep", "600")
        )
        await follower.until(lambda: by_id in follower.containers, SOON_S)
        assert follower.containers[by_id].image == "lab/box"

        await command(lambda: box.docker("tag", IMAGE, "localhost:5000/team/app:v2"))
        other = await command(
            lambda: box.docker("run", "-d", "localhost:5000/team/app:v2", "sleep", "600")
        )
        await follower.until(lambda: other in follower.containers, SOON_S)
        await command(lambda: box.docker("rmi", "-f", "localhost:5000/team/app:v2"))
        assert follower.containers[other].image == "localhost:5000/team/app"
        assert follower.containers[other].tag == "v2"

    play(box, scene)


def test_many_short_lived_containers_end_with_exactly_those_that_run(box: Engine) -> None:
    async def scene(follower: Follower) -> None:
        names = [f"burst-{index}" for index in range(8)]
        await asyncio.gather(
            *(command(lambda name=name: box.run_box("--name", name)) for name in names)  # type: ignore[misc]
        )
        await follower.until(lambda: len(follower.containers) == 8, 10)
        await command(lambda: box.docker("rm", "-f", *names[:5]))
        await follower.until(lambda: len(follower.containers) == 3, SOON_S)
        assert {one.title for one in follower.containers.values()} == set(names[5:])
        seen = [
            change.container.id
            for change in follower.changes
            if isinstance(change, ContainerChanged)
        ]
        assert len(set(seen)) == 8

    play(box, scene)


def test_an_engine_that_restarts_is_followed_again(box: Engine) -> None:
    async def scene(follower: Follower) -> None:
        lasting = await started(
            box, follower, "lasting", "--restart", "always", "--stop-timeout", "0"
        )
        passing = await started(box, follower, "passing", "--stop-timeout", "0")
        await asyncio.to_thread(box.stop)
        await follower.until(lambda: follower.health.code, 10)
        assert follower.health.code in ("engine-absent", "engine-refused")
        assert str(box.socket) in follower.health.message or "stream" in follower.health.message
        await asyncio.to_thread(box.start)
        await follower.until(lambda: follower.snapshots == 2, 15)
        await follower.until(lambda: lasting in follower.containers, 10)
        assert passing not in follower.containers

    play(box, scene)


def test_no_socket_is_a_condition_and_no_crash(tmp_path: Path) -> None:
    async def whole() -> None:
        async with following(tmp_path / "none.sock") as follower:
            await follower.until(lambda: follower.health.code == "engine-absent", SOON_S)
            assert "is not there" in follower.health.message

    asyncio.run(whole())
