"""Connections to a cluster's services: seen a second time behind the balancer, drawn once."""

import pytest

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import Ends, Listener, Listeners, Owner, Sighting, Surroundings
from cnnf.defender.core.attribution import attribute as name_ends
from cnnf.defender.core.pods import VirtualPlace
from cnnf.protocol.messages import Effect, Protocol
from tests.unit.defender.core.estate import SHOP, container, packed

T = 1_000_000
HOST, FRONT, CART, SERVICE = "192.0.2.10", "172.18.0.2", "172.18.0.3", "10.96.12.7"
PLACES = frozenset(
    (
        VirtualPlace(address=SERVICE, port=80, service="shop/cart"),
        VirtualPlace(address="fd00:96::7", port=53, protocol="udp", service="kube-system/dns"),
        VirtualPlace(port=30080, service="shop/cart"),
        VirtualPlace(port=22, service="shop/git"),
    )
)


@pytest.fixture
def around() -> Surroundings:
    book = AddressBook()
    book.set_networks((SHOP,))
    book.put(container("front", FRONT, started_at=T), T)
    book.put(container("cart", CART, started_at=T), T)
    book.set_places(PLACES)
    ssh = Listener(packed("0.0.0.0"), 22, Owner("service:ssh", "sshd", None))
    return Surroundings(
        book=book,
        host_addresses=frozenset({packed(HOST)}),
        listeners=Listeners([ssh]),
        owners={},
    )


def sighting(
    address: str, port: int, protocol: Protocol = "tcp", effect: Effect | None = None
) -> Sighting:
    return Sighting(
        source=packed(FRONT), destination=packed(address), port=port, protocol=protocol,
        connections=1, effect=effect, first_seen=T + 5, last_seen=T + 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("address", "port", "protocol"),
    [(SERVICE, 80, "tcp"), ("fd00:96::7", 53, "udp"), (HOST, 30080, "tcp")],
)
@pytest.mark.parametrize("effect", [None, "allow"])
def test_what_goes_to_a_service_is_seen_again_behind_it(
    around: Surroundings, address: str, port: int, protocol: Protocol, effect: Effect | None
) -> None:
    assert name_ends(sighting(address, port, protocol, effect), around) is None


@pytest.mark.parametrize("effect", ["alert", "prevent"])
def test_what_was_decided_about_the_service_itself_is_told(
    around: Surroundings, effect: Effect
) -> None:
    named = name_ends(sighting(SERVICE, 80, effect=effect), around)
    assert isinstance(named, Ends)
    assert named.destination.address == SERVICE


@pytest.mark.parametrize(
    ("address", "port", "protocol"),
    [
        (SERVICE, 81, "tcp"),
        (SERVICE, 80, "udp"),
        (CART, 30080, "tcp"),
        ("192.0.2.99", 30080, "tcp"),
    ],
)
def test_other_places_are_their_own(
    around: Surroundings, address: str, port: int, protocol: Protocol
) -> None:
    assert name_ends(sighting(address, port, protocol), around) is not None


def test_who_listens_at_a_port_that_is_every_nodes_too_is_named(around: Surroundings) -> None:
    named = name_ends(sighting(HOST, 22), around)
    assert isinstance(named, Ends)
    assert named.destination.instance == "service:ssh"


def test_services_that_are_gone_are_forgotten(around: Surroundings) -> None:
    around.book.set_places(frozenset())
    assert name_ends(sighting(SERVICE, 80), around) is not None
