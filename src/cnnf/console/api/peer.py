"""Puts the client's certificate where a route can read it; uvicorn keeps it to itself."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cnnf.console.api.errors import error_response

_KEY = "cnnf.peer_certificate"


class PeerProtocol(HttpToolsProtocol):
    """One connection; what it serves carries the certificate its TLS handshake verified."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state = {**self.app_state, _KEY: certificate}

    def send_400_response(self, msg: str) -> None:
        """Bytes that are no HTTP request get the one error shape, too."""
        body = bytes(error_response(400, msg).body)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        self.transport.close()


def peer_certificate(scope: MutableMapping[str, Any]) -> bytes | None:
    """The verified client certificate (DER) of the connection; None without one."""
    certificate: bytes | None = scope.get("state", {}).get(_KEY)
    return certificate
