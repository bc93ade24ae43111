"""Events: what a person should see, repeats taken together.

A flow that was alerted on or prevented is an occurrence. Occurrences with the same Defender,
effect, cause, two ends, port and protocol make one event for as long as no quiet hour lies between
them; after that the next one opens a new event. Values in, values out: ingest gathers a batch's
occurrences here, the store looks up what each of them extends.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Literal

import msgspec

from cnnf.console import limits
from cnnf.console.core.nodes import Node, NodeKind
from cnnf.protocol.messages import Flow, Process

EventKind = Literal["rule", "model", "scan"]
EventEffect = Literal["alert", "prevent"]

#: What a cause begins with says what kind of event it is.
_KINDS: tuple[tuple[str, EventKind], ...] = (
    ("rule:", "rule"),
    ("model:", "model"),
    ("scan:", "scan"),
)


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One end of an event, as last seen.

    `host` is the host it runs on where the Defender that reports it protects that host, else empty.
    `process` is an example of the processes behind it (its command line, else its executable),
    where it was seen; `pid` is 0 where it was not. `names` are what the other end was told by DNS
    that the address is called, newest first.
    """

    name: str
    kind: NodeKind
    address: str = ""
    host: str = ""
    process: str = ""
    pid: int = 0
    user: str = ""
    names: tuple[str, ...] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event, or one batch's part of it; times in ms.

    `count` is how often it happened: connection attempts, connections found open, and the `cut`
    ones. `key` is equal for repeats, `pair` for repeats on any port. `number` and `version` are 0
    until it is stored; the version grows with each change. `defender_name` is looked up.
    """

    key: bytes
    pair: bytes
    kind: EventKind
    effect: EventEffect
    cause: str
    source: End
    destination: End
    port: int
    protocol: str
    first_seen: int
    last_seen: int
    count: int
    cut: int
    defender: str
    defender_name: str = ""
    number: int = 0
    version: int = 0


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are asked for; `since` and `until` in ms, `name` a part of either end's name or
    address, in whatever case."""

    effect: EventEffect | None = None
    kind: EventKind | None = None
    since: int | None = None
    until: int | None = None
    name: str = ""


#: Where a page of events goes on: the last one's `last_seen` and number.
Cursor = tuple[int, int]


def kind_of(cause: str) -> EventKind:
    """The kind of event that this cause makes."""
    return next((kind for prefix, kind in _KINDS if cause.startswith(prefix)), "rule")


def happened(flow: Flow) -> int:
    """How often what was decided happened to connections. An answer that comes after its attempt
    was reported is none."""
    return flow.connections + flow.found + flow.cut


def end_of(
    node: Node,
    *,
    address: str,
    host: str,
    process: Process | None,
    names: tuple[str, ...] = (),
) -> End:
    """The end that this node makes of one side of a flow."""
    if process is None:
        return End(name=node.name, kind=node.kind, address=address, host=host, names=names)
    return End(
        name=node.name,
        kind=node.kind,
        address=address,
        host=host,
        process=process.command or process.executable,
        pid=process.pid,
        user=process.user,
        names=names,
    )


def digest(*parts: str | int) -> bytes:
    """128 bits that are equal for equal parts; MessagePack keeps ("a", "bc") and ("ab", "c")
    apart."""
    return blake2b(msgspec.msgpack.encode(parts), digest_size=16).digest()


def keys(
    defender: str, effect: str, cause: str, ends: tuple[str, str], port: int, protocol: str
) -> tuple[bytes, bytes]:
    """An event's `key` and `pair`; `ends` are ids of nodes."""
    pair = digest(defender, effect, cause, *ends)
    return digest(pair.hex(), port, protocol), pair


def from_source(event: Event, source: Node, ends: tuple[str, str]) -> Event:
    """The event as this source's doing, where its address alone did not tell it; `ends` are then
    the ids of both nodes."""
    key, pair = keys(event.defender, event.effect, event.cause, ends, event.port, event.protocol)
    end = msgspec.structs.replace(event.source, name=source.name, kind=source.kind)
    return msgspec.structs.replace(event, key=key, pair=pair, source=end)


def other_ports(event: Event) -> Event:
    """The same as an event of the pair's other ports, which are counted together on port 0."""
    return msgspec.structs.replace(event, port=0, key=digest(event.pair.hex(), 0, event.protocol))


def belongs(held: Event, more: Event) -> bool:
    """True when no quiet hour lies between the two; they have the same key."""
    quiet = limits.EVENT_QUIET_MS
    return more.first_seen <= held.last_seen + quiet and more.last_seen >= held.first_seen - quiet


def extend(held: Event, more: Event) -> Event:
    """The event with a repeat added, in whatever order they come."""
    earlier, latest = (held, more) if more.last_seen >= held.last_seen else (more, held)
    return msgspec.structs.replace(
        held,
        source=_latest(earlier.source, latest.source),
        destination=_latest(earlier.destination, latest.destination),
        first_seen=min(held.first_seen, more.first_seen),
        last_seen=latest.last_seen,
        count=held.count + more.count,
        cut=held.cut + more.cut,
    )


def _latest(earlier: End, latest: End) -> End:
    """The end as last seen; what was not told then is as it was told before."""
    if not latest.process and earlier.process:
        latest = msgspec.structs.replace(
            latest, process=earlier.process, pid=earlier.pid, user=earlier.user
        )
    if not latest.address and earlier.address:
        latest = msgspec.structs.replace(latest, address=earlier.address, names=earlier.names)
    if not latest.names and latest.address == earlier.address:
        latest = msgspec.structs.replace(latest, names=earlier.names)
    return latest


def gather(occurrences: Iterable[Event]) -> list[Event]:
    """Occurrences with their repeats taken together, by time."""
    gathered: list[Event] = []
    open_: dict[bytes, int] = {}
    for more in sorted(occurrences, key=lambda event: (event.first_seen, event.last_seen)):
        at = open_.get(more.key)
        if at is not None and belongs(gathered[at], more):
            gathered[at] = extend(gathered[at], more)
        else:
            open_[more.key] = len(gathered)
            gathered.append(more)
    return gathered
