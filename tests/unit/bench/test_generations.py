import errno
import struct

import pytest
from bench.generations import Burst, bursts, generation_in
from hypothesis import given
from hypothesis import strategies as st


def _answer(number: int, *, before: bytes = b"") -> bytes:
    body = before + struct.pack("=HH", 8, 1) + struct.pack(">I", number)
    return struct.pack("=IHHIIBBH", 20 + len(body), 10 << 8 | 15, 0, 1, 0, 0, 0, 0) + body


def test_changes_close_together_are_one_burst() -> None:
    changes = [(10.0, 1), (10.4, 2), (20.0, 1), (20.9, 1), (21.8, 1), (40.0, 3)]
    assert bursts(changes, 1.0) == [
        Burst(began=10.0, ended=10.4, transactions=3),
        Burst(began=20.0, ended=21.8, transactions=3),
        Burst(began=40.0, ended=40.0, transactions=3),
    ]
    assert bursts([], 1.0) == []


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_the_generation_is_found_among_other_attributes(number: int) -> None:
    name = struct.pack("=HH", 7, 3) + b"nft\0"
    assert generation_in(_answer(number)) == number
    assert generation_in(_answer(number, before=name)) == number


def test_a_refusal_is_an_error_of_the_kernel() -> None:
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -errno.EPERM) + bytes(16)
    with pytest.raises(PermissionError, match="nft generation"):
        generation_in(refusal)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_answer_are_refused(message: bytes) -> None:
    try:
        number = generation_in(message)
    except (ValueError, OSError):
        return
    assert 0 <= number < 2**32


@given(st.integers(min_value=0, max_value=27))
def test_a_cut_answer_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"bytes|without"):
        generation_in(_answer(7)[:length])
