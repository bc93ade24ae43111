"""ctnetlink: the connections the kernel tracks, as they were made and as they are answered.

From `linux/netfilter/nfnetlink_conntrack.h`. Used once, at start, for connections that were there
before the Defender.
"""

import struct
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated
from cnnf.defender.netlink.messages import NLM_F_DUMP, NLM_F_REQUEST, attributes, message

SUBSYSTEM = 1 << 8
_NEW = SUBSYSTEM | 0
_GET = SUBSYSTEM | 1

TCP_ESTABLISHED = 3
_TCP = 6

_TUPLE_ORIG, _TUPLE_REPLY, _PROTOINFO = 1, 2, 4
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
    """A tracked TCP connection. `reply.source` is who really answers, behind any DNAT."""

    original: Ends
    reply: Ends
    state: int


def dump(sequence: int, family: int) -> bytes:
    """Ask for every tracked connection of an address family."""
    return message(_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, struct.pack(">BBH", family, 0, 0))


def decode_tracked(payload: bytes) -> Tracked | None:
    """The connection in one answer's payload, None when it is not TCP. Raises Truncated."""
    original: Ends | None = None
    reply: Ends | None = None
    state = -1
    for kind, value in attributes(payload, 4):
        if kind == _TUPLE_ORIG:
            original = _decode_tuple(value)
        elif kind == _TUPLE_REPLY:
            reply = _decode_tuple(value)
        elif kind == _PROTOINFO:
            state = _decode_state(value)
    if original is None or reply is None or state < 0:
        return None
    return Tracked(original, reply, state)


def _decode_tuple(data: bytes) -> Ends | None:
    addresses: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    for kind, value in attributes(data):
        if kind == _TUPLE_IP:
            addresses = dict(attributes(value))
        elif kind == _TUPLE_PROTO:
            numbers = {part: int.from_bytes(number, "big") for part, number in attributes(value)}
    source = addresses.get(_IP_V4_SRC) or addresses.get(_IP_V6_SRC)
    destination = addresses.get(_IP_V4_DST) or addresses.get(_IP_V6_DST)
    if numbers.get(_PROTO_NUM) != _TCP or not source or not destination:
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
