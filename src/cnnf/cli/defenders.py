"""`cnnf defenders`: who has joined the Console, tokens to let more join, and removing one."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.client import Client
from cnnf.cli.failure import Failure
from cnnf.cli.radar import plain

app = typer.Typer(no_args_is_help=True, help="The Defenders of a Console.")

Defender = dict[str, Any]

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="CNNF_DATA_DIR", help="The Console's directory.")
]
Address = Annotated[
    str | None,
    typer.Option("--console", help="The Console's address, where it is not this machine's."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Argument(help="Its name, or its id (or how that begins).")]

_DEFAULT = Path("/var/lib/cnnf")
_HEADINGS = (
    *("name", "id", "state", "mode", "policy", "last heard"),
    *("certificate until", "version", "conditions"),
)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: So many characters of an id are shown, and needed at least to name one.
_SHORT = 12


@app.command()
def token(
    expires: Annotated[
        str, typer.Option(help="How long it is good: 30m, 6h, 7d; a week at most.")
    ] = "1h",
    data_dir: DataDir = _DEFAULT,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Make a token that lets one Defender join, once."""
    body = {"expires_s": seconds(expires)}
    with Client(data_dir, console) as client:
        made = client.post("/defenders/tokens", body)
    if as_json:
        print(json.dumps(made))
        return
    print(f"Join token, good once until {moment_shown(made['expires_at'])}; shown now only:\n")
    print(f"  {made['token']}\n")
    print("On the host that is to join, with the token in a file that only root can read:\n")
    print(f"  cnnf defender join {made['console']} --token-file FILE")
    if made["console"].startswith("http:"):
        print("\nThis Console listens on its own machine only: others reach it when it is started")
        print("with --listen and --defender-listen on an address of theirs, and --advertise.")


@app.command("list")
def list_(data_dir: DataDir = _DEFAULT, console: Address = None, as_json: AsJson = False) -> None:
    """Show every Defender: live or away, what it applies, what is wrong with it."""
    with Client(data_dir, console) as client:
        found = client.get("/defenders")
    if as_json:
        print(json.dumps(found))
    elif found:
        Console(highlight=False).print(table(found))
    else:
        print("No Defender has joined. A token for one: cnnf defenders token")


@app.command()
def show(
    defender: Which, data_dir: DataDir = _DEFAULT, console: Address = None, as_json: AsJson = False
) -> None:
    """Show one Defender."""
    with Client(data_dir, console) as client:
        found = pick(client.get("/defenders"), defender)
    if as_json:
        print(json.dumps(found))
    else:
        Console(highlight=False, soft_wrap=True).print(details(found))


@app.command()
def remove(defender: Which, data_dir: DataDir = _DEFAULT, console: Address = None) -> None:
    """Remove a Defender: its certificate is good no more. What it told before stays.

    Stop it on its host first: there it goes on with the settings it has.
    """
    with Client(data_dir, console) as client:
        found = pick(client.get("/defenders"), defender)
        client.request("DELETE", f"/defenders/{found['id']}")
    print(f"Removed {plain(found['name'])} ({found['id']}).")


def seconds(text: str) -> int:
    """A time like 30m in seconds. Raises Failure."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text.strip())
    if match is None:
        raise Failure(f"--expires {text}: write 30m, 6h or 7d", exit_code=2)
    return int(match[1]) * _SECONDS[match[2]]


def pick(found: list[Defender], which: str) -> Defender:
    """The one that is named so. Raises Failure when there is none, or more than one."""
    named = [one for one in found if one["id"] == which] or [
        one
        for one in found
        if one["name"] == which or (len(which) >= _SHORT and one["id"].startswith(which))
    ]
    if not named:
        raise Failure(f"no Defender is called {which!r}", hint="cnnf defenders list shows all.")
    if len(named) > 1:
        ids = ", ".join(one["id"][:_SHORT] for one in named[:10])
        raise Failure(f"{len(named)} Defenders are called {which!r}", hint=f"Name one by id: {ids}")
    return named[0]


def table(found: list[Defender]) -> Table:
    """All of them as a table."""
    made = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        made.add_column(heading, no_wrap=heading in ("id", "state"))
    for one in found:
        made.add_row(
            Text(plain(one["name"])),
            one["id"][:_SHORT],
            Text(*_state(one)),
            _mode(one),
            Text(*_policy(one)),
            moment_shown(one["seen_at"]),
            moment_shown(one["expires_at"])[:10],
            Text(plain(one["version"])),
            Text(", ".join(plain(condition["code"]) for condition in one["conditions"])),
        )
    return made


def details(one: Defender) -> Text:
    """One of them, a line each thing."""
    spool = one["spool"]
    kept = "not told" if spool is None else f"{_mebibytes(spool['bytes'])} MiB"
    if spool and spool["oldest_at"]:
        kept += f" since {moment_shown(spool['oldest_at'])}"
    if spool:
        kept += f", at most {_mebibytes(spool['bytes_max'])} MiB"
    rows = {
        "name": one["name"],
        "id": one["id"],
        "state": _state(one)[0],
        "last heard": moment_shown(one["seen_at"]),
        "addresses": ", ".join(one["addresses"]),
        "mode": _mode(one),
        "settings": f"generation {one['applied']['generation']}" if one["applied"] else "none yet",
        "policy": _policy(one)[0],
        "version": one["version"],
        "kernel": one["kernel"],
        "system": one["system"],
        "joined": moment_shown(one["enrolled_at"]),
        "certificate": f"{one['fingerprint']}, until {moment_shown(one['expires_at'])}",
        "kept on disk": kept,
    }
    text = Text("\n".join(f"{name:<14}{plain(value)}" for name, value in rows.items()))
    policy = one["policy"]
    if policy and policy["refused_generation"]:
        text.append(f"\n{'refused':<14}version {policy['refused_generation']} of the policy: ")
        text.append(plain(policy["refused"]))
    for condition in one["conditions"]:
        text.append(f"\n{condition['severity']:<14}{condition['code']}: ")
        text.append(plain(condition["message"]))
    return text


def _state(one: Defender) -> tuple[str, str]:
    if one["live"]:
        return "live", "green"
    return ("away", "yellow") if one["seen_at"] else ("never heard", "yellow")


def _policy(one: Defender) -> tuple[str, str]:
    """Which version it enforces, and which it refused."""
    policy = one["policy"]
    if policy is None:
        return "not told", ""
    enforced = f"version {policy['generation']}" if policy["generation"] else "none yet"
    if policy["refused_generation"]:
        return f"{enforced}, refused {policy['refused_generation']}", "red"
    return enforced, ""


def _mode(one: Defender) -> str:
    applied = one["applied"]
    if applied is None:
        return ""
    return " and ".join(name for name in ("containers", "hosts") if applied[name]) or "disabled"


def moment_shown(moment: str | None) -> str:
    """The moment in the reader's own time, to the second."""
    if moment is None:
        return "not known"
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f}"
