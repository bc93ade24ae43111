"""Whose socket is it: from a cgroup's id and a socket's inode to service and process.

The packet loop knows a socket's inode and its cgroup's id; this adapter reads /proc and the v2
cgroup tree beside the loop, searching that cgroup's processes only. Every process and cgroup may
vanish between two reads; what cannot be read any more is unknown, never an error.
"""

import os
import pwd
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic

import msgspec

from cnnf.defender.core.containers import clean_text
from cnnf.defender.core.masking import mask_command
from cnnf.defender.core.services import ServiceName, service_name, unit_of
from cnnf.defender.discovery import limits
from cnnf.protocol.limits import COMMAND_CHARS_MAX, NAME_CHARS_MAX
from cnnf.protocol.messages import Process

#: Walks of the cgroup tree take at most one part in this many of the time: a new service is named
#: by its first flow, so a miss is normal, but a flood of ids that are not there must not become a
#: flood of walks. A walk of 50 cgroups takes 1 ms, one of 2,000 takes 40 ms.
WALK_SHARE = 10
#: Seconds of walking that may be saved up: services that start together are each named by their
#: first flow, also where every core is busy and a walk takes 20 ms instead of one.
WALK_SAVED_SECONDS = 0.2


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who has a socket: the service always, the process and its user where it was found."""

    service: ServiceName
    process: Process | None = None
    uid: int = -1


class Cgroups:
    """Paths of v2 cgroups by id, which is the inode of their directory."""

    def __init__(self, mount: Path | None, clock_s: Callable[[], float] = monotonic) -> None:
        self._mount = mount
        self._clock_s = clock_s
        self._paths: dict[int, str] = {}
        self._saved_s = WALK_SAVED_SECONDS
        self._saved_at_s = clock_s()

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
        text = _read(f"{self._mount}{path}/cgroup.procs", limits.CGROUP_PROCS_BYTES_MAX)
        # 0 is a process outside of this pid namespace.
        pids = {int(word) for word in text.split() if word.isdigit()} - {0}
        return _newest_first(pids)[: limits.PROCESSES_SCAN_MAX]

    def units(self) -> dict[str, list[int]]:
        """Every unit that has processes: its cgroup's path, and their ids as the kernel has them.

        Looks into slices and users' managers only; containers and what units keep below their own
        cgroup are not walked.
        """
        found: dict[str, list[int]] = {}
        pending = [("", 0)] if self._mount is not None else []
        while pending and len(found) < limits.CGROUPS_MAX:
            path, depth = pending.pop()
            for name in self._below(path):
                inner = f"{path}/{name}"
                if unit_of(inner):
                    pids = self._members(inner)
                    if pids:
                        found[inner] = pids
                elif name.endswith((".slice", ".service")) and depth < limits.CGROUP_DEPTH_MAX:
                    pending.append((inner, depth + 1))
        return found

    def _members(self, path: str) -> list[int]:
        """The processes of a unit; of the first cgroup below that has any, where it delegates."""
        pending = [path]
        for _ in range(limits.CGROUP_DEPTH_MAX):
            if not pending:
                break
            one = pending.pop(0)
            words = _read(f"{self._mount}{one}/cgroup.procs", limits.CGROUP_PROCS_BYTES_MAX).split()
            pids = [int(word) for word in words if word.isdigit() and word != "0"]
            if pids:
                return pids[: limits.PROCESSES_SCAN_MAX]
            pending += [f"{one}/{name}" for name in self._below(one)]
        return []

    def _below(self, path: str) -> list[str]:
        try:
            with os.scandir(f"{self._mount}{path}") as entries:
                return [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:
            return []

    def _walk(self) -> None:
        started_s = self._clock_s()
        self._saved_s += (started_s - self._saved_at_s) / WALK_SHARE
        self._saved_s, self._saved_at_s = min(self._saved_s, WALK_SAVED_SECONDS), started_s
        if self._mount is None or self._saved_s <= 0:
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
        self._saved_s -= self._clock_s() - started_s


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
        return self._owner(pid, path)

    def of(self, pid: int) -> Owner:
        """The service and the description of a process."""
        return self._owner(pid, self.cgroup(pid))

    def _owner(self, pid: int, path: str) -> Owner:
        process, command, uid = self._look(pid) if pid else (None, (), -1)
        executable = process.executable if process else ""
        return Owner(service=service_name(path, executable, command), process=process, uid=uid)

    def exists(self, pid: int) -> bool:
        """Is there such a process?"""
        try:
            os.stat(f"{self._proc}/{pid}")  # noqa: PTH116
        except OSError:
            return False
        return True

    def cgroup(self, pid: int) -> str:
        """The v2 cgroup's path of a process; '' when it is gone or has none."""
        for line in _read(f"{self._proc}/{pid}/cgroup", limits.PROC_BYTES_MAX).splitlines():
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

    def all_holders(self, inodes: frozenset[int], pids: list[int]) -> dict[int, list[int]]:
        """Socket inode -> all of these processes that have it open, in their order, bounded."""
        wanted = {f"socket:[{inode}]": inode for inode in inodes}
        found: dict[int, list[int]] = {}
        budget = limits.DESCRIPTORS_SCAN_MAX
        for pid in pids[: limits.PROCESSES_SCAN_MAX]:
            for target in self._descriptors(pid):
                budget -= 1
                inode = wanted.get(target, 0)
                if inode:
                    holders = found.setdefault(inode, [])
                    if pid not in holders and len(holders) < limits.HOLDERS_MAX:
                        holders.append(pid)
            if budget <= 0:
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

    def _look(self, pid: int) -> tuple[Process | None, tuple[str, ...], int]:
        """The process for a person to read; its real arguments and user, which stay inside."""
        directory = f"{self._proc}/{pid}"
        raw = _read(f"{directory}/cmdline", limits.PROC_BYTES_MAX)
        try:
            executable = os.readlink(f"{directory}/exe")  # noqa: PTH115
        except OSError:
            executable = ""
        if not raw and not executable:
            return None, (), -1
        # A process that set its own title leaves one string padded with zeros.
        command = tuple(raw.rstrip("\0").split("\0")) if raw else ()
        uid = self._uid(directory)
        process = Process(
            pid=pid,
            executable=clean_text(executable, COMMAND_CHARS_MAX),
            command=mask_command(command),
            user=self._user(uid) if uid >= 0 else "",
        )
        return process, command, uid

    def _uid(self, directory: str) -> int:
        """The effective user; -1 when it can't be told. Making itself not dumpable (prctl(2)) gives
        root what lies in the directory, not the directory."""
        try:
            return os.stat(directory).st_uid  # noqa: PTH116
        except OSError:
            return -1

    def _user(self, uid: int) -> str:
        if uid not in self._users:
            try:
                name = pwd.getpwuid(uid).pw_name
            except KeyError:
                name = str(uid)
            self._users[uid] = clean_text(name, NAME_CHARS_MAX)
            if len(self._users) > limits.USERS_MAX:
                self._users.popitem(last=False)
        return self._users[uid]


def started_ms(pid: int, proc: str = "/proc") -> int:
    """When a process started (ms since the epoch); now when it can't be told. proc(5), field 22."""
    now_ms = time.time_ns() // 1_000_000
    # The name in parentheses may hold anything, so the fields are counted from its end.
    fields = _read(f"{proc}/{pid}/stat", limits.PROC_BYTES_MAX).rpartition(")")[2].split()
    if len(fields) < 20 or not fields[19].isdigit():
        return now_ms
    age_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    return now_ms - age_ms + int(fields[19]) * 1_000 // _TICKS


#: Ticks a second in /proc (USER_HZ).
_TICKS = os.sysconf("SC_CLK_TCK")


def _newest_first(pids: Iterable[int]) -> list[int]:
    """By age as far as ids tell: they grow up to a bound and then begin again at the bottom."""
    words = _read("/proc/loadavg", limits.PROC_BYTES_MAX).split()
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


def _read(path: str | Path, bytes_max: int) -> str:
    """A /proc or cgroup file's text, cut; '' when it is gone or may not be read."""
    # Thousands of small files are read: without a buffer in between that takes half the time.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    parts: list[bytes] = []
    try:
        while bytes_max > 0 and (part := os.read(file, bytes_max)):
            parts.append(part)
            bytes_max -= len(part)
    except OSError:
        pass  # it went away while it was read: what there was is an answer
    finally:
        os.close(file)
    return b"".join(parts).decode("utf-8", "replace")
