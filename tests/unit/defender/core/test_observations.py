"""Between loop and daemon: what goes in comes out, and nothing else is taken."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.limits import REPORT_FLOWS_MAX, REPORT_SOUGHT_MAX
from cnnf.defender.core.observations import (
    Cgroups,
    Confirm,
    Endpoints,
    Looked,
    Order,
    Prepare,
    Report,
    Room,
    Seen,
    Use,
    decode_order,
    decode_report,
    encode,
)

number = st.integers(0, 2**63 - 1)
port = st.integers(0, 65_535)
address = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16) | st.just(b"")
seen = st.builds(
    Seen, st.integers(0, 4), st.sampled_from([6, 17]), address, address, port, number, number,
    st.integers(0, 2), st.integers(-1, 65_535), st.integers(-1, 2**32 - 1), port,
    number, number, number,
)  # fmt: skip
candidates = st.lists(number, max_size=3)
pairs = st.lists(st.tuples(number, number), max_size=4)
orders = st.one_of(
    st.builds(Use, number),
    st.builds(Prepare, number),
    st.builds(Cgroups, pairs, candidates),
    st.builds(Looked, number, pairs),
    st.builds(
        Endpoints,
        st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=3),
        st.lists(st.tuples(address, candidates), max_size=3),
        st.lists(address, max_size=3),
        st.none() | st.lists(st.tuples(port, address, number, port), max_size=3),
        st.none() | st.lists(address, max_size=3),
        st.lists(st.tuples(address, port, port, candidates, port), max_size=3),
        st.lists(st.tuples(address, port, port), max_size=3),
        st.lists(st.tuples(address, address, number), max_size=3),
        st.lists(st.tuples(address, address), max_size=3),
    ),
    st.builds(Room, number, st.lists(address, max_size=3)),
    st.builds(Confirm, number),
)


@given(
    st.builds(
        Report, st.integers(-1, 2**40), number, st.lists(seen, max_size=5),
        number, number, number, number, number, number,
        st.lists(st.tuples(address, port, port), max_size=3), number,
    )
)  # fmt: skip
def test_a_report_survives(report: Report) -> None:
    assert decode_report(encode(report)) == report


@given(orders)
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
    report = encode(Report(9, 1, [], 2, 3, 4, 5))
    with pytest.raises(msgspec.DecodeError):
        decode_order(report)
    order = encode(Cgroups([(1, 2)], [3]))
    for data, decode in ((report, decode_report), (order, decode_order)):
        for length in range(len(data)):
            with pytest.raises(msgspec.DecodeError):
                decode(data[:length])


def test_the_largest_report_fits_into_one_record() -> None:
    big = 2**53
    flow = Seen(
        3, 17, bytes(16), bytes(16), 65_535, big, 2**32, 2, 65_535, 2**32, 65_535, big, big, big
    )  # fmt: skip
    sought = [(bytes(16), 65_535, 17)] * REPORT_SOUGHT_MAX
    # Half of the default socket buffer (net.core.wmem_default, 208 KiB): the kernel counts double.
    assert (
        len(
            encode(
                Report(
                    big, big, [flow] * REPORT_FLOWS_MAX, big, big, big, big, big, big, sought, big
                )
            )
        )
        < 104 * 1024
    )
