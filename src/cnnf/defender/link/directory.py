"""Asks the Console who stands at ends elsewhere; and keeps the answers in a file of one's own."""

import os
import ssl
from pathlib import Path

import httpx

from cnnf.defender.core.limits import PEERS_FILE_BYTES_MAX
from cnnf.defender.link.answers import said
from cnnf.defender.link.client import connect
from cnnf.defender.link.errors import DirectoryUnreachable, QuestionRefused
from cnnf.protocol import limits
from cnnf.protocol.codec import encode_json
from cnnf.protocol.directory import decode_answers
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import Answers, Question

#: A connection that waits for its SYN to be sent again does so within a second.
_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
#: Answers that will never be different for the same question.
_NEVER = frozenset({400, 413, 415, 422})


class Directory:
    """The Console's directory, as a Defender asks it."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url = f"{url}/defender/v1/directory"
        self._client = connect(tls, _TIMEOUT)

    async def ask(self, question: Question) -> Answers:
        """The answers. Raises DirectoryUnreachable: ask again later; QuestionRefused: never."""
        try:
            async with self._client.stream(
                "POST",
                self._url,
                content=encode_json(question),
                headers={"content-type": "application/json"},
            ) as answer:
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > limits.ANSWERS_BYTES_MAX:
                        raise DirectoryUnreachable(
                            f"more than {limits.ANSWERS_BYTES_MAX} bytes of answers"
                        )
        except (httpx.HTTPError, OSError) as error:
            raise DirectoryUnreachable(str(error) or type(error).__name__) from error
        if answer.status_code in _NEVER:
            raise QuestionRefused(f"{answer.status_code} {said(bytes(body))}".strip())
        if answer.status_code != 200:
            raise DirectoryUnreachable(f"{answer.status_code} {said(bytes(body))}".strip())
        try:
            return decode_answers(bytes(body))
        except ProtocolError as error:
            raise DirectoryUnreachable(str(error)) from error

    async def close(self) -> None:
        """Leave the Console alone."""
        await self._client.aclose()


class PeersFile:
    """One file, replaced as a whole, readable by its owner only."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "peers"

    def read(self) -> bytes | None:
        """What was kept; None when nothing was. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                # One byte more than there may be: then it is damaged.
                return file.read(PEERS_FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> None:
        """Keep this instead. Not flushed: what a power cut loses is asked again. Raises OSError."""
        partial = self.path.with_name("peers.new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(self.path)
