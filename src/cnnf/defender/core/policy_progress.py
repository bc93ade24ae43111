"""How far a Defender has come with the Console's policy, and what to do next.

| told of | in force | next |
|---|---|---|
| nothing yet | anything | rest |
| what was refused, as it was | anything | rest |
| the same digest | that | renumber, where the generation is another or one was refused since |
| anything else | anything | fetch, check, apply: it is in force or was refused |

`defender/console_policy.py` does it; nothing here fetches, reads or applies.
"""

from typing import Literal

import msgspec

from cnnf.defender.core.newest import Newest
from cnnf.protocol.limits import COMMAND_CHARS_MAX
from cnnf.protocol.messages import PolicyDocument, PolicyNews, PolicyState

Step = Literal["rest", "renumber", "fetch"]


class OutdatedDocumentError(Exception):
    """The Console gave an older generation than it had told of; to be asked again."""


class MismatchError(Exception):
    """The Console gave something else under the generation that it had told of."""


class PolicyProgress:
    """What was told, what is in force, what was refused of it."""

    def __init__(self) -> None:
        self._told: Newest[PolicyNews] = Newest()
        #: What is in force, text and all; None: nothing of the Console's.
        self.held: PolicyDocument | None = None
        self._refused: PolicyNews | None = None
        #: Which is not in force, and why.
        self._lacking, self._reason = 0, ""

    def opened(self) -> None:
        """A stream begins; what it says first counts."""
        self._told.opened()

    def tell(self, news: PolicyNews) -> bool:
        """The stream says this; True where it is news."""
        return self._told.take(news)

    @property
    def told(self) -> PolicyNews | None:
        """What is to be in force."""
        return self._told.value

    @property
    def step(self) -> Step:
        """What to do next."""
        told = self._told.value
        if told is None:
            return "rest"
        if self.held is not None and told.digest == self.held.digest:
            settled = told.generation == self.held.generation and not self._lacking
            return "rest" if settled else "renumber"
        # What can't be taken stays so. A generation that is only not in force yet is no refusal.
        return "rest" if told == self._refused else "fetch"

    def fetched(self, document: PolicyDocument) -> None:
        """The Console gave this, which may be newer than what it had told of.

        Raises OutdatedDocumentError and MismatchError.
        """
        told = self._told.value
        assert told is not None
        if document.generation < told.generation:
            raise OutdatedDocumentError(
                f"told of generation {told.generation}, given {document.generation}"
            )
        given = PolicyNews(generation=document.generation, digest=document.digest)
        if document.generation == told.generation and given != told:
            raise MismatchError(
                f"generation {told.generation}: told of digest {told.digest!r:.40}, "
                f"given {document.digest!r:.40}"
            )
        # What the same stream says of older ones comes too late.
        self._told.ahead(given)

    def applied(self, document: PolicyDocument) -> None:
        """This is in force now."""
        self.held = document
        self._refused = None
        self._lacking, self._reason = 0, ""

    def renumbered(self) -> PolicyDocument:
        """What is in force means the same as what was told: it is that generation."""
        assert self._told.value is not None
        assert self.held is not None
        self.applied(msgspec.structs.replace(self.held, generation=self._told.value.generation))
        return self.held

    def refused(self, reason: str) -> None:
        """What was told can't be taken; what is in force stays."""
        self.delayed(reason)
        self._refused = self._told.value

    def delayed(self, reason: str) -> None:
        """What was told is not in force yet; it is tried again."""
        assert self._told.value is not None
        self._refused = None
        self._lacking, self._reason = self._told.value.generation, reason

    @property
    def state(self) -> PolicyState:
        """What the Console is told."""
        held = self.held or PolicyDocument(generation=0, digest="", text="")
        return PolicyState(
            generation=held.generation,
            digest=held.digest,
            refused_generation=self._lacking,
            refused=self._reason[:COMMAND_CHARS_MAX],
        )
