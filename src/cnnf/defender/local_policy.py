"""A policy from a file on this host: read whole, compiled, and looked at for changes.

A rule that expires is a change too: the policy is compiled again without it, whatever has become
of the file. The daemon asks; a file that can't be used says why, and what was in force stays so.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from cnnf.defender.core.conditions import Code
from cnnf.defender.core.limits import POLICY_FILE_SECONDS
from cnnf.defender.news import following
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.errors import InvalidValueError, PolicyError
from cnnf.policy.form import parse_policy
from cnnf.policy.limits import FORM_BYTES_MAX
from cnnf.policy.rules import Policy

_State = tuple[int, int, int]

_log = structlog.get_logger(__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class LocalPolicy:
    """One file. `changed` compares with what `read` has last seen, right or wrong.

    `now_ms` gives the time, milliseconds since 1970.
    """

    def __init__(self, path: Path, now_ms: Callable[[], int] = _now_ms) -> None:
        self.path = path
        self._now_ms = now_ms
        self._seen: _State | None = None
        #: What was read last and is right, and when the first of its rules expires.
        self._policy = Policy()
        self._ends_ms: int | None = None

    async def follow(
        self,
        news: asyncio.Event,
        apply: Callable[[Compiled], Awaitable[None]],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], object],
    ) -> None:
        """Put the file in force whenever it is another, or word comes that it is, and what is in
        force again when a rule of it expires. A file that is wrong changes nothing, and is a
        condition."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLICY_FILE_SECONDS):
                    await news.wait()
            if news.is_set() or await asyncio.to_thread(self.changed):
                with following(news):
                    await self._use(apply, raise_, clear)
            if self.ended():
                renewed = await asyncio.to_thread(self.renewed)
                await apply(renewed)
                self._ends_ms = renewed.ends_ms
                _log.info("rules expired", digest=renewed.digest, rules=len(renewed.rules))

    async def _use(
        self,
        apply: Callable[[Compiled], Awaitable[None]],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], object],
    ) -> None:
        try:
            compiled = await asyncio.to_thread(self.read)
        except (OSError, PolicyError) as error:
            raise_("policy-refused", f"{error}; what was in force stays")
            _log.error("policy refused", file=str(self.path), error=str(error))
            return
        await apply(compiled)
        clear("policy-refused")
        _log.info("policy applied", digest=compiled.digest, rules=len(compiled.rules))

    def read(self) -> Compiled:
        """The policy that stands there now. Raises OSError, PolicyError."""
        self._seen = self._state()
        with self.path.open("rb") as file:
            data = file.read(FORM_BYTES_MAX + 1)
        if len(data) > FORM_BYTES_MAX:
            raise InvalidValueError(
                f"{self.path}: more than {FORM_BYTES_MAX // 1024} KiB; a policy is smaller"
            )
        policy = parse_policy(data, subject=str(self.path))
        compiled = compile_policy(policy, self._now_ms())
        self._policy, self._ends_ms = policy, compiled.ends_ms
        return compiled

    def ended(self) -> bool:
        """Has a rule of what was read last expired since?"""
        return self._ends_ms is not None and self._ends_ms <= self._now_ms()

    def renewed(self) -> Compiled:
        """What was read last, without the rules that have expired."""
        return compile_policy(self._policy, self._now_ms())

    def changed(self) -> bool:
        """Is the file another than was read? Also when it has gone."""
        return self._state() != self._seen

    def _state(self) -> _State | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
