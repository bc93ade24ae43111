"""A Defender's next certificate, in time: for a new key, over the connection its present one makes.

The next one is on disk before it is used, and the Console takes both until it is: a Defender that
is killed at any point starts with one that is good.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import msgspec
import structlog

from cnnf.defender.core.conditions import Code
from cnnf.defender.core.limits import RENEW_RETRY_SECONDS, RENEW_SHARE, RENEW_WARN_SHARE
from cnnf.defender.link.answers import ANSWER_BYTES_MAX, said
from cnnf.defender.link.client import connect
from cnnf.defender.link.credentials import Credentials, Identity, check, new_key, present
from cnnf.defender.link.errors import CredentialsBroken, LinkError, RenewalFailed
from cnnf.protocol.codec import decode_json, encode_json
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import RenewReply, RenewRequest

_log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 15.0
_AGAIN = "`cnnf defender join --again` with a new token, then start the Defender again"


class Renewal:
    """Keeps `identity` good. `on_renewed` is told when `context` shows another certificate."""

    def __init__(
        self,
        credentials: Credentials,
        identity: Identity,
        context: ssl.SSLContext,
        *,
        on_renewed: Callable[[], None],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], None],
    ) -> None:
        self._credentials = credentials
        self._context = context
        self._on_renewed = on_renewed
        self._raise = raise_
        self._clear = clear
        self.identity = identity

    async def renew_for_ever(self) -> None:
        """Renew whenever it is time, and try again after a while when that fails."""
        while True:
            wait = await self.look(datetime.now(UTC))
            # Hosts that joined together need not renew together.
            await asyncio.sleep(wait * random.uniform(0.8, 1.0))  # noqa: S311 - jitter

    async def look(self, now: datetime) -> float:
        """Renew if it is time at this moment; the seconds until it is worth looking again."""
        begin, end = self.identity.valid()
        lasts, left = (end - begin).total_seconds(), (end - now).total_seconds()
        if left > lasts * RENEW_SHARE:
            self._clear("certificate-ending")
            return min(RENEW_RETRY_SECONDS, left - lasts * RENEW_SHARE + 1)
        if left <= 0:
            text = f"the certificate has expired on {end:%Y-%m-%d %H:%M} UTC: {_AGAIN}"
            _log.error(text)
            self._raise("certificate-ending", text)
            return RENEW_RETRY_SECONDS
        try:
            await self.renew()
        except LinkError as error:
            _log.warning("certificate not renewed", until=end.isoformat(), error=str(error))
            if left < lasts * RENEW_WARN_SHARE:
                text = f"the certificate ends on {end:%Y-%m-%d %H:%M} UTC, not renewed: {error}"
                self._raise("certificate-ending", text)
            return min(RENEW_RETRY_SECONDS, max(left, 1.0))
        return 1.0

    async def renew(self) -> None:
        """Get the next certificate, keep it, and use it. Raises LinkError; then nothing changed."""
        started = time.monotonic()
        key, request = new_key()
        reply = await self._ask(request)
        following = msgspec.structs.replace(self.identity, key=key, certificate=reply.certificate)
        check(following)
        await asyncio.to_thread(self._keep, following)
        present(self._context, following)
        self.identity = following
        self._on_renewed()
        _log.info(
            "certificate renewed",
            until=following.valid()[1].isoformat(),
            seconds=round(time.monotonic() - started, 3),
        )

    def _keep(self, following: Identity) -> None:
        if self._credentials.identity() != self.identity:
            raise CredentialsBroken("this host has joined anew; start the Defender again")
        self._credentials.keep(following)

    async def _ask(self, request: str) -> RenewReply:
        url = f"{self.identity.url}/defender/v1/renewal"
        try:
            async with (
                connect(self._context, _TIMEOUT_SECONDS) as client,
                client.stream(
                    "POST",
                    url,
                    content=encode_json(RenewRequest(request=request)),
                    headers={"content-type": "application/json", "accept-encoding": "identity"},
                ) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_raw(16_384):
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise RenewalFailed(f"{url}: the answer is too long")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise RenewalFailed(f"{url}: {error or type(error).__name__}") from error
        if answer.status_code != 200:
            raise RenewalFailed(f"{url}: {answer.status_code} {said(bytes(body))}")
        try:
            return decode_json(bytes(body), RenewReply)
        except ProtocolError as error:
            raise RenewalFailed(f"{url}: {error}") from error
