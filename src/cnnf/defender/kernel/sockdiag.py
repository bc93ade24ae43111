"""Sockets of one network namespace, asked from the kernel.

`SocketOwner` is the packet loop's: one question while a SYN waits (7 µs), never an exception.
`SocketTable` is the daemon's: listeners and living connections.
"""

import socket
import struct
from functools import partial

from cnnf.defender.kernel.sockets import NETLINK_SOCK_DIAG, NetlinkSocket
from cnnf.defender.netlink import inet_diag
from cnnf.defender.netlink.errors import KernelRefused, NetlinkError
from cnnf.defender.netlink.inet_diag import Socket
from cnnf.defender.netlink.messages import NLMSG_DONE, NLMSG_ERROR, messages

#: The loop never waits longer for an answer. The kernel answers from within the send itself, so
#: anything beyond means that it will not.
_ANSWER_TIMEOUT = struct.pack("@ll", 0, 50_000)
_READ_BYTES = 65_536


def asking_socket() -> socket.socket:
    """A socket for questions about the sockets of the namespace the calling thread is in."""
    asking = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
    )
    asking.bind((0, 0))
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _ANSWER_TIMEOUT)
    return asking


class SocketOwner:
    """Finds the local socket behind a SYN that is on its way out."""

    def __init__(self, asking: socket.socket | None = None) -> None:
        self._socket = asking or asking_socket()
        self._sequence = 0

    def close(self) -> None:
        """Close the socket that asks."""
        self._socket.close()

    def find(
        self,
        source: bytes,
        source_port: int,
        destination: bytes,
        port: int,
        out_device: int,
        protocol: int = inet_diag.TCP,
    ) -> Socket | None:
        """The socket, None when it can't be told: then the flow is unattributed, never guessed.

        First exactly; then as bound to the device it leaves by; then, since a destination that was
        translated is not the one the socket knows, by its source port among those connecting (TCP).
        """
        try:
            for device in (0, out_device):
                found = self._exact(source, source_port, destination, port, device, protocol)
                if found is not None:
                    return found
            if protocol != inet_diag.TCP:
                return None
            return self._by_source_port(len(source), source_port)
        except (OSError, NetlinkError):
            return None

    def _exact(
        self,
        source: bytes,
        source_port: int,
        destination: bytes,
        port: int,
        device: int,
        protocol: int,
    ) -> Socket | None:
        self._sequence += 1
        self._socket.send(
            inet_diag.exact(
                self._sequence, source, source_port, destination, port, device, protocol
            )
        )
        while True:
            for kind, _, sequence, payload in messages(self._socket.recv(_READ_BYTES)):
                if sequence == self._sequence:
                    return None if kind == NLMSG_ERROR else inet_diag.decode_socket(payload)

    def _by_source_port(self, address_length: int, source_port: int) -> Socket | None:
        found: list[Socket] = []
        families = (
            (inet_diag.AF_INET, inet_diag.AF_INET6)
            if address_length == 4
            else (inet_diag.AF_INET6,)
        )
        for family in families:
            self._sequence += 1
            request = inet_diag.dump_by_source_port(
                self._sequence, family, 1 << inet_diag.TCP_SYN_SENT, source_port
            )
            self._socket.send(request)
            found += self._answers()
        return found[0] if len(found) == 1 else None

    def _answers(self) -> list[Socket]:
        found: list[Socket] = []
        while True:
            for kind, _, sequence, payload in messages(self._socket.recv(_READ_BYTES)):
                if sequence != self._sequence:
                    continue
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return found
                found.append(inet_diag.decode_socket(payload))


class SocketTable:
    """Dumps the sockets of the namespace it was made in."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_SOCK_DIAG)

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()

    def listeners(self) -> list[Socket]:
        """Every listening TCP socket. Raises NetlinkError, OSError."""
        return self._dump(1 << inet_diag.TCP_LISTEN)

    def bound(self) -> list[Socket]:
        """Every UDP socket that takes datagrams from anybody; none where the kernel can't tell
        (no udp_diag). Raises NetlinkError, OSError."""
        try:
            found = self._dump(1 << inet_diag.TCP_CLOSE, inet_diag.UDP)
        except KernelRefused:
            return []
        return [sock for sock in found if sock.source_port and not sock.port]

    def living(self) -> list[Socket]:
        """Every connection that is being made or on which data can still pass one way, each end
        that is here. Raises NetlinkError, OSError."""
        return self._dump(inet_diag.LIVING)

    def _dump(self, states: int, protocol: int = inet_diag.TCP) -> list[Socket]:
        sockets: list[Socket] = []
        for family in (inet_diag.AF_INET, inet_diag.AF_INET6):
            request = partial(inet_diag.dump, family=family, states=states, protocol=protocol)
            payloads = self._netlink.whole("inet_diag", request)
            sockets += map(inet_diag.decode_socket, payloads)
        return sockets
