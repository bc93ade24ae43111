"""The exchange with a container runtime: gRPC over its Unix socket, bounded in size and time.

Used by `cri.py` only, which knows what to ask; here every way in which asking can fail becomes an
EngineError with the sentence a person can act on. Imported late, where a socket is there: gRPC
takes 16 MB and threads of its own.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# It writes to standard error by itself; what is worth saying is in the errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from cnnf.defender.core.containers import clean_text
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.errors import BadAnswer, EngineError, EngineUnreachable
from cnnf.defender.discovery.generated import cri_pb2 as cri
from cnnf.defender.discovery.generated.containerd_pb2 import (
    Envelope,
    SubscribeRequest,
)

_RUNTIME = "/runtime.v1.RuntimeService/"
_IMAGES = "/runtime.v1.ImageService/"
_EVENTS = "/containerd.services.events.v1.Events/"
_OLDER = "/runtime.v1alpha2.RuntimeService/"
#: Beginnings and ends of containers; containerd's CRI plugin keeps its own in this namespace.
_TASKS = SubscribeRequest(filters=['namespace==k8s.io,topic~="^/tasks/(start|exit)$"'])

_STARTED = "/tasks/start"

_Code = grpc.StatusCode
_ID_CHARS_MAX = 64

A = TypeVar("A", bound=Message)


class Event(NamedTuple):
    """Something happened to a container: it started, or else it ended (or was made)."""

    container: str
    started: bool


class CriClient:
    """A connection to one runtime. Use as an async context manager, then `greet` first."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._channel = grpc.aio.insecure_channel(
            f"unix:{socket}",
            options=(
                ("grpc.max_receive_message_length", limits.CRI_ANSWER_BYTES_MAX),
                ("grpc.enable_http_proxy", 0),
                # One connection for each of ours: the others' state says nothing about this one.
                ("grpc.use_local_subchannel_pool", 1),
                # What the runtime is called has nothing to do with where its socket lies.
                ("grpc.default_authority", "localhost"),
            ),
        )

    async def __aenter__(self) -> "CriClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def greet(self) -> str:
        """The runtime's name and version. Raises EngineError where there is none we understand."""
        try:
            answer = await self._ask(
                _RUNTIME + "Version", cri.VersionRequest(), cri.VersionResponse
            )
        except _NotOfferedError as error:
            raise await self._no_version(error) from error
        return clean_text(f"{answer.runtime_name} {answer.runtime_version}", 100)

    async def networks(self) -> str:
        """The network configurations as containerd has them, JSON; '' where none are told.

        Raises EngineError.
        """
        request = cri.StatusRequest(verbose=True)
        answer = await self._ask(_RUNTIME + "Status", request, cri.StatusResponse)
        return str(answer.info.get("cniconfig", ""))

    async def sandboxes(self) -> list[cri.PodSandbox]:
        """Every pod's sandbox, in whatever state. Raises EngineError."""
        answer = await self._ask(
            _RUNTIME + "ListPodSandbox", cri.ListPodSandboxRequest(), cri.ListPodSandboxResponse
        )
        return list(answer.items)

    async def containers(self, container: str = "") -> list[cri.Container]:
        """Every container, in whatever state, or the one with this id. Raises EngineError."""
        request = cri.ListContainersRequest()
        if container:
            request.filter.id = container
        answer = await self._ask(_RUNTIME + "ListContainers", request, cri.ListContainersResponse)
        return list(answer.containers)

    async def sandbox(self, sandbox: str) -> cri.PodSandboxStatusResponse | None:
        """A sandbox with its network; None when it is gone. Raises EngineError."""
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
        return await self._ask_of(
            _RUNTIME + "PodSandboxStatus", request, cri.PodSandboxStatusResponse
        )

    async def container(self, container: str) -> cri.ContainerStatusResponse | None:
        """A container with its times and its pid; None when it is gone. Raises EngineError."""
        request = cri.ContainerStatusRequest(container_id=container, verbose=True)
        return await self._ask_of(
            _RUNTIME + "ContainerStatus", request, cri.ContainerStatusResponse
        )

    async def image(self, reference: str) -> cri.Image | None:
        """An image's names; None when the runtime does not know it. Raises EngineError."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=reference))
        answer = await self._ask_of(_IMAGES + "ImageStatus", request, cri.ImageStatusResponse)
        return answer.image if answer is not None and answer.HasField("image") else None

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens to containers, by their ids; '' where it is not said to which.

        containerd's own events, or else the interface's: those of containerd 1.7 go to one reader
        alone, and we would take them from the kubelet. Ends, without an item, where there are
        neither (CRI-O with its events switched off). Raises EngineError.
        """
        with suppress(_NotOfferedError):
            async with aclosing(self._stream(_EVENTS + "Subscribe", _TASKS, Envelope)) as told:
                async for envelope in told:
                    task = envelope.event.value
                    # What ran beside a container's own processes (a probe, `kubectl exec`) is none.
                    if not task.id or task.id == task.container_id:
                        yield Event(_id(task.container_id), envelope.topic == _STARTED)
            raise self._lost("the event stream was closed")
        any_told = False
        stream = self._stream(
            _RUNTIME + "GetContainerEvents", cri.GetEventsRequest(), cri.ContainerEventResponse
        )
        with suppress(_NotOfferedError):
            async with aclosing(stream):
                async for event in stream:
                    any_told = True
                    started = event.container_event_type == cri.CONTAINER_STARTED_EVENT
                    yield Event(_id(event.container_id), started)
        if any_told:
            raise self._lost("the event stream was closed")

    async def _stream(
        self, method: str, request: Message, answer: type[A]
    ) -> AsyncGenerator[A, None]:
        stream: Any = self._channel.unary_stream(method, _bytes)(request)
        try:
            async for data in stream:
                yield _decoded(data, answer, method)
        except grpc.aio.AioRpcError as error:
            raise self._error(method, error) from error
        finally:
            stream.cancel()

    async def _ask(self, method: str, request: Message, answer: type[A]) -> A:
        call: Any = self._channel.unary_unary(method, _bytes)
        try:
            # The runtime is told how long we wait; ours is for one that does not keep to it.
            async with asyncio.timeout(limits.ANSWER_TOTAL_S):
                data = await call(request, timeout=limits.ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise self._silent(method) from error
        except grpc.aio.AioRpcError as error:
            raise self._error(method, error) from error
        return _decoded(data, answer, method)

    async def _ask_of(self, method: str, request: Message, answer: type[A]) -> A | None:
        try:
            return await self._ask(method, request, answer)
        except _NotThereError:
            return None

    async def _no_version(self, error: EngineError) -> EngineError:
        """No interface of version 1: is there an older one, or none at all?"""
        try:
            await self._ask(_OLDER + "Version", cri.VersionRequest(), cri.VersionResponse)
        except EngineError:
            # Where Docker brings its own containerd, that offers no pods: no defect.
            return EngineUnreachable(f"{self._socket} offers no pods: {error}", "engine-absent")
        return EngineUnreachable(
            f"the runtime behind {self._socket} speaks an older interface than version 1; "
            "containerd 1.6 or CRI-O 1.23 or later is needed",
            "engine-unsupported",
        )

    def _error(self, method: str, error: grpc.aio.AioRpcError) -> EngineError:
        name = method.rpartition("/")[2]
        details = clean_text(error.details() or "", 200)
        match error.code():
            case _Code.UNIMPLEMENTED:
                return _NotOfferedError(f"{name} is not offered", "engine-unsupported")
            case _Code.NOT_FOUND:
                return _NotThereError(f"{name}: {details}")
            case _Code.DEADLINE_EXCEEDED:
                return self._silent(method)
            case _Code.UNAVAILABLE if "Permission denied" in details:
                return EngineUnreachable(
                    f"no permission to use {self._socket}: run as root", "engine-refused"
                )
            case _Code.UNAVAILABLE:
                return self._lost(details)
            case _:
                return BadAnswer(f"{name}: {error.code().name.lower()}: {details}")

    def _lost(self, details: str) -> EngineError:
        return EngineUnreachable(f"nobody answers at {self._socket}: {details}", "engine-refused")

    def _silent(self, method: str) -> EngineError:
        name = method.rpartition("/")[2]
        return EngineUnreachable(
            f"the runtime behind {self._socket} did not answer {name} in time", "engine-silent"
        )


class _NotOfferedError(EngineUnreachable):
    """The runtime has no such call."""


class _NotThereError(BadAnswer):
    """It knows nothing by that id."""


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _id(text: str) -> str:
    """An id that can be asked about; '' for what is none: then everything has to be looked at."""
    return text if len(text) <= _ID_CHARS_MAX else ""


def _decoded(data: bytes, answer: type[A], method: str) -> A:
    try:
        made: A = answer.FromString(data)
    except DecodeError as error:
        raise BadAnswer(f"{method.rpartition('/')[2]}: {error}") from error
    return made
