"""The policy in force, compiled, and the one way to change it.

Changes come one after the other: each is made of the version that its author has seen, compiled
beside the event loop, stored, and only then told to Defenders. Whatever fails on the way leaves the
policy in force as it is. What is found about it is worked out after that: Defenders do not wait for
an analysis.
"""

import asyncio
import gzip
from collections.abc import Callable, Sequence

import msgspec
import structlog
import zstandard

from cnnf.console import limits
from cnnf.console.core import lockout
from cnnf.console.core.places import Places
from cnnf.console.errors import CannotStart, Refused, StoreUnavailable
from cnnf.console.store import policies as store
from cnnf.console.store.database import Database
from cnnf.console.store.policies import Change, NewPolicy, StoredPolicy
from cnnf.policy.analysis import Finding, analyse
from cnnf.policy.changes import Change as Difference
from cnnf.policy.changes import changes
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.endpoints import Candidate
from cnnf.policy.errors import InvalidFormError, InvalidValueError, PolicyError
from cnnf.policy.export import write_policy
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import Policy
from cnnf.protocol.codec import encode_json
from cnnf.protocol.messages import PolicyDocument, PolicyNews

log = structlog.get_logger()

Edit = Callable[[Policy], Policy]

#: How Defenders may have it, the best first.
_ENCODINGS = ("zstd", "gzip")


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy is looked at with: who is there (None: too many to look at), every Defender's
    host but the Console's, who the Console's host is to others, its Defender listener's port, and
    every host's failsafe ports."""

    known: Sequence[Candidate] | None = None
    defenders: Sequence[Candidate] = ()
    console: Sequence[Candidate] = ()
    port: int = 0
    failsafe: dict[str, frozenset[int]] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change, or would; `stored` is the version in force after it."""

    stored: StoredPolicy
    digest: str
    changes: tuple[Difference, ...]
    findings: tuple[Finding, ...]
    notes: list[str]


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    policy: Policy
    compiled: Compiled
    new: NewPolicy
    changes: tuple[Difference, ...]
    notes: list[str]


class PolicyInForce:
    """The newest version. Owned by the event loop; what it holds is replaced, never changed."""

    def __init__(self, stored: StoredPolicy, now: int, tell: Callable[[PolicyNews], None]) -> None:
        """`tell` is called with each version that is put in force. Raises CannotStart where this
        program can't read what was stored."""
        self.stored = stored
        self._tell = tell
        try:
            self.policy = parse_policy(stored.text, subject=f"policy version {stored.version}")
            self.compiled = compile_policy(self.policy, now)
        except PolicyError as error:
            raise CannotStart(
                f"the policy in force can't be read: {error}",
                hint="Run the version of cnnf that wrote it, or restore a backup.",
            ) from error
        self._changing = asyncio.Lock()
        self._waiting = 0
        self._documents: dict[str, asyncio.Task[bytes]] = {}
        self._places: tuple[Policy, Places] | None = None

    @property
    def places(self) -> Places:
        """Which of its network objects ends outside are drawn as; made when it is first asked."""
        if self._places is None or self._places[0] is not self.policy:
            self._places = self.policy, Places(self.policy.objects)
        return self._places[1]

    @property
    def version(self) -> int:
        """Of the policy in force; Defenders call it generation."""
        return self.stored.version

    @property
    def digest(self) -> str:
        """The same for policies that mean the same; of the policy without regard to time, so that
        it stays what it is when rules expire."""
        return self.stored.digest

    async def change(
        self,
        database: Database,
        expected: int,
        edit: Edit,
        change: Change,
        surroundings: Surroundings,
        *,
        now: int,
        preview: bool = False,
    ) -> Outcome:
        """Make this change of the version that is expected to be in force, or only say what it
        would do. `edit` is called on another thread.

        Raises Conflict when another version is in force, Refused when the change can't be made,
        StoreUnavailable.
        """
        if self._waiting >= limits.POLICY_CHANGES_WAITING_MAX:
            raise StoreUnavailable("the policy is being changed: too many changes wait")
        self._waiting += 1
        try:
            async with self._changing:
                if expected != self.version:
                    raise store.conflict(self.version, expected)
                prepared = await asyncio.to_thread(_prepare, self.policy, edit, surroundings, now)
                stored = self.stored
                if not preview:
                    stored = await self._store(database, expected, prepared, change, now)
                    # Defenders ask for it by now: what they get comes before what its author does.
                    await self.document(_ENCODINGS[0])
            found = await asyncio.to_thread(analyse, prepared.compiled, surroundings.known)
            return _outcome(stored, prepared, found)
        finally:
            self._waiting -= 1

    async def _store(
        self, database: Database, expected: int, prepared: _Prepared, change: Change, now: int
    ) -> StoredPolicy:
        # Once it is stored it is in force, even if whoever asked for it has gone away meanwhile.
        writing = asyncio.ensure_future(
            database.write(
                lambda c: store.store(
                    c, expected=expected, new=prepared.new, change=change, now=now
                )
            )
        )
        try:
            stored = await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._put(await writing, prepared)
            raise
        self._put(stored, prepared)
        return stored

    def _put(self, stored: StoredPolicy, prepared: _Prepared) -> None:
        if stored.version == self.version:
            return
        self.stored, self.policy, self.compiled = stored, prepared.policy, prepared.compiled
        self._documents = {}
        self._tell(news(stored))
        log.info(
            "policy changed",
            version=stored.version,
            author=stored.author,
            kind=stored.kind,
            rules=stored.rules,
            objects=stored.objects,
        )

    async def renew(self, now: int) -> None:
        """Compile anew where a rule has expired since."""
        ends = self.compiled.ends_ms
        if ends is None or ends > now:
            return
        async with self._changing:
            self.compiled = await asyncio.to_thread(compile_policy, self.policy, now)

    async def findings(self, known: Sequence[Candidate] | None, now: int) -> tuple[Finding, ...]:
        """What is found about the policy in force now."""
        await self.renew(now)
        compiled = self.compiled
        return await asyncio.to_thread(analyse, compiled, known)

    async def document(self, accepted: str) -> tuple[bytes, str]:
        """The policy as Defenders get it, and how that is encoded: zstd, gzip or not ('')."""
        taken = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
        encoding = next((one for one in _ENCODINGS if one in taken), "")
        work = self._documents.get(encoding)
        if work is None or _failed(work):
            # Once for all the Defenders that ask at once, whoever of them hangs up.
            work = self._documents[encoding] = asyncio.create_task(
                asyncio.to_thread(_document, self.stored, self.policy, encoding)
            )
        return await asyncio.shield(work), encoding


def _failed(work: asyncio.Task[bytes]) -> bool:
    return work.done() and (work.cancelled() or work.exception() is not None)


def news(stored: StoredPolicy) -> PolicyNews:
    """What Defenders are told of a version."""
    return PolicyNews(generation=stored.version, digest=stored.digest)


def read(body: bytes, subject: str) -> Policy:
    """The policy that a body writes. Raises Refused with every problem's line and column."""
    try:
        return parse_policy(body, subject=subject)
    except InvalidFormError as error:
        first = error.problems[0]
        raise Refused(
            str(error), code="invalid-policy", where=f"body:{first.line}:{first.column}"
        ) from error


def _prepare(before: Policy, edit: Edit, around: Surroundings, now: int) -> _Prepared:
    try:
        policy = edit(before)
        lockout.check_failsafe(policy, around.failsafe)
        compiled = compile_policy(policy, now)
        over = any(rule.expired(now) for rule in (*policy.containers, *policy.hosts))
        digest = compile_policy(policy).digest if over else compiled.digest
        lockout.check_console(compiled, around.defenders, around.console, around.port)
    except InvalidValueError as error:
        raise Refused(str(error), code="invalid-policy", where="body") from error
    text = write_policy(policy)
    return _Prepared(
        policy=policy,
        compiled=compiled,
        new=store.new_policy(policy, text, digest),
        changes=changes(before, policy),
        notes=lockout.notes(policy, around.failsafe),
    )


def _outcome(stored: StoredPolicy, prepared: _Prepared, findings: tuple[Finding, ...]) -> Outcome:
    return Outcome(
        stored=stored,
        digest=prepared.new.digest,
        changes=prepared.changes,
        findings=findings,
        notes=prepared.notes,
    )


def _document(stored: StoredPolicy, policy: Policy, encoding: str) -> bytes:
    body = encode_json(
        PolicyDocument(
            generation=stored.version, digest=stored.digest, text=stored.text, policy=policy
        )
    )
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=6).compress(body)
    return gzip.compress(body, 6) if encoding == "gzip" else body
