"""The reference judge decides what a slow scan of the rules decides, whatever has changed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cnnf.defender.core.judge import Judge, Verdict, plain
from cnnf.defender.core.tables import (
    ALERT,
    ALLOW,
    ANYONE,
    PREVENT,
    InvalidTablesError,
    Tables,
    pack_rules,
    unpack_rules,
)
from cnnf.defender.netlink.nfqueue import FORWARD, INPUT, OUTPUT
from tests.unit.defender.core.rulings import (
    NETWORKS,
    Packet,
    known_address,
    packed,
    packets,
    scan,
    tables,
)

HOST, WEB, SHOP, NEW, OUTSIDE = packed(
    "10.0.0.1", "172.17.0.2", "172.17.0.3", "172.17.0.9", "203.0.113.7"
)
ALL = pack_rules(0b111)


def judged(judge: Judge, packet: Packet) -> Verdict:
    """The judge's decision about a packet."""
    return judge.decide(*packet)


@settings(deadline=None)
@given(tables(), st.lists(packets(), min_size=1, max_size=12))
def test_it_decides_as_the_slow_scan_does(tables: Tables, some: list[Packet]) -> None:
    judge = Judge(tables)
    # Twice, so that what the cache says is compared, too.
    for packet in some * 2:
        assert judged(judge, packet) == scan(tables, packet)


@settings(deadline=None)
@given(tables(), st.data(), st.lists(packets(), min_size=1, max_size=6))
def test_changes_are_as_if_they_had_always_been(
    tables: Tables, data: st.DataObject, some: list[Packet]
) -> None:
    judge = Judge(tables)
    for packet in some:
        judged(judge, packet)
    candidate = st.integers(0, 2 * len(tables.classes) - 1)
    put = data.draw(
        st.lists(st.tuples(known_address, st.lists(candidate, min_size=1, max_size=3)), max_size=3)
    )
    drop = data.draw(st.lists(known_address, max_size=2))
    ports = st.sampled_from([80, 443])
    listening = st.tuples(ports, st.just(b""), candidate, st.just(0) | ports)
    listeners = data.draw(st.none() | st.lists(listening))
    own = data.draw(st.none() | st.lists(known_address, max_size=2))
    place = st.tuples(known_address, st.sampled_from([0, 80]), st.sampled_from([0, 6]))
    gone = data.draw(st.lists(place, max_size=3))
    peers = [
        (
            *at,
            data.draw(st.lists(candidate | st.just(ANYONE), min_size=1, max_size=2)),
            data.draw(st.sampled_from([0, 0, 80, 443])),
        )
        for at in data.draw(st.lists(place, max_size=3, unique=True))
    ]
    membership = st.tuples(st.just(b"") | known_address, known_address)
    left = data.draw(st.lists(membership, max_size=3))
    members = [
        (*at, data.draw(st.integers(0, len(tables.classes) - 1)))
        for at in data.draw(st.lists(membership, max_size=3, unique=True))
    ]
    judge.change([], put, drop, listeners, own, peers, gone, members, left)
    addresses = [one for one in tables.addresses if one[0] not in drop] + put
    after = replace(
        tables,
        addresses=addresses,
        listeners=tables.listeners if listeners is None else listeners,
        host_addresses=tables.host_addresses if own is None else own,
        peers=[one for one in tables.peers if one[:3] not in gone] + peers,
        members=[one for one in tables.members if one[:2] not in left] + members,
    )
    for packet in some:
        assert judged(judge, packet) == scan(after, packet)


def by_port(**changes: object) -> Tables:
    """Rules 0 allow, 1 alert, 2 prevent, for containers, by port 80, 81, 82."""
    values: dict[str, object] = {
        "version": 1,
        "containers": True,
        "container_rules": 3,
        "effects": bytes([ALLOW, ALERT, PREVENT]),
        "tcp": ALL,
        "any_source": ALL,
        "port_starts": [0, 80, 81, 82, 83],
        "port_rules": [b"", pack_rules(1), pack_rules(2), pack_rules(4), b""],
        "classes": [(b"", b""), (b"", ALL)],
        "addresses": [(WEB, [1]), (SHOP, [3])],
        "host_addresses": [HOST],
    }
    return Tables(**values | changes)  # type: ignore[arg-type]


def test_the_mildest_of_several_candidates_holds_and_is_not_unanimous() -> None:
    judge = Judge(by_port(addresses=[(WEB, [1]), (SHOP, [3, 1])]))
    assert judge.decide(FORWARD, WEB, SHOP, 82, 6) == Verdict(ALLOW, -1, False)
    judge.change([], [(SHOP, [3, 3])], [], None, None)
    assert judge.decide(FORWARD, WEB, SHOP, 82, 6) == Verdict(PREVENT, 2, True)


def test_a_named_cgroup_goes_before_the_owner_that_was_found() -> None:
    judge = Judge(by_port(any_source=b"", classes=[(b"", ALL), (ALL, b"")], cgroups=[(9, 0)]))
    packet = Packet(OUTPUT, HOST, SHOP, 82, 6, cgroup=9, owner=3)
    assert judge.decide(*packet)[0] == ALLOW
    judge = Judge(
        by_port(any_source=b"", classes=[(b"", ALL), (ALL, ALL)], addresses=[(SHOP, [3])])
    )
    assert judge.decide(*packet)[0] == PREVENT


def test_who_is_awaited() -> None:
    judge = Judge(by_port(networks=NETWORKS))
    assert judge.awaits(FORWARD, NEW, SHOP)
    assert judge.awaits(FORWARD, WEB, bytes(10) + b"\xff\xff" + NEW)
    assert judge.awaits(OUTPUT, HOST, NEW)
    assert not judge.awaits(OUTPUT, NEW, SHOP)
    assert not judge.awaits(FORWARD, WEB, SHOP)
    assert not judge.awaits(FORWARD, WEB, OUTSIDE)
    judge.change([], [], [], None, [NEW])
    assert not judge.awaits(FORWARD, NEW, SHOP)


@pytest.mark.parametrize("changes", [{"containers": False}, {"container_rules": 0}, {}])
def test_nobody_is_awaited_where_no_rule_could_matter(changes: dict[str, object]) -> None:
    judge = Judge(by_port(networks=NETWORKS, **changes))
    assert judge.awaits(FORWARD, NEW, SHOP) == (not changes)


def test_only_preventions_in_force_prevent() -> None:
    assert Judge(by_port()).prevents
    assert not Judge(by_port(containers=False)).prevents
    assert not Judge(by_port(effects=bytes([ALLOW, ALERT, ALERT]))).prevents


def test_loopback_is_this_host() -> None:
    judge = Judge(by_port(hosts=True, container_rules=0, host=2))
    for address in packed("127.9.9.9", "::1"):
        assert judge.decide(INPUT, OUTSIDE, address, 82, 6)[0] == PREVENT
        assert judge.decide(FORWARD, address, address, 82, 6)[0] == PREVENT


@pytest.mark.parametrize(
    "change",
    [
        ([(pack_rules(8), b"")], [], [], None, None),
        ([], [(WEB, [4])], [], None, None),
        ([], [(WEB, [])], [], None, None),
        ([], [(WEB, [1] * 65)], [], None, None),
        ([], [(b"", [1])], [], None, None),
        ([], [], [b"abc"], None, None),
        ([], [(SHOP, [0])], [], [(65_536, b"", 0, 0)], None),
        ([], [(SHOP, [0])], [], [(80, b"", 0, 65_536)], None),
        ([], [(SHOP, [0])], [], None, [b""]),
        ([], [(SHOP, [0])], [], None, None, [(OUTSIDE, 80, 6, [], 0)]),
        ([], [(SHOP, [0])], [], None, None, [(OUTSIDE, 80, 6, [ANYONE + 1], 0)]),
        ([], [(SHOP, [0])], [], None, None, [(OUTSIDE, 65_536, 6, [0], 0)]),
        ([], [(SHOP, [0])], [], None, None, [(OUTSIDE, 80, 6, [0], 65_536)]),
        ([], [(SHOP, [0])], [], None, None, [], [(b"", 80, 6)]),
        ([], [(SHOP, [0])], [], None, None, [], [], [(b"", b"", 0)]),
        ([], [(SHOP, [0])], [], None, None, [], [], [(b"", SHOP, 9)]),
        ([], [(SHOP, [0])], [], None, None, [], [], [], [(b"abc", SHOP)]),
    ],
)
def test_a_change_that_points_nowhere_changes_nothing(change: tuple[object, ...]) -> None:
    judge = Judge(by_port())
    with pytest.raises(InvalidTablesError):
        judge.change(*change)  # type: ignore[arg-type]
    assert judge.decide(FORWARD, WEB, SHOP, 82, 6) == Verdict(PREVENT, 2, True)


@given(st.sets(st.integers(0, 9_999)))
def test_rules_survive_their_bytes(rules: set[int]) -> None:
    number = sum(1 << rule for rule in rules)
    assert unpack_rules(pack_rules(number)) == number


@pytest.mark.parametrize("broken", [b"x", bytes(10), pack_rules(1) * 2, pack_rules(1 << 65_536)])
def test_what_is_no_set_of_rules_is_refused(broken: bytes) -> None:
    with pytest.raises(InvalidTablesError):
        unpack_rules(broken)


def test_only_mapped_addresses_are_unwrapped() -> None:
    assert plain(bytes(10) + b"\xff\xff" + HOST) == HOST
    assert plain(bytes(9) + b"\x01\xff\xff" + HOST) != HOST
    assert plain(HOST) == HOST
