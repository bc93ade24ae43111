"""Others of cnnf's kind. Each is left out, with a line that says why, where it is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.netns import Namespace

from bench.errors import Unfit


def netfilterqueue_missing() -> str:
    return "not yet"


def opensnitch_missing() -> str:
    return "not yet"


@contextmanager
def netfilterqueue(namespace: Namespace) -> Iterator[None]:
    raise Unfit(netfilterqueue_missing())
    yield


@contextmanager
def opensnitch(namespace: Namespace, directory: Path) -> Iterator[None]:
    raise Unfit(opensnitch_missing())
    yield
