"""Between loop and daemon: what goes in comes out, and nothing else is taken."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.limits import REPORT_FLOWS_MAX
from cnnf.defender.core.observations import (
    Order,
    Report,
    Seen,
    decode_order,
    decode_report,
    encode,
)

number = st.integers(0, 2**63 - 1)
address = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16) | st.just(b"")
seen = st.builds(
    Seen, number, address, address, st.integers(0, 65_535), number, number,
    st.integers(-1, 2**32 - 1), st.integers(0, 65_535), number, number, number,
)  # fmt: skip


@given(
    st.builds(
        Report, st.integers(-1, 2**40), st.lists(seen, max_size=5), number, number, number, number
    )
)
def test_a_report_survives(report: Report) -> None:
    assert decode_report(encode(report)) == report


@given(st.builds(Order, number, st.lists(number, max_size=5), st.lists(number, max_size=5), number))
def test_an_order_survives(order: Order) -> None:
    assert decode_order(encode(order)) == order


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    for decode in (decode_report, decode_order):
        try:
            decode(data)
        except msgspec.DecodeError:
            continue


def test_a_report_is_no_order_and_neither_may_be_cut() -> None:
    report = encode(Report(1, [], 2, 3, 4))
    with pytest.raises(msgspec.DecodeError):
        decode_order(report)
    order = encode(Order(1, [2], [3], 4))
    for data, decode in ((report, decode_report), (order, decode_order)):
        for length in range(len(data)):
            with pytest.raises(msgspec.DecodeError):
                decode(data[:length])


def test_the_largest_report_fits_into_one_record() -> None:
    big = 2**53
    flow = Seen(3, bytes(16), bytes(16), 65_535, big, big, 2**32, 65_535, big, big, big)
    # Half of the default socket buffer (net.core.wmem_default, 208 KiB): the kernel counts double.
    assert len(encode(Report(big, [flow] * REPORT_FLOWS_MAX, big, big, big, big))) < 104 * 1024
