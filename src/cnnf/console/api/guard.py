"""What holds for every request before a route sees it: bounds, media type, security headers."""

from collections.abc import Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cnnf.console.api.errors import error_response

#: The pages come from here and talk to here only; nobody may frame them. Inline styles are what
#: the component library and the map renderer set on elements; workers come from blobs in no case.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Bodies(NamedTuple):
    """What a route takes."""

    bytes_max: int
    media_types: tuple[str, ...]


class Guard:
    """ASGI middleware around one application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_bytes_max: int,
        media_types: tuple[str, ...],
        others: Mapping[str, Bodies] = MappingProxyType({}),
    ) -> None:
        """`others` are the paths that take other bodies."""
        self._app = app
        self._bodies = Bodies(body_bytes_max, media_types)
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        secure = scope["scheme"] == "https"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message, scope["path"], secure=secure)
            await send(message)

        bodies = self._others.get(scope["path"], self._bodies)
        refusal = _refusal(scope, headers, bodies)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        body = b""
        if scope["method"] in ("POST", "PUT", "PATCH"):
            read = await _read(receive, bodies.bytes_max)
            if read is None:
                response = error_response(413, f"the body is larger than {bodies.bytes_max} bytes")
                await response(scope, receive, send_guarded)
                return
            body = read
            receive = _replay(body, receive)
        await self._app(scope, receive, send_guarded)


def _refusal(scope: Scope, headers: Headers, bodies: Bodies) -> Any | None:
    if scope["method"] not in ("POST", "PUT", "PATCH"):
        return None
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        return error_response(400, "Content-Length is no number", where="header")
    if int(length[:20]) > bodies.bytes_max:
        return error_response(413, f"the body is larger than {bodies.bytes_max} bytes")
    sent = headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = length != "0" or "transfer-encoding" in headers
    if has_body and sent not in bodies.media_types:
        wanted = " or ".join(bodies.media_types)
        return error_response(415, f"send {wanted}", where="header.content-type")
    return None


async def _read(receive: Receive, bytes_max: int) -> bytes | None:
    """The whole body; None when it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > bytes_max:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _add_headers(message: Message, path: str, *, secure: bool) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if secure:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if path.startswith(("/api/", "/defender/")):
        headers.setdefault("Cache-Control", "no-store")
