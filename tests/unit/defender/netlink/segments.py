"""TCP segments as bytes, made by hand from RFC 791, RFC 8200 and RFC 9293."""

import struct
from ipaddress import ip_address

V4 = ("10.78.1.2", "10.78.2.3")
V6 = ("fd00:78::2", "fd00:78::3")


def tcp(source_port: int = 40_000, port: int = 443) -> bytes:
    """A SYN's header, 20 bytes."""
    return struct.pack(">HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 0x02, 64_240, 0, 0)


def ipv4(
    payload: bytes | None = None, *, options: bytes = b"", fragment: int = 0, protocol: int = 6
) -> bytes:
    """A packet with `options` (of four bytes each) and a field of fragment flags and offset."""
    payload = tcp() if payload is None else payload
    words = 5 + len(options) // 4
    return (
        struct.pack(
            ">BBHHHBBH", 4 << 4 | words, 0, words * 4 + len(payload), 1, fragment, 64, protocol, 0
        )
        + ip_address(V4[0]).packed
        + ip_address(V4[1]).packed
        + options
        + payload
    )


def extension(next_header: int, units: int = 0) -> bytes:
    """An extension header of 8 + 8 * `units` bytes."""
    return bytes([next_header, units]) + bytes(6 + 8 * units)


def ipv6(first: int, *parts: bytes) -> bytes:
    """A packet whose first header is of type `first`; the parts follow the 40 bytes of IPv6."""
    body = b"".join(parts)
    return (
        struct.pack(">IHBB", 6 << 28, len(body), first, 64)
        + ip_address(V6[0]).packed
        + ip_address(V6[1]).packed
        + body
    )
