"""A container's end is seen by its first process, when it happens."""

import os
import select
import subprocess
import time
from collections.abc import Iterator

import pytest

from cnnf.defender.kernel import exits
from cnnf.defender.kernel.exits import ExitWatch
from tests.lab.units import Unit

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make cgroups")

ID = "cd" * 32


class Ends:
    """What the watch tells."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []
        self.watch = ExitWatch(lambda *end: self.told.append(end))

    def readable(self, within_s: float) -> bool:
        return bool(select.select([self.watch], [], [], within_s)[0])


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.watch.close()


@pytest.fixture
def unit() -> Iterator[Unit]:
    made = Unit(f"cnnf-exits-{ID}")
    yield made
    made.end()


def started(unit: Unit) -> "subprocess.Popen[bytes]":
    """A process of the container, once it is in its cgroup."""
    process = subprocess.Popen(
        unit.command("sh", "-c", "echo in; exec sleep 60"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    process.stdout.close()
    return process


def test_an_end_is_told_with_the_time_of_the_last_look(ends: Ends, unit: Unit) -> None:
    process = started(unit)
    assert ends.watch.watch(ID, process.pid)
    ends.watch.look()
    alive = time.time_ns() // 1_000_000
    assert not ends.readable(0)
    assert ends.told == []
    time.sleep(0.02)
    process.kill()
    before = time.monotonic()
    assert ends.readable(5)
    assert time.monotonic() - before < 1
    ends.watch.look()
    process.wait()
    ((container, ended, lived),) = ends.told
    assert container == ID
    assert lived <= alive < ended
    assert alive - lived < 1_000
    # Told once.
    ends.watch.look()
    assert len(ends.told) == 1
    assert not ends.readable(0)


def test_a_process_of_somebody_else_is_not_watched(ends: Ends, unit: Unit) -> None:
    process = started(unit)
    try:
        assert not ends.watch.watch("ef" * 32, process.pid)
        assert not ends.watch.watch(ID, os.getpid())
        assert not ends.watch.watch(ID, 0)
        assert not ends.watch.watch(ID, 2**22 + 1)
    finally:
        process.kill()
        process.wait()
    assert not ends.watch.watch(ID, process.pid)
    assert not ends.readable(0)


def test_who_is_forgotten_is_not_told_of(ends: Ends, unit: Unit) -> None:
    process = started(unit)
    assert ends.watch.watch(ID, process.pid)
    assert ends.watch.watch(ID, process.pid)
    ends.watch.forget(ID)
    ends.watch.forget(ID)
    process.kill()
    process.wait()
    ends.watch.look()
    assert ends.told == []


def test_no_more_are_watched_than_the_bound(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "EXITS_WATCHED_MAX", 0)
    process = started(unit)
    ends = Ends()
    try:
        assert not ends.watch.watch(ID, process.pid)
    finally:
        ends.watch.close()
        process.kill()
        process.wait()
