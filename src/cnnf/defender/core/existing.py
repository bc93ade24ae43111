"""Connections that were there before the Defender: merged from sockets and conntrack, each once.

The same connection shows up as a socket at its client, as one at its server and as a conntrack
entry that knows how addresses were translated in between. Canonical is: the client's own address
and port, and the address and port that really answers.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cnnf.defender.core.attribution import Sighting, is_loopback, plain
from cnnf.defender.netlink.conntrack import TCP_ESTABLISHED, Ends, Tracked
from cnnf.defender.netlink.inet_diag import Socket


class NamespaceSockets(NamedTuple):
    """The sockets of one network namespace; `host` says that it is the host's own."""

    host: bool
    listeners: list[Socket]
    established: list[Socket]


def merge(
    namespaces: Iterable[NamespaceSockets], tracked: Iterable[Tracked], now_ms: int
) -> list[Sighting]:
    """Every connection once, as a sighting with `found=1`."""
    canonical: dict[Ends, Ends] = {}
    connections: dict[Ends, tuple[int, int]] = {}
    for entry in tracked:
        if entry.state != TCP_ESTABLISHED:
            continue
        one, server_view = canonical_ends(entry)
        canonical[entry.original] = one
        canonical[server_view] = one
        connections[one] = (0, 0)
    for namespace in namespaces:
        for ends, owner in _oriented(namespace):
            one = canonical.get(ends, ends)
            # The client's socket on the host tells the service; nothing else may overwrite it.
            if owner != (0, 0) or one not in connections:
                connections[one] = owner
    return [
        Sighting(
            source=ends.source,
            cgroup=cgroup,
            inode=inode,
            destination=ends.destination,
            port=ends.port,
            found=1,
            first_seen=now_ms,
            last_seen=now_ms,
        )
        for ends, (cgroup, inode) in connections.items()
    ]


def canonical_ends(entry: Tracked) -> tuple[Ends, Ends]:
    """The canonical connection of a tracked one, and how its server's socket sees it."""
    original, reply = entry.original, entry.reply
    return (
        Ends(original.source, original.source_port, reply.source, reply.source_port),
        Ends(reply.destination, reply.port, reply.source, reply.source_port),
    )


def _oriented(namespace: NamespaceSockets) -> Iterable[tuple[Ends, tuple[int, int]]]:
    """Each socket's connection from client to server, with the client's owner where it is ours."""
    listening = {sock.source_port for sock in namespace.listeners}
    for sock in namespace.established:
        here, there = plain(sock.source), plain(sock.destination)
        if not namespace.host and (here == there or is_loopback(here) or is_loopback(there)):
            continue  # a container talking to itself: that never leaves its namespace
        if sock.source_port in listening:
            yield Ends(there, sock.port, here, sock.source_port), (0, 0)
        else:
            owner = (sock.cgroup, sock.inode) if namespace.host else (0, 0)
            yield Ends(here, sock.source_port, there, sock.port), owner
