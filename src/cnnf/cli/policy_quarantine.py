"""`cnnf policy quarantine`: isolating an app, a service or an instance, and taking it back."""

import json
from typing import Annotated, Literal
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.client import Client
from cnnf.cli.defenders import Address, AsJson, DataDir
from cnnf.cli.policy_console import Reason, current_version, request
from cnnf.cli.policy_versions import DEFAULT_DIR
from cnnf.cli.radar import plain

app = typer.Typer(no_args_is_help=True, help="Isolate an app, a service or an instance, and back.")

Kind = Literal["app", "service", "instance"]


@app.command()
def add(
    kind: Annotated[Kind, typer.Argument(help="What is to be isolated.")],
    name: Annotated[
        str,
        typer.Argument(help="An app's or service's name; an instance's id, or how that begins."),
    ],
    reason: Reason = "",
    cluster: Annotated[str, typer.Option(help="Only in this cluster (apps).")] = "",
    namespace: Annotated[str, typer.Option(help="Only in this namespace (apps).")] = "",
    host: Annotated[str, typer.Option(help="Only on this host.")] = "",
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Prevent all its connections, in and out, but what is never blocked."""
    body = {"kind": kind, "cluster": cluster, "namespace": namespace, "host": host}
    body["instance" if kind == "instance" else "name"] = name
    with Client(data_dir, console) as client:
        query = {"version": str(current_version(client)), "reason": reason}
        done = request(client, "POST", "/policy/quarantine", query, json=body)
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
        return
    (made,) = (one["name"] for one in done["changes"] if not one["list"])
    print(f"Isolated since version {done['version']}. To take it back:\n")
    print(f"  cnnf policy quarantine remove '{plain(made)}'")


@app.command("list")
def list_(
    data_dir: DataDir = DEFAULT_DIR, console: Address = None, as_json: AsJson = False
) -> None:
    """Show who is isolated."""
    with Client(data_dir, console) as client:
        found = client.get("/policy/quarantine")
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    elif not found:
        print("Nobody is isolated.")
    else:
        shown = Table("name", "in force", "why", box=None, pad_edge=False)
        for one in found:
            in_force = "yes" if one["in_force"] else "not wholly: its rules were changed"
            shown.add_row(Text(plain(one["name"])), in_force, Text(plain(one["note"])))
        Console(highlight=False).print(shown)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Its name, as the list has it.")],
    reason: Reason = "",
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """End a quarantine."""
    with Client(data_dir, console) as client:
        query = {"version": str(current_version(client)), "reason": reason}
        path = f"/policy/quarantine/{quote(name, safe='')}"
        done = request(client, "DELETE", path, query)
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
    else:
        print(f"{plain(name)} is isolated no more, since version {done['version']}.")
