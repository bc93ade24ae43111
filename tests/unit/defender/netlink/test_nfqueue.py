"""nfnetlink_queue: every byte to the kernel where its header says, every packet answerable."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import nfqueue
from cnnf.defender.netlink.errors import NetlinkError, Truncated, Unexpected
from cnnf.defender.netlink.messages import attribute, attributes, message, messages, nested

PACKET, VERDICT, CONFIG = 0x300, 0x301, 0x302
REQUEST, ACK = 1, 4

PACKET_HDR = attribute(1, struct.pack(">IHB", 77, 0x0800, nfqueue.OUTPUT))
MARK = attribute(3, struct.pack(">I", 0xC0FF_EE00))
OUTDEV = attribute(6, struct.pack(">I", 5))
PAYLOAD = attribute(10, b"E" * 40)
UID = attribute(16, struct.pack(">I", 1000))


def packet(*parts: bytes, kind: int = PACKET, sequence: int = 0) -> bytes:
    """A message from the queue with these attributes."""
    return message(kind, 0, sequence, struct.pack(">BBH", 2, 0, 8030) + b"".join(parts))


def decode(data: bytes) -> nfqueue.QueuedPacket:
    """The packet in a buffer that is larger than the message, as the loop's is."""
    return nfqueue.decode_packet(bytearray(data + b"\xff" * 64), len(data))


def one(data: bytes) -> tuple[int, int, int, bytes]:
    """The only message in these bytes."""
    (found,) = messages(data)
    return found


def test_bind_is_a_command_for_the_queue() -> None:
    kind, flags, sequence, payload = one(nfqueue.bind(8030, 3))
    assert (kind, flags, sequence) == (CONFIG, REQUEST | ACK, 3)
    # struct nfgenmsg: AF_UNSPEC, version 0, the queue in network order.
    assert payload[:4] == struct.pack(">BBH", 0, 0, 8030)
    # struct nfqnl_msg_config_cmd: command, padding, protocol family in network order.
    assert list(attributes(payload, 4)) == [(1, struct.pack(">BBH", 1, 0, 0))]


@pytest.mark.parametrize("flags", [0, nfqueue.FLAG_GSO, nfqueue.FLAG_FAIL_OPEN | nfqueue.FLAG_GSO])
def test_configure_sets_copy_range_length_and_flags(flags: int) -> None:
    data = nfqueue.configure(8030, 4, copy_bytes=512, queue_length_max=16_384, flags=flags)
    kind, netlink_flags, sequence, payload = one(data)
    assert (kind, netlink_flags, sequence) == (CONFIG, REQUEST | ACK, 4)
    found = dict(attributes(payload, 4))
    # struct nfqnl_msg_config_params is packed: five bytes; mode 2 copies the packet.
    assert found[2] == struct.pack(">IB", 512, 2)
    assert found[3] == struct.pack(">I", 16_384)
    # The mask holds every flag we decide about, so that fail open is also switched off.
    assert found[4] == struct.pack(">I", 1 | 4 | 8)
    assert found[5] == struct.pack(">I", flags)
    # EOPNOTSUPP on some kernels: NFQA_CFG_F_CONNTRACK is never asked for.
    assert not int.from_bytes(found[4], "big") & 2


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([nfqueue.NF_DROP, nfqueue.NF_REPEAT]),
    st.integers(0, 0xFFFFFFFF),
)
def test_verdict_names_queue_packet_decision_and_mark(
    queue: int, packet_id: int, decision: int, mark: int
) -> None:
    kind, flags, _, payload = one(nfqueue.verdict(queue, packet_id, decision, mark))
    assert (kind, flags) == (VERDICT, REQUEST)
    assert payload[:4] == struct.pack(">BBH", 0, 0, queue)
    assert list(attributes(payload, 4)) == [
        (2, struct.pack(">II", decision, packet_id)),
        (3, struct.pack(">I", mark)),
    ]


def test_verdicts_can_be_joined_in_one_send() -> None:
    joined = b"".join(nfqueue.verdict(8030, number, 1, 0) for number in range(5))
    assert len(joined) == 5 * 40
    assert [payload[12:16] for *_, payload in messages(joined)] == [
        struct.pack(">I", number) for number in range(5)
    ]


def test_a_packet_is_decoded_in_place() -> None:
    data = packet(PACKET_HDR, MARK, OUTDEV, UID, PAYLOAD)
    found = decode(data)
    assert found[:5] == (77, nfqueue.OUTPUT, 0xC0FF_EE00, 5, 1000)
    assert data[found.payload_start : found.payload_end] == b"E" * 40


def test_a_packet_without_mark_device_and_owner_says_so() -> None:
    assert decode(packet(PACKET_HDR, PAYLOAD))[:5] == (77, nfqueue.OUTPUT, 0, 0, -1)


def test_unknown_attributes_in_any_order_are_passed_by() -> None:
    unknown = attribute(13, b""), attribute(11, b"abc"), attribute(30, b"x" * 33)
    found = decode(packet(unknown[0], PAYLOAD, unknown[1], MARK, unknown[2], PACKET_HDR))
    assert found.id == 77
    assert found.mark == 0xC0FF_EE00


def test_attribute_flags_do_not_hide_the_type() -> None:
    flagged = struct.pack("=HH", 11, 0x4001) + PACKET_HDR[4:]
    assert decode(packet(flagged, PAYLOAD)).id == 77


def test_without_a_packet_header_nothing_can_be_answered() -> None:
    for parts in ((), (PAYLOAD,), (attribute(1, b"short"), PAYLOAD)):
        with pytest.raises(Truncated, match="without a packet header"):
            decode(packet(*parts))


@pytest.mark.parametrize("payload", [b"", attribute(10, b"")])
def test_without_payload_the_id_and_mark_are_still_told(payload: bytes) -> None:
    with pytest.raises(nfqueue.UndecodablePacket) as refused:
        decode(packet(PACKET_HDR, MARK, payload))
    assert (refused.value.packet_id, refused.value.mark) == (77, 0xC0FF_EE00)


@pytest.mark.parametrize("size", [0, 3, 45, 0xFFFF])
def test_a_payload_length_that_does_not_fit_leaves_the_id(size: int) -> None:
    broken = struct.pack("=HH", size, 10) + bytes(40)
    with pytest.raises(nfqueue.UndecodablePacket) as refused:
        decode(packet(PACKET_HDR, broken))
    assert refused.value.packet_id == 77


@pytest.mark.parametrize("kind", [2, 3, 0x301, 0x303, 0x400])
def test_other_messages_are_not_packets(kind: int) -> None:
    with pytest.raises(Unexpected):
        decode(packet(PACKET_HDR, PAYLOAD, kind=kind))


def test_a_verdict_that_came_too_late_is_told_apart() -> None:
    with pytest.raises(nfqueue.PacketGone):
        decode(message(2, 0, 0, struct.pack("=i", -2) + bytes(16)))
    with pytest.raises(Unexpected) as refused:
        decode(message(2, 0, 0, struct.pack("=i", -1) + bytes(16)))
    assert not isinstance(refused.value, nfqueue.PacketGone)


def test_what_a_message_does_not_cover_is_not_read() -> None:
    data = packet(PACKET_HDR, PAYLOAD)
    shorter = struct.pack("=I", len(data) - 44) + data[4:]
    with pytest.raises(nfqueue.UndecodablePacket):
        decode(shorter)


def test_every_truncation_is_refused_and_answered_from_the_id_on() -> None:
    data = packet(PACKET_HDR, MARK, PAYLOAD)
    for length in range(len(data)):
        with pytest.raises(NetlinkError) as refused:
            nfqueue.decode_packet(data, length)
        answerable = isinstance(refused.value, nfqueue.UndecodablePacket)
        assert answerable == (length >= 20 + 11)


attribute_bytes = st.one_of(
    st.sampled_from([PACKET_HDR, MARK, OUTDEV, PAYLOAD, UID]),
    st.builds(attribute, st.integers(0, 0x3FFF), st.binary(max_size=30)),
    st.builds(nested, st.integers(0, 0x3FFF), st.builds(attribute, st.just(1), st.binary())),
    st.builds(lambda size, kind: struct.pack("=HH", size, kind), *([st.integers(0, 0xFFFF)] * 2)),
    st.binary(max_size=12),
)


@given(st.lists(attribute_bytes, max_size=12), st.integers(0, 400))
def test_any_attributes_give_a_packet_within_bounds_or_an_error(
    parts: list[bytes], cut: int
) -> None:
    data = packet(*parts)[: 400 - cut]
    try:
        found = nfqueue.decode_packet(data, len(data))
    except NetlinkError:
        return
    assert 20 <= found.payload_start < found.payload_end <= len(data)
    assert 0 <= found.id <= 0xFFFFFFFF
    assert 0 <= found.hook <= 255


@given(st.binary(max_size=200))
def test_any_bytes_give_a_packet_or_an_error(data: bytes) -> None:
    for candidate in (data, struct.pack("=IH", 0xFFFFFFFF, PACKET) + data):
        try:
            found = nfqueue.decode_packet(candidate, len(candidate))
        except NetlinkError:
            continue
        assert found.payload_end <= len(candidate)
