"""Every command and every option of the command line is in the documentation."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from typer.main import get_command

from cnnf.cli.main import app
from tests.architecture.sources import ROOT

MANUALS = ("README.md", "docs/operating", "docs/reference")


@cache
def manuals() -> str:
    """The text of every manual, one after the other."""
    texts = []
    for name in MANUALS:
        place = ROOT / name
        pages = sorted(place.rglob("*.md")) if place.is_dir() else [place]
        texts += [page.read_text("utf-8") for page in pages]
    return "\n".join(texts)


def commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every command a user can type below this one, with its full name.

    Untyped: Typer carries a click of its own, whose classes are not click's.
    """
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield " ".join(path), command
    for name, child in children.items():
        if not child.hidden:
            yield from commands(child, (*path, name))


COMMANDS = dict(commands(get_command(app), ("cnnf",)))
OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.param_type_name == "option" and not parameter.hidden
    for option in (*parameter.opts, *parameter.secondary_opts)
    if option.startswith("--")
]


def test_the_command_tree_is_seen() -> None:
    assert {"cnnf up", "cnnf radar", "cnnf doctor", "cnnf clean", "cnnf demo"} <= set(COMMANDS)
    assert ("cnnf up", "--enable") in OPTIONS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert re.search(rf"\b{re.escape(name)}\b", manuals()), f"no manual mentions `{name}`"


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=" ".join)
def test_every_option_is_documented(name: str, option: str) -> None:
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", manuals()), (
        f"no manual mentions `{name} {option}`"
    )
