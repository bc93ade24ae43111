"""The operating manual names every option and every file there is."""

import json
import re
from pathlib import Path

import msgspec
from typer.main import get_command

from cnnf.cli.main import app
from cnnf.console import limits
from cnnf.console.api.applications import document
from cnnf.console.core.event_form import EventForm
from tests.contract.conftest import RunningConsole

OPERATING = Path(__file__).parents[2] / "docs" / "operating"
MANUAL = (OPERATING / "console.md").read_text("utf-8")
EVENTS = (OPERATING / "events.md").read_text("utf-8")


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


def test_the_documented_event_is_one() -> None:
    example = re.search(r"```json\n(.*?)```", EVENTS, re.DOTALL)
    assert example is not None
    (event,) = msgspec.json.decode(example[1], type=list[EventForm])
    # Every field, and no other.
    assert json.loads(msgspec.json.encode([event])) == json.loads(example[1])


def test_every_filter_and_bound_of_events_is_documented() -> None:
    operation = document()["paths"]["/api/v1/events"]["get"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    documented = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", EVENTS, re.MULTILINE)
    assert names <= {name for row in documented for name in re.findall(r"`([a-z_]+)`", row)}
    for bound in (limits.EVENTS_PAGE_MAX, limits.EVENTS_REPLAY_MAX, limits.EVENTS_MAX,
                  limits.EVENT_PORTS_MAX, limits.EVENTS_STREAM_PAGE,
                  limits.EVENTS_KEPT_MS // limits.DAY_MS):  # fmt: skip
        assert re.search(rf"\b{bound:,}\b", EVENTS), bound


def test_every_setting_is_documented() -> None:
    parts = document()["components"]["schemas"]["Settings"]["properties"].keys()
    assert [part for part in parts if f"`{part}`" not in EVENTS + MANUAL] == []
