"""Named counters of an nft table, by netlink dump: starting `nft` for them costs a hundred times
as much.

From `linux/netfilter/nf_tables.h` (NFT_MSG_GETOBJ).
"""

import struct

from cnnf.defender.netlink.errors import Truncated
from cnnf.defender.netlink.messages import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    attribute,
    attributes,
    message,
)

_GET_OBJECT = 10 << 8 | 19
_NFPROTO_INET = 1
_OBJECT_TABLE, _OBJECT_NAME, _OBJECT_TYPE, _OBJECT_DATA = 1, 2, 3, 4
_TYPE_COUNTER = 1
_COUNTER_PACKETS = 2


def dump(sequence: int, table: str) -> bytes:
    """Ask for every counter of an inet table."""
    return message(
        _GET_OBJECT,
        NLM_F_REQUEST | NLM_F_DUMP,
        sequence,
        struct.pack(">BBH", _NFPROTO_INET, 0, 0)
        + attribute(_OBJECT_TABLE, table.encode() + b"\0")
        + attribute(_OBJECT_TYPE, struct.pack(">I", _TYPE_COUNTER)),
    )


def decode_counter(payload: bytes) -> tuple[str, str, int]:
    """The table, the counter's name, its packets. Raises Truncated."""
    if len(payload) < 4:
        raise Truncated(f"nft counter: {len(payload)} bytes")
    table = name = ""
    packets = 0
    for kind, value in attributes(payload, 4):
        if kind == _OBJECT_TABLE:
            table = value.rstrip(b"\0").decode(errors="replace")
        elif kind == _OBJECT_NAME:
            name = value.rstrip(b"\0").decode(errors="replace")
        elif kind == _OBJECT_DATA:
            packets = _packets(value)
    if not name:
        raise Truncated("nft counter: one without a name")
    return table, name, packets


def _packets(data: bytes) -> int:
    for kind, value in attributes(data):
        if kind == _COUNTER_PACKETS and len(value) == 8:
            return int.from_bytes(value, "big")
    return 0
