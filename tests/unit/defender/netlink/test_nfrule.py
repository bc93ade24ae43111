"""The rule that hands packets over: every byte where the kernel's headers want it."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import nfrule
from cnnf.defender.netlink.messages import attributes, messages

#: Made by hand from linux/netlink.h, nfnetlink.h, nf_tables.h, nf_tables_compat.h, xt_NFQUEUE.h.
HAND_MADE = "".join(
    (
        # NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, sequence 8; nfgenmsg: unspec, 0, subsystem 10.
        "14000000 1000 0100 08000000 00000000  00 00 000a",
        # NFT_MSG_NEWRULE, REQUEST|ACK|CREATE|APPEND, sequence 9; nfgenmsg: NFPROTO_INET.
        "60000000 060a 050c 09000000 00000000  01 00 0000",
        "0900 0100 63 6e 6e 66 00 000000",  # NFTA_RULE_TABLE "cnnf"
        "0600 0200 68 00 0000",  # NFTA_RULE_CHAIN "h"
        "3800 0480",  # NFTA_RULE_EXPRESSIONS, nested
        "3400 0180",  # NFTA_LIST_ELEM
        "0b00 0100 74 61 72 67 65 74 00 00",  # NFTA_EXPR_NAME "target"
        "2400 0280",  # NFTA_EXPR_DATA
        "0c00 0100 4e 46 51 55 45 55 45 00",  # NFTA_TARGET_NAME "NFQUEUE"
        "0800 0200 00000003",  # NFTA_TARGET_REV 3, in network order
        "0c00 0300 5e1f 0200 0300 0000",  # NFTA_TARGET_INFO: 8030, two queues, BYPASS|FANOUT
        # NFNL_MSG_BATCH_END.
        "14000000 1100 0100 0a000000 00000000  00 00 000a",
    )
)


def test_the_whole_transaction_is_what_the_headers_say() -> None:
    made = nfrule.queue_rule(9, "cnnf", "h", first=8030, count=2, bypass=True)
    begin, rest = made[:20], made[20:]
    wanted = bytes.fromhex(HAND_MADE)
    assert begin == wanted[:20]
    assert rest[-20:] == wanted[-20:]
    # Lengths are the machine's order: little-endian, as everywhere we run.
    assert rest[:-20].hex(" ") == wanted[20:-20].hex(" ")


@given(
    st.integers(1, 2**32 - 2),
    st.text("abcdefgh_0123456789", min_size=1, max_size=31),
    st.text("abcdefgh_0123456789", min_size=1, max_size=31),
    st.integers(0, 65_535),
    st.integers(1, 65_535),
    st.booleans(),
)
def test_it_reads_back_as_it_was_asked_for(
    sequence: int, table: str, chain: str, first: int, count: int, bypass: bool
) -> None:
    made = nfrule.queue_rule(sequence, table, chain, first=first, count=count, bypass=bypass)
    begin, rule, end = messages(made)
    assert (begin[0], begin[2]) == (16, sequence - 1)
    assert (end[0], end[2]) == (17, sequence + 1)
    kind, flags, number, payload = rule
    # Only the rule is acknowledged, under its own number.
    assert (kind, number) == (0x0A06, sequence)
    assert (flags & 4, begin[1] & 4, end[1] & 4) == (4, 0, 0)
    found = dict(attributes(payload, 4))
    assert found[1] == table.encode() + b"\0"
    assert found[2] == chain.encode() + b"\0"
    ((element, expression),) = attributes(found[4])
    assert element == 1
    named = dict(attributes(expression))
    assert named[1] == b"target\0"
    target = dict(attributes(named[2]))
    assert (target[1], target[2]) == (b"NFQUEUE\0", struct.pack(">I", 3))
    told = struct.unpack("=HHHH", target[3])
    assert told == (first, count, bypass | (count > 1) << 1, 0)


def test_a_table_is_asked_for_by_its_name() -> None:
    ((kind, flags, sequence, payload),) = messages(nfrule.get_table(9, "cnnf"))
    # NFT_MSG_GETTABLE for one table, no dump.
    assert (kind, flags, sequence) == (0x0A01, 1, 9)
    assert payload[:4] == struct.pack(">BBH", 1, 0, 0)
    assert list(attributes(payload, 4)) == [(1, b"cnnf\0")]
