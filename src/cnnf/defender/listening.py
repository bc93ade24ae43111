"""Who listens on this host, by TCP and UDP.

Called by `local_services` in its worker thread. A listening socket belongs to whoever *holds* it:
mostly a process of the cgroup that made it, but systemd makes sockets for services that start
later, and any parent may hand one down. So its holder is looked for once, first in the cgroup that
made it, then everywhere, and looked for again when that process is gone.
"""

import time
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from cnnf.defender.core.attribution import Listener, Listeners, Owner, plain
from cnnf.defender.core.services import ServiceName, service_name
from cnnf.defender.discovery import services as found_services
from cnnf.defender.discovery.services import Cgroups, Processes
from cnnf.defender.discovery.socket_units import SocketUnits
from cnnf.defender.kernel.sockdiag import SocketTable
from cnnf.defender.netlink.inet_diag import TCP_LISTEN, Socket
from cnnf.defender.service_register import SERVICE, Place, Register, as_owner
from cnnf.protocol.messages import Protocol

#: Seconds between two looks for who holds what nobody but a manager (or nobody at all) held so far.
_AGAIN_SECONDS = 30.0
#: The ports that the kernel gives to whoever does not ask for one; its own default.
_EPHEMERAL = (32_768, 60_999)
_EPHEMERAL_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Where managers (the first process, a user's systemd) live by themselves.
_MANAGER = "/init.scope"
_FORWARDER = "docker-proxy"


class _Held(NamedTuple):
    """Whose a listening socket is. `pid` is the process that was found with it, 0 where none was;
    `settled`: there is nothing to be looked for again while that process lives."""

    owner: Owner
    pid: int
    settled: bool


_NOBODY = _Held(Owner("", "", None), 0, False)


class Listening:
    """Listening sockets of this network namespace, and whose they are."""

    def __init__(
        self,
        cgroups: Cgroups,
        processes: Processes,
        register: Register,
        units: SocketUnits | None = None,
    ) -> None:
        self._cgroups = cgroups
        self._processes = processes
        self._register = register
        self._units = units or SocketUnits()
        self._sockets = SocketTable()
        self._held: dict[int, _Held] = {}
        self._looked_again = 0.0
        self._datagrams: set[int] = set()
        #: Cgroups that name no service and from which an engine's forwarder listens.
        self.forwarding: frozenset[int] = frozenset()

    def close(self) -> None:
        """Close the sockets that ask the kernel."""
        self._sockets.close()

    def read(self) -> Listeners:
        """Who listens here now; the register is told where. Raises NetlinkError, OSError."""
        found: list[tuple[Protocol, Socket]] = [("tcp", one) for one in self._sockets.listeners()]
        found += [("udp", one) for one in self._servers(self._sockets.bound())]
        self._held = {
            sock.inode: self._held[sock.inode] for _, sock in found if sock.inode in self._held
        }
        self._resolve({sock.inode: sock for _, sock in found if self._is_missing(sock.inode)})
        entries = []
        places: dict[str, set[Place]] = {}
        forwarding = set()
        for protocol, sock in found:
            owner = self._held.get(sock.inode, _NOBODY).owner
            address = plain(sock.source)
            entries.append(Listener(address, sock.source_port, owner, protocol, sock.v6_only))
            if owner.forwards:
                forwarding.add(sock.cgroup)
            if owner.instance.startswith(SERVICE) and not _is_forwarding(owner):
                place = Place(protocol, address if any(address) else b"", sock.source_port)
                places.setdefault(owner.instance, set()).add(place)
        self.forwarding = frozenset(forwarding)
        self._register.set_places(places)
        return Listeners(entries)

    def _servers(self, bound: Iterable[Socket]) -> list[Socket]:
        """Sockets that wait for datagrams. One with a port of the kernel's choice is mostly a
        client's, and gone in a moment: it counts when it is still there at the next look."""
        low, high = _ephemeral()
        before, self._datagrams = self._datagrams, set()
        found = []
        for sock in bound:
            if low <= sock.source_port <= high:
                self._datagrams.add(sock.inode)
                if sock.inode not in before:
                    continue
            found.append(sock)
        return found

    def _is_missing(self, inode: int) -> bool:
        held = self._held.get(inode)
        if held is None:
            return True
        if held.owner.instance.startswith(SERVICE) and not self._register.touch(
            held.owner.instance
        ):
            return True  # it was taken for gone: look again, and announce it again
        if held.pid and not self._processes.exists(held.pid):
            return True
        return not held.settled and time.monotonic() - self._looked_again >= _AGAIN_SECONDS

    def _resolve(self, missing: dict[int, Socket]) -> None:
        if not missing:
            return
        if any(inode in self._held for inode in missing):
            self._looked_again = time.monotonic()
        by_cgroup: dict[int, list[int]] = {}
        for inode, sock in missing.items():
            by_cgroup.setdefault(sock.cgroup, []).append(inode)
        elsewhere: dict[int, str] = {}
        for cgroup, inodes in by_cgroup.items():
            path = self._cgroups.path(cgroup)
            service = service_name(path, "")
            if service.by == "container":
                owner = as_owner(found_services.Owner(service=service))
                self._held.update((inode, _Held(owner, 0, True)) for inode in inodes)
                continue
            holders: dict[int, int] = {}
            if service.by == "unit":
                members = self._cgroups.processes(path)
                holders = self._processes.holders(frozenset(inodes), members)
            for inode in inodes:
                if inode in holders:
                    self._keep(inode, self._processes.of(holders[inode]), path, holders[inode])
                else:
                    elsewhere[inode] = path
        if elsewhere:
            self._look_everywhere(elsewhere, missing)

    def _look_everywhere(self, inodes: dict[int, str], sockets: dict[int, Socket]) -> None:
        """One pass over all processes; `inodes` are with the path of the cgroup that made each."""
        holders = self._processes.all_holders(frozenset(inodes), self._processes.all())
        for inode, made_in in inodes.items():
            by_path = {pid: self._processes.cgroup(pid) for pid in holders.get(inode, ())}
            # A manager keeps the sockets that it hands to services: those have it, not it.
            served = [pid for pid, path in by_path.items() if not path.endswith(_MANAGER)]
            if served:
                self._keep(inode, self._processes.of(served[0]), by_path[served[0]], served[0])
            elif by_path:
                pid = next(iter(by_path))
                self._keep_managed(inode, sockets[inode], pid, by_path[pid])
            elif service_name(made_in, "").by == "unit":
                service = service_name(made_in, "")
                self._keep(inode, found_services.Owner(service=service), made_in, 0)
            else:
                self._held[inode] = _NOBODY

    def _keep_managed(self, inode: int, sock: Socket, pid: int, path: str) -> None:
        """Only a manager has it so far: it is of the service that its socket unit starts."""
        protocol: Protocol = "tcp" if sock.state == TCP_LISTEN else "udp"
        # A user's manager may listen where it likes: only what the host's own does is the host's.
        unit = ""
        if path == _MANAGER:
            unit = self._units.service(protocol, sock.source, sock.source_port)
        found = self._processes.of(pid)
        if unit:
            service = ServiceName(name=unit, by="unit")
            found = found_services.Owner(service=service, process=found.process, uid=found.uid)
        self._keep(inode, found, path, pid, settled=False)

    def _keep(
        self, inode: int, found: found_services.Owner, path: str, pid: int, *, settled: bool = True
    ) -> None:
        owner = as_owner(found)
        self._held[inode] = _Held(owner, pid, settled)
        if owner.instance.startswith(SERVICE):
            self._register.note(owner.instance, found.service, path, pid)


def _is_forwarding(owner: Owner) -> bool:
    """Is it a port that an engine's forwarder keeps for a container? Then it is the container's."""
    process = owner.process
    return (
        owner.forwards and process is not None and (PurePath(process.executable).name == _FORWARDER)
    )


def _ephemeral() -> tuple[int, int]:
    try:
        low, high = map(int, _EPHEMERAL_FILE.read_text().split())
    except (OSError, ValueError):
        return _EPHEMERAL
    return low, high
