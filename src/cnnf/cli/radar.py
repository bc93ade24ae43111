"""`cnnf radar`: the Console's graph in the terminal, the same as on the page."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cnnf.cli.client import Client

View = Literal["containers", "hosts"]

#: Ports shown of one edge, and how an edge's verdicts are written: never by colour alone.
_PORTS_MAX = 8
_VERDICTS = {
    "none": ("", ""),
    "allow": (" allowed", "green"),
    "alert": (" alert", "yellow"),
    "prevent": (" prevented", "red"),
}


def radar(
    view: Annotated[View, typer.Option(help="Apps, or the services of hosts.")] = "containers",
    window: Annotated[str, typer.Option(help="How far back: 5m to 31d.")] = "1h",
    about: Annotated[
        str, typer.Option("--object", help="Only connections of the network object of this name.")
    ] = "",
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="CNNF_DATA_DIR", help="The Console's directory.")
    ] = Path("/var/lib/cnnf"),
    console: Annotated[
        str | None, typer.Option(help="The Console's address, where it is not this machine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the graph as JSON.")] = False,
) -> None:
    """Show who talks to whom."""
    with Client(data_dir, console) as client:
        graph = client.get(
            "/radar", view=view, window=window, **({"object": about} if about else {})
        )
    if as_json:
        print(json.dumps(graph))
        return
    out = Console(highlight=False)
    for part in render(graph, window):
        out.print(part)


def render(graph: dict[str, Any], window: str) -> list[RenderableType]:
    """The graph as parts to print, one after the other."""
    if not graph["nodes"]:
        return [f"Nothing was seen in the last {window}. To see something: cnnf demo"]
    parts: list[RenderableType] = [_nodes(graph), "", _edges(graph)]
    hidden = graph["hidden"]
    if hidden["nodes"] or hidden["edges"]:
        parts.append(f"Hidden: {hidden['nodes']} nodes, {hidden['edges']} edges; --json has more")
    return parts


def _nodes(graph: dict[str, Any]) -> Table:
    table = Table("name", "kind", "instances", "model", "internet", box=None, pad_edge=False)
    for node in sorted(graph["nodes"], key=lambda node: (node["kind"], node["name"])):
        model = (node.get("model") or {}).get("state", "")
        table.add_row(
            Text(_shown(node)),
            node["kind"],
            str(node["instances"]) if node["instances"] else "",
            model,
            "yes" if node.get("internet") else "",
        )
    return table


def _edges(graph: dict[str, Any]) -> Table:
    names = {node["id"]: _shown(node) for node in graph["nodes"]}
    table = Table("from", "", "to", "ports", "connections", "outcome", box=None, pad_edge=False)
    edges = sorted(graph["edges"], key=lambda edge: (names[edge["source"]], names[edge["target"]]))
    for edge in edges:
        table.add_row(
            Text(names[edge["source"]]),
            "→",
            Text(names[edge["target"]]),
            _ports(edge["ports"], edge.get("more_ports", 0)),
            _count(edge["ports"]),
            _outcome(edge["ports"], limited=graph["mode"]["limited"]),
        )
    return table


def _count(ports: Iterable[dict[str, Any]]) -> str:
    """How many, or at most how many where the count is of other ends too."""
    listed = list(ports)
    most = "up to " if any(port.get("shared") for port in listed) else ""
    return most + str(sum(port["connections"] for port in listed))


def _outcome(ports: Iterable[dict[str, Any]], *, limited: bool) -> str:
    """How attempts ended; in the limited view answers are not looked for, and their lack is no
    outcome. UDP has none."""
    tcp = [port for port in ports if port["protocol"] == "tcp"]
    silent = sum(max(0, p["connections"] - p["answered"] - p["refused"]) for p in tcp)
    counts = (
        (sum(port["answered"] for port in tcp), "established"),
        (sum(port["refused"] for port in tcp), "refused"),
        (0 if limited else silent, "no answer"),
    )
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _shown(node: dict[str, Any]) -> str:
    """The name, with the group where there is more than one cluster or host to tell apart."""
    group = "/".join(part for part in node.get("group") or [] if part)
    return plain(f"{node['name']} ({group})" if group else node["name"])


def _ports(ports: Iterable[dict[str, Any]], more: int) -> Text:
    listed = list(ports)
    text = Text()
    for index, port in enumerate(listed[:_PORTS_MAX]):
        suffix, style = _VERDICTS.get(port["verdict"], ("", ""))
        if suffix and port.get("cause"):
            suffix += f" by {plain(port['cause'])}"
        protocol = "" if port["protocol"] == "tcp" else f"/{port['protocol']}"
        text.append(", " if index else "")
        text.append(f"{port['port']}{protocol}{suffix}", style)
    more += max(len(listed) - _PORTS_MAX, 0)
    if more:
        text.append(f" and {more} more")
    return text


def plain(text: str) -> str:
    """Names and command lines are others' words: what would steer the terminal is taken out."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
