"""The Defender killed or interrupted at any step, and what earlier ones left: all of it is mended.

Whenever it is killed the kernel holds one whole generation, connections go on, and the next start
or `cnnf clean` takes everything back.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kernel.conftest import queues, wait_until_clean
from tests.kernel.guarded import POLICY, Guarded, guarded
from tests.lab import netns
from tests.lab.product import CNNF, eventually
from tests.lab.wrapped import Wrapped

pytestmark = pytest.mark.kernel

#: `nft` runs at the least in a start, and in an end.
START_RUNS_MIN, END_RUNS_MIN = 5, 3
READY_S = 40.0
#: Loops end when the Defender has gone, within milliseconds on an idle machine.
GONE_S = 5.0


class Defending:
    """`cnnf defender run` on a guarded host, whose Console is away."""

    def __init__(self, host: Guarded, nft: Wrapped) -> None:
        self.host, self.nft = host, nft
        self._process: subprocess.Popen[bytes] | None = None
        self._log = host.place / "defender.log"

    def start(self, *options: str) -> None:
        """Start it."""
        path = self.nft.path(os.environ["PATH"])
        directory = str(self.host.place / "data" / "defender")
        with self._log.open("wb") as log:
            self._process = self.host.here.start(
                *(*CNNF, "defender", "run", "--directory", directory),
                *("--policy", str(self.host.policy), *options),
                env={**os.environ, "PATH": path},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> None:
        """Wait until it says that it works."""

        def said() -> bool:
            text = self._log.read_text()
            assert self._process is not None
            assert self._process.poll() is None, text[-2000:]
            return "Defender ready" in text

        eventually(said, READY_S, "the Defender")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self) -> int:
        """How it ended."""
        assert self._process is not None
        code = self._process.wait(READY_S)
        self._process = None
        return code

    def end(self) -> None:
        """Kill what still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A host whose Defender has joined a Console that has gone since."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with guarded(tmp_path_factory.mktemp("crashes")) as made:
        product = made.product()
        product.start()
        assert product.stop() == 0
        wait_until_clean(made.here)
        yield made


@pytest.fixture
def defending(host: Guarded, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Defending]:
    """A Defender to be killed by its n-th `nft`, n stands in the file `at`; and what the table was
    before each run, in files `seen`."""
    run = (
        f"nsenter --net={host.here.path} $real -s list table inet cnnf"
        f" >{tmp_path}/seen.$$ 2>/dev/null\n"
        # Two that are begun at once have both the higher number.
        f"at=$(cat {tmp_path}/at)\n"
        f"[ $at != 0 ] && [ $number -ge $at ] && kill -9 $PPID && exit 1"
    )
    (tmp_path / "at").write_text("0")
    made = Defending(host, Wrapped(tmp_path, "nft", run))
    try:
        yield made
    finally:
        made.end()
        host.here.run(*CNNF, "clean")
        wait_until_clean(host.here)


def kill_at(defending: Defending, number: int) -> None:
    """Let the n-th run of nft from now on be the last thing the Defender does."""
    (defending.nft.directory.parent / "at").write_text(str(number))
    defending.nft.on()


def seen(defending: Defending) -> set[str]:
    """The table's states before each run of nft."""
    found = defending.nft.directory.parent.glob("seen.*")
    return {without_flows(path.read_text()) for path in found}


def without_flows(listing: str) -> str:
    """A listing without what was remembered of traffic."""
    kept, skipping = [], False
    for line in listing.splitlines():
        text = line.strip()
        if text.startswith("set "):
            dynamic = text.split()[1].partition("_")[0].rstrip("46") in (
                *("pass", "passed", "refuse", "refused"),
                *("answered", "reset", "asked"),
            )  # fmt: skip
        if text.startswith("elements") and dynamic:
            skipping = True
        if not skipping:
            kept.append(text)
        if skipping and text.endswith("}"):
            skipping = False
    return "\n".join(kept)


def whole(defending: Defending, states: set[str]) -> None:
    """What a killed Defender may leave: whole rules that let everything pass, and no process."""
    here = defending.host.here
    assert without_flows(here.run("nft", "-s", "list", "table", "inet", "cnnf", check=False)) in (
        states | {""}
    )
    defending.host.connect(3, 7400, 7401, 7402)
    eventually(lambda: queues(here) == [], GONE_S, "the queues")
    assert not [pid for pid in here.processes() if _is(pid, b"packetloop")]


def _is(pid: int, word: bytes) -> bool:
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_killed_at_every_step_of_start_and_end(defending: Defending) -> None:
    """Each start mends what the one before has left; the kernel always holds a whole generation."""
    kill_at(defending, 0)
    defending.start()
    defending.ready()
    at_start = defending.nft.off()
    kill_at(defending, 0)
    defending.signal(signal.SIGTERM)
    assert defending.wait() == 0
    at_end = defending.nft.off()
    assert at_start >= START_RUNS_MIN
    assert at_end >= END_RUNS_MIN
    states = seen(defending)
    assert len(states) >= 4
    for number in range(1, at_start):
        kill_at(defending, number)
        defending.start()
        assert defending.wait() == -signal.SIGKILL, number
        whole(defending, states)
    for number in range(1, at_end + 1):
        defending.nft.off()
        defending.start()
        defending.ready()
        kill_at(defending, number)
        defending.signal(signal.SIGTERM)
        code = defending.wait()
        # An end that fell into no generation's reading has a step less.
        assert code == -signal.SIGKILL or (code == 0 and number > END_RUNS_MIN)
        whole(defending, states)


def test_killed_at_every_step_of_a_change(defending: Defending) -> None:
    """The old policy or the new one, never something between, and connections go on."""
    policy = defending.host.policy
    try:
        for number in (1, 2):
            policy.write_text(POLICY)
            defending.nft.off()
            defending.start()
            defending.ready()
            before = without_flows(
                defending.host.here.run("nft", "-s", "list", "table", "inet", "cnnf")
            )
            policy.write_text(POLICY.replace("effect: prevent", "effect: alert"))
            # The counters are read by nft as well, so that a step may be a reading.
            kill_at(defending, number)
            assert defending.wait() == -signal.SIGKILL
            whole(defending, seen(defending) | {before})
    finally:
        policy.write_text(POLICY)


def random_moments(seconds: float, count: int) -> list[float]:
    """So many, one in each stretch of the time; the seed is told when one fails."""
    seed = time.time_ns()
    print("seed", seed)
    chance = random.Random(seed)
    return [seconds * (n + chance.random()) / count for n in range(count)]


def test_killed_at_any_moment(defending: Defending) -> None:
    """At random moments of its start, without a thought for steps."""
    for moment in random_moments(3.0, 3):
        defending.start()
        time.sleep(moment)
        defending.signal(signal.SIGKILL)
        defending.wait()
        eventually(lambda: queues(defending.host.here) == [], GONE_S, "the queues")
        defending.host.connect(3, 7400, 7401, 7402)
    said = defending.host.here.run(*CNNF, "clean", "--json")
    assert json.loads(said)["stopped"] is None
    wait_until_clean(defending.host.here)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_any_moment(defending: Defending, number: signal.Signals) -> None:
    """Ctrl-C while it starts: nothing is left, whenever it comes."""
    here = defending.host.here
    for moment in random_moments(3.0, 2):
        defending.start()
        time.sleep(moment)
        defending.signal(number)
        assert defending.wait() in (0, 130, 143, -number, 1), moment
        wait_until_clean(here)
        assert not [pid for pid in here.processes() if _is(pid, b"cnnf")]


def test_cnnf_up_interrupted_at_any_moment(host: Guarded, tmp_path: Path) -> None:
    """Console, Defender and loops are gone; so is everything in the kernel."""
    for moment in random_moments(6.0, 3):
        with (tmp_path / "log").open("wb") as log:
            process = host.here.start(
                *(*CNNF, "up", "--enable", "--data-dir", str(tmp_path / "data")),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        assert process.wait(READY_S) in (130, -signal.SIGINT)
        wait_until_clean(host.here)
        eventually(
            lambda: not [pid for pid in host.here.processes() if _is(pid, b"cnnf")],
            GONE_S,
            "the processes",
        )
        assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("way", ["start", "clean"])
def test_leftovers_of_earlier_versions(defending: Defending, way: str) -> None:
    """Their iptables rules and their table go; what is not ours stays."""
    here = defending.host.here
    here.run("iptables", "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--dport", "1", "-j", "DROP")
    foreign = {family: here.run(f"{family}-save") for family in ("iptables", "ip6tables")}
    ours = ("-m", "comment", "--comment", "cnnf")
    queue = ("-j", "NFQUEUE", "--queue-balance", "8030:8031", "--queue-bypass")
    for family in ("iptables", "ip6tables"):
        for table, chain in (("raw", "PREROUTING"), ("security", "INPUT"), ("security", "FORWARD")):
            here.run(family, "-t", table, "-A", chain, "-p", "tcp", *ours, *queue)
    here.run(
        "nft",
        "table inet cnnf { set judged4 { type ipv4_addr; elements = { 10.0.0.1 }; }; "
        "chain known { type filter hook input priority 140; ip saddr @judged4 accept; }; "
        "chain remember { type filter hook output priority 160; }; }",
    )
    if way == "start":
        defending.start()
        defending.ready()
        listed = here.run("nft", "list", "table", "inet", "cnnf")
        assert "judged4" not in listed
        assert "chain remember" not in listed
    else:
        assert json.loads(here.run(*CNNF, "clean", "--json"))["rules_removed"] is True
    for family, before in foreign.items():
        now = here.run(f"{family}-save")
        assert _rules(now) == _rules(before)
    if way == "start":
        defending.signal(signal.SIGTERM)
        assert defending.wait() == 0
    wait_until_clean(here)


def _rules(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if line.startswith("-A")]
