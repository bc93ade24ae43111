"""Both loops answer the same script alike: verdicts, counts, counters; every packet exactly once.

The loops live on from one example to the next, as they do in use: each example begins with tables
of its own, and ends with nothing held.
"""

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random
from typing import NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cnnf.defender.core.observations import Cgroups, Confirm, Endpoints, Looked, Order, Seen
from cnnf.defender.core.tables import ANYONE, PREVENT, Tables, pack_rules
from cnnf.defender.netlink.nfqueue import NF_DROP, NF_REPEAT, OUTPUT
from tests.native.harness import Flow, Loop, Verdict, queued, running, segment
from tests.unit.defender.core.rulings import (
    CGROUPS,
    PLAIN_V6,
    PORTS,
    V4,
    V6,
    random_tables,
)


class Sent(NamedTuple):
    """A message of the queue but for the packet's number."""

    hook: int
    payload: bytes | None
    mark: int
    device: int
    uid: int


#: Every end elsewhere that a script may meet.
PLACES = [
    (address, *at)
    for address in [*V4, *PLAIN_V6]
    for at in [(0, 0), *((port, protocol) for port in PORTS for protocol in (6, 17))]
]

Step = Tables | Order | list[Sent]
T = TypeVar("T")


def random_sent(random: Random) -> Sent:
    """A packet between addresses of one family; now and then one that can't be read."""
    pool = random.choice([V4, V6])
    payload: bytes | None = segment(
        random.choice(pool),
        random.choice(pool),
        random.choice(PORTS),
        protocol=random.choice([6, 6, 17, 17, 1]),
        headers=bytes(random.choices([0, 43, 60, 135], k=random.randint(0, 3))),
        fragment=random.choice([0, 0, 0, 0, 1, 0x1000, 0x2000]),
        source_port=900,
    )
    assert payload is not None
    spoil = random.random()
    if spoil < 0.05:
        payload = payload[: random.randint(0, 60)]
    elif spoil < 0.08:
        payload = None
    elif spoil < 0.11:
        payload = random.randbytes(random.randint(0, 80))
    return Sent(
        random.choice([0, 1, 1, 2, 2, 2, 3, 3, 4, 255]),
        payload,
        random.choice([0, 0x400, 0xFFFF_FFFF, 0xC000]),
        random.choice([0, 1]),
        random.choice([-1, 0, 1_000]),
    )


def random_order(random: Random) -> Order:
    """Not all are good for all tables: what one loop refuses the other has to refuse, too."""

    def candidate() -> int:
        return random.randint(0, 5)

    def address() -> bytes:
        return random.choice([*V4, *PLAIN_V6])

    def anybody() -> int:
        return random.choice([ANYONE, candidate()])

    def place() -> tuple[bytes, int, int]:
        return random.choice(PLACES)

    def membership() -> tuple[bytes, bytes]:
        return random.choice([b"", address()]), address()

    def several(make: Callable[[], T], most: int) -> list[T]:
        return [make() for _ in range(random.randint(0, most))]

    def leads_to() -> int:
        return random.choice([0, 0, *PORTS])

    kind = random.randrange(7)
    if kind == 0:
        return Cgroups(
            several(lambda: (random.choice(CGROUPS), candidate()), 2),
            several(lambda: random.choice(CGROUPS), 2),
        )
    if kind == 1:
        return Looked(random.randint(0, 9), several(lambda: (random.randint(1, 9), candidate()), 2))
    if kind == 2:
        return Confirm(random.randint(0, 99))
    rules = [b"", pack_rules(1), pack_rules(9)]
    return Endpoints(
        several(lambda: (random.choice(rules), random.choice(rules)), 2),
        several(lambda: (address(), several(candidate, 2) or [candidate()]), 3),
        several(address, 2),
        random.choice(
            [
                None,
                several(
                    lambda: (
                        random.choice(PORTS),
                        random.choice([b"", address()]),
                        candidate(),
                        leads_to(),
                    ),
                    2,
                ),
            ]
        ),
        random.choice([None, several(address, 2)]),
        several(lambda: (*place(), several(anybody, 2) or [anybody()], leads_to()), 3),
        several(place, 3),
        several(lambda: (*membership(), random.randint(0, 5)), 3),
        several(membership, 3),
    )


def random_script(seed: int) -> list[Step]:
    """Tables, and then packets, orders and other tables in any order."""
    random = Random(seed)
    steps: list[Step] = []
    for number in range(random.randint(2, 8)):
        kind = random.random() if number else 0.9
        if kind < 0.5:
            steps.append([random_sent(random) for _ in range(random.randint(1, 30))])
        elif kind < 0.8:
            steps.append(random_order(random))
        else:
            # Containers that are waited for are waited for until they are told or tables change.
            wait_ms = random.choice([0, 10_000])
            # And so are ends elsewhere; a minute is for ever here.
            tables = replace(random_tables(random), stranger_ms=random.choice([0, 10_000]))
            steps.append(replace(tables, wait_ms=wait_ms))
    return [*steps, [random_sent(random) for _ in range(10)]]


class Outcome(NamedTuple):
    """Everything that one example made a loop say."""

    verdicts: dict[int, Verdict]
    counts: Counter[tuple[object, ...]]
    packets: int
    undecodable: int
    unaccounted: int
    dropped: int
    delayed: int
    sought: set[tuple[bytes, int, int]]


class Run:
    """A loop that plays one example after the other."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.number = self.version = 0

    def play(self, steps: list[Step]) -> tuple[Outcome, int]:
        """The outcome, and how many packets were sent. Numbers begin anew in the outcome."""
        loop, first, first_version = self.loop, self.number + 1, self.version + 1
        loop.barrier()
        before = loop.last
        loop.verdicts.clear()
        loop.reports.clear()
        # Whom it met in another example is new again.
        for step in [Tables(version=0), Endpoints(gone=PLACES), *steps]:
            self._step(step)
        # Nothing is waited for by these.
        self._step(Tables(version=0))
        loop.barrier()
        last = loop.last
        assert len(loop.verdicts) == self.number + 1 - first
        verdicts = {one.id - first: one._replace(id=one.id - first) for one in loop.verdicts}
        assert len(verdicts) == len(loop.verdicts)
        counts: Counter[tuple[object, ...]] = Counter()
        for flow, count in loop.counts().items():
            counts[flow._replace(version=flow.version - first_version)] += count
        return Outcome(
            verdicts,
            counts,
            last.packets - before.packets,
            last.undecodable - before.undecodable,
            last.unaccounted - before.unaccounted,
            last.dropped - before.dropped,
            last.delayed - before.delayed,
            {place for report in loop.reports for place in report.sought},
        ), len(verdicts)

    def _step(self, step: Step) -> None:
        if isinstance(step, Tables):
            self.version += 1
            self.loop.prepare(replace(step, version=self.version))
        elif isinstance(step, list):
            for one in step:
                self.number += 1
                self.loop.kernel.send(
                    queued(
                        self.number, one.hook, one.payload,
                        mark=one.mark, device=one.device, uid=one.uid,
                    )
                )  # fmt: skip
            self.loop.barrier()
        else:
            self.loop.tell(step)


@pytest.fixture(scope="module", params=[False, True], ids=["open", "closed"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Run, Run]]:
    """The native loop and its reference, failing open or closed."""
    with ExitStack() as stack:
        native, python = (
            stack.enter_context(running(kind, fail_closed=request.param))
            for kind in ("native", "python")
        )
        for loop in (native, python):
            loop.prepare(Tables(version=0))
        yield Run(native), Run(python)


@settings(
    max_examples=60,
    deadline=None,
    # The loops are meant to live on.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**64 - 1))
def test_both_answer_alike(pair: tuple[Run, Run], seed: int) -> None:
    steps = random_script(seed)
    (native, count), (python, _) = (run.play(steps) for run in pair)
    assert native == python
    assert native.packets == count
    counted = sum(native.counts.values()) + native.unaccounted
    # What is not counted as a flow is counted as what could not be read or judged.
    unread = native.undecodable + native.dropped + native.delayed
    assert count - unread <= counted <= count - native.delayed
    assert {verdict.decision for verdict in native.verdicts.values()} <= {NF_REPEAT, NF_DROP}


# --- flows of this host: real sockets, as the kernel knows them


@pytest.fixture(params=["native", "python"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    """Either loop."""
    with running(request.param) as loop:
        yield loop


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, bytes]]:
    """A connected socket of ours, and its SYN."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        yield client, syn_of(client)


def syn_of(client: socket.socket, protocol: int = 6) -> bytes:
    """What the socket sent when it began."""
    (source, source_port), (destination, port) = client.getsockname(), client.getpeername()
    return segment(
        socket.inet_aton(source),
        socket.inet_aton(destination),
        port,
        source_port=source_port,
        protocol=protocol,
    )


def inode_of(sock: socket.socket) -> int:
    """The socket's inode."""
    return os.fstat(sock.fileno()).st_ino


#: Host rules: rule 0 prevents class 1 as a source.
BY_OWNER = Tables(
    version=1,
    hosts=True,
    effects=bytes([PREVENT]),
    tcp=pack_rules(1),
    udp=pack_rules(1),
    any_destination=pack_rules(1),
    port_rules=[pack_rules(1)],
    classes=[(b"", b""), (pack_rules(1), b"")],
    hold_ms=10_000,
    holds_per_second=1_000,
)
JUDGED, REFUSE, REMEMBER = 0x2000, 0x1000, 0x0800


def looks(loop: Loop) -> list[tuple[int, Seen]]:
    """What the daemon was asked to look at, by number."""
    return [(report.held, seen) for report in loop.reports if report.held for seen in report.flows]


@pytest.mark.parametrize(("owner", "mark"), [(2, JUDGED | REFUSE), (0, JUDGED), (None, JUDGED)])
def test_an_unknown_program_is_looked_at_before_it_is_judged(
    loop: Loop, connection: tuple[socket.socket, bytes], owner: int | None, mark: int
) -> None:
    client, syn = connection
    loop.prepare(BY_OWNER)
    loop.kernel.send(queued(1, OUTPUT, syn, uid=0))
    loop.read_until(lambda: looks(loop))
    ((held, seen),) = looks(loop)
    assert (seen.inode, seen.count, seen.protocol) == (inode_of(client), 0, 6)
    assert loop.verdicts == []
    loop.tell(Looked(held - 1))
    loop.barrier()
    assert loop.verdicts == []
    loop.tell(Looked(held, [] if owner is None else [(seen.inode, owner)]))
    loop.read_until(lambda: loop.verdicts)
    # Never remembered: its cgroup does not tell its program.
    assert loop.verdicts == [Verdict(1, NF_REPEAT, mark)]
    loop.barrier()
    (flow,) = loop.counts()
    assert loop.counts()[flow] == 1
    assert (flow.inode, flow.cgroup) == (seen.inode, seen.cgroup)
    assert flow.effect == (PREVENT if owner == 2 else 0)


def test_it_is_let_go_after_a_time(loop: Loop, connection: tuple[socket.socket, bytes]) -> None:
    loop.prepare(replace(BY_OWNER, hold_ms=30))
    assert loop.answer_of(queued(1, OUTPUT, connection[1]), 1).mark == JUDGED
    assert len(looks(loop)) == 1


def test_no_more_are_held_than_a_second_allows(
    loop: Loop, connection: tuple[socket.socket, bytes]
) -> None:
    loop.prepare(replace(BY_OWNER, holds_per_second=2))
    for number in (1, 2, 3, 4):
        loop.kernel.send(queued(number, OUTPUT, connection[1]))
        loop.barrier()
    assert [verdict.id for verdict in loop.verdicts] == [3, 4]
    assert [held for held, _ in looks(loop)] == [1, 2]
    loop.tell(Looked(2))
    loop.barrier()
    assert sorted(verdict.id for verdict in loop.verdicts) == [1, 2, 3, 4]


def test_a_named_cgroup_is_judged_and_remembered(
    loop: Loop, connection: tuple[socket.socket, bytes]
) -> None:
    loop.prepare(replace(BY_OWNER, hold_ms=30))
    loop.answer_of(queued(1, OUTPUT, connection[1]), 1)
    ((_, seen),) = looks(loop)
    loop.tell(Cgroups(put=[(seen.cgroup, 2)]))
    loop.barrier()
    verdict = loop.answer_of(queued(2, OUTPUT, connection[1]), 2)
    assert verdict.mark == JUDGED | REFUSE | REMEMBER
    loop.barrier()
    told = [flow for flow in loop.counts() if not flow.source]
    assert told == [
        Flow(1, OUTPUT, 6, b"", b"\x7f\0\0\1", told[0].port, seen.cgroup, 0, PREVENT, 0)
    ]


def test_of_a_named_cgroup_only_what_is_not_allowed_is_looked_at(
    loop: Loop, connection: tuple[socket.socket, bytes]
) -> None:
    loop.prepare(replace(BY_OWNER, hold_ms=30))
    loop.answer_of(queued(1, OUTPUT, connection[1]), 1)
    ((_, seen),) = looks(loop)
    for number, (candidate, asked) in enumerate([(0, False), (2, True)], 2):
        loop.tell(Cgroups(put=[(seen.cgroup, candidate)]))
        loop.barrier()
        loop.reports.clear()
        loop.answer_of(queued(number, OUTPUT, connection[1]), number)
        loop.barrier()
        assert bool(looks(loop)) == asked


def test_the_socket_behind_a_datagram_is_found(loop: Loop) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        loop.prepare(replace(BY_OWNER, hold_ms=30))
        loop.answer_of(queued(1, OUTPUT, syn_of(client, 17)), 1)
        ((_, seen),) = looks(loop)
        assert (seen.inode, seen.protocol) == (inode_of(client), 17)
