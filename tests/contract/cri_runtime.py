"""A container runtime as a client meets it: real gRPC over a Unix socket, with faults to switch on.

For what the containerd of the other tests does not do: CRI-O's ways, events of the interface
itself, and answers that are none. It tells the states that it was given, and every event once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import grpc
import grpc.aio

from cnnf.defender.discovery.generated import cri_pb2 as cri

SANDBOX = "5a" * 32
Events = Literal["interface", "off", "none"]


def container_id(number: int) -> str:
    return f"{number:064x}"


class Runtime:
    """Containers of one pod. `events`: as CRI-O tells them, as it does with them switched off
    (the stream ends at once), or as a runtime that has none."""

    def __init__(self, socket: Path, events: Events = "interface") -> None:
        self.socket = socket
        self.events = events
        self.states: dict[str, int] = {}
        #: Instead of the answer: bytes, a status, or seconds to be silent for; by the call's name.
        self.faults: dict[str, bytes | grpc.StatusCode | float] = {}
        self.only_older = False
        self.asked: list[str] = []
        self._listeners: set[asyncio.Queue[bytes]] = set()

    @property
    def listeners(self) -> int:
        """How many follow the events."""
        return len(self._listeners)

    def start(self, number: int) -> str:
        """A container runs; who listens is told."""
        made = container_id(number)
        self.states[made] = cri.CONTAINER_RUNNING
        self.tell(made, cri.CONTAINER_STARTED_EVENT)
        return made

    def end(self, number: int) -> None:
        """It has ended."""
        self.states[container_id(number)] = cri.CONTAINER_EXITED
        self.tell(container_id(number), cri.CONTAINER_STOPPED_EVENT)

    def tell(self, container: str, kind: int) -> None:
        """An event, whether true or not."""
        event = cri.ContainerEventResponse(container_id=container, container_event_type=kind)  # type: ignore[arg-type]
        self.say(event.SerializeToString())

    def say(self, data: bytes) -> None:
        """Bytes in place of an event."""
        for queue in self._listeners:
            queue.put_nowait(data)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Runtime"]:
        """Answer at the socket until the block ends."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Handler(self),))
        server.add_insecure_port(f"unix:{self.socket}")
        await server.start()
        try:
            yield self
        finally:
            await server.stop(0)

    async def answer(self, name: str, request: bytes, context: Any) -> bytes:
        """What the runtime says to one call."""
        self.asked.append(name)
        fault = self.faults.get(name)
        if isinstance(fault, bytes):
            return fault
        if isinstance(fault, grpc.StatusCode):
            await context.abort(fault, "as was asked for")
        if isinstance(fault, float):
            await asyncio.sleep(fault)
        match name:
            case "Version":
                return cri.VersionResponse(
                    runtime_name="cri-o", runtime_version="1.31.2"
                ).SerializeToString()
            case "ListContainers":
                wanted = cri.ListContainersRequest.FromString(request).filter.id
                found = [self._listed(one) for one in self.states if wanted in ("", one)]
                return cri.ListContainersResponse(containers=found).SerializeToString()
            case "PodSandboxStatus":
                return _sandbox().SerializeToString()
            case "ContainerStatus":
                return await self._status(request, context)
            case "ImageStatus" | "Status":
                return b""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, name)
        return b""

    def _listed(self, one: str) -> cri.Container:
        return cri.Container(
            id=one,
            pod_sandbox_id=SANDBOX,
            metadata=cri.ContainerMetadata(name="web"),
            image=cri.ImageSpec(image="quay.io/shop/api:3"),
            state=self.states[one],  # type: ignore[arg-type]
        )

    async def _status(self, request: bytes, context: Any) -> bytes:
        wanted = cri.ContainerStatusRequest.FromString(request).container_id
        if wanted not in self.states:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"container {wanted} not found")
        status = cri.ContainerStatus(
            id=wanted,
            metadata=cri.ContainerMetadata(name="web"),
            state=self.states[wanted],  # type: ignore[arg-type]
            image=cri.ImageSpec(image="quay.io/shop/api:3"),
        )
        return cri.ContainerStatusResponse(
            status=status, info={"info": '{"pid": 42}'}
        ).SerializeToString()

    async def follow(self, _: bytes, context: Any) -> AsyncIterator[bytes]:
        """The events, while somebody reads them."""
        if self.events == "none":
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no events")
        if self.events == "off":
            return
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def service(self, details: Any) -> Any:
        service, _, name = details.method[1:].partition("/")
        older = service == "runtime.v1alpha2.RuntimeService"
        if not service.startswith("runtime.v1") or older != self._runtime.only_older:
            return None
        if name == "GetContainerEvents":
            return grpc.unary_stream_rpc_method_handler(self._runtime.follow)

        async def call(request: bytes, context: Any) -> bytes:
            return await self._runtime.answer(name, request, context)

        return grpc.unary_unary_rpc_method_handler(call)


def _sandbox() -> cri.PodSandboxStatusResponse:
    return cri.PodSandboxStatusResponse(
        status=cri.PodSandboxStatus(
            id=SANDBOX,
            metadata=cri.PodSandboxMetadata(name="api-0", uid="u-1", namespace="shop"),
            network=cri.PodSandboxNetworkStatus(ip="10.85.0.7"),
            labels={"app": "api"},
        )
    )
