"""`cnnf policy what-if`: a draft judged against what was recorded, for people and for CI."""

import contextlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.client import Client
from cnnf.cli.failure import Failure
from cnnf.cli.policy_files import WRONG, Files, compiled_of, moment_of
from cnnf.cli.radar import plain
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import Policy

Kind = Literal["prevent", "alert", "any"]
Against = Literal["policy", "recorded"]

#: The parts of a comparison, the worst first: key, what a row is called, its colour.
_KINDS = (
    ("prevented", "newly prevented", "red"),
    ("alerted", "newly alerted on", "yellow"),
    ("allowed", "newly allowed", "green"),
)
_FAILING: dict[Kind, tuple[str, ...]] = {
    "prevent": ("prevented",),
    "alert": ("prevented", "alerted"),
    "any": ("prevented", "alerted", "allowed"),
}
#: What the Console takes at most, and some time for the draft to be sent and read.
_TIMEOUT_S = 90.0


def what_if(
    policy_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The draft; - for standard input.")
    ],
    window: Annotated[str, typer.Option(help="How far back: 5m to 31d.")] = "24h",
    against: Annotated[
        Against, typer.Option(help="Compare with the policy in force, or with what was decided.")
    ] = "policy",
    fail_on: Annotated[
        Kind, typer.Option(help="Exit 1 on what is newly prevented; or alerted on too; or any.")
    ] = "any",
    data_dir: Annotated[
        Path, typer.Option("--data-dir", envvar="CNNF_DATA_DIR", help="The Console's directory.")
    ] = Path("/var/lib/cnnf"),
    console: Annotated[
        str | None, typer.Option(help="The Console's address, where it is not this machine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Judge a draft by recorded flows: exit 0 nothing new, 1 something is, 2 it can't be told."""
    body = _draft(policy_file)
    try:
        with Client(data_dir, console) as client, _waiting(window):
            found = client.request(
                "POST",
                "/policy/what-if",
                params={"window": window},
                content=body,
                headers={"Content-Type": "application/yaml"},
                timeout=_TIMEOUT_S,
            )
    except Failure as failure:
        # 1 is the answer that something is new.
        raise Failure(str(failure), hint=failure.hint, exit_code=WRONG) from failure
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        show(found, against, window)
    if any(found[against][kind]["flows"] for kind in _FAILING[fail_on]):
        raise typer.Exit(1)


def _draft(path: Path) -> bytes:
    """The draft's bytes, when they are right: problems are told with the file's name."""
    files = Files()
    body = b""

    def parse(data: bytes, subject: str) -> Policy:
        nonlocal body
        body = data
        return parse_policy(data, subject=subject)

    policy = files.read(path, parse)
    files.finish()
    assert policy is not None
    compiled_of(policy, path, moment_of(""))
    return body


@contextlib.contextmanager
def _waiting(window: str) -> Iterator[None]:
    """Tells a person that it is being worked on."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(f"Judging what was recorded in the last {window} …"):
        yield


def show(found: dict[str, Any], against: Against, window: str) -> None:
    """The comparison as tables."""
    # A sentence is one line, whatever the width; tables are not wider than it.
    out = Console(highlight=False)
    say = partial(out.print, soft_wrap=True)
    judged, unjudged = found["judged"], found["unjudged"]
    what = f"version {found['version']}" if against == "policy" else "what was decided"
    say(f"{_counted(judged)} in the last {window}, compared with {what}.")
    if unjudged["flows"]:
        say(f"Not judged, since it is not kept who it was or where to: {_counted(unjudged)}.")
    comparison = found[against]
    if not any(comparison[key]["flows"] for key, _, _ in _KINDS):
        out.print("Nothing new.")
    for key, title, style in _KINDS:
        newly = comparison[key]
        if newly["flows"]:
            out.print()
            say(Text(f"{title}: {_counted(newly)}{_certainty(newly)}", style))
            say(_rules(newly))
            out.print(_flows(newly))
            if newly["more"]:
                out.print(f"and {newly['more']} more")


def _counted(count: dict[str, Any]) -> str:
    flows, connections = count["flows"], count["connections"]
    return (
        f"{flows} {'flow' if flows == 1 else 'flows'} with "
        f"{connections} {'connection' if connections == 1 else 'connections'}"
    )


def _certainty(newly: dict[str, Any]) -> str:
    certain = newly["certain"]
    if certain["flows"] == newly["flows"]:
        return ""
    return f", for certain {_counted(certain)}" if certain["flows"] else ", none for certain"


def _rules(newly: dict[str, Any]) -> Text:
    said = [f"{plain(one['cause'])} ({one['connections']})" for one in newly["rules"]]
    if newly["more_rules"]:
        said.append(f"{newly['more_rules']} more")
    return Text(f"  by {', '.join(said)}")


def _flows(newly: dict[str, Any]) -> Table:
    table = Table(
        "source", "", "destination", "port", "connections", "by", "before",
        box=None, pad_edge=False,
    )  # fmt: skip
    for one in newly["listed"]:
        before = one["before"]
        table.add_row(
            Text(_end(one["source"])),
            "→",
            Text(_end(one["destination"])),
            f"{one['port']}/{one['protocol']}",
            f"{'' if one['certain'] else 'up to '}{one['connections']}",
            Text(plain(one["cause"])),
            Text(plain(f"{before['effect']}, {before['cause']}".removesuffix(", "))),
        )
    return table


def _end(end: dict[str, Any]) -> str:
    """The name, and whom of it the change is about where they are few."""
    who = [text for text in end["examples"] if text != end["name"]]
    more = f" and {end['more']} more" if end["more"] else ""
    return plain(f"{end['name']} ({', '.join(who)}{more})" if who else end["name"])
