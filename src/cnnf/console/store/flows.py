"""The seam between the Console and whatever keeps flow history.

`FlowStore` is all the rest of the Console knows. Every implementation passes
`tests/contract/test_flow_store.py`.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from cnnf.console.core.directory import Directory
from cnnf.console.core.events import Cursor, Event, EventFilter
from cnnf.console.core.observed import Bucket, Mark, NodeRecord, Observed
from cnnf.console.core.recorded import Recorded
from cnnf.console.core.windows import Resolution, Window
from cnnf.protocol.messages import Batch

T = TypeVar("T")


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch; `sequence` is the high-water mark after it, `events` the number of
    events that it opened or extended."""

    sequence: int
    duplicate: bool
    events: int = 0


class FlowStore(Protocol):
    """Flow history and what is known of instances.

    `directory` is who is where, as of the batches taken; owned by the event loop.
    """

    directory: Directory

    async def append_batch(self, defender: str, batch: Batch, received_at: int) -> Appended:
        """Take a batch as a whole, once, or not at all; returns when it is durable.

        A batch at or below its incarnation's mark changes nothing. Raises Conflict when a batch
        before this one is missing and no gap accounts for it, StoreUnavailable when it has to be
        sent again later.
        """

    async def radar(self, window: Window, now: int, *, peers: bool = False) -> Observed:
        """Sums by edge over the window, and what runs now; with `peers` who was met outside."""

    async def node(self, node: str, window: Window) -> NodeRecord | None:
        """All about one node; None when there never was such a node."""

    async def edge_history(self, source: str, target: str, window: Window) -> list[Bucket]:
        """The counts of all ports between two nodes, by the window's buckets, oldest first."""

    async def recorded(
        self, window: Window, work: Callable[[Recorded], T], check: Callable[[], None]
    ) -> T:
        """What `work` makes of the flows of a window; it runs beside the event loop, over one
        consistent state.

        `check` is called every few milliseconds while the store reads; what it raises ends all.
        """

    async def events(self, wanted: EventFilter, count: int, after: Cursor | None) -> list[Event]:
        """The events last seen latest, at most `count`, of those behind the cursor."""

    async def changed_events(self, wanted: EventFilter, version: int, count: int) -> list[Event]:
        """Events opened or extended since this version, in the order of their versions."""

    async def events_version(self) -> int:
        """The version of the last change of any event, 0 when there was none."""

    async def rollup(self, resolution: Resolution, start: int, end: int) -> int:
        """Make the hour or day buckets of `[start, end)` anew from the next finer ones.

        They are kept up to date with every batch, so this changes nothing unless something was
        lost; returns the number of buckets that were different.
        """

    async def expire(self, now: int) -> int:
        """Draw what nobody else will tell of any more, and delete some of what is older than its
        time; returns how much, 0 when done."""

    async def watermark(self, defender: str, incarnation: str) -> Mark:
        """The last sequence taken, and what was given up before it."""
