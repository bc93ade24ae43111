"""Batches on their way to the Console: numbered, kept until acknowledged, bounded.

At the bound the oldest goes first; the range that was given up is announced in the next batch, and
that batch is a snapshot again, because changes may have been among what was lost.
"""

from collections import deque
from typing import NamedTuple

from cnnf.protocol.messages import Gap


class Parcel(NamedTuple):
    """An encoded batch and its number; `flows` is what would be lost with it."""

    sequence: int
    data: bytes
    flows: int


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
        """The range to announce in the next batch."""
        return self._gap

    def sequence(self) -> int:
        """The number of the next batch."""
        return self._next

    def put(self, data: bytes, flows: int) -> None:
        """Take the next batch; it carries `gap` and, if `snapshot_due`, a snapshot."""
        self._waiting.append(Parcel(self._next, data, flows))
        self._next += 1
        self._gap = None
        self.snapshot_due = False
        while len(self._waiting) > self._max:
            self._give_up(self._waiting.popleft())

    def first(self) -> Parcel | None:
        """The batch to send now."""
        return self._waiting[0] if self._waiting else None

    def acknowledged(self, sequence: int) -> None:
        """Everything up to `sequence` is committed by the Console."""
        while self._waiting and self._waiting[0].sequence <= sequence:
            self._waiting.popleft()

    def refused(self, sequence: int) -> None:
        """The Console will never take this batch: give it up, so that the rest gets through."""
        if self._waiting and self._waiting[0].sequence == sequence:
            self._give_up(self._waiting.popleft())

    def _give_up(self, parcel: Parcel) -> None:
        first = min(self._gap.first, parcel.sequence) if self._gap else parcel.sequence
        last = max(self._gap.last, parcel.sequence) if self._gap else parcel.sequence
        flows = (self._gap.flows if self._gap else 0) + parcel.flows
        self._gap = Gap(first=first, last=last, flows=flows)
        self.snapshot_due = True
