"""Whatever comes from the wire or, by a defect, from the daemon: the loop lives and goes on."""

import os
import socket
import struct
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnf.defender.core.limits import LOOP_FLOWS_MAX, TABLES_BYTES_MAX
from cnnf.defender.core.observations import Confirm, Endpoints, Prepare, encode
from cnnf.defender.core.tables import Tables, encode_tables
from cnnf.defender.kernel.loop_process import LoopKind
from cnnf.defender.netlink.messages import attribute, message, nested
from cnnf.defender.netlink.nfqueue import FORWARD
from tests.native.harness import QUEUE, Loop, queued, running, segment
from tests.unit.defender.core.rulings import Packet, packets, tables

SYN = segment(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 80)
LIVING = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module", params=["native", "python"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    """A loop that has to survive every example of this module."""
    with running(request.param) as loop:
        loop.prepare(Tables(version=0))
        yield loop


def goes_on(loop: Loop) -> None:
    """A good packet is answered, once, as by good tables that have just come."""
    loop.prepare(Tables(version=loop.last.version + 1 if loop.reports else 1))
    loop.barrier()
    loop.verdicts.clear()
    del loop.reports[:-1]
    number = 0xFFFF_FFF0
    assert loop.answer_of(queued(number, FORWARD, SYN), number).mark & 0x3000 == 0x2000
    loop.verdicts.clear()


# --- from the kernel

header = attribute(1, struct.pack(">IHB", 77, 0x0800, 3))
attributes = st.one_of(
    st.sampled_from([header, attribute(3, b"1234"), attribute(10, SYN), attribute(10, b"")]),
    st.builds(attribute, st.integers(0, 0x3FFF), st.binary(max_size=60)),
    st.builds(nested, st.integers(0, 0x3FFF), st.builds(attribute, st.just(10), st.just(SYN))),
    st.builds(lambda size, kind: struct.pack("=HH", size, kind), *[st.integers(0, 0xFFFF)] * 2),
    st.binary(max_size=12),
    st.just(attribute(10, bytes(3_000))),
)
queue_messages = st.one_of(
    st.binary(min_size=1, max_size=200),
    st.builds(
        lambda kind, parts, cut: message(
            kind, 0, 0, struct.pack(">BBH", 2, 0, QUEUE) + b"".join(parts)
        )[: 4_000 - cut],
        st.sampled_from([0x300, 0x300, 0x300, 0x301, 2, 3, 0xFFFF]),
        st.lists(attributes, max_size=8),
        st.integers(0, 3_999),
    ),
    st.builds(
        lambda total, rest: struct.pack("=IH", total, 0x300) + rest,
        st.integers(0, 0xFFFF_FFFF),
        st.binary(max_size=100),
    ),
    st.builds(
        lambda packet, flips: flipped(queued(5, packet.hook, as_bytes(packet)), flips),
        packets(attributed=False),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    ),
)


def as_bytes(packet: Packet) -> bytes:
    """A packet on the wire."""
    return segment(packet.source, packet.destination, packet.port, protocol=packet.protocol)


def flipped(data: bytes, flips: list[tuple[int, int]]) -> bytes:
    """The data with some of its bytes replaced."""
    changed = bytearray(data)
    for place, value in flips:
        changed[place % len(changed)] = value
    return bytes(changed)


@LIVING
@given(messages=st.lists(queue_messages, max_size=30))
def test_any_messages_of_the_queue_are_survived(loop: Loop, messages: list[bytes]) -> None:
    for one in messages:
        loop.kernel.send(one)
    loop.barrier()
    assert len(loop.verdicts) <= len(messages)
    goes_on(loop)


def test_what_is_no_packet_is_counted(loop: Loop) -> None:
    goes_on(loop)
    loop.barrier()
    before = loop.last
    for one in (b"x", bytes(100), message(0x300, 0, 0, bytes(4)), message(3, 0, 0, bytes(30))):
        loop.kernel.send(one)
    loop.barrier()
    assert loop.last.undecodable - before.undecodable == 4
    assert loop.last.packets == before.packets


def test_a_verdict_that_came_too_late_is_no_news(loop: Loop) -> None:
    goes_on(loop)
    loop.barrier()
    before = loop.last.undecodable
    loop.kernel.send(message(2, 0, 0, struct.pack("=i", -2) + bytes(16)))
    loop.barrier()
    assert loop.last.undecodable == before


# --- from the daemon

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=20)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)
records = st.one_of(
    st.binary(min_size=1, max_size=100),
    st.builds(msgspec.msgpack.encode, values),
    # Numbered as orders are, with whatever follows.
    st.builds(
        lambda number, rest: msgspec.msgpack.encode([number, *rest]),
        st.integers(-1, 7),
        st.lists(values, max_size=9),
    ),
    # Lengths that promise more than there is, and nesting without end.
    st.sampled_from(
        [b"\xdd\xff\xff\xff\xff", b"\x96\x04\xdd\xff\xff\xff\xff\x00", b"\x91" * 4_000]
    ),
    st.builds(
        lambda flips: flipped(
            encode(
                Endpoints(
                    [(b"", b"")],
                    [(bytes(4), [0])],
                    [],
                    [(80, b"", 0, 0)],
                    [bytes(16)],
                    [],
                    [(bytes(4), 80, 6)],
                    [(b"", bytes(4), 1), (bytes(16), bytes(16), 0)],
                    [(bytes(4), bytes(4))],
                )
            ),
            flips,
        ),
        st.lists(st.tuples(st.integers(0, 130), st.integers(0, 255)), max_size=3),
    ),
    st.builds(
        lambda flips: flipped(encode(Confirm(2**40)), flips),
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255)), max_size=2),
    ),
)


@LIVING
@given(some=st.lists(records, max_size=12))
def test_any_orders_are_survived(loop: Loop, some: list[bytes]) -> None:
    for one in some:
        loop.control.send(one)
    goes_on(loop)


@LIVING
@given(
    whole=tables(),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.none() | st.integers(0, 300),
)
def test_any_tables_are_survived(
    loop: Loop, whole: Tables, flips: list[tuple[int, int]], cut: int | None
) -> None:
    content = flipped(encode_tables(whole)[:cut] or b"x", flips)
    loop.hand_over(encode(Prepare(1)), content)
    # By whatever was taken, a packet is judged without harm; held at most until the next tables.
    loop.kernel.send(queued(1, FORWARD, SYN))
    loop.barrier()
    goes_on(loop)


@pytest.mark.parametrize("content", [b"", b"\xc0", encode_tables(Tables(version=2**40))])
def test_tables_that_are_none_are_refused(loop: Loop, content: bytes) -> None:
    goes_on(loop)
    before = loop.last
    loop.hand_over(encode(Prepare(before.version + 1)), content)
    loop.barrier()
    assert (loop.last.undecodable, loop.last.version) == (before.undecodable + 1, before.version)


def test_tables_without_end_are_refused(loop: Loop) -> None:
    goes_on(loop)
    before = loop.last
    file = os.memfd_create("endless", os.MFD_CLOEXEC)
    try:
        os.truncate(file, TABLES_BYTES_MAX + 1)
        socket.send_fds(loop.control, [encode(Prepare(9))], [file])
    finally:
        os.close(file)
    loop.barrier()
    assert (loop.last.undecodable, loop.last.version) == (before.undecodable + 1, before.version)


def test_descriptors_that_nobody_asked_for_are_closed(loop: Loop) -> None:
    goes_on(loop)
    before = open_files(loop)
    ours = [os.dup(0) for _ in range(30)]
    try:
        for record in (encode(Endpoints()), encode(Prepare(1)), b"\x01"):
            socket.send_fds(loop.control, [record], ours)
    finally:
        for one in ours:
            os.close(one)
    goes_on(loop)
    assert open_files(loop) == before


def open_files(loop: Loop) -> int:
    """How many descriptors the loop has open."""
    return len(os.listdir(f"/proc/{loop.process.pid}/fd"))  # noqa: PTH208


@pytest.mark.parametrize("kind", ["native", "python"])
def test_a_daemon_that_does_not_read_holds_up_no_packet(kind: LoopKind) -> None:
    most = LOOP_FLOWS_MAX + 4_000
    with running(kind, report_room=64 * 1024) as loop:
        loop.prepare(Tables(version=1))
        for number in range(1, most + 1):
            source = struct.pack(">I", 0x0B00_0000 + number)
            loop.kernel.send(queued(number, FORWARD, segment(source, bytes([10, 0, 0, 2]), 80)))
            if not number % 64:
                loop.read_verdicts(number)
        loop.read_verdicts(most)
        assert loop.reports == []
        loop.barrier()
        loop.read_until(lambda: sum(loop.counts().values()) + loop.last.unaccounted == most)
        assert loop.last.unaccounted > 0
        assert loop.last.packets == most


def test_the_loop_ends_when_its_queue_does() -> None:
    for kind in ("native", "python"):
        loop = Loop(kind)
        loop.prepare(Tables(version=0))
        loop.barrier()
        loop.kernel.close()
        assert loop.process.end() == 0
        loop.control.close()
