"""Discovery of a container runtime running beside a test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from cnnf.defender.discovery.cri import CriDiscovery
from tests.docker.follower import Follower
from tests.lab import netns
from tests.lab.containerd import Containerd, bridge_network

SUBNET, GATEWAY = "10.88.0.0/24", "10.88.0.1"


@asynccontextmanager
async def following_pods(socket: Path, *, cluster: str = "") -> AsyncIterator[Follower]:
    """Discovery of the runtime behind a socket, ended with the block."""
    follower = Follower()
    task = asyncio.create_task(CriDiscovery(follower.take, socket, cluster=cluster).run())
    try:
        yield follower
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def running_containerd(place: Path, *images: str) -> Iterator[Containerd]:
    """A containerd in a namespace of its own, with a bridge for pods and images of busybox."""
    with netns.namespaces() as (namespace,):
        made = Containerd(namespace, place)
        try:
            made.start()
            made.network(bridge_network(SUBNET, GATEWAY, place / "ipam"))
            made.import_box(*images)
            yield made
        finally:
            made.remove()
