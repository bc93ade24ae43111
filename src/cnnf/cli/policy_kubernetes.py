"""`cnnf policy import` and `cnnf policy export`: to and from NetworkPolicies of Kubernetes."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from cnnf.cli.defenders import Address, DataDir
from cnnf.cli.failure import Failure
from cnnf.cli.policy_files import WRONG, Files, moment_of
from cnnf.cli.policy_versions import CURRENT, DEFAULT_DIR, policies_of
from cnnf.cli.radar import plain
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.export import write_policy
from cnnf.policy.kubernetes.exporting import Exported, LeftOut, export_policies
from cnnf.policy.kubernetes.reading import parse_namespaces, parse_pods, parse_policies
from cnnf.policy.kubernetes.translation import translate
from cnnf.policy.kubernetes.writing import manifest, write_policies

Format = Literal["kubernetes"]
ExportFormat = Literal["cnnf", "kubernetes"]


def import_(
    policies_file: Annotated[
        Path, typer.Argument(metavar="POLICIES.yaml", help="NetworkPolicies; - for standard input.")
    ],
    _format: Annotated[Format, typer.Option("--format", help="What form the file has.")],
    namespaces_file: Annotated[
        Path | None,
        typer.Option("--namespaces", help="Namespaces, where policies select them by labels."),
    ] = None,
    pods_file: Annotated[
        Path | None,
        typer.Option("--pods", help="Pods, where policies name ports; nodes are taken from them."),
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="The cluster's name, where several report to one Console.")
    ] = "",
) -> None:
    """Print what NetworkPolicies of Kubernetes say as a policy that decides every flow alike."""
    files = Files()
    policies = files.read(policies_file, parse_policies)
    namespaces = files.read(namespaces_file, parse_namespaces) if namespaces_file else None
    pods = files.read(pods_file, parse_pods) if pods_file else None
    files.finish()
    assert policies is not None
    try:
        found = translate(
            policies.policies,
            None if namespaces is None else namespaces.namespaces,
            None if pods is None else pods.pods,
            cluster,
        )
    except InvalidValueError as error:
        raise Failure(f"{policies_file}: {error}", exit_code=WRONG) from error
    if policies.others:
        _tell(f"{policies_file}: left out {_counted(policies.others)}")
    for note in found.notes:
        _tell(note)
    print(write_policy(found.policy), end="")


def export(
    which: Annotated[
        str,
        typer.Argument(
            metavar="[POLICY]",
            help="A file (- for standard input), or a version at the Console; the one in force "
            "there if left out.",
        ),
    ] = CURRENT,
    form: Annotated[ExportFormat, typer.Option("--format", help="What form to write.")] = "cnnf",
    cluster: Annotated[
        str, typer.Option(help="The cluster that it is for, where objects name theirs.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the policies and what is left out as JSON.")
    ] = False,
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
) -> None:
    """Print a policy as a file; or its rules as NetworkPolicies of Kubernetes, and tell which
    rules these can't say."""
    (policy,) = policies_of((which,), data_dir, console)
    if form == "cnnf":
        if as_json or cluster:
            raise Failure("--json and --cluster are for --format kubernetes", exit_code=WRONG)
        print(write_policy(policy), end="")
        return
    try:
        found = export_policies(policy, cluster=cluster, now_ms=moment_of(""))
    except InvalidValueError as error:
        raise Failure(f"{which}: {error}", exit_code=WRONG) from error
    if as_json:
        print(json.dumps(_as_json(found), ensure_ascii=False))
        return
    for one in found.left_out:
        _tell(_left_out(one))
    print(write_policies(found.policies), end="")


def _as_json(found: Exported) -> dict[str, object]:
    return {
        "policies": [manifest(one) for one in found.policies],
        "left_out": [
            {"rule": one.rule, "reason": one.reason, "partly": one.partly} for one in found.left_out
        ],
    }


def _left_out(one: LeftOut) -> str:
    return f"rule {plain(one.rule)} {'in part' if one.partly else 'left out'}: {one.reason}"


def _counted(others: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {plain(kind)}" for kind, count in sorted(others.items()))


def _tell(note: str) -> None:
    print(f"cnnf: {note}", file=sys.stderr)
