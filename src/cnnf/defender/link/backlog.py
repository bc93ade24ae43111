"""What of the outbox is on disk, and when it goes there and comes back.

Batches that were not acknowledged for some seconds are written in one go, behind those that are
there; what is on disk is read back segment by segment, oldest first, former processes' first. So
with the Console there the disk is not touched, and memory holds some seconds and one segment.

A segment that can't be read, a full disk, a directory that can't be written: each is told by a
condition and given up or put off, never tried in a loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog

from cnnf.defender.core.conditions import Code
from cnnf.defender.core.limits import (
    SPOOL_AFTER_SECONDS,
    SPOOL_SEGMENT_BYTES,
    SPOOL_SEGMENTS_MAX,
)
from cnnf.defender.core.outbox import Outbox, Parcel
from cnnf.defender.core.spool import (
    HEAD_BYTES,
    Contents,
    Record,
    decode,
    encode_head,
    encode_record,
    record_bytes,
)
from cnnf.defender.link.errors import SpoolFailed
from cnnf.defender.link.spool import SpoolFiles
from cnnf.protocol.messages import SpoolState

_log = structlog.get_logger(__name__)

#: A small quota is used in so many segments at least, since the oldest goes as a whole.
_QUOTA_SEGMENTS_MIN = 4


class _Segment:
    """One file. What is in it is known if this process wrote it: `first` is 0 otherwise."""

    def __init__(self, number: int, size: int, oldest_at: int) -> None:
        self.number = number
        self.size = size
        self.oldest_at = oldest_at
        self.first = self.last = self.flows = 0

    def add(self, parcels: list[Parcel], size: int) -> None:
        """These were written at its end."""
        self.first = self.first or parcels[0].sequence
        self.last = parcels[-1].sequence
        self.flows += sum(parcel.flows for parcel in parcels)
        self.size += size


class Backlog:
    """The outbox and its part on disk. `quota` is in bytes; with 0 nothing is kept on disk.

    `happened` is told of what may be over, `raise_` and `clear` of what stands.
    """

    def __init__(
        self,
        outbox: Outbox,
        files: SpoolFiles,
        quota: int,
        *,
        happened: Callable[[Code, str], None],
        raise_: Callable[[Code, str], None],
        clear: Callable[[Code], None],
    ) -> None:
        self._outbox = outbox
        self._files = files
        self._quota = quota
        self._segment_max = min(SPOOL_SEGMENT_BYTES, quota // _QUOTA_SEGMENTS_MIN)
        self._happened = happened
        self._raise = raise_
        self._clear = clear
        #: Oldest first; the first may be read back (`_reading`), the last be written (`_writing`).
        self._segments: deque[_Segment] = deque()
        self._reading = False
        self._writing: _Segment | None = None
        self._number = 0
        self._opened = False
        self._failing = ""
        #: Whoever touches the disk or `_segments`.
        self._disk = asyncio.Lock()

    @property
    def empty(self) -> bool:
        """Is everything acknowledged?"""
        return not self._segments and not len(self._outbox)

    @property
    def state(self) -> SpoolState:
        """As the Console is told of it."""
        return SpoolState(
            bytes=sum(segment.size for segment in self._segments),
            bytes_max=self._quota,
            oldest_at=self._segments[0].oldest_at if self._segments else 0,
        )

    async def open(self) -> None:
        """Find what former processes have left; one that has no quota leaves it where it is."""
        if self._quota:
            async with self._disk:
                try:
                    await self._open()
                except SpoolFailed as error:
                    self._fail(error)

    async def first(self) -> Parcel | None:
        """The batch to send now, read back from disk if that is where it is."""
        while True:
            parcel = self._outbox.first()
            if parcel is not None and (self._outbox.read_back or not self._segments):
                return parcel
            if not self._segments:
                return parcel
            async with self._disk:
                await self._read_next()

    async def keep_for_ever(self) -> None:
        """Write what was not acknowledged for some seconds."""
        while True:
            await asyncio.sleep(SPOOL_AFTER_SECONDS)
            await self._keep(time.monotonic() - SPOOL_AFTER_SECONDS)

    async def keep_all(self) -> None:
        """Write all that is not acknowledged: this process ends."""
        await self._keep(time.monotonic())

    async def _open(self) -> None:
        found = await asyncio.to_thread(self._files.open)
        self._opened = True
        self._segments.extend(_Segment(*one) for one in found)
        self._number = found[-1].number if found else 0
        await self._make_room(0)
        self._outbox.on_disk = bool(self._segments)
        if found:
            _log.info("batches of before wait", segments=len(found), bytes=self.state.bytes)

    # --- to the disk

    async def _keep(self, before: float) -> None:
        parcels = self._outbox.due(before) if self._quota else []
        if not parcels:
            return
        async with self._disk:
            try:
                if not self._opened:
                    await self._open()
                while parcels:
                    parcels = await self._write_some(parcels)
            except SpoolFailed as error:
                self._fail(error)
                return
        if self._failing:
            _log.info("the spool can be written again")
            self._failing = ""
            self._clear("spool-failed")

    async def _write_some(self, parcels: list[Parcel]) -> list[Parcel]:
        """Write as many as one segment takes; those that are left. Raises SpoolFailed."""
        room = self._segment_max - (self._writing.size if self._writing else HEAD_BYTES)
        if record_bytes(parcels[0].data) > room:
            self._writing, room = None, self._segment_max - HEAD_BYTES
        run: list[Parcel] = []
        for parcel in parcels:
            room -= record_bytes(parcel.data)
            if run and room < 0:
                break
            run.append(parcel)
        data = b"".join(encode_record(_record(parcel)) for parcel in run)
        if HEAD_BYTES + len(data) > self._quota:
            raise SpoolFailed(f"a batch of {len(data)} bytes is larger than the quota")
        await self._make_room(HEAD_BYTES + len(data))
        segment = self._writing
        if segment is None:
            segment = _Segment(self._number + 1, 0, run[0].sent_at)
            data = encode_head(self._outbox.incarnation) + data
        await asyncio.to_thread(self._files.append, segment.number, segment.size, data)
        segment.add(run, len(data))
        if segment is not self._writing:
            self._segments.append(segment)
            self._writing, self._number = segment, segment.number
        self._outbox.on_disk = len(self._segments) > self._reading
        self._outbox.stored(run)
        return parcels[len(run) :]

    async def _make_room(self, size: int) -> None:
        """Give up the oldest segments until so many bytes more are within the quota."""
        while self._segments and (
            self.state.bytes + size > self._quota or len(self._segments) >= SPOOL_SEGMENTS_MAX
        ):
            await self._give_up_oldest()

    async def _give_up_oldest(self) -> None:
        segment = self._segments[0]
        if self._reading:
            self._outbox.give_up_read_back()
        elif segment.first:
            self._outbox.lost(
                self._outbox.incarnation,
                segment.first,
                segment.last,
                segment.flows,
                segment.oldest_at,
            )
        else:
            contents, _ = await self._contents(segment)
            if contents.records:
                self._outbox.lost(
                    contents.incarnation,
                    contents.records[0].sequence,
                    contents.records[-1].sequence,
                    sum(record.flows for record in contents.records),
                    contents.records[-1].sent_at,
                )
        _log.warning("the spool is full: its oldest segment is given up", segment=segment.number)
        self._happened("batches-lost", "the spool is full: the oldest batches were given up")
        await self._done_with_oldest()

    # --- and back

    async def _read_next(self) -> None:
        """Be done with the segment that was read back, then read the next, if there is one."""
        if self._reading:
            if self._outbox.read_back:
                return
            await self._done_with_oldest()
        if not self._segments:
            return
        segment = self._segments[0]
        if segment is self._writing:
            # What is written from here on goes to another one.
            self._writing = None
        contents, problem = await self._contents(segment)
        if problem:
            self._damaged(segment, contents, problem)
        self._outbox.take_back(
            [
                Parcel(contents.incarnation, one.sequence, one.data, one.flows, one.sent_at)
                for one in contents.records
            ]
        )
        self._reading = True
        self._outbox.on_disk = len(self._segments) > 1

    async def _contents(self, segment: _Segment) -> tuple[Contents, str]:
        """What of a segment can be believed, and what is wrong with the rest of it."""
        try:
            data = await asyncio.to_thread(self._files.read, segment.number)
        except SpoolFailed as error:
            return Contents("", []), str(error)
        contents = await asyncio.to_thread(decode, data)
        return contents, contents.problem

    def _damaged(self, segment: _Segment, contents: Contents, problem: str) -> None:
        _log.warning(
            "a segment of the spool can't be read whole; the rest of it is given up",
            segment=segment.number,
            directory=str(self._files.directory),
            problem=problem,
            good=len(contents.records),
        )
        self._happened(
            "spool-damaged",
            f"segment {segment.number}: {problem}; its first {len(contents.records)} batches are "
            "good, the rest is lost",
        )
        good = contents.records[-1].sequence if contents.records else segment.first - 1
        if segment.first and good < segment.last:
            flows = segment.flows - sum(record.flows for record in contents.records)
            self._outbox.lost(
                self._outbox.incarnation, good + 1, segment.last, flows, segment.oldest_at
            )

    async def _done_with_oldest(self) -> None:
        """The oldest segment is told, or given up."""
        segment = self._segments.popleft()
        if segment is self._writing:
            self._writing = None
        self._reading = False
        self._outbox.on_disk = bool(self._segments)
        try:
            await asyncio.to_thread(self._files.remove, segment.number)
        except SpoolFailed as error:
            # The next process sends it again, and the Console knows that it has it.
            _log.error("a segment of the spool stays", error=str(error))
            self._happened("spool-failed", str(error))

    def _fail(self, error: SpoolFailed) -> None:
        text = f"{error}; what is not on disk is kept in memory, as far as there is room"
        self._raise("spool-failed", text)
        if str(error) != self._failing:
            _log.error("the spool fails", error=str(error))
        self._failing = str(error)


def _record(parcel: Parcel) -> Record:
    return Record(parcel.sequence, parcel.sent_at, parcel.flows, parcel.data)
