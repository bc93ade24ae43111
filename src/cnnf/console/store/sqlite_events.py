"""Events on SQLite: written inside ingest's transaction, read by page and by change.

What a repeat extends is decided in `core/events.py`; here it is looked up and written.
"""

from typing import Any

import msgspec

from cnnf.console import limits
from cnnf.console.core import events
from cnnf.console.core.events import Cursor, End, Event, EventFilter

_COLUMNS = (
    "number, version, key, pair, kind, effect, cause, source, destination, port, protocol, "
    "first_seen, last_seen, count, cut, defender, "
    "coalesce((SELECT name FROM hosts WHERE hosts.defender = events.defender), '')"
)
_OPEN = f"""
SELECT {_COLUMNS} FROM events WHERE key = ? AND last_seen >= ? AND first_seen <= ?
ORDER BY last_seen DESC LIMIT 1
"""  # noqa: S608
_INSERT = """
INSERT INTO events (version, key, pair, kind, effect, cause, source, destination, names, port,
                    protocol, first_seen, last_seen, count, cut, defender)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_EXTEND = """
UPDATE events SET version = ?, source = ?, destination = ?, names = ?, first_seen = ?,
                  last_seen = ?, count = ?, cut = ? WHERE number = ?
"""
#: The longest unseen beyond the bound.
_TRIM = """
DELETE FROM events WHERE number IN
  (SELECT number FROM events ORDER BY last_seen DESC, number DESC LIMIT -1 OFFSET ?)
"""


def take_events(sql: Any, gathered: list[Event], received_at: int) -> int:
    """Open or extend an event for each of a batch's; returns how many. What is older than events
    are kept is left out."""
    oldest = received_at - limits.EVENTS_KEPT_MS
    fresh = [event for event in gathered if event.last_seen >= oldest]
    if not fresh:
        return 0
    # The time keeps versions growing when the newest change has been deleted since.
    next_version = max(received_at, version(sql) + 1)
    ports = _Ports(sql)
    opened = 0
    for number, repeat in enumerate(fresh, next_version):
        more, held = repeat, _held(sql, repeat)
        if held is None and ports.full(more):
            more = events.other_ports(repeat)
            held = _held(sql, more)
        if held is None:
            _insert(sql, more, number)
            ports.opened(more)
            opened += 1
        else:
            _update(sql, events.extend(held, more), number)
    if opened:
        (count,) = sql.execute("SELECT count(*) FROM events").fetchone()
        if count > limits.EVENTS_MAX:
            sql.execute(_TRIM, (limits.EVENTS_MAX,))
    return len(fresh)


class _Ports:
    """How many events a pair has open on different ports; lives for one batch."""

    def __init__(self, sql: Any) -> None:
        self._sql = sql
        self._open: dict[bytes, int] = {}

    def full(self, event: Event) -> bool:
        if event.pair not in self._open:
            (self._open[event.pair],) = self._sql.execute(
                "SELECT count(*) FROM events WHERE pair = ? AND last_seen >= ?",
                (event.pair, event.first_seen - limits.EVENT_QUIET_MS),
            ).fetchone()
        return self._open[event.pair] >= limits.EVENT_PORTS_MAX

    def opened(self, event: Event) -> None:
        self._open[event.pair] = self._open.get(event.pair, 0) + 1


def _held(sql: Any, more: Event) -> Event | None:
    """The event that this one is a repeat of."""
    quiet = limits.EVENT_QUIET_MS
    row = sql.execute(_OPEN, (more.key, more.first_seen - quiet, more.last_seen + quiet)).fetchone()
    return None if row is None else _event(row)


def _insert(sql: Any, event: Event, number: int) -> None:
    sql.execute(
        _INSERT,
        (
            number,
            event.key,
            event.pair,
            event.kind,
            event.effect,
            event.cause,
            _json(event.source),
            _json(event.destination),
            _names(event),
            event.port,
            event.protocol,
            event.first_seen,
            event.last_seen,
            event.count,
            event.cut,
            event.defender,
        ),
    )


def _update(sql: Any, event: Event, number: int) -> None:
    sql.execute(
        _EXTEND,
        (
            number,
            _json(event.source),
            _json(event.destination),
            _names(event),
            event.first_seen,
            event.last_seen,
            event.count,
            event.cut,
            event.number,
        ),
    )


def page(sql: Any, wanted: EventFilter, count: int, after: Cursor | None) -> list[Event]:
    """See `FlowStore.events`."""
    conditions, parameters = _where(wanted)
    if after is not None:
        conditions.append("(last_seen, number) < (?, ?)")
        parameters += after
    return _select(sql, conditions, "last_seen DESC, number DESC", [*parameters, count])


def changed(sql: Any, wanted: EventFilter, since: int, count: int) -> list[Event]:
    """See `FlowStore.changed_events`."""
    conditions, parameters = _where(wanted)
    return _select(sql, [*conditions, "version > ?"], "version", [*parameters, since, count])


def version(sql: Any) -> int:
    """See `FlowStore.events_version`."""
    found: int = sql.execute("SELECT coalesce(max(version), 0) FROM events").fetchone()[0]
    return found


def _where(wanted: EventFilter) -> tuple[list[str], list[Any]]:
    conditions, parameters = ["1"], []
    for condition, value in (
        ("effect = ?", wanted.effect),
        ("kind = ?", wanted.kind),
        ("last_seen >= ?", wanted.since),
        ("first_seen <= ?", wanted.until),
        ("instr(names, ?)", wanted.name.lower() or None),
    ):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    return conditions, parameters


def _select(sql: Any, conditions: list[str], order: str, parameters: list[Any]) -> list[Event]:
    query = (
        f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)} "  # noqa: S608
        f"ORDER BY {order} LIMIT ?"
    )
    return [_event(row) for row in sql.execute(query, parameters)]


def _event(row: Any) -> Event:
    (
        number, changed_, key, pair, kind, effect, cause, source, destination, port, protocol,
        first_seen, last_seen, count, cut, defender, defender_name,
    ) = row  # fmt: skip
    return Event(
        number=number,
        version=changed_,
        key=key,
        pair=pair,
        kind=kind,
        effect=effect,
        cause=cause,
        source=msgspec.json.decode(source, type=End),
        destination=msgspec.json.decode(destination, type=End),
        port=port,
        protocol=protocol,
        first_seen=first_seen,
        last_seen=last_seen,
        count=count,
        cut=cut,
        defender=defender,
        defender_name=defender_name,
    )


def _json(end: End) -> str:
    return msgspec.json.encode(end).decode()


def _names(event: Event) -> str:
    ends = (event.source, event.destination)
    # A line break lies between names, so that no search runs from one into the next.
    parts = (part for end in ends for part in (end.name, end.address, *end.names))
    return "\n".join(parts).lower()
