"""The sources as the tests of this folder read them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "cnnf"


def modules(folder: Path = PACKAGE) -> list[Path]:
    """Every Python file below a folder."""
    found = sorted(folder.rglob("*.py"))
    assert found, f"no modules in {folder}"
    return found


def parse(path: Path) -> ast.Module:
    """The module's tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def name_of(path: Path) -> str:
    """The module's dotted name."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
