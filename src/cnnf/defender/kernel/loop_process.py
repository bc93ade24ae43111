"""Starts one packet loop as a process of its own, for `loops.py`.

The queue's socket is opened, bound and configured here, so that the loop needs no more privilege
than to answer. The native loop is started where it was built, else the Python one; to the daemon
both are the same.
"""

import contextlib
import mmap
import os
import socket
import struct
import subprocess
import sys
from errno import EBUSY, EPERM
from pathlib import Path
from typing import Literal

import structlog

from cnnf.defender.core.limits import PACKET_COPY_BYTES, QUEUE_BUFFER_BYTES, QUEUE_LENGTH_MAX
from cnnf.defender.kernel.errors import KernelError, NotPermitted
from cnnf.defender.kernel.sockets import confirm, packet_socket
from cnnf.defender.netlink import nfqueue
from cnnf.defender.netlink.errors import KernelRefused, NetlinkError

_log = structlog.get_logger(__name__)

LoopKind = Literal["auto", "native", "python"]

#: Where the build puts the native loop.
NATIVE = Path(__file__).with_name("packetloop")

_PULSE = struct.Struct("@QQ")
#: A loop ends within milliseconds of its control socket's end.
_END_SECONDS = 3.0
_told_of_fallback = False


class QueueTaken(KernelError):
    """Another program answers the queue; never retry by itself."""


class LoopProcess:
    """A loop that was started. It ends when the other end of its control socket is closed.

    It shares a page with the loop, in which that one says that it lives.
    """

    def __init__(
        self, kind: Literal["native", "python"], process: subprocess.Popen[bytes], page: mmap.mmap
    ) -> None:
        self.kind = kind
        self._process = process
        self._page = page

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def pulse(self) -> float:
        """When it last said that it lives, in seconds of `time.monotonic()`; 0: never."""
        at_ms: int = _PULSE.unpack_from(self._page)[0]
        return at_ms / 1_000

    @property
    def answered(self) -> int:
        """Packets that it has answered."""
        answered: int = _PULSE.unpack_from(self._page)[1]
        return answered

    def kill(self) -> None:
        """End it at once; `end` reaps it."""
        self._process.kill()

    def end(self) -> int:
        """Wait until it has ended, and reap it: its exit code. What does not end is killed."""
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def start_loop(
    queue: int,
    *,
    mark_mask: int,
    fail_closed: bool,
    control: socket.socket,
    kind: LoopKind = "auto",
) -> LoopProcess:
    """Start the loop that answers `queue`; `control` is its end of a SOCK_SEQPACKET pair.

    It answers nothing before it has been told its first tables (Prepare). The caller closes its
    copy of `control` afterwards. Raises QueueTaken, NotPermitted, KernelError.
    """
    with contextlib.closing(open_queue(queue, fail_closed=fail_closed)) as packets:
        return launch(
            queue,
            mark_mask=mark_mask,
            fail_closed=fail_closed,
            control=control,
            packets=packets,
            kind=kind,
        )


def open_queue(
    queue: int,
    *,
    fail_closed: bool,
    copy_bytes: int = PACKET_COPY_BYTES,
    length_max: int = QUEUE_LENGTH_MAX,
    flags: int = nfqueue.FLAG_GSO | nfqueue.FLAG_UID_GID,
) -> socket.socket:
    """The socket that the kernel hands this queue's packets to. Raises as `start_loop`."""
    try:
        packets = packet_socket(QUEUE_BUFFER_BYTES, tell_overflow=False)
    except OSError as error:
        raise KernelError(f"queue {queue}: opening a netlink socket: {error}") from error
    try:
        confirm(packets, f"binding queue {queue}", nfqueue.bind(queue, 1))
        confirm(
            packets,
            f"configuring queue {queue}",
            nfqueue.configure(
                queue,
                2,
                copy_bytes=copy_bytes,
                queue_length_max=length_max,
                flags=flags if fail_closed else flags | nfqueue.FLAG_FAIL_OPEN,
            ),
        )
    except (NetlinkError, OSError) as error:
        packets.close()
        raise _explain(queue, error) from error
    return packets


def _explain(queue: int, error: Exception) -> KernelError:
    number = error.errno if isinstance(error, KernelRefused | OSError) else None
    if number == EPERM and os.geteuid() != 0:
        return NotPermitted(f"queue {queue}: root is needed to answer it")
    if number in (EBUSY, EPERM):
        return QueueTaken(
            f"queue {queue} is answered by another program; "
            f"end it, or choose other queue numbers (see /proc/net/netfilter/nfnetlink_queue)"
        )
    return KernelError(f"queue {queue}: {error}")


def launch(
    queue: int,
    *,
    mark_mask: int,
    fail_closed: bool,
    control: socket.socket,
    packets: socket.socket,
    kind: LoopKind = "auto",
) -> LoopProcess:
    """Start a loop on a queue's open socket. Raises KernelError when there is no such loop."""
    chosen = choose(kind)
    program = [str(NATIVE)]
    if chosen == "python":
        program = [sys.executable, "-m", "cnnf.defender.kernel.packetloop"]
    pulse = os.memfd_create("cnnf-pulse", os.MFD_CLOEXEC)
    try:
        os.ftruncate(pulse, mmap.PAGESIZE)
        handed = (control.fileno(), packets.fileno(), pulse)
        command = [
            *program,
            "--queue", str(queue),
            "--mark-mask", hex(mark_mask),
            "--control", str(handed[0]),
            "--packets", str(handed[1]),
            "--pulse", str(handed[2]),
            *(["--fail-closed"] if fail_closed else []),
        ]  # fmt: skip
        process = subprocess.Popen(command, pass_fds=handed, stdin=subprocess.DEVNULL)
        return LoopProcess(chosen, process, mmap.mmap(pulse, mmap.PAGESIZE))
    except OSError as error:
        raise KernelError(f"packet loop of queue {queue}: {program[0]}: {error}") from error
    finally:
        os.close(pulse)


def choose(kind: LoopKind) -> Literal["native", "python"]:
    """Which loop is started. Raises KernelError when the native one is demanded and missing."""
    global _told_of_fallback
    if kind == "python":
        return "python"
    if os.access(NATIVE, os.X_OK):
        return "native"
    if kind == "native":
        raise KernelError(f"the native packet loop is not built: no {NATIVE}; run `make native`")
    if not _told_of_fallback:
        _told_of_fallback = True
        _log.warning("the native packet loop is not built; the slower one is used", path=NATIVE)
    return "python"
