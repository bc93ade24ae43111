"""Addresses as whole numbers: every form of a subnet, and nothing that is none."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.policy.addresses import is_internet, parse_address
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.subnets import Version, internet, pack, ranges_of
from tests.unit.policy.slow import contains
from tests.unit.policy.strategies import ADDRESSES, SUBNETS


def span(first: str, last: str) -> tuple[int, int]:
    return int(ip_address(first)), int(ip_address(last))


@pytest.mark.parametrize(
    ("values", "version", "ranges"),
    [
        (["10.0.0.0/8"], 4, [span("10.0.0.0", "10.255.255.255")]),
        (["203.0.113.7"], 4, [span("203.0.113.7", "203.0.113.7")]),
        (["10.0.0.1-10.0.0.9"], 4, [span("10.0.0.1", "10.0.0.9")]),
        (["10.0.0.0/9", "10.128.0.0/9"], 4, [span("10.0.0.0", "10.255.255.255")]),
        (
            ["10.0.0.0/30", "-10.0.0.1-10.0.0.2"],
            4,
            [span("10.0.0.0", "10.0.0.0"), span("10.0.0.3", "10.0.0.3")],
        ),
        (["10.0.0.0/30", "-0.0.0.0/0"], 4, []),
        (["fd00::/8"], 6, [span("fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]),
        (["::1"], 6, [span("::1", "::1")]),
        (["::ffff:10.0.0.0/104"], 4, [span("10.0.0.0", "10.255.255.255")]),
        (["::ffff:10.0.0.1-::ffff:10.0.0.2"], 4, [span("10.0.0.1", "10.0.0.2")]),
        (["0.0.0.0/0"], 4, [(0, 2**32 - 1)]),
        (["::/0"], 6, [(0, 2**128 - 1)]),
        (["::/0"], 4, []),
    ],
)
def test_values_are_ranges(
    values: list[str], version: Version, ranges: list[tuple[int, int]]
) -> None:
    assert ranges_of(values)[version] == ranges


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1/8", "10.0.0.0/33", "10.0.0", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0.1-", "x",
     "010.0.0.1", "fe80::1%eth0", "10.0.0.1-20", "10.0.0.0/8-11.0.0.0/8", "", "-", "*"],
)  # fmt: skip
def test_what_is_no_subnet_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"is no subnet .*write|is empty: write"):
        ranges_of([text])


@given(
    st.lists(st.sampled_from(SUBNETS)),
    st.lists(st.sampled_from(SUBNETS)),
    st.sampled_from(ADDRESSES),
)
def test_an_address_is_in_the_ranges_of_what_contains_it(
    included: list[str], excluded: list[str], text: str
) -> None:
    address = parse_address(text)
    ranges = ranges_of([*included, *(f"-{one}" for one in excluded)])
    found = any(low <= int(address) <= high for low, high in ranges[address.version])
    assert found is (
        any(contains(one, address) for one in included)
        and not any(contains(one, address) for one in excluded)
    )


@given(st.ip_addresses())
def test_the_internet_is_what_is_called_so(drawn: object) -> None:
    address = parse_address(str(drawn))
    ranges = internet()[address.version]
    assert any(low <= int(address) <= high for low, high in ranges) is is_internet(address)


def test_a_mapped_address_is_that_of_ipv4() -> None:
    assert pack(ip_address("::ffff:10.0.0.1")) == pack(ip_address("10.0.0.1")) == b"\x0a\0\0\1"
    assert pack(ip_address("::ffff:0:10.0.0.1")) == ip_address("::ffff:0:10.0.0.1").packed
