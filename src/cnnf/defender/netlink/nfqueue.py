"""nfnetlink_queue: packets out of the kernel, verdicts back in.

From `linux/netfilter/nfnetlink_queue.h` and `nfnetlink.h`. `decode_packet` is the Defender's
hottest code: flat, one pass, no intermediate objects but its result.
"""

import struct
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated, Unexpected
from cnnf.defender.netlink.messages import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    attribute,
    message,
)

SUBSYSTEM = 3 << 8
_PACKET = SUBSYSTEM | 0
_VERDICT = SUBSYSTEM | 1
_CONFIG = SUBSYSTEM | 2

NF_DROP = 0
#: The hook that asked is run once more, now with the answer in the packet's mark: the nft table
#: remembers, refuses or lets pass by it, and puts the mark back (see `core/ruleset.py`).
NF_REPEAT = 4

_ENOENT = 2

#: `enum nf_inet_hooks`.
PREROUTING, INPUT, FORWARD, OUTPUT = 0, 1, 2, 3

_CFG_CMD, _CFG_PARAMS, _CFG_QUEUE_MAXLEN, _CFG_MASK, _CFG_FLAGS = 1, 2, 3, 4, 5
_CMD_BIND = 1
_COPY_PACKET = 2

FLAG_FAIL_OPEN = 1
FLAG_GSO = 4
FLAG_UID_GID = 8

_ATTR_PACKET_HDR, _ATTR_VERDICT_HDR, _ATTR_MARK = 1, 2, 3
_ATTR_OUTDEV, _ATTR_PAYLOAD, _ATTR_UID = 6, 10, 16

_header = struct.Struct("=IHHIIBBH")
_attr = struct.Struct("=HH")
_packet_hdr = struct.Struct(">IHB")
_be32 = struct.Struct(">I")
_errno = struct.Struct("=i")

#: One verdict with a mark, whole: header 20, verdict attribute 12, mark attribute 8.
_verdict = struct.Struct("=IHHIIBBHHH4s4sHH4s")
_VERDICT_LENGTH = 40


class QueuedPacket(NamedTuple):
    """A packet that waits for its verdict. The payload lies in the buffer it was read into."""

    id: int
    hook: int
    mark: int
    out_device: int
    uid: int
    payload_start: int
    payload_end: int


class UndecodablePacket(Unexpected):
    """A packet that can't be understood, but whose id is known, so that it can be answered."""

    def __init__(self, reason: str, packet_id: int, mark: int) -> None:
        super().__init__(reason)
        self.packet_id = packet_id
        self.mark = mark


class PacketGone(Unexpected):
    """The kernel's word that a packet had gone before its verdict came (its device went down)."""


def _nfgen(family: int, resource: int) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _config(queue: int, sequence: int, *attributes: bytes) -> bytes:
    payload = _nfgen(0, queue) + b"".join(attributes)
    return message(_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, payload)


def bind(queue: int, sequence: int) -> bytes:
    """Make this socket the one that answers the queue. EPERM or EBUSY when it can't be."""
    return _config(queue, sequence, attribute(_CFG_CMD, struct.pack(">BxH", _CMD_BIND, 0)))


def configure(
    queue: int, sequence: int, *, copy_bytes: int, queue_length_max: int, flags: int
) -> bytes:
    """How much of each packet to copy, how many may wait, and the queue's flags."""
    return _config(
        queue,
        sequence,
        attribute(_CFG_PARAMS, struct.pack(">IB", copy_bytes, _COPY_PACKET)),
        attribute(_CFG_QUEUE_MAXLEN, _be32.pack(queue_length_max)),
        attribute(_CFG_MASK, _be32.pack(flags | FLAG_FAIL_OPEN | FLAG_GSO | FLAG_UID_GID)),
        attribute(_CFG_FLAGS, _be32.pack(flags)),
    )


def verdict(queue: int, packet_id: int, decision: int, mark: int) -> bytes:
    """The answer to one packet, with its whole new mark. Several may be joined in one send."""
    return _verdict.pack(
        _VERDICT_LENGTH,
        _VERDICT,
        NLM_F_REQUEST,
        0,
        0,
        0,
        0,
        (queue >> 8 | queue << 8) & 0xFFFF,
        12,
        _ATTR_VERDICT_HDR,
        _be32.pack(decision),
        _be32.pack(packet_id),
        8,
        _ATTR_MARK,
        _be32.pack(mark),
    )


def decode_packet(data: bytes | bytearray, length: int) -> QueuedPacket:  # noqa: C901 - flat
    """The packet in the message `data[:length]`.

    Raises Truncated or Unexpected for what is no packet message at all, and UndecodablePacket once
    the id has been read, so that the loop can always answer.
    """
    if length < 20:
        raise Truncated(f"nfqueue: {length} bytes")
    total, kind, _, _, _, _, _, _ = _header.unpack_from(data, 0)
    if kind == NLMSG_ERROR and _errno.unpack_from(data, 16)[0] == -_ENOENT:
        raise PacketGone("nfqueue: a verdict for a packet that has gone")
    if kind != _PACKET:
        raise Unexpected(f"nfqueue: message type {kind:#x}")
    end = min(total, length)
    packet_id = -1
    hook = mark = out_device = payload_start = payload_end = 0
    uid = -1
    at = 20
    while at + 4 <= end:
        size, attr = _attr.unpack_from(data, at)
        attr &= 0x3FFF
        if size < 4 or at + size > end:
            break
        if attr == _ATTR_PAYLOAD:
            payload_start, payload_end = at + 4, at + size
        elif size < 8:
            pass
        elif attr == _ATTR_MARK:
            mark = _be32.unpack_from(data, at + 4)[0]
        elif attr == _ATTR_PACKET_HDR and size >= 11:
            packet_id, _, hook = _packet_hdr.unpack_from(data, at + 4)
        elif attr == _ATTR_OUTDEV:
            out_device = _be32.unpack_from(data, at + 4)[0]
        elif attr == _ATTR_UID:
            uid = _be32.unpack_from(data, at + 4)[0]
        at += (size + 3) & ~3
    if packet_id < 0:
        raise Truncated("nfqueue: a packet message without a packet header")
    if payload_end <= payload_start:
        raise UndecodablePacket("nfqueue: a packet without payload", packet_id, mark)
    return QueuedPacket(packet_id, hook, mark, out_device, uid, payload_start, payload_end)
