"""Who talks to whom in an IP packet's first bytes: addresses and ports of TCP and UDP.

RFC 791, RFC 8200 (extension headers), RFC 9293, RFC 768. Used by the packet loop and the NFLOG
readers, so input is whatever an attacker can put on the wire: any length, any header chain.
"""

from typing import NamedTuple

TCP, UDP = 6, 17
_WITH_PORTS = frozenset({TCP, UDP})

#: Extension headers that may stand before them: hop-by-hop, routing, destination options, mobility,
#: HIP, shim6. Their length is in units of 8 bytes, not counting the first 8.
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})
_FRAGMENT = 44
_AUTHENTICATION = 51
#: More headers than a sane packet has; a chain of 8-byte headers within 512 bytes has 57.
_EXTENSIONS_MAX = 64


class Segment(NamedTuple):
    """The ends of a TCP segment or UDP datagram: packed addresses (4 or 16 bytes) and ports."""

    source: bytes
    destination: bytes
    source_port: int
    port: int
    protocol: int = TCP


class Carried(NamedTuple):
    """A segment or datagram with what it carries; `sequence` numbers the first byte of TCP's."""

    ends: Segment
    sequence: int
    final: bool
    payload: bytes


def parse_segment(data: bytes | bytearray, offset: int, end: int) -> Segment | None:
    """The segment in `data[offset:end]`, or None when its ports can't be found there."""
    if end - offset < 1:
        return None
    version = data[offset] >> 4
    if version == 4:
        return _parse_v4(data, offset, end)
    if version == 6:
        return _parse_v6(data, offset, end)
    return None


def parse_carried(data: bytes) -> Carried | None:
    """The whole packet, or None when it is no whole header of TCP or UDP.

    The payload ends where its header says, or before that where the packet was cut.
    """
    ends = parse_segment(data, 0, len(data))
    if ends is None:
        return None
    at = (data[0] & 0x0F) * 4 if data[0] >> 4 == 4 else _transport_v6(data, 0, len(data))[1]
    if at + (8 if ends.protocol == UDP else 20) > len(data):
        return None
    if ends.protocol == UDP:
        length = data[at + 4] << 8 | data[at + 5]
        # 0: longer than a length can say (RFC 2675), which nothing that we read is.
        return Carried(ends, 0, False, data[at + 8 : at + length])
    begins = (data[at + 12] >> 4) * 4
    if begins < 20:
        return None
    sequence = int.from_bytes(data[at + 4 : at + 8], "big")
    return Carried(ends, sequence, bool(data[at + 13] & 0x01), data[at + begins :])


def _parse_v4(data: bytes | bytearray, offset: int, end: int) -> Segment | None:
    if end - offset < 20:
        return None
    ports = offset + (data[offset] & 0x0F) * 4
    fragment = (data[offset + 6] & 0x1F) << 8 | data[offset + 7]
    protocol = data[offset + 9]
    if ports < offset + 20 or ports + 4 > end or protocol not in _WITH_PORTS or fragment:
        return None
    return Segment(
        bytes(data[offset + 12 : offset + 16]),
        bytes(data[offset + 16 : offset + 20]),
        data[ports] << 8 | data[ports + 1],
        data[ports + 2] << 8 | data[ports + 3],
        protocol,
    )


def _parse_v6(data: bytes | bytearray, offset: int, end: int) -> Segment | None:
    if end - offset < 40:
        return None
    kind, at = _transport_v6(data, offset, end)
    if kind not in _WITH_PORTS or at + 4 > end:
        return None
    return Segment(
        bytes(data[offset + 8 : offset + 24]),
        bytes(data[offset + 24 : offset + 40]),
        data[at] << 8 | data[at + 1],
        data[at + 2] << 8 | data[at + 3],
        kind,
    )


def _transport_v6(data: bytes | bytearray, offset: int, end: int) -> tuple[int, int]:
    """What follows the extension headers, and where; of no use where that is not TCP or UDP."""
    kind = data[offset + 6]
    at = offset + 40
    for _ in range(_EXTENSIONS_MAX):
        if kind in _WITH_PORTS or at + 8 > end:
            break
        if kind in _EXTENSIONS:
            length = 8 + data[at + 1] * 8
        elif kind == _AUTHENTICATION:
            length = 8 + data[at + 1] * 4
        elif kind == _FRAGMENT and not (data[at + 2] << 8 | data[at + 3]) & 0xFFF8:
            length = 8
        else:
            break
        kind = data[at]
        at += length
    return kind, at
