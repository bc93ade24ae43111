"""Which living connections a rule does not let be, and where their ends are that can be aborted.

A verdict stands at a connection's beginning; a rule that comes later cuts what it would have
refused. Inputs are those of `existing.py`: sockets of the host and of containers, and conntrack.
`kernel/cutting.py` gathers them and carries out what is decided here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from cnnf.defender.core.attribution import is_loopback, plain
from cnnf.defender.core.existing import NamespaceSockets, canonical_ends
from cnnf.defender.core.plan import Place
from cnnf.defender.netlink.conntrack import TCP, TCP_LIVING, Ends, Tracked
from cnnf.defender.netlink.inet_diag import Socket


class Room(NamedTuple):
    """The sockets of one network namespace; `pid` is a process in it, 0 for the host's own."""

    pid: int
    sockets: NamespaceSockets


class Living(NamedTuple):
    """A connection as a rule sees it: packed addresses, the client's own and who really answers.

    `cgroup` and `inode` are those of the client's socket where it is the host's, else 0. `to_host`
    says that the server's socket is the host's.
    """

    source: bytes
    source_port: int
    destination: bytes
    port: int
    protocol: int
    cgroup: int
    inode: int
    to_host: bool


class LocalEnd(NamedTuple):
    """A socket to abort, and a process of the network namespace it is in (0: the host's own)."""

    pid: int
    socket: Socket


class Cut(NamedTuple):
    """A connection to end: its sockets here, and its entries in the host's conntrack."""

    connection: Living
    rule: str
    ends: tuple[LocalEnd, ...]
    entries: tuple[Tracked, ...]

    @property
    def passing(self) -> bool:
        """Are both its ends elsewhere?

        Forgetting its entry would not end it, the next packet makes a new one: its packets have to
        be rejected.
        """
        return not self.ends and self.connection.protocol == TCP


class Decided(NamedTuple):
    """What to cut, and what can't be: several sockets claim to be the same end of a connection.

    That is so where networks of containers that this host keeps apart use the same addresses.
    """

    cuts: list[Cut]
    ambiguous: list[Living]


class _Gathered:
    """One connection's parts as they are found."""

    def __init__(self) -> None:
        self.clients: list[LocalEnd] = []
        self.servers: list[LocalEnd] = []
        self.entries: list[Tracked] = []

    def living(self, ends: Ends, protocol: int) -> Living:
        """How a rule sees it."""
        client = self.clients[0] if self.clients else None
        own = client is not None and client.pid == 0
        return Living(
            *ends,
            protocol,
            client.socket.cgroup if client and own else 0,
            client.socket.inode if client and own else 0,
            any(one.pid == 0 for one in self.servers),
        )


def is_exempt(one: Living, failsafe: Collection[int], console: Collection[Place]) -> bool:
    """Is it let through whatever rules say? As `chains.py` has it for those that begin: to failsafe
    ports of this host from outside it, to the Console from this host and, where it is this host,
    from others."""
    if one.protocol != TCP:
        return False
    outgoing = bool(one.cgroup or one.inode)
    if one.to_host and not outgoing and one.port in failsafe:
        return True
    to_console = (plain(one.destination), one.port) in {(a.packed, port) for a, port in console}
    return to_console and (outgoing or one.to_host)


def decide(
    rooms: Iterable[Room],
    tracked: Iterable[Tracked],
    is_prevented: Callable[[Living], str | None],
) -> Decided:
    """Which connections are to be cut. `is_prevented` gives the rule that refuses one, or None.

    Of UDP only tracked entries are looked at: forgetting one is enough, because its next packet is
    asked about anew, and a UDP server's socket serves others too.
    """
    found = _gather(rooms, tracked)
    decided = Decided([], [])
    for (ends, protocol), parts in found.items():
        connection = parts.living(ends, protocol)
        rule = is_prevented(connection)
        if rule is None:
            continue
        if len(parts.clients) > 1 or len(parts.servers) > 1:
            decided.ambiguous.append(connection)
            continue
        local = (*parts.clients, *parts.servers)
        decided.cuts.append(Cut(connection, rule, local, tuple(parts.entries)))
    return decided


def identities(rooms: Iterable[Room], tracked: Iterable[Tracked]) -> frozenset[object]:
    """What tells every connection from all others: its sockets' cookies, its tracked entries."""
    cookies = {sock.cookie for room in rooms for sock in room.sockets.established if sock.cookie}
    return frozenset((*cookies, *map(_entry_identity, tracked)))


def parts(cut: Cut) -> Iterator[object]:
    """The identities of what a cut would end."""
    yield from (end.socket.cookie for end in cut.ends if end.socket.cookie)
    yield from map(_entry_identity, cut.entries)


def _entry_identity(entry: Tracked) -> tuple[object, ...]:
    return entry.original, entry.protocol, entry.zone, entry.id


def _gather(rooms: Iterable[Room], tracked: Iterable[Tracked]) -> dict[tuple[Ends, int], _Gathered]:
    found: dict[tuple[Ends, int], _Gathered] = {}
    canonical: dict[Ends, Ends] = {}
    for entry in tracked:
        if entry.protocol == TCP and entry.state not in TCP_LIVING:
            continue
        one, server_view = canonical_ends(entry)
        if entry.protocol == TCP:
            canonical[entry.original] = one
            canonical[server_view] = one
        found.setdefault((one, entry.protocol), _Gathered()).entries.append(entry)
    for room in rooms:
        listening = {sock.source_port for sock in room.sockets.listeners}
        for sock in room.sockets.established:
            here, there = plain(sock.source), plain(sock.destination)
            if not room.sockets.host and _stays_within(here, there):
                continue
            outward = Ends(here, sock.source_port, there, sock.port)
            inward = Ends(there, sock.port, here, sock.source_port)
            # Conntrack knows who began; else who listens on the port is the server.
            serves = inward in canonical or (
                outward not in canonical and sock.source_port in listening
            )
            view = inward if serves else outward
            parts = found.setdefault((canonical.get(view, view), TCP), _Gathered())
            (parts.servers if serves else parts.clients).append(LocalEnd(room.pid, sock))
    return found


def _stays_within(here: bytes, there: bytes) -> bool:
    """A container talking to itself: that never leaves its namespace and is never judged."""
    return here == there or is_loopback(here) or is_loopback(there)
