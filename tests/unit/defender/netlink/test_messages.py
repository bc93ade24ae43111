"""Netlink framing: what is packed comes apart again, and nothing reads past its buffer."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import messages as framing
from cnnf.defender.netlink.errors import (
    Interrupted,
    KernelRefused,
    NetlinkError,
    Truncated,
    Unexpected,
)

values = st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8)


def test_header_is_that_of_linux_netlink_h() -> None:
    data = framing.message(0x301, 0x5, 7, b"abc")
    assert struct.unpack("=IHHII", data[:16]) == (19, 0x301, 0x5, 7, 0)
    assert data[16:] == b"abc"


def test_attribute_is_padded_but_its_length_is_not() -> None:
    data = framing.attribute(9, b"abcde")
    assert struct.unpack("=HH", data[:4]) == (9, 9)
    assert data[4:] == b"abcde\0\0\0"


def test_nested_attribute_carries_the_flag() -> None:
    inner = framing.attribute(1, b"x")
    data = framing.nested(5, inner, inner)
    assert struct.unpack("=HH", data[:4]) == (4 + 16, 0x8005)
    assert list(framing.attributes(data)) == [(5, inner + inner)]


@pytest.mark.parametrize(("length", "aligned"), [(0, 0), (1, 4), (4, 4), (5, 8), (7, 8)])
def test_lengths_are_aligned_to_four(length: int, aligned: int) -> None:
    assert framing.align(length) == aligned


@given(values)
def test_attributes_come_apart_as_they_were_put_together(parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(framing.attribute(kind, value) for kind, value in parts)
    assert list(framing.attributes(data)) == parts


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=6))
def test_messages_come_apart_as_they_were_put_together(parts: list[tuple[int, bytes]]) -> None:
    whole = [framing.message(kind, 2, at, payload) for at, (kind, payload) in enumerate(parts)]
    data = b"".join(one + bytes(framing.align(len(one)) - len(one)) for one in whole)
    found = list(framing.messages(data))
    assert found == [(kind, 2, at, payload) for at, (kind, payload) in enumerate(parts)]


@pytest.mark.parametrize("length", [0, 3, 15, 41, 0xFFFFFFFF])
def test_a_message_length_that_does_not_fit_is_refused(length: int) -> None:
    data = struct.pack("=IHHII", length, 3, 0, 0, 0) + bytes(24)
    with pytest.raises(Truncated):
        list(framing.messages(data))


@pytest.mark.parametrize("length", [0, 1, 3, 9, 0xFFFF])
def test_an_attribute_length_that_does_not_fit_is_refused(length: int) -> None:
    with pytest.raises(Truncated):
        list(framing.attributes(struct.pack("=HH", length, 1) + bytes(4)))


@given(st.binary(max_size=300), st.integers(0, 20))
def test_any_bytes_end_or_are_refused(data: bytes, offset: int) -> None:
    for read in (lambda: list(framing.messages(data)), lambda: framing.attributes(data, offset)):
        try:
            found = list(read())
        except NetlinkError:
            continue
        assert len(found) <= len(data) // 4 + 1


def test_only_an_error_answer_with_a_code_is_an_error() -> None:
    framing.raise_if_error("asking", framing.NLMSG_DONE, b"")
    framing.raise_if_error("asking", framing.NLMSG_ERROR, struct.pack("=i", 0) + bytes(16))
    with pytest.raises(KernelRefused, match="asking: ENOENT") as refused:
        framing.raise_if_error("asking", framing.NLMSG_ERROR, struct.pack("=i", -errno.ENOENT))
    assert refused.value.errno == errno.ENOENT
    with pytest.raises(KernelRefused, match="asking: 524"):
        framing.raise_if_error("asking", framing.NLMSG_ERROR, struct.pack("=i", -524))
    with pytest.raises(Truncated):
        framing.raise_if_error("asking", framing.NLMSG_ERROR, b"\0\0")


def test_a_dump_may_fail_at_its_end() -> None:
    # An older kernel's DONE has no number, others' may be positive.
    for payload in (b"", b"\0\0", struct.pack("=i", 0), struct.pack("=i", 5)):
        framing.raise_if_failed("dumping", payload)
    with pytest.raises(KernelRefused, match="dumping: ENOENT"):
        framing.raise_if_failed("dumping", struct.pack("=i", -errno.ENOENT))
    with pytest.raises(Interrupted):
        framing.raise_if_failed("dumping", struct.pack("=i", -errno.EINTR))


def test_every_error_is_a_netlink_error() -> None:
    assert issubclass(Truncated, NetlinkError)
    assert issubclass(Unexpected, NetlinkError)
    assert issubclass(Interrupted, NetlinkError)
    assert issubclass(KernelRefused, NetlinkError)
