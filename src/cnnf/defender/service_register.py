"""The host's services: which there are, and where they listen.

Called by `local_services`, which finds services behind sockets, and by `listening`, which finds who
listens; units are found in the cgroup tree whether they are connected or not. Programs that belong
to no unit are services from when they are seen with a socket. Only what has a process in this
network namespace counts: another namespace has a Defender of its own.
"""

import threading
import time
from collections.abc import Mapping, Set
from ipaddress import ip_address
from pathlib import PurePath
from typing import NamedTuple

import msgspec

from cnnf.defender.core.attribution import Owner
from cnnf.defender.core.limits import SERVICES_MAX
from cnnf.defender.core.programs import UNKNOWN
from cnnf.defender.core.services import ServiceName, service_name
from cnnf.defender.discovery import services as found_services
from cnnf.defender.discovery.services import Cgroups, Processes, started_ms
from cnnf.defender.kernel import namespaces
from cnnf.protocol.limits import PORTS_MAX
from cnnf.protocol.messages import Instance, Protocol, Published

SERVICE = "service:"

#: Docker's unit, and its forwarder where it runs outside of one. A name is anybody's to take, so
#: the unit must be the host's own and the program root's.
_FORWARDER_UNIT = "docker"
_FORWARDERS = frozenset({"docker-proxy", "dockerd"})
#: Processes of one service that are remembered.
_PIDS_MAX = 64
#: A service that neither runs nor listens any more is gone after this time.
_LINGER_SECONDS = 20.0


class Place(NamedTuple):
    """Where a service listens; no address: on all of the host's."""

    protocol: Protocol
    address: bytes
    port: int


class _Service(msgspec.Struct):
    """A service that was seen. `pids` are processes that were seen in it, newest last; `cgroups`
    are where a program without a unit was seen."""

    name: str
    by: str
    cgroups: set[str]
    pids: list[int]
    places: set[Place]
    started_at: int
    alive_at: float


class Register:
    """All services of this network namespace. Its lock is held while it changes or is gone through:
    quick looks come from another thread than the rest."""

    def __init__(self, cgroups: Cgroups, processes: Processes) -> None:
        self._cgroups = cgroups
        self._processes = processes
        self._services: dict[str, _Service] = {}
        self._unannounced: set[str] = set()
        self._own_namespace = namespaces.own_id()
        self._inside: dict[str, tuple[int, bool]] = {}
        self.lock = threading.RLock()

    def touch(self, key: str) -> bool:
        """Is the service known? Then it lives now."""
        service = self._services.get(key)
        if service is not None:
            service.alive_at = time.monotonic()
        return service is not None

    def note(self, key: str, service: ServiceName, path: str, pid: int) -> None:
        """A service was met; `pid` is 0 where the process is not known."""
        with self.lock:
            known = self._services.get(key)
            if known is None:
                if len(self._services) >= SERVICES_MAX:
                    return
                started = started_ms(pid)
                known = self._services[key] = _Service(
                    service.name, service.by, set(), [], set(), started, 0.0
                )
                self._unannounced.add(key)
            known.alive_at = time.monotonic()
            if service.by == "program":
                if len(known.cgroups) >= _PIDS_MAX:
                    known.cgroups.clear()
                known.cgroups.add(path)
            if pid and pid not in known.pids:
                known.pids = [*known.pids, pid][-_PIDS_MAX:]

    def pids_in(self, path: str, count: int) -> list[int]:
        """Processes of a cgroup that were found behind sockets before, the latest services'."""
        seen = [
            pid
            for one in self._services.values()
            if one.by == "program" and path in one.cgroups
            for pid in one.pids[-count:]
        ]
        return seen[-count:]

    def set_places(self, places: Mapping[str, set[Place]]) -> None:
        """Where everybody listens now."""
        now = time.monotonic()
        with self.lock:
            for key, service in self._services.items():
                service.places = places.get(key, set())
                if service.places:
                    service.alive_at = now

    def find_units(self) -> None:
        """Read anew which units have processes here."""
        units = self._cgroups.units()
        self._inside = {path: one for path, one in self._inside.items() if path in units}
        running: dict[str, list[int]] = {}
        for path, pids in units.items():
            if self._is_here(path, pids):
                unit = service_name(path, "")
                key = f"{SERVICE}{unit.name}"
                if key not in running:
                    running[key] = []
                    if not self.touch(key):
                        self.note(key, unit, path, pids[0])
                running[key] += pids[:_PIDS_MAX]
        now = time.monotonic()
        with self.lock:
            for key, service in list(self._services.items()):
                here = running.get(key, [])
                if service.by == "unit":
                    service.pids = [pid for pid in service.pids if pid in here] or here[:1]
                else:
                    service.pids = [pid for pid in service.pids if self._processes.exists(pid)]
                if service.pids:
                    service.alive_at = now
                elif now - service.alive_at > _LINGER_SECONDS:
                    del self._services[key]

    def _is_here(self, path: str, pids: list[int]) -> bool:
        """Is one of the unit's processes in this network namespace?"""
        first, inside = self._inside.get(path, (0, False))
        if first != pids[0]:
            inside = False
            for pid in {pids[0], pids[-1]}:
                try:
                    inside = inside or namespaces.id_of(pid) == self._own_namespace
                except OSError:
                    continue
            self._inside[path] = pids[0], inside
        return inside

    def instances(self, addresses: list[str]) -> list[Instance]:
        """The services that run now, as the Console is told about them."""
        with self.lock:
            self._unannounced.clear()
            return [_instance(key, one, addresses) for key, one in self._services.items()]

    def take_new(self, addresses: list[str]) -> list[Instance]:
        """Services that were seen for the first time since `instances` or the last call."""
        with self.lock:
            new, self._unannounced = self._unannounced, set()
            return [
                _instance(key, self._services[key], addresses)
                for key in new
                if key in self._services
            ]


def as_owner(found: found_services.Owner) -> Owner:
    """Who was found behind a socket, as flows are told of them."""
    process = found.process
    program = PurePath(process.executable).name if process else found.service.name
    by_unit = found.service.by == "unit" and found.service.name == _FORWARDER_UNIT
    by_root = found.service.by != "container" and found.uid == 0 and program in _FORWARDERS
    return Owner(instance_id(found.service), program, process, by_unit or by_root)


def instance_id(service: ServiceName) -> str:
    """The instance's id on this Defender; '' for a service or a container that nobody knows."""
    if service.by == "container":
        return service.container if ":" not in service.container else ""
    return f"{SERVICE}{service.name}" if service.name != UNKNOWN else ""


def _instance(key: str, service: _Service, addresses: list[str]) -> Instance:
    ports, published = _told(service.places)
    return Instance(
        id=key,
        kind="service",
        name=service.name,
        addresses=addresses,
        ports=ports,
        published=published,
        pid=service.pids[0] if service.pids else 0,
        started_at=service.started_at,
    )


def _told(places: Set[Place]) -> tuple[list[int], list[Published]]:
    """Ports that are reached by TCP on every address of the host; and all places exactly of those
    ports that are also taken otherwise, since another service may have the same port elsewhere."""
    ports, exact = [], []
    otherwise = {one.port for one in places if one.protocol != "tcp" or one.address}
    for place in sorted(places):
        if place.protocol == "tcp" and not place.address:
            ports.append(place.port)
        if place.port in otherwise:
            address = str(ip_address(place.address)) if place.address else ""
            exact.append(
                Published(address=address, port=place.port, to=place.port, protocol=place.protocol)
            )
    return ports[:PORTS_MAX], exact[:PORTS_MAX]
