"""The two connections to the Console: batches up, settings down. Both retry for ever, bounded.

Nothing here decides anything: batches come from the backlog and stay there until acknowledged;
what the stream tells is handed on as it comes.
"""

import asyncio
import random
import ssl
from collections.abc import Callable

import httpx
import structlog

from cnnf.defender.core.outbox import Outbox, Parcel
from cnnf.defender.link.answers import said
from cnnf.defender.link.backlog import Backlog
from cnnf.defender.link.client import connect
from cnnf.protocol.codec import CONTENT_TYPE, decode_json
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import Ack, Settings

_log = structlog.get_logger(__name__)

_RETRY_FIRST_SECONDS = 0.25
_RETRY_MAX_SECONDS = 10.0
_POST_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
#: The Console sends a comment every 10 s; three missed ones and the stream is made anew.
_STREAM_TIMEOUT = httpx.Timeout(35.0, connect=5.0)
#: Thousands of addresses that became stale, at 42 bytes each.
_LINE_BYTES_MAX = 262_144

#: Something before this batch never arrived.
_MISSING = 409
#: Answers that will never be different for the same batch.
_NEVER = frozenset({400, 413, 415, 422})
_FORBIDDEN = 403


class Uplink:
    """One Defender's link. `on_open` is told of each stream before what it says, `on_event` gets
    what it tells beside settings, `on_refused` why the Console will not take a batch."""

    def __init__(
        self,
        url: str,
        tls: ssl.SSLContext,
        outbox: Outbox,
        backlog: Backlog,
        *,
        on_open: Callable[[], None],
        on_settings: Callable[[Settings], None],
        on_event: Callable[[str, str], None],
        on_refused: Callable[[str], None],
    ) -> None:
        self._url = url
        self._tls = tls
        self._outbox = outbox
        self._backlog = backlog
        self._on_open = on_open
        self._on_settings = on_settings
        self._on_event = on_event
        self._on_refused = on_refused
        self._posted = asyncio.Event()
        self._idle = asyncio.Event()
        self._renewed = False
        #: What was logged last of a failure, so that each is told once and not at every try.
        self._told = ""
        self.reachable = False

    def notify(self) -> None:
        """There is something in the outbox."""
        self._posted.set()

    def renewed(self) -> None:
        """The certificate is another: the next batch goes over a new connection."""
        self._renewed = True

    async def drained(self, timeout_seconds: float) -> bool:
        """Wait until everything is acknowledged; False when time is up first."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._backlog.empty:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def send_for_ever(self) -> None:
        """Post batches, oldest first, each until it is acknowledged or refused for good."""
        while True:
            self._renewed = False
            async with connect(self._tls, _POST_TIMEOUT) as client:
                await self._send(client)

    async def _send(self, client: httpx.AsyncClient) -> None:
        """Post batches until the certificate is another."""
        wait = _RETRY_FIRST_SECONDS
        while not self._renewed:
            parcel = await self._backlog.first()
            if parcel is None:
                self._idle.set()
                await self._posted.wait()
                self._posted.clear()
                continue
            if await self._post(client, parcel):
                wait = _RETRY_FIRST_SECONDS
            else:
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                wait = min(wait * 2, _RETRY_MAX_SECONDS)

    async def listen_for_ever(self) -> None:
        """Follow the stream of settings, from the start again whenever it breaks."""
        wait = _RETRY_FIRST_SECONDS
        async with connect(self._tls, _STREAM_TIMEOUT) as client:
            while True:
                try:
                    async with client.stream("GET", f"{self._url}/defender/v1/stream") as answer:
                        if answer.status_code == 200:
                            wait = _RETRY_FIRST_SECONDS
                            self._on_open()
                            await self._follow(answer)
                        else:
                            _log.warning("settings stream refused", status=answer.status_code)
                except (httpx.HTTPError, OSError) as error:
                    _log.info("settings stream ended", error=str(error) or type(error).__name__)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                wait = min(wait * 2, _RETRY_MAX_SECONDS)

    async def _post(self, client: httpx.AsyncClient, parcel: Parcel) -> bool:
        """True when the outbox may go on to the next batch."""
        try:
            answer = await client.post(
                f"{self._url}/defender/v1/batches",
                content=parcel.data,
                headers={"content-type": CONTENT_TYPE},
            )
        except (httpx.HTTPError, OSError) as error:
            self._tell("Console can't be reached", str(error) or type(error).__name__)
            self.reachable = False
            return False
        self.reachable = True
        if answer.status_code == 200:
            return self._acknowledged(parcel, answer.content)
        reason = f"batch {parcel.sequence}: {answer.status_code} {said(answer.content)}"
        if answer.status_code == _MISSING:
            _log.warning("Console misses batches", reason=reason)
            self._on_refused(reason)
            self._outbox.missing(parcel.incarnation, parcel.sequence)
            return True
        if answer.status_code in _NEVER:
            _log.warning("Console refused", reason=reason)
            self._on_refused(reason)
            self._outbox.refused(parcel.incarnation, parcel.sequence)
            return True
        if answer.status_code == _FORBIDDEN:
            # Whether it was removed, or the Console has gone back to a backup.
            reason = f"{said(answer.content)}: `cnnf defender join --again` with a new token"
        self._tell("Console refused", reason)
        return False

    def _acknowledged(self, parcel: Parcel, body: bytes) -> bool:
        try:
            ack = decode_json(body, Ack)
        except ProtocolError as error:
            self._tell("Console's answer is no acknowledgement", str(error))
            return False
        self._told = ""
        if ack.incarnation == parcel.incarnation and ack.sequence >= parcel.sequence:
            self._outbox.acknowledged(ack.incarnation, ack.sequence)
            return True
        # It took the batch for another than it was kept as: a damage no checksum has shown.
        reason = f"batch {parcel.sequence}: taken as {ack.incarnation:.32} {ack.sequence}"
        _log.warning("Console refused", reason=reason)
        self._on_refused(reason)
        self._outbox.refused(parcel.incarnation, parcel.sequence)
        return True

    def _tell(self, event: str, why: str) -> None:
        if f"{event}: {why}" != self._told:
            _log.warning(event, why=why)
        self._told = f"{event}: {why}"

    async def _follow(self, answer: httpx.Response) -> None:
        event, data = "", ""
        async for line in answer.aiter_lines():
            if len(line) > _LINE_BYTES_MAX:
                return
            field, _, value = line.partition(":")
            if field == "event":
                event = value.strip()
            elif field == "data":
                data = value.strip()
            elif not line:
                if event == "settings":
                    try:
                        self._on_settings(decode_json(data, Settings))
                    except ProtocolError as error:
                        _log.error("settings can't be read", error=str(error))
                elif event:
                    self._on_event(event, data)
                event = data = ""
