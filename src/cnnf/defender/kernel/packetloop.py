"""The packet loop: a process of its own that answers one NFQUEUE, and does nothing else.

Started by `loops.py` as `python -m cnnf.defender.kernel.packetloop`. It waits for two sockets, the
queue and the daemon; it reads until the queue is empty, decides, answers in one send, and reports
counts. Every packet gets an answer, whatever happens; when the daemon goes away it ends, and the
kernel lets packets past the queue (bypass).
"""

import argparse
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections import deque

import msgspec

from cnnf.defender.core.ledger import Ledger
from cnnf.defender.core.limits import (
    HOLD_MS,
    HOLDS_PER_SECOND_MAX,
    LOOP_BURST_MAX,
    PACKET_COPY_BYTES,
    QUEUE_BUFFER_BYTES,
    QUEUE_LENGTH_MAX,
    REPORT_FLOWS_MAX,
    REPORT_INTERVAL_MS,
    REPORT_SPACING_MS,
)
from cnnf.defender.core.marks import Marks, marks_at
from cnnf.defender.core.observations import Report, decode_order, encode
from cnnf.defender.kernel.sockdiag import SocketOwner
from cnnf.defender.kernel.sockets import confirm, packet_socket
from cnnf.defender.netlink import nfqueue
from cnnf.defender.netlink.errors import KernelRefused, NetlinkError
from cnnf.defender.netlink.packets import parse_segment

#: Well above everything else, and still below what may starve the machine (real-time classes).
_NICE = -15

_ACCEPT = nfqueue.NF_ACCEPT
_OUTPUT = nfqueue.OUTPUT


class PacketLoop:
    """One queue's loop. `run` returns when the daemon has gone."""

    def __init__(
        self, queue: int, marks: Marks, *, fail_open: bool, control: socket.socket
    ) -> None:
        self._queue = queue
        self._marks = marks
        self._control = control
        self._owner = SocketOwner()
        self._ledger = Ledger()
        self._named: set[int] = set()
        # Until the first order nothing is remembered: a generation this loop has not been told
        # could be one that is already over.
        self._generation = -1
        self._packets = 0
        self._undecodable = 0
        self._reported_at_ms = 0
        self._owes_report = True
        self._unknown = False
        self._stalled = False
        self._held: deque[tuple[int, int, bytes]] = deque()
        self._holds = self._holds_lately = self._holds_since_ms = 0
        self._buffer = bytearray(65_536)
        self._socket = packet_socket(QUEUE_BUFFER_BYTES, tell_overflow=False)
        confirm(self._socket, f"binding queue {queue}", nfqueue.bind(queue, 1))
        flags = nfqueue.FLAG_GSO | nfqueue.FLAG_UID_GID
        confirm(
            self._socket,
            f"configuring queue {queue}",
            nfqueue.configure(
                queue,
                2,
                copy_bytes=PACKET_COPY_BYTES,
                queue_length_max=QUEUE_LENGTH_MAX,
                flags=flags | (nfqueue.FLAG_FAIL_OPEN if fail_open else 0),
            ),
        )
        self._socket.setblocking(False)
        control.setblocking(False)

    def run(self) -> None:
        """Answer packets until the daemon closes its end."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        packets, control = self._socket.fileno(), self._control.fileno()
        while True:
            for descriptor, _ in poll.poll(self._timeout_ms()):
                if descriptor == packets:
                    self._answer_burst()
                elif descriptor == control and not self._take_orders():
                    return
            if self._held:
                self._let_go(0, _now_ms())
            self._report_if_due()

    def _timeout_ms(self) -> int | None:
        if self._held:
            return max(0, self._held[0][0] - _now_ms())
        if not self._ledger and not self._owes_report:
            return None
        return max(0, self._due_ms() - _now_ms())

    def _due_ms(self) -> int:
        news = (self._ledger.fresh or self._owes_report) and not self._stalled
        return self._reported_at_ms + (REPORT_SPACING_MS if news else REPORT_INTERVAL_MS)

    def _answer_burst(self) -> None:
        verdicts: list[bytes] = []
        now_ms = _now_ms()
        try:
            for _ in range(LOOP_BURST_MAX):
                length = self._socket.recv_into(self._buffer)
                answer = self._answer(length, now_ms)
                if answer:
                    verdicts.append(answer)
        except BlockingIOError:
            pass
        except OSError:
            # ENOBUFS and the like: the kernel has counted it, and the next packet is waiting.
            self._owes_report = True
        if not verdicts:
            return
        self._packets += len(verdicts)
        if not self._ledger:
            # Nothing in it could be read, but that it was there is news too.
            self._owes_report = True
        if self._unknown and self._may_hold(now_ms):
            # Somebody unknown is connecting: tell before answering, so that the process is still
            # there when the daemon looks for it, however short it lives.
            self._holds += 1
            self._held.append((now_ms + HOLD_MS, self._holds, b"".join(verdicts)))
            self._owes_report = True
            self._report()
        else:
            self._send(b"".join(verdicts))
        self._unknown = False

    def _may_hold(self, now_ms: int) -> bool:
        if now_ms - self._holds_since_ms >= 1000:
            self._holds_since_ms, self._holds_lately = now_ms, 0
        self._holds_lately += 1
        return self._holds_lately <= HOLDS_PER_SECOND_MAX

    def _let_go(self, up_to: int, now_ms: int) -> None:
        """Answer what was held up to this number, and whatever has been held long enough."""
        while self._held and (self._held[0][1] <= up_to or self._held[0][0] <= now_ms):
            self._send(self._held.popleft()[2])

    def _send(self, answers: bytes) -> None:
        try:
            self._socket.send(answers)
        except OSError:
            # One refused message stops the rest of a joined send: send them one by one.
            step = 40
            for at in range(0, len(answers), step):
                try:
                    self._socket.send(answers[at : at + step])
                except OSError:
                    self._undecodable += 1

    def _answer(self, length: int, now_ms: int) -> bytes | None:
        """The verdict for the message in the buffer, None when it is no packet."""
        try:
            packet = nfqueue.decode_packet(self._buffer, length)
        except nfqueue.UndecodablePacket as error:
            self._undecodable += 1
            return self._accept(error.packet_id, error.mark, remember=False)
        except NetlinkError:
            self._undecodable += 1
            return None
        try:
            remember = self._account(packet, now_ms)
        except Exception:
            # An answer is owed whatever went wrong; the daemon raises a condition from the count.
            self._undecodable += 1
            remember = False
        return self._accept(packet.id, packet.mark, remember=remember)

    def _accept(self, packet_id: int, mark: int, *, remember: bool) -> bytes:
        generation = self._generation
        mark = self._marks.verdict(
            mark, remember=remember and generation >= 0, generation=generation
        )
        return nfqueue.verdict(self._queue, packet_id, _ACCEPT, mark)

    def _account(self, packet: nfqueue.QueuedPacket, now_ms: int) -> bool:
        """Count the packet under its flow; True when such flows may be remembered."""
        segment = parse_segment(self._buffer, packet.payload_start, packet.payload_end)
        if segment is None:
            self._undecodable += 1
            return False
        source, destination, source_port, port = segment
        if packet.hook != _OUTPUT:
            key = (packet.hook, source, destination, port, 0, 0)
            self._ledger.add(key, uid=packet.uid, source_port=source_port, inode=0, now_ms=now_ms)
            return True
        owner = self._owner.find(source, source_port, destination, port, packet.out_device)
        cgroup, inode = (owner.cgroup, owner.inode) if owner else (0, 0)
        named = cgroup in self._named
        self._unknown = self._unknown or not named
        key = (
            (_OUTPUT, b"", destination, port, cgroup, 0)
            if named
            else (_OUTPUT, source, destination, port, cgroup, inode)
        )
        self._ledger.add(key, uid=packet.uid, source_port=source_port, inode=inode, now_ms=now_ms)
        return named

    def _take_orders(self) -> bool:
        """Read every order; False when the daemon has gone."""
        while True:
            try:
                data = self._control.recv(1 << 20)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            try:
                order = decode_order(data)
            except msgspec.DecodeError:
                self._undecodable += 1
                continue
            self._generation = order.generation
            self._named.update(order.named)
            self._named.difference_update(order.unnamed)
            if order.looked:
                self._let_go(order.looked, _now_ms())
            else:
                self._owes_report = True

    def _report_if_due(self) -> None:
        if not self._ledger and not self._owes_report:
            return
        now_ms = _now_ms()
        # A full ledger is reported at once, unless the daemon has just not taken a report: then
        # trying again with every packet would cost more than the packets.
        if now_ms < self._due_ms() and (self._stalled or not self._ledger.full):
            return
        self._report()

    def _report(self) -> None:
        self._reported_at_ms = _now_ms()
        while self._ledger or self._owes_report:
            flows = self._ledger.take(REPORT_FLOWS_MAX)
            report = Report(
                self._generation,
                flows,
                self._packets,
                self._undecodable,
                self._ledger.unaccounted,
                self._holds if self._held else 0,
            )
            try:
                self._control.send(encode(report))
            except OSError:
                # The daemon is busy: keep the counts, packets go first.
                self._ledger.put_back(flows)
                self._stalled = True
                return
            self._stalled = False
            self._owes_report = False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    """The process's entry; exits 0 when the daemon has gone, 1 when the queue can't be had."""
    parser = argparse.ArgumentParser(description="cnnf packet loop (started by the Defender)")
    parser.add_argument("--queue", type=int, required=True)
    parser.add_argument("--mark-mask", type=lambda text: int(text, 0), required=True)
    parser.add_argument("--control", type=int, required=True, help="descriptor of the socket")
    parser.add_argument("--fail-closed", action="store_true")
    options = parser.parse_args()
    control = socket.socket(fileno=options.control)
    try:
        loop = PacketLoop(
            options.queue,
            marks_at(options.mark_mask),
            fail_open=not options.fail_closed,
            control=control,
        )
    except (KernelRefused, OSError) as error:
        sys.exit(f"packet loop {options.queue}: {error}")
    # Nothing in the loop makes reference cycles: a collection would only be a pause.
    gc.collect()
    gc.freeze()
    gc.disable()
    # A SYN must not wait until the daemon or the Console has used up its share of the processor:
    # at equal priority the slowest hundredth of first connections took eight times as long.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    # The daemon ends the loop by closing its socket; a Ctrl-C of the terminal is not for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop.run()


if __name__ == "__main__":
    main()
