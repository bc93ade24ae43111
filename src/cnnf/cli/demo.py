"""`cnnf demo`: a shop of real containers and host services to look at, and `attack` to notice."""

import signal
import threading
from types import FrameType

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cnnf.cli.demo_estate import estate
from cnnf.cli.demo_estate.attack import attack as do_attack
from cnnf.cli.demo_estate.definition import CONTAINER_EDGES, HOST_EDGES, HOST_TO_CONTAINER_EDGES
from cnnf.cli.demo_estate.engine import DEFAULT_SOCKET, Engine, socket_path

app = typer.Typer(
    help="Run a shop of real containers and host services, made from this machine alone.",
    invoke_without_command=True,
)

_DOCKER = typer.Option(
    DEFAULT_SOCKET, "--docker", metavar="unix:///PATH", help="The Docker Engine's socket."
)
_JSON = typer.Option(False, "--json", help="Print JSON.")

_console = Console(highlight=False, stderr=True)


def _progress(line: str) -> None:
    _console.print(f"  {line}", style="dim", markup=False)


@app.callback()
def demo(context: typer.Context, docker: str = _DOCKER) -> None:
    """Start the shop, keep it busy until Ctrl-C, then remove all of it."""
    socket_path(docker)
    if context.invoked_subcommand is not None:
        context.obj = docker
        return
    ended = threading.Event()
    building = True

    def end(number: int, frame: FrameType | None) -> None:
        again = ended.is_set()
        ended.set()
        if building and not again:
            # Ends the building, which then removes what it made; a second one must not end that.
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    _console.print("Building the demo estate")
    estate.start(docker, _progress)
    building = False
    try:
        edges = len(CONTAINER_EDGES) + len(HOST_TO_CONTAINER_EDGES) + len(HOST_EDGES)
        _console.print(
            f"The shop is open: {edges} connections between its parts, each used every second.\n"
            "In another terminal: cnnf demo status · cnnf demo attack\n"
            "Ctrl-C removes all of it."
        )
        ended.wait()
    finally:
        _console.print("Removing the demo estate")
        estate.stop(docker, _progress)


def _chosen(context: typer.Context, docker: str) -> str:
    """The socket named after the subcommand, else the one before it."""
    return docker if docker != DEFAULT_SOCKET else str(context.obj or DEFAULT_SOCKET)


@app.command()
def stop(context: typer.Context, docker: str = _DOCKER) -> None:
    """Remove the estate, or what a killed run left behind."""
    if not estate.stop(_chosen(context, docker), _progress):
        print("There is no demo to remove.")


@app.command()
def status(context: typer.Context, docker: str = _DOCKER, as_json: bool = _JSON) -> None:
    """Show what runs of the estate; exit 1 when it is not complete."""
    now = estate.status(_chosen(context, docker))
    if as_json:
        print(msgspec.json.encode(now).decode())
    elif not now.running:
        print("The demo is not running.")
    else:
        table = Table("name", "what", "state", box=None)
        for container in now.containers:
            table.add_row(container.name, container.image, container.state)
        for service in now.services:
            state = "running" if service.running else "stopped"
            table.add_row(service.name, "service of this host", state)
        table.add_row(
            "internet side", now.internet or "-", "running" if now.internet else "stopped"
        )
        Console(highlight=False).print(table)
    if not now.complete:
        raise typer.Exit(1)


@app.command()
def attack(context: typer.Context, docker: str = _DOCKER, as_json: bool = _JSON) -> None:
    """Do what a firewall should notice: a scan, a trespass, a call to a stranger."""
    state = estate.running_state(_chosen(context, docker))
    with Engine(state.docker) as engine:
        acts = do_attack(engine, _progress)
    if as_json:
        print(msgspec.json.encode(acts).decode())
        return
    table = Table("what", "from", "to", "port", "connections", box=None)
    for act in acts:
        table.add_row(act.kind, act.source, act.destination, act.ports, str(act.connections))
    Console(highlight=False).print(table)
