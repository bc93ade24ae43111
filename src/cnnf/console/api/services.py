"""What the routes work with; made once by `cnnf.console.app` and handed to each application."""

import asyncio
import time

from cnnf.console import limits
from cnnf.console.api.directory_feed import DirectoryFeed
from cnnf.console.api.events_feed import EventsFeed
from cnnf.console.api.policy_in_force import PolicyInForce
from cnnf.console.api.radar_feed import RadarFeeds
from cnnf.console.api.settings_feed import SettingsFeed
from cnnf.console.authority import Authority
from cnnf.console.core.attempts import Attempts
from cnnf.console.store.database import Database
from cnnf.console.store.flows import FlowStore


def now_ms() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Liveness:
    """Which Defenders are heard of now. Owned by the event loop."""

    def __init__(self) -> None:
        self._streams: dict[str, set[asyncio.Event]] = {}
        self._heard_at: dict[str, int] = {}  # of enrolled Defenders only

    def heard(self, defender: str, now: int) -> None:
        """A batch came."""
        self._heard_at[defender] = now

    def opened(self, defender: str) -> asyncio.Event:
        """A stream was opened; it has to end when the event is set, and then say so."""
        ended = asyncio.Event()
        self._streams.setdefault(defender, set()).add(ended)
        return ended

    def closed(self, defender: str, ended: asyncio.Event) -> None:
        """A stream ended; one that ends is no longer a sign of life by itself."""
        streams = self._streams.get(defender, set())
        streams.discard(ended)
        if not streams:
            self._streams.pop(defender, None)

    def removed(self, defender: str) -> None:
        """It is enrolled no more: its streams end."""
        self._heard_at.pop(defender, None)
        for ended in self._streams.pop(defender, set()):
            ended.set()

    def live(self, defender: str, now: int) -> bool:
        """True while a stream is open, and for a while after a batch."""
        if defender in self._streams:
            return True
        return self._heard_at.get(defender, 0) > now - limits.DEFENDER_LIVE_MS


class Services:
    """Everything that outlives a request."""

    def __init__(
        self,
        *,
        database: Database,
        flows: FlowStore,
        authority: Authority,
        liveness: Liveness,
        radar: RadarFeeds,
        events: EventsFeed,
        settings: SettingsFeed,
        policies: PolicyInForce,
        directory: DirectoryFeed,
        url: str,
        defender_url: str,
        host_name: str,
        stopping: asyncio.Event,
    ) -> None:
        self.database = database
        self.flows = flows
        self.authority = authority
        self.liveness = liveness
        self.radar = radar
        self.events = events
        self.settings = settings
        self.policies = policies
        self.directory = directory
        #: Where people and joining Defenders reach this Console, and where Defenders do then.
        self.url = url
        self.defender_url = defender_url
        #: What the host is called that this Console runs on.
        self.host_name = host_name
        self.stopping = stopping
        self.attempts = Attempts()
        #: One password at a time: each takes 64 MiB and a core.
        self.hashing = asyncio.Semaphore(1)
        #: Drafts of a policy that are judged against history now.
        self.judging = asyncio.Semaphore(limits.WHAT_IF_MAX)
        #: Network objects whose connections are looked up now.
        self.seeing = asyncio.Semaphore(limits.SEEN_AT_ONCE_MAX)
