"""Netlink framing: message headers and attributes, to bytes and back.

From `linux/netlink.h`. Everything is bounds-checked and every step moves forward by at least a
header, so no input can make a reader loop or read past its buffer. The packet loop has its own
flat reader in `nfqueue.py`, because a generator an attribute is too slow for it.
"""

import struct
from collections.abc import Iterator
from errno import EINTR

from cnnf.defender.netlink.errors import Interrupted, KernelRefused, Truncated

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_DUMP = 0x300
#: In an answer: what is being dumped has changed since the dump began.
NLM_F_DUMP_INTR = 0x010

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLA_F_NESTED = 0x8000
#: The two top bits of an attribute's type are flags (nested, network byte order).
NLA_TYPE_MASK = 0x3FFF

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")


def align(length: int) -> int:
    """A length rounded up to the four bytes that netlink aligns to."""
    return (length + 3) & ~3


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One message; port id 0 lets the kernel fill in the sender."""
    return HEADER.pack(HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(align(length) - length)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Every message of a datagram as (type, flags, sequence, payload).

    Raises Truncated when a header or length does not fit.
    """
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < HEADER.size:
            raise Truncated(f"netlink: {end - offset} bytes are left at {offset}, a header has 16")
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > end:
            raise Truncated(f"netlink: message at {offset} says {length} of {end - offset} bytes")
        yield kind, flags, sequence, data[offset + HEADER.size : offset + length]
        offset += align(length)


def attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Every attribute from `offset` on as (type without flags, value). Raises Truncated."""
    end = len(data)
    while offset < end:
        if end - offset < 4:
            raise Truncated(f"attribute: {end - offset} bytes are left at {offset}")
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise Truncated(f"attribute {kind & NLA_TYPE_MASK} at {offset} says {length} bytes")
        yield kind & NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += align(length)


def raise_if_error(subject: str, kind: int, payload: bytes) -> None:
    """Raise KernelRefused when the message is an error answer other than "fine"."""
    if kind != NLMSG_ERROR:
        return
    if len(payload) < 4:
        raise Truncated(f"{subject}: error answer of {len(payload)} bytes")
    code = _ERROR.unpack_from(payload)[0]
    if code:
        raise KernelRefused(subject, abs(code))


def raise_if_failed(subject: str, payload: bytes) -> None:
    """Raise KernelRefused or Interrupted when a dump's last message (NLMSG_DONE) says so."""
    if len(payload) >= 4:
        code = _ERROR.unpack_from(payload)[0]
        if code == -EINTR:
            raise Interrupted(f"{subject}: it changed while it was read")
        if code < 0:
            raise KernelRefused(subject, -code)
