"""From addresses and sockets to named ends, case by case."""

from typing import Literal, NamedTuple

import pytest

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import (
    Ends,
    Listener,
    Listeners,
    Owner,
    Sighting,
    Surroundings,
    Unnamed,
    attribute,
    is_local,
    is_loopback,
    is_visible,
    plain,
)
from cnnf.defender.core.limits import EXPECTED_WAIT_MS, LISTENER_WAIT_MS, NAME_WAIT_MS
from cnnf.defender.core.plan import Scopes
from cnnf.protocol.messages import Endpoint, Process
from tests.unit.defender.core.estate import SHOP, container, packed

T = 1_000_000
HOST, GATEWAY, FRONT, CART, NEW = (
    "192.0.2.10",
    "172.18.0.1",
    "172.18.0.2",
    "172.18.0.3",
    "172.18.0.77",
)
CURL = Process(pid=700, executable="/usr/bin/curl")
BACKUP = Owner("service:backup", "curl", CURL)
FORWARDER = Owner("service:docker", "docker-proxy", None, forwards=True)
SSH = Owner("service:ssh", "sshd", None)
REDIS = Owner("service:redis", "redis-server", None)


@pytest.fixture
def around() -> Surroundings:
    """A host with two containers, one of them published, and a few services."""
    book = AddressBook()
    book.set_networks((SHOP,))
    book.put(container("front", FRONT, "fd00:18::2", started_at=T, published=((8080, 80),)), T)
    book.put(container("cart", CART, started_at=T), T)
    return Surroundings(
        book=book,
        host_addresses=frozenset(map(packed, (HOST, GATEWAY, "2001:db8::10"))),
        listeners=Listeners(
            [
                Listener(packed("0.0.0.0"), 22, SSH),
                Listener(packed("127.0.0.1"), 6379, REDIS),
                Listener(packed("0.0.0.0"), 8080, FORWARDER),
                Listener(packed("::"), 9100, Owner("service:exporter", "exporter", None)),
                Listener(packed("0.0.0.0"), 514, Owner("service:log", "logd", None), "udp"),
            ]
        ),
        owners={
            (9, 4711): BACKUP,
            (9, 0): BACKUP,
            (5, 800): FORWARDER,
            (5, 0): FORWARDER,
            (6, 900): Owner("", "x", CURL),
            (7, 1): Owner("", "", None, forwards=True),
            (7, 2): Owner("service:docker-proxy", "docker-proxy", CURL),
        },
    )


def sighting(
    source: str,
    destination: str,
    port: int,
    *,
    owner: tuple[int, int] = (0, 0),
    protocol: Literal["tcp", "udp"] = "tcp",
) -> Sighting:
    """One SYN or datagram, half a second after everything had started."""
    return Sighting(
        protocol=protocol,
        source=packed(source) if source else b"",
        cgroup=owner[0],
        inode=owner[1],
        destination=packed(destination),
        port=port,
        connections=1,
        first_seen=T + 500,
        last_seen=T + 500,
    )


class Case(NamedTuple):
    """A sighting and what both ends must be called: (address, instance)."""

    name: str
    seen: Sighting
    source: tuple[str, str]
    destination: tuple[str, str]
    port: int
    process: Process | None = None


CASES = [
    Case("container to container", sighting(FRONT, CART, 9000),
         (FRONT, "front"), (CART, "cart"), 9000),
    Case("container to itself by IPv6", sighting("fd00:18::2", "fd00:18::2", 80),
         ("fd00:18::2", "front"), ("fd00:18::2", "front"), 80),
    Case("host service to container", sighting(HOST, CART, 9000, owner=(9, 4711)),
         (HOST, "service:backup"), (CART, "cart"), 9000, CURL),
    Case("counted by cgroup alone", sighting("", CART, 9000, owner=(9, 0)),
         ("", "service:backup"), (CART, "cart"), 9000, CURL),
    Case("a cgroup that is gone", sighting("", CART, 9000, owner=(8, 0)),
         ("127.0.0.1", ""), (CART, "cart"), 9000),
    Case("a cgroup that is gone, by IPv6", sighting("", "fd00:18::2", 81, owner=(8, 0)),
         ("::1", ""), ("fd00:18::2", "front"), 81),
    Case("a host process without a service", sighting(HOST, CART, 9000, owner=(6, 900)),
         (HOST, ""), (CART, "cart"), 9000, CURL),
    Case("a host socket that was not found", sighting(HOST, CART, 9000),
         (HOST, ""), (CART, "cart"), 9000),
    Case("loopback to a service", sighting("127.0.0.1", "127.0.0.1", 6379, owner=(9, 4711)),
         ("127.0.0.1", "service:backup"), ("127.0.0.1", "service:redis"), 6379, CURL),
    Case("loopback by another of its addresses", sighting("127.0.0.1", "127.0.0.53", 22),
         ("127.0.0.1", ""), ("127.0.0.53", "service:ssh"), 22),
    Case("from outside to a service", sighting("203.0.113.7", HOST, 22),
         ("203.0.113.7", ""), (HOST, "service:ssh"), 22),
    Case("to a service on both families", sighting("203.0.113.7", HOST, 9100),
         ("203.0.113.7", ""), (HOST, "service:exporter"), 9100),
    Case("published port by the host's address", sighting("203.0.113.7", HOST, 8080),
         ("203.0.113.7", ""), (HOST, "front"), 80),
    Case("published port by the gateway, first leg", sighting(CART, GATEWAY, 8080),
         (CART, "cart"), (GATEWAY, "front"), 80),
    Case("published port by loopback", sighting("127.0.0.1", "127.0.0.1", 8080, owner=(9, 4711)),
         ("127.0.0.1", "service:backup"), ("127.0.0.1", "front"), 80, CURL),
    Case("behind DNAT the container is met itself", sighting("203.0.113.7", FRONT, 80),
         ("203.0.113.7", ""), (FRONT, "front"), 80),
    Case("container to the internet", sighting(FRONT, "203.0.113.7", 443),
         (FRONT, "front"), ("203.0.113.7", ""), 443),
    Case("host to a private neighbour", sighting(HOST, "10.9.9.9", 5432, owner=(9, 4711)),
         (HOST, "service:backup"), ("10.9.9.9", ""), 5432, CURL),
    Case("the forwarder to a port that is not published",
         sighting(GATEWAY, CART, 9000, owner=(5, 800)),
         (GATEWAY, "service:docker"), (CART, "cart"), 9000),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_ends_are_named(case: Case, around: Surroundings) -> None:
    assert attribute(case.seen, around) == Ends(
        Endpoint(address=case.source[0], instance=case.source[1]),
        Endpoint(address=case.destination[0], instance=case.destination[1]),
        case.port,
        case.process,
    )


UDP_CASES = [
    Case("container asks a container", sighting(FRONT, CART, 53, protocol="udp"),
         (FRONT, "front"), (CART, "cart"), 53),
    Case("a service asks the internet",
         sighting(HOST, "203.0.113.7", 123, owner=(9, 4711), protocol="udp"),
         (HOST, "service:backup"), ("203.0.113.7", ""), 123, CURL),
    Case("counted by cgroup alone", sighting("", CART, 53, owner=(9, 0), protocol="udp"),
         ("", "service:backup"), (CART, "cart"), 53, CURL),
    Case("to a service by UDP", sighting("203.0.113.7", HOST, 514, protocol="udp"),
         ("203.0.113.7", ""), (HOST, "service:log"), 514),
    # Who listens by TCP says nothing about UDP.
    Case("to a port of the host that a TCP service has",
         sighting("203.0.113.7", HOST, 22, protocol="udp"), ("203.0.113.7", ""), (HOST, ""), 22),
    Case("to a port of the host that is published for TCP",
         sighting(CART, HOST, 8080, protocol="udp"), (CART, "cart"), (HOST, ""), 8080),
]  # fmt: skip


@pytest.mark.parametrize("case", UDP_CASES, ids=lambda case: case.name)
def test_ends_of_udp_are_named_and_none_is_guessed(case: Case, around: Surroundings) -> None:
    assert attribute(case.seen, around) == Ends(
        Endpoint(address=case.source[0], instance=case.source[1]),
        Endpoint(address=case.destination[0], instance=case.destination[1]),
        case.port,
        case.process,
    )


def test_who_is_expected_is_waited_for_longer(around: Surroundings) -> None:
    around.book.expect("new", [packed(NEW)], T)
    found = attribute(sighting(NEW, CART, 443), around)
    assert isinstance(found, Unnamed)
    assert found.wait_ms == EXPECTED_WAIT_MS
    assert found.ends.source == Endpoint(address=NEW)
    around.book.put(container("new", NEW, started_at=T, since=T), T + 600)
    named = attribute(sighting(NEW, CART, 443), around)
    assert isinstance(named, Ends)
    assert named.source.instance == "new"


def test_udp_to_an_unknown_container_waits_for_its_name_too(around: Surroundings) -> None:
    found = attribute(sighting(FRONT, NEW, 53, protocol="udp"), around)
    assert isinstance(found, Unnamed)
    assert found.wait_ms == NAME_WAIT_MS


def test_a_forwarders_second_leg_is_the_first_ones_other_half(around: Surroundings) -> None:
    assert attribute(sighting(GATEWAY, FRONT, 80, owner=(5, 800)), around) is None
    # Counted by the kernel there is only its cgroup.
    assert attribute(sighting("", FRONT, 80, owner=(5, 0)), around) is None
    # Its process may be gone before it is found: then it is known by where it comes from.
    assert attribute(sighting(GATEWAY, FRONT, 80, owner=(7, 1)), around) is None
    # Its socket may be gone before it is found: then its listener tells.
    assert attribute(sighting(GATEWAY, FRONT, 80), around) is None
    assert attribute(sighting(GATEWAY, FRONT, 80, owner=(77, 1)), around) is None


def test_nobody_hides_by_the_forwarders_name(around: Surroundings) -> None:
    for owner in ((7, 2), (6, 900)):
        found = attribute(sighting(HOST, FRONT, 80, owner=owner), around)
        assert isinstance(found, Ends)
        assert found.destination.instance == "front"


def test_a_service_that_meets_a_published_container_itself_is_no_forwarder(
    around: Surroundings,
) -> None:
    found = attribute(sighting(HOST, FRONT, 80, owner=(9, 4711)), around)
    assert isinstance(found, Ends)
    assert found.source.instance == "service:backup"


@pytest.mark.parametrize("port", [1, 6379])
def test_a_port_of_the_host_without_a_listener_waits_for_one(
    port: int, around: Surroundings
) -> None:
    found = attribute(sighting(FRONT, HOST, port), around)
    assert isinstance(found, Unnamed)
    assert found.wait_ms == LISTENER_WAIT_MS
    assert found.ends.source.instance == "front"
    assert found.ends.destination == Endpoint(address=HOST)


@pytest.mark.parametrize(
    ("source", "destination"), [(NEW, CART), (FRONT, NEW), (NEW, "203.0.113.7")]
)
def test_an_address_of_a_container_network_waits_for_its_name(
    source: str, destination: str, around: Surroundings
) -> None:
    found = attribute(sighting(source, destination, 443), around)
    assert isinstance(found, Unnamed)
    assert found.wait_ms == NAME_WAIT_MS
    assert {found.ends.source.address, found.ends.destination.address} == {source, destination}
    around.book.put(container("new", NEW, started_at=T), T + 600)
    assert isinstance(attribute(sighting(source, destination, 443), around), Ends)


def test_the_gateway_is_the_host_and_waits_for_nothing(around: Surroundings) -> None:
    assert isinstance(attribute(sighting(GATEWAY, CART, 443), around), Ends)


def test_a_count_over_a_generation_names_who_started_or_stopped_within(
    around: Surroundings,
) -> None:
    around.book.put(container("late", NEW, started_at=T + 20_000), T + 20_000)
    around.book.remove("cart", T + 25_000)
    count = Sighting(
        source=packed(NEW), destination=packed(CART), port=80, connections=7,
        first_seen=T + 10_000, last_seen=T + 30_000,
    )  # fmt: skip
    found = attribute(count, around)
    assert isinstance(found, Ends)
    assert (found.source.instance, found.destination.instance) == ("late", "cart")


def test_mapped_addresses_are_plain(around: Surroundings) -> None:
    seen = sighting(f"::ffff:{FRONT}", f"::ffff:{HOST}", 22)
    found = attribute(seen, around)
    assert isinstance(found, Ends)
    assert found.source == Endpoint(address=FRONT, instance="front")
    assert found.destination == Endpoint(address=HOST, instance="service:ssh")
    assert is_visible(seen, Scopes(), around)


def test_listeners_prefer_the_exact_address_then_their_family() -> None:
    exact, four, six = (Owner(name, name, None) for name in ("exact", "four", "six"))
    listeners = Listeners(
        [
            Listener(packed(HOST), 80, exact),
            Listener(packed("0.0.0.0"), 80, four),
            Listener(packed("::"), 80, six),
            Listener(packed("::ffff:127.0.0.1"), 81, exact),
        ]
    )
    assert listeners.find(packed(HOST), 80) is exact
    assert listeners.find(packed("127.0.0.1"), 80) is four
    assert listeners.find(packed("::1"), 80) is six
    assert listeners.find(packed("127.0.0.1"), 81) is exact
    assert listeners.find(packed("127.0.0.1"), 82) is None
    assert list(listeners.at(80)) == [exact, four, six]
    assert list(listeners.at(82)) == []
    only_four = Listeners([Listener(packed("0.0.0.0"), 80, four)])
    assert only_four.find(packed("::1"), 80) is None
    only_six = Listeners([Listener(packed("::"), 80, six, v6_only=True)])
    assert only_six.find(packed("127.0.0.1"), 80) is None
    assert only_six.find(packed("::1"), 80) is six


def test_who_listens_tells_the_ports_that_others_reach() -> None:
    one, other = (Owner(name, name, None) for name in ("one", "other"))
    listeners = Listeners(
        [
            Listener(packed("0.0.0.0"), 80, one),
            Listener(packed("::"), 81, one, v6_only=True),
            Listener(packed("127.0.0.1"), 82, one),
            Listener(packed("::1"), 83, one),
            Listener(packed("0.0.0.0"), 84, one, "udp"),
            Listener(packed(HOST), 85, other),
            Listener(packed("0.0.0.0"), 86, Owner("", "sshd", None)),
        ]
    )
    assert listeners.ports() == {"one": {80, 81}, "other": {85}}


def test_a_place_that_services_share_is_nobodys() -> None:
    one, other = (Owner(name, name, None) for name in ("one", "other"))
    shared = Listeners(
        [Listener(packed(HOST), 80, owner) for owner in (one, other)]
        + [Listener(packed("0.0.0.0"), 81, one)] * 2
    )
    found = shared.find(packed(HOST), 80)
    assert found is not None
    assert not found.instance
    assert shared.find(packed(HOST), 81) is one


def test_families_with_different_listeners_are_told_apart() -> None:
    four, six, same = (Owner(name, name, None) for name in ("four", "six", "same"))
    own = [packed(HOST), packed("2001:db8::10"), packed("2001:db8::11")]
    listeners = Listeners(
        [
            Listener(packed("0.0.0.0"), 80, four),
            Listener(packed("::"), 80, six, v6_only=True),
            Listener(packed("2001:db8::11"), 80, same),
            Listener(packed("0.0.0.0"), 81, same),
            Listener(packed("::"), 81, same),
            Listener(packed("0.0.0.0"), 82, four, "udp"),
        ]
    )
    assert sorted(listeners.entries(own)) == [
        (80, packed("0.0.0.0"), four),
        (80, packed("::1"), six),
        (80, packed("2001:db8::10"), six),
        (80, packed("2001:db8::11"), same),
        (81, packed("0.0.0.0"), same),
    ]


LIMITED, CONTAINERS, HOSTS = Scopes(), Scopes(containers=True), Scopes(hosts=True)
BOTH = Scopes(containers=True, hosts=True)


@pytest.mark.parametrize(
    ("source", "destination", "shown_in"),
    [
        (FRONT, CART, [LIMITED, CONTAINERS, HOSTS, BOTH]),
        (FRONT, HOST, [LIMITED, CONTAINERS, HOSTS, BOTH]),
        ("127.0.0.1", "127.0.0.1", [LIMITED, CONTAINERS, HOSTS, BOTH]),
        ("::1", "::1", [LIMITED, CONTAINERS, HOSTS, BOTH]),
        ("", CART, [LIMITED, CONTAINERS, HOSTS, BOTH]),
        (FRONT, "203.0.113.7", [LIMITED, CONTAINERS, HOSTS, BOTH]),
        (HOST, "2606:4700::1111", [LIMITED, CONTAINERS, HOSTS, BOTH]),
        ("", "203.0.113.7", [LIMITED, CONTAINERS, HOSTS, BOTH]),
        # Private peers and whatever comes from outside: only where it is enabled.
        (FRONT, "10.9.9.9", [CONTAINERS, BOTH]),
        ("10.9.9.9", FRONT, [CONTAINERS, BOTH]),
        (HOST, "10.9.9.9", [HOSTS, BOTH]),
        ("", "10.9.9.9", [HOSTS, BOTH]),
        ("203.0.113.7", HOST, [HOSTS, BOTH]),
        # What only passes through this host concerns nobody here.
        ("10.9.9.9", "203.0.113.7", []),
        ("10.9.9.9", "10.8.8.8", []),
    ],
)
def test_each_mode_shows_what_it_should(
    source: str, destination: str, shown_in: list[Scopes], around: Surroundings
) -> None:
    seen = sighting(source, destination, 443)
    every = (LIMITED, CONTAINERS, HOSTS, BOTH)
    assert [scopes for scopes in every if is_visible(seen, scopes, around)] == shown_in


def test_local_is_the_host_and_its_containers(around: Surroundings) -> None:
    assert is_local(packed(HOST), around)
    assert is_local(packed("127.8.8.8"), around)
    assert is_local(packed(NEW), around)
    assert is_local(packed(f"::ffff:{NEW}"), around)
    assert not is_local(packed("172.19.0.1"), around)


def test_loopback_and_mapped_addresses() -> None:
    assert is_loopback(packed("127.255.0.1"))
    assert is_loopback(packed("::1"))
    assert not is_loopback(packed("128.0.0.1"))
    assert not is_loopback(packed("::"))
    assert plain(packed("::ffff:10.0.0.1")) == packed("10.0.0.1")
    assert plain(packed("fd00::1")) == packed("fd00::1")
    assert plain(b"") == b""
