"""The command's entry: registers every command and turns failures into messages and exit codes."""

import sys

import typer

from cnnf import __version__
from cnnf.cli import clean, console, defender, defenders, demo, doctor, events, policy, radar, up
from cnnf.cli.failure import Failure, report

app = typer.Typer(
    name="cnnf",
    help="Cloud Native Network Firewall: see and control every connection between containers "
    "and hosts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("up")(up.up)
app.add_typer(console.app, name="console")
app.add_typer(defender.app, name="defender")
app.add_typer(defenders.app, name="defenders")
app.add_typer(demo.app, name="demo")
app.command("radar")(radar.radar)
app.add_typer(policy.app, name="policy")
app.command("events")(events.events)
app.command("doctor")(doctor.doctor)
app.command("clean")(clean.clean)


def _version(value: bool) -> None:
    if value:
        print(f"cnnf {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_version
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; exit 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        app()
    except Failure as failure:
        report(failure)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) went away: nothing is wrong, and nobody is there to be told.
        sys.stderr.close()
        sys.exit(141)
