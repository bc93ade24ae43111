"""One connection, seen as sockets and as a tracked entry, is one sighting."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.attribution import Sighting
from cnnf.defender.core.existing import NamespaceSockets, merge
from cnnf.defender.netlink.conntrack import TCP_ESTABLISHED, Ends, Tracked
from cnnf.defender.netlink.inet_diag import TCP_ESTABLISHED as CONNECTED
from cnnf.defender.netlink.inet_diag import TCP_LISTEN, Socket
from tests.unit.defender.core.estate import packed

T = 1_000_000
HOST, FRONT, CART, OUTSIDE = "192.0.2.10", "172.18.0.2", "172.18.0.3", "203.0.113.7"


def sock(
    here: str, here_port: int, there: str, there_port: int, *, cgroup: int = 0, inode: int = 0
) -> Socket:
    """An established socket."""
    return Socket(CONNECTED, packed(here), here_port, packed(there), there_port, 0, inode, cgroup)


def listener(address: str, port: int) -> Socket:
    """A listening socket."""
    return Socket(TCP_LISTEN, packed(address), port, packed("0.0.0.0"), 0, 0, 0, 0)


def tracked(original: tuple[str, int, str, int], reply: tuple[str, int, str, int]) -> Tracked:
    """An established entry: (source, port, destination, port) each way."""
    one, other = (Ends(packed(a), p, packed(b), q) for a, p, b, q in (original, reply))
    return Tracked(one, other, TCP_ESTABLISHED)


def namespace(
    *established: Socket, host: bool = False, listening: tuple[int, ...] = ()
) -> NamespaceSockets:
    """A namespace's sockets, with listeners on any address."""
    return NamespaceSockets(
        host, [listener("0.0.0.0", port) for port in listening], list(established)
    )


def found(source: str, destination: str, port: int, *, cgroup: int = 0, inode: int = 0) -> Sighting:
    """What is expected."""
    return Sighting(
        source=packed(source), destination=packed(destination), port=port, cgroup=cgroup,
        inode=inode, found=1, first_seen=T, last_seen=T,
    )  # fmt: skip


def test_client_server_and_tracked_entry_are_one() -> None:
    client = namespace(sock(FRONT, 40_000, CART, 80))
    server = namespace(sock(CART, 80, FRONT, 40_000), listening=(80,))
    entry = tracked((FRONT, 40_000, CART, 80), (CART, 80, FRONT, 40_000))
    assert merge([client, server], [entry], T) == [found(FRONT, CART, 80)]
    # Also where conntrack is off, and where only one of them is there.
    assert merge([client, server], [], T) == [found(FRONT, CART, 80)]
    assert merge([server], [], T) == [found(FRONT, CART, 80)]
    assert merge([], [entry], T) == [found(FRONT, CART, 80)]


def test_a_service_of_the_host_keeps_its_socket() -> None:
    client = namespace(sock(HOST, 40_000, CART, 80, cgroup=9, inode=4711), host=True)
    server = namespace(sock(CART, 80, HOST, 40_000), listening=(80,))
    entry = tracked((HOST, 40_000, CART, 80), (CART, 80, HOST, 40_000))
    wanted = [found(HOST, CART, 80, cgroup=9, inode=4711)]
    assert merge([client, server], [entry], T) == wanted
    assert merge([server, client], [entry], T) == wanted


def test_a_servers_own_socket_does_not_name_the_client() -> None:
    server = namespace(
        sock(HOST, 22, OUTSIDE, 50_000, cgroup=9, inode=5), host=True, listening=(22,)
    )
    assert merge([server], [], T) == [found(OUTSIDE, HOST, 22)]


def test_a_masqueraded_connection_is_one() -> None:
    # The container's address becomes the host's on the way out, with another port.
    client = namespace(sock(FRONT, 40_000, OUTSIDE, 443))
    entry = tracked((FRONT, 40_000, OUTSIDE, 443), (OUTSIDE, 443, HOST, 61_000))
    assert merge([client], [entry], T) == [found(FRONT, OUTSIDE, 443)]


def test_a_masqueraded_connection_to_a_server_here_is_one() -> None:
    client = namespace(sock(FRONT, 40_000, CART, 80))
    server = namespace(sock(CART, 80, HOST, 61_000), listening=(80,))
    entry = tracked((FRONT, 40_000, CART, 80), (CART, 80, HOST, 61_000))
    assert merge([client, server], [entry], T) == [found(FRONT, CART, 80)]


def test_a_published_port_is_followed_to_who_answers() -> None:
    client = namespace(sock(HOST, 40_000, HOST, 8080, cgroup=9, inode=4711), host=True)
    server = namespace(sock(CART, 80, HOST, 40_000), listening=(80,))
    entry = tracked((HOST, 40_000, HOST, 8080), (CART, 80, HOST, 40_000))
    assert merge([server, client], [entry], T) == [found(HOST, CART, 80, cgroup=9, inode=4711)]


def test_connections_to_one_port_are_told_apart_by_their_clients_port() -> None:
    server = namespace(
        sock(CART, 80, FRONT, 40_000), sock(CART, 80, FRONT, 40_001), listening=(80,)
    )
    assert merge([server], [], T) == [found(FRONT, CART, 80)] * 2


def test_loopback_on_the_host_is_one_and_in_a_container_none() -> None:
    pair = (
        sock("127.0.0.1", 40_000, "127.0.0.1", 6379, cgroup=9, inode=1),
        sock("127.0.0.1", 6379, "127.0.0.1", 40_000, cgroup=9, inode=2),
    )
    assert merge([namespace(*pair, host=True, listening=(6379,))], [], T) == [
        found("127.0.0.1", "127.0.0.1", 6379, cgroup=9, inode=1)
    ]
    assert merge([namespace(*pair, listening=(6379,))], [], T) == []
    own = sock(FRONT, 40_000, FRONT, 80), sock(FRONT, 80, FRONT, 40_000)
    assert merge([namespace(*own, listening=(80,))], [], T) == []
    resolver = sock("127.0.0.1", 40_000, "127.0.0.11", 53), sock("::1", 40_000, "::1", 80)
    assert merge([namespace(*resolver)], [], T) == []


def test_mapped_addresses_are_the_same_connection() -> None:
    client = namespace(sock(FRONT, 40_000, CART, 80))
    server = namespace(sock(f"::ffff:{CART}", 80, f"::ffff:{FRONT}", 40_000), listening=(80,))
    assert merge([client, server], [], T) == [found(FRONT, CART, 80)]


def test_only_established_entries_count() -> None:
    entry = tracked((FRONT, 40_000, CART, 80), (CART, 80, FRONT, 40_000))
    assert merge([], [entry._replace(state=state) for state in (1, 2, 4, 7)], T) == []


hosts = st.sampled_from([FRONT, CART, HOST])
connections = st.sets(st.tuples(hosts, st.integers(40_000, 40_003), hosts), max_size=8)


@given(connections, st.permutations([0, 1, 2]), st.booleans())
def test_however_it_is_seen_every_connection_is_there_once(
    pairs: set[tuple[str, int, str]], order: list[int], conntrack: bool
) -> None:
    there = {(a, port, b) for a, port, b in pairs if a != b}
    places = [HOST, FRONT, CART]
    sockets = [
        namespace(
            *(sock(a, port, b, 80) for a, port, b in there if a == place),
            *(sock(b, 80, a, port) for a, port, b in there if b == place),
            host=place == HOST,
            listening=(80,),
        )
        for place in places
    ]
    entries = [tracked((a, p, b, 80), (b, 80, a, p)) for a, p, b in there] if conntrack else []
    merged = merge([sockets[at] for at in order], entries, T)
    assert sorted((s.source, s.destination) for s in merged) == sorted(
        (packed(a), packed(b)) for a, _, b in there
    )
    assert all(sighting.found == 1 and not sighting.connections for sighting in merged)
