"""nf_tables' generations and rules: asked for as the header says, told by their attributes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import rulesetgen
from cnnf.defender.netlink.errors import NetlinkError, Truncated, Unexpected
from cnnf.defender.netlink.messages import attribute, attributes, messages, nested
from cnnf.defender.netlink.rulesetgen import Generation

INET = struct.pack(">BBH", 1, 0, 0)
IP = struct.pack(">BBH", 2, 0, 0)


def be32(number: int) -> bytes:
    """A number as nf_tables sends it."""
    return struct.pack(">I", number)


def generation(*parts: bytes) -> bytes:
    """A NEWGEN's payload."""
    return struct.pack(">BBH", 0, 0, 7) + b"".join(parts)


def rule(table: str, chain: str, head: bytes = INET) -> bytes:
    """A rule of a dump, with a handle and an expression after its names."""
    names = attribute(1, table.encode() + b"\0"), attribute(2, chain.encode() + b"\0")
    return head + b"".join(names) + attribute(3, bytes(8)) + nested(4, nested(1, bytes(4)))


def test_the_generation_is_asked_for() -> None:
    ((kind, flags, sequence, payload),) = messages(rulesetgen.get_generation(9))
    assert (kind, flags, sequence, payload) == (0x0A10, 1, 9, bytes(4))


def test_rules_are_asked_for_by_table() -> None:
    ((kind, flags, sequence, payload),) = messages(rulesetgen.dump_rules(9, "cnnf"))
    assert (kind, flags, sequence) == (0x0A07, 1 | 0x300, 9)
    assert payload[:4] == INET
    assert list(attributes(payload, 4)) == [(1, b"cnnf\0")]


def test_a_generation_names_its_maker() -> None:
    name = attribute(3, b"nft\0")
    payload = generation(attribute(1, be32(7)), attribute(2, be32(4711)), name)
    assert rulesetgen.decode_generation(payload) == Generation(7, 4711, "nft")
    # Kernels before 4.15 do not say who.
    assert rulesetgen.decode_generation(generation(attribute(1, be32(7)))) == Generation(7, 0, "")


def test_a_name_that_is_no_text_is_still_a_name() -> None:
    payload = generation(attribute(1, be32(1)), attribute(3, b"\xff\xfe" + b"x" * 60))
    assert len(rulesetgen.decode_generation(payload).program) == 16


@pytest.mark.parametrize("size", [0, 3, 5, 8])
def test_numbers_of_odd_lengths_are_refused(size: int) -> None:
    for kind in (1, 2):
        with pytest.raises(Unexpected):
            rulesetgen.decode_generation(generation(attribute(kind, bytes(size))))


def test_a_generation_without_number_is_refused() -> None:
    with pytest.raises(Truncated):
        rulesetgen.decode_generation(generation(attribute(2, be32(1))))


def test_a_rule_is_told_by_its_chain() -> None:
    assert rulesetgen.decode_chain(rule("cnnf", "out_known"), "cnnf") == "out_known"


@pytest.mark.parametrize(
    "payload", [rule("filter", "input"), rule("cnnf", "x", IP), rule("cnnf2", "x")]
)
def test_another_tables_rule_is_not_ours(payload: bytes) -> None:
    assert rulesetgen.decode_chain(payload, "cnnf") is None


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for payload in (data, INET + data, generation(data), INET + attribute(1, b"cnnf\0") + data):
        for decode in (
            lambda payload: rulesetgen.decode_chain(payload, "cnnf"),
            rulesetgen.decode_generation,
        ):
            try:
                decode(payload)
            except NetlinkError:
                continue
