"""A segment's bytes: what was written is read; of what was cut or damaged, only the good part."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.spool import (
    HEAD_BYTES,
    Contents,
    Record,
    decode,
    encode_head,
    encode_record,
    record_bytes,
)
from cnnf.protocol.limits import BATCH_BYTES_MAX

INCARNATION = "0123456789abcdef" * 2

records = st.lists(
    st.builds(
        Record,
        sequence=st.integers(1, 2**63),
        sent_at=st.integers(0, 2**63),
        flows=st.integers(0, 20_000),
        data=st.binary(max_size=200),
    ),
    max_size=8,
    unique_by=lambda record: record.sequence,
).map(sorted)


def segment(written: list[Record]) -> bytes:
    """A whole segment."""
    return encode_head(INCARNATION) + b"".join(map(encode_record, written))


@given(records)
def test_what_was_written_is_read(written: list[Record]) -> None:
    assert decode(segment(written)) == Contents(INCARNATION, written)


@given(records, st.data())
def test_a_segment_cut_anywhere_is_good_up_to_there(
    written: list[Record], data: st.DataObject
) -> None:
    whole = segment(written)
    cut = data.draw(st.integers(0, len(whole)))
    found = decode(whole[:cut])
    assert found.records == written[: len(found.records)]
    ends = [HEAD_BYTES]
    for record in written:
        ends.append(ends[-1] + record_bytes(record.data))
    assert len(found.records) == max(0, sum(end <= cut for end in ends) - 1)
    # A cut between two records can't be told from an end.
    assert bool(found.problem) == (cut not in ends)


@given(records.filter(bool), st.data())
def test_a_flipped_bit_is_never_believed(written: list[Record], data: st.DataObject) -> None:
    whole = bytearray(segment(written))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    found = decode(bytes(whole))
    assert found.problem
    assert found.records == written[: len(found.records)]
    assert len(found.records) < len(written)


@given(st.binary(max_size=2_000))
def test_random_bytes_are_refused(data: bytes) -> None:
    found = decode(data)
    assert (found.incarnation, found.records) == ("", [])
    assert found.problem


@given(records, st.binary(min_size=1, max_size=500))
def test_rubbish_behind_good_records_takes_nothing_away(written: list[Record], rest: bytes) -> None:
    found = decode(segment(written) + rest)
    assert found.records == written
    assert found.problem


def test_batches_out_of_order_end_the_belief() -> None:
    one, two = Record(7, 1, 0, b"a"), Record(7, 2, 0, b"b")
    found = decode(segment([one, two]))
    assert found.records == [one]
    assert found.problem == "batch 7 comes after 7"


def test_a_length_beyond_any_batch_is_damage_and_no_allocation() -> None:
    whole = bytearray(segment([Record(1, 1, 0, b"abc")]))
    whole[HEAD_BYTES + 20 : HEAD_BYTES + 24] = (BATCH_BYTES_MAX + 1).to_bytes(4, "little")
    assert decode(bytes(whole)).problem == f"damaged at byte {HEAD_BYTES}"
