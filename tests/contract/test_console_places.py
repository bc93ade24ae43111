"""Where the Console is: what the resolver says of its URL."""

from ipaddress import ip_address

import pytest

from cnnf.defender.link.places import places_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://192.0.2.7:8084", ("192.0.2.7", 8084)),
        ("https://[2001:db8::7]:8084/x", ("2001:db8::7", 8084)),
        ("https://192.0.2.7", ("192.0.2.7", 443)),
        ("http://192.0.2.7/", ("192.0.2.7", 80)),
    ],
)
def test_an_address_is_its_own_place(url: str, place: tuple[str, int]) -> None:
    assert places_of(url) == ((ip_address(place[0]), place[1]),)


def test_a_name_has_every_address_of_it() -> None:
    found = places_of("https://localhost:8084")
    assert (ip_address("127.0.0.1"), 8084) in found
    assert all(address.is_loopback and port == 8084 for address, port in found)


def test_what_cannot_be_found_is_nowhere() -> None:
    assert places_of("https://nobody.invalid:8084") == ()
