"""What the internet is: everything but the stated list."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.policy.addresses import INSIDE_NETWORKS, is_internet, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", IPv4Address("10.0.0.1")),
        ("fd00::1", IPv6Address("fd00::1")),
        ("::ffff:10.0.0.1", IPv4Address("10.0.0.1")),
        ("::FFFF:a00:1", IPv4Address("10.0.0.1")),
        ("fe80::1%eth0", IPv6Address("fe80::1")),
    ],
)
def test_addresses_are_read_in_their_plain_form(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "host", "::1::", "%eth0"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "internet"),
    [
        ("1.1.1.1", True),
        ("203.0.113.7", True),
        ("198.51.100.1", True),
        ("2001:db8::1", True),
        ("2606:4700::1111", True),
        ("9.255.255.255", True),
        ("11.0.0.0", True),
        ("172.15.255.255", True),
        ("172.16.0.0", False),
        ("172.31.255.255", False),
        ("172.32.0.0", True),
        ("192.168.1.1", False),
        ("192.169.0.0", True),
        ("100.64.0.1", False),
        ("100.128.0.0", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::1", False),
        ("fd12::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
    ],
)
def test_internet_is_what_is_in_no_stated_network(text: str, internet: bool) -> None:
    assert is_internet(parse_address(text)) is internet


def test_the_list_is_a_setting() -> None:
    inside = (ip_network("203.0.113.0/24"),)
    assert not is_internet(ip_address("203.0.113.7"), inside)
    assert is_internet(ip_address("10.0.0.1"), inside)
    assert is_internet(ip_address("::1"), inside)


def test_stated_networks_are_whole_and_do_not_overlap() -> None:
    networks = [ip_network(text) for text in INSIDE_NETWORKS]
    for network in networks:
        others = [one for one in networks if one != network and one.version == network.version]
        assert not any(network.overlaps(one) for one in others)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_same_address(address: IPv4Address) -> None:
    assert parse_address(f"::ffff:{address}") == address


@given(st.sampled_from(INSIDE_NETWORKS), st.data())
def test_nothing_of_a_stated_network_is_the_internet(text: str, draw: st.DataObject) -> None:
    network = ip_network(text)
    offset = draw.draw(st.integers(0, network.num_addresses - 1))
    assert not is_internet(network[offset])
