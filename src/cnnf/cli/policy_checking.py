"""`cnnf policy check`: what of a policy never decides, has ended, or matches nobody."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.policy_files import Files, compiled_of, moment_of
from cnnf.cli.radar import plain
from cnnf.policy.analysis import Finding, analyse
from cnnf.policy.flows import parse_endpoints
from cnnf.policy.form import parse_policy


def check(
    policy_file: Annotated[
        Path, typer.Argument(metavar="POLICY.yaml", help="The policy; - for standard input.")
    ],
    known_file: Annotated[
        Path | None,
        typer.Option(
            "--known", metavar="KNOWN.yaml", help="Who is there: a list of sides, as flows have."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 when anything is found.")
    ] = False,
    at: Annotated[
        str, typer.Option(help="See expiry from this time, 2026-12-31T18:00:00Z; now if left out.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Find rules that never decide and objects that match nothing: exit 2 for wrong input."""
    files = Files()
    policy = files.read(policy_file, parse_policy)
    known = files.read(known_file, parse_endpoints) if known_file is not None else None
    files.finish()
    assert policy is not None
    findings = analyse(compiled_of(policy, policy_file, moment_of(at)), known)
    if as_json:
        print(json.dumps(msgspec.to_builtins(findings), ensure_ascii=False))
    elif findings:
        Console(highlight=False).print(table(findings))
    else:
        rules = len(policy.containers) + len(policy.hosts)
        print(f"Nothing found in {rules} rules and {len(policy.objects)} network objects.")
    if strict and findings:
        raise typer.Exit(1)


def table(findings: tuple[Finding, ...]) -> Table:
    """A row a finding."""
    shown = Table("found", "where", "name", "what", box=None, pad_edge=False)
    for one in findings:
        shown.add_row(
            one.kind,
            one.list or "networkObjects",
            Text(plain(one.name)),
            Text(plain(one.message)),
        )
    return shown
