"""What the `nft` program can't do, as netlink: iptables' NFQUEUE target in a chain of an nft
table, and asking for a table without reading all that is in it.

From `linux/netfilter/nf_tables.h`, `nf_tables_compat.h` and `xt_NFQUEUE.h`. The `nft` program has a
`queue` statement, but not every kernel has the expression behind it; the target that iptables uses
is there wherever iptables is, and does the same.
"""

import struct

from cnnf.defender.netlink.messages import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    attribute,
    message,
    nested,
)

_SUBSYSTEM = 10 << 8
_GET_TABLE, _NEW_RULE = _SUBSYSTEM | 1, _SUBSYSTEM | 6
_BATCH_BEGIN, _BATCH_END = 16, 17
_NFNL_SUBSYS_NFTABLES = 10
_NLM_F_CREATE, _NLM_F_APPEND = 0x400, 0x800
_NFPROTO_INET = 1

_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_TABLE_NAME = 1
_LIST_ELEMENT = 1
_EXPR_NAME, _EXPR_DATA = 1, 2
_TARGET_NAME, _TARGET_REVISION, _TARGET_INFO = 1, 2, 3

#: `struct xt_NFQ_info_v3`: first queue, number of queues, flags; padded to eight bytes.
_INFO = struct.Struct("=HHHxx")
_REVISION = 3
_FLAG_BYPASS, _FLAG_CPU_FANOUT = 1, 2


def get_table(sequence: int, table: str) -> bytes:
    """Ask for an inet table; ENOENT is the answer where there is none."""
    name = attribute(_TABLE_NAME, table.encode() + b"\0")
    family = struct.pack(">BBH", _NFPROTO_INET, 0, 0)
    return message(_GET_TABLE, NLM_F_REQUEST, sequence, family + name)


def queue_rule(
    sequence: int, table: str, chain: str, *, first: int, count: int, bypass: bool
) -> bytes:
    """A transaction that appends the rule to a chain of an inet table.

    The rule's acknowledgement comes under `sequence`. With several queues packets are spread by
    the processor they are on. `bypass`: what nobody answers goes on as if there were no rule.
    """
    flags = (_FLAG_BYPASS if bypass else 0) | (_FLAG_CPU_FANOUT if count > 1 else 0)
    target = nested(
        _EXPR_DATA,
        attribute(_TARGET_NAME, b"NFQUEUE\0"),
        attribute(_TARGET_REVISION, struct.pack(">I", _REVISION)),
        attribute(_TARGET_INFO, _INFO.pack(first, count, flags)),
    )
    rule = (
        struct.pack(">BBH", _NFPROTO_INET, 0, 0)
        + attribute(_RULE_TABLE, table.encode() + b"\0")
        + attribute(_RULE_CHAIN, chain.encode() + b"\0")
        + nested(
            _RULE_EXPRESSIONS, nested(_LIST_ELEMENT, attribute(_EXPR_NAME, b"target\0"), target)
        )
    )
    mark = struct.pack(">BBH", 0, 0, _NFNL_SUBSYS_NFTABLES)
    flags = NLM_F_REQUEST | NLM_F_ACK | _NLM_F_CREATE | _NLM_F_APPEND
    return (
        message(_BATCH_BEGIN, NLM_F_REQUEST, sequence - 1, mark)
        + message(_NEW_RULE, flags, sequence, rule)
        + message(_BATCH_END, NLM_F_REQUEST, sequence + 1, mark)
    )
