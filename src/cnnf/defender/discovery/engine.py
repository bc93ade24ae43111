"""The exchange with a container engine: HTTP over its Unix socket, bounded in size and time.

Used by `docker.py` only, which knows what to ask; here every way in which asking can fail becomes
an EngineError with the sentence a person can act on.
"""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from cnnf.defender.core.containers import clean_text
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.answers import Version, api_version, decode
from cnnf.defender.discovery.errors import BadAnswer, EngineError, EngineUnreachable

#: The newest API version asked for: the answers are known up to here.
API_VERSION_NEWEST = (1, 47)
#: The version of Podman's own interface that is asked for; later ones keep it.
_LIBPOD = "/v4.0.0/libpod"


class Engine:
    """A connection to one engine. Use as an async context manager, then `greet` first."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._prefix = ""
        #: Is it Podman, which speaks Docker's interface?
        self.is_podman = False
        #: Does it masquerade IPv6 unless told otherwise?
        self.masquerades6 = False
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url="http://docker",
            headers={"Accept-Encoding": "identity"},
            timeout=httpx.Timeout(limits.ANSWER_TIMEOUT_S, connect=limits.CONNECT_TIMEOUT_S),
            # One more than the requests: the event stream keeps a connection.
            limits=httpx.Limits(max_connections=limits.REQUESTS_MAX + 1),
            trust_env=False,
        )

    async def __aenter__(self) -> "Engine":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def greet(self) -> None:
        """Settle the API version. Raises EngineError when there is no engine we understand."""
        answer: Version = decode(
            await self._get("/version", limits.INSPECT_BYTES_MAX), Version, "version"
        )
        version = api_version(answer.api_version)
        if version < limits.API_VERSION_OLDEST:
            oldest = ".".join(map(str, limits.API_VERSION_OLDEST))
            raise EngineUnreachable(
                f"the engine behind {self._socket} speaks API {answer.api_version}; "
                f"{oldest} or later is needed",
                "engine-unsupported",
            )
        self._prefix = "/v{}.{}".format(*min(version, API_VERSION_NEWEST))
        self.is_podman = answer.is_podman
        self.masquerades6 = version >= limits.API_VERSION_MASQUERADES6

    async def get(self, path: str, bytes_max: int) -> bytes:
        """The body of the answer to GET. Raises EngineUnreachable or BadAnswer."""
        return await self._get(self._prefix + path, bytes_max)

    async def get_libpod(self, path: str, bytes_max: int) -> bytes:
        """The same of Podman's own interface."""
        return await self._get(_LIBPOD + path, bytes_max)

    async def _get(self, path: str, bytes_max: int) -> bytes:
        try:
            async with asyncio.timeout(limits.ANSWER_TOTAL_S), self._translated(path):
                try:
                    return await self._once(path, bytes_max)
                except httpx.RemoteProtocolError:
                    # Mostly it is about to end, and then nobody answers any more: better known as
                    # that than as something wrong with what was asked about.
                    await asyncio.sleep(limits.ASK_AGAIN_S)
                    return await self._once(path, bytes_max)
        except TimeoutError as error:
            raise self._silent(path) from error

    async def _once(self, path: str, bytes_max: int) -> bytes:
        async with self._client.stream("GET", path) as response:
            body = await _bounded(response, bytes_max, path)
            _check_status(response.status_code, body, path)
            return body

    @asynccontextmanager
    async def events(self, parameters: dict[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The event stream's bytes, for as long as the engine keeps it open.

        Raises EngineUnreachable or BadAnswer, also while it is read.
        """
        path = f"{self._prefix}/events"
        timeout = httpx.Timeout(
            limits.ANSWER_TIMEOUT_S, connect=limits.CONNECT_TIMEOUT_S, read=None
        )
        async with (
            self._translated(path),
            self._client.stream("GET", path, params=parameters, timeout=timeout) as response,
        ):
            if response.status_code != httpx.codes.OK:
                _check_status(response.status_code, await _bounded(response, 4096, path), path)
            yield response.aiter_raw()

    @asynccontextmanager
    async def _translated(self, path: str) -> AsyncIterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise self._silent(path) from error
        except httpx.RemoteProtocolError as error:
            raise BadAnswer(f"GET {path}: {error}") from error
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BadAnswer(f"GET {path}: {error}") from error

    def _silent(self, path: str) -> EngineError:
        return EngineUnreachable(
            f"the engine behind {self._socket} did not answer GET {path} in time", "engine-silent"
        )

    def _unreachable(self, error: Exception) -> EngineError:
        code = _errno(error)
        if code in (errno.ENOENT, errno.ENOTDIR):
            return EngineUnreachable(f"{self._socket} is not there", "engine-absent")
        if code == errno.ECONNREFUSED:
            return EngineUnreachable(
                f"nobody answers at {self._socket}: the engine is not running", "engine-refused"
            )
        if code in (errno.EACCES, errno.EPERM):
            return EngineUnreachable(
                f"no permission to use {self._socket}: run as root or join its group",
                "engine-refused",
            )
        return EngineUnreachable(
            f"the connection to {self._socket} was lost: {error or type(error).__name__}",
            "engine-refused",
        )


def _errno(error: BaseException | None) -> int:
    """The operating system's error number at the bottom of a chain of errors; 0 without one."""
    for _ in range(8):
        if error is None:
            break
        if isinstance(error, OSError) and error.errno:
            return error.errno
        error = error.__cause__ or error.__context__
    return 0


async def _bounded(response: httpx.Response, bytes_max: int, path: str) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > bytes_max:
            raise BadAnswer(f"GET {path}: more than {bytes_max} bytes")
    return bytes(body)


def _check_status(status: int, body: bytes, path: str) -> None:
    if status != httpx.codes.OK:
        text = clean_text(body[:200].decode("utf-8", "replace"))
        raise BadAnswer(f"GET {path}: status {status}: {text}", status=status)
