"""Whose socket is it: from a cgroup's id and a socket's inode to service and process.

The packet loop knows a socket's inode and its cgroup's id; this adapter reads /proc and the v2
cgroup tree beside the loop, searching that cgroup's processes only. Every process and cgroup may
vanish between two reads; what cannot be read any more is unknown, never an error.
"""

import os
import pwd
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic

import msgspec

from cnnf.defender.core.containers import clean_text
from cnnf.defender.core.masking import mask_command
from cnnf.defender.core.services import ServiceName, service_name
from cnnf.defender.discovery import limits
from cnnf.protocol.limits import COMMAND_CHARS_MAX, NAME_CHARS_MAX
from cnnf.protocol.messages import Process

#: Walks of the cgroup tree take at most one part in this many of the time: a new service is named
#: by its first flow, so a miss is normal, but a flood of ids that are not there must not become a
#: flood of walks. A walk of 50 cgroups takes 1 ms, one of 2,000 takes 40 ms.
WALK_SHARE = 10


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a socket: the service always, the process where it was found."""

    service: ServiceName
    process: Process | None = None


class Cgroups:
    """Paths of v2 cgroups by id, which is the inode of their directory."""

    def __init__(self, mount: Path | None, clock_s: Callable[[], float] = monotonic) -> None:
        self._mount = mount
        self._clock_s = clock_s
        self._paths: dict[int, str] = {}
        self._next_walk_s = float("-inf")

    @property
    def mount(self) -> Path | None:
        """Where the v2 tree is mounted; None where it is not."""
        return self._mount

    def path(self, cgroup_id: int) -> str:
        """`/system.slice/nginx.service` for its id; '' when there is no such cgroup (any more).

        The kernel does not use an id twice, so an answer holds for ever.
        """
        if cgroup_id not in self._paths:
            self._walk()
        return self._paths.get(cgroup_id, "")

    def processes(self, path: str) -> list[int]:
        """The cgroup's processes, the newest first as far as their ids tell."""
        if self._mount is None:
            return []
        name = self._mount / path.lstrip("/") / "cgroup.procs"
        text = _read(name, limits.CGROUP_PROCS_BYTES_MAX)
        # 0 is a process outside of this pid namespace.
        pids = {int(word) for word in text.split() if word.isdigit()} - {0}
        return _newest_first(pids)[: limits.PROCESSES_SCAN_MAX]

    def _walk(self) -> None:
        started_s = self._clock_s()
        if self._mount is None or started_s < self._next_walk_s:
            return
        found: dict[int, str] = {}
        pending = [("", 0)]
        while pending and len(found) < limits.CGROUPS_MAX:
            path, depth = pending.pop()
            directory = f"{self._mount}{path}"
            try:
                found[os.stat(directory).st_ino] = path or "/"  # noqa: PTH116
                with os.scandir(directory) as entries:
                    names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            if depth < limits.CGROUP_DEPTH_MAX:
                pending.extend((f"{path}/{name}", depth + 1) for name in names)
        # A cgroup that is gone stays known while there is room: its last flows come after it.
        room = limits.CGROUPS_MAX - len(found)
        gone = [item for item in self._paths.items() if item[0] not in found]
        self._paths = dict(gone[-room:] if room > 0 else []) | found
        ended_s = self._clock_s()
        self._next_walk_s = ended_s + (ended_s - started_s) * WALK_SHARE


class Processes:
    """Processes by socket and by id, read from /proc."""

    def __init__(self, cgroups: Cgroups, proc: Path = Path("/proc")) -> None:
        self._cgroups = cgroups
        self._proc = proc
        self._users: OrderedDict[int, str] = OrderedDict()

    def owner(self, *, cgroup_id: int, inode: int) -> Owner:
        """Who has the socket `inode`, which was opened in cgroup `cgroup_id`.

        The cgroup is the one that made the socket; a process that got it handed over (socket
        activation) may live elsewhere and is then not found, the service still is.
        """
        path = self._cgroups.path(cgroup_id)
        pid = self.holder(inode, self._cgroups.processes(path)) if path and inode else 0
        process, command = self._look(pid) if pid else (None, ())
        executable = process.executable if process else ""
        return Owner(service=service_name(path, executable, command), process=process)

    def of(self, pid: int) -> Owner:
        """The service and the description of a process."""
        process, command = self._look(pid)
        executable = process.executable if process else ""
        return Owner(service=service_name(self.cgroup(pid), executable, command), process=process)

    def cgroup(self, pid: int) -> str:
        """The v2 cgroup's path of a process; '' when it is gone or has none."""
        for line in _read(self._proc / str(pid) / "cgroup", limits.PROC_BYTES_MAX).splitlines():
            if line.startswith("0::"):
                return line[3:]
        return ""

    def all(self) -> list[int]:
        """Every process there is, the newest first, bounded."""
        with os.scandir(self._proc) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
        return _newest_first(pids)[: limits.PROCESSES_SCAN_MAX]

    def holder(self, inode: int, pids: list[int]) -> int:
        """The first of these processes that has the socket open; 0 when none has."""
        wanted = f"socket:[{inode}]"
        budget = limits.DESCRIPTORS_SCAN_MAX
        for pid in pids[: limits.PROCESSES_SCAN_MAX]:
            for target in self._descriptors(pid):
                if target == wanted:
                    return pid
                budget -= 1
                if budget == 0:
                    return 0
        return 0

    def holders(self, inodes: frozenset[int], pids: list[int]) -> dict[int, int]:
        """Socket inode -> the first of these processes that has it open, in one pass over them."""
        wanted = {f"socket:[{inode}]": inode for inode in inodes}
        found: dict[int, int] = {}
        budget = limits.DESCRIPTORS_SCAN_MAX
        for pid in pids[: limits.PROCESSES_SCAN_MAX]:
            for target in self._descriptors(pid):
                budget -= 1
                inode = wanted.pop(target, 0)
                if inode:
                    found[inode] = pid
            if not wanted or budget <= 0:
                break
        return found

    def _descriptors(self, pid: int) -> Iterator[str]:
        directory = f"{self._proc}/{pid}/fd"
        try:
            names = os.listdir(directory)  # noqa: PTH208
        except OSError:
            return
        for name in names:
            try:
                yield os.readlink(f"{directory}/{name}")  # noqa: PTH115
            except OSError:
                continue

    def _look(self, pid: int) -> tuple[Process | None, tuple[str, ...]]:
        """The process for a person to read, and its real arguments, which stay inside."""
        directory = self._proc / str(pid)
        raw = _read(directory / "cmdline", limits.PROC_BYTES_MAX)
        try:
            executable = os.readlink(directory / "exe")  # noqa: PTH115
        except OSError:
            executable = ""
        if not raw and not executable:
            return None, ()
        # A process that set its own title leaves one string padded with zeros.
        command = tuple(raw.rstrip("\0").split("\0")) if raw else ()
        process = Process(
            pid=pid,
            executable=clean_text(executable, COMMAND_CHARS_MAX),
            command=mask_command(command),
            user=self._user(directory),
        )
        return process, command

    def _user(self, directory: Path) -> str:
        try:
            uid = directory.stat().st_uid
        except OSError:
            return ""
        if uid not in self._users:
            try:
                name = pwd.getpwuid(uid).pw_name
            except KeyError:
                name = str(uid)
            self._users[uid] = clean_text(name, NAME_CHARS_MAX)
            if len(self._users) > limits.USERS_MAX:
                self._users.popitem(last=False)
        return self._users[uid]


def _newest_first(pids: Iterable[int]) -> list[int]:
    """By age as far as ids tell: they grow up to a bound and then begin again at the bottom."""
    words = _read(Path("/proc/loadavg"), limits.PROC_BYTES_MAX).split()
    # Its last word is the id that was given last.
    last = int(words[-1]) if words and words[-1].isdigit() else 1 << 30
    return sorted(pids, key=lambda pid: (pid > last, -pid))


def cgroup2_mount(mountinfo: Path = Path("/proc/self/mountinfo")) -> Path | None:
    """Where the v2 hierarchy is mounted (also beside v1 in a hybrid setup); None if nowhere."""
    for line in _read(mountinfo, limits.MOUNTINFO_BYTES_MAX).splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            fields = left.split(" ")
            if len(fields) > 4:
                return Path(fields[4].encode().decode("unicode_escape"))
    return None


def _read(path: Path, bytes_max: int) -> str:
    """A /proc or cgroup file's text, cut; '' when it is gone or may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(bytes_max).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
