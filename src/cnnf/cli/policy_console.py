"""`cnnf policy apply`, `history`, `show`, `rollback`, `hits`: the policy in force at a Console."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnf.cli.client import Client
from cnnf.cli.defenders import Address, AsJson, DataDir, moment_shown
from cnnf.cli.failure import Failure
from cnnf.cli.policy_comparing import line
from cnnf.cli.policy_files import WRONG, read_bytes
from cnnf.cli.policy_versions import DEFAULT_DIR, path_of, text_of
from cnnf.cli.radar import plain
from cnnf.policy.changes import Change
from cnnf.policy.errors import InvalidFormError
from cnnf.policy.form import parse_policy

#: The Console reads, compiles and analyses a policy before it answers: 10 s for 10,000 rules.
_TIMEOUT_S = 180.0
#: Changes and findings that a preview shows; others are counted.
_SHOWN_MAX = 60

Reason = Annotated[str, typer.Option("--reason", help="Why, for the history.")]
Preview = Annotated[bool, typer.Option("--preview", help="Only show what would change.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before it is put in force.")]

Answer = dict[str, Any]


def apply(
    policy_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The policy; - for standard input.")
    ],
    reason: Reason = "",
    merge: Annotated[
        bool, typer.Option("--merge", help="Keep what the file does not name.")
    ] = False,
    preview: Preview = False,
    yes: Yes = False,
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Put a policy in force at the Console, all of it or nothing, after showing what changes."""
    text = _checked(policy_file)
    mode = "merge" if merge else "replace"
    with Client(data_dir, console) as client:
        _change(
            client,
            lambda **query: request(
                client, "PUT", "/policy", query | {"mode": mode}, content=text, headers=_YAML
            ),
            reason=reason,
            preview=preview,
            yes=yes,
            as_json=as_json,
        )


_YAML = {"Content-Type": "application/yaml"}


def history(
    count: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    before: Annotated[int, typer.Option(min=0, help="Older than this version.")] = 0,
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Show the policy's versions, the newest first: who changed what, when and why."""
    with Client(data_dir, console) as client:
        found = client.get("/policy/versions", count=str(count), before=str(before))
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    shown = Table(
        "version", "at", "by", "what", "rules", "objects", "why", box=None, pad_edge=False
    )
    for one in found:
        what = one["kind"] + (f": {one['subject']}" if one["subject"] else "")
        shown.add_row(
            str(one["version"]),
            moment_shown(one["at"]),
            Text(plain(one["author"])),
            Text(plain(what)),
            str(one["rule_count"]),
            str(one["object_count"]),
            Text(plain(one["reason"])),
        )
    Console(highlight=False).print(shown)


def show(
    version: Annotated[
        int, typer.Argument(min=0, help="The version; the one in force if left out.")
    ] = 0,
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Print a version of the policy, the one in force if none is named, as a policy file."""
    with Client(data_dir, console) as client:
        if as_json:
            print(json.dumps(client.get(path_of(version)), ensure_ascii=False))
        else:
            sys.stdout.write(text_of(client, version))


def rollback(
    version: Annotated[int, typer.Argument(min=1, help="The version to go back to.")],
    reason: Reason,
    preview: Preview = False,
    yes: Yes = False,
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Put an earlier version's contents in force again, as a new version."""
    with Client(data_dir, console) as client:
        _change(
            client,
            lambda **query: request(
                client, "POST", "/policy/rollback", query | {"to": str(version)}
            ),
            reason=reason,
            preview=preview,
            yes=yes,
            as_json=as_json,
        )


def hits(
    never: Annotated[
        bool, typer.Option("--never", help="Only rules that have decided nothing for a week.")
    ] = False,
    data_dir: DataDir = DEFAULT_DIR,
    console: Address = None,
    as_json: AsJson = False,
) -> None:
    """Show how often each rule of the policy in force decided, and when last."""
    with Client(data_dir, console) as client:
        found = client.get("/policy/hits")
    if never:
        found = [one for one in found if one["never_hit"]]
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    if not found:
        print("No rule was never hit." if never else "The policy has no rules.")
        return
    shown = Table("list", "rule", "hits", "last hit", "enabled since", box=None, pad_edge=False)
    for one in found:
        shown.add_row(
            one["list"],
            Text(plain(one["rule"])),
            f"{one['hits']:,}",
            moment_shown(one["last_hit"]) if one["last_hit"] else "never",
            moment_shown(one["since"]) if one["since"] else "disabled",
        )
    Console(highlight=False).print(shown)


def request(
    client: Client, method: str, path: str, query: dict[str, str], **arguments: Any
) -> Answer:
    """A request that may take the Console a while. Raises Failure."""
    found: Answer = client.request(method, path, params=query, timeout=_TIMEOUT_S, **arguments)
    return found


def current_version(client: Client) -> int:
    """The number of the version in force. Raises Failure."""
    (newest,) = client.get("/policy/versions", count="1")
    found: int = newest["version"]
    return found


def _checked(path: Path) -> bytes:
    """A file's text, which is a policy. Raises Failure with every problem and its place."""
    try:
        data = read_bytes(path)
        parse_policy(data, subject=str(path))
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}", exit_code=WRONG) from error
    except InvalidFormError as error:
        raise Failure(str(error), exit_code=WRONG) from error
    return data


def _change(
    client: Client,
    ask: Callable[..., Answer],
    *,
    reason: str,
    preview: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what a change would do, ask, and make it of the version that was shown."""
    version = str(current_version(client))
    expected = {"version": version, "reason": reason}
    if preview or not yes:
        would = ask(**expected, preview="true")
        if preview and as_json:
            print(json.dumps(would, ensure_ascii=False))
            return
        print(described(would), file=sys.stderr if as_json else sys.stdout)
        if preview:
            return
        if would["changes"]:
            _confirm(f"Put this in force in the place of version {version}?")
    done = ask(**expected, preview="false")
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
        return
    if yes:
        print(described(done))
    print(f"Version {done['version']} is in force.")


def _confirm(question: str) -> None:
    """Raises Failure where nobody says yes."""
    if not sys.stdin.isatty():
        raise Failure(
            "nobody is there to be asked: standard input is no terminal",
            hint="Add --yes to do it without a question, or --preview only to look.",
            exit_code=WRONG,
        )
    if not typer.confirm(question, err=True):
        raise Failure("nothing was changed")


def described(would: Answer) -> str:
    """What a change does, a line a thing."""
    changes = [line(msgspec.convert(one, Change)) for one in would["changes"]]
    lines = _some(changes, would["more_changes"]) or ["No difference."]
    found = [
        f"! {plain(one['name'])}: {one['kind']}, {plain(one['message'])}"
        for one in would["findings"]
    ]
    lines += _some(found, would["more_findings"])
    lines += [f"! {plain(note)}" for note in would["notes"]]
    return "\n".join(lines)


def _some(lines: list[str], more: int) -> list[str]:
    left = len(lines) - _SHOWN_MAX + more
    return lines[:_SHOWN_MAX] + ([f"  and {left:,} more"] if left > 0 else [])
