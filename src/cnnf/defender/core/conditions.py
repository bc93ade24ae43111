"""Health conditions: every code a Defender can raise, with its severity, in one table.

A condition stands from when it is raised until it is cleared; the Console shows those that stand.
"""

from typing import Literal

from cnnf.protocol.messages import Condition, Severity

Code = Literal[
    "docker-unreachable",
    "podman-unreachable",
    "cri-unreachable",
    "kubernetes-unreachable",
    "loop-restarted",
    "loops-behind",
    "policy-refused",
    "policy-unreachable",
    "policy-local",
    "policy-unkept",
    "rules-restored",
    "rules-conflict",
    "set-full",
    "cut-failed",
    "unobserved",
    "privileges",
    "packets-dropped",
    "packets-undecodable",
    "packets-unaccounted",
    "queue-overflow",
    "packets-bypassed",
    "bridge-not-filtered",
    "rules-failed",
    "counts-unread",
    "flows-lost",
    "log-lost",
    "dns-unread",
    "batches-lost",
    "batch-refused",
    "spool-failed",
    "spool-damaged",
    "certificate-ending",
    "directory-unreachable",
    "internal",
]

SEVERITIES: dict[Code, Severity] = {
    "docker-unreachable": "warning",
    "podman-unreachable": "warning",
    "cri-unreachable": "warning",
    "kubernetes-unreachable": "warning",
    "loop-restarted": "warning",
    "loops-behind": "error",
    "policy-refused": "error",
    "policy-unreachable": "warning",
    "policy-local": "info",
    "policy-unkept": "warning",
    "rules-restored": "warning",
    "rules-conflict": "warning",
    "set-full": "warning",
    "cut-failed": "warning",
    "unobserved": "warning",
    "privileges": "info",
    "packets-dropped": "warning",
    "packets-undecodable": "warning",
    "packets-unaccounted": "warning",
    "queue-overflow": "error",
    "packets-bypassed": "warning",
    "bridge-not-filtered": "warning",
    "rules-failed": "error",
    "counts-unread": "warning",
    "flows-lost": "warning",
    "log-lost": "warning",
    "dns-unread": "info",
    "batches-lost": "warning",
    "batch-refused": "error",
    "spool-failed": "error",
    "spool-damaged": "warning",
    "certificate-ending": "error",
    "directory-unreachable": "warning",
    "internal": "error",
}

_MESSAGE_CHARS_MAX = 500


class Conditions:
    """The conditions that stand now."""

    def __init__(self) -> None:
        self._standing: dict[Code, Condition] = {}
        self.changed = False

    def put(self, code: Code, message: str, now_ms: int) -> None:
        """Raise a condition, or change its text; its beginning stays."""
        before = self._standing.get(code)
        text = message[:_MESSAGE_CHARS_MAX]
        if before is not None and before.message == text:
            return
        since = before.since if before is not None else now_ms
        self._standing[code] = Condition(
            code=code, severity=SEVERITIES[code], message=text, since=since
        )
        self.changed = True

    def clear(self, code: Code) -> None:
        """A condition no longer holds."""
        if self._standing.pop(code, None) is not None:
            self.changed = True

    def standing(self) -> list[Condition]:
        """All that stand, oldest first; marks them as told."""
        self.changed = False
        return sorted(self._standing.values(), key=lambda condition: condition.since)
