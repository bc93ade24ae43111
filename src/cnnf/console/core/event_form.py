"""The form of an event, as `GET /api/v1/events` and `cnnf events --json` give it.

Fields may be added; none is renamed. Times are RFC 3339 in UTC.
"""

from typing import Literal

import msgspec

from cnnf.console.core import windows
from cnnf.console.core.events import Cursor, End, Event, EventEffect, EventKind
from cnnf.console.errors import Refused


class EventForm(msgspec.Struct, frozen=True, kw_only=True):
    """One event: what was alerted on or prevented, from whom to whom.

    `count` is how often: connection attempts, connections found open, and living connections that
    were ended (`cut`). `defender` is the id of the one that reports it, `defender_name` its host.
    Port 0 stands for the ports of a pair beyond the bound. `cursor` is where
    the next page begins when this is the last event of one.
    """

    id: str
    kind: EventKind
    effect: EventEffect
    cause: str
    source: End
    destination: End
    port: int
    protocol: Literal["tcp", "udp"]
    first_seen: str
    last_seen: str
    count: int
    cut: int
    defender: str
    defender_name: str
    cursor: str


def form(event: Event) -> EventForm:
    """The event as it is answered."""
    return EventForm(
        id=str(event.number),
        kind=event.kind,
        effect=event.effect,
        cause=event.cause,
        source=event.source,
        destination=event.destination,
        port=event.port,
        protocol="udp" if event.protocol == "udp" else "tcp",
        first_seen=windows.text(event.first_seen),
        last_seen=windows.text(event.last_seen),
        count=event.count,
        cut=event.cut,
        defender=event.defender,
        defender_name=event.defender_name or event.defender,
        cursor=f"{event.last_seen}-{event.number}",
    )


def cursor_of(text: str) -> Cursor:
    """The cursor. Raises Refused, naming `query.cursor`."""
    parts = text.split("-")
    # isdecimal alone also takes the digits of other scripts.
    if len(parts) != 2 or not all(p.isascii() and p.isdecimal() and len(p) <= 16 for p in parts):
        raise Refused(f"{text!r:.60} is no cursor that an event had", where="query.cursor")
    return int(parts[0]), int(parts[1])
