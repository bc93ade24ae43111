"""The directory towards Defenders: their questions, and what becomes stale of the answers."""

import asyncio

import structlog

from cnnf.console import limits
from cnnf.console.api.settings_feed import SettingsFeed
from cnnf.console.core import questions
from cnnf.console.core.directory import Directory
from cnnf.console.core.holdings import Holdings
from cnnf.protocol.messages import Question, Stale

log = structlog.get_logger()


class DirectoryFeed:
    """Answers from memory; tells each Defender what of its answers is true no more. Owned by the
    event loop."""

    def __init__(self, directory: Directory, streams: SettingsFeed) -> None:
        self._directory = directory
        self._streams = streams
        self._holdings = Holdings()
        self._public = directory.public

    def ask(self, defender: str, question: Question) -> bytes:
        """The answers, as JSON. Raises Refused."""
        body, addresses = questions.answer(self._directory, defender, question)
        self._holdings.told(defender, addresses)
        return body

    def opened(self, defender: str) -> Stale:
        """What a stream that is opened now begins with."""
        return self._holdings.opened(defender, self._directory.generation)

    def removed(self, defender: str) -> None:
        """It is no longer enrolled: nobody is where it was."""
        self._directory.remove(defender)
        self._holdings.removed(defender)

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell what has become stale, until the Console stops."""
        while not stopping.is_set():
            try:
                self.tell()
            except Exception:  # the next round may do better; who is told late asks late
                log.exception("stale answers not told")
            try:
                async with asyncio.timeout(limits.STALE_EVERY_S):
                    await stopping.wait()
            except TimeoutError:
                continue

    def tell(self) -> None:
        """Tell those who listen what has become stale since the last time."""
        self._holdings.changed(self._directory.take_stale())
        if self._directory.public != self._public:
            # Nobody asked about these, since nobody was there.
            before, self._public = set(self._public), self._directory.public
            fresh = {one.partition("/")[0] for one in set(self._public) - before}
            self._holdings.changed(fresh, everybody=True)
        for defender in self._holdings.waiting():
            if self._streams.listens(defender):
                stale = self._holdings.take(defender, self._directory.generation)
                if stale is not None:
                    self._streams.tell(defender, stale)
