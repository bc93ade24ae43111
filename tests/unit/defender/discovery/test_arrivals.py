"""What is kept of containers that can't be asked about yet, or no longer."""

import msgspec

from cnnf.defender.core.containers import Attachment, Container
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.arrivals import Arrivals

ID, NETWORK = "c" * 64, "n" * 64
MADE = Container(id=ID, image="lab/job", state="created")
RUNS = Container(
    id=ID,
    image="lab/job",
    attachments=(Attachment(network=NETWORK, name="shop", addresses=("172.18.0.2",)),),
    started_at=900,
    state="running",
)


def since(container: Container) -> list[int]:
    """From when on it is in each of its networks."""
    return [place.since for place in container.attachments]


def test_a_container_is_in_a_network_since_it_joined() -> None:
    arrivals = Arrivals()
    assert since(arrivals.dated(RUNS)) == [0]
    arrivals.joined(ID, NETWORK, 700)
    assert since(arrivals.dated(RUNS)) == [700]
    # What it left it is in for another time when it is in it again, of which nothing was told.
    arrivals.left(ID, NETWORK)
    assert since(arrivals.dated(RUNS)) == [0]


def test_who_has_ended_unasked_had_the_address_that_its_network_told() -> None:
    arrivals = Arrivals()
    arrivals.described(MADE)
    arrivals.joined(ID, NETWORK, 700)
    assert arrivals.placed(ID, NETWORK, ("172.18.0.2",)) == 700
    arrivals.left(ID, NETWORK)
    ran = arrivals.as_it_ran(ID)
    assert ran is not None
    assert (ran.image, ran.state, ran.started_at) == ("lab/job", "running", 700)
    assert (ran.addresses, since(ran)) == (("172.18.0.2",), [700])


def test_nothing_is_made_up_of_who_is_not_known() -> None:
    arrivals = Arrivals()
    # No address, no description, and one that nobody joined with.
    arrivals.described(MADE)
    arrivals.joined(ID, NETWORK, 700)
    assert arrivals.as_it_ran(ID) is None
    assert arrivals.placed("d" * 64, NETWORK, ("172.18.0.3",)) == 0
    arrivals.joined("d" * 64, NETWORK, 800)
    arrivals.placed("d" * 64, NETWORK, ("172.18.0.3",))
    assert arrivals.as_it_ran("d" * 64) is None


def test_a_life_that_was_told_is_not_told_again() -> None:
    arrivals = Arrivals()
    arrivals.described(MADE)
    arrivals.joined(ID, NETWORK, 700)
    arrivals.placed(ID, NETWORK, ("172.18.0.2",))
    arrivals.over(ID)
    assert arrivals.as_it_ran(ID) is None
    # It is started again.
    arrivals.joined(ID, NETWORK, 5_000)
    arrivals.placed(ID, NETWORK, ("172.18.0.9",))
    ran = arrivals.as_it_ran(ID)
    assert ran is not None
    assert (ran.addresses, since(ran)) == (("172.18.0.9",), [5_000])
    arrivals.removed(ID)
    assert arrivals.as_it_ran(ID) is None


def test_what_is_kept_is_bounded() -> None:
    arrivals = Arrivals()
    for number in range(limits.JOINED_MAX + 1):
        arrivals.joined(f"{number}", NETWORK, 1)
    for number in range(limits.ATTACHMENTS_MAX + 1):
        arrivals.joined(ID, f"{number}", 1)
    for number in range(limits.DESCRIBED_MAX + 1):
        arrivals.described(msgspec.structs.replace(MADE, id=f"{number}"))
    assert arrivals.placed("0", NETWORK, ("172.18.0.2",)) == 0
    assert arrivals.placed(ID, f"{limits.ATTACHMENTS_MAX}", ("172.18.0.2",)) == 0
    arrivals.joined("5000", NETWORK, 1)
    arrivals.placed("5000", NETWORK, ("172.18.0.2",))
    assert arrivals.as_it_ran("5000") is None
