"""The packet loops' supervisor: starts one process a queue, listens to them, keeps them alive.

A loop that dies is started again at once, one that lives but no longer answers is killed and then
started again: meanwhile the kernel lets packets past its queue (or drops them, when failing
closed). The loops know only what they are told here.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator

import msgspec
import structlog

from cnnf.defender.core.limits import (
    LOOP_STUCK_SECONDS,
    PULSE_CHECK_SECONDS,
    RECORD_BYTES_MAX,
)
from cnnf.defender.core.marks import Marks
from cnnf.defender.core.observations import (
    Confirm,
    Looked,
    Order,
    Prepare,
    Report,
    Room,
    Use,
    decode_report,
    encode,
)
from cnnf.defender.core.tables import Tables, encode_tables
from cnnf.defender.kernel.errors import KernelError
from cnnf.defender.kernel.loop_process import LoopKind, LoopProcess, start_loop
from cnnf.defender.kernel.shared_rooms import open_in
from cnnf.defender.netlink.errors import NetlinkError

_log = structlog.get_logger(__name__)

#: A loop that dies again within this time waits as long before its next start.
_RESTART_SECONDS = 1.0
#: How long loops may take to confirm a generation; they answer within milliseconds.
_ACKNOWLEDGE_SECONDS = 2.0


class _Loop:
    """One queue's process, as the daemon holds it."""

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.control: socket.socket | None = None
        self.process: LoopProcess | None = None
        self.started_at = 0.0
        self.generation = -1
        self.version = -1
        self.confirmed = 0
        self.last: Report | None = None
        #: Why we killed it, until its end is told.
        self.killed_for = ""


class Loops:
    """All packet loops of this Defender.

    `on_report` returns what is to be told to a loop that holds packets. `on_ended` hears of each
    end with a sentence that says what happened.
    """

    def __init__(
        self,
        queues: range,
        *,
        marks: Marks,
        fail_closed: bool,
        kind: LoopKind,
        tables: Callable[[], Tables],
        on_report: Callable[[Report], Looked | None],
        on_ended: Callable[[int, str], None],
    ) -> None:
        self._loops = [_Loop(queue) for queue in queues]
        self._marks = marks
        self._fail_closed = fail_closed
        self._kind = kind
        self._tables = tables
        self._on_report = on_report
        self._on_ended = on_ended
        self._generation = 0
        self._version = -1
        self._confirmed = asyncio.Event()
        self._number = 0
        self._heard: set[asyncio.Event] = set()
        self._shared: dict[int, tuple[Room, int]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._totals = [0, 0, 0, 0, 0]

    def start(self, generation: int) -> None:
        """Start every loop; each is kept running until `stop`."""
        self._generation = generation
        self._tasks = [asyncio.create_task(self._keep(loop)) for loop in self._loops]
        self._tasks.append(asyncio.create_task(self._watch()))

    async def stop(self) -> None:
        """End every loop and wait for it; whatever does not end in time is killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for loop in self._loops:
            await asyncio.to_thread(_end, loop)

    def tell(self, order: Order) -> None:
        """Tell every loop. One that can't take it is started anew with all there is to know."""
        data = encode(order)
        for loop in self._loops:
            self._send(loop, data)

    def share(self, room: Room, pid: int) -> None:
        """Tell every loop of a namespace that containers share, in which this process lives; or,
        without addresses, that it is no more. Raises OSError when it can't be entered."""
        if not room.addresses:
            if self._shared.pop(room.number, None) is not None:
                self.tell(room)
            return
        self._shared[room.number] = room, pid
        for loop in self._loops:
            self._send_room(loop, room, pid)

    def _send_room(self, loop: _Loop, room: Room, pid: int) -> None:
        # Each loop has a socket of its own: an answer is whoever's who reads it.
        with open_in(pid) as asking:
            self._send(loop, encode(room), asking.fileno())

    def prepare(self, tables: Tables) -> None:
        """Make every loop judge by other tables; `use_generation` waits until all do."""
        self._version = tables.version
        with _memory_file(encode_tables(tables)) as descriptor:
            data = encode(Prepare(tables.version))
            for loop in self._loops:
                self._send(loop, data, descriptor)

    async def use_generation(self, generation: int) -> bool:
        """Tell every loop the generation; True once all that live have confirmed it.

        They then judge by the last tables, too, and have answered all that they had read before.
        """
        self._generation = generation
        self._confirmed.clear()
        self.tell(Use(generation))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                while not self._all_confirmed():
                    await self._confirmed.wait()
                    self._confirmed.clear()
        return self._all_confirmed()

    async def heard(self, within_seconds: float) -> bool:
        """True once all loops that live judge by what they were told until now."""
        self._number += 1
        number, news = self._number, asyncio.Event()
        self.tell(Confirm(number))
        self._heard.add(news)
        try:
            async with asyncio.timeout(within_seconds):
                while not self._have_heard(number):
                    news.clear()
                    await news.wait()
        except TimeoutError:
            pass
        finally:
            self._heard.discard(news)
        return self._have_heard(number)

    def _have_heard(self, number: int) -> bool:
        # One that is started later is told all there is to know first.
        return all(loop.confirmed >= number for loop in self._loops if loop.process is not None)

    @property
    def totals(self) -> tuple[int, int, int, int, int]:
        """Packets answered, undecodable, unaccounted, dropped and delayed, over all restarts."""
        now = [loop.last for loop in self._loops if loop.last is not None]
        answered = sum(_answered(loop) for loop in self._loops)
        return (
            self._totals[0] + answered,
            self._totals[1] + sum(report.undecodable for report in now),
            self._totals[2] + sum(report.unaccounted for report in now),
            self._totals[3] + sum(report.dropped for report in now),
            self._totals[4] + sum(report.delayed for report in now),
        )

    @property
    def pids(self) -> list[int]:
        """The processes of the loops that run."""
        return [loop.process.pid for loop in self._loops if loop.process is not None]

    async def ready(self, timeout_seconds: float) -> bool:
        """True once every loop has its queue and has confirmed the generation."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not all(loop.generation >= 0 for loop in self._loops):
                    await self._confirmed.wait()
                    self._confirmed.clear()
        return all(loop.generation >= 0 for loop in self._loops)

    def _all_confirmed(self) -> bool:
        return all(
            loop.generation == self._generation and loop.version >= self._version
            for loop in self._loops
            if loop.process is not None
        )

    def _send(self, loop: _Loop, data: bytes, descriptor: int | None = None) -> None:
        if loop.control is None:
            return
        try:
            if descriptor is None:
                loop.control.send(data)
            else:
                socket.send_fds(loop.control, [data], [descriptor])
        except OSError as error:
            # It no longer knows all that it should: what it says after that means nothing.
            _log.warning("packet loop takes no orders", queue=loop.queue, error=str(error))
            if loop.process is not None:
                loop.process.kill()

    async def _keep(self, loop: _Loop) -> None:
        while True:
            started = asyncio.get_running_loop().time()
            why = ""
            try:
                self._launch(loop)
                await self._listen(loop)
            except (KernelError, NetlinkError, OSError) as error:
                why = str(error)
            finally:
                self._count_out(loop)
            code = await asyncio.to_thread(_end, loop)
            why = loop.killed_for or why or f"it ended with {code}"
            loop.killed_for = ""
            _log.warning("packet loop ended", queue=loop.queue, why=why)
            self._on_ended(loop.queue, why)
            if asyncio.get_running_loop().time() - started < _RESTART_SECONDS:
                await asyncio.sleep(_RESTART_SECONDS)

    def _launch(self, loop: _Loop) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        loop.control, loop.started_at = ours, time.monotonic()
        loop.generation = loop.version = -1
        loop.confirmed = self._number
        with theirs:
            # Before it runs, so that it answers nothing by less than all there is to know; and to
            # every loop, since what is told later goes on from these tables.
            self.prepare(self._tables())
            for room, pid in self._shared.values():
                with contextlib.suppress(OSError):
                    self._send_room(loop, room, pid)
            self._send(loop, encode(Use(self._generation)))
            loop.process = start_loop(
                loop.queue,
                mark_mask=self._marks.mask,
                fail_closed=self._fail_closed,
                control=theirs,
                kind=self._kind,
            )

    async def _listen(self, loop: _Loop) -> None:
        """Take reports until the loop is gone."""
        running = asyncio.get_running_loop()
        control = loop.control
        assert control is not None
        while True:
            try:
                data = await running.sock_recv(control, RECORD_BYTES_MAX)
            except OSError:
                return
            if not data:
                return
            try:
                report = decode_report(data)
            except msgspec.DecodeError as error:
                _log.error("packet loop sent no report", queue=loop.queue, error=str(error))
                return
            loop.last = report
            if (report.generation, report.version) != (loop.generation, loop.version):
                loop.generation, loop.version = report.generation, report.version
                self._confirmed.set()
            if report.confirmed > loop.confirmed:
                loop.confirmed = report.confirmed
                for news in self._heard:
                    news.set()
            looked = self._on_report(report)
            if looked is not None:
                self._send(loop, encode(looked))

    async def _watch(self) -> None:
        """Kill loops that live but no longer come by: then their queues let packets pass."""
        while True:
            await asyncio.sleep(PULSE_CHECK_SECONDS)
            now = time.monotonic()
            for loop in self._loops:
                process = loop.process
                if process is None or loop.generation < 0:
                    continue
                silent = now - max(process.pulse, loop.started_at)
                if silent > LOOP_STUCK_SECONDS:
                    _log.error("packet loop is stuck", queue=loop.queue, seconds=round(silent, 1))
                    loop.killed_for = f"it was stuck for {silent:.1f} s and was killed"
                    process.kill()

    def _count_out(self, loop: _Loop) -> None:
        self._totals[0] += _answered(loop)
        if loop.last is not None:
            self._totals[1] += loop.last.undecodable
            self._totals[2] += loop.last.unaccounted
            self._totals[3] += loop.last.dropped
            self._totals[4] += loop.last.delayed
            loop.last = None


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("cnnf-tables", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _end(loop: _Loop) -> int | None:
    """Close the loop's socket, which ends it, and reap the process."""
    if loop.control is not None:
        loop.control.close()
        loop.control = None
    process, loop.process = loop.process, None
    return process.end() if process is not None else None


def _answered(loop: _Loop) -> int:
    return loop.process.answered if loop.process is not None else 0
