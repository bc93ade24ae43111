"""ctnetlink: the connections the kernel tracks, as they were made and as they are answered.

From `linux/netfilter/nfnetlink_conntrack.h`. Used at the start, for connections that were there
before the Defender, and for cutting those that a rule does not let be.
"""

import struct
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated
from cnnf.defender.netlink.messages import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    attribute,
    attributes,
    message,
    nested,
)

SUBSYSTEM = 1 << 8
_NEW = SUBSYSTEM | 0
_GET = SUBSYSTEM | 1
_DELETE = SUBSYSTEM | 2

TCP_ESTABLISHED = 3
#: `enum tcp_conntrack`: from the first SYN (1) to the last ACK (6) data may pass, then no more.
TCP_LIVING = range(1, 7)
TCP, UDP = 6, 17
_AF_INET, _AF_INET6 = 2, 10

_TUPLE_ORIG, _TUPLE_REPLY, _PROTOINFO, _MARK = 1, 2, 4, 8
_ID, _ZONE, _MARK_MASK = 12, 18, 21
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_V4_SRC, _IP_V4_DST, _IP_V6_SRC, _IP_V6_DST = 1, 2, 3, 4
_PROTO_NUM, _PROTO_SRC_PORT, _PROTO_DST_PORT = 1, 2, 3
_PROTOINFO_TCP, _TCP_STATE = 1, 1


class Ends(NamedTuple):
    """One direction: packed addresses and ports."""

    source: bytes
    source_port: int
    destination: bytes
    port: int


class Tracked(NamedTuple):
    """A tracked connection. `reply.source` is who really answers, behind any DNAT.

    `state` is 0 for UDP. `id` is the entry's own number (0: not told), `zone` its conntrack zone.
    """

    original: Ends
    reply: Ends
    state: int
    protocol: int = TCP
    id: int = 0
    zone: int = 0


def dump(sequence: int, family: int) -> bytes:
    """Ask for every tracked connection of an address family."""
    return message(_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, struct.pack(">BBH", family, 0, 0))


def delete(sequence: int, entry: Tracked) -> bytes:
    """Forget exactly this connection. ENOENT when it is gone, or another one has its ends."""
    return message(_DELETE, NLM_F_REQUEST | NLM_F_ACK, sequence, _named(entry))


def set_mark(sequence: int, entry: Tracked, value: int, mask: int) -> bytes:
    """Set the bits `mask` of this connection's mark (`ct mark`) to `value`. ENOENT when it is gone.

    The kernel takes no id here: another connection with the same ends would be marked.
    """
    body = (
        _named(entry)
        + attribute(_MARK, struct.pack(">I", value))
        + attribute(_MARK_MASK, struct.pack(">I", mask))
    )
    # Without NLM_F_CREATE: what is not there is not made.
    return message(_NEW, NLM_F_REQUEST | NLM_F_ACK, sequence, body)


def _named(entry: Tracked) -> bytes:
    ends = entry.original
    v4 = len(ends.source) == 4
    tuple_ = nested(
        _TUPLE_ORIG,
        nested(
            _TUPLE_IP,
            attribute(_IP_V4_SRC if v4 else _IP_V6_SRC, ends.source),
            attribute(_IP_V4_DST if v4 else _IP_V6_DST, ends.destination),
        ),
        nested(
            _TUPLE_PROTO,
            attribute(_PROTO_NUM, bytes([entry.protocol])),
            attribute(_PROTO_SRC_PORT, struct.pack(">H", ends.source_port)),
            attribute(_PROTO_DST_PORT, struct.pack(">H", ends.port)),
        ),
    )
    return (
        struct.pack(">BBH", _AF_INET if v4 else _AF_INET6, 0, 0)
        + tuple_
        + (attribute(_ZONE, struct.pack(">H", entry.zone)) if entry.zone else b"")
        + (attribute(_ID, struct.pack(">I", entry.id)) if entry.id else b"")
    )


def decode_tracked(payload: bytes, protocol: int = TCP) -> Tracked | None:
    """The connection in one answer's payload, None when it is not TCP (or UDP, where that is
    asked for). Raises Truncated."""
    original: Ends | None = None
    reply: Ends | None = None
    state = -1 if protocol == TCP else 0
    identity = zone = 0
    for kind, value in attributes(payload, 4):
        if kind == _TUPLE_ORIG:
            original = _decode_tuple(value, protocol)
        elif kind == _TUPLE_REPLY:
            reply = _decode_tuple(value, protocol)
        elif kind == _PROTOINFO and protocol == TCP:
            state = _decode_state(value)
        elif kind == _ID and len(value) == 4:
            identity = int.from_bytes(value, "big")
        elif kind == _ZONE and len(value) == 2:
            zone = int.from_bytes(value, "big")
    if original is None or reply is None or state < 0:
        return None
    return Tracked(original, reply, state, protocol, identity, zone)


def _decode_tuple(data: bytes, protocol: int) -> Ends | None:
    addresses: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    for kind, value in attributes(data):
        if kind == _TUPLE_IP:
            addresses = dict(attributes(value))
        elif kind == _TUPLE_PROTO:
            numbers = {part: int.from_bytes(number, "big") for part, number in attributes(value)}
    source = addresses.get(_IP_V4_SRC) or addresses.get(_IP_V6_SRC)
    destination = addresses.get(_IP_V4_DST) or addresses.get(_IP_V6_DST)
    if numbers.get(_PROTO_NUM) != protocol or not source or not destination:
        return None
    if len(source) not in (4, 16) or len(source) != len(destination):
        raise Truncated(f"conntrack: addresses of {len(source)} and {len(destination)} bytes")
    if _PROTO_SRC_PORT not in numbers or _PROTO_DST_PORT not in numbers:
        return None
    return Ends(
        source, numbers[_PROTO_SRC_PORT] & 0xFFFF, destination, numbers[_PROTO_DST_PORT] & 0xFFFF
    )


def _decode_state(data: bytes) -> int:
    for kind, value in attributes(data):
        if kind == _PROTOINFO_TCP:
            for tcp_kind, state in attributes(value):
                if tcp_kind == _TCP_STATE and len(state) == 1:
                    return state[0]
    return -1
