"""Fetches the policy from the Console, and keeps it in the Defender's directory."""

import asyncio
import ssl

import httpx

from cnnf.defender.core.kept_policy import decode_kept, encode_kept
from cnnf.defender.core.limits import POLICY_FETCH_SECONDS
from cnnf.defender.link.answers import ANSWER_BYTES_MAX, said
from cnnf.defender.link.client import connect
from cnnf.defender.link.credentials import Credentials
from cnnf.defender.link.errors import PolicyUnreachable
from cnnf.protocol import limits
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import PolicyDocument
from cnnf.protocol.policy import decode_document

#: Between two pieces of an answer; the whole has `POLICY_FETCH_SECONDS`.
_TIMEOUT = httpx.Timeout(10.0, connect=5.0)


class PolicyFetch:
    """The Console's policy, as a Defender fetches it."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url = f"{url}/defender/v1/policy"
        self._tls = tls

    async def fetch(self) -> PolicyDocument:
        """What is to be in force now. Raises PolicyUnreachable: ask again later."""
        try:
            async with asyncio.timeout(POLICY_FETCH_SECONDS):
                body = await self._body()
            # The largest take a second to decode.
            return await asyncio.to_thread(decode_document, body)
        except TimeoutError as error:
            raise PolicyUnreachable(f"not all of it came in {POLICY_FETCH_SECONDS} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise PolicyUnreachable(str(error) or type(error).__name__) from error
        except ProtocolError as error:
            raise PolicyUnreachable(str(error)) from error

    async def _body(self) -> bytes:
        # A client for each: one whose request ran out of time holds its connection for ever, and
        # the Console ends idle connections before the next change comes.
        async with (
            connect(self._tls, _TIMEOUT) as client,
            client.stream("GET", self._url) as answer,
        ):
            good = answer.status_code == 200
            most = limits.POLICY_BYTES_MAX if good else ANSWER_BYTES_MAX
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > most:
                    raise PolicyUnreachable(f"{answer.status_code}, and more than {most} bytes")
        if not good:
            raise PolicyUnreachable(f"{answer.status_code} {said(bytes(body))}".strip())
        return bytes(body)


class KeptPolicy:
    """The last policy in force, on disk. `owner` is the Console whose policy it is."""

    def __init__(self, credentials: Credentials, owner: str) -> None:
        self._credentials = credentials
        self._owner = owner

    def read(self) -> PolicyDocument | None:
        """What was in force; None when nothing of this Console's is kept. Raises OSError,
        UnreadableKeptPolicyError."""
        data = self._credentials.policy()
        return None if data is None else decode_kept(data, self._owner)

    def write(self, document: PolicyDocument) -> None:
        """Keep this one instead; on disk when it returns. Raises OSError."""
        self._credentials.keep_policy(encode_kept(self._owner, document))
