"""What holds for all tests: which stay together, and that no example is timed."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("cnnf", deadline=None)
settings.load_profile("cnnf")

# What tests start is compiled once, as at a user's, and not at every start: of `cnnf up` that is a
# fifth of its work, and it is started a hundred times.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_HERE = Path(__file__).parent
#: What such a folder's tests share is dear to start, and lives as long as they run.
_TOGETHER = frozenset({"browser", "docker", "estate"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its group: its folder where much is shared, else its file."""
    for item in items:
        place = item.path.relative_to(_HERE)
        folder = place.parts[0]
        group = folder if folder in _TOGETHER else str(place)
        item.add_marker(pytest.mark.xdist_group(group))
