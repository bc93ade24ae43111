"""Network namespaces in which several containers live: asking there whose a connection is.

An address that containers share does not tell which of them connects; the socket does. A socket
that asks (inet_diag) belongs to the namespace it was opened in, so the daemon, which may enter any,
opens one in each for each packet loop and hands it over; loops may not enter any. `Rooms` is what a
loop has, `open_in` what the daemon opens.
"""

import os
import socket

from cnnf.defender.core.judge import plain
from cnnf.defender.core.limits import SHARED_ROOMS_MAX
from cnnf.defender.core.tables import InvalidTablesError
from cnnf.defender.kernel import namespaces
from cnnf.defender.kernel.sockdiag import SocketOwner, asking_socket


class Rooms:
    """The shared namespaces that a packet loop has been told of."""

    def __init__(self) -> None:
        self._owners: dict[int, SocketOwner] = {}
        self._addresses: dict[bytes, int] = {}

    def take(self, number: int, addresses: list[bytes], files: list[int]) -> None:
        """A namespace's addresses, and a socket that was opened in there; neither: it is no more.

        The descriptor stays the caller's. Raises InvalidTablesError, and then nothing has changed.
        """
        full = len(self._owners) >= SHARED_ROOMS_MAX and number not in self._owners
        if number < 0 or full or bool(addresses) != bool(files):
            raise InvalidTablesError("a namespace without address or socket, or one too many")
        before = self._owners.pop(number, None)
        if before is not None:
            before.close()
        self._addresses = {one: room for one, room in self._addresses.items() if room != number}
        if files:
            self._owners[number] = SocketOwner(socket.socket(fileno=os.dup(files[0])))
            self._addresses |= dict.fromkeys(map(plain, addresses), number)

    def owner(self, source: bytes) -> SocketOwner | None:
        """Who can be asked whose a packet from this address is; None where nobody shares it."""
        number = self._addresses.get(plain(source)) if self._addresses else None
        return None if number is None else self._owners[number]


def open_in(pid: int) -> socket.socket:
    """A socket that asks in a process's network namespace. Raises OSError."""
    with namespaces.inside(f"/proc/{pid}/ns/net"):
        return asking_socket()
