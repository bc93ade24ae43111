"""First-start credentials: the administrator's password and the command line's token."""

from pathlib import Path

import msgspec
from sqlalchemy import Connection

from cnnf.console.authority import write_private
from cnnf.console.store import accounts, secrets
from cnnf.console.store import settings as settings_store
from cnnf.console.store.database import Database

ADMIN = "admin"
TOKEN_NAME = "command line"  # noqa: S105 (a name, no secret)


class NewPassword(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is told once, and nobody ever again."""

    user: str
    password: str


def first_start(database: Database, now: int) -> NewPassword | None:
    """Make the administrator where there is no user yet."""
    if database.read_now(accounts.has_users):
        return None
    return reset_password(database, now, actor="first start")


def reset_password(database: Database, now: int, *, actor: str = "command line") -> NewPassword:
    """A new password for the administrator; its sessions end."""
    password = secrets.new_password()
    hashed = secrets.hash_password(password)

    def job(connection: Connection) -> None:
        accounts.put_user(connection, ADMIN, hashed, "admin", now)
        settings_store.note(connection, actor=actor, action="user.password", subject=ADMIN, now=now)

    database.write_now(job)
    return NewPassword(user=ADMIN, password=password)


def ensure_cli_token(database: Database, path: Path, now: int) -> None:
    """A token for the command line in this file; made anew when the file is gone or altered."""
    if path.exists():
        present = path.read_text(encoding="utf-8", errors="replace").strip()
        if database.read_now(lambda c: accounts.find_token(c, present)) is not None:
            return
    token = secrets.API_TOKEN_PREFIX + secrets.new_secret()
    # The file first: one that is not known yet is made anew at the next start.
    write_private(path, (token + "\n").encode())
    database.write_now(lambda c: accounts.put_token(c, TOKEN_NAME, token, "admin", now))
