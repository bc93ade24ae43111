"""Whose address it is, at the time that is meant."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.addressbook import AddressBook, Published
from cnnf.defender.core.containers import ContainerNetwork
from cnnf.defender.core.limits import ADDRESS_LINGER_MS, ADDRESS_OWNERS_MAX
from tests.unit.defender.core.estate import SHOP, container, packed

ONE = "172.18.0.2"
T = 1_000_000


def owner(book: AddressBook, at_ms: int, address: str = ONE) -> str:
    """Whose the address was."""
    return book.owner(packed(address), at_ms)


def test_every_address_of_a_container_is_its_own() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, "fd00:18::2", started_at=T), T + 40)
    assert owner(book, T + 50) == owner(book, T + 50, "fd00:18::2") == "cart"
    assert owner(book, T + 50, "172.18.0.3") == ""
    assert set(book.containers) == {"cart"}


def test_news_may_be_later_than_the_first_packet() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T + 500)
    assert owner(book, T + 1) == "cart"
    # Clocks and reports are off by so much at most.
    assert owner(book, T - ADDRESS_LINGER_MS) == "cart"
    assert owner(book, T - ADDRESS_LINGER_MS - 1) == ""


def test_a_gone_container_keeps_what_was_before_its_end() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    gone = book.remove("cart", T + 1_000)
    assert gone is not None
    assert gone.id == "cart"
    assert owner(book, T + 1_000) == "cart"
    assert owner(book, T + 1_001) == ""
    assert book.remove("cart", T + 2_000) is None


def test_a_reused_address_belongs_to_each_owner_in_its_time() -> None:
    book = AddressBook()
    for number, name in enumerate(("cart", "orders", "cache")):
        started = T + number * 10_000
        book.put(container(name, ONE, started_at=started), started)
        if name != "cache":
            book.remove(name, started + 8_000)
    assert owner(book, T + 500) == "cart"
    assert owner(book, T + 8_000) == "cart"
    # Between two owners the next one is meant: it had the address before we heard of it.
    assert owner(book, T + 9_000) == "orders"
    assert owner(book, T + 10_500) == "orders"
    assert owner(book, T + 20_500) == "cache"
    assert owner(book, T + 90_000) == "cache"


def test_a_new_owner_claims_nothing_that_was_still_its_predecessors() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    # The engine tells of the new one first, and that it started before the old one's end.
    book.put(container("orders", ONE, started_at=T + 900), T + 1_000)
    assert owner(book, T + 950) == "cart"
    assert owner(book, T + 1_000) == "cart"
    assert owner(book, T + 1_001) == "orders"


def test_a_container_that_changes_network_changes_addresses() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    book.put(container("cart", "172.18.0.9", started_at=T), T + 1_000)
    assert owner(book, T + 1_000) == "cart"
    assert owner(book, T + 1_001) == ""
    assert owner(book, T + 1_001, "172.18.0.9") == "cart"
    # News about anything else leaves the tenure as it is.
    book.put(container("cart", "172.18.0.9", started_at=T, published=((80, 80),)), T + 2_000)
    assert owner(book, T + 1_500, "172.18.0.9") == "cart"


@pytest.mark.parametrize("state", ["exited", "dead", "created", "restarting"])
def test_a_container_without_processes_is_gone(state: str) -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T, published=((8080, 80),)), T)
    book.put(container("cart", ONE, started_at=T, state=state), T + 1_000)
    assert book.containers == {}
    assert owner(book, T + 1_001) == ""
    assert book.published(8080) is None


def test_a_paused_container_keeps_its_address() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T, state="paused"), T)
    assert owner(book, T + 1) == "cart"


def test_former_owners_are_bounded_and_forgotten() -> None:
    book = AddressBook()
    for number in range(ADDRESS_OWNERS_MAX * 3):
        book.put(container(f"c{number}", ONE, started_at=T + number * 100), T + number * 100)
    last = f"c{ADDRESS_OWNERS_MAX * 3 - 1}"
    assert len(book._tenures[packed(ONE)]) == ADDRESS_OWNERS_MAX
    assert owner(book, T + 10_000) == last
    book.forget_old(T + 10_000_000)
    assert [tenure.container for tenure in book._tenures[packed(ONE)]] == [last]
    book.remove(last, T + 10_000_000)
    book.forget_old(T + 10_000_000 + ADDRESS_LINGER_MS)
    assert owner(book, T + 10_000_000) == last
    book.forget_old(T + 20_000_000)
    assert book._tenures == {}


def test_a_published_port_leads_to_its_container() -> None:
    book = AddressBook()
    book.put(container("front", ONE, published=((8080, 80), (8443, 443))), T)
    book.put(container("dns", "172.18.0.3", published=((53, 53),), protocol="udp"), T)
    assert book.published(8080) == Published("front", 80)
    assert book.published(8443) == Published("front", 443)
    assert book.published(80) is None
    assert book.published(53) is None
    assert book.published_at("front", 443) == [8443]
    assert book.published_at("front", 8443) == []
    assert book.published_at("cart", 443) == []
    book.remove("front", T)
    assert book.published(8080) is None
    assert book.published_at("front", 443) == []


def test_a_port_that_leads_to_two_containers_names_neither() -> None:
    book = AddressBook()
    # Possible with two host addresses; which one was meant the port alone does not tell.
    book.put(container("one", ONE, published=((8080, 80),)), T)
    book.put(container("two", "172.18.0.3", published=((8080, 80),)), T)
    assert book.published(8080) is None
    book.remove("two", T)
    assert book.published(8080) == Published("one", 80)


def test_networks_are_those_of_bridges_and_those_stated() -> None:
    stated = ip_network("10.244.0.0/16")
    book = AddressBook((stated,))
    assert list(book.networks) == [stated]
    overlay = ContainerNetwork(id="n2", name="mesh", driver="overlay", subnets=("10.0.9.0/24",))
    host = ContainerNetwork(id="n3", name="host", driver="host")
    assert book.set_networks((host, SHOP, overlay))
    shop = ip_network("172.18.0.0/16"), ip_network("fd00:18::/64")
    assert list(book.networks) == [stated, *shop]
    assert list(book.bridges) == ["br-shop"]
    assert not book.set_networks((SHOP, host))
    assert book.in_network(packed("172.18.9.9"))
    assert book.in_network(packed("10.244.1.1"))
    assert book.in_network(packed("fd00:18::5"))
    assert not book.in_network(packed("10.0.9.1"))
    assert not book.in_network(packed("fd00:19::5"))
    assert book.set_networks(())
    assert list(book.networks) == [stated]
    assert list(book.bridges) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 4_000)), max_size=12)
)
def test_an_address_is_nobodys_after_its_last_owner(
    script: list[tuple[str, bool, int]],
) -> None:
    book, now, holder = AddressBook(), T, ""
    for name, runs, step in script:
        now += step
        if runs:
            if name not in book.containers:
                holder = name
            book.put(container(name, ONE, started_at=now), now)
        else:
            book.remove(name, now)
            holder = "" if holder == name else holder
        assert owner(book, now + 1) == holder
