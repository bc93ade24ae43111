"""Discovery against a real Podman at its Docker-compatible socket."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.follower import Follower, command, following
from tests.lab import engine as lab
from tests.lab import netns
from tests.lab.podman import Podman

pytestmark = pytest.mark.docker

#: Podman writes its events to a file, which it looks at for news.
SOON_S = 15.0


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Podman in a network namespace of its own, with the image `lab.IMAGE`."""
    missing = lab.missing() or ("" if shutil.which("podman") else "needs podman")
    if missing:
        pytest.skip(missing)
    netns.remove_stale()
    with netns.namespaces() as (namespace,):
        namespace.run("ip", "link", "set", "lo", "up")
        made = Podman(namespace, Path(f"/tmp/cnnf-test-{os.getpid()}-podman"))
        try:
            made.start()
            made.import_box()
            yield made
        finally:
            made.remove()


def test_podman_is_followed_as_docker_is(podman: Podman) -> None:
    async def whole() -> None:
        before = await command(lambda: podman.run_box("--name", "before"))
        async with following(podman.socket) as follower:
            await follower.until(lambda: before in follower.containers, SOON_S)
            await come_and_go(podman, follower)
            await change(podman, follower, before)

    asyncio.run(whole())


async def come_and_go(podman: Podman, follower: Follower) -> None:
    """A container with a name, an address, ports; a guest of it; their ends."""
    ports = ("-p", "127.0.0.1:18080:80", "-p", "18053:53/udp")
    one = await command(lambda: podman.run_box("--name", "one", "--label", "tier=web", *ports))
    await follower.until(lambda: one in follower.containers, SOON_S)
    found = follower.containers[one]
    assert (found.image, found.tag, found.title) == ("lab/box", "1.0", "one")
    assert found.labels["tier"] == "web"
    assert found.addresses[0].startswith("10.88.")
    assert {
        (place.host_address, place.host_port, place.port, place.protocol)
        for place in found.published
    } == {("127.0.0.1", 18080, 80, "tcp"), ("0.0.0.0", 18053, 53, "udp")}
    assert one in await asyncio.to_thread(Path(f"/proc/{found.pid}/cgroup").read_text)
    (network,) = [net for net in follower.networks.values() if net.name == "podman"]
    # Docker's interface does not tell it.
    assert (network.bridge, network.subnets) == ("podman0", ("10.88.0.0/16",))

    guest = await command(lambda: podman.run_box("--name", "guest", "--network", "container:one"))
    await follower.until(lambda: guest in follower.containers, SOON_S)
    assert follower.containers[guest].shared_network == one
    host = await command(lambda: podman.run_box("--name", "hosted", "--network", "host"))
    await follower.until(lambda: host in follower.containers, SOON_S)
    assert follower.containers[host].host_network
    await command(lambda: podman.podman("kill", "guest"))
    await follower.until(lambda: guest not in follower.containers, SOON_S)
    await command(lambda: podman.podman("rm", "-f", "-t", "0", "guest"))
    await command(lambda: podman.podman("rm", "-f", "-t", "0", "one"))
    await follower.until(lambda: one not in follower.containers, SOON_S)


async def change(podman: Podman, follower: Follower, container: str) -> None:
    """A running container is renamed, paused, joins a network and leaves it."""
    await command(lambda: podman.podman("rename", "before", "after"))
    await follower.until(lambda: follower.by_title("after"), SOON_S)
    await command(lambda: podman.podman("pause", "after"))
    await follower.until(lambda: follower.containers[container].state == "paused", SOON_S)
    await command(lambda: podman.podman("unpause", "after"))
    await follower.until(lambda: follower.containers[container].state == "running", SOON_S)
    await command(lambda: podman.podman("network", "create", "--ipv6", "second"))
    await command(lambda: podman.podman("network", "connect", "second", "after"))
    await follower.until(lambda: "second" in follower.networks, SOON_S)
    await follower.until(lambda: len(follower.containers[container].addresses) == 3, SOON_S)
    assert any(":" in address for address in follower.containers[container].addresses)
    assert follower.networks["second"].bridge == "podman1"
    await command(lambda: podman.podman("network", "disconnect", "second", "after"))
    await follower.until(lambda: len(follower.containers[container].addresses) == 1, SOON_S)


def test_podman_that_ends_is_followed_again(podman: Podman) -> None:
    async def whole() -> None:
        lasting = await command(lambda: podman.run_box("--name", "lasting"))
        async with following(podman.socket) as follower:
            await follower.until(lambda: lasting in follower.containers, SOON_S)
            await asyncio.to_thread(podman.stop)
            await follower.until(lambda: follower.health.code, SOON_S)
            # Its containers go on without it.
            assert lasting in follower.containers
            await command(lambda: podman.podman("rename", "lasting", "renamed"))
            await asyncio.to_thread(podman.start)
            await follower.until(lambda: follower.by_title("renamed"), SOON_S)

    asyncio.run(whole())
