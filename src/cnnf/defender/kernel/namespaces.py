"""Network namespaces: doing one thing inside another one, and telling them apart."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def own_id() -> int:
    """The inode of this process's network namespace: what tells it from all others."""
    return Path("/proc/self/ns/net").stat().st_ino


def id_of(pid: int) -> int:
    """The inode of a process's network namespace. Raises OSError when it is gone."""
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


@contextmanager
def inside(path: str) -> Iterator[None]:
    """Run the body in the namespace at `path` (`/proc/PID/ns/net`), in this thread only.

    Sockets made in there stay there. The body must not wait for anything. Raises OSError.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(away)
        finally:
            os.close(away)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")
