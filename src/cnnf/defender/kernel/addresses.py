"""This host's own addresses, and word of every change to them."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError as RouteError

from cnnf.defender.kernel.errors import ProgrammingFailed

_NETLINK_ROUTE = 0
#: RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of `linux/rtnetlink.h`.
_ADDRESS_GROUPS = 0x10 | 0x100


def host_addresses() -> list[bytes]:
    """The packed addresses of this network namespace's interfaces. Raises ProgrammingFailed."""
    try:
        with IPRoute() as route:
            texts = [
                message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                for message in route.get_addr()
            ]
    except (RouteError, OSError) as error:
        raise ProgrammingFailed(f"reading this host's addresses: {error}") from error
    return [
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
        for text in texts
        if text
    ]


class AddressWatch:
    """Calls `on_change` from the event loop whenever an address comes or goes."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Begin to listen. Raises OSError."""
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        )
        sock.bind((0, _ADDRESS_GROUPS))
        sock.setblocking(False)
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._read)

    def stop(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        # What has changed is read anew as a whole: all that matters here is that something has,
        # and so does an overflow of this socket (ENOBUFS).
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass
        self._on_change()
