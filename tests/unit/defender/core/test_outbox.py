"""Batches on their way: every one is delivered or inside a gap that the Console was told of.

The other side here is the Console's own decision table, which refuses a hole that is not announced.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.outbox import Outbox as RealOutbox
from cnnf.defender.core.outbox import Parcel
from cnnf.protocol import limits
from cnnf.protocol.codec import decode_batch, encode_batch
from cnnf.protocol.messages import Batch, Gap

INCARNATION = "0123456789abcdef" * 2
FORMER = "f0e1d2c3b4a59687" * 2


class Outbox(RealOutbox):
    """One of these tests' incarnation; what is acknowledged and refused is its own."""

    def __init__(self, batches_max: int, bytes_max: int = 2**20) -> None:
        super().__init__(INCARNATION, batches_max=batches_max, bytes_max=bytes_max)


def put(outbox: Outbox, flows: int = 1, now: float = 0.0) -> None:
    """The next batch, as the publisher makes it."""
    batch = Batch(incarnation=INCARNATION, sequence=outbox.sequence(), sent_at=1)
    outbox.put(encode_batch(batch), flows, sent_at=1, now=now)


def sent(outbox: Outbox) -> Batch:
    """What would be posted now."""
    parcel = outbox.first()
    assert parcel is not None
    batch = decode_batch(parcel.data)
    assert batch.sequence == parcel.sequence
    return batch


def test_batches_go_in_order_until_acknowledged() -> None:
    outbox = Outbox(10)
    assert outbox.first() is None
    for _ in range(3):
        put(outbox)
    assert sent(outbox).sequence == 1
    assert sent(outbox).sequence == 1
    outbox.acknowledged(INCARNATION, 2)
    assert sent(outbox).sequence == 3
    outbox.acknowledged(INCARNATION, 3)
    assert outbox.first() is None
    assert outbox.gap is None
    assert outbox.sequence() == 4


def test_the_first_batch_is_a_snapshot_and_later_ones_are_not() -> None:
    outbox = Outbox(10)
    due = [outbox.snapshot_due]
    put(outbox)
    due.append(outbox.snapshot_due)
    assert due == [True, False]


def test_beyond_the_bound_the_oldest_goes_and_the_front_announces_it() -> None:
    outbox = Outbox(2)
    for flows in (10, 20, 30, 40):
        put(outbox, flows)
    assert len(outbox) == 2
    assert outbox.gap == Gap(first=1, last=2, flows=30)
    assert outbox.snapshot_due
    batch = sent(outbox)
    assert (batch.sequence, batch.gap) == (3, Gap(first=1, last=2, flows=30))
    outbox.acknowledged(INCARNATION, 3)
    assert sent(outbox).gap is None


def test_a_front_that_has_announced_is_given_up_with_its_gap() -> None:
    outbox = Outbox(1)
    put(outbox, 1)
    put(outbox, 2)
    assert sent(outbox).gap == Gap(first=1, last=1, flows=1)
    put(outbox, 4)
    assert sent(outbox).gap == Gap(first=1, last=2, flows=3)


def test_a_refused_batch_does_not_stop_those_behind_it() -> None:
    outbox = Outbox(10)
    for _ in range(3):
        put(outbox, 5)
    outbox.refused(INCARNATION, 2)  # not the one that was sent: nothing happens
    assert len(outbox) == 3
    outbox.refused(INCARNATION, 1)
    batch = sent(outbox)
    assert (batch.sequence, batch.gap) == (2, Gap(first=1, last=1, flows=5))


def test_what_the_console_has_lost_is_announced_from_the_beginning() -> None:
    outbox = Outbox(10)
    for _ in range(9):
        put(outbox)
    outbox.acknowledged(INCARNATION, 7)
    # Restored from a backup, it stands at 3 now and refuses 8.
    outbox.missing(INCARNATION, 9)  # not the one that was sent: nothing happens
    outbox.missing(INCARNATION, 8)
    console = Console()
    console.mark = 3
    assert console.post(sent(outbox)) == 8
    assert console.announced == set(range(1, 8))
    assert outbox.snapshot_due


def test_a_batch_that_is_missed_although_it_announces_all_is_given_up() -> None:
    outbox = Outbox(10)
    for _ in range(3):
        put(outbox)
    outbox.acknowledged(INCARNATION, 1)
    for _ in range(2):
        assert sent(outbox).sequence == 2
        outbox.missing(INCARNATION, 2)
    assert (sent(outbox).sequence, sent(outbox).gap) == (3, Gap(first=1, last=2, flows=1))


def test_a_gap_waits_for_the_next_batch_when_nothing_else_waits() -> None:
    outbox = Outbox(10)
    put(outbox, 5)
    outbox.refused(INCARNATION, 1)
    assert outbox.first() is None
    assert outbox.snapshot_due
    put(outbox)
    assert sent(outbox).gap == Gap(first=1, last=1, flows=5)


def test_a_batch_given_up_on_its_way_can_still_be_acknowledged() -> None:
    outbox = Outbox(1)
    put(outbox)
    on_its_way = outbox.first()
    put(outbox)
    assert on_its_way is not None
    outbox.acknowledged(INCARNATION, on_its_way.sequence)
    batch = sent(outbox)
    assert (batch.sequence, batch.gap, outbox.gap) == (2, None, None)


def test_what_the_console_could_not_read_is_given_up_instead_of_announcing() -> None:
    outbox = Outbox(2)
    put(outbox)
    outbox.put(b"no batch", 7, sent_at=1, now=0.0)
    put(outbox)
    batch = sent(outbox)
    assert (batch.sequence, batch.gap) == (3, Gap(first=1, last=2, flows=8))


def test_a_batch_that_has_no_room_for_the_announcement_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = Outbox(2)
    for _ in range(3):
        put(outbox)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "BATCH_BYTES_MAX", len(outbox._fresh[0].data))
        assert outbox.first() is None
    put(outbox)
    assert sent(outbox).gap == Gap(first=1, last=3, flows=3)


class Console:
    """The Console's side: its mark, what it took and the gaps it was told of."""

    def __init__(self) -> None:
        self.mark = 0
        self.taken: set[int] = set()
        self.announced: set[int] = set()

    def post(self, batch: Batch) -> int:
        """Take the batch unless a hole before it is not accounted for; the acknowledgement."""
        if batch.sequence <= self.mark:
            return self.mark
        gap = batch.gap
        hole = range(self.mark + 1, batch.sequence)
        assert not hole or (gap and gap.first <= hole.start and gap.last >= hole.stop - 1)
        if gap is not None:
            self.announced |= set(range(gap.first, gap.last + 1))
        self.taken.add(batch.sequence)
        self.mark = batch.sequence
        return self.mark


steps = st.lists(
    st.sampled_from(["put", "put", "put", "deliver", "refuse", "start", "finish", "lose"]),
    max_size=60,
)


@given(steps, st.integers(1, 4))
def test_every_batch_is_delivered_or_in_an_announced_gap(script: list[str], bound: int) -> None:
    outbox, console = Outbox(bound), Console()
    on_its_way: Batch | None = None
    for step in script:
        parcel = outbox.first()
        if step == "put":
            put(outbox)
        elif parcel is None:
            continue
        elif step == "deliver":
            outbox.acknowledged(INCARNATION, console.post(sent(outbox)))
        elif step == "refuse":
            outbox.refused(INCARNATION, parcel.sequence)
        elif step == "start":
            on_its_way = sent(outbox)
        elif on_its_way is not None:
            # The answer may be lost: then the Console has it and we do not know.
            acknowledged = console.post(on_its_way)
            if step == "finish":
                outbox.acknowledged(INCARNATION, acknowledged)
            on_its_way = None
        assert len(outbox) <= bound
    put(outbox)
    while outbox.first() is not None:
        outbox.acknowledged(INCARNATION, console.post(sent(outbox)))
    everything = set(range(1, outbox.sequence()))
    assert console.taken | console.announced == everything
    assert outbox.gap is None


def test_hours_offline_are_bounded_and_told() -> None:
    outbox, console = Outbox(5), Console()
    for _ in range(100):
        put(outbox, 3)
    while outbox.first() is not None:
        outbox.acknowledged(INCARNATION, console.post(sent(outbox)))
    assert console.announced == set(range(1, 96))
    assert console.taken == set(range(96, 101))


# --- what was on disk


def former(sequence: int, flows: int = 1) -> Parcel:
    """A batch that a former process has left."""
    batch = Batch(incarnation=FORMER, sequence=sequence, sent_at=sequence)
    return Parcel(FORMER, sequence, encode_batch(batch), flows, sequence)


def test_former_incarnations_go_first_and_the_fresh_wait_for_the_disk() -> None:
    outbox = Outbox(10)
    put(outbox)
    outbox.on_disk = True
    assert outbox.first() is None
    outbox.take_back([former(5), former(6)])
    assert (sent(outbox).incarnation, sent(outbox).sequence, sent(outbox).gap) == (FORMER, 5, None)
    outbox.acknowledged(FORMER, 6)
    assert outbox.first() is None
    outbox.on_disk = False
    assert (sent(outbox).incarnation, sent(outbox).sequence) == (INCARNATION, 1)


def test_what_the_console_misses_of_a_former_incarnation_is_announced() -> None:
    outbox = Outbox(10)
    outbox.take_back([former(5), former(6)])
    outbox.missing(FORMER, 5)
    assert (sent(outbox).sequence, sent(outbox).gap) == (5, Gap(first=1, last=4))


def test_a_hole_on_disk_is_announced_by_what_comes_after_it() -> None:
    outbox = Outbox(10)
    outbox.take_back([former(5)])
    outbox.lost(FORMER, 6, 8, 30, 1)
    outbox.take_back([former(9)])
    outbox.acknowledged(FORMER, 5)
    assert (sent(outbox).sequence, sent(outbox).gap) == (9, Gap(first=6, last=8, flows=30))
    outbox.acknowledged(FORMER, 9)
    assert outbox.gap is None


def test_the_end_of_a_former_incarnation_is_announced_by_a_batch_made_for_it() -> None:
    outbox = Outbox(10)
    put(outbox)
    outbox.lost(FORMER, 3, 4, 10, 77)
    closing = sent(outbox)
    assert closing == Batch(
        incarnation=FORMER, sequence=5, sent_at=77, gap=Gap(first=3, last=4, flows=10)
    )
    outbox.acknowledged(FORMER, 5)
    assert sent(outbox).incarnation == INCARNATION
    assert outbox.gap is None


@pytest.mark.parametrize("refusals", [1, 5])
def test_a_refused_announcement_is_not_made_again(refusals: int) -> None:
    outbox = Outbox(10)
    put(outbox)
    outbox.lost(FORMER, 3, 4, 10, 77)
    outbox.lost("e" * 32, 1, 1, 1, 78)
    for _ in range(refusals):
        parcel = outbox.first()
        assert parcel is not None
        if parcel.incarnation != INCARNATION:
            outbox.refused(parcel.incarnation, parcel.sequence)
    while (parcel := outbox.first()) is not None and parcel.incarnation != INCARNATION:
        outbox.refused(parcel.incarnation, parcel.sequence)
    assert sent(outbox).sequence == 1


def test_only_what_has_waited_is_due_and_what_is_stored_leaves_memory() -> None:
    outbox = Outbox(10)
    for now in (1.0, 2.0, 3.0):
        put(outbox, now=now)
    due = outbox.due(2.0)
    assert [parcel.sequence for parcel in due] == [1, 2]
    outbox.stored(due)
    outbox.on_disk = True
    assert len(outbox) == 1
    assert outbox.gap is None
    outbox.take_back(due)
    outbox.on_disk = False
    assert [sent(outbox).sequence, sent(outbox).gap] == [1, None]


def test_what_was_acknowledged_is_not_taken_back() -> None:
    outbox = Outbox(10)
    put(outbox)
    put(outbox)
    due = outbox.due(0.0)
    outbox.stored(due)
    outbox.on_disk = True
    outbox.acknowledged(INCARNATION, 1)
    outbox.take_back(due)
    assert sent(outbox).sequence == 2


def test_memory_is_bounded_in_bytes() -> None:
    outbox = Outbox(1_000)
    put(outbox)
    size = len(outbox._fresh[0].data)
    small = Outbox(1_000, bytes_max=3 * size + size // 2)
    for _ in range(10):
        put(small)
    assert len(small) == 3
    assert sent(small).gap == Gap(first=1, last=7, flows=7)


def test_holes_apart_are_announced_apart_with_their_own_losses() -> None:
    outbox = Outbox(10)
    outbox.take_back([former(1)])
    outbox.lost(FORMER, 2, 3, 20, 1)
    outbox.take_back([former(4), former(6, 1)])
    outbox.lost(FORMER, 5, 5, 50, 1)
    told = []
    while (parcel := outbox.first()) is not None:
        told.append((parcel.sequence, sent(outbox).gap))
        outbox.acknowledged(FORMER, parcel.sequence)
    assert told == [
        (1, None),
        (4, Gap(first=2, last=3, flows=20)),
        (6, Gap(first=5, last=5, flows=50)),
    ]
