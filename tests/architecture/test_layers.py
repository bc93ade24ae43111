"""The house's floors (.importlinter) hold, and no room is outside them."""

import configparser
import subprocess
import sys

from tests.architecture.sources import PACKAGE, ROOT

_COMMAND = (
    "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
)

#: Rooms that no contract of their program's rooms places, and why.
UNPLACED = {
    "console": {
        "authority": "certificates; used by the composition root and the API",
        "credentials": "first-start credentials; used by the composition root and the command line",
        "data_directory": "the one directory; used by the composition root",
        "listeners": "sockets; used by the composition root",
        "errors": "the error tree, below everything",
        "limits": "numbers, below everything",
    },
    "defender": {},
}


def test_the_contracts_hold() -> None:
    # In a process of its own: the linter keeps state and prints.
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_has_its_floor() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    for program, unplaced in UNPLACED.items():
        layers = contracts[f"importlinter:contract:{program}-rooms"]["layers"]
        placed = {name.rpartition(".")[2] for name in layers.replace("|", " ").split()}
        rooms = {
            path.stem
            for path in (PACKAGE / program).iterdir()
            if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
        }
        assert rooms - placed == set(unplaced), f"{program}: place new rooms in .importlinter"


def test_the_floors_name_every_program() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:floors"]["layers"]
    placed = set(layers.replace("|", " ").split())
    packages = {f"cnnf.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    assert placed == packages
