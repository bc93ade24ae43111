"""One connection to a container runtime: greet, listen, list, then ask about what events name.

As with Docker, an event only says *whom to ask about*; what is reported is always the answer to a
question asked after it, so events that are lost, doubled or late do no harm. Where a runtime tells
no events everything is listed every second.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import structlog

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
from cnnf.defender.discovery import cri_networks, limits
from cnnf.defender.discovery.cri_answers import (
    Sandbox,
    container_from,
    image_references,
    sandbox_from,
)
from cnnf.defender.discovery.cri_client import CriClient
from cnnf.defender.discovery.errors import BadAnswer, EngineError, EngineUnreachable
from cnnf.defender.discovery.generated import cri_pb2 as cri

_log = structlog.get_logger(__name__)


class _Doubt(NamedTuple):
    """What an event has said of a container, and how often the runtime did not agree yet."""

    started: bool
    tries: int


class CriSession:
    """Used once. `tell` takes changes, `report` how it stands."""

    def __init__(
        self,
        socket: Path,
        cluster: str,
        tell: Callable[[Change], None],
        report: Callable[[EngineHealth], None],
    ) -> None:
        self._socket = socket
        self._cluster = cluster
        self._tell = tell
        self._report = report
        self._known: dict[str, Container] = {}
        self._sandboxes: OrderedDict[str, Sandbox] = OrderedDict()
        self._images: OrderedDict[str, cri.Image] = OrderedDict()
        self._networks: tuple[ContainerNetwork, ...] = ()
        #: Whom events named and who was not asked about since; '' stands for everything.
        self._pending: dict[str, _Doubt] = {}
        self._news = asyncio.Event()
        self._slots = asyncio.Semaphore(limits.REQUESTS_MAX)
        self._left_out: dict[str, str] = {}
        self._failure: EngineError | None = None
        self._too_many = False
        # Nobody says when a subscription has begun: what fell in between is found by a second look.
        self._interval_s = limits.CRI_POLL_S
        self._polls = False

    async def run(self) -> None:
        """Follow the runtime until the connection fails. Raises EngineError."""
        async with CriClient(self._socket) as client:
            name = await client.greet()
            _log.info("runtime found", runtime=name, socket=str(self._socket))
            # The stream is open before the list is asked for, so nothing falls in between.
            listener = asyncio.create_task(self._listen(client))
            try:
                await self._list_all(client)
                await self._follow(client)
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, client: CriClient) -> None:
        """Note whom events are about; never waits for who asks."""
        try:
            async with aclosing(client.events()) as events:
                async for event in events:
                    self._note(event.container, _Doubt(event.started, 0))
            # No events: look at everything, often.
            self._polls = True
            _log.info("runtime tells no events", interval_s=limits.CRI_POLL_S)
        except BadAnswer as error:
            # It may have been about anything, and the stream is over.
            self._failure = EngineUnreachable(f"event stream: {error}", "engine-bad-answer")
        except EngineError as error:
            self._failure = error
        self._news.set()

    def _note(self, container: str, doubt: _Doubt) -> None:
        if len(self._pending) >= limits.EVENTS_PENDING_MAX:
            self._pending = {"": _Doubt(started=False, tries=0)}
        self._pending[container] = doubt
        self._news.set()

    async def _follow(self, client: CriClient) -> None:
        while True:
            try:
                # Not wait_for: until Python 3.12 it can swallow a cancellation.
                async with asyncio.timeout(self._interval_s):
                    await self._news.wait()
            except TimeoutError:
                self._pending[""] = _Doubt(started=False, tries=0)
                self._interval_s = limits.CRI_POLL_S if self._polls else limits.RECONCILE_S
            self._news.clear()
            if self._failure is not None:
                raise self._failure
            pending, self._pending = self._pending, {}
            if pending.pop("", None) is not None:
                await self._look_at_everything(client)
            if pending:
                await self._look_at(client, pending)

    async def _list_all(self, client: CriClient) -> None:
        """Everything, told as a snapshot."""
        found = await self._all(client, {})
        self._known = {container.id: container for container in found}
        self._networks = await self._find_networks(client)
        self._tell(Snapshot(containers=tuple(found), networks=self._networks))
        self._settle()

    async def _look_at_everything(self, client: CriClient) -> None:
        """Compare what is known with the runtime's list and ask about what differs."""
        found = {container.id: container for container in await self._all(client, self._known)}
        now_ms = _now_ms()
        for container in self._known.keys() - found.keys():
            self._gone(container, now_ms)
        for one in found.values():
            self._changed(one)
        await self._tell_networks(client)
        self._settle()

    async def _all(self, client: CriClient, known: dict[str, Container]) -> list[Container]:
        """All containers that run; who is known already is not asked about again."""
        running = [one for one in await client.containers() if one.state == cri.CONTAINER_RUNNING]
        self._too_many = len(running) > limits.CONTAINERS_MAX
        running = running[: limits.CONTAINERS_MAX]
        listed = {one.id for one in running}
        self._left_out = {one: why for one, why in self._left_out.items() if one in listed}
        fresh = [one for one in running if one.id not in known]
        asked = await self._ask(client, fresh)
        return [known[one.id] for one in running if one.id in known] + asked

    async def _look_at(self, client: CriClient, ids: dict[str, _Doubt]) -> None:
        """Ask about these, whatever state they were in."""
        listed = {}
        for batch in await asyncio.gather(*(self._listed(client, one) for one in ids)):
            listed.update({one.id: one for one in batch})
        running = [one for one in listed.values() if one.state == cri.CONTAINER_RUNNING]
        found = {container.id: container for container in await self._ask(client, running)}
        for container, doubt in ids.items():
            if container in listed:
                self._doubt(listed[container], doubt)
            if container in found:
                self._changed(found[container])
            elif container in self._known:
                self._gone(container, await self._ended_at(client, container))
        if found:
            await self._tell_networks(client)
        self._settle()

    def _doubt(self, listed: cri.Container, doubt: _Doubt) -> None:
        """Ask again soon where the answer is older than the event.

        containerd tells of a process before its CRI plugin has heard of it.
        """
        older = cri.CONTAINER_CREATED if doubt.started else cri.CONTAINER_RUNNING
        if listed.state == older and doubt.tries < limits.CRI_DOUBTS_MAX:
            again = doubt._replace(tries=doubt.tries + 1)
            wait_s = limits.CRI_DOUBT_S * 2**doubt.tries
            asyncio.get_running_loop().call_later(wait_s, self._note, listed.id, again)

    async def _ended_at(self, client: CriClient, container: str) -> int:
        """When it ended, ms; now, where the runtime does not know any more."""
        answer = await client.container(container)
        finished = answer.status.finished_at // 1_000_000 if answer is not None else 0
        now_ms = _now_ms()
        return min(finished, now_ms) if finished > 0 else now_ms

    async def _listed(self, client: CriClient, container: str) -> list[cri.Container]:
        async with self._slots:
            return await client.containers(container)

    async def _ask(self, client: CriClient, listed: list[cri.Container]) -> list[Container]:
        """These in full; those that are gone meanwhile, or can't be understood, are left out."""
        answers = await asyncio.gather(*(self._container(client, one) for one in listed))
        return [answer for answer in answers if answer is not None]

    async def _container(self, client: CriClient, listed: cri.Container) -> Container | None:
        async with self._slots:
            try:
                sandbox = await self._sandbox(client, listed.pod_sandbox_id)
                answer = await client.container(listed.id)
                if sandbox is None or answer is None:
                    return None
                if answer.status.state != cri.CONTAINER_RUNNING:
                    return None
                image = await self._image(client, listed, answer.status)
                container = container_from(listed, answer, sandbox, image, self._cluster)
            except BadAnswer as error:
                self._left_out[listed.id] = str(error)
                return None
        self._left_out.pop(listed.id, None)
        return container

    async def _sandbox(self, client: CriClient, sandbox: str) -> Sandbox | None:
        """A pod's sandbox; what it is does not change while it is there."""
        known = self._sandboxes.get(sandbox)
        if known is not None:
            return known
        answer = await client.sandbox(sandbox)
        if answer is None:
            return None
        made = sandbox_from(answer)
        # One without an address may get it yet.
        if made.addresses or made.host_network:
            self._sandboxes[sandbox] = made
            if len(self._sandboxes) > limits.CRI_SANDBOXES_MAX:
                self._sandboxes.popitem(last=False)
        return made

    async def _image(
        self, client: CriClient, listed: cri.Container, status: cri.ContainerStatus
    ) -> cri.Image | None:
        for reference in image_references(listed, status):
            image = self._images.get(reference) or await client.image(reference)
            if image is not None:
                self._images[reference] = image
                if len(self._images) > limits.CRI_IMAGES_MAX:
                    self._images.popitem(last=False)
                return image
        return None

    # --- networks

    async def _tell_networks(self, client: CriClient) -> None:
        networks = await self._find_networks(client)
        if networks != self._networks:
            self._networks = networks
            self._tell(NetworksChanged(networks=networks))

    async def _find_networks(self, client: CriClient) -> tuple[ContainerNetwork, ...]:
        try:
            told = await client.networks()
        except BadAnswer:
            # Then the folders tell; it is an addition that no interface promises.
            told = ""
        addresses = [text for one in self._known.values() for text in one.addresses]
        return await asyncio.to_thread(_networks, told, addresses)

    # --- what is told

    def _changed(self, container: Container) -> None:
        if self._known.get(container.id) == container:
            return
        if len(self._known) >= limits.CONTAINERS_MAX and container.id not in self._known:
            self._too_many = True
            return
        self._known[container.id] = container
        self._tell(ContainerChanged(container=container))

    def _gone(self, container: str, at_ms: int) -> None:
        self._left_out.pop(container, None)
        if self._known.pop(container, None) is not None:
            self._tell(ContainerGone(id=container, at=at_ms))

    def _settle(self) -> None:
        """Say how it stands: well, unless somebody had to be left out."""
        if self._too_many:
            message = f"more than {limits.CONTAINERS_MAX} containers run; the rest is left out"
            self._report(EngineHealth(code="engine-too-many", message=message))
        elif self._left_out:
            container, why = next(iter(self._left_out.items()))
            message = f"container {container[:12]} is left out: {why}"
            self._report(EngineHealth(code="engine-bad-answer", message=message))
        else:
            self._report(EngineHealth())


def _networks(told: str, addresses: list[str]) -> tuple[ContainerNetwork, ...]:
    sources = cri_networks.sources_from(told)
    for folder in () if sources else cri_networks.FOLDERS:
        sources += cri_networks.sources_in(folder)
    networks = cri_networks.networks_from(
        sources, cri_networks.look_around(), cri_networks.is_interface
    )
    return cri_networks.with_addresses(networks, addresses)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
