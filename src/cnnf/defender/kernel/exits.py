"""Sees containers end: by their first process, at the moment it does.

An engine says so too, tens of milliseconds later and after it has begun to take the address back;
the next container may have it soon after. `residents.py` asks, with the process that discovery has
told (pidfd_open(2); a pidfd is readable once its process has ended).
"""

import os
import resource
import select
import time
from collections.abc import Callable
from pathlib import Path

from cnnf.defender.core.limits import EXITS_WATCHED_MAX

_PROC = Path("/proc")
#: Of each container's cgroups; a path of more is none.
_CGROUP_BYTES_MAX = 65_536


class ExitWatch:
    """Calls `on_ended` with a container's id, when its end was seen, and when it was last seen to
    live (both ms since the epoch). Not every container can be watched; those by their engine only.
    """

    def __init__(self, on_ended: Callable[[str, int, int], None]) -> None:
        self._on_ended = on_ended
        self._epoll = select.epoll()
        #: By descriptor: container, and since when it is watched.
        self._watched: dict[int, tuple[str, int]] = {}
        self._descriptors: dict[str, int] = {}
        self._looked_at = 0
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(EXITS_WATCHED_MAX, soft // 2)

    def fileno(self) -> int:
        """Readable when somebody has ended: `look` then."""
        return self._epoll.fileno()

    def watch(self, container: str, pid: int) -> bool:
        """Watch a container's first process. False when that can't be done: it is not of this
        process's pid namespace, has ended already, or is one too many."""
        if container in self._descriptors:
            self.forget(container)
        if pid <= 0 or len(self._watched) >= self._most:
            return False
        watched_at = _now_ms()
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return False
        if not _is_of(pid, container):
            os.close(descriptor)
            return False
        self._watched[descriptor] = (container, watched_at)
        self._descriptors[container] = descriptor
        self._epoll.register(descriptor, select.EPOLLIN)
        return True

    def forget(self, container: str) -> None:
        """It need not be watched any more."""
        descriptor = self._descriptors.pop(container, None)
        if descriptor is not None:
            del self._watched[descriptor]
            self._epoll.unregister(descriptor)
            os.close(descriptor)

    def look(self) -> None:
        """Tell of all that have ended."""
        before, now_ms = self._looked_at, _now_ms()
        ended = self._epoll.poll(0, max(len(self._watched), 1))
        self._looked_at = now_ms
        for descriptor, _ in ended:
            container, since = self._watched[descriptor]
            self.forget(container)
            self._on_ended(container, _now_ms(), max(before, since))

    def close(self) -> None:
        """Watch nobody any more."""
        for container in list(self._descriptors):
            self.forget(container)
        self._epoll.close()


def _is_of(pid: int, container: str) -> bool:
    """Is it a process of that container? A number says little: of another pid namespace, or one
    that is used again, it is somebody else's. Every runtime's cgroup names its container."""
    try:
        with (_PROC / str(pid) / "cgroup").open("rb") as file:
            return container.encode() in file.read(_CGROUP_BYTES_MAX)
    except OSError:
        return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
