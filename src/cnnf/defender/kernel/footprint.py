"""What this Defender leaves in the kernel, and how all of it is taken back.

Rules and the table are known by name and comment. What can't be told from the kernel alone (which
bridges were changed) is written to a small file in /run before it is done, so that a later start or
`cnnf clean` can undo what a killed Defender left.
"""

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

import msgspec

from cnnf.defender.kernel import bridges, iptables, namespaces, table
from cnnf.defender.kernel.errors import AlreadyRunning, KernelError, NotPermitted

RUN_DIRECTORY = Path("/run/cnnf")


class Record(msgspec.Struct, kw_only=True):
    """The file's content. `pid` is the process to stop; bridges map to what was changed on them."""

    pid: int
    bridges: dict[str, list[str]] = {}


class Footprint:
    """The claim of one Defender on this network namespace; at most one holds it at a time."""

    def __init__(self, directory: Path = RUN_DIRECTORY, stop_pid: int = 0) -> None:
        self._path = directory / f"defender-{namespaces.own_id()}.json"
        self._lock = -1
        self._record = Record(pid=stop_pid or os.getpid())

    def claim(self) -> None:
        """Become this namespace's Defender and undo what a killed one left.

        Raises AlreadyRunning, NotPermitted or another KernelError.
        """
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            while not self._try_lock():
                pass
        except PermissionError as error:
            raise NotPermitted(f"{self._path.parent}: {error.strerror}") from error
        except BlockingIOError as error:
            raise AlreadyRunning(
                "a Defender runs in this network namespace already "
                f"(process {self._read().pid}); `cnnf clean` stops it"
            ) from error
        self._undo(self._read())
        self._write()

    def bridge_changed(self, bridge: str, changed: tuple[str, ...]) -> None:
        """Remember what was switched on, for undoing."""
        if changed:
            earlier = self._record.bridges.get(bridge, [])
            self._record.bridges[bridge] = sorted({*earlier, *changed})
            self._write()

    def release(self) -> None:
        """Take everything back and give up the claim. Raises KernelError, with the rest done."""
        try:
            self._undo(self._record)
        finally:
            if self._lock >= 0:
                self._path.unlink(missing_ok=True)
                self._lock_path.unlink(missing_ok=True)
                os.close(self._lock)
                self._lock = -1

    def stop_other(self, timeout_seconds: float) -> int:
        """Ask the Defender that holds the claim to end; its pid, 0 when there was none.

        Raises AlreadyRunning when it still runs after the time.
        """
        deadline = time.monotonic() + timeout_seconds
        stopped = 0
        while True:
            try:
                self.claim()
            except AlreadyRunning:
                pid = self._read().pid
                if pid > 1 and pid != stopped:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
                    stopped = pid
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return stopped

    def _undo(self, record: Record) -> None:
        problems: list[KernelError] = []
        # Rules first: nothing is asked any more while the rest goes.
        for step in (iptables.remove, table.remove):
            try:
                step()
            except KernelError as error:
                problems.append(error)
        for bridge, changed in record.bridges.items():
            try:
                bridges.restore(bridge, changed)
            except KernelError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    @property
    def _lock_path(self) -> Path:
        return self._path.with_suffix(".lock")

    def _try_lock(self) -> bool:
        """Lock the file; False when it was removed meanwhile by the one who had it before.

        Raises BlockingIOError when somebody has it.
        """
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                same = os.fstat(lock).st_ino == self._lock_path.stat().st_ino
            except FileNotFoundError:
                same = False
        except BlockingIOError:
            os.close(lock)
            raise
        if same:
            self._lock = lock
        else:
            os.close(lock)
        return same

    def _read(self) -> Record:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            # No file, or one that was cut short by a crash: the rules are found without it.
            return Record(pid=0)

    def _write(self) -> None:
        partial = self._path.with_suffix(".new")
        partial.write_bytes(msgspec.json.encode(self._record))
        partial.replace(self._path)
