"""nf_tables as a whole: which generation the ruleset is in, who made it, and what a table holds.

From `linux/netfilter/nf_tables.h`. A *ruleset generation* is the kernel's own count of commits to
nf_tables in a network namespace, by whomever; it has nothing to do with our generations.
"""

import struct
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated, Unexpected
from cnnf.defender.netlink.messages import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    attribute,
    attributes,
    message,
)

SUBSYSTEM = 10 << 8
_GET_RULE = SUBSYSTEM | 7
NEW_GENERATION = SUBSYSTEM | 15
_GET_GENERATION = SUBSYSTEM | 16
_NFPROTO_INET = 1

#: `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`: every commit, its last message a NEWGEN.
MULTICAST_GROUP = 7

_GEN_ID, _GEN_PROC_PID, _GEN_PROC_NAME = 1, 2, 3
_RULE_TABLE, _RULE_CHAIN = 1, 2

#: TASK_COMM_LEN, with its terminating zero.
_COMM_LENGTH = 16


class Generation(NamedTuple):
    """A ruleset generation and the process whose commit began it.

    `pid` is in the kernel's first pid namespace. In an answer to `get_generation` pid and program
    are those of the asker, because the kernel does not keep whose commit it was.
    """

    number: int
    pid: int
    program: str


def get_generation(sequence: int) -> bytes:
    """Ask for the ruleset generation in force."""
    return message(_GET_GENERATION, NLM_F_REQUEST, sequence, struct.pack(">BBH", 0, 0, 0))


def decode_generation(payload: bytes) -> Generation:
    """The generation in a NEWGEN's payload. Raises Truncated, Unexpected."""
    number: int | None = None
    pid, program = 0, ""
    for kind, value in attributes(payload, 4):
        if kind in (_GEN_ID, _GEN_PROC_PID) and len(value) != 4:
            raise Unexpected(f"nft generation: attribute {kind} of {len(value)} bytes, not 4")
        if kind == _GEN_ID:
            number = int.from_bytes(value, "big")
        elif kind == _GEN_PROC_PID:
            pid = int.from_bytes(value, "big")
        elif kind == _GEN_PROC_NAME:
            program = _text(value[:_COMM_LENGTH])
    if number is None:
        raise Truncated("nft generation: a message without its number")
    return Generation(number, pid, program)


def dump_rules(sequence: int, table: str) -> bytes:
    """Ask for every rule of an inet table. A table that is not there has none."""
    return message(
        _GET_RULE,
        NLM_F_REQUEST | NLM_F_DUMP,
        sequence,
        struct.pack(">BBH", _NFPROTO_INET, 0, 0) + attribute(_RULE_TABLE, table.encode() + b"\0"),
    )


def decode_chain(payload: bytes, table: str) -> str | None:
    """The chain that the rule in one answer's payload stands in; None for another table's rule.

    What the rule does is not looked at. Raises Truncated.
    """
    if len(payload) < 4:
        raise Truncated(f"nft rule: {len(payload)} bytes, at least 4")
    if payload[0] != _NFPROTO_INET:
        return None
    chain = ""
    for kind, value in attributes(payload, 4):
        if kind == _RULE_TABLE and _text(value) != table:
            return None
        if kind == _RULE_CHAIN:
            chain = _text(value)
            # Table and chain come first; the expressions after them are most of the bytes.
            break
    if not chain:
        raise Truncated("nft rule: a rule without its chain")
    return chain


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")
