"""inet_diag: the kernel's own answer to "whose socket is this?".

From `linux/inet_diag.h` and `linux/sock_diag.h`. A socket's cgroup is what it was when the socket
was made, as the inode of the v2 cgroup (attribute 21).
"""

import struct
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated
from cnnf.defender.netlink.messages import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    attribute,
    message,
)

SOCK_DIAG_BY_FAMILY = 20
SOCK_DESTROY = 21

AF_INET, AF_INET6 = 2, 10
TCP, UDP = 6, 17

TCP_ESTABLISHED, TCP_SYN_SENT, TCP_CLOSE, TCP_LISTEN = 1, 2, 7, 10
_SYN_RECV, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT = 3, 4, 5, 8

#: States (as a bit mask) in which a connection is being made or data can still pass one way.
LIVING = (
    1 << TCP_ESTABLISHED
    | 1 << TCP_SYN_SENT
    | 1 << _SYN_RECV
    | 1 << _FIN_WAIT1
    | 1 << _FIN_WAIT2
    | 1 << _CLOSE_WAIT
)

_ATTR_REQUEST_BYTECODE = 1
_ATTR_V6_ONLY = 11
_ATTR_CGROUP_ID = 21
_NO_COOKIE = b"\xff" * 8
_ATTR = struct.Struct("=HH")
_CGROUP_ID = struct.Struct("=Q")

_BC_S_EQ = 11
_BYTECODE_OP = struct.Struct("=BBH")

#: `struct inet_diag_msg`: family, state, timer, retrans, then the socket id (ports in network
#: order, 16 bytes an address, interface, cookie), then expires, rqueue, wqueue, uid, inode.
_MESSAGE = struct.Struct(">BBBB HH 16s 16s")
_TAIL = struct.Struct("=IIIII")
_MESSAGE_LENGTH = 72
#: Interface and cookie; the cookie is two words of the machine's order, the lower one first.
_BOUND = struct.Struct("=III")
_COOKIE = struct.Struct("=II")


class Socket(NamedTuple):
    """A TCP (or UDP) socket. Addresses are packed (4 or 16 bytes); `cgroup` is 0 when unknown.

    `device` is the interface it is bound to, 0 for none. `cookie` is a number that no other socket
    has until the machine starts anew; 0 is none. `v6_only`: a listener on `::` does not take IPv4.
    """

    state: int
    source: bytes
    source_port: int
    destination: bytes
    port: int
    uid: int
    inode: int
    cgroup: int
    device: int = 0
    cookie: int = 0
    v6_only: bool = False


def _request(
    family: int,
    states: int,
    source: bytes,
    source_port: int,
    destination: bytes,
    port: int,
    device: int,
    cookie: bytes = _NO_COOKIE,
    protocol: int = TCP,
) -> bytes:
    return (
        struct.pack("=BBBxI", family, protocol, 0, states)
        + struct.pack(">HH", source_port, port)
        + source.ljust(16, b"\0")
        + destination.ljust(16, b"\0")
        + struct.pack("=I", device)
        + cookie
    )


def exact(
    sequence: int,
    source: bytes,
    source_port: int,
    destination: bytes,
    port: int,
    device: int = 0,
    protocol: int = TCP,
) -> bytes:
    """Ask for the socket with exactly these ends; `device` is the interface it is bound to.

    An IPv4 question also finds IPv6 sockets that speak IPv4 (mapped addresses). For UDP the kernel
    looks for the socket that would receive from the "source" it is given: the ends are swapped
    "for historical reasons" (udp_diag.c, udp_dump_one).
    """
    family = AF_INET if len(source) == 4 else AF_INET6
    ends = (source, source_port, destination, port)
    if protocol == UDP:
        ends = (destination, port, source, source_port)
    body = _request(family, 0xFFFFFFFF, *ends, device, protocol=protocol)
    return message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence, body)


def destroy(sequence: int, target: Socket, protocol: int = TCP) -> bytes:
    """Abort exactly this socket, as it came out of a dump: both ends notice at once.

    Its owner gets ECONNABORTED, a TCP peer a reset. Answers: ENOENT when it is gone, ESTALE when
    another one has its ends by now (the cookie tells), EOPNOTSUPP in a kernel without
    INET_DIAG_DESTROY.
    Raises ValueError without a cookie: then it could be another one's.
    """
    if not target.cookie:
        raise ValueError("a socket without cookie is not told from others")
    body = _request(
        AF_INET if len(target.source) == 4 else AF_INET6,
        0xFFFFFFFF,
        target.source,
        target.source_port,
        target.destination,
        target.port,
        target.device,
        _COOKIE.pack(target.cookie & 0xFFFFFFFF, target.cookie >> 32),
        protocol,
    )
    return message(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, sequence, body)


def dump(sequence: int, family: int, states: int, protocol: int = TCP) -> bytes:
    """Ask for every socket of a family in one of `states` (a bit mask of 1 << state).

    A UDP socket that is bound but connected to nobody is in TCP_CLOSE.
    """
    body = _request(family, states, b"", 0, b"", 0, 0, protocol=protocol)
    return message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, sequence, body)


def dump_by_source_port(sequence: int, family: int, states: int, source_port: int) -> bytes:
    """Ask for the sockets whose local port is `source_port`; the kernel does the filtering."""
    # One comparison: equal -> 8 bytes on, which is the end (accept); else 12, past it (reject).
    # The second op of a port comparison carries the port in its `no` field.
    bytecode = _BYTECODE_OP.pack(_BC_S_EQ, 8, 12) + _BYTECODE_OP.pack(0, 0, source_port)
    body = _request(family, states, b"", 0, b"", 0, 0) + attribute(_ATTR_REQUEST_BYTECODE, bytecode)
    return message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, sequence, body)


def decode_socket(payload: bytes) -> Socket:
    """The socket in one answer's payload. Raises Truncated."""
    if len(payload) < _MESSAGE_LENGTH:
        raise Truncated(f"inet_diag: {len(payload)} bytes, at least {_MESSAGE_LENGTH}")
    family, state, _, _, source_port, port, source, destination = _MESSAGE.unpack_from(payload, 0)
    device, cookie, cookie_high = _BOUND.unpack_from(payload, 40)
    _, _, _, uid, inode = _TAIL.unpack_from(payload, 52)
    length = 4 if family == AF_INET else 16
    cgroup, v6_only, at, end = 0, False, _MESSAGE_LENGTH, len(payload)
    while at + 4 <= end:
        size, kind = _ATTR.unpack_from(payload, at)
        if size < 4 or at + size > end:
            raise Truncated(f"inet_diag: attribute {kind} at {at} says {size} bytes")
        if kind == _ATTR_CGROUP_ID and size == 12:
            (cgroup,) = _CGROUP_ID.unpack_from(payload, at + 4)
        elif kind == _ATTR_V6_ONLY and size == 5:
            v6_only = payload[at + 4] != 0
        at += (size + 3) & ~3
    return Socket(
        state,
        source[:length],
        source_port,
        destination[:length],
        port,
        uid,
        inode,
        cgroup,
        device,
        cookie | cookie_high << 32,
        v6_only,
    )
