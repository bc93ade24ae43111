"""Which Defenders are enrolled, and the tokens that let one join."""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from cnnf.console import limits
from cnnf.console.errors import Refused
from cnnf.console.store import secrets
from cnnf.console.store.schema import defenders, join_tokens
from cnnf.protocol.messages import Batch, Condition, Settings


class DefenderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One enrolled Defender as last heard of; times in ms, 0 is never."""

    id: str
    name: str
    fingerprint: bytes
    enrolled_at: int
    seen_at: int
    version: str
    kernel: str
    system: str
    applied: Settings | None
    conditions: list[Condition]


def put_join_token(connection: Connection, secret: str, created_by: str, now: int) -> int:
    """Remember a join token; returns when it expires. Raises Refused at too many."""
    connection.execute(delete(join_tokens).where(join_tokens.c.expires_at <= now))
    count = connection.execute(select(func.count()).select_from(join_tokens)).scalar_one()
    if count >= limits.JOIN_TOKENS_MAX:
        raise Refused(f"{count} join tokens wait to be used; that is the most", code="too-many")
    expires_at = now + limits.JOIN_TOKEN_MS
    connection.execute(
        insert(join_tokens).values(
            id=secrets.digest(secret), created_by=created_by, expires_at=expires_at
        )
    )
    return expires_at


def take_join_token(connection: Connection, secret: str, now: int) -> bool:
    """Use the token up; False when it is unknown, used or expired."""
    taken = connection.execute(
        delete(join_tokens).where(
            join_tokens.c.id == secrets.digest(secret), join_tokens.c.expires_at > now
        )
    )
    return taken.rowcount == 1


def add(connection: Connection, id_: str, name: str, fingerprint: bytes, now: int) -> None:
    """Enrol a Defender. Raises Refused at too many."""
    count = connection.execute(select(func.count()).select_from(defenders)).scalar_one()
    if count >= limits.DEFENDERS_MAX:
        raise Refused(f"{count} Defenders are enrolled; that is the most", code="too-many")
    connection.execute(
        insert(defenders).values(id=id_, name=name, fingerprint=fingerprint, enrolled_at=now)
    )


def fingerprint(connection: Connection, id_: str) -> bytes | None:
    """The fingerprint of this Defender's certificate, None when it is not enrolled."""
    found: bytes | None = connection.execute(
        select(defenders.c.fingerprint).where(defenders.c.id == id_)
    ).scalar()
    return found


def heard(connection: Connection, id_: str, batch: Batch, now: int) -> None:
    """Note what a batch says about its Defender; a late one changes nothing but when it was."""
    connection.execute(update(defenders).where(defenders.c.id == id_).values(seen_at=now))
    values: dict[str, Any] = {
        "sent_at": batch.sent_at,
        "conditions": msgspec.to_builtins(batch.conditions),
    }
    if batch.applied is not None:
        values["applied"] = msgspec.to_builtins(batch.applied)
    if batch.host is not None:
        values |= {
            "name": batch.host.name,
            "version": batch.host.version,
            "kernel": batch.host.kernel,
            "system": batch.host.system,
        }
    connection.execute(
        update(defenders)
        .where(defenders.c.id == id_, defenders.c.sent_at <= batch.sent_at)
        .values(values)
    )


def everyone(connection: Connection) -> list[DefenderRecord]:
    """All enrolled Defenders, by name."""
    return [
        DefenderRecord(
            id=row.id,
            name=row.name,
            fingerprint=row.fingerprint,
            enrolled_at=row.enrolled_at,
            seen_at=row.seen_at,
            version=row.version,
            kernel=row.kernel,
            system=row.system,
            applied=None if row.applied is None else msgspec.convert(row.applied, Settings),
            conditions=msgspec.convert(row.conditions, list[Condition]),
        )
        for row in connection.execute(select(defenders).order_by(defenders.c.name, defenders.c.id))
    ]


def ids(connection: Connection) -> set[str]:
    """The ids of all enrolled Defenders."""
    return set(connection.execute(select(defenders.c.id)).scalars())
