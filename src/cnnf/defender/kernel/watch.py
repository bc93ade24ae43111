"""Reads copies of packets from NFLOG, in batches: the limited view's SYNs, and DNS. Nothing waits
for it."""

import asyncio
import errno
import socket
from collections.abc import Callable

import structlog

from cnnf.defender.kernel.sockets import confirm, packet_socket
from cnnf.defender.netlink import nflog
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.nflog import LoggedPacket

_log = structlog.get_logger(__name__)

_BUFFER_BYTES = 8 * 1024 * 1024
_COPY_BYTES = 128
_BATCH_BYTES = 65_536
_BATCH_PACKETS_MAX = 32
_BATCH_TIMEOUT_MS = 100
#: Batches read in one go before other work gets its turn.
_READS_MAX = 32
#: Turns of it that somebody waits for: as many batches as DNS may bring in a quarter of a second.
_TURNS_MAX = 16


class Watch:
    """Reads one NFLOG group from inside the event loop."""

    def __init__(
        self,
        group: int,
        on_packet: Callable[[LoggedPacket], object],
        on_lost: Callable[[], None],
        *,
        copy_bytes: int = _COPY_BYTES,
    ) -> None:
        self._group = group
        self._copy_bytes = copy_bytes
        self._on_packet = on_packet
        self._on_lost = on_lost
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Bind the group and begin to read. Raises KernelRefused, OSError."""
        sock = packet_socket(_BUFFER_BYTES, tell_overflow=True)
        confirm(sock, f"binding log group {self._group}", nflog.bind(self._group, 1))
        settings = nflog.configure(
            self._group,
            2,
            copy_bytes=self._copy_bytes,
            buffer_bytes=_BATCH_BYTES,
            timeout_ms=_BATCH_TIMEOUT_MS,
            packets_max=_BATCH_PACKETS_MAX,
        )
        confirm(sock, f"configuring log group {self._group}", settings)
        sock.setblocking(False)
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._read)

    def stop(self) -> None:
        """Stop reading and give the group back."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def drain(self) -> None:
        """Read what was copied until now; not for ever, where more comes than can be read."""
        for _ in range(_TURNS_MAX):
            if not self._read():
                return

    def _read(self) -> bool:
        """Read some; False when there is no more."""
        assert self._socket is not None
        for _ in range(_READS_MAX):
            try:
                data = self._socket.recv(_BATCH_BYTES * 2)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._on_lost()
                continue
            try:
                for packet in nflog.decode_packets(data):
                    self._on_packet(packet)
            except NetlinkError as error:
                _log.warning("log batch can't be read", error=str(error))
        return True
