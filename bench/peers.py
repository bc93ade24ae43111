"""What it costs to know 20,000 ends elsewhere: memory, loading, and forgetting one of them.

`python -m bench.peers` prints a line a figure with its target, and fails where one is missed. The
loop is the compiled one as a process, the rest the Defender's own parts in this one.
"""

import gc
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.native.harness import Loop, queued, segment

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


class Row(NamedTuple):
    """One figure and the most it may be."""

    what: str
    value: float
    unit: str
    most: float


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
    return [
        Row(f"memory for {PEERS_MAX:,} ends, the daemon", daemon, "MB", MEMORY_MB_MAX),
        Row(f"memory for them, {LOOPS} loops", loops, "MB", MEMORY_MB_MAX),
        Row("memory for them, together", daemon + loops, "MB", MEMORY_MB_MAX),
        Row(f"loading them from {len(kept) / 1e6:.1f} MB", loading, "ms", LOAD_MS_MAX),
        Row("a stale address forgotten in all loops, median", stale[len(stale) // 2], "ms",
            STALE_MS_MAX),
        Row("the same, slowest", stale[-1], "ms", STALE_MS_MAX),
    ]  # fmt: skip


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


def main() -> int:
    """Print every figure; 1 when a target is missed."""
    assert identity_of(known(1)[0]).labels
    missed = 0
    for row in measure():
        met = row.value <= row.most
        missed += not met
        print(
            f"{row.what:55} {row.value:9.2f} {row.unit:3} (at most {row.most:g})"
            f"{'' if met else '  MISSED'}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
