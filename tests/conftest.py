"""What holds for all tests: which stay together, and that no example is timed."""

import os
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says how busy the machine is.
settings.register_profile("cnnf", deadline=None)
settings.load_profile("cnnf")

# What tests start is compiled once, as at a user's, and not at every start: of `cnnf up` that is a
# fifth of its work, and it is started a hundred times.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: What such a folder's tests share is dear to start, and lives as long as they run.
_TOGETHER = frozenset({"browser", "docker", "estate"})


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """Gives a worker all tests of a folder where much is shared, else of a file.

    By the path and not by marks (`xdist_group`): pytest 9.2 does not hear of those any more, and
    each worker then makes everything for itself.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = PurePath(nodeid.partition("::")[0])
        folder = file.parts[1]
        return folder if folder in _TOGETHER else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """However tests are distributed."""
    return Together(config, log)
