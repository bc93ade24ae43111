"""nfnetlink_log: batches of copies, for the limited view."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import nflog
from cnnf.defender.netlink.errors import NetlinkError, Truncated
from cnnf.defender.netlink.messages import align, attribute, attributes, message, messages

PACKET, CONFIG = 0x400, 0x401

PACKET_HDR = attribute(1, struct.pack(">HBB", 0x0800, 3, 0))
PREFIX = attribute(10, b"cnnf\0")


def packet(*parts: bytes, kind: int = PACKET) -> bytes:
    """One message of a batch, padded to four bytes."""
    data = message(kind, 0, 0, struct.pack(">BBH", 2, 0, 8030) + b"".join(parts))
    return data + bytes(align(len(data)) - len(data))


def test_bind_is_a_command_for_the_group() -> None:
    ((kind, flags, sequence, payload),) = messages(nflog.bind(8030, 9))
    assert (kind, flags, sequence) == (CONFIG, 1 | 4, 9)
    assert payload[:4] == struct.pack(">BBH", 0, 0, 8030)
    # struct nfulnl_msg_config_cmd is one byte.
    assert list(attributes(payload, 4)) == [(1, b"\1")]


@pytest.mark.parametrize(("timeout_ms", "hundredths"), [(100, 10), (10, 1), (1, 1), (0, 1)])
def test_configure_counts_time_in_hundredths_of_a_second(timeout_ms: int, hundredths: int) -> None:
    data = nflog.configure(
        8030, 2, copy_bytes=128, buffer_bytes=65_536, timeout_ms=timeout_ms, packets_max=32
    )
    ((_, _, _, payload),) = messages(data)
    assert list(attributes(payload, 4)) == [
        # struct nfulnl_msg_config_mode is packed: range, mode, padding.
        (2, struct.pack(">IBB", 128, 2, 0)),
        (3, struct.pack(">I", 65_536)),
        (4, struct.pack(">I", hundredths)),
        (5, struct.pack(">I", 32)),
    ]


def test_a_batch_is_decoded_packet_by_packet() -> None:
    full = packet(
        PACKET_HDR,
        PREFIX,
        attribute(5, struct.pack(">I", 4)),
        attribute(11, struct.pack(">I", 33)),
        attribute(9, b"payload"),
    )
    batch = full + packet(PACKET_HDR) + packet(b"", kind=3)
    assert list(nflog.decode_packets(batch)) == [
        nflog.LoggedPacket(3, 4, 33, b"payload"),
        nflog.LoggedPacket(3, 0, -1, b""),
    ]


@pytest.mark.parametrize("parts", [(), (PREFIX,), (attribute(1, b"\x08\x00"),)])
def test_a_packet_without_a_header_is_refused(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(Truncated):
        list(nflog.decode_packets(packet(*parts)))


def test_what_came_before_a_broken_message_is_kept() -> None:
    reader = nflog.decode_packets(packet(PACKET_HDR) + b"\xff" * 20)
    assert next(reader).hook == 3
    with pytest.raises(Truncated):
        next(reader)


def test_every_truncation_is_refused() -> None:
    data = packet(PACKET_HDR, attribute(9, b"12345678"))
    for length in range(1, len(data)):
        with pytest.raises(Truncated):
            list(nflog.decode_packets(data[:length]))


@given(st.binary(max_size=200))
def test_any_bytes_give_packets_or_an_error(data: bytes) -> None:
    for candidate in (data, packet(data), packet(PACKET_HDR, data)):
        try:
            found = list(nflog.decode_packets(candidate))
        except NetlinkError:
            continue
        assert len(found) <= len(candidate) // 16
