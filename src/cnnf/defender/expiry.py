"""The policy in force while its rules expire: compiled again without them, whoever told it.

A rule's end is a change like any other, and nobody sends word of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.rules import Policy

Apply = Callable[[Compiled], Awaitable[None]]

_log = structlog.get_logger(__name__)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Expiring:
    """One policy and when the first of its rules expires; `now_ms` gives the time."""

    def __init__(self, now_ms: Callable[[], int] = now_ms) -> None:
        self.now_ms = now_ms
        self._policy = Policy()
        self._ends_ms: int | None = None

    def use(self, policy: Policy, compiled: Compiled) -> None:
        """This one is in force, or is about to be."""
        self._policy, self._ends_ms = policy, compiled.ends_ms

    def ended(self) -> bool:
        """Has a rule of it expired since it was compiled?"""
        return self._ends_ms is not None and self._ends_ms <= self.now_ms()

    async def renew(self, apply: Apply) -> None:
        """Put it in force without what has expired, if anything has."""
        if not self.ended():
            return
        compiled = await asyncio.to_thread(self._renewed)
        await apply(compiled)
        self._ends_ms = compiled.ends_ms
        _log.info("rules expired", digest=compiled.digest, rules=len(compiled.rules))

    def _renewed(self) -> Compiled:
        return compile_policy(self._policy, self.now_ms())
