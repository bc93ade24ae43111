"""What the Defender keeps of root's powers is told where people decide whether to run it."""

from cnnf.defender.kernel.privileges import DAEMON, LOOP
from tests.architecture.sources import ROOT


def test_every_capability_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
    _, _, section = page.partition("## The Defender's privileges")
    table = section.partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = {name.strip(" `") for row in rows for name in row.split(",")}
    assert documented == set(DAEMON)
    assert set(LOOP) <= documented
