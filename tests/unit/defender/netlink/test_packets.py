"""Who talks to whom in whatever an attacker puts on the wire."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.limits import PACKET_COPY_BYTES
from cnnf.defender.netlink.packets import Segment, parse_segment
from tests.unit.defender.netlink.segments import V4, V6, extension, ipv4, ipv6, tcp

HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NONE, DESTINATION = 0, 43, 44, 51, 59, 60
UDP, TCP, ICMP, ESP = 17, 6, 1, 50

SEGMENT4 = Segment(ip_address(V4[0]).packed, ip_address(V4[1]).packed, 40_000, 443)
SEGMENT6 = Segment(ip_address(V6[0]).packed, ip_address(V6[1]).packed, 40_000, 443)


def parse(data: bytes) -> Segment | None:
    """The segment in a packet that lies alone in its buffer."""
    return parse_segment(data, 0, len(data))


@pytest.mark.parametrize(
    "data",
    [
        ipv4(),
        ipv4(options=bytes(4)),
        ipv4(options=bytes(40)),
        # "Don't fragment" and the reserved bit are no offset; "more fragments" is a first fragment.
        ipv4(fragment=0x4000),
        ipv4(fragment=0x8000),
        ipv4(fragment=0x2000),
        # Ports are enough: the rest may be beyond what was copied.
        ipv4(tcp()[:4]),
    ],
)
def test_ipv4_ends_are_found(data: bytes) -> None:
    assert parse(data) == SEGMENT4


@pytest.mark.parametrize(
    "data",
    [
        ipv4(protocol=ICMP),
        ipv4(fragment=1),
        ipv4(fragment=0x1F00),
        ipv4(fragment=0x2001),
        ipv4(tcp()[:3]),
        # A header length below 20 bytes would read addresses as ports.
        bytes([0x44]) + ipv4()[1:],
        bytes([0x40]) + ipv4()[1:],
        # One past the end.
        bytes([0x4F]) + ipv4()[1:],
        b"",
        b"\x45",
        bytes(60),
        b"\xff" * 60,
    ],
)
def test_what_shows_no_ports_is_no_segment(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize(
    "data",
    [
        ipv6(TCP, tcp()),
        ipv6(TCP, tcp()[:4]),
        ipv6(HOP_BY_HOP, extension(TCP), tcp()),
        ipv6(HOP_BY_HOP, extension(ROUTING, 3), extension(DESTINATION, 1), extension(TCP), tcp()),
        # First fragment, also with "more fragments".
        ipv6(FRAGMENT, bytes([TCP, 0, 0, 1, 0, 0, 0, 9]), tcp()),
        # Authentication counts in units of four bytes.
        ipv6(AUTHENTICATION, bytes([TCP, 4]) + bytes(22), tcp()),
        ipv6(135, extension(139), extension(140), extension(TCP), tcp()),
    ],
)
def test_ipv6_ends_are_found_behind_extension_headers(data: bytes) -> None:
    assert parse(data) == SEGMENT6


@pytest.mark.parametrize(
    "data",
    [
        ipv4(protocol=UDP),
        ipv4(tcp()[:4], protocol=UDP, options=bytes(4)),
        ipv6(UDP, tcp()),
        ipv6(HOP_BY_HOP, extension(DESTINATION), extension(UDP), tcp()[:4]),
    ],
)
def test_ends_of_udp_are_found_where_those_of_tcp_are(data: bytes) -> None:
    whole = SEGMENT4 if data[0] >> 4 == 4 else SEGMENT6
    assert parse(data) == whole._replace(protocol=UDP)


@pytest.mark.parametrize(
    "data",
    [
        ipv6(ESP, tcp()),
        ipv6(NONE),
        ipv6(FRAGMENT, bytes([TCP, 0, 0, 8, 0, 0, 0, 9]), tcp()),
        ipv6(HOP_BY_HOP, extension(TCP, 200)[:30], tcp()),
        ipv6(HOP_BY_HOP, extension(TCP)[:7]),
        ipv6(TCP, tcp()[:3]),
        ipv6(TCP, tcp())[:39],
    ],
)
def test_ipv6_without_ports_is_no_segment(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize("count", [1, 25, 50])
def test_four_hundred_bytes_of_headers_still_show_the_ports(count: int) -> None:
    chain = [extension(DESTINATION) for _ in range(count - 1)] + [extension(TCP)]
    data = ipv6(DESTINATION, *chain, tcp())
    assert 8 * count <= 400
    assert len(data) <= PACKET_COPY_BYTES
    assert parse(data) == SEGMENT6


def test_one_long_header_of_four_hundred_bytes_still_shows_the_ports() -> None:
    assert parse(ipv6(DESTINATION, extension(TCP, 49), tcp())) == SEGMENT6


def test_a_chain_without_end_is_given_up() -> None:
    assert parse(ipv6(DESTINATION, *(extension(DESTINATION) for _ in range(70)), tcp())) is None


def test_only_the_given_part_of_the_buffer_is_read() -> None:
    data = bytearray(b"\x45" * 20 + ipv4() + b"\x60" * 20)
    assert parse_segment(data, 20, 20 + len(ipv4())) == SEGMENT4
    assert parse_segment(data, 20, 20 + 23) is None


@pytest.mark.parametrize(
    "whole", [ipv4(options=bytes(8)), ipv6(0, extension(43), extension(6), tcp())]
)
def test_every_truncation_is_no_segment_or_the_same_one(whole: bytes) -> None:
    full = parse(whole)
    ports_end = len(whole) - 16
    for length in range(len(whole)):
        assert parse(whole[:length]) == (full if length >= ports_end else None)


@given(st.binary(max_size=600), st.data())
def test_no_bytes_raise(data: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, len(data)))
    segment = parse_segment(data, start, end)
    assert segment is None or len(segment.source) == len(segment.destination) in (4, 16)


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 6, 43, 44, 50, 51, 59, 60, 135]), st.integers(0, 255)),
        max_size=80,
    ),
    st.integers(0, 600),
)
def test_no_chain_of_headers_raises_or_loops(chain: list[tuple[int, int]], cut: int) -> None:
    parts = [bytes([kind, units]) + bytes(6 + 8 * (units % 4)) for kind, units in chain]
    data = ipv6(0, *parts)[: 40 + cut]
    segment = parse(data)
    assert segment is None or segment[:2] == SEGMENT6[:2]
