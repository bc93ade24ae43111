"""ctnetlink: tracked TCP connections, both directions, out of any answer."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.netlink import conntrack
from cnnf.defender.netlink.conntrack import Ends, Tracked
from cnnf.defender.netlink.errors import NetlinkError, Truncated
from cnnf.defender.netlink.messages import attribute, attributes, messages, nested

NFGEN = struct.pack(">BBH", 2, 0, 0)
CLIENT, HOST, SERVER = (ip_address(f"10.78.1.{last}").packed for last in (2, 3, 4))
CLIENT6, SERVER6 = (ip_address(f"fd00:78::{last}").packed for last in (2, 4))


def ends(
    kind: int, source: bytes, source_port: int, target: bytes, port: int, proto: int = 6
) -> bytes:
    """CTA_TUPLE_ORIG (1) or CTA_TUPLE_REPLY (2)."""
    v6 = len(source) == 16
    addresses = nested(1, attribute(3 if v6 else 1, source), attribute(4 if v6 else 2, target))
    numbers = nested(
        2,
        attribute(1, bytes([proto])),
        attribute(2, struct.pack(">H", source_port)),
        attribute(3, struct.pack(">H", port)),
    )
    return nested(kind, addresses, numbers)


def state(number: int) -> bytes:
    """CTA_PROTOINFO with the TCP state among its other attributes."""
    return nested(4, nested(1, attribute(1, bytes([number])), attribute(2, b"\7")))


ORIGINAL = ends(1, CLIENT, 40_000, HOST, 8080)
REPLY = ends(2, SERVER, 80, CLIENT, 40_000)


@pytest.mark.parametrize("family", [2, 10])
def test_dump_asks_for_a_family(family: int) -> None:
    ((kind, flags, sequence, payload),) = messages(conntrack.dump(4, family))
    assert (kind, flags, sequence) == (0x0101, 1 | 0x300, 4)
    assert payload == struct.pack(">BBH", family, 0, 0)


def test_both_directions_and_the_state_are_decoded() -> None:
    payload = NFGEN + attribute(3, bytes(4)) + ORIGINAL + REPLY + state(3) + attribute(8, bytes(4))
    assert conntrack.decode_tracked(payload) == Tracked(
        Ends(CLIENT, 40_000, HOST, 8080), Ends(SERVER, 80, CLIENT, 40_000), 3
    )


def test_id_and_zone_are_decoded() -> None:
    parts = attribute(12, b"\0\0\1\0"), attribute(18, b"\0\5")
    found = conntrack.decode_tracked(NFGEN + ORIGINAL + REPLY + state(3) + b"".join(parts))
    assert found is not None
    assert (found.id, found.zone, found.protocol) == (256, 5, 6)


def test_udp_is_decoded_where_it_is_asked_for() -> None:
    payload = NFGEN + ends(1, CLIENT, 1, SERVER, 2, 17) + ends(2, SERVER, 2, CLIENT, 1, 17)
    assert conntrack.decode_tracked(payload) is None
    assert conntrack.decode_tracked(payload, conntrack.UDP) == Tracked(
        Ends(CLIENT, 1, SERVER, 2), Ends(SERVER, 2, CLIENT, 1), 0, 17
    )
    assert conntrack.decode_tracked(NFGEN + ORIGINAL + REPLY + state(3), conntrack.UDP) is None


@pytest.mark.parametrize(("source", "target"), [(CLIENT, SERVER), (CLIENT6, SERVER6)])
@pytest.mark.parametrize("protocol", [6, 17])
def test_an_entry_is_named_as_it_was_told(source: bytes, target: bytes, protocol: int) -> None:
    there, back = Ends(source, 1, target, 2), Ends(target, 2, source, 1)
    entry = Tracked(there, back, 3, protocol, id=0x01020304, zone=9)
    ((kind, flags, sequence, payload),) = messages(conntrack.delete(6, entry))
    assert (kind, flags, sequence) == (0x0102, 1 | 4, 6)
    assert payload[0] == (2 if len(source) == 4 else 10)
    assert payload[4:] == (
        ends(1, source, 1, target, 2, protocol)
        + attribute(18, b"\0\x09")
        + attribute(12, b"\1\2\3\4")
    )
    # Without zone and id, these are left out.
    ((_, _, _, payload),) = messages(conntrack.delete(6, entry._replace(id=0, zone=0)))
    assert payload[4:] == ends(1, source, 1, target, 2, protocol)


def test_a_mark_is_set_within_a_mask_and_makes_no_entry() -> None:
    entry = Tracked(Ends(CLIENT, 1, SERVER, 2), Ends(SERVER, 2, CLIENT, 1), 3)
    ((kind, flags, _, payload),) = messages(conntrack.set_mark(6, entry, 0x1000, 0x3C00))
    # IPCTNL_MSG_CT_NEW without NLM_F_CREATE (0x400).
    assert (kind, flags) == (0x0100, 1 | 4)
    found = dict(attributes(payload, 4))
    assert (found[8], found[21]) == (b"\0\0\x10\0", b"\0\0\x3c\0")


def test_ipv6_is_decoded() -> None:
    original, reply = ends(1, CLIENT6, 1, SERVER6, 2), ends(2, SERVER6, 2, CLIENT6, 1)
    found = conntrack.decode_tracked(NFGEN + original + reply + state(3))
    assert found is not None
    assert found.original == Ends(CLIENT6, 1, SERVER6, 2)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        NFGEN,
        NFGEN + ORIGINAL + state(3),
        NFGEN + REPLY + state(3),
        NFGEN + ORIGINAL + REPLY,
        NFGEN + ORIGINAL + REPLY + nested(4, nested(2, attribute(1, b"\3"))),
        NFGEN + ends(1, CLIENT, 1, SERVER, 2, 17) + ends(2, SERVER, 2, CLIENT, 1, 17) + state(3),
        NFGEN + nested(1) + nested(2) + state(3),
        NFGEN + nested(1, nested(1, attribute(1, CLIENT), attribute(2, HOST))) + REPLY + state(3),
    ],
)
def test_what_is_no_whole_tcp_connection_is_none(payload: bytes) -> None:
    assert conntrack.decode_tracked(payload) is None


@pytest.mark.parametrize(("source", "target"), [(b"abc", b"abc"), (CLIENT, CLIENT6), (b"a", b"b")])
def test_addresses_of_odd_lengths_are_refused(source: bytes, target: bytes) -> None:
    odd = nested(
        1,
        nested(1, attribute(1, source), attribute(2, target)),
        nested(2, attribute(1, b"\6"), attribute(2, b"\0\1"), attribute(3, b"\0\2")),
    )
    with pytest.raises(Truncated):
        conntrack.decode_tracked(NFGEN + odd)


def test_every_truncation_is_refused_or_none() -> None:
    data = NFGEN + ORIGINAL + REPLY + state(3)
    whole = conntrack.decode_tracked(data)
    for length in range(len(data)):
        try:
            found = conntrack.decode_tracked(data[:length])
        except NetlinkError:
            continue
        # Only padding and an attribute we do not read may be missing.
        assert found is None or found == whole


pieces = st.recursive(
    st.binary(max_size=20) | st.sampled_from([ORIGINAL, REPLY, state(3)]),
    lambda inner: st.builds(
        lambda kind, parts: nested(kind, *parts), st.integers(0, 5), st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(pieces, max_size=6))
def test_nested_nonsense_gives_a_connection_none_or_an_error(parts: list[bytes]) -> None:
    for payload in (NFGEN + b"".join(parts), NFGEN + nested(1, *parts) + REPLY + state(3)):
        try:
            found = conntrack.decode_tracked(payload)
        except NetlinkError:
            continue
        if found is not None:
            assert 0 <= found.original.port <= 65_535
            assert len(found.original.source) in (4, 16)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_connection_none_or_an_error(data: bytes) -> None:
    for payload in (data, NFGEN + data, NFGEN + ORIGINAL + REPLY + nested(4, data)):
        try:
            conntrack.decode_tracked(payload)
        except NetlinkError:
            continue
