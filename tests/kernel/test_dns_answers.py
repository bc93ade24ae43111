"""Answers that wait, of every kind: whatever comes, names are known in time and nobody is stuck."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import ROOT, Network, Recording, queues
from tests.kernel.dns_stage import (
    COUNT,
    INSIDE,
    LOCAL,
    NEVER,
    ONLY,
    OWN_SERVER,
    PAID,
    SERVER,
    SERVER6,
    client,
    recording,
    resolving,
    use,
)
from tests.kernel.stage import until

BOTH = {"198.18.1.5": "answered", "fd71:f::5": "answered"}
#: More than the loops are asked to read in a second, and than a queue takes.
FLOOD = 20_000


@pytest.fixture
def estate(network: Network, tmp_path: Path) -> Iterator[Network]:
    with resolving(network, tmp_path) as made:
        yield made


@pytest.mark.parametrize("who", ["host", "c"])
@pytest.mark.parametrize("server", [SERVER, SERVER6])
def test_both_families_asked_for_at_once(estate: Network, who: str, server: str) -> None:
    with recording(estate) as made, client(estate, who) as asking:
        use(made, *ONLY)
        assert asking.ask("try", *BOTH) == ["refused"] * 2
        assert asking.ask("both", server, "both.pay.example") == BOTH


@pytest.mark.parametrize("who", ["host", "c"])
def test_answers_that_come_in_pieces(estate: Network, who: str) -> None:
    """Over TCP, and over UDP in fragments; what was cut over UDP is asked for again over TCP."""
    with recording(estate) as made, client(estate, who) as asking:
        use(made, *ONLY)
        assert asking.ask("stream", SERVER, "many.pay.example") == "answered"
        assert asking.ask("reach", SERVER, "big.pay.example") == ["answered"]
        # The address of the part that came is known, the other one is not yet.
        assert asking.ask("reach", SERVER, "cut.pay.example") == ["answered"]
        assert asking.ask("try", "198.18.1.248") == ["refused"]
        assert asking.ask("stream", SERVER, "cut.pay.example") == "answered"
        assert asking.ask("try", "198.18.1.248") == ["answered"]


def test_of_an_answer_that_is_too_long_the_first_addresses_have_the_name(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking:
        use(made, *ONLY)
        assert asking.ask("reach", SERVER, "huge.pay.example") == ["refused"]
        assert asking.ask("stream", SERVER, "huge.pay.example") == "refused"
        assert asking.ask("try", "198.18.1.1", "198.18.1.239") == ["answered"] * 2


def test_a_resolver_on_the_host_s_loopback(estate: Network) -> None:
    with recording(estate) as made, client(estate, "host") as asking:
        use(made, *ONLY)
        assert asking.ask("reach", LOCAL, *PAID) == ["answered"] * COUNT


@pytest.mark.parametrize("loop", ["native", "python"])
def test_a_flood_takes_nobody_else_s_names(estate: Network, loop: str) -> None:
    with (
        recording(estate, loop=loop) as made,
        client(estate, "c") as flooding,
        client(estate, "d") as asking,
    ):
        use(made, *ONLY)
        loops = made.ask("state")["loops"]
        for _ in range(2):
            flooding.tell("flood", SERVER, str(FLOOD), "flood.pay.example")
            reached = asking.ask("reach", SERVER, *list(PAID)[:100])
            assert reached == ["answered"] * 100, made.ask("state")["conditions"]
            # What is not read comes all the same, as far as the server itself can answer.
            assert flooding.answer() > FLOOD / 10
        state = made.ask("state")
        assert state["dns_unread"] > 1_000
        assert "more than are read" in state["conditions"]["dns-unread"]
        # No loop was given more than it could read, and all is as before.
        assert (state["loops"], state["ended"]) == (loops, [])
        assert asking.ask("reach", SERVER, *list(PAID)[100:]) == ["answered"] * (COUNT - 100)


def test_the_queue_of_answers_is_known_as_ours(estate: Network) -> None:
    """And nobody else is told to answer it."""
    with recording(estate) as made:
        use(made, *ONLY)
        found = made.ask("conflicts")
        assert [one for one in found if "queue" in one] == []


def test_what_nobody_asked_for_does_not_wait(estate: Network) -> None:
    """Noise from a server that is connected with, and from one that is not."""
    with recording(estate) as made, client(estate, "c") as asking:
        use(made, *NEVER)
        before = made.ask("waited")
        for _ in range(20):
            lookup = (sys.executable, "-m", "tests.lab.lookup")
            forged = ("forge", Network.ADDRESSES["c"][0], "40000", "n2.pay.example", "198.18.0.2")
            estate.ends["d"].run("env", "-C", str(ROOT), *lookup, *forged)
        assert made.ask("waited") == before
        # What says nothing that a rule goes by does not wait either.
        assert asking.ask("reach", SERVER, "other.example") == ["answered"]
        assert asking.ask("reach", OWN_SERVER, "n1.pay.example") == ["answered"]
        assert made.ask("waited") == before


@pytest.mark.parametrize("fail_closed", [False, True])
def test_killed_while_answers_wait(estate: Network, fail_closed: bool) -> None:
    """What waits at that moment is lost and asked for again; then it passes, or is dropped."""
    name, address = next(iter(PAID.items()))
    made = Recording(estate.host, networks=INSIDE, resolvers=[SERVER], fail_closed=fail_closed)
    with client(estate, "c") as asking:
        use(made, *NEVER)
        loops = made.loops
        for pid in loops:
            os.kill(pid, signal.SIGSTOP)
        asking.tell("once", SERVER, name)
        until(lambda: made.ask("waited")[1] > 0, 5, "an answer waits")
        os.kill(made.pid, signal.SIGKILL)
        for pid in loops:
            os.kill(pid, signal.SIGCONT)
        made._process.communicate()
        asking.answer()
        until(lambda: queues(estate.host) == [], 3, "the loops end with the daemon")
        assert asking.ask("once", SERVER, name) == ("silent" if fail_closed else address)
        estate.host.run("nft", "delete", "table", "inet", "cnnf")
        assert asking.ask("once", SERVER, name) == address
