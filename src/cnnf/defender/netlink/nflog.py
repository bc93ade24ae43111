"""nfnetlink_log: copies of packets, in batches, for the limited view. Nothing waits for us here.

From `linux/netfilter/nfnetlink_log.h`.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated
from cnnf.defender.netlink.messages import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    attribute,
    attributes,
    message,
    messages,
)

SUBSYSTEM = 4 << 8
_PACKET = SUBSYSTEM | 0
_CONFIG = SUBSYSTEM | 1

_CFG_CMD, _CFG_MODE, _CFG_NLBUFSIZ, _CFG_TIMEOUT, _CFG_QTHRESH = 1, 2, 3, 4, 5
_CMD_BIND = 1
_COPY_PACKET = 2

_ATTR_PACKET_HDR, _ATTR_OUTDEV, _ATTR_PAYLOAD, _ATTR_UID = 1, 5, 9, 11


class LoggedPacket(NamedTuple):
    """A copy of a packet's first bytes, the hook it was seen at and its owner (-1: unknown)."""

    hook: int
    out_device: int
    uid: int
    payload: bytes


def _config(group: int, sequence: int, *parts: bytes) -> bytes:
    payload = struct.pack(">BBH", 0, 0, group) + b"".join(parts)
    return message(_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, payload)


def bind(group: int, sequence: int) -> bytes:
    """Make this socket the reader of the group."""
    return _config(group, sequence, attribute(_CFG_CMD, struct.pack("B", _CMD_BIND)))


def configure(
    group: int,
    sequence: int,
    *,
    copy_bytes: int,
    buffer_bytes: int,
    timeout_ms: int,
    packets_max: int,
) -> bytes:
    """Copy so much of each packet, and hand over a batch when it is full or `timeout_ms` old."""
    return _config(
        group,
        sequence,
        attribute(_CFG_MODE, struct.pack(">IBx", copy_bytes, _COPY_PACKET)),
        attribute(_CFG_NLBUFSIZ, struct.pack(">I", buffer_bytes)),
        # The kernel counts in hundredths of a second.
        attribute(_CFG_TIMEOUT, struct.pack(">I", max(1, timeout_ms // 10))),
        attribute(_CFG_QTHRESH, struct.pack(">I", packets_max)),
    )


def decode_packets(data: bytes) -> Iterator[LoggedPacket]:
    """Every packet of a batch. Raises Truncated at the first message that does not fit."""
    for kind, _, _, payload in messages(data):
        if kind != _PACKET:
            continue
        hook, out_device, uid, packet = -1, 0, -1, b""
        for attr, value in attributes(payload, 4):
            if attr == _ATTR_PAYLOAD:
                packet = value
            elif attr == _ATTR_PACKET_HDR and len(value) >= 3:
                hook = value[2]
            elif attr == _ATTR_OUTDEV and len(value) == 4:
                out_device = int.from_bytes(value, "big")
            elif attr == _ATTR_UID and len(value) == 4:
                uid = int.from_bytes(value, "big")
        if hook < 0:
            raise Truncated("nflog: a packet message without a packet header")
        yield LoggedPacket(hook, out_device, uid, packet)
