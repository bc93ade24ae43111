"""DNS answers to addresses: right ones, lying ones, endless ones."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink.dns import (
    NAME_CHARS_MAX,
    RECORDS_MAX,
    A,
    Asked,
    Message,
    decode,
)
from cnnf.defender.netlink.errors import NetlinkError, Truncated, Unexpected
from tests.lab.dns import (
    AAAA,
    ASKED,
    CNAME,
    address,
    answer,
    name,
    query,
    question,
    record,
)

V4, V4_TOO = bytes([203, 0, 113, 7]), bytes([203, 0, 113, 8])
V6 = bytes.fromhex("20010db8000000000000000000000007")


def told(data: bytes) -> Message:
    found = decode(data)
    assert found is not None
    return found


def test_a_query_is_what_it_asks() -> None:
    assert told(query("Api.Pay.EXAMPLE", number=4711)) == Message(
        Asked(4711, "api.pay.example", A), is_answer=False
    )


def test_addresses_of_the_asked_name_with_their_times() -> None:
    records = [address(ASKED, "203.0.113.7", 60), address("API.example", "203.0.113.8", 5)]
    found = told(answer("api.example", records))
    assert found == Message(Asked(1, "api.example", A), True, ((V4, 60), (V4_TOO, 5)))


def test_ipv6() -> None:
    found = told(answer("api.example", [address(ASKED, "2001:db8::7")], AAAA))
    assert found.addresses == ((V6, 60),)


def test_aliases_lead_to_the_asked_name_in_any_order_with_the_shortest_time() -> None:
    records = [
        address("edge.cdn.example", "203.0.113.7", 300),
        record("www.cdn.example", CNAME, name("edge.cdn.example"), 20),
        record(ASKED, CNAME, name("www.cdn.example"), 3600),
    ]
    found = told(answer("api.example", records))
    assert found.asked.name == "api.example"
    assert found.addresses == ((V4, 20),)


def test_what_the_asked_name_does_not_lead_to_is_not_told() -> None:
    """A server can't slip in an address for another name."""
    records = [address("bank.example", "203.0.113.8"), address(ASKED, "203.0.113.7")]
    assert told(answer("api.example", records)).addresses == ((V4, 60),)


def test_aliases_in_a_circle_end() -> None:
    records = [
        record(ASKED, CNAME, name("b.example")),
        record("b.example", CNAME, name("api.example")),
    ]
    assert told(answer("api.example", records)).addresses == ()


def test_an_error_and_another_type_tell_nothing() -> None:
    records = [address(ASKED, "203.0.113.7")]
    assert told(answer("api.example", records, flags=0x8183)).addresses == ()
    assert told(answer("api.example", records, 16)).addresses == ()
    assert told(answer("api.example", records, AAAA)).addresses == ()


def test_a_negative_time_is_none() -> None:
    """RFC 2181, section 8."""
    records = [address(ASKED, "203.0.113.7", 0x80000001)]
    assert told(answer("api.example", records)).addresses == ((V4, 0),)


def test_other_operations_are_nothing_of_ours() -> None:
    assert decode(answer("api.example", [], flags=0xA800)) is None
    assert decode(struct.pack(">HHHHHH", 1, 0, 0, 0, 0, 0)) is None


def test_a_cut_answer_tells_what_is_there() -> None:
    data = answer("api.example", [address(ASKED, "203.0.113.7")], flags=0x8380, count=9)
    assert told(data) == Message(Asked(1, "api.example", A), True, ((V4, 60),), shortened=True)
    with pytest.raises(Truncated):
        decode(answer("api.example", [address(ASKED, "203.0.113.7")], count=9))


def test_records_beyond_the_bound_are_left() -> None:
    records = [address(ASKED, f"203.0.{at >> 8}.{at & 255}") for at in range(RECORDS_MAX + 10)]
    found = told(answer("api.example", records))
    assert len(found.addresses) == RECORDS_MAX
    assert found.shortened


@pytest.mark.parametrize(
    "owner",
    [
        b"\xc0\x1d",  # itself
        b"\xc0\xff",  # what comes later
        b"\xc0\x04",  # the header
        b"\xff\xff",  # beyond the end
    ],
)
def test_pointers_that_lead_nowhere(owner: bytes) -> None:
    with pytest.raises(Unexpected):
        decode(answer("api.example", [address(owner, "203.0.113.7")]))


def test_pointers_in_a_circle_end() -> None:
    # A label, then a pointer to it, behind a record that another one's name points into.
    at = 12 + len(question("api.example")) + 12
    circle = record(ASKED, 16, struct.pack(">BcH", 1, b"a", 0xC000 | at))
    with pytest.raises(Unexpected):
        decode(answer("api.example", [circle, address(struct.pack(">H", 0xC000 | at), "10.0.0.1")]))
    itself = record(ASKED, 16, struct.pack(">H", 0xC000 | at))
    with pytest.raises(Unexpected):
        decode(answer("api.example", [itself, address(struct.pack(">H", 0xC000 | at), "10.0.0.1")]))


def test_names_beyond_their_length() -> None:
    long = ".".join(["a" * 63] * 4)
    with pytest.raises(Unexpected):
        decode(query(long))
    assert told(query(long[2:])).asked.name == long[2:]
    with pytest.raises(Unexpected):
        # Short on the wire, long as text.
        decode(query("\x01" * 63 + "." + "\x01" * 40))


def test_unknown_kinds_of_labels() -> None:
    with pytest.raises(Unexpected):
        decode(struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0) + b"\x41a\0" + bytes(4))


def test_what_can_draw_is_written_as_numbers() -> None:
    head = struct.pack(">HHHHHH", 1, 0, 1, 0, 0, 0)
    label = b"<b>\x1b[0m.\xff"
    data = head + bytes([len(label)]) + label + b"\0" + struct.pack(">HH", 1, 1)
    assert told(data).asked.name == "\\060b\\062\\027\\0910m\\046\\255"


def test_the_most_costly_message_is_read_at_once() -> None:
    """Names that each begin within the one before: every label is read once, not once a name."""
    text = name(".".join("a" * 120))
    records = [record(ASKED, 16, text)]
    begin = 12 + len(question("x.example")) + 12
    for at in range(RECORDS_MAX - 1):
        pointer = struct.pack(">H", 0xC000 | begin + 2 * (at % 119))
        records.append(record(ASKED, CNAME, b"\1b" + pointer))
    data = answer("x.example", records)
    started = time.process_time()
    told(data)
    assert time.process_time() - started < 0.05


def test_a_message_of_nothing_but_labels_is_not_read_to_its_end() -> None:
    records = [record(ASKED, CNAME, name(".".join("a" * 100))) for _ in range(20)]
    with pytest.raises(Unexpected):
        decode(answer("x.example", records))
    assert told(answer("x.example", records[:4])).addresses == ()


def test_a_chain_of_pointers_is_not_followed_for_ever() -> None:
    begin = 12 + len(question("x.example")) + 12
    chain = [b"\xc0\x0c", *(struct.pack(">H", 0xC000 | begin + 2 * at) for at in range(100))]
    records = [record(ASKED, 16, b"".join(chain))]
    with pytest.raises(Unexpected):
        decode(answer("x.example", [*records, address(chain[-1], "203.0.113.7")]))
    found = told(answer("x.example", [*records, address(chain[20], "203.0.113.7")]))
    assert found.addresses == ((V4, 60),)


hosts = st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,5}", fullmatch=True)


@given(hosts, st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 2**31 - 1)), max_size=20))
def test_whatever_is_told_comes_back(host: str, given_records: list[tuple[object, int]]) -> None:
    records = [address(ASKED, str(one), seconds) for one, seconds in given_records]
    found = told(answer(host, records))
    assert found.asked.name == host
    assert [(str(one), seconds) for one, seconds in given_records] == [
        (".".join(map(str, packed)), seconds) for packed, seconds in found.addresses
    ]


@given(st.binary(max_size=200), st.integers(0, 3))
def test_noise_is_refused_or_bounded(tail: bytes, kind: int) -> None:
    head = struct.pack(">HHHHHH", 1, (0, 0x8180, 0x8380, 0x8000)[kind], 1, 40, 0, 0)
    try:
        found = decode(head + tail)
    except NetlinkError:
        return
    if found is not None:
        text = found.asked.name
        assert len(text) <= NAME_CHARS_MAX
        assert text.isascii()
        assert text.isprintable()
