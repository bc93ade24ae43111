"""The host's own side of connections: which service a socket belongs to, and who listens where.

Called by the observer in a worker thread (reading /proc takes milliseconds on a busy host), one
call at a time. A cgroup that names a unit or a container is looked up once; sockets of other
cgroups one by one, since only the process tells the program.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from cnnf.defender.core.attribution import Listeners, Owner
from cnnf.defender.core.services import service_name
from cnnf.defender.discovery import services as found_services
from cnnf.defender.discovery.services import Cgroups, Processes
from cnnf.defender.listening import Listening
from cnnf.defender.service_register import SERVICE, Register, as_owner
from cnnf.protocol.messages import Instance, Process

#: Owners of single sockets that are remembered: as many as can be in one report, a few times over.
_OWNERS_MAX = 20_000
#: Seconds between two looks at every process of a big cgroup.
_PASS_SECONDS = 0.25
#: Processes that a quick look asks: a one-shot client is among the newest of its cgroup, and one
#: that runs for long was found before.
_NEWEST = 12
_KNOWN = 12
_UNKNOWN = Owner("", "", None)


class LocalServices:
    """Names of sockets of this network namespace, with what that needs remembered.

    `deepest` is the level of the deepest cgroup that names a service.
    """

    def __init__(self, cgroups: Cgroups, processes: Processes) -> None:
        self._cgroups = cgroups
        self._processes = processes
        self._register = Register(cgroups, processes)
        self._listening = Listening(cgroups, processes, self._register)
        self._by_cgroup: dict[int, Owner] = {}
        self._by_inode: OrderedDict[int, Owner] = OrderedDict()
        self.deepest = 0
        self._processes_of: OrderedDict[int, Process | None] = OrderedDict()
        self._passed_at = 0.0
        # Held while services and names change or are gone through: a quick look does not wait
        # until the worker has read all of /proc, since a SYN waits for it.
        self._lock: threading.RLock = self._register.lock

    def close(self) -> None:
        """Close the sockets that ask the kernel."""
        self._listening.close()

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
        return {key: self._known(*key) or self._nobody(key[0]) for key in wanted}

    def still_unknown(
        self, owners: Mapping[tuple[int, int], Owner]
    ) -> dict[tuple[int, int], Owner]:
        """Those of `owners` that were not found, by where the forwarder is as last read."""
        return {key: self._nobody(key[0]) for key, one in owners.items() if one[:3] == _UNKNOWN[:3]}

    def _nobody(self, cgroup: int) -> Owner:
        """Whoever it was. A forwarder's sockets live so briefly that it is often not found: then it
        is taken for one that comes from where the forwarder is."""
        return _UNKNOWN._replace(forwards=cgroup in self._listening.forwarding)

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
            seen = self._register.pids_in(path, _KNOWN)
        pids = self._cgroups.processes(path) if path else []
        pid = self._processes.holder(inode, [*seen, *pids[:_NEWEST]])
        if not pid and thoroughly and len(pids) > _NEWEST and self._may_pass():
            pid = self._processes.holder(inode, pids[_NEWEST:])
        if not pid and (cgroup in self._by_cgroup or service_name(path, "").by == "program"):
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
        return self._listening.read()

    def instances(self, addresses: list[str]) -> list[Instance]:
        """The services that run now, as the Console is told about them."""
        self._register.find_units()
        return self._register.instances(addresses)

    def take_new(self, addresses: list[str]) -> list[Instance]:
        """Services that were seen for the first time since `instances` or the last call."""
        return self._register.take_new(addresses)

    def _known(self, cgroup: int, inode: int) -> Owner | None:
        known = self._by_cgroup.get(cgroup) or self._by_inode.get(inode)
        if known is None or not known.instance.startswith(SERVICE):
            return known
        # One that was taken for gone is looked for again, and announced again.
        return known if self._register.touch(known.instance) else None

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

    def _may_pass(self) -> bool:
        """A look at every process of a big cgroup takes tens of milliseconds: not too often."""
        now = time.monotonic()
        if now - self._passed_at < _PASS_SECONDS:
            return False
        self._passed_at = now
        return True

    def _remember(self, cgroup: int, inode: int, path: str, pid: int) -> Owner:
        with self._lock:
            return self._remembered(cgroup, inode, path, pid)

    def _remembered(self, cgroup: int, inode: int, path: str, pid: int) -> Owner:
        service = service_name(path, "")
        found = self._processes.of(pid) if pid else found_services.Owner(service=service)
        # What the socket's own cgroup says holds for every socket of that cgroup.
        by_cgroup = service.by != "program"
        if by_cgroup:
            found = found_services.Owner(service=service, process=found.process, uid=found.uid)
        owner = as_owner(found)
        if by_cgroup:
            if len(self._by_cgroup) >= _OWNERS_MAX:
                self._by_cgroup.clear()
            self._by_cgroup[cgroup] = owner
            self.deepest = max(self.deepest, path.strip("/").count("/") + 1)
        elif inode and owner.instance:
            self._by_inode[inode] = owner
            if len(self._by_inode) > _OWNERS_MAX:
                self._by_inode.popitem(last=False)
        if owner.instance.startswith(SERVICE):
            self._register.note(owner.instance, found.service, path, pid)
        return owner
