"""What was opened and never seen is told when it is certain, and only then."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.coverage import Coverage, Opened, Unobserved, parse_opened
from cnnf.defender.core.limits import (
    COVERAGE_BUCKETS_MAX,
    COVERAGE_KEEP_SECONDS,
    COVERAGE_NAMESPACES_MAX,
    COVERAGE_READINGS_MAX,
)

LAG = 15.0
#: Long after everything that is fed.
LATER = 10_000.0
N = 4_026_532_000


def opened(opens: int, lo: int = 0, failed: int = 0, resent: int = 0) -> Opened:
    """A reading."""
    return Opened(opens, lo, failed, resent)


def test_what_was_before_the_first_reading_is_not_compared() -> None:
    coverage = Coverage(LAG)
    coverage.feed(N, opened(1_000), 0)
    coverage.feed(N, opened(1_000), 10)
    assert coverage.unobserved(LATER) == []


def test_what_nobody_saw_is_told_after_the_lag_and_not_before() -> None:
    coverage = Coverage(LAG)
    coverage.feed(N, opened(0), 0)
    coverage.feed(N, opened(7), 10)
    assert coverage.unobserved(10 + LAG - 0.1) == []
    assert coverage.unobserved(10 + LAG) == [Unobserved(N, 7, 0)]
    # It adds up.
    coverage.feed(N, opened(9), 20)
    assert coverage.unobserved(20 + LAG) == [Unobserved(N, 9, 0)]


def test_what_is_reported_late_was_seen() -> None:
    coverage = Coverage(LAG)
    coverage.feed(N, opened(0), 0)
    coverage.feed(N, opened(5), 10)
    coverage.seen(N, 3, 4)
    coverage.seen(N, 2, 24.9)
    assert coverage.unobserved(LATER) == []
    # A report that comes later still cannot be of these.
    coverage = Coverage(LAG)
    coverage.feed(N, opened(0), 0)
    coverage.feed(N, opened(5), 10)
    coverage.seen(N, 5, 10 + LAG + 0.1)
    assert coverage.unobserved(LATER)[0].at_least == 5


def test_loopback_failures_and_syns_sent_again_explain() -> None:
    for explanation in (opened(10, lo=20), opened(10, failed=10), opened(10, resent=10)):
        coverage = Coverage(LAG)
        coverage.feed(N, opened(0), 0)
        coverage.feed(N, explanation, 10)
        assert coverage.unobserved(LATER) == []
    coverage = Coverage(LAG)
    coverage.feed(N, opened(0), 0)
    coverage.feed(N, opened(10, lo=5, failed=1, resent=2), 10)
    assert coverage.unobserved(LATER)[0].at_least == 5


def test_a_surplus_of_reports_does_not_hide_what_comes_later() -> None:
    coverage = Coverage(LAG)
    coverage.feed(N, opened(0), 0)
    coverage.seen(N, 50, 5)
    coverage.feed(N, opened(10), 10)
    assert coverage.unobserved(10 + LAG) == []
    coverage.feed(N, opened(14), 40)
    assert coverage.unobserved(40 + LAG) == [Unobserved(N, 4, 10)]


def test_mixed_traffic_is_told_by_its_difference() -> None:
    coverage = Coverage(LAG)
    coverage.feed(N, opened(0), 0)
    for step in range(1, 20):
        # Ten a period, of which three are seen, 12 s late.
        coverage.feed(N, opened(step * 10), step * 10)
        coverage.seen(N, 3, step * 10 + 12)
    (one,) = coverage.unobserved(LATER)
    assert 19 * 7 - 10 <= one.at_least <= 19 * 7


def test_what_happened_long_ago_is_forgotten() -> None:
    coverage = Coverage(LAG)
    coverage.feed(N, opened(0), 0)
    coverage.feed(N, opened(5), 10)
    assert coverage.unobserved(60)
    coverage.feed(N, opened(5), 10 + COVERAGE_KEEP_SECONDS)
    assert coverage.unobserved(LATER) == []


def test_another_namespace_with_the_same_inode_begins_anew() -> None:
    coverage = Coverage(LAG)
    coverage.feed(N, opened(100), 0)
    coverage.feed(N, opened(3), 10)
    coverage.feed(N, opened(3), 20)
    assert coverage.unobserved(LATER) == []
    coverage.feed(N, opened(9), 30)
    coverage.forget(N)
    coverage.feed(N, opened(20), 40)
    assert coverage.unobserved(LATER) == []
    coverage.feed(N, opened(21), 50)
    coverage.restart()
    assert coverage.unobserved(LATER) == []


def test_everything_is_bounded() -> None:
    coverage = Coverage(LAG)
    for namespace in range(COVERAGE_NAMESPACES_MAX + 50):
        coverage.feed(namespace, opened(0), 0)
        coverage.feed(namespace, opened(1), 1)
        coverage.seen(namespace + 10**6, 1, 1)
    assert len(coverage._series) == COVERAGE_NAMESPACES_MAX
    for step in range(2_000):
        coverage.feed(0, opened(step), 2 + step * 2)
        coverage.seen(0, 1, 2 + step * 2)
    series = coverage._series[0]
    assert len(series.waiting) <= COVERAGE_READINGS_MAX
    assert len(series.reports) <= COVERAGE_BUCKETS_MAX
    # Nothing was unobserved, and what did not fit made nothing so.
    assert 0 not in {one.namespace for one in coverage.unobserved(LATER) if one.at_least > 1}


steps = st.lists(
    st.tuples(
        st.floats(0.1, 20),  # seconds until it opens
        st.booleans(),  # seen
        st.floats(0, 14.9),  # seconds until it is reported
        st.integers(0, 2),  # SYNs sent again, which are also seen
    ),
    max_size=60,
)


@given(steps, st.floats(1, 30))
def test_never_more_than_there_was_and_nothing_that_was_seen(
    connections: list[tuple[float, bool, float, int]], period: float
) -> None:
    happenings: list[tuple[float, int, str, int]] = []
    now, hidden, resent = 0.0, 0, 0
    for order, (wait, is_seen, delay, again) in enumerate(connections):
        now += wait
        happenings.append((now, order, "open", again))
        if is_seen:
            happenings.append((now + delay, order, "seen", 1 + again))
        else:
            hidden += 1
    end = now + 40
    at = 0.0
    while at < end:
        happenings.append((at, -1, "read", 0))
        at += period
    coverage = Coverage(LAG)
    opens = 0
    for at, _, kind, count in sorted(happenings):
        if kind == "open":
            opens += 1
            resent += count
        elif kind == "seen":
            coverage.seen(N, count, at)
        else:
            coverage.feed(N, opened(opens, resent=resent), at)
            for one in coverage.unobserved(at):
                assert one.at_least <= hidden
    assert sum(one.at_least for one in coverage.unobserved(end + LAG)) <= hidden


SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets
Tcp: 1 200 120000 -1 46290 43745 2053 64080
"""
NETSTAT = """TcpExt: SyncookiesSent TCPSynRetrans TCPOrigDataSent
TcpExt: 0 17 5
IpExt: InNoRoutes
IpExt: 0
"""
DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo: 130666619  287876    0    0    0     0          0         0 130666619  287876    0
  eth0:12 5 0 0 0 0 0 0 1 2 3
"""


def test_the_kernels_files_are_read() -> None:
    assert parse_opened(SNMP, NETSTAT, DEV) == Opened(46_290, 287_876, 2_053, 17)
    # A counter that touches the colon, and a kernel without the newer ones.
    assert parse_opened(SNMP, "", "lo:1 99 0\n") == Opened(46_290, 99, 2_053, 0)
    assert parse_opened("", NETSTAT, DEV) is None
    assert parse_opened("Tcp: ActiveOpens\n", NETSTAT, DEV) is None


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_read_or_none(snmp: str, netstat: str, dev: str) -> None:
    parse_opened(snmp, netstat, dev)
    parse_opened(f"Tcp: ActiveOpens\nTcp: {snmp}", f"TcpExt: {netstat}", f"lo: {dev}")
