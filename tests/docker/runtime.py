"""Discovery of a container runtime running beside a test."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from cnnf.defender.discovery.cri import CriDiscovery
from tests.docker.follower import Follower
from tests.lab import containerd as lab
from tests.lab import engine as docker_lab
from tests.lab import netns
from tests.lab.containerd import Containerd, bridge_network
from tests.lab.product import Product

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
def running_containerd(name: str, *images: str) -> Iterator[Containerd]:
    """A containerd in a namespace of its own, with a bridge for pods and images of busybox; the
    test is skipped where there can be none. No two that run at once have one name."""
    missing = lab.missing()
    if missing:
        pytest.skip(missing)
    netns.remove_stale()
    docker_lab.remove_stale()
    place = Path(f"/tmp/cnnf-test-{os.getpid()}-{name}")
    with netns.namespaces() as (namespace,):
        made = Containerd(namespace, place)
        try:
            made.start()
            made.network(bridge_network(SUBNET, GATEWAY, place / "ipam"))
            made.import_box(*images)
            yield made
        finally:
            made.remove()


@contextmanager
def product_beside(runtime: Containerd, cluster: str) -> Iterator[Product]:
    """Console and Defender beside a runtime, of which nobody but `--cri-socket` tells them."""
    made = Product(
        runtime.namespace,
        runtime.place / "cnnf",
        *("--cri-socket", str(runtime.socket), "--cluster", cluster),
        *("--docker-socket", "/nonexistent/docker.sock", "--host-name", "node-a"),
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()
