"""`cnnf defender`: the Defender as a program of its own."""

import asyncio
import contextlib
import socket
import sys
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from cnnf.cli.failure import Failure
from cnnf.cli.lifetime import end_with_parent, parent, require_root
from cnnf.cli.logging import log_to_stderr

app = typer.Typer(no_args_is_help=True, help="The Defender: the agent on this host.")

LoopKind = Literal["auto", "native", "python"]

DEFAULT_DIRECTORY = Path("/var/lib/cnnf/defender")

Directory = Annotated[
    Path, typer.Option("--directory", help="Where the Defender keeps its identity and settings.")
]
Networks = Annotated[
    list[str] | None,
    typer.Option(
        "--container-network",
        help="A container network that no engine tells about (CIDR); may be given repeatedly.",
    ),
]
Resolvers = Annotated[
    list[str] | None,
    typer.Option(
        "--resolver",
        help="A server of DNS (its address) whose answers count for rules that name dns objects, "
        "beside those that this host asks; may be given repeatedly.",
    ),
]
Queue = Annotated[
    int,
    typer.Option(
        help="First NFQUEUE number; the one after the loops' is for DNS.", min=0, max=65_000
    ),
]
Queues = Annotated[int, typer.Option(help="Packet loops; 0: one a core, at most 4.", min=0, max=64)]
LogGroup = Annotated[
    int, typer.Option(help="NFLOG group; the next one is for DNS.", min=1, max=65_534)
]
MarkMask = Annotated[str, typer.Option(help="Four neighbouring bits of the packet mark.")]
FailClosed = Annotated[
    bool, typer.Option("--fail-closed", help="Drop what a full queue cannot take.")
]
Loop = Annotated[
    str,
    typer.Option(
        help="Which packet loop answers: native, python (slower, a reference), or auto: the "
        "native one where it was built."
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        help="A policy (YAML) to enforce on this host. Read again when it changes and on SIGHUP; "
        "one that has an error is refused whole.",
    ),
]
FailsafePorts = Annotated[
    list[int] | None,
    typer.Option(
        "--failsafe-port",
        help="A TCP port of this host that is never refused; may be given repeatedly. "
        "Without it: 22.",
        min=1,
        max=65_535,
    ),
]
DockerSockets = Annotated[
    list[Path] | None,
    typer.Option(
        "--docker-socket",
        help="The socket of a Docker Engine or of Podman; may be given repeatedly. "
        "Without it: /var/run/docker.sock and /run/podman/podman.sock.",
    ),
]
CriSockets = Annotated[
    list[Path] | None,
    typer.Option(
        "--cri-socket",
        help="A socket of containerd or CRI-O; may be given repeatedly. Without it: those of "
        "containerd, CRI-O and k3s at their usual places.",
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="How to reach the Kubernetes API. Within a pod its service account is used without it."
    ),
]
Node = Annotated[
    str,
    typer.Option(
        envvar="CNNF_NODE",
        help="This host's name in its Kubernetes cluster; empty: its host name in small letters.",
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        envvar="CNNF_CLUSTER",
        help="What this host's cluster is called; empty: as kubeadm or a provider's labels say.",
    ),
]
SpoolMebibytes = Annotated[
    int,
    typer.Option(
        "--spool-mb",
        help="Disk (MiB) for what the Console has not taken yet; 0: none.",
        min=0,
        max=1_048_576,
    ),
]
HostName = Annotated[str, typer.Option(help="This host's name; empty: the system's own.")]


@app.command()
def run(
    directory: Directory = DEFAULT_DIRECTORY,
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
    """Run the Defender until SIGTERM or Ctrl-C. It must have joined a Console before."""
    require_root("cnnf defender run")
    end_with_parent()
    log_to_stderr()
    # Imported late: `cnnf --help` need not load the kernel's adapters.
    from cnnf.defender.daemon import Defender
    from cnnf.defender.discovery.cri import DEFAULT_SOCKETS
    from cnnf.defender.discovery.docker import DOCKER_SOCKETS
    from cnnf.defender.kernel.errors import KernelError
    from cnnf.defender.kernel.privileges import confine_daemon
    from cnnf.defender.link.errors import LinkError
    from cnnf.defender.netlink.errors import NetlinkError
    from cnnf.defender.options import DEFAULT_FAILSAFE, Options
    from cnnf.policy.errors import PolicyError

    options = Options(
        directory=directory,
        queue_first=queue,
        queue_count=queues,
        mark_mask=parse_mask(mark_mask),
        log_group=log_group,
        fail_closed=fail_closed,
        policy=policy,
        failsafe_ports=tuple(failsafe_port) if failsafe_port else DEFAULT_FAILSAFE,
        loop=parse_loop(loop),
        docker_sockets=tuple(docker_socket) if docker_socket else DOCKER_SOCKETS,
        cri_sockets=tuple(cri_socket) if cri_socket else DEFAULT_SOCKETS,
        kubeconfig=kubeconfig,
        node=node,
        cluster=cluster,
        networks=parse_networks(container_network),
        resolvers=parse_resolvers(resolver),
        host_name=host_name,
        spool_bytes=spool_mb * 2**20,
        unconfined=tuple(confine_daemon()),
        stop_pid=parent(),
    )

    async def work() -> None:
        await Defender(options).run(lambda: print("Defender ready", flush=True))

    try:
        asyncio.run(work())
    except OSError as error:
        if policy is None or error.filename != str(policy):
            raise
        raise Failure(f"--policy: {error}", exit_code=2) from error
    except PolicyError as error:
        raise Failure(f"the policy is not used:\n{error}", exit_code=2) from error
    except (KernelError, LinkError, NetlinkError) as error:
        raise Failure(str(error), hint="`cnnf doctor` says what this host lacks.") from error


@app.command()
def join(
    console: Annotated[str, typer.Argument(help="The Console's address: https://console:8083")],
    token: Annotated[
        str,
        typer.Option(
            envvar="CNNF_JOIN_TOKEN",
            help="A join token. Others on this host can read a command line: rather use the "
            "variable or --token-file.",
        ),
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the join token; - reads standard input.")
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    host_name: HostName = "",
    again: Annotated[
        bool,
        typer.Option("--again", help="Join anew although this host has joined a Console."),
    ] = False,
) -> None:
    """Join a Console: trade a join token for this host's own certificate.

    Nothing is changed unless it succeeds. Then start the Defender: cnnf defender run.
    """
    from cnnf.defender.link.credentials import Credentials
    from cnnf.defender.link.errors import CredentialsBroken, EnrolmentFailed, LinkError
    from cnnf.defender.link.joining import join as trade

    secret = read_token(token, token_file)
    credentials = Credentials(directory)
    if credentials.enrolled and not again:
        with contextlib.suppress(CredentialsBroken):
            there = credentials.identity()
            raise Failure(
                f"this host has joined {there.url} already, as {there.defender}",
                hint="--again joins anew, as another; then this one is to be removed: "
                f"cnnf defenders remove {there.defender}",
            )
        raise Failure(
            f"{directory}: an identity is there, but it can't be used", hint="--again joins anew."
        )
    try:
        credentials.prepare()
        identity = trade(console, secret, host_name or socket.gethostname())
        credentials.forget_settings()
        credentials.keep(identity)
        until = identity.valid()[1]
    except EnrolmentFailed as error:
        raise Failure(f"not joined: {error}", hint=error.hint) from error
    except LinkError as error:
        raise Failure(f"not joined: {error}") from error
    print(f"Joined {identity.url} as {identity.defender}.")
    print(f"The certificate is good until {until:%Y-%m-%d} and renewed before by itself.")
    print("Now start the Defender, or restart it: cnnf defender run", flush=True)


def read_token(token: str, token_file: Path | None) -> str:
    """The join token from where it was given. Raises Failure."""
    if token_file is None:
        found = token
    elif token:
        raise Failure("a join token and --token-file were given; one is enough", exit_code=2)
    else:
        try:
            with sys.stdin if str(token_file) == "-" else token_file.open() as file:
                found = file.read(4_096)
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"--token-file: {error}", exit_code=2) from error
    if not found.strip():
        raise Failure(
            "no join token: --token-file, or CNNF_JOIN_TOKEN",
            hint="On the Console's host: cnnf defenders token",
            exit_code=2,
        )
    return found.strip()


def parse_networks(texts: list[str] | None) -> tuple[IPv4Network | IPv6Network, ...]:
    """The container networks given by hand. Raises Failure."""
    networks = []
    for text in texts or ():
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError as error:
            raise Failure(
                f"--container-network: {text!r} is no network; write 10.1.0.0/24", exit_code=2
            ) from error
    return tuple(networks)


def parse_resolvers(texts: list[str] | None) -> tuple[bytes, ...]:
    """The servers of DNS given by hand, packed. Raises Failure."""
    found = []
    for text in texts or ():
        try:
            found.append(ip_address(text).packed)
        except ValueError as error:
            raise Failure(
                f"--resolver: {text!r} is no address; write 10.96.0.10", exit_code=2
            ) from error
    return tuple(found)


def parse_loop(text: str) -> LoopKind:
    """The kind of packet loop given by hand. Raises Failure."""
    for kind in get_args(LoopKind):
        if text == kind:
            return kind  # type: ignore[no-any-return]
    raise Failure(f"--loop: {text!r}: write auto, native or python", exit_code=2)


def parse_mask(text: str) -> int:
    """The mark's bits given by hand. Raises Failure."""
    from cnnf.defender.core.marks import marks_at
    from cnnf.policy.errors import InvalidValueError

    try:
        mask = int(text, 0)
        marks_at(mask)
    except (ValueError, InvalidValueError) as error:
        raise Failure(
            f"--mark-mask: {text!r}: four neighbouring bits are needed; write 0x3c00", exit_code=2
        ) from error
    return mask
