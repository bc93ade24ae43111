"""The settings and the audit log: every change says who, what and when, in its transaction."""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from cnnf.console import limits
from cnnf.console.errors import Conflict
from cnnf.console.store.schema import audit, settings
from cnnf.protocol.messages import RefuseWith


class StoredSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is enabled, and how it is refused; `version` grows with each change and is what
    Defenders call generation."""

    version: int
    containers: bool
    hosts: bool
    udp: bool = False
    refuse_with: RefuseWith = "reset"
    cut: bool = True


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change; `at` in ms."""

    id: int
    at: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


def ensure(connection: Connection) -> None:
    """The first settings: everything disabled."""
    if connection.execute(select(settings.c.id)).first() is None:
        connection.execute(insert(settings).values(id=1, version=1, containers=False, hosts=False))


def load(connection: Connection) -> StoredSettings:
    """The settings in force."""
    row = connection.execute(select(settings)).one()
    return StoredSettings(
        version=row.version,
        containers=row.containers,
        hosts=row.hosts,
        udp=row.udp,
        refuse_with=row.refuse_with,
        cut=row.cut,
    )


def store(
    connection: Connection, *, version: int, changes: dict[str, Any], actor: str, now: int
) -> StoredSettings:
    """Change the settings of this version; those that are not named stay. Raises Conflict when
    they were changed since."""
    before = load(connection)
    if before.version != version:
        raise Conflict(
            f"the settings were changed meanwhile: version {before.version}, not {version}",
            code="version-conflict",
            where="body.version",
        )
    if msgspec.structs.replace(before, **changes) == before:
        return before
    after = msgspec.structs.replace(before, version=version + 1, **changes)
    connection.execute(update(settings).values(msgspec.structs.asdict(after)))
    note(
        connection,
        actor=actor,
        action="settings.change",
        subject="settings",
        detail={"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after)},
        now=now,
    )
    return after


def note(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    now: int,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add to the audit log; beyond its bound the oldest entries go."""
    result = connection.execute(
        insert(audit).values(
            at=now, actor=actor, action=action, subject=subject, detail=detail or {}
        )
    )
    assert result.inserted_primary_key is not None
    newest = result.inserted_primary_key[0]
    connection.execute(delete(audit).where(audit.c.id <= newest - limits.AUDIT_ROWS_MAX))


def audit_page(connection: Connection, *, before: int, count: int) -> list[AuditEntry]:
    """The newest entries whose id is below `before` (0: the newest of all)."""
    query = select(audit).order_by(audit.c.id.desc()).limit(count)
    if before:
        query = query.where(audit.c.id < before)
    return [
        AuditEntry(
            id=row.id,
            at=row.at,
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            detail=row.detail,
        )
        for row in connection.execute(query)
    ]
