"""Both loops have the same bounds, by the same names."""

import re
from pathlib import Path

import pytest

from cnnf.defender.core import limits

TEXT = (Path(__file__).parents[2] / "native" / "src" / "limits.rs").read_text()
BOUNDS = re.findall(r"pub const (\w+): \w+ = ([\d_]+);", TEXT)


def test_every_line_is_read() -> None:
    assert len(BOUNDS) == TEXT.count("const ") > 20


@pytest.mark.parametrize(("name", "value"), BOUNDS)
def test_the_native_loops_bound_is_the_programs(name: str, value: str) -> None:
    assert getattr(limits, name) == int(value)
