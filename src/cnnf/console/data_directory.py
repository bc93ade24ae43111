"""The Console's data directory: whose it is, who uses it, and what lies where.

Looked at first (`inspect`), without changing a thing; taken (`take`) only once everything else
that could stop the start has been checked.
"""

import fcntl
import os
from pathlib import Path
from typing import IO

import msgspec

from cnnf.console.authority import write_private
from cnnf.console.errors import CannotStart

#: Grows when an older cnnf could not use the directory any more.
FORMAT = 1
MARKER = "cnnf.json"
#: What may lie in a directory that is not marked yet: what a start that was cut short leaves;
#: `cnnf up` keeps the Defender's state beside the Console's; a file system brings a folder.
_TOLERATED = frozenset({"defender", "lost+found", "lock", f"{MARKER}.part"})


class _Marker(msgspec.Struct, frozen=True, kw_only=True):
    program: str
    format: int


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What a running Console says of itself in `console.json`."""

    url: str
    defender_url: str
    pid: int
    started_at: int


class DataDirectory:
    """One data directory, by its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    @property
    def database(self) -> Path:
        return self.path / "cnnf.db"

    @property
    def tls(self) -> Path:
        return self.path / "tls"

    @property
    def cli_token(self) -> Path:
        return self.path / "cli-token"

    @property
    def running(self) -> Path:
        return self.path / "console.json"

    def inspect(self) -> None:
        """Raises CannotStart when this directory cannot be the Console's; changes nothing."""
        try:
            self._inspect()
        except OSError as error:
            raise CannotStart(
                f"data directory {self.path}: {error.strerror}",
                hint="Choose another with --data-dir, or run as its owner.",
            ) from error

    def _inspect(self) -> None:
        if not self.path.exists():
            parent = next(parent for parent in self.path.absolute().parents if parent.exists())
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                raise self._unwritable(parent)
            return
        if not self.path.is_dir():
            raise CannotStart(
                f"data directory {self.path}: not a directory",
                hint="Choose another with --data-dir.",
            )
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise self._unwritable(self.path)
        marker = self.path / MARKER
        if marker.exists():
            self._check_marker(marker)
        elif {entry.name for entry in self.path.iterdir()} - _TOLERATED:
            raise self._foreign()

    def _check_marker(self, marker: Path) -> None:
        try:
            found = msgspec.json.decode(marker.read_bytes(), type=_Marker)
        except msgspec.DecodeError as error:
            raise self._foreign() from error
        if found.program != "cnnf":
            raise self._foreign()
        if found.format > FORMAT:
            raise CannotStart(
                f"data directory {self.path}: written by a newer cnnf (format {found.format}, "
                f"this one knows {FORMAT})",
                hint="Run that version, or choose another directory with --data-dir.",
            )
        lock = self.path / "lock"
        if lock.exists():
            with lock.open("rb") as file:
                self._try_lock(file)

    def take(self) -> None:
        """Make the directory if need be and keep it from other Consoles until `release`.

        Raises CannotStart.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self._lock = (self.path / "lock").open("ab")
            self._try_lock(self._lock)
            marker = self.path / MARKER
            if not marker.exists():
                write_private(marker, msgspec.json.encode(_Marker(program="cnnf", format=FORMAT)))
        except OSError as error:
            raise CannotStart(
                f"data directory {self.path}: {error.strerror}",
                hint="Choose another with --data-dir, or run as its owner.",
            ) from error

    def _try_lock(self, file: IO[bytes]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            running = read_running(self.running)
            who = f" (process {running.pid}, {running.url})" if running else ""
            raise CannotStart(
                f"data directory {self.path}: in use by another Console{who}",
                hint="Stop that one first, or choose another directory with --data-dir.",
            ) from error

    def announce(self, running: Running) -> None:
        """Say where the Console listens, for the command line."""
        write_private(self.running, msgspec.json.encode(running))

    def release(self) -> None:
        """The Console has stopped."""
        if self._lock is not None:
            self.running.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _foreign(self) -> CannotStart:
        return CannotStart(
            f"data directory {self.path}: holds files that are not cnnf's",
            hint="Choose an empty or new directory with --data-dir.",
        )

    def _unwritable(self, path: Path) -> CannotStart:
        return CannotStart(
            f"data directory {self.path}: {path} is not writable",
            hint="Run as root, or choose another directory with --data-dir.",
        )


def read_running(path: Path) -> Running | None:
    """What the running Console says of itself; None when there is nothing to read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None
