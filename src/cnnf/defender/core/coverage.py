"""Connections that were opened and never seen: macvlan, ipvlan, eBPF and other ways past the hooks.

A network namespace counts the connections it opens (`Tcp: ActiveOpens`, RFC 4022). Those of its own
that the Defender has not seen went another way, unless they never left, so what could explain them
otherwise is taken off: connections over its own loopback cost at least two packets there; attempts
that failed, or whose SYN had to be sent again, may have been dropped before the hooks (by a
firewall, by a neighbour that is not there). What is left is certain to the extent that nobody gave
up on a silent peer within a second.
"""

from collections import deque
from typing import NamedTuple

from cnnf.defender.core.limits import (
    COVERAGE_BUCKETS_MAX,
    COVERAGE_KEEP_SECONDS,
    COVERAGE_LAG_SECONDS,
    COVERAGE_NAMESPACES_MAX,
    COVERAGE_READINGS_MAX,
)


class Opened(NamedTuple):
    """A namespace's own counters since it was made.

    `opens` connections were begun, `failed` of them (and some that others began) came to nothing,
    `resent` SYNs went out again, `lo_packets` were received on its loopback.
    """

    opens: int
    lo_packets: int
    failed: int = 0
    resent: int = 0


class Unobserved(NamedTuple):
    """At least so many connections of a namespace were not seen since a time (seconds)."""

    namespace: int
    at_least: int
    since: float


class _Series:
    """One namespace. Reports that may belong to readings not looked at yet are kept in `reports`
    as [first time, last time, count], earlier ones since `base` in `passed`."""

    def __init__(self, first: Opened, at: float) -> None:
        self.base, self.base_at = first, at
        self.latest, self.latest_at = first, at
        self.waiting: deque[tuple[float, Opened]] = deque()
        self.reports: deque[list[float]] = deque()
        self.passed = 0
        self.at_least = 0
        self.grew_at = at

    def settle(self, now: float, lag_s: float) -> None:
        """Compare the readings whose connections must have been reported by now."""
        while self.waiting and self.waiting[0][0] + lag_s <= now:
            at, opened = self.waiting.popleft()
            reported = self.passed + sum(
                int(count) for first, _, count in self.reports if first <= at + lag_s
            )
            missing = _missing(self.base, opened) - reported
            # One of this very moment may be of a connection that came after the reading.
            while self.reports and self.reports[0][1] < at:
                self.passed += int(self.reports.popleft()[2])
            if missing > self.at_least:
                self.grew_at = at
            if missing <= 0 or at - self.grew_at >= COVERAGE_KEEP_SECONDS:
                # All explained (or long ago): begin anew, or a surplus of reports (SYNs that were
                # sent again) would hide what comes.
                self.base, self.base_at, self.passed = opened, at, 0
                missing = 0
                self.grew_at = at
            self.at_least = missing

    def report(self, count: int, at: float) -> None:
        """SYNs were seen; reports of one second are kept together."""
        last = self.reports[-1] if self.reports else None
        if last is not None and (at - last[0] < 1.0 or len(self.reports) >= COVERAGE_BUCKETS_MAX):
            # Kept with its whole span, so that it counts for every reading that it may belong to.
            last[1] = max(last[1], at)
            last[2] += count
        else:
            self.reports.append([at, at, count])


def _missing(before: Opened, after: Opened) -> int:
    explained = (
        (after.lo_packets - before.lo_packets) // 2
        + (after.failed - before.failed)
        + (after.resent - before.resent)
    )
    return after.opens - before.opens - explained


class Coverage:
    """Compares what namespaces opened with what was seen of them. Times are seconds, rising.

    A namespace is known by its inode; call `forget` when it ends, since the kernel uses inodes
    again. `lag_s` may be changed when generations take longer.
    """

    def __init__(self, lag_s: float = COVERAGE_LAG_SECONDS) -> None:
        self.lag_s = lag_s
        self._series: dict[int, _Series] = {}

    def feed(self, namespace: int, opened: Opened, at: float) -> None:
        """A reading. The first one of a namespace is where the comparison begins.

        For the host's own namespace give `lo_packets=0`: its loopback is seen.
        """
        series = self._series.get(namespace)
        if series is None or opened.opens < series.latest.opens:
            # New, or another one with the same inode.
            if series is not None or len(self._series) < COVERAGE_NAMESPACES_MAX:
                self._series[namespace] = _Series(opened, at)
            return
        series.latest, series.latest_at = opened, at
        if len(series.waiting) < COVERAGE_READINGS_MAX:
            series.waiting.append((at, opened))

    def seen(self, namespace: int, count: int, at: float) -> None:
        """So many SYNs of this namespace were reported at this time; of unknown ones nothing."""
        series = self._series.get(namespace)
        if series is not None and count > 0:
            series.report(count, at)

    def unobserved(self, now: float) -> list[Unobserved]:
        """The namespaces that opened connections nobody saw, most of them first."""
        found = []
        for namespace, series in self._series.items():
            series.settle(now, self.lag_s)
            if series.at_least > 0:
                found.append(Unobserved(namespace, series.at_least, series.base_at))
        return sorted(found, key=lambda one: -one.at_least)

    def forget(self, namespace: int) -> None:
        """The namespace is gone, or is not compared any more."""
        self._series.pop(namespace, None)

    def restart(self) -> None:
        """Begin anew everywhere: what is looked at has changed."""
        self._series.clear()


_READ = frozenset({"ActiveOpens", "AttemptFails", "TCPSynRetrans"})


def parse_opened(snmp: str, netstat: str, dev: str) -> Opened | None:
    """A reading from `/proc/PID/net/snmp`, `netstat` and `dev`; None when they are not readable."""
    tcp, extended = _row(snmp, "Tcp:"), _row(netstat, "TcpExt:")
    if "ActiveOpens" not in tcp:
        return None
    return Opened(
        opens=tcp["ActiveOpens"],
        lo_packets=_loopback_packets(dev),
        failed=tcp.get("AttemptFails", 0),
        resent=extended.get("TCPSynRetrans", 0),
    )


def _row(text: str, name: str) -> dict[str, int]:
    """Two lines that begin with the name: what is counted, and how often."""
    rows = [line.split()[1:] for line in text.splitlines() if line.startswith(name)]
    if len(rows) != 2:
        return {}
    return {
        key: int(value)
        for key, value in zip(*rows, strict=False)
        # There are over a hundred, in each namespace.
        if key in _READ and _is_number(value)
    }


def _loopback_packets(dev: str) -> int:
    for line in dev.splitlines():
        device, colon, numbers = line.partition(":")
        words = numbers.split()
        if colon and device.strip() == "lo" and len(words) > 1 and _is_number(words[1]):
            return int(words[1])
    return 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
