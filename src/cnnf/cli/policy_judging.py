"""`cnnf policy test`: what a policy says of flows in a file, without any host or Console."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.policy_files import Files, compiled_of, moment_of
from cnnf.cli.radar import plain
from cnnf.policy.compiled import Compiled
from cnnf.policy.evaluation import Decision, called, evaluate
from cnnf.policy.explain import Looked, explain
from cnnf.policy.flows import Expected, Flow, parse_flows
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import Effect

_STYLES = {"allow": "green", "alert": "yellow", "prevent": "red"}


def judge(
    policy_file: Annotated[
        Path, typer.Argument(metavar="POLICY.yaml", help="The policy; - for standard input.")
    ],
    flows_file: Annotated[Path, typer.Argument(metavar="FLOWS.yaml", help="A list of flows.")],
    expect: Annotated[
        Effect | None,
        typer.Option(help="What is expected of every flow that says nothing itself."),
    ] = None,
    explained: Annotated[
        bool, typer.Option("--explain", help="Tell of every rule why it does or does not match.")
    ] = False,
    at: Annotated[
        str, typer.Option(help="Judge as at this time, 2026-12-31T18:00:00Z; now if left out.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, in order.")] = False,
) -> None:
    """Judge flows by a policy: exit 0 done, 1 a flow is not as expected, 2 wrong input."""
    files = Files()
    policy = files.read(policy_file, parse_policy)
    flows = files.read(flows_file, parse_flows)
    files.finish()
    assert policy is not None
    assert flows is not None
    compiled = compiled_of(policy, policy_file, moment_of(at))
    default = Expected(effect=expect) if expect else None
    entries = [judged(compiled, flow, default, explained=explained) for flow in flows]
    if as_json:
        print(json.dumps(entries, ensure_ascii=False))
    else:
        _print(flows, entries)
    wrong = [
        (flow, entry) for flow, entry in zip(flows, entries, strict=True) if "expected" in entry
    ]
    for flow, entry in wrong:
        print(f"{flows_file}:{flow.line}: {_difference(entry)}", file=sys.stderr)
    if wrong:
        raise typer.Exit(1)


def judged(
    compiled: Compiled, flow: Flow, default: Expected | None, *, explained: bool
) -> dict[str, Any]:
    """One entry of the output; `expected` is there only where it is another."""
    rules: tuple[Looked, ...] = ()
    if explained:
        explanation = explain(compiled, flow)
        decision, rules = explanation.decision, explanation.rules
    else:
        decision = evaluate(compiled, [flow.source], [flow.destination], flow.port, flow.protocol)
    entry: dict[str, Any] = {
        "effect": decision.effect,
        "cause": decision.cause,
        "reason": decision.reason,
    }
    if explained:
        entry["rules"] = [_rule(one) for one in rules]
    expected = flow.expected or default
    if expected is not None and not _meets(decision, expected):
        entry["expected"] = {"effect": expected.effect, "cause": expected.cause}
    return entry


def _meets(decision: Decision, expected: Expected) -> bool:
    return decision.effect == expected.effect and expected.cause in ("", decision.cause)


def _rule(one: Looked) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "list": one.list,
        "effect": one.effect,
        "matched": one.matched,
        "decides": one.decides,
        "mismatches": list(one.mismatches),
    }


def _difference(entry: dict[str, Any]) -> str:
    expected = entry["expected"]
    by = f" by {expected['cause']}" if expected["cause"] else ""
    return f"expected {expected['effect']}{by}, is {entry['effect']} by {plain(entry['cause'])}"


def _print(flows: tuple[Flow, ...], entries: list[dict[str, Any]]) -> None:
    out = Console(highlight=False, soft_wrap="rules" in entries[0] if entries else False)
    if not entries:
        out.print("No flows.")
        return
    if "rules" not in entries[0]:
        out.print(table(flows, entries))
        return
    for flow, entry in zip(flows, entries, strict=True):
        out.print(Text(f"line {flow.line}: {plain(entry['reason'])}"))
        for one in entry["rules"]:
            out.print(Text(f"  {_verdict(one)}  {one['list']}: {plain(one['rule'])}{_why(one)}"))


def table(flows: tuple[Flow, ...], entries: list[dict[str, Any]]) -> Table:
    """A row a flow."""
    shown = Table("source", "", "destination", "port", "effect", "cause", box=None, pad_edge=False)
    for flow, entry in zip(flows, entries, strict=True):
        effect = entry["effect"]
        expected = f", expected {entry['expected']['effect']}" if "expected" in entry else ""
        shown.add_row(
            Text(plain(called(flow.source))),
            "→",
            Text(plain(called(flow.destination))),
            f"{flow.port}/{flow.protocol}",
            Text(effect + expected, _STYLES[effect]),
            Text(plain(entry["cause"])),
        )
    return shown


def _verdict(one: dict[str, Any]) -> str:
    if one["decides"]:
        return "decides "
    return "too late" if one["matched"] else "no match"


def _why(one: dict[str, Any]) -> str:
    if one["decides"]:
        return f", {one['effect']}"
    return f" ({', '.join(one['mismatches'])})" if one["mismatches"] else ""
