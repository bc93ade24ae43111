"""Gets to know ends elsewhere: notes whom packets meet, asks the Console, keeps what it says.

One owner: the daemon. What is met within a moment goes in one question; while the Console is away
what is known holds, and the questions wait. `core/peers.py` says what to ask and what is true.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from cnnf.defender.core.attribution import Sighting, plain
from cnnf.defender.core.limits import (
    PEERS_SAVE_SECONDS,
    QUESTION_ENDS_MAX,
    QUESTION_IDLE_SECONDS,
    QUESTION_RETRY_FIRST_SECONDS,
    QUESTION_RETRY_MAX_SECONDS,
    QUESTION_WAIT_SECONDS,
)
from cnnf.defender.core.peers import Change, Peers, sought_of
from cnnf.defender.core.peers_form import UnreadablePeersError, decode_peers, encode_peers
from cnnf.defender.core.tables import TCP, UDP, Place
from cnnf.defender.link.directory import PeersFile
from cnnf.defender.link.errors import DirectoryUnreachable, QuestionRefused
from cnnf.protocol.directory import decode_stale
from cnnf.protocol.errors import ProtocolError
from cnnf.protocol.messages import Answers, Question, Stale

_log = structlog.get_logger(__name__)


class Asks(Protocol):
    """Who answers questions: the Console's directory."""

    async def ask(self, question: Question) -> Answers:
        """Raises DirectoryUnreachable."""
        ...


class Acquaintances:
    """Owns what is known of ends elsewhere.

    `is_own` says of a packed address whether it is this host's or one of its containers'. `changed`
    is told who stands where by now, `moved` that others on the internet matter. `trouble` is told
    why the Console can't be asked while that keeps ends unnamed, and '' when it can be again.
    """

    def __init__(
        self,
        peers: Peers,
        directory: Asks,
        file: PeersFile,
        *,
        owner: str,
        is_own: Callable[[bytes], bool],
        changed: Callable[[list[Change]], None],
        moved: Callable[[], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._peers = peers
        self._directory = directory
        self._file = file
        self._owner = owner
        self._is_own = is_own
        self._changed = changed
        self._moved = moved
        self._trouble = trouble
        self._news = asyncio.Event()
        self._saved = 0
        self._most = QUESTION_ENDS_MAX

    def restore(self) -> None:
        """Know what was known when the program ended; nothing of it where the file is not whole."""
        try:
            data = self._file.read()
            if data is None:
                return
            public, kept = decode_peers(data, self._owner)
            self._peers.set_public(public)
            self._peers.restore(kept)
        except (OSError, UnreadablePeersError, ValueError) as error:
            _log.warning("kept answers not taken", file=str(self._file.path), reason=str(error))
            return
        # Whatever has become stale since, nobody has told us.
        self._peers.stale(Stale(generation=-1, everything=True), _now())
        self._news.set()
        _log.info("kept answers taken", ends=len(self._peers))

    def met(self, sighting: Sighting) -> None:
        """Packets went from one end to the other."""
        if sighting.source:
            self._meet((plain(sighting.source), 0, 0))
        protocol = UDP if sighting.protocol == "udp" else TCP
        self._meet((plain(sighting.destination), sighting.port, protocol))

    def sought(self, places: Iterable[Place]) -> None:
        """Packet loops have met these and want them named."""
        for place in places:
            self._meet(place)

    def take(self, event: str, data: str) -> None:
        """An event of the Console's stream; those that are not ours are left alone."""
        if event != "stale":
            return
        try:
            stale = decode_stale(data)
        except ProtocolError as error:
            # It said that something is not true any more: then it may be anything.
            _log.error("stale answers can't be read", error=str(error))
            stale = Stale(generation=0, everything=True)
        self._tell(self._peers.stale(stale, _now()))
        self._news.set()

    async def ask_for_ever(self) -> None:
        """Ask whenever there is something to ask."""
        wait = QUESTION_RETRY_FIRST_SECONDS
        while True:
            if not self._peers.wants:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(QUESTION_IDLE_SECONDS):
                        await self._news.wait()
            # What comes with it goes in the same question.
            await asyncio.sleep(QUESTION_WAIT_SECONDS)
            self._news.clear()
            try:
                await self._ask()
            except QuestionRefused as error:
                self._refused(str(error))
            except DirectoryUnreachable as error:
                self._peers.failed()
                if self._peers.wanted:
                    self._trouble(f"{self._peers.wanted} ends elsewhere are not named: {error}")
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                wait = min(wait * 2, QUESTION_RETRY_MAX_SECONDS)
            else:
                wait = QUESTION_RETRY_FIRST_SECONDS
                self._trouble("")

    async def keep_for_ever(self) -> None:
        """Write what is known, and forget what was not met for long."""
        while True:
            await asyncio.sleep(PEERS_SAVE_SECONDS)
            self._tell(self._peers.forget_unused(_now()))
            await self.save()

    async def save(self) -> None:
        """Write what is known, if it is other than last time. Raises OSError."""
        news = self._peers.news
        if news != self._saved:
            data = encode_peers(self._owner, self._peers.public, list(self._peers.kept()))
            await asyncio.to_thread(self._file.write, data)
            self._saved = news

    async def _ask(self) -> None:
        places = self._peers.question(self._most)
        question = Question(sought=[sought_of(place) for place in places])
        answers = await self._directory.ask(question)
        self._most = min(2 * self._most, QUESTION_ENDS_MAX)
        changes = self._peers.answered(answers, _now())
        if self._peers.set_public(answers.public):
            self._moved()
        self._tell(changes)

    def _refused(self, why: str) -> None:
        """One end that the Console does not answer about (it takes it for ours, which it may just
        have been) must not keep all others unnamed: ask for fewer, and leave out the one."""
        asked = self._peers.asked
        _log.warning("question refused", ends=asked, why=why)
        if asked > 1:
            self._peers.failed()
            self._most = asked // 2
        else:
            self._tell(self._peers.unanswerable(_now()))

    def _meet(self, place: Place) -> None:
        if not self._is_own(place[0]) and self._peers.meet(place, _now()):
            self._news.set()

    def _tell(self, changes: list[Change]) -> None:
        if changes:
            self._changed(changes)


def _now() -> int:
    return int(time.time())
