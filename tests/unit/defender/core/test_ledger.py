"""A loop's counts: bounded, and none lost or doubled on the way to the daemon."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.ledger import Key, Ledger
from cnnf.defender.core.limits import LOOP_FLOWS_MAX
from cnnf.defender.core.observations import Seen

A, B = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"


def key(port: int = 80, *, source: bytes = A, cgroup: int = 0, inode: int = 0) -> Key:
    """A flow as the loop names it."""
    return (3, source, B, port, cgroup, inode)


def add(ledger: Ledger, flow: Key, now_ms: int = 100, *, inode: int = 0) -> None:
    """One SYN of user 33 from port 40,000."""
    ledger.add(flow, uid=33, source_port=40_000, inode=inode, now_ms=now_ms)


def test_syns_of_one_flow_are_counted_together() -> None:
    ledger = Ledger()
    for now_ms in (100, 150, 200):
        add(ledger, key(), now_ms)
    assert ledger.take(10) == [Seen(3, A, B, 80, 0, 0, 33, 40_000, 3, 100, 200)]
    assert len(ledger) == 0


def test_the_example_inode_is_told_where_the_cgroup_names_the_flow() -> None:
    ledger = Ledger()
    add(ledger, key(source=b"", cgroup=9), inode=4711)
    add(ledger, key(source=b"", cgroup=9), inode=4712)
    (seen,) = ledger.take(10)
    assert (seen.source, seen.cgroup, seen.inode, seen.count) == (b"", 9, 4711, 2)


def test_sockets_of_an_unnamed_cgroup_are_told_apart() -> None:
    ledger = Ledger()
    for inode in (1, 2):
        add(ledger, key(cgroup=9, inode=inode), inode=inode)
    assert [seen.inode for seen in ledger.take(10)] == [1, 2]


def test_a_new_flow_is_fresh_until_everything_is_told() -> None:
    ledger = Ledger()
    fresh = [ledger.fresh]
    add(ledger, key(1))
    add(ledger, key(2))
    fresh.append(ledger.fresh)
    ledger.take(1)
    fresh.append(ledger.fresh)
    taken = ledger.take(1)
    fresh.append(ledger.fresh)
    ledger.put_back([])
    fresh.append(ledger.fresh)
    ledger.put_back(taken)
    fresh.append(ledger.fresh)
    assert fresh == [False, True, True, False, False, True]


def test_at_the_bound_known_flows_count_and_new_ones_are_unaccounted() -> None:
    ledger = Ledger()
    for number in range(LOOP_FLOWS_MAX):
        add(ledger, (0, A, B, number, 0, 0))
    assert ledger.full
    add(ledger, (0, A, B, 0, 0, 0))
    add(ledger, (0, A, B, LOOP_FLOWS_MAX, 0, 0))
    assert ledger.unaccounted == 1
    assert len(ledger) == LOOP_FLOWS_MAX
    assert ledger.take(1)[0].count == 2
    assert not ledger.full


def test_what_is_put_back_spans_both_times() -> None:
    ledger = Ledger()
    add(ledger, key(), 100)
    early = ledger.take(1)
    add(ledger, key(), 300)
    ledger.put_back(early)
    assert ledger.take(1) == [Seen(3, A, B, 80, 0, 0, 33, 40_000, 2, 100, 300)]


flows = st.one_of(
    st.builds(key, st.integers(1, 4)),
    st.builds(key, st.integers(1, 2), source=st.just(b""), cgroup=st.integers(1, 2)),
    st.builds(key, st.integers(1, 2), cgroup=st.integers(1, 2), inode=st.integers(1, 3)),
)
steps = st.lists(
    st.one_of(flows, st.tuples(st.sampled_from(["take", "put back"]), st.integers(0, 4))),
    max_size=60,
)


@given(steps)
def test_counts_are_conserved(script: list[Key | tuple[str, int]]) -> None:
    ledger = Ledger()
    added: dict[Key, int] = {}
    told: dict[Key, int] = {}
    for now_ms, step in enumerate(script):
        if len(step) == 6:
            add(ledger, step, now_ms, inode=step[5])
            added[step] = added.get(step, 0) + 1
            continue
        action, most = step
        taken = ledger.take(most)
        assert len(taken) <= most
        if action == "put back":
            ledger.put_back(taken)
        else:
            _tell(told, taken)
    _tell(told, ledger.take(1_000))
    assert told == added
    assert ledger.unaccounted == 0


def _tell(told: dict[Key, int], taken: list[Seen]) -> None:
    for seen in taken:
        assert seen.first_seen <= seen.last_seen
        told[_key(seen)] = told.get(_key(seen), 0) + seen.count


def _key(seen: Seen) -> Key:
    return (seen.hook, seen.source, seen.destination, seen.port, seen.cgroup, seen.inode)
