"""`cnnf policy diff` and `cnnf policy format`: policies as files that are read by people."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cnnf.cli.defenders import Address, DataDir
from cnnf.cli.failure import Failure
from cnnf.cli.policy_files import compiled_of, policy_of
from cnnf.cli.policy_versions import DEFAULT_DIR, policies_of
from cnnf.cli.radar import plain
from cnnf.policy.changes import Change, changes
from cnnf.policy.export import write_policy

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}


def diff(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="The policy as it was: a file, or a version.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The policy as it is now; likewise.")],
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Show which objects and rules differ, by name and order: exit 2 for wrong input.

    A number is a version at the Console, `current` is the one in force there.
    """
    before, after = policies_of((old, new), data_dir, console)
    found = changes(before, after)
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), ensure_ascii=False))
        return
    for change in found:
        print(line(change))
    if not found:
        print("No difference.")


def line(change: Change) -> str:
    """One change on one line."""
    what = f"rule for {change.list}" if change.list else "network object"
    text = f"{_SIGNS[change.kind]} {what} {plain(change.name)} {change.kind}"
    if change.fields:
        text += f": {', '.join(change.fields)}"
    if change.kind == "moved" or (change.kind == "added" and change.list):
        text += f", after {plain(change.after)}" if change.after else ", first"
    return text


def canonical(
    policy_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The policy; - for standard input.")
    ],
    write: Annotated[
        bool, typer.Option("--write", help="Write it into the file, instead of printing it.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Print nothing, exit 1 where the file is another.")
    ] = False,
) -> None:
    """Write a policy in its one form, a line an object and a rule; comments are not kept."""
    policy = policy_of(policy_file)
    compiled_of(policy, policy_file, 0)
    text = write_policy(policy)
    if str(policy_file) == "-":
        if write or check:
            raise Failure("--write and --check need a file, not standard input", exit_code=2)
        sys.stdout.write(text)
        return
    if check:
        if policy_file.read_text("utf-8") != text:
            raise Failure(
                f"{policy_file} is not in its one form", hint="cnnf policy format --write"
            )
    elif write:
        _replace(policy_file, text)
    else:
        sys.stdout.write(text)


def _replace(path: Path, text: str) -> None:
    """The old file or the new one, whole, whatever happens. Raises Failure."""
    other = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        other.write_text(text, "utf-8")
        other.chmod(path.stat().st_mode & 0o7777)
        other.replace(path.resolve())
    except OSError as error:
        other.unlink(missing_ok=True)
        raise Failure(f"{path}: {error.strerror or error}") from error
