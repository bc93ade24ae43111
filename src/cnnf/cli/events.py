"""`cnnf events`: what rules alerted on or prevented, in the terminal, the same as on the page."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.client import Client, Unreachable
from cnnf.cli.radar import plain

Effect = Literal["alert", "prevent"]
Kind = Literal["rule", "model", "scan"]
Event = dict[str, Any]

#: Events of one request; the Console gives no more at once.
_PAGE = 500
#: With --follow: seconds between two attempts to reach a Console that has gone, and how many.
_AGAIN_S = 1.0
_AGAIN_MAX = 60
#: How an effect is written: never by colour alone.
_EFFECTS = {"alert": ("alert", "yellow"), "prevent": ("prevented", "red")}


def events(
    effect: Annotated[Effect | None, typer.Option(help="Only this effect.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    name: Annotated[
        str, typer.Option(help="Only where either end's name or address has this in it.")
    ] = "",
    since: Annotated[
        str, typer.Option(help="Last seen since: 15m, 6h, 7d ago, or 2026-01-31T12:00:00Z.")
    ] = "",
    until: Annotated[str, typer.Option(help="First seen until, in the same form.")] = "",
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="At most so many, the newest.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")
    ] = False,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="CNNF_DATA_DIR", help="The Console's directory.")
    ] = Path("/var/lib/cnnf"),
    console: Annotated[
        str | None, typer.Option(help="The Console's address, where it is not this machine's.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON list; with --follow one JSON object a line."),
    ] = False,
) -> None:
    """Show what was alerted on or prevented, and by what."""
    options = {"effect": effect, "kind": kind, "name": name, "since": since, "until": until}
    query = {option: value for option, value in options.items() if value}
    out = Console(highlight=False, soft_wrap=follow)
    with Client(data_dir, console) as client:
        if not follow:
            found = read(client, query, limit)
            if as_json:
                print(json.dumps(found))
            else:
                out.print(table(found) if found else _nothing(query))
            return
        for event in followed(client, query, limit):
            if as_json:
                print(json.dumps(event), flush=True)
            else:
                out.print(line(event))


def read(client: Client, query: dict[str, str], limit: int) -> list[Event]:
    """The newest events, at most `limit`, page by page."""
    found: list[Event] = []
    cursor: dict[str, str] = {}
    while len(found) < limit:
        wanted = min(_PAGE, limit - len(found))
        page = client.get("/events", limit=str(wanted), **query, **cursor)
        found += page
        if len(page) < wanted:
            break
        cursor = {"cursor": page[-1]["cursor"]}
    return found


def followed(client: Client, query: dict[str, str], limit: int) -> Iterator[Event]:
    """The newest events, oldest first, then every one that is opened or extended.

    A Console that goes away is waited for; what happened meanwhile is told when it is back.
    """
    last_id = ""
    shown: dict[str, int] = {}
    failures = 0
    while True:
        try:
            for name, id_, data in client.stream("/events/stream", last_id, **query):
                failures = 0
                last_id = id_ or last_id
                if name == "events":
                    # As many as are asked for at the start; after a `resync` what is new of them.
                    fresh = read(client, query, limit) if not shown else data
                    yield from _unshown(reversed(fresh), shown)
                elif name == "change":
                    yield from _unshown(data, shown)
        except Unreachable:
            failures += 1
            if failures > _AGAIN_MAX or not last_id:
                raise
            time.sleep(_AGAIN_S)


def _unshown(found: Any, shown: dict[str, int]) -> Iterator[Event]:
    """Those that have happened more often than when they were last shown."""
    for event in found:
        if shown.get(event["id"], 0) < event["count"]:
            # Those that have not changed for longest are the first to be forgotten.
            shown.pop(event["id"], None)
            shown[event["id"]] = event["count"]
            if len(shown) > 10 * _PAGE:
                del shown[next(iter(shown))]
            yield event


def _nothing(query: dict[str, str]) -> str:
    if query:
        return "No event is of that kind."
    return "No event: nothing was alerted on or prevented in the last 30 days."


def table(found: list[Event]) -> Table:
    """The events as a table, newest first."""
    made = Table(
        "last seen", "effect", "from", "", "to", "port", "count", "cause", "process", "Defender",
        box=None, pad_edge=False,
    )  # fmt: skip
    for event in found:
        made.add_row(
            _time(event["last_seen"]),
            _effect(event),
            Text(_end(event["source"])),
            "→",
            Text(_end(event["destination"])),
            _port(event),
            _count(event),
            Text(plain(event["cause"])),
            Text(_process(event)),
            Text(plain(event["defender_name"])),
        )
    return made


def line(event: Event) -> Text:
    """The event in one line."""
    text = Text(f"{_time(event['last_seen'])}  ")
    text.append_text(_effect(event))
    text.append(f"  {_end(event['source'])} → {_end(event['destination'])} port {_port(event)}")
    text.append(f"  {_count(event)} times  {plain(event['cause'])}")
    text.append(f"  on {plain(event['defender_name'])}")
    process = _process(event)
    if process:
        text.append(f"  by {process}")
    return text


def _time(moment: str) -> str:
    """The moment in the reader's own time, to the second."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _effect(event: Event) -> Text:
    return Text(*_EFFECTS.get(event["effect"], (str(event["effect"]), "")))


def _end(end: dict[str, Any]) -> str:
    """The end's name, with its address where the name does not say who it was."""
    if not end["address"] or end["kind"] not in ("internet", "unmanaged"):
        return plain(end["name"])
    if end["names"]:
        return plain(f"{end['names'][0]} ({end['address']})")
    return plain(f"{end['name']} ({end['address']})" if end["kind"] == "internet" else end["name"])


def _port(event: Event) -> str:
    port = str(event["port"]) if event["port"] else "others"
    return port if event["protocol"] == "tcp" else f"{port}/{event['protocol']}"


def _count(event: Event) -> str:
    return f"{event['count']} ({event['cut']} cut)" if event["cut"] else str(event["count"])


def _process(event: Event) -> str:
    return plain(event["source"]["process"] or event["destination"]["process"])
