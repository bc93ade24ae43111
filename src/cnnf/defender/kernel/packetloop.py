"""The packet loop in Python: answers one NFQUEUE, and does nothing else.

The reference that the native loop (`native/`) is tested against, and what runs where that one is
not built. Started by `loop_process.py`. It waits for two sockets, the queue and the daemon; it
takes orders first, reads until the queue is empty, decides, answers in one send, and reports
counts. Every packet gets one verdict, whatever happens; when the daemon goes away it answers what
it holds and ends, and the kernel lets packets past the queue (bypass).
"""

import argparse
import contextlib
import gc
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time

import msgspec

from cnnf.defender.core.holds import Holds, Pending
from cnnf.defender.core.judge import ALERT, ALLOW, GRAVE, PREVENT, Judge
from cnnf.defender.core.ledger import Key, Ledger, seen_as
from cnnf.defender.core.limits import (
    LOOP_BURST_MAX,
    PACKET_MESSAGE_BYTES,
    PULSE_INTERVAL_MS,
    REPORT_FLOWS_MAX,
    REPORT_INTERVAL_MS,
    REPORT_SOUGHT_MAX,
    REPORT_SPACING_MS,
)
from cnnf.defender.core.marks import Marks, marks_at
from cnnf.defender.core.observations import (
    Cgroups,
    Confirm,
    Endpoints,
    Looked,
    Prepare,
    Report,
    Room,
    Seen,
    Use,
    decode_order,
    encode,
)
from cnnf.defender.core.strangers import Strangers
from cnnf.defender.core.tables import InvalidTablesError, Tables, decode_tables
from cnnf.defender.kernel.orders import UnreadableFileError, read_file, receive_record
from cnnf.defender.kernel.privileges import confine_loop
from cnnf.defender.kernel.shared_rooms import Rooms
from cnnf.defender.kernel.sockdiag import SocketOwner
from cnnf.defender.netlink import nfqueue
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.packets import parse_segment

#: Well above everything else, and still below what may starve the machine (real-time classes).
_NICE = -15

_OUTPUT = nfqueue.OUTPUT
#: Orders read in one turn, so that packets have theirs.
_ORDERS_IN_TURN = 256
#: Bursts answered after the daemon has gone: more than a queue can hold.
_LAST_BURSTS = 512
_PULSE = struct.Struct("@QQ")


class _Refused(Exception):
    """An order that can't be followed; it is refused whole, and counted."""


class PacketLoop:
    """One queue's loop. `run` returns when the daemon has gone, or the queue is no more."""

    def __init__(
        self,
        queue: int,
        marks: Marks,
        *,
        fail_closed: bool,
        packets: socket.socket,
        control: socket.socket,
        pulse: mmap.mmap | None = None,
    ) -> None:
        self._queue, self._marks, self._fail_closed = queue, marks, fail_closed
        self._packets, self._control, self._pulse = packets, control, pulse
        self._owner = SocketOwner()
        self._judge = Judge(Tables(version=0))
        self._ledger = Ledger()
        self._holds = Holds()
        self._rooms = Rooms()
        self._strangers = Strangers()
        #: Flows that the daemon has to look at, with count 0.
        self._looks: list[Seen] = []
        # Until it is told nothing is remembered: a generation this loop has not been told could be
        # one that is already over.
        self._generation = -1
        self._answered = self._undecodable = self._dropped = self._delayed = 0
        self._reported_at_ms = self._confirmed = 0
        self._owes_report, self._stalled = True, False
        # Before the first tables nothing is known that could be judged by.
        self._prepared = False
        self._verdicts: list[bytes] = []
        self._buffer = bytearray(PACKET_MESSAGE_BYTES)
        packets.setblocking(False)
        control.setblocking(False)

    def run(self) -> None:
        """Answer packets until the daemon closes its end."""
        packets, control = self._packets.fileno(), self._control.fileno()
        # The kernel looks at one after the other: with a packet it finds what was ordered before.
        orders, both = _poll(control), _poll(packets, control)
        while True:
            self._tell_pulse()
            poll = both if self._prepared else orders
            ready = dict(poll.poll(self._timeout_ms()))
            if control in ready and not self._take_orders():
                self._end()
                return
            if packets in ready and not self._answer_burst() and ready[packets] & select.POLLHUP:
                return
            if self._holds:
                self._let_go(_monotonic_ms())
            self._report_if_due()

    def _tell_pulse(self) -> None:
        if self._pulse is not None:
            _PULSE.pack_into(self._pulse, 0, _monotonic_ms(), self._answered)

    def _timeout_ms(self) -> int:
        now_ms = _monotonic_ms()
        until = now_ms + PULSE_INTERVAL_MS
        deadline = self._holds.next_deadline
        if deadline is not None:
            until = min(until, deadline)
        if self._has_news():
            until = min(until, self._due_ms())
        return max(0, until - now_ms)

    # --- packets

    def _answer_burst(self) -> bool:
        """Read and answer what is there; False when there was nothing."""
        now_ms, wall_ms = _monotonic_ms(), time.time_ns() // 1_000_000
        self._holds.begin_burst()
        count, something = 0, False
        try:
            for count in range(1, LOOP_BURST_MAX + 1):  # noqa: B007 - how far it has come
                length = self._packets.recv_into(self._buffer)
                something = something or length > 0
                self._take_message(length, now_ms, wall_ms)
        except BlockingIOError:
            count -= 1
        except OSError:
            # ENOBUFS and the like: the kernel has counted it, and the next packet is waiting.
            count -= 1
            self._owes_report = True
        if not count:
            return False
        self._send_verdicts()
        if self._looks:
            # Somebody unknown is connecting: tell before answering, so that the process is still
            # there when the daemon looks for it, however short it lives.
            self._tell_looks()
        if not self._ledger:
            # Nothing in it could be counted, but that it was there is news too.
            self._owes_report = True
        return something

    def _take_message(self, length: int, now_ms: int, wall_ms: int) -> None:
        try:
            packet = nfqueue.decode_packet(self._buffer, length)
        except nfqueue.UndecodablePacket as error:
            self._take_unreadable(error.packet_id, error.mark)
        except nfqueue.PacketGone:
            pass
        except NetlinkError:
            self._undecodable += 1
        else:
            try:
                self._take_packet(packet, now_ms, wall_ms)
            except Exception:
                # An answer is owed whatever went wrong; the daemon raises a condition by the count.
                self._take_unreadable(packet.id, packet.mark)

    def _take_unreadable(self, packet_id: int, mark: int) -> None:
        self._undecodable += 1
        if self._judge.prevents or self._fail_closed:
            self._drop(packet_id, mark)
        else:
            self._accept(packet_id, mark, refuse=False, remember=False)

    def _take_packet(self, packet: nfqueue.QueuedPacket, now_ms: int, wall_ms: int) -> None:
        ends = parse_segment(self._buffer, packet.payload_start, packet.payload_end)
        if ends is None:
            self._take_unreadable(packet.id, packet.mark)
            return
        asked = self._owner if packet.hook == _OUTPUT else self._rooms.owner(ends.source)
        owner = None
        if asked is not None:
            source, destination, source_port, port, protocol = ends
            device = packet.out_device if packet.hook == _OUTPUT else 0
            owner = asked.find(source, source_port, destination, port, device, protocol)
        cgroup, inode = (owner.cgroup, owner.inode) if owner else (0, 0)
        pending = Pending(
            packet.id, packet.mark, packet.hook, ends, cgroup, inode, packet.uid, wall_ms
        )
        unknown = inode != 0 and self._tells(pending)
        awaits = self._judge.awaits(packet.hook, ends.source, ends.destination)
        if (unknown or awaits) and not self._holds.full:
            look = unknown and self._holds.may_look(self._judge, now_ms)
            wait = awaits and self._judge.wait_ms > 0
            if look:
                # It is counted later, by what is then decided.
                key = self._key(pending, named=False, effect=ALLOW, rule=-1)
                entry = [0, wall_ms, wall_ms, packet.uid, ends.source_port, inode]
                self._looks.append(seen_as(key, entry))
            if look or wait:
                self._holds.add(pending, self._judge, look=look, wait=wait, now_ms=now_ms)
                return
        self._decide(pending, -1, awaits=awaits)

    def _tells(self, packet: Pending) -> bool:
        """Is the process behind the packet worth a look? Where nothing else names it; and for what
        a rule alerts on or prevents, once between two reports, since a person is told of it."""
        if not self._judge.is_named(packet.cgroup):
            return True
        ends = packet.ends
        effect, rule, *_ = self._judge.decide(
            packet.hook, ends.source, ends.destination, ends.port, ends.protocol, packet.cgroup
        )
        key = self._key(packet, named=True, effect=effect, rule=rule)
        return effect != ALLOW and key not in self._ledger

    def _key(self, packet: Pending, *, named: bool, effect: int, rule: int) -> Key:
        ends = packet.ends
        return Key(
            self._judge.version, packet.hook, ends.protocol,
            b"" if named and packet.hook == _OUTPUT else ends.source, ends.destination, ends.port,
            packet.cgroup, 0 if named else packet.inode, effect, rule,
        )  # fmt: skip

    def _decide(self, packet: Pending, owner: int, *, awaits: bool) -> None:
        """Judge a packet by the tables in force, count it, answer it.

        `awaits`: an end may be a container that nobody has told of, and is not waited for longer.
        """
        if awaits and self._fail_closed:
            self._drop(packet.id, packet.mark)
            return
        ends, judge = packet.ends, self._judge
        effect, rule, unanimous, doubt, settled = judge.decide(
            packet.hook, ends.source, ends.destination, ends.port, ends.protocol,
            packet.cgroup, owner,
        )  # fmt: skip
        if doubt and not self._may_pass(packet, grave=doubt == GRAVE):
            return
        named = judge.is_named(packet.cgroup)
        self._ledger.add(
            self._key(packet, named=named, effect=effect, rule=rule),
            uid=packet.uid,
            source_port=ends.source_port,
            inode=packet.inode,
            now_ms=packet.arrived_ms,
        )
        lasting = unanimous and settled and not (awaits or doubt) and effect != ALERT
        # Others have a shared address too: each connection of theirs is asked about.
        alone = named if packet.hook == _OUTPUT else not self._rooms.owner(ends.source)
        refuse = effect == PREVENT
        self._accept(packet.id, packet.mark, refuse=refuse, remember=lasting and alone)

    def _may_pass(self, packet: Pending, *, grave: bool) -> bool:
        """Have the daemon ask who an end elsewhere is. Until it may have the answer what could be
        prevented is dropped, without a word, so that it is sent again; False when it was."""
        delay = self._strangers.delay(self._judge, packet.hook, packet.ends, _monotonic_ms())
        self._owes_report = self._owes_report or bool(self._strangers.sought)
        if not grave or not (delay or self._fail_closed):
            return True
        self._drop(packet.id, packet.mark, delayed=delay)
        return False

    def _accept(self, packet_id: int, mark: int, *, refuse: bool, remember: bool) -> None:
        number, remember = self._generation, remember and self._generation >= 0
        mark = self._marks.verdict(mark, remember=remember, refuse=refuse, generation=number)
        self._answer(packet_id, nfqueue.NF_REPEAT, mark)

    def _drop(self, packet_id: int, mark: int, *, delayed: bool = False) -> None:
        self._dropped += not delayed
        self._delayed += delayed
        mark = self._marks.verdict(mark, remember=False, refuse=False, generation=0)
        self._answer(packet_id, nfqueue.NF_DROP, mark)

    def _answer(self, packet_id: int, decision: int, mark: int) -> None:
        self._verdicts.append(nfqueue.verdict(self._queue, packet_id, decision, mark))
        self._answered += 1
        if len(self._verdicts) >= LOOP_BURST_MAX:
            self._send_verdicts()

    def _send_verdicts(self) -> None:
        if not self._verdicts:
            return
        try:
            self._packets.send(b"".join(self._verdicts))
        except OSError:
            # One refused message stops the rest of a joined send: send them one by one.
            for one in self._verdicts:
                try:
                    self._packets.send(one)
                except OSError:
                    self._undecodable += 1
        self._verdicts.clear()

    def _let_go(self, now_ms: int) -> None:
        """Answer what has nothing to wait for any more."""
        for packet, owner in self._holds.release(now_ms):
            ends = packet.ends
            awaits = self._judge.awaits(packet.hook, ends.source, ends.destination)
            self._decide(packet, owner, awaits=awaits)
        self._send_verdicts()

    def _end(self) -> None:
        """The daemon has gone: nothing that waits may be lost with us."""
        forever = 1 << 63
        for _ in range(_LAST_BURSTS):
            self._let_go(forever)
            if not self._answer_burst():
                break
        self._let_go(forever)

    # --- orders

    def _take_orders(self) -> bool:
        """Read what the daemon says; False when it has gone."""
        for _ in range(_ORDERS_IN_TURN):
            try:
                data, files, flags = receive_record(self._control)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            try:
                if not data:
                    return False
                self._take_order(b"" if flags & socket.MSG_TRUNC else data, files)
            except (msgspec.DecodeError, InvalidTablesError, UnreadableFileError, _Refused):
                self._undecodable += 1
                self._owes_report = True
            finally:
                for file in files:
                    os.close(file)
        return True

    def _take_order(self, data: bytes, files: list[int]) -> None:
        """Follow one order, or refuse it whole: DecodeError, InvalidTablesError, _Refused."""
        match decode_order(data):
            case Use(generation) if generation >= 0:
                self._generation = generation
                self._owes_report = True
            case Prepare(version) if files:
                self._prepared = True
                self._take_tables(version, files[0])
            case Room(number, addresses):
                self._rooms.take(number, addresses, files)
            case Cgroups(put, drop):
                self._judge.put_cgroups(put, drop)
            case Looked(number, owners):
                self._judge.check_owners(owners)
                self._holds.looked(number, owners)
                self._let_go(_monotonic_ms())
            case Confirm(number) if number >= 0:
                self._confirmed = number
                self._owes_report = not self._tell(self._judge.version, []) or self._owes_report
            case Endpoints() as told:
                self._judge.change(*msgspec.structs.astuple(told))
                self._strangers.endpoints_changed(told.peers, told.gone)
                self._holds.endpoints_changed(self._judge)
                self._let_go(_monotonic_ms())
            case _:
                raise _Refused("it says nothing")

    def _take_tables(self, version: int, file: int) -> None:
        tables = decode_tables(read_file(file))
        if tables.version != version:
            raise _Refused("it names other tables")
        # Rules are numbered anew: what was decided by the old ones is told first.
        self._report()
        self._judge = Judge(tables)
        self._strangers.tables_changed(self._judge)
        self._holds.forget_owners()
        self._holds.endpoints_changed(self._judge)
        self._let_go(_monotonic_ms())
        self._owes_report = True

    # --- reports

    def _has_news(self) -> bool:
        return self._owes_report or bool(self._looks) or len(self._ledger) > 0

    def _due_ms(self) -> int:
        news = self._ledger.fresh or self._owes_report or self._looks
        soon = bool(news) and not self._stalled
        return self._reported_at_ms + (REPORT_SPACING_MS if soon else REPORT_INTERVAL_MS)

    def _report_if_due(self) -> None:
        if not self._has_news():
            return
        # A full ledger is reported at once, unless the daemon has just not taken a report: then
        # trying again with every packet would cost more than the packets.
        at_once = self._ledger.full and not self._stalled
        if at_once or _monotonic_ms() >= self._due_ms():
            self._report()

    def _report(self) -> None:
        """Tell everything there is; what the daemon does not take now is kept."""
        self._reported_at_ms = _monotonic_ms()
        self._tell_looks()
        while not self._looks and (self._owes_report or self._ledger):
            version, flows = self._ledger.take(REPORT_FLOWS_MAX)
            version = self._judge.version if version < 0 else version
            if not self._tell(version, flows):
                self._ledger.put_back(version, flows)
                return
            if version == self._judge.version:
                self._owes_report = bool(self._strangers.sought)

    def _tell_looks(self) -> None:
        """Tell the daemon what to look at, and by which number it says that it has."""
        while self._looks:
            some = self._looks[:REPORT_FLOWS_MAX]
            last = len(some) == len(self._looks)
            if not self._tell(self._judge.version, some, self._holds.number if last else 0):
                return
            del self._looks[: len(some)]

    def _tell(self, version: int, flows: list[Seen], held: int = 0) -> bool:
        report = Report(
            self._generation, version, flows, self._answered, self._undecodable,
            self._ledger.unaccounted, self._dropped, held, self._delayed,
            self._strangers.sought[:REPORT_SOUGHT_MAX], self._confirmed,
        )  # fmt: skip
        try:
            self._control.send(encode(report))
        except OSError:
            # The daemon is busy: keep the counts, packets go first.
            self._stalled = True
            return False
        self._stalled = False
        del self._strangers.sought[:REPORT_SOUGHT_MAX]
        return True


def _poll(*files: int) -> select.poll:
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return poll


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def main() -> None:
    """The process's entry; exits 0 when the daemon has gone."""
    parser = argparse.ArgumentParser(description="cnnf packet loop (started by the Defender)")
    parser.add_argument("--queue", type=int, required=True)
    parser.add_argument("--mark-mask", type=lambda text: int(text, 0), required=True)
    parser.add_argument("--control", type=int, required=True, help="descriptor of the socket")
    parser.add_argument("--packets", type=int, required=True, help="descriptor of the queue")
    parser.add_argument("--pulse", type=int, help="descriptor of the page to tell of life in")
    parser.add_argument("--fail-closed", action="store_true")
    options = parser.parse_args()
    loop = PacketLoop(
        options.queue,
        marks_at(options.mark_mask),
        fail_closed=options.fail_closed,
        packets=socket.socket(fileno=options.packets),
        control=socket.socket(fileno=options.control),
        pulse=None if options.pulse is None else mmap.mmap(options.pulse, mmap.PAGESIZE),
    )
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
    for problem in confine_loop():
        print(f"packet loop {options.queue}: {problem}", file=sys.stderr)  # noqa: T201
    loop.run()


if __name__ == "__main__":
    main()
