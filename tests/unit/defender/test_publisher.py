"""When a batch is made: at once when there is news, gathered while the Console is away."""

from copy import copy

import msgspec
import pytest

from cnnf.defender.core.conditions import Conditions
from cnnf.defender.core.flows import FlowTable
from cnnf.defender.core.inventory import Inventory
from cnnf.defender.core.limits import AWAY_INTERVAL_SECONDS, HEARTBEAT_SECONDS
from cnnf.defender.core.outbox import Outbox
from cnnf.defender.publisher import Publisher
from cnnf.protocol.codec import decode_batch
from cnnf.protocol.messages import PolicyState, SpoolState


class Clock:
    """The seconds that pass when a test says so."""

    seconds = 1_000.0

    def monotonic(self) -> float:
        """Of a clock that only goes forward."""
        return self.seconds

    def time_ns(self) -> int:
        """Since the epoch."""
        return int(self.seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The publisher's."""
    made = Clock()
    monkeypatch.setattr("cnnf.defender.publisher.time", made)
    return made


class Desk:
    """A publisher with what it tells of."""

    def __init__(self) -> None:
        self.outbox = Outbox("0" * 32, batches_max=10, bytes_max=2**20)
        self.conditions = Conditions()
        self.publisher = Publisher(
            self.outbox, Inventory(), FlowTable(), self.conditions, (2222, 22)
        )

    def news(self) -> None:
        """Something has happened."""
        self.conditions.put("internal", f"news {self.outbox.sequence()}", 1)


def test_news_is_told_at_once_and_silence_now_and_then(clock: Clock) -> None:
    desk = Desk()
    assert desk.publisher.publish()
    assert not desk.publisher.publish()
    desk.news()
    assert desk.publisher.publish()
    clock.seconds += HEARTBEAT_SECONDS - 0.1
    assert not desk.publisher.publish()
    clock.seconds += 0.2
    assert desk.publisher.publish()
    assert desk.outbox.sequence() == 4


def test_while_the_console_is_away_news_is_gathered(clock: Clock) -> None:
    desk = Desk()
    assert desk.publisher.publish(away=True)
    made = 0
    for _ in range(100):
        clock.seconds += 0.5
        desk.news()
        made += desk.publisher.publish(away=True)
    assert made == 50 / AWAY_INTERVAL_SECONDS
    # It is back: what was gathered goes at once.
    desk.news()
    assert desk.publisher.publish()


def test_what_is_on_disk_is_told(clock: Clock) -> None:
    desk = Desk()
    desk.publisher.spool = SpoolState(bytes=1, bytes_max=2, oldest_at=3)
    desk.publisher.publish()
    parcel = desk.outbox.first()
    assert parcel is not None
    assert decode_batch(parcel.data).spool == desk.publisher.spool
    assert (parcel.sequence, parcel.sent_at) == (1, int(clock.seconds * 1000))


def test_which_policy_is_in_force_is_in_every_batch_and_news_when_it_changes(clock: Clock) -> None:
    desk = Desk()
    desk.publisher.publish()
    assert not desk.publisher.publish()
    told_of = PolicyState(generation=3, digest="d", refused_generation=4, refused="no")
    # With the ports that are never refused here, whatever the policy.
    state = msgspec.structs.replace(told_of, failsafe=(22, 2222))
    desk.publisher.tell_policy(told_of)
    assert desk.publisher.publish()
    desk.publisher.tell_policy(copy(told_of))
    assert not desk.publisher.publish()
    clock.seconds += HEARTBEAT_SECONDS
    assert desk.publisher.publish()
    told = []
    for number in (1, 2, 3):
        parcel = desk.outbox.first()
        assert parcel is not None
        told.append(decode_batch(parcel.data).policy)
        desk.outbox.acknowledged(parcel.incarnation, number)
    assert told == [PolicyState(failsafe=(22, 2222)), state, state]
