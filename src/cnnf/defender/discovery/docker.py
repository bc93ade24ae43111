"""Containers and networks of a Docker Engine: all of them once, then every change as it happens.

Podman answers at a socket of its own as Docker does, but for its networks' interfaces, which only
its own interface tells, and for what it calls its events.

The daemon runs `DockerDiscovery(...).run()` as a task. Changes come from the engine's event stream,
not from polling: an event only says *what to ask about*, what is reported is always the answer to
a question asked after it, so events that are lost, doubled or late do no harm. After a lost socket
the stream resumes where it ended and everything is listed anew.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from cnnf.defender.core.containers import (
    LIVE_STATES,
    Change,
    Container,
    ContainerChanged,
    ContainerExpected,
    ContainerGone,
    ContainerNetwork,
    EngineHealth,
    NetworksChanged,
    Snapshot,
)
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.answers import (
    Event,
    InspectedContainer,
    InspectedImage,
    ListedContainer,
    addresses_in_network,
    container_from,
    decode,
    networks_from,
    podman_networks_from,
)
from cnnf.defender.discovery.arrivals import Arrivals
from cnnf.defender.discovery.engine import Engine
from cnnf.defender.discovery.errors import BadAnswer, EngineError, EngineUnreachable
from cnnf.defender.discovery.lines import LineSplitter

DEFAULT_SOCKET = Path("/var/run/docker.sock")
#: Podman's is there where `podman.socket` is started; those of other users than root are not seen.
DOCKER_SOCKETS = (DEFAULT_SOCKET, Path("/run/podman/podman.sock"))

#: Container events after which it has to be asked about. `kill` is only a signal and `stop` comes
#: after `die`, but both are cheap to ask about and neither is relied on.
_ASK_ON = frozenset(
    ("start", "restart", "pause", "unpause", "rename", "update", "oom", "stop", "kill")
)
#: The last two are Podman's.
_GONE_ON = frozenset(("die", "destroy", "died", "cleanup"))
_NETWORK_ON = frozenset(("create", "destroy", "remove", "connect", "disconnect"))

_FILTERS = json.dumps(
    {
        "type": ["container", "network"],
        "event": sorted(_ASK_ON | _GONE_ON | _NETWORK_ON | {"health_status"}),
    }
)

_log = structlog.get_logger(__name__)


class _Question:
    """A container is being asked about. Has something happened to it since, and when did it end?"""

    __slots__ = ("again", "ended_ms")

    def __init__(self) -> None:
        self.again = False
        self.ended_ms = 0


class DockerDiscovery:
    """Follows one engine until cancelled; calls `on_change` from its own event loop."""

    def __init__(self, on_change: Callable[[Change], None], socket: Path = DEFAULT_SOCKET) -> None:
        self._on_change = on_change
        self._socket = socket
        self._known: dict[str, Container] = {}
        self._networks: tuple[ContainerNetwork, ...] = ()
        self._images: OrderedDict[str, InspectedImage] = OrderedDict()
        self.arrivals = Arrivals()
        #: Containers of which no more than an address has been told.
        self._expected: set[str] = set()
        self._health = EngineHealth()
        #: Where the event stream is resumed, ns; a second early, events may be doubled.
        self._since_ns = 0

    async def run(self) -> None:
        """Follow the engine for ever; whatever fails is reported as EngineHealth and retried."""
        wait_s = limits.RETRY_FIRST_S
        while True:
            session = _Session(self, Engine(self._socket))
            try:
                await session.run()
            except EngineError as error:
                self.report(EngineHealth(code=error.code, message=str(error)))
            if session.greeted:
                wait_s = limits.RETRY_FIRST_S
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, limits.RETRY_LAST_S)

    # What follows is the memory that outlives a session; only the session under way touches it.

    def report(self, health: EngineHealth) -> None:
        """Say how it stands with the engine, when that is news."""
        if health != self._health:
            self._health = health
            # A host without Docker is no defect, an engine that does not answer is one.
            fine = health.code in ("", "engine-absent")
            log = _log.info if fine else _log.warning
            log("engine", code=health.code or "well", message=health.message)
            self._on_change(health)

    def replace(self, containers: list[Container], networks: tuple[ContainerNetwork, ...]) -> None:
        """Everything was listed."""
        self._expected -= {container.id for container in containers}
        for container_id in sorted(self._expected):
            self.gone(container_id, time.time_ns() // 1_000_000)
        self._known = {container.id: container for container in containers}
        self._networks = networks
        self._on_change(Snapshot(containers=tuple(containers), networks=networks))

    def changed(self, container: Container) -> None:
        """A container was asked about and runs."""
        if self._known.get(container.id) == container:
            return
        if len(self._known) >= limits.CONTAINERS_MAX and container.id not in self._known:
            self.report(_too_many())
            return
        self._known[container.id] = container
        self._expected.discard(container.id)
        self._on_change(ContainerChanged(container=container))

    def expected(self, container_id: str, network_id: str, addresses: tuple[str, ...]) -> None:
        """A container that is about to start has these addresses in a network."""
        since = self.arrivals.placed(container_id, network_id, addresses)
        known = container_id in self._known or len(self._expected) >= limits.CONTAINERS_MAX
        if since and addresses and not known:
            self._expected.add(container_id)
            self._on_change(ContainerExpected(id=container_id, addresses=addresses, since=since))

    def ended(self, container_id: str, at_ms: int) -> None:
        """A container does not run; it may have, and ended before it could be asked about."""
        if container_id not in self._known:
            lived = self.arrivals.as_it_ran(container_id)
            if lived is not None:
                self.changed(lived)
        self.gone(container_id, at_ms)
        self.arrivals.over(container_id)

    def gone(self, container_id: str, at_ms: int) -> None:
        """A container does not run any more, or will not."""
        known = self._known.pop(container_id, None) is not None
        if known:
            self.arrivals.over(container_id)
        if known or container_id in self._expected:
            self._expected.discard(container_id)
            self._on_change(ContainerGone(id=container_id, at=at_ms))

    def networks_changed(self, networks: tuple[ContainerNetwork, ...]) -> None:
        """The networks were listed."""
        if networks != self._networks:
            self._networks = networks
            self._on_change(NetworksChanged(networks=networks))

    def known(self, container_id: str) -> Container | None:
        """The container as last reported, if it runs."""
        return self._known.get(container_id)

    def known_ids(self) -> frozenset[str]:
        """The ids of all containers that run, as far as reported."""
        return frozenset(self._known)

    def since_ns(self) -> int:
        """Where to resume the event stream; the engine shares this machine's clock."""
        return self._since_ns or time.time_ns() - 1_000_000_000

    def seen_event(self, event: Event) -> None:
        """An event was read; the stream resumes after it."""
        # A clock set back must not make the engine replay all it remembers, nor one set forward
        # hide what comes.
        self._since_ns = max(self._since_ns, min(event.time_ns, time.time_ns()))

    def image(self, image_id: str) -> InspectedImage | None:
        """What is known of an image."""
        return self._images.get(image_id)

    def remember_image(self, image_id: str, image: InspectedImage) -> None:
        """Keep an image's names; the oldest go first."""
        self._images[image_id] = image
        if len(self._images) > limits.IMAGES_MAX:
            self._images.popitem(last=False)


class _Session:
    """One connection's life: greet, listen, list, then ask about whatever events point at."""

    def __init__(self, owner: DockerDiscovery, engine: Engine) -> None:
        self._owner = owner
        self._engine = engine
        self._inbox: asyncio.Queue[Event | EngineError] = asyncio.Queue(limits.EVENTS_PENDING_MAX)
        self._failure: EngineError | None = None
        self._missed = False
        #: Containers being asked about.
        self._asking: dict[str, _Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(limits.REQUESTS_MAX)
        self._ignored: set[str] = set()
        self._too_many = False
        self.greeted = False

    async def run(self) -> None:
        """Follow the engine until the connection fails. Raises EngineError."""
        async with self._engine:
            try:
                await self._engine.greet()
                since = self._owner.since_ns()
                parameters = {
                    "since": f"{since // 10**9}.{since % 10**9:09d}",
                    "filters": _FILTERS,
                }
                # The stream is open before the list is asked for, so nothing falls in between.
                async with self._engine.events(parameters) as chunks:
                    self._spawn(self._read(chunks))
                    await self._list_all()
                    self.greeted = True
                    await self._follow()
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(self, error: EngineError) -> None:
        """End the session from one of its tasks."""
        self._failure = self._failure or error
        with suppress(asyncio.QueueFull):
            # Wakes the follower; when the inbox is full it is awake anyway.
            self._inbox.put_nowait(error)

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        """Take events from the stream to the inbox; never waits for who handles them."""
        splitter = LineSplitter(limits.EVENT_BYTES_MAX)
        bad = 0
        try:
            async for chunk in chunks:
                for line in splitter.feed(chunk):
                    try:
                        self._take(decode(line, Event, "event"))
                        bad = 0
                    except BadAnswer as error:
                        # It may have been about anything: look at everything.
                        self._missed = True
                        bad += 1
                        if bad >= limits.EVENTS_BAD_MAX:
                            raise
                        _log.warning("engine event unreadable", error=str(error))
                if splitter.dropped:
                    self._missed, splitter.dropped = True, 0
            self._fail(EngineUnreachable("the engine closed its event stream", "engine-refused"))
        except EngineError as error:
            self._fail(error)
        except Exception as error:  # the transport's own, raised outside of its context
            self._fail(EngineUnreachable(f"the event stream was lost: {error}", "engine-refused"))

    def _take(self, event: Event) -> None:
        self._owner.seen_event(event)
        try:
            self._inbox.put_nowait(event)
        except asyncio.QueueFull:
            self._missed = True

    async def _follow(self) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            if self._missed and self._inbox.empty():
                self._missed = False
                await self._reconcile()
            try:
                # Not wait_for: until Python 3.12 it can swallow a cancellation.
                async with asyncio.timeout(limits.RECONCILE_S):
                    event = await self._inbox.get()
            except TimeoutError:
                await self._reconcile()
                continue
            if isinstance(event, Event):
                await self._handle(event)

    async def _handle(self, event: Event) -> None:
        container = event.container
        if event.type == "network" and self._engine.is_podman:
            # About a container only, whose id stands where Docker has the network's. Networks that
            # are made and removed are not told.
            self._owner.networks_changed(await self._networks())
            if self._owner.known(event.actor.id) is not None:
                self._ask(event.actor.id)
        elif event.type == "network":
            if event.action in ("create", "destroy", "remove"):
                self._owner.networks_changed(await self._networks())
            if container:
                self._move(container, event)
        elif event.action in _GONE_ON:
            ended_ms = event.time_ns // 1_000_000
            self._owner.gone(container, ended_ms)
            self._ignored.discard(container)
            question = self._asking.get(container)
            if question is not None:
                question.again = True
                question.ended_ms = question.ended_ms or ended_ms
            elif event.action == "destroy":
                self._owner.arrivals.removed(container)
        elif container:
            if self._engine.is_podman and event.action == "start":
                # It may be the first on a network of which nothing was told.
                self._owner.networks_changed(await self._networks())
            if event.action == "start" and container in self._asking:
                # What is answered about this life must not end with the one before.
                self._asking[container].ended_ms = 0
            self._ask(container)

    def _move(self, container: str, event: Event) -> None:
        """A container has got a place in a network, or left it."""
        network, at_ms = event.actor.id, event.time_ns // 1_000_000
        known = self._owner.known(container) is not None
        if event.action == "connect":
            self._owner.arrivals.joined(container, network, at_ms)
            # While a container starts it is locked and would be answered about only afterwards;
            # its `start` comes then.
            if not known:
                self._spawn(self._expect(container, network))
        elif event.action == "disconnect":
            self._owner.arrivals.left(container, network)
            if not known:
                self._owner.gone(container, at_ms)
        if known:
            self._ask(container)

    def _ask(self, container: str) -> None:
        if container in self._asking:
            self._asking[container].again = True
            return
        self._asking[container] = _Question()
        self._spawn(self._refresh(container))

    async def _expect(self, container_id: str, network_id: str) -> None:
        """Somebody joins a network and is about to start: the network tells its address before."""
        try:
            async with self._slots:
                body = await self._engine.get(f"/networks/{network_id}", limits.LIST_BYTES_MAX)
            addresses = addresses_in_network(body, container_id)
        except BadAnswer:
            return
        except EngineError as error:
            self._fail(error)
            return
        self._owner.expected(container_id, network_id, addresses)

    async def _refresh(self, container_id: str) -> None:
        """Ask about a container until nothing has happened to it since the question."""
        question = self._asking[container_id]
        try:
            while True:
                question.again = False
                self._take_answer(container_id, await self._inspect(container_id), question)
                if not question.again:
                    return
        except EngineError as error:
            self._fail(error)
        finally:
            del self._asking[container_id]

    def _take_answer(
        self, container_id: str, container: Container | None, question: _Question
    ) -> None:
        ended_ms = question.ended_ms or time.time_ns() // 1_000_000
        if container is not None and container.state in LIVE_STATES:
            self._owner.changed(container)
            # It was when this was said, and is no longer.
            if question.ended_ms > container.started_at:
                self._owner.gone(container_id, ended_ms)
            return
        if container is not None:
            self._owner.arrivals.described(container)
        if container is None or container.state != "created":
            self._owner.ended(container_id, ended_ms)
        elif self._owner.known(container_id) is not None:
            self._owner.gone(container_id, ended_ms)

    async def _list_all(self) -> None:
        networks = await self._networks()
        listed = await self._listed()
        answers = await asyncio.gather(
            *(self._inspect(entry.id) for entry in listed), return_exceptions=True
        )
        containers = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None and answer.state in LIVE_STATES:
                containers.append(answer)
        self._owner.replace(containers, networks)
        self._settle()

    async def _reconcile(self) -> None:
        """Compare what is known with the engine's list and ask about whatever differs."""
        self._owner.networks_changed(await self._networks())
        listed = {entry.id: entry.state for entry in await self._listed()}
        for container_id in self._owner.known_ids() - listed.keys():
            self._ask(container_id)
        for container_id, state in listed.items():
            known = self._owner.known(container_id)
            if known is None or known.state != state:
                self._ask(container_id)
        self._settle()

    def _settle(self) -> None:
        """Everything was looked at: say how it stands; a container left out was reported."""
        if self._too_many:
            self._owner.report(_too_many())
        elif not self._ignored:
            self._owner.report(EngineHealth())

    async def _listed(self) -> list[ListedContainer]:
        body = await self._engine.get("/containers/json", limits.LIST_BYTES_MAX)
        listed: list[ListedContainer] = decode(body, list[ListedContainer], "containers")
        self._too_many = len(listed) > limits.CONTAINERS_MAX
        return listed[: limits.CONTAINERS_MAX]

    async def _networks(self) -> tuple[ContainerNetwork, ...]:
        if self._engine.is_podman:
            body = await self._engine.get_libpod("/networks/json", limits.LIST_BYTES_MAX)
            return podman_networks_from(body)
        body = await self._engine.get("/networks", limits.LIST_BYTES_MAX)
        return networks_from(body, masquerades6=self._engine.masquerades6)

    async def _inspect(self, container_id: str) -> Container | None:
        """The container, None when it is gone; when it can't be understood, which is reported, as
        it was known before."""
        async with self._slots:
            try:
                container = await self._question(container_id)
            except BadAnswer as error:
                if error.status == 404:
                    return None
                self._ignored.add(container_id)
                known = self._owner.known(container_id)
                become = "stays as it was" if known else "is left out"
                message = f"container {container_id[:12]} {become}: {error}"
                self._owner.report(EngineHealth(code=error.code, message=message))
                return known
        self._ignored.discard(container_id)
        return container

    async def _question(self, container_id: str) -> Container:
        body = await self._engine.get(f"/containers/{container_id}/json", limits.INSPECT_BYTES_MAX)
        answer: InspectedContainer = decode(body, InspectedContainer, "container")
        container = container_from(answer, await self._image(answer.image))
        return self._owner.arrivals.dated(container)

    async def _image(self, image_id: str) -> InspectedImage | None:
        """The image's names; None when the engine does not know it any more."""
        image = self._owner.image(image_id)
        if image is not None or not image_id.startswith("sha256:"):
            return image
        try:
            body = await self._engine.get(f"/images/{image_id}/json", limits.INSPECT_BYTES_MAX)
            image = decode(body, InspectedImage, "image")
        except (BadAnswer, msgspec.ValidationError):
            return None
        self._owner.remember_image(image_id, image)
        return image


def _too_many() -> EngineHealth:
    return EngineHealth(
        code="engine-too-many",
        message=f"more than {limits.CONTAINERS_MAX} containers run; the rest is left out",
    )
