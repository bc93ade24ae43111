"""A policy from a file on this host: read whole, compiled, and looked at for changes.

A rule that expires is a change too, whatever has become of the file. The daemon asks; a file that
can't be used says why, and what was in force stays so.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from cnnf.defender.core.conditions import Code
from cnnf.defender.core.limits import POLICY_FILE_SECONDS
from cnnf.defender.expiry import Apply, Expiring, now_ms
from cnnf.defender.news import following
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.errors import InvalidValueError, PolicyError
from cnnf.policy.form import parse_policy
from cnnf.policy.limits import FORM_BYTES_MAX

_State = tuple[int, int, int]

_log = structlog.get_logger(__name__)


class LocalPolicy:
    """One file. `changed` compares with what `read` has last seen, right or wrong.

    `now_ms` gives the time, milliseconds since 1970.
    """

    def __init__(self, path: Path, now_ms: Callable[[], int] = now_ms) -> None:
        self.path = path
        self._seen: _State | None = None
        #: What was read last and is right.
        self._expiring = Expiring(now_ms)

    async def follow(
        self,
        news: asyncio.Event,
        apply: Apply,
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
            await self._expiring.renew(apply)

    async def _use(
        self,
        apply: Apply,
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
        compiled = compile_policy(policy, self._expiring.now_ms())
        self._expiring.use(policy, compiled)
        return compiled

    def ended(self) -> bool:
        """Has a rule of what was read last expired since?"""
        return self._expiring.ended()

    def changed(self) -> bool:
        """Is the file another than was read? Also when it has gone."""
        return self._state() != self._seen

    def _state(self) -> _State | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
