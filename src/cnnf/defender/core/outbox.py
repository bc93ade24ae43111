"""Batches on their way to the Console: numbered, kept until acknowledged, bounded.

Batches are given up at the front only: at the bound the oldest goes first, and what the Console
will never take is at the front when it says so. The Console takes a batch beyond a hole only if
that batch announces the hole, so the announcement belongs to whichever batch is at the front when
it is sent, long after it was encoded. The next batch that is made is a snapshot again, because
changes may have been among what was lost.
"""

from collections import deque
from typing import NamedTuple

import msgspec

from cnnf.protocol.codec import decode_batch, encode_batch
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import Gap


class Parcel(NamedTuple):
    """An encoded batch and its number; `flows` is what would be lost with it.

    `announces` is the gap that `data` carries.
    """

    sequence: int
    data: bytes
    flows: int
    announces: Gap | None = None


class Outbox:
    """What waits to be acknowledged, oldest first."""

    def __init__(self, batches_max: int) -> None:
        self._max = batches_max
        self._waiting: deque[Parcel] = deque()
        self._next = 1
        self._gap: Gap | None = None
        self.snapshot_due = True

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def gap(self) -> Gap | None:
        """What was given up and not yet announced to the Console: all just before the front."""
        return self._gap

    def sequence(self) -> int:
        """The number of the next batch."""
        return self._next

    def put(self, data: bytes, flows: int) -> None:
        """Take the next batch, encoded without a gap; if `snapshot_due`, it is a snapshot."""
        self._waiting.append(Parcel(self._next, data, flows))
        self._next += 1
        self.snapshot_due = False
        while len(self._waiting) > self._max:
            self._give_up(self._waiting.popleft())

    def first(self) -> Parcel | None:
        """The batch to send now; it announces what was given up before it."""
        while self._waiting:
            parcel = self._waiting[0]
            if parcel.announces == self._gap:
                return parcel
            try:
                batch = msgspec.structs.replace(decode_batch(parcel.data), gap=self._gap)
                data = encode_batch(batch)
            except ProtocolError:
                # The Console checks the same things: it would never take this batch.
                self._give_up(self._waiting.popleft())
                continue
            self._waiting[0] = parcel._replace(data=data, announces=self._gap)
        return None

    def acknowledged(self, sequence: int) -> None:
        """Everything up to `sequence` is committed by the Console."""
        while self._waiting and self._waiting[0].sequence <= sequence:
            self._waiting.popleft()
        if self._gap is not None and sequence >= self._gap.first:
            # Also a batch that was given up while it was on its way: then its flows are counted
            # as lost all the same, which errs on the safe side.
            later = msgspec.structs.replace(self._gap, first=sequence + 1)
            self._gap = later if later.first <= later.last else None

    def refused(self, sequence: int) -> None:
        """The Console will never take this batch: give it up, so that the rest gets through."""
        if self._waiting and self._waiting[0].sequence == sequence:
            self._give_up(self._waiting.popleft())

    def missing(self, sequence: int) -> None:
        """The Console lacks batches before this one (it was restored from a backup, say).

        They are gone for good here too: announce all that came before as lost and begin anew.
        """
        if self._waiting and self._waiting[0].sequence == sequence:
            self._give_up(self._waiting.popleft())
            lost = self._gap.flows if self._gap else 0
            self._gap = Gap(first=1, last=sequence, flows=lost)

    def _give_up(self, parcel: Parcel) -> None:
        first, flows = (self._gap.first, self._gap.flows) if self._gap else (parcel.sequence, 0)
        self._gap = Gap(first=first, last=parcel.sequence, flows=flows + parcel.flows)
        self.snapshot_due = True
