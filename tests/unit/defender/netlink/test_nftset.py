"""nft sets by netlink dump: keys and counters, whatever else an element carries."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import nftset
from cnnf.defender.netlink.errors import NetlinkError, Truncated
from cnnf.defender.netlink.messages import attribute, attributes, messages, nested
from cnnf.defender.netlink.nftset import Element

NFGEN = struct.pack(">BBH", 1, 0, 0)


def counter(packets: int, octets: int = 60) -> bytes:
    """A counter expression's attributes, in the kernel's order: bytes before packets."""
    numbers = attribute(1, octets.to_bytes(8, "big")), attribute(2, packets.to_bytes(8, "big"))
    return attribute(1, b"counter\0") + nested(2, *numbers)


def element(key: bytes, *parts: bytes) -> bytes:
    """One element of the list."""
    return nested(1, nested(1, attribute(1, key)), *parts)


def answer(*elements: bytes) -> bytes:
    """The payload of one message of a dump."""
    return NFGEN + attribute(1, b"cnnf\0") + attribute(2, b"count4_0\0") + nested(3, *elements)


def test_dump_asks_for_one_set_of_one_inet_table() -> None:
    ((kind, flags, sequence, payload),) = messages(nftset.dump(5, "cnnf", "count4_0"))
    assert (kind, flags, sequence) == (0x0A0D, 1 | 0x300, 5)
    assert payload[:4] == NFGEN
    assert list(attributes(payload, 4)) == [(1, b"cnnf\0"), (2, b"count4_0\0")]


def test_elements_come_with_their_counters() -> None:
    payload = answer(
        element(b"a" * 12, nested(7, counter(3))),
        # Several expressions: the counter is wherever it is.
        element(b"b" * 12, nested(11, nested(1, attribute(1, b"last\0")), nested(1, counter(9)))),
        element(b"c" * 12),
        # Timeouts, flags and user data are passed by.
        element(b"d" * 12, attribute(4, bytes(8)), attribute(6, b"x"), nested(7, counter(2**40))),
    )
    assert list(nftset.decode_elements(payload)) == [
        Element(b"a" * 12, 3),
        Element(b"b" * 12, 9),
        Element(b"c" * 12, 0),
        Element(b"d" * 12, 2**40),
    ]


def test_another_expression_is_no_counter() -> None:
    other = attribute(1, b"quota\0") + nested(2, attribute(2, bytes(8)))
    odd = attribute(1, b"counter\0") + nested(2, attribute(2, b"\1\1\1\1"))
    payload = answer(element(b"k", nested(7, other)), element(b"l", nested(7, odd)))
    assert [found.packets for found in nftset.decode_elements(payload)] == [0, 0]


def test_an_answer_without_elements_is_empty() -> None:
    assert list(nftset.decode_elements(NFGEN + attribute(1, b"cnnf\0"))) == []
    assert list(nftset.decode_elements(b"")) == []


def test_an_element_without_a_key_is_refused() -> None:
    with pytest.raises(Truncated, match="without a key"):
        list(nftset.decode_elements(answer(nested(1, nested(7, counter(1))))))


def test_every_truncation_is_refused_or_shorter() -> None:
    data = answer(element(b"a" * 12, nested(7, counter(3))))
    for length in range(5, len(data)):
        try:
            found = list(nftset.decode_elements(data[:length]))
        except NetlinkError:
            continue
        assert found == []


pieces = st.recursive(
    st.binary(max_size=20) | st.sampled_from([counter(1), b"counter\0"]),
    lambda inner: st.builds(
        lambda kind, parts: nested(kind, *parts), st.integers(0, 12), st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(pieces, max_size=5))
def test_nested_nonsense_gives_elements_or_an_error(parts: list[bytes]) -> None:
    for payload in (NFGEN + b"".join(parts), answer(*parts), answer(element(b"k", *parts))):
        try:
            found = list(nftset.decode_elements(payload))
        except NetlinkError:
            continue
        assert all(one.key and 0 <= one.packets < 2**64 for one in found)


keys = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
numbers = st.integers(0, 2**64 - 1)
TIMEOUT = attribute(4, bytes(8))
usual = st.builds(lambda key, n, m: element(key, nested(7, counter(n, m))), keys, numbers, numbers)


def quota(packets: int) -> bytes:
    """As long as a counter, and another thing."""
    return counter(packets).replace(b"counter", b"quota\0\0")


unusual = st.one_of(
    st.builds(element, keys),
    *(
        st.builds(form, keys, numbers)
        for form in (
            lambda key, n: element(key, nested(7, counter(n)), TIMEOUT),
            lambda key, n: element(key, TIMEOUT, nested(7, counter(n))),
            lambda key, n: element(key, nested(11, nested(1, counter(n)))),
            lambda key, n: element(key, nested(7, quota(n))),
            lambda key, n: nested(1, nested(7, counter(n)), nested(1, attribute(1, key))),
        )
    ),
)


@given(st.lists(usual, max_size=6), st.lists(usual | unusual, max_size=6))
def test_elements_read_alike_are_as_if_read_one_by_one(
    some: list[bytes], more: list[bytes]
) -> None:
    """They are read by the first one's form; behind one without a counter each by itself."""
    for elements in (some, [*some, *more], [*more, *some]):
        plain = element(b"plain")
        one_by_one = list(nftset.decode_elements(answer(plain, *elements)))
        assert one_by_one[0] == Element(b"plain", 0)
        assert list(nftset.decode_elements(answer(*elements))) == one_by_one[1:]


def test_what_stands_before_an_element_is_no_part_of_it() -> None:
    alike = element(bytes(4), nested(7, counter(0, 0)))
    other = alike[:2] + b"\0" + alike[3:]
    assert list(nftset.decode_elements(answer(other, alike))) == 2 * [Element(bytes(4), 0)]


@given(st.lists(usual, min_size=1, max_size=3), st.data())
def test_a_changed_byte_is_read_as_if_one_by_one(some: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(some))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))

    def read(elements: bytes) -> list[Element] | None:
        try:
            return list(nftset.decode_elements(answer(elements)))
        except NetlinkError:
            return None

    one_by_one = read(element(b"plain") + bytes(whole))
    assert read(bytes(whole)) == (None if one_by_one is None else one_by_one[1:])


@given(st.binary(max_size=200))
def test_any_bytes_give_elements_or_an_error(data: bytes) -> None:
    for payload in (data, NFGEN + data, answer(data), answer(element(data))):
        try:
            list(nftset.decode_elements(payload))
        except NetlinkError:
            continue
