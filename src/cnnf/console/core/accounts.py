"""What the ledger keeps of two Defenders' reports: accounts of told and of claimed connections.

Plain values; `ledger.py` says what they are for and how they change.
"""

from typing import NamedTuple

import msgspec

from cnnf.console.core.decisions import UNDECIDED, Decision
from cnnf.console.core.events import Event
from cnnf.console.core.nodes import Node
from cnnf.protocol.messages import Process

#: Attempts, answered, refused, found: as in `Flow`.
Figures = tuple[int, int, int, int]
NOTHING: Figures = (0, 0, 0, 0)


class Key(NamedTuple):
    """An account: the two ends' Defenders, and the port as the destination has it."""

    source: str
    destination: str
    port: int
    protocol: str


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the source's Defender told within one minute, and what it was drawn as.

    `address` and `port` are what was connected to; they are kept until the destination's Defender
    has told everything up to `last` (then `sure`), since who stands there may be news still on its
    way.
    """

    minute: int
    source: Node
    target: Node
    address: str
    port: int
    figures: Figures
    decision: Decision = UNDECIDED
    first: int
    last: int
    sure: bool = False


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the destination's Defender told within one minute.

    `source` is the container that the address tells (`known`), else who else it may be: the host,
    or the bare address. `event` waits for the source's name; `since` is when the Console first
    heard of it.
    """

    minute: int
    source: Node
    known: bool
    address: str
    target: Node
    figures: Figures
    decision: Decision = UNDECIDED
    first: int
    last: int
    since: int
    event: Event | None = None
    process: Process | None = None
    ready: bool = False


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """What of the claims is drawn now."""

    minute: int
    source: Node
    target: Node
    figures: Figures


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What both ends' Defenders told of one port, as far as it may still meet something.

    `heard`: the source's Defender has told of this port at all, in which case connections that the
    destination's *found* are the ones it told of. `merged` are the decisions posted to edges that
    the source told: minute, source, target, verdict, cause.
    """

    told: tuple[Told, ...] = ()
    claims: tuple[Claim, ...] = ()
    credits: tuple[Credit, ...] = ()
    merged: frozenset[tuple[int, str, str, int, str]] = frozenset()
    heard: bool = False


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """What to add to an edge's minute; figures below zero take back."""

    source: Node
    target: Node
    minute: int
    figures: Figures
    decision: Decision
    first: int
    last: int
    process: Process | None = None


class Settled(NamedTuple):
    """The account as it is now, what to post, and whose events have got their source."""

    account: Account
    postings: list[Posting]
    events: list[Event]


class Progress(NamedTuple):
    """How far the source's Defender has delivered, and how far both have for good (ms, by their
    clocks; 0 while one of them is just back and what it kept may come in any order); `now` is the
    Console's time."""

    source: int
    both: int
    now: int


def plus(one: Figures, more: Figures) -> Figures:
    """Both together."""
    return (one[0] + more[0], one[1] + more[1], one[2] + more[2], one[3] + more[3])


def minus(one: Figures) -> Figures:
    """What takes it back."""
    return (-one[0], -one[1], -one[2], -one[3])


def figures_of(figures: list[int]) -> Figures:
    """The list as figures."""
    return (figures[0], figures[1], figures[2], figures[3])
