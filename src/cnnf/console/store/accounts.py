"""Users, sessions and API tokens. Every function is a job for `Database.read` or `write`."""

from typing import Literal

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from cnnf.console import limits
from cnnf.console.store import secrets
from cnnf.console.store.schema import api_tokens, sessions, users

Role = Literal["admin", "operator", "viewer"]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request; `by` is how they said so."""

    user: str
    role: Role
    by: Literal["session", "token"]


def put_user(connection: Connection, name: str, password_hash: str, role: Role, now: int) -> None:
    """Make the user, or give it this password; its sessions end."""
    statement = upsert(users).values(name=name, password=password_hash, role=role, created_at=now)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[users.c.name], set_={"password": password_hash}
        )
    )
    connection.execute(delete(sessions).where(sessions.c.user == name))


def has_users(connection: Connection) -> bool:
    """False before the first start."""
    return connection.execute(select(users.c.name).limit(1)).first() is not None


def password_hash(connection: Connection, name: str) -> str | None:
    """The user's password hash, None when there is no such user."""
    found: str | None = connection.execute(
        select(users.c.password).where(users.c.name == name)
    ).scalar()
    return found


def start_session(connection: Connection, cookie: str, user: str, now: int) -> None:
    """Remember a session; of too many, the longest unused end."""
    connection.execute(
        insert(sessions).values(id=secrets.digest(cookie), user=user, created_at=now, used_at=now)
    )
    newest = select(sessions.c.id).order_by(sessions.c.used_at.desc()).limit(limits.SESSIONS_MAX)
    connection.execute(delete(sessions).where(sessions.c.id.not_in(newest)))


def find_session(connection: Connection, cookie: str, now: int) -> tuple[Account, int] | None:
    """Whose session this is and when its use was noted last; None when it ended."""
    row = connection.execute(
        select(users.c.name, users.c.role, sessions.c.used_at).where(
            sessions.c.id == secrets.digest(cookie),
            sessions.c.user == users.c.name,
            sessions.c.used_at > now - limits.SESSION_IDLE_MS,
            sessions.c.created_at > now - limits.SESSION_MAX_MS,
        )
    ).first()
    if row is None:
        return None
    return Account(user=row.name, role=row.role, by="session"), row.used_at


def touch_session(connection: Connection, cookie: str, now: int) -> None:
    """Note that the session is in use."""
    connection.execute(
        update(sessions).where(sessions.c.id == secrets.digest(cookie)).values(used_at=now)
    )


def end_session(connection: Connection, cookie: str) -> None:
    """The cookie opens nothing any more."""
    connection.execute(delete(sessions).where(sessions.c.id == secrets.digest(cookie)))


def expire_sessions(connection: Connection, now: int) -> None:
    """Forget sessions that ended by themselves."""
    connection.execute(
        delete(sessions).where(
            (sessions.c.used_at <= now - limits.SESSION_IDLE_MS)
            | (sessions.c.created_at <= now - limits.SESSION_MAX_MS)
        )
    )


def put_token(connection: Connection, name: str, token: str, role: Role, now: int) -> None:
    """Make the named API token, in place of the one that had this name."""
    connection.execute(delete(api_tokens).where(api_tokens.c.name == name))
    connection.execute(
        insert(api_tokens).values(id=secrets.digest(token), name=name, role=role, created_at=now)
    )


def find_token(connection: Connection, token: str) -> Account | None:
    """Whose API token this is."""
    row = connection.execute(
        select(api_tokens.c.name, api_tokens.c.role).where(api_tokens.c.id == secrets.digest(token))
    ).first()
    return None if row is None else Account(user=f"token:{row.name}", role=row.role, by="token")
