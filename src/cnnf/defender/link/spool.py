"""The spool's files: one directory for each identity, one file for each segment.

Every method waits for the disk: call them in a thread, one at a time. They raise SpoolFailed, and
leave what was there before.
"""

import contextlib
import errno
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

import structlog

from cnnf.defender.core.limits import SPOOL_SEGMENT_BYTES
from cnnf.defender.core.spool import RECORD_BYTES_MAX
from cnnf.defender.link.errors import SpoolFailed

_log = structlog.get_logger(__name__)

_NAME = re.compile(r"([0-9]{10})\.segment\Z")
#: A segment is closed beyond its size; one record may pass it.
_READ_BYTES_MAX = SPOOL_SEGMENT_BYTES + RECORD_BYTES_MAX
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Found(NamedTuple):
    """A segment that was there: its number, size in bytes, and when it was last written (ms)."""

    number: int
    size: int
    written_at: int


class SpoolFiles:
    """The segments of one identity, below `directory`."""

    def __init__(self, directory: Path, identity: str) -> None:
        self._all = directory
        self.directory = directory / identity

    def open(self) -> list[Found]:
        """The segments there are, oldest first. What another identity has left is removed: it is
        not this one's to tell."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for other in self._all.iterdir():
                if other != self.directory and other.is_dir() and not other.is_symlink():
                    _remove_segments(other)
            found = []
            for path in self.directory.iterdir():
                match = _NAME.match(path.name)
                if match is not None:
                    status = path.lstat()
                    written_at = status.st_mtime_ns // 1_000_000
                    found.append(Found(int(match[1]), status.st_size, written_at))
        except OSError as error:
            raise _failed(self.directory, "opening it", error) from error
        return sorted(found)

    def append(self, number: int, offset: int, data: bytes) -> None:
        """Write at the segment's end, which is `offset`; on disk when it returns."""
        path = self._path(number)
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        flags |= os.O_CREAT | os.O_TRUNC if offset == 0 else 0
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise _failed(path, "opening it", error) from error
        try:
            _write_all(descriptor, data, offset)
            os.fsync(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, offset)
                if offset == 0:
                    path.unlink()
            raise _failed(path, "writing it", error) from error
        finally:
            os.close(descriptor)
        if offset == 0:
            self._sync_names()

    def read(self, number: int) -> bytes:
        """The whole segment."""
        path = self._path(number)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise SpoolFailed(f"{path}: it is no file")
                data = file.read(_READ_BYTES_MAX + 1)
        except OSError as error:
            raise _failed(path, "reading it", error) from error
        if len(data) > _READ_BYTES_MAX:
            raise SpoolFailed(f"{path}: larger than any segment")
        return data

    def remove(self, number: int) -> None:
        """The segment is done with."""
        path = self._path(number)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(path, "removing it", error) from error

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:010}.segment"

    def _sync_names(self) -> None:
        with contextlib.suppress(OSError):
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _remove_segments(directory: Path) -> None:
    removed = 0
    for path in directory.iterdir():
        if _NAME.match(path.name):
            path.unlink()
            removed += 1
    with contextlib.suppress(OSError):
        directory.rmdir()
    if removed:
        _log.warning(
            "what was kept for another identity is removed",
            directory=str(directory),
            segments=removed,
        )


def _failed(path: Path, doing: str, error: OSError) -> SpoolFailed:
    why = error.strerror or str(error)
    return SpoolFailed(f"{path}: {doing}: {why}", full=error.errno in _FULL)
