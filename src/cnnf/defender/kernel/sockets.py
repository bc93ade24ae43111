"""Netlink sockets: the only place that opens AF_NETLINK.

A socket belongs for good to the network namespace it was opened in.
"""

import os
import socket
from collections.abc import Callable, Iterator

from cnnf.defender.core.limits import DUMP_TRIES_MAX
from cnnf.defender.netlink.errors import Interrupted, KernelRefused
from cnnf.defender.netlink.messages import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    messages,
    raise_if_error,
    raise_if_failed,
)

NETLINK_SOCK_DIAG = 4
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5
_SO_RCVBUFFORCE = 33

#: One read of a dump; the kernel fills at most 32 KiB a message by itself.
_READ_BYTES = 256 * 1024
#: An answer that takes longer is not coming.
_ANSWER_SECONDS = 5


class NetlinkSocket:
    """A request/answer socket of one netlink family, for everything but the packet loop."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        self._socket.bind((0, 0))
        self._socket.settimeout(_ANSWER_SECONDS)
        self._sequence = int.from_bytes(os.urandom(3), "little")

    def close(self) -> None:
        """Close the socket; what it was bound to is released."""
        self._socket.close()

    def fileno(self) -> int:
        """For waiting until something can be read."""
        return self._socket.fileno()

    def sequence(self) -> int:
        """The next message's number."""
        self._sequence += 1
        return self._sequence

    def ask(self, subject: str, request: bytes) -> None:
        """Send a request that asks for an acknowledgement. Raises KernelRefused, OSError."""
        self._socket.send(request)
        while True:
            for kind, _, sequence, payload in messages(self._socket.recv(_READ_BYTES)):
                if sequence == self._sequence and kind == NLMSG_ERROR:
                    raise_if_error(subject, kind, payload)
                    return

    def one(self, subject: str, request: bytes) -> bytes | None:
        """The one answer's payload, None when there is no such thing (ENOENT)."""
        self._socket.send(request)
        while True:
            for kind, _, sequence, payload in messages(self._socket.recv(_READ_BYTES)):
                if sequence != self._sequence:
                    continue
                try:
                    raise_if_error(subject, kind, payload)
                except KernelRefused as refusal:
                    if refusal.errno == 2:
                        return None
                    raise
                return payload

    def dump(self, subject: str, request: bytes) -> Iterator[bytes]:
        """Every payload of a dump. Raises KernelRefused, Truncated, OSError.

        Raises Interrupted at the end, when what was dumped changed meanwhile: what was yielded may
        then lack parts or have them twice. `whole` tries again.
        """
        self._socket.send(request)
        interrupted = 0
        while True:
            for kind, flags, sequence, payload in messages(self._socket.recv(_READ_BYTES)):
                if sequence != self._sequence:
                    continue
                interrupted |= flags & NLM_F_DUMP_INTR
                if kind == NLMSG_DONE:
                    raise_if_failed(subject, payload)
                    if interrupted:
                        raise Interrupted(f"{subject}: it changed while it was read")
                    return
                raise_if_error(subject, kind, payload)
                yield payload

    def whole(self, subject: str, request: Callable[[int], bytes]) -> list[bytes]:
        """Every payload of a dump that nothing interrupted; `request` makes it for a sequence.

        Raises as `dump`; Interrupted when each of several tries was.
        """
        for _ in range(DUMP_TRIES_MAX - 1):
            try:
                return list(self.dump(subject, request(self.sequence())))
            except Interrupted:
                continue
        return list(self.dump(subject, request(self.sequence())))


def packet_socket(buffer_bytes: int, *, tell_overflow: bool) -> socket.socket:
    """A socket for packets, with a big receive buffer.

    `tell_overflow` makes recv fail with ENOBUFS when packets did not fit. A queue's overflow is
    counted by the kernel and read from there, and an error would only cost time while the queue is
    at its fullest; a log's is known by the error alone.
    """
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    )
    if not tell_overflow:
        sock.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.bind((0, 0))
    return sock


def confirm(sock: socket.socket, subject: str, request: bytes) -> None:
    """Send a configuration request on a packet socket and wait for its acknowledgement.

    Packets that come first are an error: configure before packets can arrive.
    """
    sock.settimeout(_ANSWER_SECONDS)
    sock.send(request)
    for kind, _, _, payload in messages(sock.recv(_READ_BYTES)):
        raise_if_error(subject, kind, payload)
    sock.settimeout(None)


def queue_statistics() -> dict[int, tuple[int, int, int]]:
    """Queue number -> (waiting, dropped by the kernel's queue, dropped by our socket's buffer)."""
    try:
        with open("/proc/net/netfilter/nfnetlink_queue") as file:  # noqa: PTH123
            rows = [line.split() for line in file]
    except FileNotFoundError:
        return {}
    return {int(row[0]): (int(row[2]), int(row[5]), int(row[6])) for row in rows if len(row) >= 7}
