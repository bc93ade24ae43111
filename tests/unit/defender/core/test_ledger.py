"""A loop's counts: bounded, and none lost or doubled on the way to the daemon."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.ledger import Key, Ledger
from cnnf.defender.core.limits import LOOP_FLOWS_MAX
from cnnf.defender.core.observations import Seen

A, B = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"


def key(
    port: int = 80,
    *,
    source: bytes = A,
    cgroup: int = 0,
    inode: int = 0,
    version: int = 7,
    decided: tuple[int, int] = (0, -1),
) -> Key:
    """A flow as the loop names it; decided by (effect, rule)."""
    return Key(version, 3, 6, source, B, port, cgroup, inode, *decided)


def add(ledger: Ledger, flow: Key, now_ms: int = 100, *, inode: int = 0) -> None:
    """One SYN of user 33 from port 40,000."""
    ledger.add(flow, uid=33, source_port=40_000, inode=inode, now_ms=now_ms)


def test_syns_of_one_flow_are_counted_together() -> None:
    ledger = Ledger()
    for now_ms in (100, 150, 200):
        add(ledger, key(), now_ms)
    seen = Seen(3, 6, A, B, 80, 0, 0, 0, -1, 33, 40_000, 3, 100, 200)
    assert ledger.take(10) == (7, [seen])
    assert len(ledger) == 0


def test_the_example_inode_is_told_where_the_cgroup_names_the_flow() -> None:
    ledger = Ledger()
    add(ledger, key(source=b"", cgroup=9), inode=4711)
    add(ledger, key(source=b"", cgroup=9), inode=4712)
    _, (seen,) = ledger.take(10)
    assert (seen.source, seen.cgroup, seen.inode, seen.count) == (b"", 9, 4711, 2)


def test_sockets_of_an_unnamed_cgroup_are_told_apart() -> None:
    ledger = Ledger()
    for inode in (1, 2):
        add(ledger, key(cgroup=9, inode=inode), inode=inode)
    assert [seen.inode for seen in ledger.take(10)[1]] == [1, 2]


def test_what_was_decided_otherwise_is_told_apart() -> None:
    ledger = Ledger()
    for decided in ((0, 3), (2, 3), (2, 4), (2, 3)):
        add(ledger, key(decided=decided))
    _, flows = ledger.take(10)
    assert [(seen.effect, seen.rule, seen.count) for seen in flows] == [
        (0, 3, 1), (2, 3, 2), (2, 4, 1),
    ]  # fmt: skip


def test_flows_of_one_version_are_taken_at_a_time() -> None:
    ledger = Ledger()
    for version, port in ((1, 1), (1, 2), (2, 1), (2, 2)):
        add(ledger, key(port, version=version))
    told = [ledger.take(10) for _ in range(3)]
    assert [(version, [seen.port for seen in flows]) for version, flows in told] == [
        (1, [1, 2]), (2, [1, 2]), (-1, []),
    ]  # fmt: skip


def test_a_held_syn_is_counted_with_the_time_of_its_arrival() -> None:
    ledger = Ledger()
    add(ledger, key(), 200)
    add(ledger, key(), 100)
    _, (seen,) = ledger.take(1)
    assert (seen.first_seen, seen.last_seen) == (200, 200)


def test_a_new_flow_is_fresh_until_everything_is_told() -> None:
    ledger = Ledger()
    fresh = [ledger.fresh]
    add(ledger, key(1))
    add(ledger, key(2))
    fresh.append(ledger.fresh)
    ledger.take(1)
    fresh.append(ledger.fresh)
    version, taken = ledger.take(1)
    fresh.append(ledger.fresh)
    ledger.put_back(version, [])
    fresh.append(ledger.fresh)
    ledger.put_back(version, taken)
    fresh.append(ledger.fresh)
    assert fresh == [False, True, True, False, False, True]


def test_at_the_bound_known_flows_count_and_new_ones_are_unaccounted() -> None:
    ledger = Ledger()
    for number in range(LOOP_FLOWS_MAX):
        add(ledger, key(number))
    assert ledger.full
    add(ledger, key(0))
    add(ledger, key(LOOP_FLOWS_MAX))
    assert ledger.unaccounted == 1
    assert len(ledger) == LOOP_FLOWS_MAX
    assert ledger.take(1)[1][0].count == 2
    assert not ledger.full


def test_what_is_put_back_spans_both_times() -> None:
    ledger = Ledger()
    add(ledger, key(), 100)
    version, early = ledger.take(1)
    add(ledger, key(), 300)
    ledger.put_back(version, early)
    seen = Seen(3, 6, A, B, 80, 0, 0, 0, -1, 33, 40_000, 2, 100, 300)
    assert ledger.take(1) == (7, [seen])


decided = st.tuples(st.integers(0, 2), st.integers(-1, 1))
flows = st.one_of(
    st.builds(key, st.integers(1, 4), version=st.integers(1, 3), decided=decided),
    st.builds(key, st.integers(1, 2), source=st.just(b""), cgroup=st.integers(1, 2)),
    st.builds(key, st.integers(1, 2), cgroup=st.integers(0, 2), inode=st.integers(1, 3)),
)
steps = st.lists(
    st.one_of(flows, st.tuples(st.sampled_from(["take", "put back"]), st.integers(0, 4))),
    max_size=60,
)


@given(steps)
def test_counts_are_conserved(script: list[Key | tuple[str, int]]) -> None:
    ledger = Ledger()
    added: Counter[Key] = Counter()
    told: Counter[Key] = Counter()
    for now_ms, step in enumerate(script):
        if isinstance(step, Key):
            add(ledger, step, now_ms, inode=step.inode)
            added[step] += 1
            continue
        action, most = step
        version, taken = ledger.take(most)
        assert len(taken) <= most
        if action == "put back":
            ledger.put_back(version, taken)
        else:
            _tell(told, version, taken)
    while len(ledger):
        _tell(told, *ledger.take(1_000))
    assert told == added
    assert ledger.unaccounted == 0


def _tell(told: Counter[Key], version: int, taken: list[Seen]) -> None:
    for seen in taken:
        assert seen.first_seen <= seen.last_seen
        told[
            Key(
                version, seen.hook, seen.protocol, seen.source, seen.destination, seen.port,
                seen.cgroup, seen.inode, seen.effect, seen.rule,
            )
        ] += seen.count  # fmt: skip
