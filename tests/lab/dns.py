"""DNS messages and packets as tests need them, written apart from the codec that they test."""

import struct
from collections.abc import Sequence
from ipaddress import ip_address

A, CNAME, AAAA = 1, 5, 28


def name(text: str) -> bytes:
    """A name on the wire, without compression."""
    labels = [label.encode() for label in text.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def question(text: str, kind: int = A) -> bytes:
    """The question section."""
    return name(text) + struct.pack(">HH", kind, 1)


def query(text: str, kind: int = A, *, number: int = 1, edns: int = 0) -> bytes:
    """A resolver's query; with EDNS (RFC 6891) it takes so many bytes."""
    extra = b"\0" + struct.pack(">HHIH", 41, edns, 0, 0) if edns else b""
    head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 1 if edns else 0)
    return head + question(text, kind) + extra


def record(owner: bytes | str, kind: int, value: bytes, seconds: int = 60) -> bytes:
    """A resource record; the owner may be a pointer."""
    owner = name(owner) if isinstance(owner, str) else owner
    return owner + struct.pack(">HHIH", kind, 1, seconds, len(value)) + value


def address(owner: bytes | str, text: str, seconds: int = 60) -> bytes:
    """An address record of either family."""
    packed = ip_address(text).packed
    return record(owner, A if len(packed) == 4 else AAAA, packed, seconds)


def answer(
    text: str,
    records: Sequence[bytes],
    kind: int = A,
    *,
    number: int = 1,
    flags: int = 0x8180,
    count: int | None = None,
) -> bytes:
    """An answer; `count` is what it says of its records, which may be a lie."""
    said = len(records) if count is None else count
    head = struct.pack(">HHHHHH", number, flags, 1, said, 0, 0)
    return head + question(text, kind) + b"".join(records)


#: A pointer to the question's name.
ASKED = b"\xc0\x0c"


def udp(source: str, target: str, ports: tuple[int, int], payload: bytes) -> bytes:
    """A whole IP packet."""
    return _ip(source, target, 17, struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload)


def tcp(
    source: str,
    target: str,
    ports: tuple[int, int],
    payload: bytes,
    *,
    sequence: int = 1,
    flags: int = 0x18,
) -> bytes:
    """A segment of a connection."""
    head = struct.pack(">HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, 1, 5 << 4, flags, 512, 0, 0)
    return _ip(source, target, 6, head + payload)


def _ip(source: str, target: str, protocol: int, rest: bytes) -> bytes:
    ends = ip_address(source).packed + ip_address(target).packed
    if len(ends) == 32:
        return struct.pack(">IHBB", 6 << 28, len(rest), protocol, 64) + ends + rest
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(rest), 1, 0, 64, protocol, 0)
    return head + ends + rest
