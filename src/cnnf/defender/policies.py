"""Which policy this host enforces: the Console's, or the file's that takes its place.

One owner: the daemon, which hands on what the stream says and puts in force what comes of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from cnnf.defender.console_policy import ConsolePolicy
from cnnf.defender.core.conditions import Code
from cnnf.defender.expiry import Apply
from cnnf.defender.link.policy import KeptPolicy
from cnnf.defender.local_policy import LocalPolicy
from cnnf.policy.compiled import Compiled
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.limits import COMMAND_CHARS_MAX
from cnnf.protocol.messages import PolicyDocument, PolicyState
from cnnf.protocol.policy import decode_news

_log = structlog.get_logger(__name__)


class Policies:
    """Where the policy comes from. With a `file` nothing of the Console's is fetched or changed on
    disk; it is told which generation is not in force for it."""

    def __init__(
        self,
        file: Path | None,
        fetch: Callable[[], Awaitable[PolicyDocument]],
        kept: KeptPolicy,
        *,
        tell: Callable[[PolicyState], None],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], object],
    ) -> None:
        self._local = LocalPolicy(file) if file is not None else None
        self._console = ConsolePolicy(fetch, kept, tell=tell, raise_=raise_, clear=clear)
        self._tell = tell
        self._raise = raise_
        self._clear = clear
        self._look = asyncio.Event()
        #: Of the file's policy, and which generation of the Console's it stands for.
        self._digest = ""
        self._displaced = 0

    def first(self) -> Compiled | None:
        """What is to be in force from the start; None: nothing. Reads files, so in a thread.

        Raises OSError and PolicyError where the local file can't be used.
        """
        if self._local is None:
            return self._console.restore()
        compiled = self._local.read()
        self._digest = compiled.digest
        self._tell_local()
        return compiled

    def look(self) -> None:
        """Word has come that the file is another."""
        self._look.set()

    def opened(self) -> None:
        """A stream of the Console's begins."""
        self._console.opened()

    def told(self, event: str, data: str) -> None:
        """An event of the Console's stream; those that are not ours are left alone."""
        if event != "policy":
            return
        try:
            news = decode_news(data)
        except ProtocolError as error:
            _log.error("what the Console tells of the policy can't be read", error=str(error))
            return
        if self._local is None:
            self._console.told(news)
            return
        self._displaced = news.generation
        self._raise(
            "policy-local",
            f"a local file is in force in place of the Console's policy: {self._local.path}",
        )
        self._tell_local()

    async def follow(self, apply: Apply) -> None:
        """Put in force what is to be, for ever. Raises what `apply` raises; call it again."""
        if self._local is None:
            await self._console.follow(apply)
            return

        async def use(compiled: Compiled) -> None:
            await apply(compiled)
            self._digest = compiled.digest
            self._tell_local()

        await self._local.follow(self._look, use, self._raise, self._clear)

    def _tell_local(self) -> None:
        assert self._local is not None
        why = f"a local file is in force: {self._local.path}"[:COMMAND_CHARS_MAX]
        self._tell(
            PolicyState(
                digest=self._digest,
                refused_generation=self._displaced,
                refused=why if self._displaced else "",
            )
        )
