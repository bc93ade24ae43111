"""How a Defender connects to the Console."""

import ssl

import httpx

from cnnf.protocol.limits import CONNECTION_IDLE_SECONDS

#: One request after the other on one connection; a renewed certificate is shown on the next one.
_LIMITS = httpx.Limits(max_connections=1, keepalive_expiry=CONNECTION_IDLE_SECONDS)


def connect(tls: ssl.SSLContext, timeout: httpx.Timeout | float) -> httpx.AsyncClient:
    """A client for one thing: the stream, the batches, a question. No proxy is asked, since
    the Console is known by its own authority."""
    return httpx.AsyncClient(verify=tls, timeout=timeout, limits=_LIMITS, trust_env=False)
