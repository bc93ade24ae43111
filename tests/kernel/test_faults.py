"""Packet loops and the Defender itself killed, stopped and flooded, in the middle of traffic.

Fail open breaks no connection and is told; fail closed lets nothing pass unjudged and is told.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from cnnf.defender.core.limits import LOOP_BURST_MAX, QUEUE_LENGTH_MAX
from tests.kernel.conftest import ROOT
from tests.kernel.guarded import (
    COUNTED_S,
    HOST,
    PEER,
    Guarded,
    conditions,
    counts,
    first,
    guarded,
    running,
    tells,
    total,
)
from tests.lab import netns
from tests.lab.product import Product, eventually

pytestmark = pytest.mark.kernel

#: Packets pass again so long after a loop got stuck: 1.5 s, a look, and what a busy machine takes.
PASS_AGAIN_S = 2.5

#: A host, cnnf on it, and whether that fails closed. Ports are few: Radar shows 64 of an edge.
Both = tuple[Guarded, Product, bool]


@pytest.fixture(scope="module", params=["open", "closed"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    """cnnf on a host, once for each fail mode."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    closed = request.param == "closed"
    with (
        guarded(tmp_path_factory.mktemp("guarded")) as host,
        running(host, *(["--fail-closed"] if closed else [])) as product,
    ):
        yield host, product, closed


def loops(product: Product) -> list[int]:
    """The packet loops' processes."""
    return product.members(r"packetloop.*--queue")


def send(pids: list[int], number: signal.Signals) -> float:
    """A signal to each; when that was."""
    for pid in pids:
        os.kill(pid, number)
    return time.monotonic()


def replaced(product: Product, before: list[int]) -> Callable[[], bool]:
    """Are there as many loops as before, and others?"""

    def check() -> bool:
        now = loops(product)
        return len(now) == len(before) and not set(now) & set(before)

    return check


def bypassed(product: Product) -> int:
    """How many connections nobody answered for, as the condition says."""
    message = conditions(product).get("packets-bypassed", "0")
    return int(message.split()[0])


def test_loops_killed_in_traffic(both: Both) -> None:
    """No connection breaks; with fail closed none passes that a rule prevents."""
    host, product, closed = both
    allowed, barred = range(7400, 7406), range(7500, 7506)
    # Everything is tried for longer than TCP needs to send a SYN again.
    stream = host.stream("7400-7405 7500-7505")
    for _ in range(3):
        # A loop that dies again within a second waits before its next start.
        time.sleep(1.2)
        before = loops(product)
        send(before, signal.SIGKILL)
        eventually(replaced(product, before), 5.0, "other loops")
    mended = time.monotonic() + 1.0
    first(stream, mended, lambda one: one.outcome == "refused", 5.0)
    stream.end()
    assert stream.outcomes(ports=allowed) == {"ok"}
    assert stream.outcomes(mended, barred) == {"refused"}
    if closed:
        assert stream.outcomes(ports=barred) == {"refused"}
    tells(product, "loop-restarted", "restarted")
    eventually(
        lambda: total(product, allowed) >= len(stream.since(0, allowed)), COUNTED_S, "the counts"
    )


def test_loops_that_are_stuck(both: Both) -> None:
    """They are killed within two seconds, and until then nothing passes that was not judged."""
    host, product, closed = both
    known, fresh, barred = range(7420, 7421), range(7430, 7440), range(7530, 7540)
    stream = host.stream("7420")
    first(stream, 0, lambda one: one.outcome == "ok", 3.0)
    before = loops(product)
    stopped = send(before, signal.SIGSTOP)
    # Short of a second: no SYN is sent twice, and each is an attempt of its own.
    others = host.stream("7430-7439 7530-7539", "--timeout", "0.2")
    passed = first(others, stopped, lambda one: one.outcome == "ok", 8.0)
    assert passed.began - stopped < PASS_AGAIN_S + (2.0 if closed else 0.0)
    eventually(replaced(product, before), 5.0, "other loops")
    mended = time.monotonic() + 0.3
    time.sleep(1.0)
    stream.end()
    others.end()
    # What was remembered passed all the time.
    assert stream.outcomes(ports=known) == {"ok"}
    assert others.outcomes(mended, fresh) == {"ok"}
    assert others.outcomes(mended, barred) == {"refused"}
    if closed:
        assert "ok" not in others.outcomes(ports=barred)
    tells(product, "loop-restarted", "stuck for")
    tells(product, "packets-bypassed", "dropped" if closed else "passed without a verdict")
    for stretch in (fresh, barred):
        made = len(others.since(0, stretch))
        counts(product, stretch, made)


def test_the_defender_stopped(both: Both) -> None:
    """The loops go on judging by what they know, and when it goes on all is told."""
    host, product, _ = both
    allowed, barred = range(7415, 7418), range(7515, 7518)
    daemon = product.members("defender run")
    assert len(daemon) == 1
    before = loops(product)
    send(daemon, signal.SIGSTOP)
    try:
        stream = host.stream("7415-7417 7515-7517")
        time.sleep(4.0)
        stream.end()
    finally:
        send(daemon, signal.SIGCONT)
    assert stream.outcomes(ports=allowed) == {"ok"}
    assert stream.outcomes(ports=barred) == {"refused"}
    assert max(one.ended - one.began for one in stream.since(0)) < 1.0
    for stretch in (allowed, barred):
        made = len(stream.since(0, stretch))
        assert made > 20
        counts(product, stretch, made)
    # Nobody took the loops for stuck.
    assert loops(product) == before


def test_more_packets_than_a_queue_holds(both: Both) -> None:
    """20,000 SYNs to loops that do not come by: what does not fit passes, or is dropped."""
    host, product, closed = both
    daemon, stopped, before = product.members("defender run"), loops(product), bypassed(product)
    host.here.run(
        *("nft", "table inet witness { chain c { type filter hook input priority 80; "),
        "tcp dport 7425 tcp flags == syn counter; }; }",
    )
    # The Defender would kill the loops before the queue is full.
    send(daemon, signal.SIGSTOP)
    send(stopped, signal.SIGSTOP)
    try:
        wanted = str(QUEUE_LENGTH_MAX + 3_000)
        command = (sys.executable, "-m", "tests.kernel.flood", wanted, PEER, HOST, "7425")
        assert host.peer.start(*command, cwd=ROOT).wait(30) == 0
    finally:
        send(stopped, signal.SIGCONT)
        send(daemon, signal.SIGCONT)
    listed = host.here.run("nft", "list", "table", "inet", "witness")
    came = int(listed.partition("packets ")[2].split()[0])
    # A loop may still have taken a burst before it stood.
    over = came - QUEUE_LENGTH_MAX - LOOP_BURST_MAX
    assert over > 1_000
    told, until = 0, time.monotonic() + COUNTED_S
    while told < over:
        assert time.monotonic() < until, f"{over} are told as {told}: {conditions(product)}"
        told = bypassed(product) - before
    tells(product, "packets-bypassed", "were dropped" if closed else "passed without a verdict")
    if closed:
        tells(product, "queue-overflow", "did not fit into the queues")
    # Every one is on the map, whoever has counted it.
    counts(product, range(7425, 7426), came)
    host.connect(2, 7426)
