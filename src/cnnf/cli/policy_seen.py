"""`cnnf policy seen`: the connections of a network object, as they were recorded."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.client import Client
from cnnf.cli.defenders import Address, AsJson, DataDir, moment_shown
from cnnf.cli.policy_versions import DEFAULT_DIR
from cnnf.cli.radar import plain

#: What the Console takes at most, and some time for the answer.
_TIMEOUT_S = 30.0


def seen(
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="A network object's name.")],
    window: Annotated[str, typer.Option(help="How far back: 5m to 31d.")] = "24h",
    count: Annotated[int, typer.Option(min=1, max=200, help="How many rows.")] = 50,
    skip: Annotated[int, typer.Option(min=0, max=10_000, help="Leave out the first so many.")] = 0,
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Show who connected to a network object and it to whom, before it was made too."""
    with Client(data_dir, console) as client:
        found = client.request(
            "GET",
            f"/policy/objects/{quote(name, safe='')}/connections",
            params={"window": window, "count": str(count), "skip": str(skip)},
            timeout=_TIMEOUT_S,
        )
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    out = Console(highlight=False)
    for part in render(found, window):
        out.print(part, soft_wrap=isinstance(part, str))


def render(found: dict[str, Any], window: str) -> list[str | Table]:
    """The page as parts to print, one after the other."""
    name, listed = plain(found["object"]), found["listed"]
    if not found["flows"]:
        return [f"No connection of {name} was seen in the last {window}."]
    table = Table(
        "source", "", "destination", "port", "connections", "last seen", "in force", "by",
        box=None, pad_edge=False,
    )  # fmt: skip
    for one in listed:
        table.add_row(
            Text(_end(one["source"])),
            "→",
            Text(_end(one["destination"])),
            f"{one['port'] or 'other'}/{one['protocol']}",
            f"{'' if one['certain'] else 'up to '}{one['connections']:,}",
            moment_shown(one["last_seen"]),
            _effect(one),
            Text(plain(one["cause"])),
        )
    flows, skipped = found["flows"], found["skipped"]
    said = f"{flows:,} {'flow' if flows == 1 else 'flows'} of {name} in the last {window}"
    if len(listed) < flows:
        said += f"; shown are {skipped + 1:,} to {skipped + len(listed):,}" if listed else ""
    return [f"{said}.", table]


def _end(end: dict[str, Any]) -> str:
    """The node; of one that has others too, whom the object has of it."""
    who = [text for text in end["who"] if text != end["name"]]
    if not end["member"] or not who:
        return plain(end["name"])
    more = f" and {end['more']} more" if end["more"] else ""
    return plain(f"{end['name']} ({', '.join(who[:2])}{more})")


def _effect(one: dict[str, Any]) -> str:
    if one["effect"] is None:
        return "not known"
    return one["effect"] if one["sure"] else f"{one['effect']}, not for all"
