"""The packet loops' supervisor: starts one process a queue, listens to them, keeps them alive.

A loop that dies is started again at once; meanwhile the kernel lets packets past its queue, which
the nft table counts. The loops know only what they are told here.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable

import msgspec
import structlog

from cnnf.defender.core.observations import Order, Report, decode_report, encode

_log = structlog.get_logger(__name__)

#: A loop that dies again within this time waits as long before its next start.
_RESTART_SECONDS = 1.0
#: How long loops may take to confirm a generation; they answer within milliseconds.
_ACKNOWLEDGE_SECONDS = 2.0
_STOP_SECONDS = 3.0
_RECORD_BYTES_MAX = 1 << 20


class _Loop:
    """One queue's process, as the daemon holds it."""

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.control: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.generation = -1
        self.last: Report | None = None


class Loops:
    """All packet loops of this Defender."""

    def __init__(
        self,
        queues: range,
        *,
        mark_mask: int,
        fail_closed: bool,
        on_report: Callable[[Report], None],
        on_restart: Callable[[int], None],
    ) -> None:
        self._loops = [_Loop(queue) for queue in queues]
        self._mark_mask = mark_mask
        self._fail_closed = fail_closed
        self._on_report = on_report
        self._on_restart = on_restart
        self._named: set[int] = set()
        self._generation = 0
        self._confirmed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._totals = [0, 0, 0]

    def start(self, generation: int) -> None:
        """Start every loop; each is kept running until `stop`."""
        self._generation = generation
        self._tasks = [asyncio.create_task(self._keep(loop)) for loop in self._loops]

    async def stop(self) -> None:
        """End every loop and wait for it; whatever does not end in time is killed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for loop in self._loops:
            await asyncio.to_thread(_end, loop)

    def name_cgroups(self, cgroups: set[int]) -> None:
        """Flows of these cgroups may be remembered from now on."""
        fresh = cgroups - self._named
        if fresh:
            self._named |= fresh
            self._broadcast(Order(self._generation, sorted(fresh)))

    async def use_generation(self, generation: int) -> bool:
        """Tell every loop the generation; True once all that live have confirmed it."""
        self._generation = generation
        self._confirmed.clear()
        self._broadcast(Order(generation))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                while not self._all_confirmed():
                    await self._confirmed.wait()
                    self._confirmed.clear()
        return self._all_confirmed()

    @property
    def totals(self) -> tuple[int, int, int]:
        """Packets answered, undecodable and unaccounted since the start, over all restarts."""
        now = [loop.last for loop in self._loops if loop.last is not None]
        return (
            self._totals[0] + sum(report.packets for report in now),
            self._totals[1] + sum(report.undecodable for report in now),
            self._totals[2] + sum(report.unaccounted for report in now),
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
            loop.generation == self._generation for loop in self._loops if loop.process is not None
        )

    def _broadcast(self, order: Order) -> None:
        data = encode(order)
        for loop in self._loops:
            if loop.control is not None:
                with contextlib.suppress(OSError):
                    loop.control.send(data)

    async def _keep(self, loop: _Loop) -> None:
        while True:
            started = asyncio.get_running_loop().time()
            self._launch(loop)
            try:
                await self._listen(loop)
            finally:
                self._count_out(loop)
            code = await asyncio.to_thread(_end, loop)
            _log.warning("packet loop ended", queue=loop.queue, exit_code=code)
            self._on_restart(loop.queue)
            if asyncio.get_running_loop().time() - started < _RESTART_SECONDS:
                await asyncio.sleep(_RESTART_SECONDS)

    def _launch(self, loop: _Loop) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            sys.executable, "-m", "cnnf.defender.kernel.packetloop",
            "--queue", str(loop.queue),
            "--mark-mask", hex(self._mark_mask),
            "--control", str(theirs.fileno()),
            *(["--fail-closed"] if self._fail_closed else []),
        ]  # fmt: skip
        with theirs:
            loop.process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        ours.setblocking(False)
        loop.control = ours
        loop.generation = -1
        ours.send(encode(Order(self._generation, sorted(self._named))))

    async def _listen(self, loop: _Loop) -> None:
        """Take reports until the loop is gone."""
        running = asyncio.get_running_loop()
        control = loop.control
        assert control is not None
        while True:
            try:
                data = await running.sock_recv(control, _RECORD_BYTES_MAX)
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
            if report.generation != loop.generation:
                loop.generation = report.generation
                self._confirmed.set()
            self._on_report(report)
            if report.held:
                with contextlib.suppress(OSError):
                    control.send(encode(Order(self._generation, looked=report.held)))

    def _count_out(self, loop: _Loop) -> None:
        if loop.last is not None:
            self._totals[0] += loop.last.packets
            self._totals[1] += loop.last.undecodable
            self._totals[2] += loop.last.unaccounted
            loop.last = None


def _end(loop: _Loop) -> int | None:
    """Close the loop's socket, which ends it, and reap the process."""
    if loop.control is not None:
        loop.control.close()
        loop.control = None
    process, loop.process = loop.process, None
    if process is None:
        return None
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
