"""Which living connections a rule cuts, and where their ends are."""

from ipaddress import ip_address
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.cutting import Cut, Living, LocalEnd, Room, decide, is_exempt
from cnnf.defender.core.existing import NamespaceSockets
from cnnf.defender.netlink.conntrack import UDP, Ends, Tracked
from cnnf.defender.netlink.inet_diag import TCP_LISTEN, Socket
from tests.unit.defender.core.estate import packed

HOST, FRONT, CART, OUTSIDE = "192.0.2.10", "172.18.0.2", "172.18.0.3", "203.0.113.7"
MAPPED = "::ffff:172.18.0.2"


def sock(here: str, port: int, there: str, there_port: int, *, cgroup: int = 0) -> Socket:
    """An established socket with a cookie of its own."""
    ends = packed(here), port, packed(there), there_port
    return Socket(1, *ends, 0, cgroup * 10, cgroup, cookie=crc32(repr(ends).encode()) | 1)


def room(pid: int, *living: Socket, listening: tuple[int, ...] = ()) -> Room:
    """A namespace; pid 0 is the host's."""
    any4 = packed("0.0.0.0")
    listeners = [Socket(TCP_LISTEN, any4, port, any4, 0, 0, 0, 0) for port in listening]
    return Room(pid, NamespaceSockets(pid == 0, listeners, list(living)))


def entry(
    original: tuple[str, int, str, int], reply: tuple[str, int, str, int], state: int = 3
) -> Tracked:
    """A tracked connection."""
    one, other = (Ends(packed(a), p, packed(b), q) for a, p, b, q in (original, reply))
    return Tracked(one, other, state, id=7)


def straight(source: str, source_port: int, destination: str, port: int, state: int = 3) -> Tracked:
    """A tracked connection that nobody translates."""
    there = (source, source_port, destination, port)
    return entry(there, (destination, port, source, source_port), state)


def refuse_all(_: Living) -> str:
    """A rule that refuses everything."""
    return "none"


def only(cuts: list[Cut]) -> Cut:
    """The one that is to be cut."""
    (one,) = cuts
    return one


def test_both_ends_and_the_entry_are_found() -> None:
    client, server = sock(FRONT, 40_000, CART, 80), sock(CART, 80, FRONT, 40_000)
    tracked = straight(FRONT, 40_000, CART, 80)
    other = sock(FRONT, 40_001, CART, 81)
    decided = decide(
        [room(0), room(11, client, other), room(12, server, listening=(80,))],
        [tracked],
        lambda living: "no web" if living.port == 80 else None,
    )
    assert decided.cuts == [
        Cut(
            Living(packed(FRONT), 40_000, packed(CART), 80, 6, 0, 0, False),
            "no web",
            (LocalEnd(11, client), LocalEnd(12, server)),
            (tracked,),
        )
    ]
    assert decided.ambiguous == []


def test_without_conntrack_the_listener_tells_the_server() -> None:
    client, server = sock(FRONT, 40_000, CART, 80), sock(CART, 80, FRONT, 40_000)
    rooms = [room(11, client), room(12, server, listening=(80,))]
    assert len(only(decide(rooms, [], refuse_all).cuts).ends) == 2


def test_conntrack_tells_the_server_when_it_listens_no_more() -> None:
    server = sock(CART, 80, FRONT, 40_000)
    one = only(decide([room(12, server)], [straight(FRONT, 40_000, CART, 80)], refuse_all).cuts)
    assert (one.connection.source_port, one.connection.port) == (40_000, 80)
    assert one.ends == (LocalEnd(12, server),)


def test_a_client_whose_port_somebody_listens_on_is_still_the_client() -> None:
    client = sock(HOST, 9_000, OUTSIDE, 443, cgroup=5)
    rooms = [room(0, client, listening=(9_000,))]
    one = only(decide(rooms, [straight(HOST, 9_000, OUTSIDE, 443)], refuse_all).cuts)
    assert (one.connection.port, one.connection.cgroup, one.connection.inode) == (443, 5, 50)


def test_a_translated_connection_is_judged_by_who_really_answers() -> None:
    # A published port: outside -> host:8080, really cart:80.
    server = sock(CART, 80, OUTSIDE, 50_000)
    tracked = entry((OUTSIDE, 50_000, HOST, 8080), (CART, 80, OUTSIDE, 50_000))
    one = only(decide([room(0), room(12, server, listening=(80,))], [tracked], refuse_all).cuts)
    assert (one.connection.destination, one.connection.port) == (packed(CART), 80)
    assert one.ends == (LocalEnd(12, server),)
    # A client that knows the published port only.
    client = sock(FRONT, 40_000, HOST, 8080)
    tracked = entry((FRONT, 40_000, HOST, 8080), (CART, 80, FRONT, 40_000))
    rooms = [room(11, client), room(12, sock(CART, 80, FRONT, 40_000), listening=(80,))]
    assert len(only(decide(rooms, [tracked], refuse_all).cuts).ends) == 2


def test_a_masqueraded_client_is_judged_by_its_own_address() -> None:
    client = sock(FRONT, 40_000, OUTSIDE, 443)
    tracked = entry((FRONT, 40_000, OUTSIDE, 443), (OUTSIDE, 443, HOST, 61_000))
    one = only(decide([room(0), room(11, client)], [tracked], refuse_all).cuts)
    assert one.connection.source == packed(FRONT)
    assert one.ends == (LocalEnd(11, client),)
    # The server is here too and sees the translated address.
    server = sock(CART, 80, HOST, 61_000)
    tracked = entry((FRONT, 40_000, CART, 80), (CART, 80, HOST, 61_000))
    rooms = [room(11, sock(FRONT, 40_000, CART, 80)), room(12, server, listening=(80,))]
    assert len(only(decide(rooms, [tracked], refuse_all).cuts).ends) == 2


def test_a_mapped_address_is_its_ipv4_address() -> None:
    client, server = sock(FRONT, 40_000, CART, 80), sock(CART, 80, FRONT, 40_000)
    mapped = server._replace(source=packed("::ffff:172.18.0.3"), destination=packed(MAPPED))
    one = only(decide([room(11, client), room(12, mapped, listening=(80,))], [], refuse_all).cuts)
    # What is aborted is the socket as the kernel knows it.
    assert one.ends == (LocalEnd(11, client), LocalEnd(12, mapped))


def test_what_only_passes_has_no_ends() -> None:
    tracked = straight("10.9.0.2", 40_000, OUTSIDE, 443)
    one = only(decide([room(0)], [tracked], refuse_all).cuts)
    assert one.passing
    assert one.entries == (tracked,)


def test_what_is_over_is_no_connection() -> None:
    for state in (0, 7, 8, 9):
        tracked = straight("10.9.0.2", 40_000, OUTSIDE, 443, state)
        assert decide([room(0)], [tracked], refuse_all).cuts == []


def test_a_container_talking_to_itself_is_left_alone() -> None:
    own = [sock("127.0.0.1", 40_000, "127.0.0.1", 80), sock(FRONT, 40_001, FRONT, 80)]
    assert decide([room(11, *own, listening=(80,))], [], refuse_all).cuts == []
    # The host's own loopback can be ruled.
    on_host = room(0, own[0], sock("127.0.0.1", 80, "127.0.0.1", 40_000), listening=(80,))
    one = only(decide([on_host], [], refuse_all).cuts)
    assert len(one.ends) == 2
    assert one.connection.to_host


def test_what_can_be_two_connections_is_cut_by_nobody() -> None:
    # Two networks that this host keeps apart use the same addresses.
    rooms = [room(pid, sock(FRONT, 40_000, CART, 80)) for pid in (11, 12)]
    decided = decide(rooms, [], refuse_all)
    assert decided.cuts == []
    assert [one.port for one in decided.ambiguous] == [80]


def test_udp_is_its_entries() -> None:
    tracked = straight(FRONT, 40_000, CART, 53, 0)._replace(protocol=UDP)
    tcp = sock(FRONT, 40_000, CART, 53)
    decided = decide([room(11, tcp)], [tracked], lambda one: "dns" if one.protocol == 17 else None)
    one = only(decided.cuts)
    assert (one.ends, one.entries) == ((), (tracked,))


ports = st.integers(40_000, 40_003)
names = st.sampled_from([HOST, FRONT, CART, OUTSIDE])
sockets = st.builds(sock, names, ports, names, ports, cgroup=st.integers(0, 3))
entries = st.builds(straight, names, ports, names, ports, st.integers(0, 9))


@given(st.lists(st.lists(sockets, max_size=6), max_size=3), st.lists(entries, max_size=6), ports)
def test_nothing_is_cut_that_the_rule_lets_be(
    living: list[list[Socket]], tracked: list[Tracked], port: int
) -> None:
    rooms = [room(pid, *socks, listening=(40_002,)) for pid, socks in enumerate(living)]
    decided = decide(rooms, tracked, lambda one: "no" if one.port == port else None)
    for one in decided.cuts:
        assert one.connection.port == port
        for end in one.ends:
            # Whatever direction: this socket has these ends.
            assert port in (end.socket.port, end.socket.source_port)
        assert len(one.ends) <= 2
    cut = [end for one in decided.cuts for end in one.ends]
    assert len(cut) == len(set(cut))


def living(
    destination: str, port: int, *, outgoing: bool = False, to_host: bool = False, protocol: int = 6
) -> Living:
    """A connection from here, or from outside."""
    source, inode = (HOST, 5) if outgoing else (OUTSIDE, 0)
    return Living(packed(source), 40_000, packed(destination), port, protocol, 0, inode, to_host)


@pytest.mark.parametrize(
    ("one", "exempt"),
    [
        # The administrator's, from outside; not what the host has with itself, nor what passes.
        (living(HOST, 22, to_host=True), True),
        (living(HOST, 23, to_host=True), False),
        (living(HOST, 22, outgoing=True, to_host=True), False),
        (living(CART, 22), False),
        (living(OUTSIDE, 22, outgoing=True), False),
        (living(HOST, 22, to_host=True, protocol=17), False),
        # Our own to the Console, and others' to it where it is here; not what passes to it.
        (living(OUTSIDE, 8084, outgoing=True), True),
        (living("::ffff:" + OUTSIDE, 8084, outgoing=True), True),
        (living(OUTSIDE, 8083, outgoing=True), False),
        (living(CART, 8084, outgoing=True), False),
        (living(OUTSIDE, 8084), False),
        (living(HOST, 8084, to_host=True), True),
    ],
)
def test_what_rules_have_no_say_in_is_not_cut(one: Living, exempt: bool) -> None:
    places = [(ip_address(OUTSIDE), 8084), (ip_address(HOST), 8084)]
    assert is_exempt(one, (22,), places) == exempt
