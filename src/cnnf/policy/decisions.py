"""Decisions about pairs that come again: worked out once, then looked up.

For whoever judges the same few thousand pairs over and over, as the Console does with what it is
told and with drafts. A pair is two candidates, a port and a protocol.
"""

from cnnf.policy import limits
from cnnf.policy.compiled import Compiled
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import Decision, Protocol, evaluate


class Decisions:
    """What one policy says of pairs; the same as `evaluate` of one candidate a side."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._known: dict[tuple[Candidate, Candidate, int, str], Decision] = {}

    def of(
        self, source: Candidate, destination: Candidate, port: int, protocol: Protocol
    ) -> Decision:
        """What the policy says. Raises InvalidValueError as `evaluate` does."""
        key = source, destination, port, protocol
        found = self._known.get(key)
        if found is None:
            found = evaluate(self._compiled, (source,), (destination,), port, protocol)
            if len(self._known) >= limits.DECISIONS_CACHED_MAX:
                self._known.clear()
            self._known[key] = found
        return found
