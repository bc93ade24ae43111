"""The estate's part outside of containers: services of the host and the internet side.

Services are transient units where systemd runs this network namespace, else plain processes in the
cgroup that systemd would have given them. The internet side is a network namespace behind a veth
pair; a route of last resort refuses its addresses, so that no packet for them can ever leave the
machine.
"""

import contextlib
import errno
import os
import signal
import subprocess
import time
from pathlib import Path

from cnnf.cli.demo_estate import state as states
from cnnf.cli.demo_estate.definition import (
    HOST_SERVICES,
    INTERNET_ADDRESS,
    INTERNET_NETWORK,
    STRANGER_ADDRESS,
)
from cnnf.cli.demo_estate.scripts import host_script, internet_scripts
from cnnf.cli.demo_estate.state import State
from cnnf.cli.failure import Failure
from cnnf.defender.discovery.services import cgroup2_mount

#: Addresses of the veth pair, link-local: they are used between the two ends only.
_NEAR, _FAR = "169.254.203.1", "169.254.203.2"
_GUARD = ("unreachable", INTERNET_NETWORK, "metric", "4096")

#: Seconds a command of iproute2 or systemd may take, and processes have to end.
_COMMAND_S = 15
_END_S = 3.0


def start_internet(state: State, busybox: Path) -> None:
    """Make the internet side. Raises Failure; what was made until then is in `state`."""
    if _run("ip", "route", "show", INTERNET_NETWORK).strip():
        raise Failure(
            f"this host has a route to {INTERNET_NETWORK} already, which the demo needs",
            hint=f"see: ip route show {INTERNET_NETWORK}",
        )
    inode = states.network_namespace()
    state.namespace, state.link = f"cnnf-demo-{inode}", f"cnd{inode % 10**8}"
    states.save(state)
    _run("ip", "route", "add", *_GUARD)
    _run("ip", "netns", "add", state.namespace)
    peer = f"{state.link}p"
    _run("ip", "link", "add", state.link, "type", "veth", "peer", "name", peer)
    _run("ip", "link", "set", peer, "netns", state.namespace)
    _run("ip", "address", "add", f"{_NEAR}/30", "dev", state.link)
    _run("ip", "link", "set", state.link, "up")
    inside = ("ip", "-n", state.namespace)
    _run(*inside, "link", "set", "lo", "up")
    _run(*inside, "address", "add", f"{_FAR}/30", "dev", peer)
    _run(*inside, "link", "set", peer, "up")
    for address in (INTERNET_ADDRESS, STRANGER_ADDRESS):
        _run(*inside, "address", "add", f"{address}/32", "dev", "lo")
    _run(*inside, "route", "add", "default", "via", _NEAR)
    _run("ip", "route", "add", INTERNET_NETWORK, "via", _FAR, "dev", state.link)
    enter = ("nsenter", f"--net=/var/run/netns/{state.namespace}")
    for script in internet_scripts():
        state.internet.append(_spawn("internet", (*enter, str(busybox), "sh", "-c", script)))
    states.save(state)


def start_services(state: State, busybox: Path, database_address: str) -> None:
    """Start the services of the host. Raises Failure; what runs until then is in `state`."""
    pages = states.directory() / "pages"
    pages.mkdir(exist_ok=True)
    (pages / "index.html").write_text("shop_orders_total 42\n")
    mount = cgroup2_mount()
    for service in HOST_SERVICES:
        script = host_script(service.name, database_address=database_address, pages=str(pages))
        command = (str(busybox), "sh", "-c", script)
        if _systemd_is_here():
            state.units.append(service.unit)
            states.save(state)
            _run("systemd-run", "--quiet", "--collect", f"--unit={service.unit}", "--", *command)
            if service.port:
                _await_listener(service.port)
            continue
        cgroup = mount / "system.slice" / service.unit if mount else None
        if cgroup is not None:
            _write_down(state, cgroup)
            _make_cgroup(cgroup)
        state.services.append(_spawn(service.name, command, cgroup))
        states.save(state)
        if service.port:
            _await_listener(service.port)


def stop_services(state: State) -> list[str]:
    """Remove the host's services, also when only a part was made; what is left is returned."""
    left: list[str] = []
    for unit in state.units:
        _try("systemctl", "stop", unit)
    _end(state.services)
    for cgroup in map(Path, state.cgroups):
        if cgroup.suffix == ".slice":
            # It may have got other services meanwhile, and is then not ours to remove.
            with contextlib.suppress(OSError):
                cgroup.rmdir()
        elif reason := _remove_cgroup(cgroup):
            left.append(f"{cgroup}: {reason}")
    return left + _still_alive(state.services)


def _remove_cgroup(cgroup: Path) -> str:
    """Remove a service's, once all that runs in it has gone, its children too; why not, else ''."""
    deadline = time.monotonic() + _END_S
    while True:
        try:
            cgroup.rmdir()
        except FileNotFoundError:
            return ""
        except OSError as error:
            # Busy: who was ended leaves its cgroup a moment later, on a busy machine much later.
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return error.strerror or str(error)
        else:
            return ""
        with contextlib.suppress(OSError):
            (cgroup / "cgroup.kill").write_text("1")
        time.sleep(0.05)


def stop_internet(state: State) -> list[str]:
    """Remove the internet side; what is left is returned.

    Only once nobody calls its addresses any more: the route that keeps packets for them within
    the machine goes too.
    """
    left: list[str] = []
    _end(state.internet)
    if state.link:
        _try("ip", "route", "del", INTERNET_NETWORK, "via", _FAR, "dev", state.link)
        _try("ip", "link", "del", state.link)
    if state.namespace:
        _try("ip", "netns", "del", state.namespace)
        _try("ip", "route", "del", *_GUARD)
        if Path(f"/var/run/netns/{state.namespace}").exists():
            left.append(f"network namespace {state.namespace}")
    return left + _still_alive(state.internet)


def _still_alive(processes: list[states.StartedProcess]) -> list[str]:
    return [f"process {p.pid} ({p.name})" for p in processes if states.is_alive(p)]


def is_running(state: State, unit: str, name: str) -> bool:
    """True while a service of the host runs."""
    if unit in state.units:
        return _try("systemctl", "is-active", "--quiet", unit)
    return any(p.name == name and states.is_alive(p) for p in state.services)


def _await_listener(port: int) -> None:
    """Wait until somebody listens on 127.0.0.1, so that no caller is refused at first.

    By reading, not by connecting: our own connection would be on the map.
    """
    wanted = f"0100007F:{port:04X}"
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
        # proc_net_tcp: the second field is the local address, the fourth the state, 0A listening.
        if any(line.split()[1] == wanted and line.split()[3] == "0A" for line in lines):
            return
        time.sleep(0.02)
    raise Failure(f"nothing listens on 127.0.0.1:{port}: is the port in use elsewhere?")


def _systemd_is_here() -> bool:
    """True when systemd is process 1 and units would run in our network namespace."""
    try:
        own, first = (Path(f"/proc/{who}/ns/net").stat().st_ino for who in ("self", "1"))
    except OSError:
        return False
    return own == first and Path("/run/systemd/system").is_dir()


def _write_down(state: State, cgroup: Path) -> None:
    """Remember a cgroup before it is made, and its slice too where that is not there yet."""
    if not cgroup.parent.exists():
        state.cgroups.append(str(cgroup.parent))
    # Removed from the front: a slice comes after the services in it.
    state.cgroups.insert(0, str(cgroup))
    states.save(state)


def _make_cgroup(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot make the cgroup {path}: {error.strerror}") from error


def _spawn(
    name: str, command: tuple[str, ...], cgroup: Path | None = None
) -> states.StartedProcess:
    """Start a process that outlives us, in a process group of its own, in the cgroup if given."""
    if cgroup is not None:
        # It moves itself before it becomes the program, so nothing of it is ever seen elsewhere.
        mover = f'echo 0 >"{cgroup}/cgroup.procs" && exec "$@"'
        command = ("/bin/sh", "-c", mover, name, *command)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=True,
        cwd="/",
    )
    _children[child.pid] = child
    return states.process(name, child.pid)


#: Processes of this very run, to be reaped; after a kill they belong to process 1.
_children: dict[int, subprocess.Popen[bytes]] = {}


def _end(processes: list[states.StartedProcess]) -> None:
    """End processes and the groups they lead; a pid that was reused is left alone."""
    alive = [process for process in processes if states.is_alive(process)]
    for process in alive:
        _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_S
    while any(states.is_alive(process) for process in alive) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in alive:
        _signal_group(process.pid, signal.SIGKILL)
    for process in processes:
        child = _children.pop(process.pid, None)
        if child is not None:
            child.wait(_END_S)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )
    except FileNotFoundError as error:
        hint = f"install it: apt-get install {_package(command[0])}"
        raise Failure(f"the demo needs the program {command[0]}", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(command)}: no end within {_COMMAND_S} s") from error
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _try(*command: str) -> bool:
    """Run a command whose failure means that there is nothing to do; True when it worked."""
    try:
        _run(*command)
    except Failure:
        return False
    return True


def _package(program: str) -> str:
    return {"ip": "iproute2", "nsenter": "util-linux"}.get(program, "systemd")
