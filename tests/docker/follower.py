"""Discovery running beside a test, and what it has reported so far."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cnnf.defender.core.containers import (
    Change,
    Container,
    ContainerChanged,
    ContainerGone,
    ContainerNetwork,
    EngineHealth,
    NetworksChanged,
    Snapshot,
)
from cnnf.defender.discovery.docker import DockerDiscovery


class Follower:
    """Applies changes as the daemon does."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.containers: dict[str, Container] = {}
        self.networks: dict[str, ContainerNetwork] = {}
        self.gone: list[ContainerGone] = []
        self.health = EngineHealth()
        self.snapshots = 0
        self._news = asyncio.Event()

    def take(self, change: Change) -> None:
        """One change from discovery."""
        self.changes.append(change)
        match change:
            case Snapshot():
                self.snapshots += 1
                self.containers = {one.id: one for one in change.containers}
                self.networks = {one.name: one for one in change.networks}
            case ContainerChanged(container=container):
                self.containers[container.id] = container
            case ContainerGone(id=container_id):
                self.containers.pop(container_id)
                self.gone.append(change)
            case NetworksChanged(networks=networks):
                self.networks = {one.name: one for one in networks}
            case EngineHealth():
                self.health = change
        self._news.set()

    def by_title(self, title: str) -> Container | None:
        """The running container of that name."""
        return next((one for one in self.containers.values() if one.title == title), None)

    async def until(self, what: Callable[[], object], within_s: float) -> float:
        """Wait until it is true; the seconds it took. Fails the test with what was reported."""
        started = time.monotonic()
        while not what():
            left = within_s - (time.monotonic() - started)
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                told = "\n".join(map(str, self.changes[-5:]))
                raise AssertionError(f"not within {within_s} s; last reported:\n{told}") from None
        return time.monotonic() - started


@asynccontextmanager
async def following(socket: Path) -> AsyncIterator[Follower]:
    """Discovery of the engine behind a socket, ended with the block."""
    follower = Follower()
    task = asyncio.create_task(DockerDiscovery(follower.take, socket).run())
    try:
        yield follower
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def command(call: Callable[[], str]) -> str:
    """Run a blocking command beside the event loop."""
    return await asyncio.to_thread(call)
