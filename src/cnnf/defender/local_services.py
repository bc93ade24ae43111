"""The host's own side of connections: which service a socket belongs to, and who listens where.

Called by the observer in a worker thread (reading /proc takes milliseconds on a busy host), one
call at a time. A cgroup that names a unit or a container is looked up once; sockets of other
cgroups one by one, since only the process tells the program.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path, PurePath

import msgspec

from cnnf.defender.core.attribution import Listeners, Owner
from cnnf.defender.core.limits import SERVICES_MAX
from cnnf.defender.core.programs import UNKNOWN
from cnnf.defender.core.services import ServiceName, service_name
from cnnf.defender.discovery.services import Cgroups, Processes
from cnnf.defender.kernel.sockdiag import SocketTable
from cnnf.protocol.limits import PORTS_MAX
from cnnf.protocol.messages import Instance, Process

#: Owners of single sockets that are remembered: as many as can be in one report, a few times over.
_OWNERS_MAX = 20_000
#: Processes of one service that are remembered.
_PIDS_MAX = 64
#: Seconds between two looks at every process of a big cgroup.
_PASS_SECONDS = 0.25
#: Processes that a quick look asks: a one-shot client is among the newest of its cgroup, and one
#: that runs for long was found before.
_NEWEST = 12
_KNOWN = 12
#: A service that neither runs nor listens any more is gone after this time.
_LINGER_SECONDS = 20.0

_SERVICE = "service:"
_NOBODY = Owner("", "", None)


class _Service(msgspec.Struct):
    """A service that was seen. `pids` are processes that were seen in it, newest last."""

    name: str
    by: str
    cgroup: str
    pids: list[int]
    ports: set[int]
    started_at: int
    alive_at: float


class LocalServices:
    """Names of sockets of this network namespace, with what that needs remembered.

    `deepest` is the level of the deepest cgroup that names a service.
    """

    def __init__(self, cgroups: Cgroups, processes: Processes) -> None:
        self._cgroups = cgroups
        self._processes = processes
        self._sockets = SocketTable()
        self._by_cgroup: dict[int, Owner] = {}
        self._by_inode: OrderedDict[int, Owner] = OrderedDict()
        self.deepest = 0
        self._processes_of: OrderedDict[int, Process | None] = OrderedDict()
        self._ownerless: set[int] = set()
        self._passed_at = 0.0
        self._services: dict[str, _Service] = {}
        self._unannounced: set[str] = set()
        # Held while services and names change or are gone through: a quick look does not wait
        # until the worker has read all of /proc, since a SYN waits for it.
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the sockets that ask the kernel."""
        self._sockets.close()

    @property
    def named(self) -> set[int]:
        """The ids of the cgroups that tell a service by themselves."""
        return set(self._by_cgroup)

    def owner_of_cgroup(self, cgroup: int) -> str:
        """The instance that a cgroup names by itself; '' when it names none."""
        owner = self._by_cgroup.get(cgroup)
        return owner.instance if owner is not None else ""

    def owner_of(self, cgroup: int, inode: int) -> str:
        """The instance behind a socket, as far as it was looked at; '' when not."""
        owner = self._by_cgroup.get(cgroup) or self._by_inode.get(inode)
        return owner.instance if owner is not None else ""

    def owners(self, sockets: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Owner]:
        """The owner of each (cgroup id, inode); nobody is said, not guessed."""
        wanted = set(sockets)
        missing = {(cgroup, inode) for cgroup, inode in wanted if not self._known(cgroup, inode)}
        if missing:
            self._look_for(missing)
        return {key: self._known(*key) or _NOBODY for key in wanted}

    def look_quickly(self, cgroup: int, inode: int, *, thoroughly: bool = False) -> None:
        """Find a socket's owner among the newest processes, while it still lives.

        Takes about a millisecond at most; a miss is no answer, `owners` looks everywhere.
        `thoroughly` looks everywhere too (30 ms for 5,000 descriptors), four times a second at
        most. May be called beside everything else here.
        """
        if inode in self._by_inode or inode in self._processes_of or not inode:
            return
        with self._lock:
            path = self._cgroups.path(cgroup)
            seen = self._seen_in(path)
        pids = self._cgroups.processes(path) if path else []
        pid = self._processes.holder(inode, [*seen, *pids[:_NEWEST]])
        if not pid and thoroughly and len(pids) > _NEWEST and self._may_pass():
            pid = self._processes.holder(inode, pids[_NEWEST:])
        if not pid:
            return
        if cgroup in self._by_cgroup:
            self._processes_of[inode] = self._processes.of(pid).process
            if len(self._processes_of) > _OWNERS_MAX:
                self._processes_of.popitem(last=False)
        else:
            self._remember(cgroup, inode, path, pid)

    def process_of(self, inode: int) -> Process | None:
        """The very process behind a socket of a named cgroup; None where it was not found."""
        return self._processes_of.get(inode)

    def listeners(self) -> Listeners:
        """Who listens here now; also keeps the services' ports. Raises NetlinkError, OSError."""
        found = self._sockets.listeners()
        missing = {
            sock.inode: sock.cgroup
            for sock in found
            if not self._known(sock.cgroup, sock.inode) and sock.inode not in self._ownerless
        }
        if missing:
            self._find_holders(missing)
            # A listener without a process (the kernel's own) is not looked for again and again.
            self._ownerless = {
                sock.inode for sock in found if not self._known(sock.cgroup, sock.inode)
            }
        for service in list(self._services.values()):
            service.ports = set()
        entries = []
        for sock in found:
            owner = self._known(sock.cgroup, sock.inode) or _NOBODY
            entries.append((sock.source, sock.source_port, owner))
            known = self._services.get(owner.instance)
            if known is not None:
                known.ports.add(sock.source_port)
                known.alive_at = time.monotonic()
        return Listeners(entries)

    def instances(self, addresses: list[str]) -> list[Instance]:
        """The services that run now, as the Console is told about them."""
        now = time.monotonic()
        for key, service in list(self._services.items()):
            if self._lives(service):
                service.alive_at = now
            elif now - service.alive_at > _LINGER_SECONDS:
                del self._services[key]
        with self._lock:
            self._unannounced.clear()
            return [_instance(key, one, addresses) for key, one in self._services.items()]

    def take_new(self, addresses: list[str]) -> list[Instance]:
        """Services that were seen for the first time since `instances` or the last call."""
        new, self._unannounced = self._unannounced, set()
        return [
            _instance(key, self._services[key], addresses) for key in new if key in self._services
        ]

    def _known(self, cgroup: int, inode: int) -> Owner | None:
        known = self._by_cgroup.get(cgroup) or self._by_inode.get(inode)
        if known is None or not known.instance.startswith(_SERVICE):
            return known
        service = self._services.get(known.instance)
        if service is None:
            return None  # it was taken for gone: look again, and announce it again
        service.alive_at = time.monotonic()
        return known

    def _look_for(self, missing: set[tuple[int, int]]) -> None:
        """Find the holders of all these sockets in one pass over the processes of each cgroup."""
        with self._lock:
            paths = {cgroup: self._cgroups.path(cgroup) for cgroup, _ in missing}
        for cgroup, path in paths.items():
            inodes = frozenset(inode for one, inode in missing if one == cgroup and inode)
            holders: dict[int, int] = {}
            if path and inodes:
                pids = self._cgroups.processes(path)
                if len(pids) > _NEWEST:
                    pids = pids if self._may_pass() else pids[:_NEWEST]
                holders = self._processes.holders(inodes, pids)
            for one, inode in missing:
                if one == cgroup:
                    self._remember(cgroup, inode, path, holders.get(inode, 0))

    def _seen_in(self, cgroup: str) -> list[int]:
        """Processes of a cgroup that were found behind sockets before, the latest services'."""
        seen = [
            pid
            for one in self._services.values()
            if one.by == "program" and one.cgroup == cgroup
            for pid in one.pids[-_KNOWN:]
        ]
        return seen[-_KNOWN:]

    def _may_pass(self) -> bool:
        """A look at every process of a big cgroup takes tens of milliseconds: not too often."""
        now = time.monotonic()
        if now - self._passed_at < _PASS_SECONDS:
            return False
        self._passed_at = now
        return True

    def _find_holders(self, missing: dict[int, int]) -> None:
        """All listeners' processes in one pass over /proc; `missing` is inode -> cgroup."""
        holders = self._processes.holders(frozenset(missing), self._processes.all())
        for inode, cgroup in missing.items():
            self._remember(cgroup, inode, self._cgroups.path(cgroup), holders.get(inode, 0))

    def _remember(self, cgroup: int, inode: int, path: str, pid: int) -> Owner:
        with self._lock:
            return self._remembered(cgroup, inode, path, pid)

    def _remembered(self, cgroup: int, inode: int, path: str, pid: int) -> Owner:
        process = None
        # What the socket's own cgroup says holds for every socket of that cgroup.
        service = service_name(path, "")
        by_cgroup = service.by != "program"
        if pid:
            found = self._processes.of(pid)
            process = found.process
            if not by_cgroup:
                service = found.service
        program = PurePath(process.executable).name if process else service.name
        owner = Owner(_instance_id(service), program, process)
        if by_cgroup:
            if len(self._by_cgroup) >= _OWNERS_MAX:
                self._by_cgroup.clear()
            self._by_cgroup[cgroup] = owner
            self.deepest = max(self.deepest, path.strip("/").count("/") + 1)
        elif inode and owner.instance:
            self._by_inode[inode] = owner
            if len(self._by_inode) > _OWNERS_MAX:
                self._by_inode.popitem(last=False)
        if owner.instance and service.by != "container":
            self._note(owner.instance, service, path, pid)
        return owner

    def _note(self, key: str, service: ServiceName, path: str, pid: int) -> None:
        known = self._services.get(key)
        if known is None:
            if len(self._services) >= SERVICES_MAX:
                return
            known = self._services[key] = _Service(
                service.name, service.by, path, [], set(), _started_ms(pid), time.monotonic()
            )
            self._unannounced.add(key)
        known.alive_at = time.monotonic()
        if pid and pid not in known.pids:
            known.pids = [*known.pids, pid][-_PIDS_MAX:]

    def _lives(self, service: _Service) -> bool:
        if service.by == "unit":
            running = self._cgroups.processes(service.cgroup)
            service.pids = [pid for pid in service.pids if pid in running] or running[-1:]
        else:
            service.pids = [pid for pid in service.pids if _exists(pid)]
        return bool(service.pids)


def _instance(key: str, service: _Service, addresses: list[str]) -> Instance:
    return Instance(
        id=key,
        kind="service",
        name=service.name,
        addresses=addresses,
        ports=sorted(service.ports)[:PORTS_MAX],
        pid=service.pids[0] if service.pids else 0,
        started_at=service.started_at,
    )


def _instance_id(service: ServiceName) -> str:
    if service.by == "container":
        return service.container
    return f"{_SERVICE}{service.name}" if service.name != UNKNOWN else ""


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _started_ms(pid: int) -> int:
    """When the process started, ms; now when it can't be told."""
    try:
        # The directory's time is the process's start as far as /proc keeps it.
        return int(Path(f"/proc/{pid}").stat().st_ctime * 1000)
    except OSError:
        return int(time.time() * 1000)
