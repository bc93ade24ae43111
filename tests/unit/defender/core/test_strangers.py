"""Ends elsewhere that are not known yet: only their first moments are waited for."""

from cnnf.defender.core.judge import Judge
from cnnf.defender.core.limits import (
    STRANGER_DELAY_MS,
    STRANGER_FORGET_MS,
    STRANGER_TELL_MS,
    STRANGERS_MAX,
)
from cnnf.defender.core.strangers import Strangers
from cnnf.defender.core.tables import Place, Tables
from cnnf.defender.netlink.nfqueue import FORWARD
from cnnf.defender.netlink.packets import Segment
from tests.unit.defender.core.rulings import PRIVATE, packed

ONE, OTHER = packed("10.0.0.1", "10.0.0.2")
PLACE: Place = (ONE, 0, 0)


def place(number: int) -> Place:
    """One of many."""
    return (number.to_bytes(4), 80, 6)


def test_a_connection_loses_one_packet_at_most() -> None:
    # TCP sends a SYN again after a second.
    assert STRANGER_DELAY_MS < 1_000
    strangers = Strangers()
    for began in (0, 400, STRANGER_DELAY_MS - 1):
        assert strangers.meet(PLACE, 5_000 + began, STRANGER_DELAY_MS)
        assert not Strangers.meet(strangers, PLACE, 6_000 + began, STRANGER_DELAY_MS)


def test_the_daemon_is_told_again_while_it_is_met() -> None:
    strangers = Strangers()
    for now_ms in range(0, 3_000, 100):
        strangers.meet(PLACE, now_ms, STRANGER_DELAY_MS)
    assert strangers.sought == [PLACE] * (3_000 // STRANGER_TELL_MS)


def test_one_that_was_told_of_is_new_again() -> None:
    strangers = Strangers()
    strangers.meet(PLACE, 0, STRANGER_DELAY_MS)
    assert not strangers.meet(PLACE, 2_000, STRANGER_DELAY_MS)
    strangers.endpoints_changed([(*PLACE, [0], 0)], [])
    assert strangers.meet(PLACE, 2_000, STRANGER_DELAY_MS)
    strangers.endpoints_changed([], [PLACE])
    assert strangers.meet(PLACE, 4_000, STRANGER_DELAY_MS)
    strangers.tables_changed(Judge(Tables(version=1)))
    assert not strangers.meet(PLACE, 6_000, STRANGER_DELAY_MS)
    strangers.tables_changed(Judge(Tables(version=1, peers=[(*PLACE, [0], 0)])))
    assert strangers.meet(PLACE, 6_000, STRANGER_DELAY_MS)


def test_both_ends_are_met() -> None:
    strangers, judge = Strangers(), Judge(Tables(version=1, private=PRIVATE, stranger_ms=900))
    assert strangers.delay(judge, FORWARD, Segment(ONE, OTHER, 900, 80, 6), 0)
    assert strangers.sought == [(ONE, 0, 0), (OTHER, 80, 6)]
    # One that is new delays what the other would not.
    assert strangers.delay(judge, FORWARD, Segment(ONE, OTHER, 900, 81, 6), 2_000)


def test_there_is_room_for_so_many_and_those_not_met_make_room() -> None:
    strangers = Strangers()
    for number in range(STRANGERS_MAX):
        assert strangers.meet(place(number), 0, STRANGER_DELAY_MS)
    assert not strangers.meet(PLACE, 1, STRANGER_DELAY_MS)
    assert not strangers.meet(place(0), STRANGER_FORGET_MS - 1, STRANGER_DELAY_MS)
    assert strangers.meet(PLACE, STRANGER_FORGET_MS + 1_000, STRANGER_DELAY_MS)
    assert len(strangers) == 2
