"""Which services a host has and who listens, told from real processes, cgroups and sockets."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from cnnf.defender.core.attribution import Listeners
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.discovery.socket_units import SocketUnits
from cnnf.defender.listening import Listening
from cnnf.defender.local_services import LocalServices
from cnnf.defender.service_register import Register
from cnnf.protocol.messages import Instance, Published
from tests.lab import netns
from tests.lab.netns import Namespace
from tests.lab.units import Unit

ANY, LOCAL = bytes(4), bytes((127, 0, 0, 1))
NOBODY = 65_534

#: Opens what its arguments say (`tcp:ADDRESS:PORT`, `udp:…`, `only6:PORT`), says so, and waits.
SERVER = textwrap.dedent("""
    import os, socket, sys
    kept = []
    for one in sys.argv[1:]:
        kind, rest = one.split(":", 1)
        address, port = rest.rsplit(":", 1)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == "shared":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, kind == "only6")
        made.bind((address, int(port)))
        if kind != "udp":
            made.listen()
        kept.append(made)
    print("ready", flush=True)
    sys.stdin.read()
""")

#: Listens on the port of its first argument, and on each line read starts, with the socket as
#: systemd hands it over (fd 3, LISTEN_FDS), a shell that enters the cgroup of its second one and
#: becomes a server; `close` closes its own copy.
MANAGER = textwrap.dedent("""
    import os, socket, subprocess, sys
    spare = os.open("/dev/null", os.O_RDONLY)
    made = socket.create_server(("", int(sys.argv[1])))
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "close":
            made.close()
        else:
            os.dup2(made.fileno(), 3, inheritable=True)
            os.environ["LISTEN_FDS"] = "1"
            enter = f"echo $$ >{sys.argv[2]}/cgroup.procs && exec sleep 60"
            child = subprocess.Popen(["sh", "-c", enter], close_fds=False)
            os.close(3)
            while open(f"/proc/{child.pid}/comm").read().strip() != "sleep":
                pass
        print("done", flush=True)
    if "child" in globals():
        child.kill()
""")

pytestmark = pytest.mark.skipif(
    not netns.can_make() or cgroup2_mount() is None, reason="needs root, ip and cgroup v2"
)


class Host:
    """A namespace with units, and the part of a Defender that names services in it."""

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        self.namespace = Namespace()
        cleanup.callback(self.namespace.delete)
        self._cgroups = Cgroups(cgroup2_mount())
        self._processes = Processes(self._cgroups)
        with self.namespace.entered():
            self.services = LocalServices(self._cgroups, self._processes)
        cleanup.callback(self.services.close)

    def unit(self, name: str) -> Unit:
        made = Unit(f"cnnf-test-{os.getpid()}-{name}")
        self._cleanup.callback(made.end)
        return made

    def start(
        self, *command: str, unit: Unit | None = None, ready: bool = True, **more: object
    ) -> "subprocess.Popen[bytes]":
        """Start a command in the namespace and wait until it says that it is ready."""
        if unit is not None:
            command = unit.command(*command)
        process = self.namespace.start(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more
        )

        def end() -> None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()

        self._cleanup.callback(end)
        if ready:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        return process

    def server(self, *places: str, unit: Unit | None = None) -> "subprocess.Popen[bytes]":
        return self.start(sys.executable, "-c", SERVER, *places, unit=unit)

    def listeners(self) -> Listeners:
        with self.namespace.entered():
            return self.services.listeners()

    def instances(self) -> dict[str, Instance]:
        with self.namespace.entered():
            self.services.listeners()
            return {one.name: one for one in self.services.instances([])}

    def listening(self, units: SocketUnits) -> tuple[Listening, Register]:
        """The same with socket units of the test's own."""
        with self.namespace.entered():
            register = Register(self._cgroups, self._processes)
            made = Listening(self._cgroups, self._processes, register, units)
        self._cleanup.callback(made.close)
        return made, register

    def listener(self, port: int, address: bytes = LOCAL) -> str:
        found = self.listeners().find(address, port)
        return found.instance.removeprefix("service:") if found else "-"


@pytest.fixture
def host() -> Iterator[Host]:
    with ExitStack() as cleanup:
        yield Host(cleanup)


def test_every_unit_with_a_process_here_is_told_connected_or_not(host: Host) -> None:
    quiet, template, inner = host.unit("quiet"), host.unit("t@1"), host.unit("inner")
    second = host.unit("t@2")
    host.start("sleep", "60", unit=quiet, ready=False)
    host.start("sleep", "60", unit=template, ready=False)
    host.start("sleep", "60", unit=second, ready=False)
    # A unit that keeps cgroups of its own has no process in its own.
    (inner.path / "worker").mkdir()
    enter = f"echo $$ >{inner.path}/worker/cgroup.procs; echo ready; exec sleep 60"
    worker = host.start("sh", "-c", enter)
    elsewhere = host.unit("elsewhere")
    away = subprocess.Popen(elsewhere.command("sleep", "60"))
    empty = host.unit("empty")
    try:
        time.sleep(0.2)
        found = host.instances()
        assert {quiet.name, f"cnnf-test-{os.getpid()}-t", inner.name} <= found.keys()
        assert not {elsewhere.name, empty.name} & found.keys()
        assert (found[quiet.name].ports, found[quiet.name].published) == ([], [])
        age_ms = time.time() * 1000 - found[quiet.name].started_at
        assert 0 < age_ms < 30_000
        assert found[inner.name].pid == worker.pid
    finally:
        away.kill()
        away.wait()
        worker.kill()
        worker.wait()
        time.sleep(0.05)
        (inner.path / "worker").rmdir()


def test_ports_are_told_with_address_and_protocol(host: Host) -> None:
    unit = host.unit("web")
    host.server("tcp::8080", "tcp:127.0.0.1:9000", "udp::5300", "tcp6::::8443", unit=unit)
    names = host.unit("names")
    host.server("tcp::53", "udp::53", unit=names)
    found = host.instances()[unit.name]
    assert found.ports == [8080, 8443]
    assert found.published == [
        Published(address="127.0.0.1", port=9000, to=9000),
        Published(port=5300, to=5300, protocol="udp"),
    ]
    both = host.instances()[names.name]
    assert both.ports == [53]
    assert both.published == [
        Published(port=53, to=53),
        Published(port=53, to=53, protocol="udp"),
    ]
    assert host.listener(8080) == unit.name
    listeners = host.listeners()
    by_datagram = listeners.find(LOCAL, 5300, "udp")
    assert by_datagram is not None
    assert by_datagram.instance == f"service:{unit.name}"
    assert by_datagram.process is not None
    assert listeners.find(LOCAL, 5300) is None


def test_a_port_of_the_kernels_choice_is_a_clients_until_it_stays(host: Host) -> None:
    unit = host.unit("resolver")
    host.server("udp::40123", unit=unit)
    assert host.listeners().find(LOCAL, 40_123, "udp") is None
    assert host.listeners().find(LOCAL, 40_123, "udp") is not None


def test_programs_without_a_unit_are_services_when_they_listen(host: Host) -> None:
    host.start(sys.executable, "-m", "http.server", "8000", "--bind", "127.0.0.1", ready=False)
    deadline = time.monotonic() + 10
    while host.listener(8000) == "-":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert host.listener(8000) == "http.server"
    assert host.instances()["http.server"].published == [
        Published(address="127.0.0.1", port=8000, to=8000)
    ]


@pytest.fixture
def manager_scope() -> Iterator[Path]:
    """The cgroup of the first process, as systemd makes it."""
    mount = cgroup2_mount()
    assert mount is not None
    scope = mount / "init.scope"
    had = scope.exists()
    scope.mkdir(exist_ok=True)
    yield scope
    if not had:
        deadline = time.monotonic() + 5
        while scope.exists() and time.monotonic() < deadline:
            with suppress(OSError):
                scope.rmdir()
            time.sleep(0.02)


def test_a_socket_of_systemds_is_its_services(
    manager_scope: Path, host: Host, tmp_path: Path
) -> None:
    unit = host.unit("activated")
    (tmp_path / "x.socket").write_text(f"[Socket]\nListenStream=7000\nService={unit.name}.service")
    enter = f'echo $$ >{manager_scope}/cgroup.procs && exec "$@"'
    manager = host.start(
        "sh", "-c", enter, "sh", sys.executable, "-c", MANAGER, "7000", str(unit.path)
    )
    listening, register = host.listening(SocketUnits([tmp_path]))
    with host.namespace.entered():
        found = listening.read().find(LOCAL, 7000)
        assert found is not None
        assert found.instance == f"service:{unit.name}"
        (told,) = [one for one in register.instances([]) if one.name == unit.name]
        assert told.ports == [7000]
    # Nothing says whose it is: then it is what holds it, until the service does.
    unknown, _ = host.listening(SocketUnits([tmp_path / "none"]))
    with host.namespace.entered():
        before = unknown.read().find(LOCAL, 7000)
    assert before is not None
    assert before.instance != f"service:{unit.name}"
    _say(manager, "start")
    fresh, _ = host.listening(SocketUnits([tmp_path / "none"]))
    for one in (listening, fresh):
        with host.namespace.entered():
            after = one.read().find(LOCAL, 7000)
        assert after is not None
        assert after.instance == f"service:{unit.name}"
        assert after.process is not None
        assert after.process.executable.endswith("sleep")


def test_a_listener_that_was_handed_down_is_of_who_holds_it(host: Host) -> None:
    parent, child = host.unit("parent"), host.unit("child")
    manager = host.start(sys.executable, "-c", MANAGER, "7001", str(child.path), unit=parent)
    assert host.listener(7001) == parent.name
    _say(manager, "start")
    assert host.listener(7001) == parent.name  # both hold it: who made it has it
    _say(manager, "close")
    with host.namespace.entered():
        late = LocalServices(Cgroups(cgroup2_mount()), Processes(Cgroups(cgroup2_mount())))
        try:
            found = late.listeners().find(LOCAL, 7001)
        finally:
            late.close()
    assert found is not None
    assert found.instance == f"service:{child.name}"


def test_a_listener_is_looked_for_again_when_its_process_is_gone(host: Host) -> None:
    parent, child = host.unit("parent"), host.unit("child")
    manager = host.start(sys.executable, "-c", MANAGER, "7002", str(child.path), unit=parent)
    assert host.listener(7002) == parent.name
    _say(manager, "start")
    manager.kill()
    manager.wait()
    assert host.listener(7002) == child.name


def test_a_place_that_two_services_share_is_nobodys(host: Host) -> None:
    one, other = host.unit("one"), host.unit("other")
    host.server("shared::7100", unit=one)
    assert host.listener(7100) == one.name
    host.server("shared::7100", unit=other)
    assert host.listener(7100) == ""
    found = host.instances()
    assert found[one.name].ports == found[other.name].ports == [7100]


def test_families_of_one_port_may_be_different_services(host: Host) -> None:
    four, six = host.unit("four"), host.unit("six")
    host.server("tcp:0.0.0.0:7200", unit=four)
    host.server("only6::::7200", unit=six)
    assert host.listener(7200) == four.name
    assert host.listener(7200, bytes(15) + b"\x01") == six.name
    entries = {
        (address, owner.instance)
        for port, address, owner in host.listeners().entries([bytes.fromhex("fd00" + "00" * 14)])
        if port == 7200
    }
    assert entries == {
        (ANY, f"service:{four.name}"),
        (bytes(15) + b"\x01", f"service:{six.name}"),
        (bytes.fromhex("fd00" + "00" * 14), f"service:{six.name}"),
    }


#: Becomes a process of nobody's that pretends to be Docker's forwarder: by executable, first
#: argument and thread name, and not dumpable, which gives root most of what /proc shows of it.
PRETENDER = textwrap.dedent("""
    import ctypes, os, socket, sys
    if sys.argv[1:]:
        os.setgid(65534)
        os.setuid(65534)
    libc = ctypes.CDLL(None)
    libc.prctl(15, b"docker-proxy", 0, 0, 0)
    libc.prctl(4, 0, 0, 0, 0)
    made = socket.create_server(("", 7300))
    print("ready", flush=True)
    sys.stdin.read()
""")


@pytest.mark.parametrize("nobodys", [True, False])
def test_nobody_passes_for_the_forwarder_by_names(
    host: Host, tmp_path: Path, nobodys: bool
) -> None:
    program = tmp_path / "docker-proxy"
    program.write_bytes(Path(sys.executable).resolve().read_bytes())
    program.chmod(0o755)
    process = host.start(
        *("bash", "-c", f'exec -a docker-proxy {program} -c "$@"', "bash", PRETENDER),
        *(["nobody"] if nobodys else []),
        env={"PYTHONHOME": sys.base_prefix, "PATH": os.environ["PATH"]},
    )
    found = host.listeners().find(LOCAL, 7300)
    assert found is not None
    assert found.program == "docker-proxy"
    assert found.process is not None
    assert Path(f"/proc/{process.pid}/status").stat().st_uid == 0
    assert found.process.user == ("nobody" if nobodys else "root")
    # Root is above this: what it calls Docker's forwarder is taken for it.
    assert found.forwards is not nobodys
    # What a forwarder keeps open is its containers', not its own.
    assert host.instances()["docker-proxy"].ports == ([7300] if nobodys else [])


def test_a_process_cannot_rename_itself_by_its_arguments(host: Host) -> None:
    host.start("bash", "-c", "exec -a sshd sleep 60", ready=False)
    unit = host.unit("true")
    command = f'exec -a "$(printf "nginx\\033[31m\\n")" {sys.executable} -c "$1" tcp::7400'
    host.start("bash", "-c", command, "bash", SERVER, unit=unit)
    found = host.listeners().find(LOCAL, 7400)
    assert found is not None
    assert found.instance == f"service:{unit.name}"
    assert found.process is not None
    assert found.process.executable.rpartition("/")[2].startswith("python")
    assert found.process.command.isprintable()


def test_a_command_line_of_megabytes_is_cut(host: Host) -> None:
    unit = host.unit("long")
    many = ["x" * 100_000] * 15
    big = host.start(sys.executable, "-c", "print('ready', flush=True); input()", *many, unit=unit)
    found = Processes(Cgroups(cgroup2_mount())).of(big.pid)
    assert found.service.name == unit.name
    assert found.process is not None
    assert 0 < len(found.process.command) <= 1024


def test_a_process_that_is_gone_still_leaves_its_service(host: Host) -> None:
    unit = host.unit("brief")
    process = host.start("sleep", "60", unit=unit, ready=False)
    time.sleep(0.1)
    cgroup = unit.path.stat().st_ino
    with host.namespace.entered():
        process.kill()
        process.wait()
        owners = host.services.owners([(cgroup, 12_345)])
    assert owners[cgroup, 12_345].instance == f"service:{unit.name}"
    assert owners[cgroup, 12_345].process is None


def _say(process: "subprocess.Popen[bytes]", line: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"done\n"
