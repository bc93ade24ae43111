"""The operating manual names every option and every file there is."""

import re
from pathlib import Path

from typer.main import get_command

from cnnf.cli.main import app
from tests.contract.conftest import RunningConsole

MANUAL = (Path(__file__).parents[2] / "docs" / "operating" / "console.md").read_text("utf-8")


def test_every_option_is_documented() -> None:
    command = get_command(app).commands["console"]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {o for o in options if o.startswith("--")} == set(
        re.findall(r"^\| `(--[a-z-]+)`", MANUAL, re.MULTILINE)
    )
    for name in command.commands:
        assert f"cnnf console {name}" in MANUAL


def test_every_file_is_documented(console: RunningConsole) -> None:
    for path in console.data_dir.iterdir():
        name = re.sub(r"-(wal|shm)$", "", path.name)
        assert f"`{name}" in MANUAL, name
