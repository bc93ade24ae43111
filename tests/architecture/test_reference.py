"""The generated reference is what the programs say now."""

import re
import runpy
from pathlib import Path

from cnnf.defender.core.conditions import SEVERITIES

_ROOT = Path(__file__).parent.parent.parent


def test_commands_page_is_what_the_program_says() -> None:
    generator = runpy.run_path(str(_ROOT / "scripts" / "reference_commands.py"))
    page = generator["PAGE"].read_text(encoding="utf-8")
    assert page == generator["text"](), "run: .venv/bin/python scripts/reference_commands.py"


def test_documented_links_lead_somewhere() -> None:
    broken = []
    for page in _pages():
        text = page.read_text(encoding="utf-8")
        for target in _links(text):
            path = (page.parent / target.partition("#")[0]).resolve()
            if not path.exists():
                broken.append(f"{page.relative_to(_ROOT)}: {target}")
    assert not broken


def test_condition_codes_are_documented() -> None:
    page = (_ROOT / "docs" / "operating" / "datapath.md").read_text(encoding="utf-8")
    assert [code for code in SEVERITIES if f"`{code}`" not in page] == []


def _pages() -> list[Path]:
    return [*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md")]


def _links(text: str) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not link.startswith(("http:", "https:", "#", "mailto:"))]
