"""Rules by names: the connection right after the answer is judged by what the answer says."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnf.defender.core.limits import ANSWER_HOLD_MS
from tests.kernel.conftest import ROOT, Network, Recording, queues
from tests.kernel.dns_stage import (
    COUNT,
    HERE,
    INSIDE,
    NEVER,
    ONLY,
    OWN_SERVER,
    PAID,
    SERVER,
    client,
    recording,
    resolving,
    use,
)
from tests.kernel.recorder import ANSWERS
from tests.kernel.stage import until


@pytest.fixture
def estate(network: Network, tmp_path: Path) -> Iterator[Network]:
    with resolving(network, tmp_path) as made:
        yield made


@pytest.fixture(params=["native", "python"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("who", ["host", "c"])
def test_the_first_connection_is_let_through(estate: Network, loop: str, who: str) -> None:
    with recording(estate, loop=loop) as made, client(estate, who) as asking:
        use(made, *ONLY)
        some = list(PAID.values())[:20]
        # Nothing of this may be remembered.
        assert asking.ask("try", *some, *some) == ["refused"] * 40
        assert asking.ask("reach", SERVER, *PAID) == ["answered"] * COUNT
        waited_ms, told = made.ask("waited")
        assert told == COUNT
        assert waited_ms < ANSWER_HOLD_MS
        assert asking.ask("try", "198.18.1.3") == ["refused"]


@pytest.mark.parametrize("who", ["host", "c"])
def test_the_first_connection_is_refused(estate: Network, loop: str, who: str) -> None:
    with recording(estate, loop=loop) as made, client(estate, who) as asking:
        use(made, *NEVER)
        assert asking.ask("try", *[*PAID.values()] * 2) == ["answered"] * COUNT * 2
        assert asking.ask("reach", SERVER, *PAID) == ["refused"] * COUNT
        # Once there is no such rule, nobody waits any more, and it is over.
        use(made)
        before = made.ask("waited")
        assert asking.ask("reach", SERVER, *PAID) == ["answered"] * COUNT
        assert made.ask("waited") == before
        # Names from before a policy count in it.
        use(made, *NEVER)
        assert asking.ask("try", *PAID.values()) == ["refused"] * COUNT


def test_which_names_an_object_has(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking, client(estate, "d") as other:
        use(made, *ONLY)
        # An alias counts by what was asked for; what stands before the name has to be there.
        assert asking.ask("reach", SERVER, "www.pay.example") == ["answered"]
        assert asking.ask("reach", SERVER, "pay.example", "edge.cdn.example") == [
            "refused",
            "answered",
        ]
        # Another one was not told, or by another name.
        assert asking.ask("reach", SERVER, "more.pay.example", "other.example") == ["answered"] * 2
        assert other.ask("try", "198.18.1.1") == ["refused"]
        assert other.ask("reach", SERVER, "other.example", "edge.cdn.example") == ["refused"] * 2


def test_whose_answers_count(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking:
        use(made, *ONLY)
        assert asking.ask("reach", OWN_SERVER, "n1.pay.example") == ["refused"]
        forged = (
            "forge",
            Network.ADDRESSES["c"][0],
            "40000",
            "n2.pay.example",
            PAID["n2.pay.example"],
        )
        lookup = (sys.executable, "-m", "tests.lab.lookup", *forged)
        estate.ends["d"].run("env", "-C", str(ROOT), *lookup)
        assert asking.ask("try", PAID["n2.pay.example"]) == ["refused"]
        # A program of the host's own, and the one that was stated.
        assert asking.ask("reach", HERE, "n1.pay.example") == ["answered"]
        assert asking.ask("reach", SERVER, "n2.pay.example") == ["answered"]


def test_a_name_ends_and_what_lives_stays(estate: Network) -> None:
    with recording(estate, name_ttl_ms=300) as made, client(estate, "c") as asking:
        use(made, *ONLY)
        assert asking.ask("reach", SERVER, "short.pay.example") == ["answered"]
        asking.ask("keep", "198.18.1.2")
        assert asking.ask("still")
        time.sleep(0.35)
        made.ask("expire")
        assert asking.ask("try", "198.18.1.2") == ["refused"]
        assert asking.ask("still")
        assert asking.ask("reach", SERVER, "short.pay.example") == ["answered"]


def test_a_container_s_other_address_and_its_next_owner(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking, client(estate, "d") as other:
        use(made, *ONLY)
        addresses = [Network.ADDRESSES[name][0] for name in "cd"]
        assert asking.ask("reach", SERVER, "n1.pay.example") == ["answered"]
        assert other.ask("try", PAID["n1.pay.example"]) == ["refused"]
        # Both namespaces are as it were one container's.
        made.ask("container", "c", "c:1", 0, addresses)
        made.ask("container", "d", "d:1", 0, [])
        assert other.ask("try", PAID["n1.pay.example"]) == ["answered"]
        made.ask("container", "c", "c:1", 0, addresses[:1])
        made.ask("container", "d", "d:1", 0, addresses[1:])
        assert other.ask("try", PAID["n1.pay.example"]) == ["refused"]
        assert asking.ask("try", PAID["n1.pay.example"]) == ["answered"]


def test_an_answer_waits_no_longer_than_it_may(estate: Network) -> None:
    with recording(estate) as made, client(estate, "c") as asking:
        use(made, *NEVER)
        # Loops that say nothing: the answer comes all the same.
        for pid in made.loops:
            os.kill(pid, signal.SIGSTOP)
        try:
            asking.tell("reach", SERVER, "n1.pay.example")
            until(lambda: made.ask("waited")[1] > 0, 5, "the answer has been read")
            until(lambda: made.ask("waited")[0] > 0, 5, "nobody waits any more")
            assert 0.9 * ANSWER_HOLD_MS < made.ask("waited")[0] < 3 * ANSWER_HOLD_MS
        finally:
            for pid in made.loops:
                os.kill(pid, signal.SIGCONT)
        assert asking.answer() == ["refused"]


@pytest.mark.parametrize("fail_closed", [False, True])
def test_when_nobody_reads(estate: Network, fail_closed: bool) -> None:
    """Everything is killed: all queues go with it, and answers follow the fail mode."""
    name, address = next(iter(PAID.items()))
    made = Recording(estate.host, networks=INSIDE, resolvers=[SERVER], fail_closed=fail_closed)
    with client(estate, "c") as asking:
        use(made, *NEVER)
        assert ANSWERS in queues(estate.host)
        for pid in (made.pid, *made.loops):
            os.kill(pid, signal.SIGKILL)
        made._process.communicate()
        until(lambda: queues(estate.host) == [], 3, "what was killed answers no queue")
        assert asking.ask("once", SERVER, name) == ("silent" if fail_closed else address)
        if not fail_closed:
            assert asking.ask("try", address) == ["answered"]
        # Nothing else was in the way.
        estate.host.run("nft", "delete", "table", "inet", "cnnf")
        assert asking.ask("once", SERVER, name) == address
