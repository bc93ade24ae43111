"""What holds for every request before a route sees it: bounds, media type, security headers."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cnnf.console.api.errors import error_response
from cnnf.console.errors import Refused

#: The pages come from here and talk to here only; nobody may frame them. Inline styles are what
#: the component library and the map renderer set on elements; workers come from blobs in no case.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_WITH_BODY = ("POST", "PUT", "PATCH")
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken as a request's body."""

    body_bytes_max: int
    media_types: tuple[str, ...]


class Guard:
    """ASGI middleware around one application.

    `large` are paths with bounds of their own. Their bodies are not read here but by the route,
    which first asks who sends them: nobody fills the memory who has no account.
    """

    def __init__(
        self, app: ASGIApp, bounds: Bounds, *, large: Mapping[str, Bounds] | None = None
    ) -> None:
        self._app = app
        self._bounds = bounds
        self._large = large or {}

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

        large = self._large.get(scope["path"])
        bounds = large or self._bounds
        refusal = _refusal(scope, headers, bounds)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        if large is not None:
            receive = _bounded(receive, large.body_bytes_max)
        elif scope["method"] in _WITH_BODY:
            read = await _read(receive, bounds.body_bytes_max)
            if read is None:
                response = error_response(413, _too_large(bounds.body_bytes_max))
                await response(scope, receive, send_guarded)
                return
            receive = _replay(read, receive)
        await self._app(scope, receive, send_guarded)


def _refusal(scope: Scope, headers: Headers, bounds: Bounds) -> Any | None:
    if scope["method"] not in _WITH_BODY:
        return None
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        return error_response(400, "Content-Length is no number", where="header")
    if int(length[:20]) > bounds.body_bytes_max:
        return error_response(413, _too_large(bounds.body_bytes_max))
    sent = headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = length != "0" or "transfer-encoding" in headers
    if has_body and sent not in bounds.media_types:
        wanted = " or ".join(bounds.media_types)
        return error_response(415, f"send {wanted}", where="header.content-type")
    return None


def _too_large(bytes_max: int) -> str:
    return f"the body is larger than {bytes_max} bytes"


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


def _bounded(receive: Receive, bytes_max: int) -> Receive:
    """The same, which raises Refused beyond so many bytes of a body of unknown length."""
    taken = 0

    async def next_message() -> MutableMapping[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > bytes_max:
            raise Refused(_too_large(bytes_max), code="too-large")
        return message

    return next_message


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
