"""`cnnf console`: the Console as a program of its own."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from cnnf.cli.failure import Failure
from cnnf.cli.lifetime import end_with_parent
from cnnf.cli.logging import log_to_stderr

DataDir = Annotated[
    Path,
    typer.Option("--data-dir", envvar="CNNF_DATA_DIR", help="Where the Console keeps everything."),
]
DEFAULT_DATA_DIR = Path("/var/lib/cnnf")

app = typer.Typer(invoke_without_command=True, help="The Console: API, pages, storage.")


@app.callback()
def console(
    context: typer.Context,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    listen: Annotated[
        str, typer.Option(help="Pages and API. HTTPS unless the address is loopback.")
    ] = "127.0.0.1:8083",
    defender_listen: Annotated[
        str, typer.Option(help="Where Defenders connect, with mutual TLS.")
    ] = "127.0.0.1:8084",
    advertise: Annotated[
        str, typer.Option(help="A name or address that other hosts reach the Console by.")
    ] = "",
) -> None:
    """Run the Console until SIGTERM or Ctrl-C."""
    context.obj = data_dir
    if context.invoked_subcommand is not None:
        return
    end_with_parent()
    # Imported late: `cnnf --help` need not load a web server.
    from cnnf.console.app import Options, run
    from cnnf.console.errors import CannotStart

    log_to_stderr()
    # Uvicorn tells of every malformed request; what a route raises is logged once, by the error
    # handler.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    options = Options(
        data_dir=data_dir,
        listen=listen,
        defender_listen=defender_listen,
        advertise=advertise,
    )
    try:
        run(options, _tell)
    except CannotStart as error:
        raise Failure(str(error), hint=error.hint) from error


@app.command("reset-password")
def reset_password(
    context: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", envvar="CNNF_DATA_DIR", help="The Console's data directory."),
    ] = None,
) -> None:
    """Give the administrator a new password and print it; works while the Console runs."""
    from cnnf.console.app import reset_password as reset
    from cnnf.console.errors import CannotStart

    try:
        new = reset(data_dir or context.obj)
    except CannotStart as error:
        raise Failure(str(error), hint=error.hint) from error
    _box([f"User:     {new.user}", f"Password: {new.password}", "", "Shown once."])


def _tell(url: str, new: object) -> None:
    from cnnf.console.credentials import NewPassword

    if isinstance(new, NewPassword):
        _box(
            [
                f"Radar:    {url}",
                f"User:     {new.user}",
                f"Password: {new.password}",
                "",
                "Shown once. A new one: cnnf console reset-password",
            ]
        )
    else:
        print(f"Radar: {url}", flush=True)


def _box(lines: list[str]) -> None:
    width = max(map(len, lines))
    print("┌─" + "─" * width + "─┐")
    for line in lines:
        print(f"│ {line:<{width}} │")
    print("└─" + "─" * width + "─┘", flush=True)
