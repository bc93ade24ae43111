"""Hosts as namespaces around one router, and an outside that counts as the internet.

    host n      10.90.n.2, fd90:n::2        its routed container network: 10.80.n.0/24
    outside     203.0.113.7                 and the name server on 203.0.113.53

Container networks that are not routed are each host's own, and the same on all (172.17.0.0/16).
"""

import itertools
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.lab.engine import Engine
from tests.lab.netns import Namespace, namespaces, veth
from tests.lab.programs import Defender
from tests.lab.resolver import Zone
from tests.lab.runners import PROGRAM_INSIDE, SOCKETS_INSIDE, Runner, report
from tests.lab.truth import Report
from tests.lab.units import Unit

OUTSIDE, RESOLVER = "203.0.113.7", "203.0.113.53"
#: What the name server knows.
ZONE: Zone = {
    "api.pay.example": [("A", 60, OUTSIDE)],
    "www.pay.example": [("CNAME", 60, "edge.cdn.example")],
    "edge.cdn.example": [("A", 30, OUTSIDE)],
    "api.wire.example": [("A", 60, "203.0.113.70")],
    "eu.pay.wire": [("A", 60, "203.0.113.71")],
    "free.pay.wire": [("A", 60, "203.0.113.72")],
}
#: The name of the routed container network.
ROUTED = "routed"

_ROOT = Path(__file__).parents[2]


class Internetwork:
    """The router, and what hangs on it."""

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        self._numbers = itertools.count(1)
        self.router = self.namespace()
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.outside = self.namespace()
        self._link(self.outside, "outside", "203.0.113.1/24", (f"{OUTSIDE}/24", f"{RESOLVER}/24"))
        self.outside.run("ip", "route", "add", "default", "via", "203.0.113.1")

    def namespace(self) -> Namespace:
        """A namespace without links, removed with the lab."""
        (made,) = self._cleanup.enter_context(namespaces())
        for name in ("all", "default"):
            # Neighbours are found at once: else a first SYN is sent again a second later.
            made.run("sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0")
        return made

    def attach(self) -> tuple[Namespace, int]:
        """A new host's namespace, linked and routed, and its number."""
        number = next(self._numbers)
        made = self.namespace()
        gateway4, gateway6 = f"10.90.{number}.1", f"fd90:{number}::1"
        addresses = (f"10.90.{number}.2/24", f"fd90:{number}::2/64")
        self._link(made, f"host{number}", f"{gateway4}/24", addresses)
        self.router.address(f"host{number}", f"{gateway6}/64")
        made.run("ip", "route", "add", "default", "via", gateway4)
        made.run("ip", "-6", "route", "add", "default", "via", gateway6)
        self.router.run("ip", "route", "add", f"10.80.{number}.0/24", "via", f"10.90.{number}.2")
        return made, number

    def serve_names(self, zone: Zone, place: Path) -> None:
        """Start the name server."""
        file = place / "zone.json"
        file.write_text(json.dumps(zone))
        server = self.outside.start(
            *(sys.executable, "-m", "tests.lab.resolver", RESOLVER, str(file)),
            stdout=subprocess.PIPE,
            cwd=_ROOT,
        )
        self._cleanup.callback(_end, server)
        assert server.stdout is not None
        assert server.stdout.readline() == b"serving\n"

    def _link(self, end: Namespace, name: str, gateway: str, addresses: tuple[str, ...]) -> None:
        veth(self.router, name, end, "eth0")
        self.router.address(name, gateway)
        end.address("eth0", *addresses)


class Place:
    """Somewhere runners can be started: the outside, or a host."""

    def __init__(self, name: str, namespace: Namespace, address: str, work: Path) -> None:
        self.name, self.namespace, self.address = name, namespace, address
        self._work = work
        self._units: list[Unit] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def service(self, name: str, *ports: int) -> Runner:
        """A unit's process, which listens on these ports. On each host once a name."""
        unit = Unit(name)
        self._units.append(unit)
        runner = self._runner(name)
        process = unit.start(self.namespace, *self._agent(self._program, runner, ports))
        runner.wait(process)
        return runner

    def program(self, name: str, *ports: int) -> Runner:
        """A program of this name that no unit holds."""
        copy = self._work / name
        if not copy.exists():
            copy.hardlink_to(self._program)
        runner = self._runner(name)
        process = self.namespace.start(*self._agent(copy, runner, ports))
        self._processes.append(process)
        runner.wait(process)
        return runner

    def end(self) -> None:
        """End the runners that were started here."""
        for process in self._processes:
            _end(process)
        for unit in self._units:
            unit.end()

    @property
    def _program(self) -> Path:
        return self._work / "traffic"

    @property
    def _sockets(self) -> Path:
        return self._work / "s"

    def _runner(self, name: str) -> Runner:
        runner = Runner(f"{name}.{self.name}", self._sockets)
        runner.forget()
        return runner

    def _agent(self, program: Path, runner: Runner, ports: tuple[int, ...]) -> tuple[str, ...]:
        path = str(self._sockets / runner.name)
        return (str(program), "agent", runner.name, path, *map(str, ports))


class Host(Place):
    """A host, with an engine and a Defender where it was given them."""

    def __init__(self, name: str, namespace: Namespace, number: int, work: Path) -> None:
        super().__init__(name, namespace, f"10.90.{number}.2", work)
        self.number = number
        self.address6 = f"fd90:{number}::2"
        self.engine: Engine | None = None
        self._reports = itertools.count(1)
        self.defender: Defender | None = None

    def add_engine(self) -> Engine:
        """An engine that asks the lab's name server."""
        place = self._work / f"engine-{self.name}"
        self.engine = Engine(self.namespace, place, "--dns", RESOLVER)
        return self.engine

    def add_images(self, *names: str) -> None:
        """Images of these names (`lab/web:1.0`), all the same runner."""
        assert self.engine is not None
        self.engine.import_files(names[0], {PROGRAM_INSIDE.strip("/"): self._program})
        for name in names[1:]:
            self.engine.docker("tag", names[0], name)

    def add_routed_network(self) -> None:
        """A container network whose addresses are seen elsewhere, and let in from there."""
        assert self.engine is not None
        subnet = f"10.80.{self.number}.0/24"
        self.engine.docker(
            *("network", "create", "--subnet", subnet),
            *("-o", "com.docker.network.bridge.enable_ip_masquerade=false", ROUTED),
        )
        self.namespace.run("iptables", "-w", "-I", "DOCKER-USER", "-d", subnet, "-j", "ACCEPT")

    def container(
        self, name: str, image: str, *ports: int, options: tuple[str, ...] = ()
    ) -> Runner:
        """Start a container that listens on these ports; `options` are those of `docker run`."""
        assert self.engine is not None
        runner = self._runner(name)
        self.engine.docker(
            *("run", "--detach", "--name", name, "--volume", f"{self._sockets}:{SOCKETS_INSIDE}"),
            *(*options, image, PROGRAM_INSIDE, "agent", runner.name),
            *(f"{SOCKETS_INSIDE}/{runner.name}", *map(str, ports)),
        )
        runner.wait()
        return runner

    def one_shot(self, image: str, network: str, address: str, port: int, count: int) -> Report:
        """A container that does nothing but connect as its first deed, and ends."""
        assert self.engine is not None
        name = f"report-{next(self._reports)}"
        once = (PROGRAM_INSIDE, "once", f"{SOCKETS_INSIDE}/{self.name}.{name}")
        self.engine.run_to_end(
            *(image, (*once, address, str(port), str(count), "0")),
            network=network,
            bind=f"{self._sockets}:{SOCKETS_INSIDE}",
        )
        return report((self._sockets / f"{self.name}.{name}").read_text())

    def container_address(self, name: str) -> str:
        """A container's first address."""
        assert self.engine is not None
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        return self.engine.docker("inspect", "--format", template, name).split()[0]

    def end(self) -> None:
        """End what runs here, the Defender first."""
        if self.defender is not None:
            self.defender.stop()
        super().end()
        if self.engine is not None:
            self.engine.remove()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
