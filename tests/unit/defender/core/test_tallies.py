"""Counting sets' keys: every set the ruleset makes has a form, and no other form passes."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.ruleset import count_sets
from cnnf.defender.core.tallies import Tally, decode_tally
from cnnf.defender.netlink.errors import NetlinkError, Unexpected
from cnnf.defender.netlink.nftset import Element

A4, B4 = ip_address("10.78.1.2").packed, ip_address("10.78.2.3").packed
A6, B6 = ip_address("fd00:78::2").packed, ip_address("fd00:78::3").packed
PORT = struct.pack(">HH", 443, 0)
CGROUP = struct.pack("=Q", 2**40 + 7)


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize(("family", "source", "destination"), [(4, A4, B4), (6, A6, B6)])
def test_a_key_of_addresses(parity: int, family: int, source: bytes, destination: bytes) -> None:
    found = decode_tally(f"count{family}_{parity}", Element(source + PORT + destination, 9))
    assert found == Tally(source, 0, destination, 443, 9)


@pytest.mark.parametrize("level", [1, 4, 6])
@pytest.mark.parametrize(("family", "destination"), [(4, B4), (6, B6)])
def test_a_key_of_a_cgroup(level: int, family: int, destination: bytes) -> None:
    found = decode_tally(f"count_l{level}v{family}_1", Element(CGROUP + destination + PORT, 9))
    assert found == Tally(b"", 2**40 + 7, destination, 443, 9)


@pytest.mark.parametrize("name", [*count_sets(0), *count_sets(1)])
def test_every_counting_set_takes_keys_of_one_length_only(name: str) -> None:
    lengths = []
    for length in range(64):
        try:
            decode_tally(name, Element(bytes(length), 1))
        except Unexpected:
            continue
        lengths.append(length)
    by_cgroup = "_l" in name
    parts = (8, 4) if by_cgroup else (4,)
    address = 4 if name[:-2].endswith("4") else 16
    assert lengths == [sum(parts) + address * (1 if by_cgroup else 2)]


@given(st.sampled_from(count_sets(0)), st.binary(max_size=40), st.integers(0, 2**64 - 1))
def test_any_key_gives_a_tally_or_an_error(name: str, key: bytes, packets: int) -> None:
    try:
        found = decode_tally(name, Element(key, packets))
    except NetlinkError:
        return
    assert len(found.destination) in (4, 16)
    assert found.packets == packets
    assert 0 <= found.port <= 65_535
