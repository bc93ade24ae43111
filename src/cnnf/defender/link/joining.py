"""How a host joins: a join token for a certificate of its own.

The token's last part is the fingerprint of the Console's authority. What the Console shows of its
authority is compared with that before the token is sent, so whoever stands in between gets nothing.
"""

import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cnnf.defender.core.limits import CLOCK_SKEW_SECONDS_MAX
from cnnf.defender.link.answers import ANSWER_BYTES_MAX, behind, said
from cnnf.defender.link.credentials import Identity, check, new_key
from cnnf.defender.link.errors import CredentialsBroken, EnrolmentFailed
from cnnf.protocol.codec import decode_json, encode_json
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import EnrolReply, EnrolRequest

TOKEN_PREFIX = "cnnf-join"  # noqa: S105 - a prefix, no secret
_TIMEOUT_SECONDS = 10.0
#: OpenSSL's X509_V_ERR_*: what of a server's certificate was wrong.
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64


class _Trust(msgspec.Struct):
    authority: str


class _Reply(NamedTuple):
    status: int
    date: str
    body: bytes


def join(console: str, token: str, host: str) -> Identity:
    """Trade the token for an identity; nothing is kept. Raises EnrolmentFailed."""
    console = console.rstrip("/")
    fingerprint = fingerprint_in(token)
    check_url(console)
    authority = _authority(console, fingerprint)
    key, request = new_key()
    message = EnrolRequest(token=token, request=request, host=host)
    try:
        context = ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise EnrolmentFailed(f"{console}: its authority can't be used: {error}") from error
    answer = _ask(console, "POST", "/api/v1/defenders/enrol", context, encode_json(message))
    if answer.status != 200:
        raise EnrolmentFailed(
            f"{console}: {answer.status}: {said(answer.body) or 'no reason given'}",
            hint=_HINTS.get(answer.status, ""),
        )
    try:
        reply = decode_json(answer.body, EnrolReply)
        identity = Identity(
            defender=reply.defender,
            url=reply.url,
            key=key,
            certificate=reply.certificate,
            authority=authority,
        )
        check(identity)
    except (ProtocolError, CredentialsBroken) as error:
        raise EnrolmentFailed(f"{console}: its answer can't be used: {error}") from error
    if urlsplit(reply.url).scheme != "https":
        raise EnrolmentFailed(f"{console}: it names {reply.url!r:.100} for Defenders, not HTTPS")
    return identity


_HINTS = {
    403: "A token is good for one Defender, until it expires. A new one: cnnf defenders token",
    404: "Name the address of its pages, not the one where Defenders connect.",
    429: "Wait a minute, then try again.",
}


def fingerprint_in(token: str) -> str:
    """The authority's SHA-256 in hex that a join token names. Raises EnrolmentFailed."""
    prefix, _, rest = token.partition(".")
    secret, _, fingerprint = rest.partition(".")
    hexadecimal = len(fingerprint) == 64 and all(c in "0123456789abcdef" for c in fingerprint)
    if prefix != TOKEN_PREFIX or not secret or not hexadecimal:
        raise EnrolmentFailed(
            f"this is no join token: one begins with {TOKEN_PREFIX}. and has three parts",
            hint="Is it whole? A new one: cnnf defenders token",
        )
    return fingerprint


def check_url(console: str) -> None:
    """A token crosses a network by HTTPS only. Raises EnrolmentFailed."""
    try:
        parts = urlsplit(console)
        host, _ = parts.hostname, parts.port
        known = parts.scheme in ("https", "http") and not (parts.path or parts.query)
    except ValueError:
        host, known = None, False
    if not host or not known:
        raise EnrolmentFailed(f"{console}: no Console's address; write https://console:8083")
    if parts.scheme == "http" and not _is_loopback(host):
        raise EnrolmentFailed(f"{console}: a token crosses a network by HTTPS only; write https://")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _authority(console: str, fingerprint: str) -> str:
    """The authority's certificate (PEM) that the fingerprint is of. Raises EnrolmentFailed."""
    # Whose it is is not known yet, so it is asked by anybody's TLS, and gets nothing from us.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    answer = _ask(console, "GET", "/api/v1/defenders/authority", context)
    if answer.status != 200:
        what = said(answer.body) or "is there a Console of this version?"
        raise EnrolmentFailed(
            f"{console}: {answer.status}: {what}", hint=_HINTS.get(answer.status, "")
        )
    try:
        pem = decode_json(answer.body, _Trust).authority
        found = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
    except (ProtocolError, ValueError) as error:
        raise EnrolmentFailed(f"{console}: it shows no authority: {error}") from error
    if found != fingerprint:
        raise EnrolmentFailed(
            f"{console}: its authority is {found[:16]}…, the token is for {fingerprint[:16]}…; "
            "the token was not sent",
            hint="It is another Console than the one that made the token, or somebody in between.",
        )
    _check_clock(console, answer.date)
    return pem


def _check_clock(console: str, date: str) -> None:
    """Before the token is used up: with clocks apart certificates are not good yet, or no more."""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return
    ahead = time.time() - theirs
    if abs(ahead) > CLOCK_SKEW_SECONDS_MAX:
        raise EnrolmentFailed(
            f"this host's clock is {abs(ahead) / 3600:.1f} hours "
            f"{'ahead of' if ahead > 0 else 'behind'} that of {console}; the token was not sent",
            hint="Set the clock that is wrong, then try again with the same token.",
        )


def _ask(
    console: str, method: str, path: str, context: ssl.SSLContext, content: bytes | None = None
) -> _Reply:
    headers = {"accept-encoding": "identity"}
    if content is not None:
        headers["content-type"] = "application/json"
    try:
        with (
            httpx.Client(verify=context, timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream(method, console + path, content=content, headers=headers) as answer,
        ):
            body = bytearray()
            for part in answer.iter_raw(16_384):
                body += part
                if len(body) > ANSWER_BYTES_MAX:
                    raise EnrolmentFailed(f"{console}: its answer is too long to be a Console's")
            return _Reply(answer.status_code, answer.headers.get("date", ""), bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise _failed(console, error) from error


def _failed(console: str, error: Exception) -> EnrolmentFailed:
    wrong = behind(error)
    if not isinstance(wrong, ssl.SSLCertVerificationError):
        return EnrolmentFailed(
            f"{console}: {'TLS: ' if wrong else ''}{error or type(error).__name__}",
            hint="Does the Console listen there (`cnnf console --listen`), and may this host "
            "reach it?",
        )
    if wrong.verify_code in (_NOT_YET, _EXPIRED):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return EnrolmentFailed(
            f"{console}: {wrong.verify_message}; this host's clock says {now}",
            hint="Set the clock that is wrong, then try again with the same token.",
        )
    if wrong.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return EnrolmentFailed(
            f"{console}: its certificate is for other names: {wrong.verify_message}",
            hint="Start the Console with --advertise and this name, or use one that it has.",
        )
    return EnrolmentFailed(
        f"{console}: its certificate is not of the Console's authority: {wrong.verify_message}",
        hint="Something in between answers in its place.",
    )
