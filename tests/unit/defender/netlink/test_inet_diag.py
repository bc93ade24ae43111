"""inet_diag: questions laid out as the header says, sockets out of any answer."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import inet_diag
from cnnf.defender.netlink.errors import NetlinkError, Truncated
from cnnf.defender.netlink.messages import attribute, attributes, messages

A4, B4 = ip_address("10.78.1.2").packed, ip_address("10.78.2.3").packed
A6, B6 = ip_address("fd00:78::2").packed, ip_address("fd00:78::3").packed
NO_COOKIE = b"\xff" * 8


def answer(
    family: int,
    source: bytes,
    destination: bytes,
    *parts: bytes,
    state: int = 1,
    bound: bytes = bytes(12),
) -> bytes:
    """struct inet_diag_msg with uid 33 and inode 4711, then attributes.

    `bound` is the interface and the cookie.
    """
    return (
        struct.pack("=BBBB", family, state, 0, 0)
        + struct.pack(">HH", 40_000, 443)
        + source.ljust(16, b"\0")
        + destination.ljust(16, b"\0")
        + bound
        + struct.pack("=IIIII", 0, 0, 0, 33, 4711)
        + b"".join(parts)
    )


def cgroup(number: int) -> bytes:
    """INET_DIAG_CGROUP_ID, in the machine's byte order."""
    return attribute(21, struct.pack("=Q", number))


@pytest.mark.parametrize(("source", "destination", "family"), [(A4, B4, 2), (A6, B6, 10)])
def test_exact_question_is_struct_inet_diag_req_v2(
    source: bytes, destination: bytes, family: int
) -> None:
    ((kind, flags, sequence, body),) = messages(
        inet_diag.exact(6, source, 40_000, destination, 443, device=3)
    )
    assert (kind, flags, sequence) == (20, 1, 6)
    assert struct.unpack("=BBBBI", body[:8]) == (family, 6, 0, 0, 0xFFFFFFFF)
    assert struct.unpack(">HH", body[8:12]) == (40_000, 443)
    assert body[12:28] == source.ljust(16, b"\0")
    assert body[28:44] == destination.ljust(16, b"\0")
    assert struct.unpack("=I", body[44:48]) == (3,)
    assert body[48:] == NO_COOKIE


def test_exact_question_for_udp_has_its_ends_swapped() -> None:
    ((_, _, _, body),) = messages(inet_diag.exact(6, A4, 40_000, B4, 53, protocol=17))
    assert struct.unpack("=BBBBI", body[:8]) == (2, 17, 0, 0, 0xFFFFFFFF)
    assert struct.unpack(">HH", body[8:12]) == (53, 40_000)
    assert body[12:44] == B4.ljust(16, b"\0") + A4.ljust(16, b"\0")
    assert len(body) == 56


def test_dump_asks_for_states() -> None:
    states = 1 << inet_diag.TCP_ESTABLISHED | 1 << inet_diag.TCP_LISTEN
    ((kind, flags, _, body),) = messages(inet_diag.dump(7, inet_diag.AF_INET6, states))
    assert (kind, flags) == (20, 1 | 0x300)
    assert struct.unpack("=BBBBI", body[:8]) == (10, 6, 0, 0, 0x402)
    assert body[8:48] == bytes(40)
    assert len(body) == 56


def test_the_port_filter_accepts_its_port_and_rejects_others() -> None:
    ((_, _, _, body),) = messages(inet_diag.dump_by_source_port(8, 2, 1 << 2, 40_000))
    ((kind, bytecode),) = attributes(body, 56)
    assert kind == 1
    assert _run(bytecode, source_port=40_000)
    assert not _run(bytecode, source_port=40_001)


def _run(bytecode: bytes, *, source_port: int) -> bool:
    """What the kernel's `inet_diag_bc_run` does with a comparison of the source port."""
    at, left = 0, len(bytecode)
    while left > 0:
        code, yes, no = struct.unpack_from("=BBH", bytecode, at)
        assert code == 11
        (_, _, port) = struct.unpack_from("=BBH", bytecode, at + 4)
        # `inet_diag_bc_audit` refuses steps below eight bytes or more than four past the end.
        assert all(8 <= step <= left + 4 and step % 4 == 0 for step in (yes, no))
        step = yes if port == source_port else no
        at, left = at + step, left - step
    return left == 0


def test_an_ipv4_socket_is_decoded() -> None:
    assert inet_diag.decode_socket(answer(2, A4, B4, cgroup(2**40 + 5), state=2)) == (
        inet_diag.Socket(2, A4, 40_000, B4, 443, 33, 4711, 2**40 + 5)
    )


def test_an_ipv6_socket_is_decoded_without_its_cgroup() -> None:
    found = inet_diag.decode_socket(answer(10, A6, B6))
    assert (found.source, found.destination, found.cgroup) == (A6, B6, 0)


@pytest.mark.parametrize(("family", "source", "other"), [(2, A4, B4), (10, A6, B6)])
@pytest.mark.parametrize("protocol", [inet_diag.TCP, inet_diag.UDP])
def test_a_socket_is_destroyed_by_all_that_the_kernel_said_of_it(
    family: int, source: bytes, other: bytes, protocol: int
) -> None:
    bound = struct.pack("=III", 7, 0xAABBCCDD, 3)
    data = answer(family, source, other, bound=bound)
    found = inet_diag.decode_socket(data)
    assert (found.device, found.cookie) == (7, 3 << 32 | 0xAABBCCDD)
    ((kind, flags, sequence, body),) = messages(inet_diag.destroy(5, found, protocol))
    assert (kind, flags, sequence) == (21, 1 | 4, 5)
    assert struct.unpack("=BBBBI", body[:8]) == (family, protocol, 0, 0, 0xFFFFFFFF)
    # struct inet_diag_sockid, as it came.
    assert body[8:] == data[4:52]


def test_a_socket_without_cookie_is_not_destroyed() -> None:
    with pytest.raises(ValueError, match="cookie"):
        inet_diag.destroy(5, inet_diag.decode_socket(answer(2, A4, B4)))


def test_other_attributes_are_passed_by() -> None:
    parts = attribute(8, b"\7"), attribute(21, b"1234"), attribute(15, bytes(4)), cgroup(9)
    assert inet_diag.decode_socket(answer(2, A4, B4, *parts)).cgroup == 9


@pytest.mark.parametrize("size", [0, 3, 13, 0xFFFF])
def test_an_attribute_length_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(Truncated):
        inet_diag.decode_socket(answer(2, A4, B4) + struct.pack("=HH", size, 21) + bytes(8))


def test_every_truncation_is_refused_or_lacks_the_cgroup() -> None:
    data = answer(2, A4, B4, cgroup(9))
    for length in range(72):
        with pytest.raises(Truncated):
            inet_diag.decode_socket(data[:length])
    for length in range(72, len(data)):
        try:
            found = inet_diag.decode_socket(data[:length])
        except NetlinkError:
            continue
        assert found.cgroup == 0


@given(st.binary(max_size=300))
def test_any_bytes_give_a_socket_or_an_error(data: bytes) -> None:
    for payload in (data, answer(2, A4, B4) + data):
        try:
            found = inet_diag.decode_socket(payload)
        except NetlinkError:
            continue
        assert len(found.source) == len(found.destination) in (4, 16)
