"""What the daemon and the kernel may expect of either loop, as scripts."""

import time
from collections.abc import Iterator

import pytest

from cnnf.defender.core.limits import STRANGERS_MAX
from cnnf.defender.core.observations import Cgroups, Confirm, Endpoints, Looked, Use
from cnnf.defender.core.tables import ALERT, ALLOW, ANYONE, PREVENT, Tables, pack_rules
from cnnf.defender.kernel.loop_process import LoopKind
from cnnf.defender.netlink.nfqueue import FORWARD, INPUT, NF_DROP, NF_REPEAT, OUTPUT
from tests.native.harness import Flow, Loop, Verdict, queued, running, segment

JUDGED, REFUSE, REMEMBER, PARITY = 0x2000, 0x1000, 0x0800, 0x0400

WEB, SHOP, NEW = bytes([172, 17, 0, 2]), bytes([172, 17, 0, 3]), bytes([172, 17, 0, 9])
OUTSIDE, HOST = bytes([203, 0, 113, 7]), bytes([10, 0, 0, 1])
NETWORK = (bytes([172, 17, 0, 0]), bytes([172, 17, 255, 255]))

#: Rule 0 allows, 1 alerts, 2 prevents: by port 80, 81, 82; for containers. Class 1 is everybody.
EVERY = pack_rules(0b111)


def by_port(**changes: object) -> Tables:
    """Rules for containers by port; `changes` replaces any part."""
    values: dict[str, object] = {
        "version": 1,
        "containers": True,
        "hosts": True,
        "container_rules": 3,
        "effects": bytes([ALLOW, ALERT, PREVENT]),
        "tcp": EVERY,
        "udp": EVERY,
        "any_destination": EVERY,
        "any_source": EVERY,
        "port_starts": [0, 80, 81, 82, 83],
        "port_rules": [b"", pack_rules(1), pack_rules(2), pack_rules(4), b""],
        "addresses": [(WEB, [1]), (SHOP, [1])],
        "host_addresses": [HOST],
    }
    return Tables(**values | changes)  # type: ignore[arg-type]


@pytest.fixture(params=["native", "python"])
def kind(request: pytest.FixtureRequest) -> LoopKind:
    """Every script is for both loops."""
    chosen: LoopKind = request.param
    return chosen


@pytest.fixture
def loop(kind: LoopKind) -> Iterator[Loop]:
    """A loop that fails open."""
    with running(kind) as loop:
        yield loop


@pytest.mark.parametrize(
    ("port", "mark"),
    [
        (79, JUDGED | REMEMBER | PARITY),
        (80, JUDGED | REMEMBER | PARITY),
        (81, JUDGED),
        (82, JUDGED | REFUSE | REMEMBER | PARITY),
    ],
)
def test_effects_become_marks(loop: Loop, port: int, mark: int) -> None:
    loop.prepare(by_port())
    loop.tell(Use(7))
    packet = queued(1, FORWARD, segment(WEB, OUTSIDE, port), mark=0xC0FF_EEFF)
    assert loop.answer_of(packet, 1) == Verdict(1, NF_REPEAT, 0xC0FF_EEFF & ~0x3C00 | mark)


def test_nothing_is_remembered_before_a_generation_is_told(loop: Loop) -> None:
    loop.prepare(by_port())
    assert loop.answer_of(queued(1, FORWARD, segment(WEB, SHOP, 80)), 1).mark == JUDGED
    loop.tell(Use(8))
    assert loop.answer_of(queued(2, FORWARD, segment(WEB, SHOP, 80)), 2).mark == JUDGED | REMEMBER


def test_nothing_is_answered_before_the_first_tables(loop: Loop) -> None:
    loop.tell(Use(1))
    loop.kernel.send(queued(1, FORWARD, segment(WEB, SHOP, 82)))
    loop.read_until(lambda: bool(loop.reports) and loop.last.generation == 1)
    loop.read_for(0.1)
    assert loop.verdicts == []
    loop.prepare(by_port())
    loop.read_until(lambda: loop.verdicts)
    assert loop.verdicts[0].mark & REFUSE


def test_flows_are_counted_by_what_was_decided(loop: Loop) -> None:
    loop.prepare(by_port())
    for number, port in enumerate([80, 82, 80, 81, 80], 1):
        loop.answer_of(queued(number, FORWARD, segment(WEB, SHOP, port), uid=33), number)
    loop.barrier()
    expected = {(80, ALLOW, 0): 3, (81, ALERT, 1): 1, (82, PREVENT, 2): 1}
    assert loop.counts() == {
        Flow(1, FORWARD, 6, WEB, SHOP, port, 0, 0, effect, rule): count
        for (port, effect, rule), count in expected.items()
    }
    assert (loop.last.packets, loop.last.undecodable, loop.last.dropped) == (5, 0, 0)
    (seen, *_) = [seen for report in loop.reports for seen in report.flows]
    assert (seen.uid, seen.source_port) == (33, 900)
    assert seen.first_seen <= seen.last_seen


def test_udp_is_judged_by_its_own_rules(loop: Loop) -> None:
    loop.prepare(by_port(udp=b""))
    datagram = segment(WEB, SHOP, 82, protocol=17)
    assert loop.answer_of(queued(1, FORWARD, datagram), 1).mark == JUDGED
    assert loop.answer_of(queued(2, FORWARD, segment(WEB, SHOP, 82)), 2).mark == JUDGED | REFUSE


def test_other_tables_count_apart(loop: Loop) -> None:
    loop.prepare(by_port())
    loop.answer_of(queued(1, FORWARD, segment(WEB, SHOP, 82)), 1)
    loop.prepare(by_port(version=2, effects=bytes([ALLOW, ALLOW, ALLOW])))
    assert loop.answer_of(queued(2, FORWARD, segment(WEB, SHOP, 82)), 2).mark == JUDGED
    loop.barrier()
    told = {(flow.version, flow.effect): count for flow, count in loop.counts().items()}
    assert told == {(1, PREVENT): 1, (2, ALLOW): 1}
    assert loop.last.version == 2


@pytest.mark.parametrize("payload", [None, b"", b"\x45", bytes(40), segment(WEB, SHOP, 1)[:22]])
def test_what_shows_no_ports_passes_unless_something_is_prevented(
    loop: Loop, payload: bytes | None
) -> None:
    loop.prepare(by_port(effects=bytes([ALLOW, ALERT, ALERT])))
    loop.tell(Use(1))
    assert loop.answer_of(queued(1, FORWARD, payload), 1) == Verdict(1, NF_REPEAT, JUDGED)
    loop.prepare(by_port(version=2))
    assert loop.answer_of(queued(2, FORWARD, payload), 2).decision == NF_DROP
    loop.barrier()
    assert (loop.last.packets, loop.last.undecodable, loop.last.dropped) == (2, 2, 1)
    assert loop.counts() == {}


def test_failing_closed_drops_what_shows_no_ports(kind: LoopKind) -> None:
    with running(kind, fail_closed=True) as loop:
        loop.prepare(by_port(effects=bytes(3)))
        assert loop.answer_of(queued(1, FORWARD, b"\x45"), 1).decision == NF_DROP
        assert loop.answer_of(queued(2, FORWARD, segment(WEB, SHOP, 80)), 2).mark == JUDGED
        loop.barrier()
        assert loop.last.dropped == 1


def waiting(**changes: object) -> Tables:
    """Tables that make unknown containers wait for 10 s, which is for ever here."""
    return by_port(networks=[NETWORK], wait_ms=10_000, **changes)


def test_an_unknown_container_is_waited_for(loop: Loop) -> None:
    loop.prepare(waiting())
    loop.kernel.send(queued(1, FORWARD, segment(NEW, SHOP, 82)))
    # Others do not wait with it.
    assert loop.answer_of(queued(2, FORWARD, segment(WEB, SHOP, 80)), 2).mark == JUDGED
    loop.barrier()
    assert [verdict.id for verdict in loop.verdicts] == [2]
    loop.tell(Endpoints(put=[(OUTSIDE, [1])]))
    loop.tell(Endpoints(put=[(NEW, [1])]))
    loop.read_until(lambda: len(loop.verdicts) == 2)
    assert loop.verdicts[1].mark & REFUSE
    loop.barrier()
    assert loop.counts()[Flow(1, FORWARD, 6, NEW, SHOP, 82, 0, 0, PREVENT, 2)] == 1


def test_held_packets_are_judged_by_the_tables_in_force_when_let_go(loop: Loop) -> None:
    loop.prepare(waiting())
    loop.tell(Use(1))
    loop.kernel.send(queued(1, FORWARD, segment(NEW, SHOP, 82)))
    loop.barrier()
    loop.prepare(by_port(version=2, effects=bytes(3)))
    loop.read_until(lambda: loop.verdicts)
    assert loop.verdicts == [Verdict(1, NF_REPEAT, JUDGED | REMEMBER)]
    loop.barrier()
    assert loop.counts() == {Flow(2, FORWARD, 6, NEW, SHOP, 82, 0, 0, ALLOW, 2): 1}


def test_after_the_wait_it_is_judged_by_what_is_known_and_not_remembered(loop: Loop) -> None:
    loop.prepare(by_port(networks=[NETWORK], wait_ms=50))
    loop.tell(Use(1))
    assert loop.answer_of(queued(1, FORWARD, segment(NEW, SHOP, 80)), 1).mark == JUDGED
    assert loop.answer_of(queued(2, FORWARD, segment(NEW, SHOP, 82)), 2).mark == JUDGED | REFUSE


def test_after_the_wait_it_is_dropped_when_failing_closed(kind: LoopKind) -> None:
    with running(kind, fail_closed=True) as loop:
        loop.prepare(by_port(networks=[NETWORK], wait_ms=50))
        assert loop.answer_of(queued(1, FORWARD, segment(NEW, SHOP, 80)), 1).decision == NF_DROP
        loop.barrier()
        assert (loop.last.dropped, loop.last.undecodable, loop.counts()) == (1, 0, {})


def test_no_more_than_so_many_are_held(loop: Loop) -> None:
    loop.prepare(waiting())
    for number in range(1, 1_025 + 10):
        loop.kernel.send(queued(number, FORWARD, segment(NEW, SHOP, 80)))
    loop.read_until(lambda: len(loop.verdicts) == 10)
    loop.tell(Endpoints(put=[(NEW, [1])]))
    loop.read_until(lambda: len(loop.verdicts) == 1_034)
    assert len({verdict.id for verdict in loop.verdicts}) == 1_034


def test_what_is_held_is_answered_when_the_daemon_goes(loop: Loop) -> None:
    loop.prepare(waiting())
    loop.kernel.send(queued(1, FORWARD, segment(NEW, SHOP, 80)))
    loop.barrier()
    loop.control.close()
    data = loop.kernel.recv(1 << 16)
    assert len(data) == 40
    assert loop.process.end() == 0


PEER, PRIVATE = bytes([10, 9, 0, 1]), [(bytes([10, 0, 0, 0]), bytes([10, 255, 255, 255]))]


def asking(**changes: object) -> Tables:
    """Rule 0 allows, 1 alerts on, 2 prevents those of class 1 as a source, by port; nobody else."""
    values: dict[str, object] = {
        "any_source": b"",
        "by_name": (EVERY, b""),
        "classes": [(b"", b""), (EVERY, b"")],
        "private": PRIVATE,
        "stranger_ms": 10_000,
    }
    return by_port(**values | changes)


def test_a_stranger_that_could_be_prevented_is_asked_for_and_dropped(loop: Loop) -> None:
    loop.prepare(asking())
    loop.tell(Use(7))
    packet = segment(PEER, SHOP, 82)
    # As often as it comes, until somebody tells or its time is over.
    for number in (1, 2):
        verdict = loop.answer_of(queued(number, FORWARD, packet, mark=0xC000), number)
        assert verdict == Verdict(number, NF_DROP, 0xC000 | JUDGED)
    loop.barrier()
    assert [place for report in loop.reports for place in report.sought] == [(PEER, 0, 0)]
    assert (loop.last.delayed, loop.last.dropped, loop.counts()) == (2, 0, {})
    loop.tell(Endpoints(peers=[(PEER, 0, 0, [2], 0)]))
    mark = JUDGED | REFUSE | REMEMBER
    assert loop.answer_of(queued(3, FORWARD, packet), 3) == Verdict(3, NF_REPEAT, mark)
    # What it was is not true any more: all begins anew.
    loop.tell(Endpoints(gone=[(PEER, 0, 0)]))
    assert loop.answer_of(queued(4, FORWARD, packet), 4).decision == NF_DROP


@pytest.mark.parametrize("port", [80, 81])
def test_a_stranger_that_could_not_be_prevented_passes_and_is_not_remembered(
    loop: Loop, port: int
) -> None:
    loop.prepare(asking())
    loop.tell(Use(7))
    packet = segment(PEER, SHOP, port)
    assert loop.answer_of(queued(1, FORWARD, packet), 1) == Verdict(1, NF_REPEAT, JUDGED)
    loop.barrier()
    assert [place for report in loop.reports for place in report.sought] == [(PEER, 0, 0)]
    loop.tell(Endpoints(peers=[(PEER, 0, 0, [0], 0)]))
    assert loop.answer_of(queued(2, FORWARD, packet), 2).mark == JUDGED | REMEMBER


def test_a_stranger_to_whom_no_rule_matters_is_remembered_and_not_asked_for(loop: Loop) -> None:
    loop.prepare(asking())
    loop.tell(Use(7))
    packet = queued(1, FORWARD, segment(PEER, SHOP, 79))
    assert loop.answer_of(packet, 1).mark == JUDGED | REMEMBER | PARITY
    loop.barrier()
    assert not any(report.sought for report in loop.reports)


def test_a_stranger_is_judged_by_what_is_known_when_its_time_is_over(kind: LoopKind) -> None:
    for fail_closed in (False, True):
        with running(kind, fail_closed=fail_closed) as loop:
            loop.prepare(asking(stranger_ms=50))
            packet = segment(PEER, SHOP, 82)
            assert loop.answer_of(queued(1, FORWARD, packet), 1).decision == NF_DROP
            loop.read_for(0.1)
            last = loop.answer_of(queued(2, FORWARD, packet), 2)
            assert last == Verdict(2, NF_DROP if fail_closed else NF_REPEAT, JUDGED)
            loop.barrier()
            assert (loop.last.delayed, loop.last.dropped) == (1, int(fail_closed))


def test_where_one_connects_to_is_asked_for_with_its_port(loop: Loop) -> None:
    loop.prepare(
        asking(any_source=EVERY, any_destination=b"", by_name=(b"", EVERY),
               classes=[(b"", b""), (b"", EVERY)])
    )  # fmt: skip
    packet = segment(WEB, PEER, 82)
    assert loop.answer_of(queued(1, FORWARD, packet), 1).decision == NF_DROP
    loop.barrier()
    assert [place for report in loop.reports for place in report.sought] == [(PEER, 82, 6)]
    # What listens beside it, or connects from there, is somebody else.
    loop.tell(
        Endpoints(peers=[(PEER, 0, 0, [2], 0), (PEER, 83, 6, [2], 0), (PEER, 82, 17, [2], 0)])
    )
    assert loop.answer_of(queued(2, FORWARD, packet), 2).decision == NF_DROP
    loop.tell(Endpoints(peers=[(PEER, 82, 6, [3], 0)]))
    assert loop.answer_of(queued(3, FORWARD, packet), 3).mark & REFUSE


def test_nobody_is_refused_for_what_others_behind_the_address_may_not(loop: Loop) -> None:
    loop.prepare(asking())
    loop.tell(Use(7))
    for number, (who, mark) in enumerate([([2, 0], JUDGED), ([2, ANYONE], JUDGED)], 1):
        loop.tell(Endpoints(peers=[(PEER, 0, 0, who, 0)]))
        found = loop.answer_of(queued(number, FORWARD, segment(PEER, SHOP, 82)), number)
        assert found == Verdict(number, NF_REPEAT, mark)
    loop.tell(Endpoints(peers=[(PEER, 0, 0, [2, 3], 0)]))
    assert loop.answer_of(queued(9, FORWARD, segment(PEER, SHOP, 82)), 9).mark & REFUSE


def test_no_more_strangers_than_there_is_room_for_are_waited_for(loop: Loop) -> None:
    loop.prepare(asking())
    for number in range(1, STRANGERS_MAX + 3):
        source = bytes([10, 8, *number.to_bytes(2)])
        loop.kernel.send(queued(number, FORWARD, segment(source, SHOP, 82)))
        if number % 64 == 0:
            loop.barrier()
    loop.barrier()
    passed = [one.id for one in loop.verdicts if one.decision == NF_REPEAT]
    assert passed == [STRANGERS_MAX + 1, STRANGERS_MAX + 2]
    sought = [place for report in loop.reports for place in report.sought]
    assert len(sought) == len(set(sought)) == STRANGERS_MAX


#: Rule 0 selects what the source was told a name of, rule 2 everything.
CALLED = (b"", pack_rules(1))


def by_name(**changes: object) -> Tables:
    """Allow what has the name, prevent the rest, from containers, on port 80."""
    values: dict[str, object] = {
        "any_destination": pack_rules(4),
        "port_rules": [b"", pack_rules(5), b"", b"", b""],
        "classes": [(b"", b""), CALLED],
        "by_dns": CALLED,
    }
    return by_port(**values | changes)


def test_a_name_counts_for_whoever_was_told_it(loop: Loop) -> None:
    loop.prepare(by_name())
    loop.tell(Use(8))
    there = bytes(10) + b"\xff\xff" + OUTSIDE
    loop.tell(Endpoints(members=[(WEB, OUTSIDE, 1)]))
    # What is let through by name may be remembered: nothing that comes would change it.
    for number, one in enumerate((OUTSIDE, there), 1):
        source = WEB if one is OUTSIDE else bytes(10) + b"\xff\xff" + WEB
        packet = queued(number, FORWARD, segment(source, one, 80))
        assert loop.answer_of(packet, number).mark == JUDGED | REMEMBER
    # Another was not told; what is refused until a name comes is not remembered.
    packet = queued(3, FORWARD, segment(SHOP, OUTSIDE, 80))
    assert loop.answer_of(packet, 3).mark == JUDGED | REFUSE
    # Nor was whoever connects from there.
    packet = queued(4, FORWARD, segment(OUTSIDE, WEB, 80))
    assert loop.answer_of(packet, 4).mark == JUDGED | REFUSE
    # A port that no such rule takes can't be decided by name.
    packet = queued(5, FORWARD, segment(SHOP, OUTSIDE, 79))
    assert loop.answer_of(packet, 5).mark == JUDGED | REMEMBER
    loop.tell(Endpoints(left=[(WEB, OUTSIDE), (SHOP, OUTSIDE)]))
    packet = queued(6, FORWARD, segment(WEB, OUTSIDE, 80))
    assert loop.answer_of(packet, 6).mark == JUDGED | REFUSE


def test_the_host_has_names_of_its_own(loop: Loop) -> None:
    loop.prepare(by_name(container_rules=0, members=[(b"", OUTSIDE, 1)]))
    packet = segment(HOST, OUTSIDE, 80)
    assert loop.answer_of(queued(1, OUTPUT, packet), 1).mark == JUDGED
    assert loop.answer_of(queued(2, OUTPUT, segment(HOST, NEW, 80)), 2).mark == JUDGED | REFUSE
    loop.tell(Endpoints(left=[(b"", OUTSIDE)]))
    assert loop.answer_of(queued(3, OUTPUT, packet), 3).mark == JUDGED | REFUSE


def test_what_goes_and_comes_at_once_is_there(loop: Loop) -> None:
    loop.prepare(by_name())
    loop.tell(Endpoints(members=[(WEB, OUTSIDE, 0)]))
    loop.tell(Endpoints(left=[(WEB, OUTSIDE)], members=[(WEB, OUTSIDE, 1)]))
    assert not loop.answer_of(queued(1, FORWARD, segment(WEB, OUTSIDE, 80)), 1).mark & REFUSE


def test_what_was_told_is_confirmed_at_once(loop: Loop) -> None:
    loop.prepare(by_name())
    loop.barrier()
    assert loop.last.confirmed == 0
    loop.tell(Endpoints(members=[(WEB, OUTSIDE, 1)]))
    loop.tell(Confirm(5))
    loop.read_until(lambda: loop.last.confirmed == 5)
    assert not loop.answer_of(queued(1, FORWARD, segment(WEB, OUTSIDE, 80)), 1).mark & REFUSE
    # Every report says the last number; what was refused is confirmed as read, and counted.
    loop.tell(Endpoints(members=[(WEB, OUTSIDE, 9)]))
    loop.tell(Confirm(6))
    loop.read_until(lambda: loop.last.confirmed == 6)
    assert loop.last.undecodable == 1
    loop.barrier()
    assert loop.last.confirmed == 6


def test_a_confirmation_does_not_wait_for_flows(kind: LoopKind) -> None:
    """Flows are reported every 20 ms at most; an answer of DNS does not wait for that."""
    with running(kind) as loop:
        loop.prepare(by_name())
        loop.barrier()
        waited = []
        for number in range(1, 30):
            loop.kernel.send(queued(number, FORWARD, segment(WEB, OUTSIDE, 79)))
            began = time.monotonic()
            loop.tell(Confirm(number))
            loop.read_until(lambda number=number: loop.last.confirmed == number)
            waited.append(time.monotonic() - began)
        assert sorted(waited)[len(waited) // 2] < 0.01


def test_a_container_stops_being_known(loop: Loop) -> None:
    loop.prepare(by_port(networks=[NETWORK]))
    loop.tell(Use(1))
    loop.tell(Endpoints(drop=[WEB], listeners=[], host_addresses=[]))
    assert loop.answer_of(queued(1, FORWARD, segment(WEB, SHOP, 80)), 1).mark == JUDGED


def test_listeners_and_own_addresses_are_replaced(loop: Loop) -> None:
    # Only class 1 is selected; it gets rule 2 as a destination.
    tables = by_port(
        any_destination=b"", classes=[(b"", b""), (b"", EVERY)], listeners=[(82, b"", 3, 0)]
    )
    loop.prepare(tables)
    assert loop.answer_of(queued(1, INPUT, segment(OUTSIDE, HOST, 82)), 1).mark & REFUSE
    loop.tell(Endpoints(listeners=[(82, HOST, 1, 0)]))
    assert not loop.answer_of(queued(2, INPUT, segment(OUTSIDE, HOST, 82)), 2).mark & REFUSE
    loop.tell(Endpoints(listeners=[(82, HOST, 3, 0)], host_addresses=[]))
    assert loop.answer_of(queued(3, INPUT, segment(OUTSIDE, HOST, 82)), 3).mark & REFUSE
    assert not loop.answer_of(queued(4, FORWARD, segment(OUTSIDE, HOST, 82)), 4).mark & REFUSE


def test_more_classes_come_with_endpoints(loop: Loop) -> None:
    loop.prepare(by_port(any_source=b""))
    loop.tell(Endpoints(classes=[(EVERY, b"")], put=[(WEB, [3])]))
    assert loop.answer_of(queued(1, FORWARD, segment(WEB, SHOP, 82)), 1).mark & REFUSE


def test_an_output_packet_without_socket_is_never_remembered(loop: Loop) -> None:
    loop.prepare(by_port())
    loop.tell(Use(1))
    loop.tell(Cgroups(put=[(77, 0)]))
    assert loop.answer_of(queued(1, OUTPUT, segment(HOST, SHOP, 80)), 1).mark == JUDGED


@pytest.mark.parametrize(
    "order",
    [
        Cgroups(put=[(1, 2)]),
        Cgroups(put=[(-1, 0)]),
        Looked(1, [(5, 2)]),
        Endpoints(put=[(WEB, [])]),
        Endpoints(put=[(WEB, [2])]),
        Endpoints(put=[(b"abc", [0])]),
        Endpoints(classes=[(pack_rules(8), b"")], put=[(SHOP, [0])]),
        Endpoints(listeners=[(65_536, b"", 0, 0)]),
        Endpoints(host_addresses=[b""]),
        Endpoints(peers=[(WEB, 80, 6, [], 0)]),
        Endpoints(peers=[(WEB, 80, 6, [2], 0)]),
        Endpoints(peers=[(WEB, 80, 256, [0], 0)]),
        Endpoints(gone=[(b"abc", 80, 6)]),
        Endpoints(members=[(WEB, OUTSIDE, 1)]),
        Endpoints(members=[(WEB, OUTSIDE, -1)]),
        Endpoints(members=[(b"abc", OUTSIDE, 0)]),
        Endpoints(members=[(WEB, b"", 0)]),
        Endpoints(classes=[(pack_rules(8), b"")], members=[(WEB, OUTSIDE, 1)]),
        Endpoints(left=[(WEB, b"")]),
        Endpoints(left=[(bytes(5), OUTSIDE)], put=[(SHOP, [0])]),
        Use(-5),
        Confirm(-1),
    ],
)
def test_an_order_that_points_nowhere_is_refused_whole(loop: Loop, order: object) -> None:
    loop.prepare(by_port())
    loop.barrier()
    loop.tell(order)  # type: ignore[arg-type]
    loop.barrier()
    assert loop.last.undecodable == 1
    assert loop.answer_of(queued(1, FORWARD, segment(WEB, SHOP, 82)), 1).mark & REFUSE


def test_tables_that_are_not_whole_are_refused(loop: Loop) -> None:
    loop.prepare(by_port())
    loop.prepare(by_port(version=2, host=5))
    loop.barrier()
    assert (loop.last.version, loop.last.undecodable) == (1, 1)
    assert loop.answer_of(queued(1, FORWARD, segment(WEB, SHOP, 82)), 1).mark & REFUSE


def test_the_loop_says_that_it_lives(loop: Loop) -> None:
    loop.prepare(by_port())
    loop.answer_of(queued(1, FORWARD, segment(WEB, SHOP, 80)), 1)
    loop.barrier()
    first = loop.process.pulse
    assert loop.process.answered == 1
    loop.read_for(1.1)
    assert loop.process.pulse - first > 0.5
