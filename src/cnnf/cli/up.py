"""`cnnf up`: Console and Defender on this machine, as the two programs they always are."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from cnnf.cli.client import Client
from cnnf.cli.defender import (
    Cluster,
    CriSockets,
    DockerSockets,
    FailClosed,
    FailsafePorts,
    HostName,
    Kubeconfig,
    LogGroup,
    Loop,
    MarkMask,
    Networks,
    Node,
    PolicyFile,
    Queue,
    Queues,
    Resolvers,
    SpoolMebibytes,
    parse_loop,
    parse_mask,
    parse_networks,
    parse_resolvers,
)
from cnnf.cli.failure import Failure
from cnnf.cli.lifetime import PARENT_VARIABLE, require_root

_CONSOLE_READY_SECONDS = 30.0
_DEFENDER_READY_SECONDS = 30.0
#: A policy of 10,000 rules takes ten seconds to read on a slow machine, one of the largest size
#: some minutes.
_POLICY_READY_SECONDS = 300.0
#: The Defender first: it takes back its rules and delivers its last counts.
_STOP_SECONDS = 12.0
#: As the Defender's own: see `cnnf.defender.daemon`.
_CONSOLE_NICE = 10
#: A program that ends by itself is started again, but not faster than this.
_RESTART_SECONDS = 2.0


def up(
    data_dir: Annotated[
        Path,
        typer.Option("--data-dir", envvar="CNNF_DATA_DIR", help="Where everything is kept."),
    ] = Path("/var/lib/cnnf"),
    listen: Annotated[
        str, typer.Option(help="Pages and API. HTTPS unless the address is loopback.")
    ] = "127.0.0.1:8083",
    defender_listen: Annotated[
        str, typer.Option(help="Where Defenders connect, with mutual TLS.")
    ] = "127.0.0.1:8084",
    advertise: Annotated[
        str, typer.Option(help="A name or address that other hosts reach the Console by.")
    ] = "",
    enable: Annotated[
        bool,
        typer.Option("--enable", help="Enable for containers and hosts; else as it was left."),
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Also run the demo estate (needs Docker).")
    ] = False,
    container_network: Networks = None,
    resolver: Resolvers = None,
    queue: Queue = 8030,
    queues: Queues = 0,
    log_group: LogGroup = 8030,
    mark_mask: MarkMask = "0x3c00",
    fail_closed: FailClosed = False,
    policy: PolicyFile = None,
    failsafe_port: FailsafePorts = None,
    loop: Loop = "auto",
    docker_socket: DockerSockets = None,
    cri_socket: CriSockets = None,
    kubeconfig: Kubeconfig = None,
    node: Node = "",
    cluster: Cluster = "",
    host_name: HostName = "",
    spool_mb: SpoolMebibytes = 512,
) -> None:
    """Start Console and Defender on this machine; Ctrl-C stops both and leaves nothing behind.

    Starts in the limited view unless enabled before: connections to the internet and within this
    host are shown, nothing is judged. Radar has a switch for it; --enable sets it at once.
    """
    require_root("cnnf up")
    # What can be refused is refused before anything is started.
    parse_networks(container_network)
    parse_resolvers(resolver)
    parse_mask(mark_mask)
    parse_loop(loop)
    if policy is not None:
        check_policy_file(policy)
    programs = _Programs()
    programs.forward_signals()
    try:
        programs.start(
            "console",
            ["console", "--data-dir", str(data_dir), "--listen", listen,
             "--defender-listen", defender_listen, "--advertise", advertise],
        )  # fmt: skip
        client = _wait_for_console(programs, data_dir)
        if enable:
            _enable(client)
        directory = data_dir / "defender"
        _enrol(client, data_dir, directory, host_name)
        arguments = [
            "defender", "run", "--directory", str(directory),
            "--queue", str(queue), "--queues", str(queues), "--log-group", str(log_group),
            "--mark-mask", mark_mask,
            "--host-name", host_name, "--spool-mb", str(spool_mb),
            "--node", node, "--cluster", cluster,
        ]  # fmt: skip
        for path in docker_socket or ():
            arguments += ["--docker-socket", str(path)]
        for path in cri_socket or ():
            arguments += ["--cri-socket", str(path)]
        if kubeconfig is not None:
            arguments += ["--kubeconfig", str(kubeconfig)]
        for network in container_network or ():
            arguments += ["--container-network", network]
        for address in resolver or ():
            arguments += ["--resolver", address]
        if fail_closed:
            arguments.append("--fail-closed")
        if policy is not None:
            arguments += ["--policy", str(policy)]
        arguments += ["--loop", loop]
        for port in sorted({*(failsafe_port or (22,)), *console_ports(listen, defender_listen)}):
            arguments += ["--failsafe-port", str(port)]
        programs.start("defender", arguments, ready="Defender ready")
        programs.wait_ready(
            "defender", _DEFENDER_READY_SECONDS if policy is None else _POLICY_READY_SECONDS
        )
        _tell(client)
        if demo:
            engine = docker_socket[0] if docker_socket else Path("/var/run/docker.sock")
            programs.start("demo", ["demo", "--docker", f"unix://{engine}"])
        programs.watch()
    finally:
        programs.stop()


class _Programs:
    """The programs `cnnf up` has started, by name, in order."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._commands: dict[str, tuple[list[str], str]] = {}
        self._ready: dict[str, threading.Event] = {}
        self._stopping = threading.Event()

    def forward_signals(self) -> None:
        """SIGTERM and SIGHUP end us as Ctrl-C does."""

        def interrupt(number: int, _: object) -> None:
            self._stopping.set()
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            # Asked to end, and ended: that is success to whoever supervises us.
            raise SystemExit(0)

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, interrupt)

    def start(self, name: str, arguments: list[str], ready: str = "") -> None:
        """Start `cnnf ARGUMENTS`; a line `ready` on its output is a sign, not shown."""
        self._commands[name] = (arguments, ready)
        self._ready[name] = threading.Event()
        process = subprocess.Popen(
            [sys.executable, "-m", "cnnf", *arguments],
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if ready else None,
            text=True,
            # The terminal's Ctrl-C is for us alone: we stop them in order.
            start_new_session=True,
        )
        if name == "console":
            # Here it shares the machine with what it draws, which comes first.
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, process.pid, _CONSOLE_NICE)
        self._running[name] = process
        if ready:
            reader = threading.Thread(
                target=self._read, args=(process, ready, self._ready[name]), daemon=True
            )
            reader.start()

    def alive(self, name: str) -> bool:
        """Does the program run?"""
        return self._running[name].poll() is None

    def wait_ready(self, name: str, timeout_seconds: float) -> None:
        """Wait for the program's sign. Raises Failure when it ends or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while not self._ready[name].wait(0.05):
            if not self.alive(name):
                # It has said why on standard error.
                raise Failure(f"the {name.capitalize()} could not start")
            if time.monotonic() > deadline:
                raise Failure(f"the {name.capitalize()} was not ready in {timeout_seconds:.0f} s")

    def watch(self) -> None:
        """Keep the programs running until we are told to stop."""
        while not self._stopping.is_set():
            for name in list(self._running):
                code = self._running[name].poll()
                if code is None:
                    continue
                if name == "demo":
                    del self._running[name]
                    continue
                print(f"cnnf: the {name} ended with {code}; starting it again", file=sys.stderr)
                time.sleep(_RESTART_SECONDS)
                self.start(name, *self._commands[name])
            time.sleep(0.2)

    def stop(self) -> None:
        """End every program, the last started first, and wait for each."""
        self._stopping.set()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            # A second Ctrl-C must not cut the cleaning up.
            signal.signal(number, signal.SIG_IGN)
        for name, process in reversed(list(self._running.items())):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(_STOP_SECONDS if name != "demo" else 60)
            except subprocess.TimeoutExpired:
                print(f"cnnf: the {name} did not end in time and is killed", file=sys.stderr)
                process.kill()
                process.wait()

    @staticmethod
    def _read(process: "subprocess.Popen[str]", ready: str, event: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == ready:
                event.set()
            else:
                print(line, end="", flush=True)


def check_policy_file(path: Path) -> None:
    """Refuse a policy that can't be used before anything is started. Raises Failure."""
    from cnnf.defender.local_policy import LocalPolicy
    from cnnf.policy.errors import PolicyError

    try:
        LocalPolicy(path).read()
    except OSError as error:
        raise Failure(f"--policy: {error}", exit_code=2) from error
    except PolicyError as error:
        raise Failure(f"the policy is not used:\n{error}", exit_code=2) from error


def console_ports(*listening: str) -> list[int]:
    """The ports that others reach this Console by: never refused. On loopback nobody can."""
    ports = []
    for text in listening:
        host, _, port = text.rpartition(":")
        if port.isdigit() and not host.startswith(("127.", "[::1]", "localhost")):
            ports.append(int(port))
    return ports


def _wait_for_console(programs: _Programs, data_dir: Path) -> Client:
    deadline = time.monotonic() + _CONSOLE_READY_SECONDS
    while time.monotonic() < deadline:
        if not programs.alive("console"):
            raise Failure("the Console could not start")
        try:
            client = Client(data_dir)
            client.get("/settings")
        except Failure:
            time.sleep(0.1)
        else:
            return client
    raise Failure(f"the Console was not ready in {_CONSOLE_READY_SECONDS:.0f} s")


def _enable(client: Client) -> None:
    settings = client.get("/settings")
    if not (settings["containers"] and settings["hosts"]):
        body = {"containers": True, "hosts": True, "version": settings["version"]}
        client.put("/settings", body)


def _enrol(client: Client, data_dir: Path, directory: Path, host_name: str) -> None:
    """Give this machine's Defender its certificate, unless this Console knows the one it has."""
    import socket

    import msgspec

    from cnnf.defender.link.credentials import Credentials
    from cnnf.defender.link.errors import LinkError
    from cnnf.defender.link.joining import join

    credentials = Credentials(directory)
    try:
        if credentials.enrolled and _known(client, credentials.identity().defender):
            identity = credentials.identity()
            # Another address than when it joined.
            url = json.loads((data_dir / "console.json").read_bytes())["defender_url"]
            if identity.url != url:
                credentials.keep(msgspec.structs.replace(identity, url=url))
            return
        credentials.prepare()
        token = client.post("/defenders/tokens")["token"]
        identity = join(client.url, token, host_name or socket.gethostname())
        credentials.forget_settings()
        credentials.keep(identity)
    except (LinkError, OSError) as error:
        raise Failure(str(error)) from error


def _known(client: Client, defender: str) -> bool:
    """Not where it was removed, or the Console's data are others'."""
    return any(one["id"] == defender for one in client.get("/defenders"))


def _tell(client: Client) -> None:
    settings = client.get("/settings")
    scopes = [name for name in ("containers", "hosts") if settings[name]]
    print(f"Radar:  {client.url}/", flush=True)
    if scopes:
        print(f"Mode:   enabled for {' and '.join(scopes)}", flush=True)
    else:
        print(
            "Mode:   limited view (connections to the internet and within this host; "
            "nothing is judged). Enable it on Radar or with --enable.",
            flush=True,
        )
