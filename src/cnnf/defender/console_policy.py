"""The Console's policy on this host: fetched when the stream tells of another, checked, put in
force whole or not at all, and kept on disk for a start without the Console.

`core/policy_progress.py` says what to do; here it is done. What can't be taken leaves what was in
force, is a condition, and the Console is told why.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from cnnf.defender.core.conditions import Code
from cnnf.defender.core.kept_policy import UnreadableKeptPolicyError
from cnnf.defender.core.limits import (
    POLICY_FILE_SECONDS,
    POLICY_JITTER_SECONDS,
    POLICY_KEEP_SECONDS,
    POLICY_RETRY_FIRST_SECONDS,
    POLICY_RETRY_MAX_SECONDS,
)
from cnnf.defender.core.policy_document import read_document
from cnnf.defender.core.policy_progress import (
    MismatchError,
    OutdatedDocumentError,
    PolicyProgress,
)
from cnnf.defender.expiry import Apply, Expiring, now_ms
from cnnf.defender.link.errors import PolicyUnreachable
from cnnf.defender.link.policy import KeptPolicy
from cnnf.policy.compiled import Compiled
from cnnf.policy.errors import PolicyError
from cnnf.policy.rules import Policy
from cnnf.protocol.messages import PolicyDocument, PolicyNews, PolicyState

_log = structlog.get_logger(__name__)


class ConsolePolicy:
    """Owns how far this host has come with the Console's policy.

    `fetch` asks the Console for it and raises PolicyUnreachable; `tell` gets what the Console is to
    know; `now_ms` gives the time, milliseconds since 1970.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[PolicyDocument]],
        kept: KeptPolicy,
        *,
        tell: Callable[[PolicyState], None],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], object],
        now_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._fetch = fetch
        self._kept = kept
        self._tell = tell
        self._raise = raise_
        self._clear = clear
        self._progress = PolicyProgress()
        self._expiring = Expiring(now_ms)
        self._news = asyncio.Event()
        self._streams = 0
        self._opened = False
        self._wait = POLICY_RETRY_FIRST_SECONDS
        #: Not fetched and not written before these moments of the monotonic clock.
        self._fetch_at = 0.0
        self._keep_at = 0.0
        #: Checked, and not in force yet.
        self._ready: tuple[PolicyDocument, Policy, Compiled] | None = None
        self._unkept: PolicyDocument | None = None

    def restore(self) -> Compiled | None:
        """What was in force when the last process ended, to be put in force before anything is
        judged; None where nothing is kept, or nothing that can be used."""
        try:
            document = self._kept.read()
            if document is None:
                return None
            policy, compiled = read_document(document, self._expiring.now_ms())
        except (OSError, UnreadableKeptPolicyError, PolicyError) as error:
            self._raise(
                "policy-refused",
                f"the policy kept on disk can't be used: {error}; no rule is in force until the "
                "Console tells the policy",
            )
            _log.error("kept policy refused", error=str(error))
            return None
        self._progress.applied(document)
        self._expiring.use(policy, compiled)
        self._tell(self._progress.state)
        _log.info("kept policy taken", generation=document.generation, rules=len(compiled.rules))
        return compiled

    def opened(self) -> None:
        """A stream of the Console's begins."""
        self._streams += 1
        self._opened = True
        self._progress.opened()

    def told(self, news: PolicyNews) -> None:
        """The stream says what is to be in force."""
        again, self._opened = self._opened and self._streams > 1, False
        if not self._progress.tell(news):
            return
        # A change is followed at once; what was missed while away, not by all at the same time.
        jitter = random.uniform(0, POLICY_JITTER_SECONDS) if again else 0.0  # noqa: S311
        self._fetch_at = time.monotonic() + jitter
        self._wait = POLICY_RETRY_FIRST_SECONDS
        self._news.set()

    async def follow(self, apply: Apply) -> None:
        """Do what is to be done, for ever. Raises what `apply` raises, and whoever calls again
        tries again."""
        while True:
            self._news.clear()
            await self._step(apply)
            await self._expiring.renew(apply)
            await self._keep()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()

    def _pause(self) -> float:
        if self._progress.step == "rest":
            return POLICY_FILE_SECONDS
        return min(max(0.0, self._fetch_at - time.monotonic()), POLICY_FILE_SECONDS)

    async def _step(self, apply: Apply) -> None:
        step = self._progress.step
        if step == "renumber":
            await self._settled(self._progress.renumbered())
        elif step == "fetch" and time.monotonic() >= self._fetch_at:
            try:
                await self._take(apply)
            except (PolicyUnreachable, OutdatedDocumentError) as error:
                self._later(str(error))
            except (PolicyError, MismatchError) as error:
                self._refuse(str(error))

    async def _take(self, apply: Apply) -> None:
        """Raises PolicyUnreachable, OutdatedDocumentError; PolicyError, MismatchError; and what
        `apply` raises."""
        told = self._progress.told
        if self._ready is None or PolicyNews(
            generation=self._ready[0].generation, digest=self._ready[0].digest
        ) != told:  # fmt: skip
            self._ready = None
            fetched = await self._fetch()
            self._progress.fetched(fetched)
            self._clear("policy-unreachable")
            read = await asyncio.to_thread(read_document, fetched, self._expiring.now_ms())
            self._ready = (fetched, *read)
        document, policy, compiled = self._ready
        try:
            await apply(compiled)
        except Exception as error:
            # A condition tells more of it; it is tried again.
            self._progress.delayed(f"not in force yet: {error or type(error).__name__}")
            self._tell(self._progress.state)
            raise
        self._ready = None
        self._expiring.use(policy, compiled)
        self._progress.applied(document)
        await self._settled(document)
        _log.info(
            "policy applied",
            generation=document.generation,
            digest=document.digest,
            rules=len(compiled.rules),
        )

    async def _settled(self, document: PolicyDocument) -> None:
        """What was told is in force: on disk before the Console hears of it."""
        self._clear("policy-refused")
        self._clear("policy-unreachable")
        self._wait = POLICY_RETRY_FIRST_SECONDS
        self._unkept, self._keep_at = document, 0.0
        await self._keep()
        self._tell(self._progress.state)

    def _later(self, why: str) -> None:
        self._fetch_at = time.monotonic() + self._wait * random.uniform(0.5, 1.0)  # noqa: S311
        self._wait = min(self._wait * 2, POLICY_RETRY_MAX_SECONDS)
        self._progress.delayed(f"it could not be fetched: {why}")
        self._raise("policy-unreachable", f"{self._lacking} could not be fetched: {why}")
        self._tell(self._progress.state)

    def _refuse(self, why: str) -> None:
        self._progress.refused(why)
        held = self._progress.held
        stays = f"generation {held.generation} stays in force" if held else "no rule is in force"
        self._raise("policy-refused", f"{self._lacking} was not taken, {stays}: {why}")
        self._tell(self._progress.state)
        _log.error("policy refused", generation=self._lacking, error=why)

    @property
    def _lacking(self) -> str:
        return f"generation {self._progress.state.refused_generation} of the Console's policy"

    async def _keep(self) -> None:
        """What is in force is on disk, or it is told that it is not."""
        document = self._unkept
        if document is None or time.monotonic() < self._keep_at:
            return
        try:
            await asyncio.to_thread(self._kept.write, document)
        except OSError as error:
            self._keep_at = time.monotonic() + POLICY_KEEP_SECONDS
            self._raise(
                "policy-unkept",
                f"generation {document.generation} of the policy is in force, and could not be "
                f"kept on disk: {error}; a start without the Console would not have it",
            )
            return
        self._unkept = None
        self._clear("policy-unkept")
