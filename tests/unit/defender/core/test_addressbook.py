"""Whose address it is, at the time that is meant."""

from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.addressbook import AddressBook, Published, Tenants
from cnnf.defender.core.containers import Container, ContainerNetwork
from cnnf.defender.core.limits import (
    ADDRESS_LINGER_MS,
    ADDRESS_OWNERS_MAX,
    JOIN_LEAD_MS,
    START_LEAD_MS,
)
from tests.unit.defender.core.estate import SHOP, container, packed

ONE = "172.18.0.2"
T = 1_000_000


def owner(book: AddressBook, at_ms: int, address: str = ONE, until_ms: int = 0) -> str:
    """Whose the address was, at a moment or all the time from there until another."""
    found = book.tenants(packed(address), at_ms, until_ms or at_ms).containers
    return found[0] if len(found) == 1 else ""


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
    # It is said to have started once the runtime has answered.
    assert owner(book, T - START_LEAD_MS) == "cart"
    assert owner(book, T - START_LEAD_MS - 1) == ""


def test_a_container_has_an_address_since_it_joined_the_network() -> None:
    book = AddressBook()
    # One that starts joins before its first process is there.
    book.put(container("cart", ONE, started_at=T, since=T - 300), T + 500)
    assert owner(book, T - 300) == "cart"
    assert owner(book, T - 301) == ""
    # One that runs may send before the engine has said that it joined.
    book.put(container("cart", ONE, "172.18.0.9", started_at=T, since=T + 900), T + 950)
    assert owner(book, T + 900 - JOIN_LEAD_MS, "172.18.0.9") == "cart"
    assert owner(book, T + 899 - JOIN_LEAD_MS, "172.18.0.9") == ""


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
    # Between two owners it is nobody's, until the next one may have come.
    assert owner(book, T + 8_500) == ""
    assert owner(book, T + 10_000 - START_LEAD_MS) == "orders"
    assert owner(book, T + 10_500) == "orders"
    assert owner(book, T + 20_500) == "cache"
    assert owner(book, T + 90_000) == "cache"


def test_a_span_with_two_owners_is_nobodys() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    book.remove("cart", T + 5_000)
    book.put(container("orders", ONE, started_at=T + 5_400, since=T + 5_200), T + 5_450)
    assert owner(book, T + 4_000, until_ms=T + 5_000) == "cart"
    # The new one can't have sent before it joined.
    assert owner(book, T + 4_000, until_ms=T + 5_050) == "cart"
    assert owner(book, T + 4_000, until_ms=T + 5_300) == ""
    assert book.tenants(packed(ONE), T + 4_000, T + 5_300).disputed
    assert owner(book, T + 5_001, until_ms=T + 9_000) == "orders"


def test_what_may_have_been_either_ones_is_nobodys() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    # The engine tells of the new one first, and that it started before the old one's end.
    book.put(container("orders", ONE, started_at=T + 2_000), T + 2_100)
    assert owner(book, T + 2_000 - START_LEAD_MS - 1) == "cart"
    assert owner(book, T + 1_500) == owner(book, T + 2_100) == ""
    assert owner(book, T + 2_101) == "orders"


def test_the_former_owner_is_sure_until_it_was_last_seen_to_live() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    book.remove("cart", T + 5_000, sure_ms=T + 4_950)
    book.put(container("orders", ONE, started_at=T + 5_200), T + 5_250)
    assert owner(book, T + 4_949) == "cart"
    assert owner(book, T + 4_990) == ""
    assert owner(book, T + 5_001) == "orders"


def test_who_went_before_a_span_was_over_may_have_a_successor() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    book.remove("cart", T + 1_000)
    assert book.tenants(packed(ONE), T + 500, T + 1_000).until == 0
    assert book.tenants(packed(ONE), T + 500, T + 1_001).until == T + 1_000


def test_news_in_the_wrong_order_names_nobody_wrong() -> None:
    book = AddressBook()
    # Told of after its successor, which may have been there as early as it was.
    book.put(container("orders", ONE, started_at=T), T + 10)
    book.put(container("cart", ONE, started_at=T - 500), T + 20)
    assert owner(book, T - 600) == ""
    assert owner(book, T - START_LEAD_MS - 1) == "cart"


def test_who_is_expected_has_the_address_and_no_name_yet() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    book.expect("orders", [packed(ONE)], T + 5_000)
    # Its predecessor's end has not been told, and it may have been there all the while.
    assert owner(book, T + 4_999) == "cart"
    assert book.tenants(packed(ONE), T + 4_000, T + 6_000).disputed
    assert book.tenants(packed(ONE), T + 5_001, T + 6_000) == Tenants(expected=True)
    assert packed(ONE) not in book.behind()
    book.put(container("orders", ONE, started_at=T + 5_300, since=T + 5_000), T + 5_400)
    assert owner(book, T + 5_001, until_ms=T + 6_000) == "orders"
    assert not book.give_up("orders", T + 7_000)
    assert owner(book, T + 8_000) == "orders"


def test_who_was_expected_may_be_told_of_after_its_end() -> None:
    book = AddressBook()
    book.expect("job", [packed(ONE)], T)
    assert book.give_up("job", T + 300)
    assert not book.give_up("job", T + 400)
    book.expect("orders", [packed(ONE)], T + 500)
    assert book.tenants(packed(ONE), T + 100, T + 310) == Tenants(until=T + 300, expected=True)
    book.put(container("job", ONE, started_at=T, since=T), T + 600)
    book.remove("job", T + 300)
    assert owner(book, T + 100, until_ms=T + 310) == "job"
    assert owner(book, T + 600) == ""
    book.put(container("orders", ONE, started_at=T + 700, since=T + 500), T + 800)
    assert owner(book, T + 600) == "orders"
    assert owner(book, T + 900) == "orders"


def test_who_was_expected_and_never_told_of_leaves_nobody_a_name() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    book.remove("cart", T + 1_000)
    book.expect("job", [packed(ONE)], T + 1_200)
    book.give_up("job", T + 1_500)
    assert owner(book, T + 500, until_ms=T + 1_100) == "cart"
    assert owner(book, T + 500, until_ms=T + 1_300) == ""
    assert owner(book, T + 1_300) == ""


def test_those_who_share_a_namespace_share_its_addresses() -> None:
    book = AddressBook()
    book.put(container("proxy", shared="cart"), T)
    book.put(container("cart", ONE, started_at=T), T)
    book.put(container("sync", shared="cart", started_at=T + 5_000), T + 5_000)
    assert book.tenants(packed(ONE), T + 1, T + 2).containers == ("cart", "proxy")
    found = book.tenants(packed(ONE), T + 6_000, T + 6_000).containers
    assert found == ("cart", "proxy", "sync")
    assert [one.id for one in book.behind()[packed(ONE)]] == ["cart", "proxy", "sync"]
    book.remove("proxy", T + 7_000)
    assert book.tenants(packed(ONE), T + 7_500, T + 8_000).containers == ("cart", "sync")
    # Without the one whose namespace it is nobody has the address.
    book.remove("cart", T + 9_000)
    assert book.tenants(packed(ONE), T + 9_001, T + 9_002).containers == ()
    assert book.behind() == {}
    assert set(book.containers) == {"sync"}


def test_the_containers_of_a_pod_have_its_addresses_together() -> None:
    book = AddressBook()
    book.put(container("app", ONE, started_at=T, pod="u1"), T)
    book.put(container("side", ONE, started_at=T + 50, pod="u1"), T + 50)
    assert book.tenants(packed(ONE), T + 100, T + 200).containers == ("app", "side")
    book.remove("side", T + 300)
    assert owner(book, T + 400) == "app"
    # Another pod's container is another owner.
    book.put(container("late", ONE, started_at=T + 9_000, pod="u2"), T + 9_000)
    assert owner(book, T + 9_500) == "late"
    assert owner(book, T + 5_000) == "app"


def test_a_container_that_changes_network_changes_addresses() -> None:
    book = AddressBook()
    book.put(container("cart", ONE, started_at=T), T)
    book.put(container("cart", "172.18.0.9", started_at=T), T + 1_000)
    assert owner(book, T + 1_000) == "cart"
    assert owner(book, T + 1_001) == ""
    assert owner(book, T + 1_001, "172.18.0.9") == "cart"
    # When it was last told of it did not have that one.
    assert owner(book, T - 1, "172.18.0.9") == ""
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
        book.put(container(f"c{number}", ONE, since=T + number * 100), T + number * 100)
    last = f"c{ADDRESS_OWNERS_MAX * 3 - 1}"
    assert len(book._tenures[packed(ONE)]) == ADDRESS_OWNERS_MAX + 1
    assert owner(book, T + 10_000) == last
    # That there were others is not forgotten.
    assert owner(book, T + 10) == ""
    assert book.tenants(packed(ONE), T + 10, T + 10_000).disputed
    book.forget_old(T + 10_000_000)
    assert [tenure.container for tenure in book._tenures[packed(ONE)]] == [last]
    book.remove(last, T + 10_000_000)
    book.forget_old(T + 10_000_000 + ADDRESS_LINGER_MS - 1)
    assert owner(book, T + 10_000_000) == last
    book.forget_old(T + 10_000_000 + ADDRESS_LINGER_MS)
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


def test_a_port_that_leads_to_two_containers_names_the_one_at_the_address() -> None:
    book = AddressBook()
    book.put(container("one", ONE, published=((8080, 80),), at="192.0.2.1"), T)
    book.put(container("two", "172.18.0.3", published=((8080, 80),), at="192.0.2.2"), T)
    # Which one was meant the port alone does not tell.
    assert book.published(8080) is None
    assert book.published(8080, packed("192.0.2.2")) == Published("two", 80)
    assert book.published(8080, packed("192.0.2.1")) == Published("one", 80)
    assert book.published(8080, packed("192.0.2.3")) is None
    assert book.published(8080, packed("192.0.2.1"), "udp") is None
    book.put(container("two", "172.18.0.3", published=((8080, 80),)), T)
    assert book.published(8080, packed("192.0.2.3")) == Published("two", 80)
    book.remove("two", T)
    assert book.published(8080) == Published("one", 80)


def test_networks_are_those_of_bridges_and_those_stated() -> None:
    stated = ip_network("10.244.0.0/16")
    book = AddressBook((stated,))
    assert list(book.networks) == [stated]
    overlay = ContainerNetwork(
        id="n2", name="mesh", driver="overlay", subnets=("10.0.9.0/24",), routed=True
    )
    host = ContainerNetwork(id="n3", name="host", driver="host")
    assert book.set_networks((host, SHOP, overlay))
    shop = ip_network("172.18.0.0/16"), ip_network("fd00:18::/64")
    assert list(book.networks) == [stated, *shop]
    assert list(book.bridges) == ["br-shop"]
    hosted = {network.cidr: network.routed for network in book.hosted}
    assert hosted == {
        "10.244.0.0/16": True, "172.18.0.0/16": False, "fd00:18::/64": False, "10.0.9.0/24": True,
    }  # fmt: skip
    assert not book.set_networks((SHOP, host))
    assert book.in_network(packed("172.18.9.9"))
    assert book.in_network(packed("10.244.1.1"))
    assert book.in_network(packed("fd00:18::5"))
    assert not book.in_network(packed("10.0.9.1"))
    assert not book.in_network(packed("fd00:19::5"))
    assert book.set_networks(())
    assert list(book.networks) == [stated]
    assert list(book.bridges) == []


class World(NamedTuple):
    """What really happened: who had the address from when (it joined) to when (it ended)."""

    had: list[tuple[str, int, int]]
    book: AddressBook


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Owners one after the other, each told of late: a container joins after its predecessor's
    end, starts after it has joined, is told of after that and after those before it; its end is
    noticed late as well, and may be noticed after the next one has come and even been told of."""
    now, news = T, list[tuple[int, int, Callable[[AddressBook], object]]]()
    had, told = [], T
    for number in range(draw(st.integers(1, 6))):
        name = f"c{number}"
        joined = now + draw(st.integers(0, 2_000))
        started = joined + draw(st.integers(0, START_LEAD_MS))
        told = max(started + draw(st.integers(0, 500)), told)
        ended = joined + draw(st.integers(1, 3_000))
        noticed = max(ended + draw(st.sampled_from((0, 5, 300, 1_500))), told + 1)
        alive = draw(st.integers(joined, ended))
        # The engine says when it joined, a little late where it runs already, or it does not.
        late = draw(st.integers(0, JOIN_LEAD_MS))
        said = draw(st.sampled_from((0, joined, max(joined + late, started + 1))))
        said = said if said - joined <= JOIN_LEAD_MS else joined
        made = container(name, ONE, started_at=started, since=said)
        if draw(st.booleans()):
            # Its network tells of it before it can be asked about.
            expected = draw(st.integers(joined, told))
            news.append((expected, number, partial(_expect, name, joined)))
        news.append((told, number, partial(_put, made, told)))
        news.append((noticed, number, partial(_remove, name, noticed, alive)))
        had.append((name, joined, ended))
        now = ended
    book = AddressBook()
    for _, _, happen in sorted(news, key=lambda one: one[:2]):
        happen(book)
    return World(had, book)


def _expect(name: str, joined_ms: int, book: AddressBook) -> None:
    book.expect(name, [packed(ONE)], joined_ms)


def _put(made: Container, now_ms: int, book: AddressBook) -> None:
    book.put(made, now_ms)


def _remove(name: str, at_ms: int, alive_ms: int, book: AddressBook) -> None:
    book.remove(name, at_ms, sure_ms=alive_ms)


@given(worlds(), st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 3_000)), max_size=30))
def test_no_span_is_ever_given_to_somebody_else(world: World, spans: list[tuple[int, int]]) -> None:
    for start, length in spans:
        first, last = T + start, T + start + length
        named = owner(world.book, first, until_ms=last)
        # Packets of the span come from those who had the address in it: one alone may be named.
        senders = {name for name, joined, ended in world.had if joined <= last and first <= ended}
        assert not named or senders <= {named}


@given(worlds())
def test_who_had_the_address_alone_is_named(world: World) -> None:
    for number, (name, joined, ended) in enumerate(world.had):
        others = [one for at, one in enumerate(world.had) if at != number]
        far = all(
            ended + START_LEAD_MS + 2_500 < other_joined or other_ended + 2_500 < joined
            for _, other_joined, other_ended in others
        )
        if far and ended - joined > 2:
            assert owner(world.book, joined + 1, until_ms=ended) == name
