"""Console on one host, Defender on another: joined, cut off, killed, removed; counted once."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kernel.conftest import ROOT, TRAFFIC, failed, wait_until_clean
from tests.lab import netns
from tests.lab.apart import ConsoleAlone, DefenderAlone
from tests.lab.netns import Namespace, veth
from tests.lab.product import eventually
from tests.lab.units import Unit

pytestmark = pytest.mark.kernel

CONSOLE, HOST = "10.74.1.1", "10.74.1.2"
PORT = 7003
_PIPED = {"stdout": subprocess.PIPE, "cwd": ROOT}


class Estate:
    """Two hosts with a wire between them, and a client that connects from one to the other."""

    def __init__(self, here: Namespace, there: Namespace, place: Path, cleanup: ExitStack) -> None:
        veth(here, "eth0", there, "eth0")
        here.address("eth0", f"{CONSOLE}/24")
        there.address("eth0", f"{HOST}/24")
        self.there = there
        self.console = ConsoleAlone(here, place, CONSOLE)
        self.defender = DefenderAlone(there, place, "far-host")
        self.unit = Unit("apart-client")
        server = here.start(*TRAFFIC, "serve", CONSOLE, str(PORT), **_PIPED)
        for end in (self.unit.end, self.console.end, self.defender.end):
            cleanup.callback(end)
        cleanup.callback(server.communicate)
        cleanup.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline() == b"serving\n"

    def connect(self, count: int) -> None:
        """Connect so often, each with success."""
        command = self.unit.command(*TRAFFIC, "connect", str(count), CONSOLE, str(PORT))
        assert failed(self.there.start(*command, **_PIPED)) == 0

    def counted(self) -> int:
        """What Radar shows of it."""
        edges = self.console.radar("hosts").edges
        return sum(
            port["connections"]
            for (source, _, number), port in edges.items()
            if source == "apart-client" and number == PORT
        )

    def judges(self) -> bool:
        """Has the Defender said that it does?"""
        (one,) = self.console.get("/defenders")
        return bool(one["live"] and one["applied"] and one["applied"]["hosts"])


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    """Both programs run, the Defender has joined and judges."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    with ExitStack() as cleanup:
        here, there = cleanup.enter_context(netns.namespaces(2))
        made = Estate(here, there, tmp_path, cleanup)
        made.console.start()
        made.defender.join(made.console)
        made.console.enable(containers=True, hosts=True)
        made.defender.start()
        eventually(made.judges, 15.0, "the Defender to judge")
        yield made


def test_what_happens_while_the_console_is_gone_arrives_once(estate: Estate) -> None:
    console, defender = estate.console, estate.defender
    estate.connect(5)
    eventually(lambda: estate.counted() == 5, 15.0, "the first connections")
    assert defender.segments == []

    console.kill()
    estate.connect(7)
    # Told to the disk, not to memory alone: counted, gathered, and put there after a while.
    eventually(lambda: defender.segments, 25.0, "a segment")
    estate.connect(3)
    # It is asked to end, and keeps the rest; then another process goes on, without the Console.
    assert defender.stop() == 0
    wait_until_clean(estate.there)
    kept = sum(path.stat().st_size for path in defender.segments)
    defender.start()
    estate.connect(11)
    assert sum(path.stat().st_size for path in defender.segments) >= kept

    (console.data / "console.json").unlink()
    console.start()
    eventually(lambda: estate.counted() >= 26, 40.0, "what happened meanwhile")
    eventually(lambda: not defender.segments, 15.0, "the disk to be empty")
    # The next batches come over what is there now, and nothing comes twice.
    time.sleep(3)
    assert estate.counted() == 26
    (one,) = console.get("/defenders")
    assert one["live"]
    assert one["addresses"][:1] == [HOST]
    assert [condition["code"] for condition in one["conditions"]] == []
    eventually(
        lambda: console.get("/defenders")[0]["spool"]["bytes"] == 0, 15.0, "the spool to be told"
    )
    assert defender.stop() == 0


def test_one_that_is_killed_loses_no_more_than_its_last_seconds(estate: Estate) -> None:
    console, defender = estate.console, estate.defender
    console.kill()
    estate.connect(9)
    eventually(lambda: defender.segments, 25.0, "a segment")
    time.sleep(12)
    defender.kill()
    defender.start()
    (console.data / "console.json").unlink()
    console.start()
    eventually(lambda: estate.counted() >= 9, 40.0, "what was on disk")
    time.sleep(3)
    assert estate.counted() == 9
    assert defender.stop() == 0


def test_one_that_is_removed_is_told_and_goes_on_with_what_it_has(estate: Estate) -> None:
    estate.console.command("defenders", "remove", "far-host")
    eventually(lambda: "not enrolled here" in estate.defender.printed, 30.0, "the refusal")
    assert "cnnf defender join --again" in estate.defender.printed
    assert estate.console.get("/defenders") == []
    estate.connect(2)
    assert estate.defender.stop() == 0
    wait_until_clean(estate.there)
