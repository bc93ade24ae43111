"""Writes docs/reference/commands.md: every command and option of `cnnf`, from the program itself.

Usage: .venv/bin/python scripts/reference_commands.py
A test fails when the committed page differs from what this writes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from cnnf.cli.main import app

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
_HEAD = """\
# Commands

Every command and option of `cnnf`, made from the program by `scripts/reference_commands.py`.
Every one also takes `--help` and `-h`. Exit codes: 0 done, 1 failed, 2 wrong usage, 130
interrupted. How they are used together: [running cnnf](../operating/running.md).
"""


def text() -> str:
    """The page."""
    return "\n".join([_HEAD, *_command(typer.main.get_command(app), "cnnf")])


def _command(command: Any, name: str) -> Iterator[str]:
    """The section of a command, then those of the commands below it.

    Typer has its own copy of click, whose classes it does not name: hence Any.
    """
    yield f"## `{name}`\n"
    # One line a paragraph: the source's line breaks are the source's.
    for paragraph in (command.help or "").split("\n\n"):
        yield " ".join(paragraph.split()) + "\n"
    options = [item for item in command.params if item.param_type_name == "option"]
    if options:
        yield "| option | default | environment | what for |"
        yield "|---|---|---|---|"
        for option in options:
            yield _row(option)
        yield ""
    for child, below in getattr(command, "commands", {}).items():
        yield from _command(below, f"{name} {child}")


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    default = option.default
    shown = "" if default is None or default is False or default == "" else f"`{default}`"
    variable = f"`{option.envvar}`" if option.envvar else ""
    what = option.help
    annotation = option.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        what += f" One of {', '.join(f'`{choice}`' for choice in get_args(annotation))}."
    if option.max is not None:
        what += f" From {option.min:,} to {option.max:,}."
    return f"| {names} | {shown} | {variable} | {what} |"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
