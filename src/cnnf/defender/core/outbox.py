"""Batches on their way to the Console: numbered, kept until acknowledged, bounded.

What waits stands in this order: batches read back from disk (of former incarnations first), what
is still on disk (`on_disk`; `link/backlog.py` keeps it), and the fresh ones in memory. The Console
takes a batch beyond a hole only if that batch announces the hole. So the announcement is made when
a batch is at the front, from what was acknowledged before it, however the hole came to be. Of an
incarnation of which nothing is left but a hole, a batch that says only that is made.

The next batch that is made after a loss is a snapshot, because changes may have been in it.
"""

from collections import deque
from typing import NamedTuple

import msgspec

from cnnf.protocol.codec import decode_batch, encode_batch
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import Batch, Gap


class Parcel(NamedTuple):
    """An encoded batch, named by incarnation and sequence; `flows` is what is lost with it.

    `sent_at` is in ms since the epoch, `put_at` in seconds of a clock that only goes forward.
    `announces` is the gap that `data` carries; `closing` was made for that alone.
    """

    incarnation: str
    sequence: int
    data: bytes
    flows: int
    sent_at: int
    put_at: float = 0.0
    announces: Gap | None = None
    closing: bool = False


class _Lost(NamedTuple):
    """A range that was given up of one incarnation and not announced yet."""

    first: int
    last: int
    flows: int
    sent_at: int


class Outbox:
    """What waits to be acknowledged, oldest first."""

    def __init__(self, incarnation: str, *, batches_max: int, bytes_max: int) -> None:
        self.incarnation = incarnation
        self._batches_max = batches_max
        self._bytes_max = bytes_max
        self._front: deque[Parcel] = deque()
        self._fresh: deque[Parcel] = deque()
        self._fresh_bytes = 0
        self._next = 1
        #: By incarnation: all up to here is acknowledged, or was before we knew of it.
        self._settled: dict[str, int] = {incarnation: 0}
        self._lost: dict[str, list[_Lost]] = {}
        #: Older batches than the fresh ones are on disk, and not read back yet.
        self.on_disk = False
        self.snapshot_due = True

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._front) + len(self._fresh)

    @property
    def read_back(self) -> int:
        """How many of those that were read back still wait."""
        return len(self._front)

    @property
    def gap(self) -> Gap | None:
        """What was given up last and not announced to the Console yet."""
        for ranges in reversed(self._lost.values()):
            return Gap(
                first=ranges[0].first,
                last=ranges[-1].last,
                flows=sum(lost.flows for lost in ranges),
            )
        return None

    @property
    def oldest_at(self) -> int:
        """When the oldest in memory was made, in ms; 0 when there is none."""
        for queue in (self._front, self._fresh):
            if queue:
                return queue[0].sent_at
        return 0

    def sequence(self) -> int:
        """The number of the next batch."""
        return self._next

    def put(self, data: bytes, flows: int, *, sent_at: int, now: float) -> None:
        """Take the next batch, encoded without a gap; if `snapshot_due`, it is a snapshot."""
        self._fresh.append(Parcel(self.incarnation, self._next, data, flows, sent_at, now))
        self._fresh_bytes += len(data)
        self._next += 1
        self.snapshot_due = False
        while len(self._fresh) > self._batches_max or self._fresh_bytes > self._bytes_max:
            self._give_up(self._take_fresh())

    def first(self) -> Parcel | None:
        """The batch to send now; it announces what is missing before it.

        None when nothing waits, or `on_disk`: then what comes next has to be read back first.
        """
        while True:
            if not self._front:
                if self.on_disk:
                    return None
                self._close_former(self.incarnation)
            elif not self._front[0].closing:
                self._close_former(self._front[0].incarnation)
            queue = self._front or self._fresh
            if not queue:
                return None
            parcel = queue[0]
            gap = self._before(parcel)
            if parcel.announces == gap:
                return parcel
            try:
                batch = msgspec.structs.replace(decode_batch(parcel.data), gap=gap)
                data = encode_batch(batch)
            except ProtocolError:
                # The Console checks the same things: it would never take this batch.
                self._drop_first()
                continue
            self._replace_first(parcel._replace(data=data, announces=gap))

    def acknowledged(self, incarnation: str, sequence: int) -> None:
        """Everything of this incarnation up to `sequence` is committed by the Console."""
        while self._front and self._front[0].incarnation == incarnation:
            if self._front[0].sequence > sequence:
                break
            self._front.popleft()
        if incarnation == self.incarnation:
            while self._fresh and self._fresh[0].sequence <= sequence:
                self._take_fresh()
        # Also a batch that was given up while it was on its way: then its flows are counted as
        # lost all the same, which errs on the safe side.
        left = [lost for lost in self._lost.pop(incarnation, []) if lost.last > sequence]
        if left:
            self._lost[incarnation] = left
        settled = max(self._settled.get(incarnation, 0), sequence)
        # Incarnations come one after the other: those before this one are done.
        self._settled = {
            one: number
            for one, number in self._settled.items()
            if one == self.incarnation or one in self._lost
        }
        self._settled[incarnation] = settled

    def refused(self, incarnation: str, sequence: int) -> None:
        """The Console will never take this batch: give it up, so that the rest gets through."""
        if self._is_first(incarnation, sequence):
            self._drop_first()

    def missing(self, incarnation: str, sequence: int) -> None:
        """The Console lacks batches before this one (it was restored from a backup, say).

        They are gone for good here too: all that came before is announced as lost. A batch that
        announces that already, and is refused for it, is given up.
        """
        if not self._is_first(incarnation, sequence):
            return
        announced = (self._front or self._fresh)[0].announces
        if announced is not None and announced.first == 1:
            self._drop_first()
        self._settled[incarnation] = 0
        self.snapshot_due = True

    # --- what is on disk

    def due(self, before: float) -> list[Parcel]:
        """Fresh batches that were put before this moment: worth keeping on disk."""
        found = []
        for parcel in self._fresh:
            if parcel.put_at > before:
                break
            found.append(parcel)
        return found

    def stored(self, parcels: list[Parcel]) -> None:
        """These are on disk now, behind all that was there; they are not kept in memory too."""
        last = parcels[-1].sequence
        while self._fresh and self._fresh[0].sequence <= last:
            self._take_fresh()

    def take_back(self, parcels: list[Parcel]) -> None:
        """These were read back from disk, the next in order."""
        for parcel in parcels:
            if parcel.sequence > self._settled.get(parcel.incarnation, 0):
                self._settled.setdefault(parcel.incarnation, parcel.sequence - 1)
                self._front.append(parcel)

    def give_up_read_back(self) -> None:
        """Those that were read back are given up."""
        while self._front:
            self._drop_first()

    def lost(self, incarnation: str, first: int, last: int, flows: int, sent_at: int) -> None:
        """Batches were given up on disk, or can't be read back."""
        ranges = sorted([*self._lost.pop(incarnation, []), _Lost(first, last, flows, sent_at)])
        merged = ranges[:1]
        for one in ranges[1:]:
            before = merged[-1]
            if one.first > before.last + 1:
                merged.append(one)
                continue
            merged[-1] = _Lost(
                before.first,
                max(before.last, one.last),
                before.flows + one.flows,
                max(before.sent_at, one.sent_at),
            )
        self._lost[incarnation] = merged
        self._settled.setdefault(incarnation, first - 1)
        self.snapshot_due = True

    # --- within

    def _before(self, parcel: Parcel) -> Gap | None:
        """The hole before this batch, as far as the Console has not been told."""
        settled = self._settled.get(parcel.incarnation, parcel.sequence - 1)
        if parcel.sequence <= settled + 1:
            return None
        ranges = self._lost.get(parcel.incarnation, [])
        flows = sum(lost.flows for lost in ranges if lost.first < parcel.sequence)
        return Gap(first=settled + 1, last=parcel.sequence - 1, flows=flows)

    def _close_former(self, incarnation: str) -> None:
        """Of a former incarnation nothing but a hole is left: make a batch that announces it."""
        for former, ranges in self._lost.items():
            if former in (incarnation, self.incarnation):
                continue
            number, sent_at = ranges[-1].last + 1, ranges[-1].sent_at
            batch = Batch(incarnation=former, sequence=number, sent_at=sent_at)
            data = encode_batch(batch)
            self._front.appendleft(Parcel(former, number, data, 0, sent_at, closing=True))
            return

    def _is_first(self, incarnation: str, sequence: int) -> bool:
        queue = self._front or self._fresh
        return bool(queue) and queue[0][:2] == (incarnation, sequence)

    def _replace_first(self, parcel: Parcel) -> None:
        if self._front:
            self._front[0] = parcel
        else:
            self._fresh_bytes += len(parcel.data) - len(self._fresh[0].data)
            self._fresh[0] = parcel

    def _drop_first(self) -> None:
        parcel = self._front.popleft() if self._front else self._take_fresh()
        if parcel.closing:
            # It told of nothing but a hole: that can't be told, then.
            self._lost.pop(parcel.incarnation, None)
        else:
            self._give_up(parcel)

    def _take_fresh(self) -> Parcel:
        parcel = self._fresh.popleft()
        self._fresh_bytes -= len(parcel.data)
        return parcel

    def _give_up(self, parcel: Parcel) -> None:
        self.lost(
            parcel.incarnation, parcel.sequence, parcel.sequence, parcel.flows, parcel.sent_at
        )
