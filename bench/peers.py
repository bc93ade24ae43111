"""What it costs to know 20,000 ends elsewhere: memory, loading, and forgetting one of them.

Measured in a process of its own, which is how much memory it takes that is asked; the loops are the
compiled ones, the rest the Defender's own parts in that process.
"""

import gc
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tests.native.harness import Loop, queued, segment

from bench.benchmark import Benchmark, Tell
from bench.errors import BenchError
from bench.rows import Row, Target, single
from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.limits import PEERS_MAX
from cnnf.defender.core.observations import Order
from cnnf.defender.core.peers import Peers, identity_of, sought_of
from cnnf.defender.core.peers_form import decode_peers, encode_peers
from cnnf.defender.core.plan import Scopes
from cnnf.defender.core.tables import Place, Tables
from cnnf.defender.judging import Judging
from cnnf.defender.netlink.nfqueue import FORWARD
from cnnf.policy.compiled import compile_policy
from cnnf.policy.form import parse_policy
from cnnf.protocol.messages import Answer, Answers, Known, Stale

NAME = "peers"
_CASE = "known-20000"
_SECONDS = 20.0
LOOPS = 2
HOSTS = 4_000
MEMORY_MB_MAX = 20.0
LOAD_MS_MAX = 1_000.0
STALE_MS_MAX = 10.0
STALE_TRIES = 50

POLICY = """
apiVersion: cnnf/v1
networkObjects:
  - {name: odd, type: image, values: ["shop/app-1:*", "shop/app-3:*"]}
rules:
  containers:
    - {name: none of these, source: [odd], effect: prevent}
"""


class Services:
    """A host without services."""

    named: frozenset[int] = frozenset()


class Fleet:
    """Some loops, told as the daemon tells them."""

    def __init__(self) -> None:
        self.loops = [Loop("native") for _ in range(LOOPS)]

    def tell(self, order: Order) -> None:
        """To each."""
        for loop in self.loops:
            loop.tell(order)

    def prepare(self, tables: Tables) -> None:
        """To each."""
        for loop in self.loops:
            loop.prepare(tables)

    def barrier(self) -> None:
        """All have followed."""
        for loop in self.loops:
            loop.barrier()


def place(number: int) -> Place:
    """One of many: five ends on each of the hosts."""
    host, which = divmod(number, PEERS_MAX // HOSTS)
    address = (10 << 24 | host).to_bytes(4)
    return (address, 0, 0) if not which else (address, 8_000 + which, 6)


def known(number: int) -> list[Known]:
    """Who is there: apps with labels, a host's several behind its address."""
    labels = {"app.example/name": f"app-{number % 400}", "app.example/tier": "back"}
    return [
        Known(
            kind="container",
            name=f"shop/app-{(number + more) % 400}",
            tag="1.4",
            host=f"host-{number // (PEERS_MAX // HOSTS)}",
            namespace="prod",
            labels=labels,
        )
        for more in range(3 if not number % (PEERS_MAX // HOSTS) else 1)
    ]


def fill(peers: Peers) -> None:
    """Everybody met, asked for and answered."""
    for first in range(0, PEERS_MAX, 500):
        for number in range(first, first + 500):
            assert peers.meet(place(number), 1)
        asked = [sought_of(one) for one in peers.question(500)]
        answers = [
            Answer(
                address=one.address, port=one.port, protocol=one.protocol,
                candidates=known(first + at),
            )
            for at, one in enumerate(asked)
        ]  # fmt: skip
        peers.answered(Answers(generation=1, answers=answers), 1)


def resident(pid: str = "self") -> float:
    """A process's resident memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def measure() -> list[Row]:
    """All figures. The numbers of a peer's classes do not matter: few rules, few classes."""
    fleet, peers = Fleet(), Peers()
    judging = Judging(AddressBook(), Services(), "here", peers)  # type: ignore[arg-type]
    judging.change(
        Scopes(containers=True, hosts=True),
        compile_policy(parse_policy(POLICY, subject="the bench's")),
    )
    fleet.prepare(judging.tables())
    fleet.barrier()
    gc.collect()
    before = resident(), [resident(str(loop.process.pid)) for loop in fleet.loops]
    fill(peers)
    fleet.prepare(judging.tables())
    fleet.barrier()
    gc.collect()
    daemon = resident() - before[0]
    loops = sum(
        resident(str(loop.process.pid)) - one
        for loop, one in zip(fleet.loops, before[1], strict=True)
    )
    kept = encode_peers("bench", (), list(peers.kept()))
    started = time.perf_counter()
    again = Peers()
    again.restore(decode_peers(kept, "bench")[1])
    loading = (time.perf_counter() - started) * 1000
    assert len(again) == len(peers) == PEERS_MAX
    stale = sorted(_forget(judging, peers, fleet, number) for number in range(STALE_TRIES))
    for loop in fleet.loops:
        assert loop.close() == 0
    name = f"{NAME}-{_CASE}"
    return [
        single(f"{name}-memory-daemon", "MB", daemon),
        single(f"{name}-memory-{LOOPS}-loops", "MB", loops),
        single(f"{name}-memory", "MB", daemon + loops, Target(at_most=MEMORY_MB_MAX)),
        single(f"{name}-load", "ms", loading, Target(at_most=LOAD_MS_MAX)),
        single(f"{name}-stale-p50", "ms", stale[len(stale) // 2], Target(at_most=STALE_MS_MAX)),
        single(f"{name}-stale-slowest", "ms", stale[-1], Target(at_most=STALE_MS_MAX)),
    ]


def _forget(judging: Judging, peers: Peers, fleet: Fleet, number: int) -> float:
    """Milliseconds from the news until a packet is judged without what was known."""
    address, _, _ = place(number * 5)
    text = ".".join(map(str, address))
    packet = queued(number + 1, FORWARD, segment(address, bytes([192, 0, 2, 1]), 80))
    started = time.perf_counter()
    judging.tell_peers(fleet, peers.stale(Stale(generation=2, addresses=[text]), 1))  # type: ignore[arg-type]
    for loop in fleet.loops:
        loop.kernel.send(packet)
    for loop in fleet.loops:
        loop.read_until(lambda: any(one.id == number + 1 for one in loop.verdicts))  # noqa: B023
    took = (time.perf_counter() - started) * 1000
    for loop in fleet.loops:
        loop.barrier()
        assert (address, 0, 0) in {one for report in loop.reports for one in report.sought}
    return took


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    tell(f"{NAME}-{_CASE}: {PEERS_MAX:,} ends in {LOOPS} loops")
    command = [sys.executable, "-m", "bench.peers"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise BenchError(f"{NAME}-{_CASE}: {done.stderr.decode(errors='replace')[-2_000:]}")
    return msgspec.json.decode(done.stdout, type=list[Row])


BENCHMARK = Benchmark(name=NAME, cases={_CASE: _SECONDS}, measure=_measure)

if __name__ == "__main__":
    assert identity_of(known(1)[0]).labels
    sys.stdout.buffer.write(msgspec.json.encode(measure()))
