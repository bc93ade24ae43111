"""Versions of the policy at a Console, where a command takes a file or one of these."""

import re
from collections.abc import Sequence
from pathlib import Path

from cnnf.cli.client import Client
from cnnf.cli.failure import Failure
from cnnf.cli.policy_files import Files
from cnnf.policy.errors import PolicyError
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import Policy

DEFAULT_DIR = Path("/var/lib/cnnf")
#: What the version in force is called.
CURRENT = "current"


def policies_of(names: Sequence[str], data_dir: Path, console: str | None) -> list[Policy]:
    """The policies that these name: files, versions by number, or `current`. Raises Failure with
    the problems of all files; a Console is asked only for versions."""
    versions = [_version(name) for name in names]
    files = Files()
    found = [
        files.read(Path(name), parse_policy) if version is None else None
        for name, version in zip(names, versions, strict=True)
    ]
    files.finish()
    if any(version is not None for version in versions):
        with Client(data_dir, console) as client:
            found = [
                policy if version is None else policy_at(client, version)
                for policy, version in zip(found, versions, strict=True)
            ]
    return [policy for policy in found if policy is not None]


def text_of(client: Client, version: int) -> str:
    """A version in its YAML form, 0 for the one in force. Raises Failure."""
    return client.text(path_of(version), accept="application/yaml")


def policy_at(client: Client, version: int) -> Policy:
    """A version as a policy, 0 for the one in force. Raises Failure."""
    called = f"version {version}" if version else "the version in force"
    try:
        return parse_policy(text_of(client, version), subject=called)
    except PolicyError as error:
        raise Failure(str(error), hint="Is the Console of another version of cnnf?") from error


def path_of(version: int) -> str:
    """Where the API has a version."""
    return f"/policy/versions/{version}" if version else "/policy"


def _version(name: str) -> int | None:
    if name == CURRENT:
        return 0
    return int(name) if re.fullmatch(r"[1-9][0-9]{0,15}", name) else None
