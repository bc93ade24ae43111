"""Holds answers of DNS back until the packet loops know what they say: one NFQUEUE of the daemon's.

Every packet gets its verdict: the owner releases each by its number, what it has not released after
a while goes all the same, and so does the rest when this ends. A thread of its own reads and keeps
the time, so that nobody waits for his answer because the event loop is busy.

The verdict is REPEAT with our mark, as the loops give it: the chain that handed the packet over
runs once more, takes the mark off and goes on with it.
"""

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cnnf.defender.core.limits import ANSWER_HOLD_MS, ANSWERS_HELD_MAX, DNS_COPY_BYTES
from cnnf.defender.core.marks import Marks
from cnnf.defender.kernel.loop_process import open_queue
from cnnf.defender.netlink import nfqueue
from cnnf.defender.netlink.errors import NetlinkError

#: What the kernel says beside a packet.
_MESSAGE_BYTES = 1_024
#: Answers read in one go before those that are due are let go.
_READS_MAX = 64


class Held(NamedTuple):
    """A packet that waits, by its number."""

    id: int
    hook: int
    payload: bytes


class AnswerQueue:
    """Reads one queue. `on_held` is called within the event loop, and releases each packet."""

    def __init__(
        self,
        queue: int,
        marks: Marks,
        on_held: Callable[[list[Held]], None],
        *,
        fail_closed: bool,
    ) -> None:
        self._queue, self._marks, self._fail_closed = queue, marks, fail_closed
        self._on_held = on_held
        self._socket: socket.socket | None = None
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        #: The mark of each packet that waits and when it goes at the latest; the oldest first.
        self._held: dict[int, tuple[int, float]] = {}
        #: Packets that went because they had waited as long as they may.
        self.overdue = 0

    def start(self) -> None:
        """Begin to read. Raises QueueTaken, NotPermitted, KernelError."""
        sock = open_queue(
            self._queue,
            fail_closed=self._fail_closed,
            copy_bytes=DNS_COPY_BYTES,
            length_max=ANSWERS_HELD_MAX,
            # Without GSO: what was joined on its way comes in packets again, each copied whole.
            flags=0,
        )
        sock.setblocking(False)
        self._socket, self._ends = sock, socket.socketpair()
        work = asyncio.get_running_loop(), sock, self._ends[1]
        self._thread = threading.Thread(target=self._work, args=work, name="answers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let go of what waits, and stop reading."""
        if self._socket is None or self._ends is None or self._thread is None:
            return
        self._ends[0].close()
        self._thread.join()
        self.release(list(self._held))
        self._ends[1].close()
        self._socket.close()
        self._socket = None

    def release(self, ids: Iterable[int]) -> int:
        """Let these go on, and tell how many still waited; those that have gone already are
        nobody's loss."""
        count = 0
        for number in ids:
            with self._lock:
                mark, _ = self._held.pop(number, (None, 0.0))
            if mark is None or self._socket is None:
                continue
            count += 1
            mark = self._marks.verdict(mark, remember=False, generation=0)
            # It may have gone with its device.
            with contextlib.suppress(OSError):
                self._socket.send(nfqueue.verdict(self._queue, number, nfqueue.NF_REPEAT, mark))
        return count

    def _work(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, end: socket.socket
    ) -> None:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(end, select.POLLIN)
        buffer = bytearray(DNS_COPY_BYTES + _MESSAGE_BYTES)
        while True:
            ready = dict(poll.poll(self._until_ms()))
            if end.fileno() in ready:
                return
            found = self._read(sock, buffer) if ready else []
            if found:
                # The event loop may have ended before us.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._on_held, found)
            self.overdue += self.release(self._due())

    def _until_ms(self) -> int | None:
        with self._lock:
            for _, due in self._held.values():
                return max(0, int((due - time.monotonic()) * 1_000) + 1)
        return None

    def _due(self) -> list[int]:
        now = time.monotonic()
        with self._lock:
            return [number for number, (_, due) in self._held.items() if due <= now]

    def _read(self, sock: socket.socket, buffer: bytearray) -> list[Held]:
        found = []
        for _ in range(_READS_MAX):
            try:
                length = sock.recv_into(buffer)
            except OSError:
                break
            held = self._take(buffer, length)
            if held is not None:
                found.append(held)
        return found

    def _take(self, buffer: bytearray, length: int) -> Held | None:
        due = time.monotonic() + ANSWER_HOLD_MS / 1_000
        try:
            packet = nfqueue.decode_packet(buffer, length)
        except nfqueue.UndecodablePacket as error:
            with self._lock:
                self._held[error.packet_id] = error.mark, due
            self.release([error.packet_id])
            return None
        except NetlinkError:
            return None
        with self._lock:
            self._held[packet.id] = packet.mark, due
        return Held(
            packet.id, packet.hook, bytes(buffer[packet.payload_start : packet.payload_end])
        )
