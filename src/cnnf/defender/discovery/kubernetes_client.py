"""The exchange with a cluster's API: HTTPS, bounded in size and time.

Used by `kubernetes_watch.py` and `kubernetes.py`, which know what to ask; here every way in which
asking can fail becomes an EngineError with the sentence a person can act on.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx

from cnnf.defender.core.containers import clean_text
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.errors import BadAnswer, EngineUnreachable
from cnnf.defender.discovery.kubernetes_access import Access
from cnnf.defender.discovery.lines import LineSplitter

#: A watch says nothing for minutes; an API server that is gone is noticed within a minute.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class KubernetesClient:
    """Connections to one API. Use as an async context manager."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=access.tls,
                trust_env=False,
                socket_options=_KEEPALIVE,
                limits=httpx.Limits(max_connections=limits.REQUESTS_MAX + 2),
            ),
            base_url=access.url,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(limits.ANSWER_TIMEOUT_S, connect=limits.CONNECT_TIMEOUT_S),
            trust_env=False,
        )

    async def __aenter__(self) -> "KubernetesClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: str) -> bytes:
        """The body of the answer to GET. Raises EngineUnreachable, or BadAnswer with the status."""
        try:
            async with asyncio.timeout(limits.ANSWER_TOTAL_S):
                async with self._answer(path, query, limits.ANSWER_TIMEOUT_S) as response:
                    return await _body(response, path, limits.LIST_BYTES_MAX)
        except TimeoutError as error:
            raise self._silent(path) from error

    async def watch(self, path: str, seconds: int, **query: str) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, which the server ends after so many seconds; b'' stands for one
        that was too long. Raises as above, also while it is read."""
        splitter = LineSplitter(limits.KUBERNETES_LINE_BYTES_MAX)
        query = {**query, "watch": "1", "timeoutSeconds": str(seconds)}
        patience_s = seconds + limits.ANSWER_TIMEOUT_S
        async with self._answer(path, query, patience_s) as response:
            async for chunk in response.aiter_raw():
                for line in splitter.feed(chunk):
                    yield line
                if splitter.dropped:
                    splitter.dropped = 0
                    yield b""

    @asynccontextmanager
    async def _answer(
        self, path: str, query: dict[str, str], patience_s: float
    ) -> AsyncIterator[httpx.Response]:
        headers = await asyncio.to_thread(self._access.headers)
        timeout = httpx.Timeout(
            limits.ANSWER_TIMEOUT_S, connect=limits.CONNECT_TIMEOUT_S, read=patience_s
        )
        begun = False
        try:
            async with self._client.stream(
                "GET", path, params=query, headers=headers, timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise _refusal(response.status_code, await _body(response, path, 65_536), path)
                begun = True
                yield response
        except httpx.TimeoutException as error:
            raise self._silent(path) from error
        except httpx.TransportError as error:
            # What begins well and breaks off is a lost connection, not a server that errs.
            if isinstance(error, httpx.RemoteProtocolError) and not begun:
                raise BadAnswer(f"GET {path}: {clean_text(str(error), 200)}") from error
            told = clean_text(str(error) or type(error).__name__, 200)
            raise EngineUnreachable(
                f"the Kubernetes API at {self._access.url} can't be reached: {told}",
                "engine-refused",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BadAnswer(f"GET {path}: {clean_text(str(error), 200)}") from error

    def _silent(self, path: str) -> EngineUnreachable:
        return EngineUnreachable(
            f"the Kubernetes API at {self._access.url} did not answer GET {path} in time",
            "engine-silent",
        )


async def _body(response: httpx.Response, path: str, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > bytes_max:
            raise BadAnswer(f"GET {path}: more than {bytes_max} bytes")
    return bytes(body)


def _refusal(status: int, body: bytes, path: str) -> BadAnswer:
    hints = {
        401: "; it does not know our token",
        403: "; the service account may not: see the roles in docs/operating/kubernetes.md",
    }
    said = clean_text(body[:300].decode("utf-8", "replace"), 200)
    return BadAnswer(f"GET {path}: status {status}: {said}{hints.get(status, '')}", status=status)
