"""Which Defenders are enrolled, and the tokens that let one join."""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from cnnf.console import limits
from cnnf.console.errors import Refused
from cnnf.console.store import secrets
from cnnf.console.store.schema import defenders, hosts, instances, join_tokens
from cnnf.protocol.messages import Batch, Condition, PolicyState, Settings, SpoolState


class DefenderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One enrolled Defender as last heard of; times in ms, 0 is never, or not known."""

    id: str
    name: str
    fingerprint: bytes
    expires_at: int
    enrolled_at: int
    seen_at: int
    addresses: list[str]
    version: str
    kernel: str
    system: str
    applied: Settings | None
    conditions: list[Condition]
    spool: SpoolState | None
    policy: PolicyState | None


class Certificates(msgspec.Struct, frozen=True, kw_only=True):
    """SHA-256 of a Defender's certificate, and of the one it was given to follow that."""

    current: bytes
    next: bytes | None


def put_join_token(
    connection: Connection,
    secret: str,
    created_by: str,
    now: int,
    lasts: int = limits.JOIN_TOKEN_MS,
) -> int:
    """Remember a join token; returns when it expires. Raises Refused at too many."""
    connection.execute(delete(join_tokens).where(join_tokens.c.expires_at <= now))
    count = connection.execute(select(func.count()).select_from(join_tokens)).scalar_one()
    if count >= limits.JOIN_TOKENS_MAX:
        raise Refused(f"{count} join tokens wait to be used; that is the most", code="too-many")
    expires_at = now + lasts
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


def add(
    connection: Connection, id_: str, name: str, fingerprint: bytes, expires_at: int, now: int
) -> None:
    """Enrol a Defender. Raises Refused at too many."""
    count = connection.execute(select(func.count()).select_from(defenders)).scalar_one()
    if count >= limits.DEFENDERS_MAX:
        raise Refused(f"{count} Defenders are enrolled; that is the most", code="too-many")
    connection.execute(
        insert(defenders).values(
            id=id_, name=name, fingerprint=fingerprint, expires_at=expires_at, enrolled_at=now
        )
    )


def remove(connection: Connection, id_: str, now: int) -> str | None:
    """Enrol it no more; its name, None when it is not enrolled. What ran on it has stopped."""
    name: str | None = connection.execute(
        delete(defenders).where(defenders.c.id == id_).returning(defenders.c.name)
    ).scalar()
    if name is not None:
        connection.execute(
            update(instances)
            .where(instances.c.defender == id_, instances.c.stopped_at == 0)
            .values(stopped_at=now)
        )
        connection.execute(update(hosts).where(hosts.c.defender == id_).values(addresses=[]))
    return name


def certificates(connection: Connection, id_: str) -> Certificates | None:
    """Which certificates this Defender may use, None when it is not enrolled."""
    row = connection.execute(
        select(defenders.c.fingerprint, defenders.c.fingerprint_next).where(defenders.c.id == id_)
    ).one_or_none()
    return None if row is None else Certificates(current=row[0], next=row[1])


def propose(connection: Connection, id_: str, fingerprint: bytes, expires_at: int) -> bool:
    """This certificate may follow the Defender's own; False when it is not enrolled."""
    done = connection.execute(
        update(defenders)
        .where(defenders.c.id == id_)
        .values(fingerprint_next=fingerprint, expires_next=expires_at)
    )
    return done.rowcount == 1


def promote(connection: Connection, id_: str, fingerprint: bytes) -> None:
    """The next certificate was used: the one before is good no more."""
    connection.execute(
        update(defenders)
        .where(defenders.c.id == id_, defenders.c.fingerprint_next == fingerprint)
        .values(
            fingerprint=fingerprint,
            expires_at=defenders.c.expires_next,
            fingerprint_next=None,
            expires_next=0,
        )
    )


def heard(connection: Connection, id_: str, batch: Batch, now: int) -> None:
    """Note what a batch says about its Defender; a late one changes nothing but when it was."""
    connection.execute(update(defenders).where(defenders.c.id == id_).values(seen_at=now))
    values: dict[str, Any] = {
        "sent_at": batch.sent_at,
        "conditions": msgspec.to_builtins(batch.conditions),
        "spool": None if batch.spool is None else msgspec.to_builtins(batch.spool),
    }
    if batch.applied is not None:
        values["applied"] = msgspec.to_builtins(batch.applied)
    if batch.policy is not None:
        values["policy"] = msgspec.to_builtins(batch.policy)
    if batch.host is not None:
        values |= {
            "name": batch.host.name,
            "version": batch.host.version,
            "kernel": batch.host.kernel,
            "system": batch.host.system,
            "addresses": batch.host.addresses,
        }
    connection.execute(
        update(defenders)
        .where(defenders.c.id == id_, defenders.c.sent_at <= batch.sent_at)
        .values(values)
    )


def everyone(connection: Connection) -> list[DefenderRecord]:
    """All enrolled Defenders, by name."""
    query = select(defenders).order_by(defenders.c.name, defenders.c.id)
    return [_record(row) for row in connection.execute(query)]


def one(connection: Connection, id_: str) -> DefenderRecord | None:
    """This Defender, None when it is not enrolled."""
    row = connection.execute(select(defenders).where(defenders.c.id == id_)).one_or_none()
    return None if row is None else _record(row)


def ids(connection: Connection) -> set[str]:
    """The ids of all enrolled Defenders."""
    return set(connection.execute(select(defenders.c.id)).scalars())


def _record(row: Any) -> DefenderRecord:
    return DefenderRecord(
        id=row.id,
        name=row.name,
        fingerprint=row.fingerprint,
        expires_at=row.expires_at,
        enrolled_at=row.enrolled_at,
        seen_at=row.seen_at,
        addresses=row.addresses,
        version=row.version,
        kernel=row.kernel,
        system=row.system,
        applied=None if row.applied is None else msgspec.convert(row.applied, Settings),
        conditions=msgspec.convert(row.conditions, list[Condition]),
        spool=None if row.spool is None else msgspec.convert(row.spool, SpoolState),
        policy=None if row.policy is None else msgspec.convert(row.policy, PolicyState),
    )
