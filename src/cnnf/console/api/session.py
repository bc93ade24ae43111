"""Logging in and out: `/api/v1/session`."""

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from cnnf.console import limits
from cnnf.console.api import auth
from cnnf.console.api.auth import Use
from cnnf.console.api.errors import documented
from cnnf.console.api.services import now_ms
from cnnf.console.errors import Refused
from cnnf.console.store import accounts, secrets
from cnnf.console.store import settings as settings_store

router = APIRouter(prefix="/session", tags=["session"])


class Login(BaseModel):
    """A user's name and password."""

    model_config = ConfigDict(extra="forbid")
    username: str = Field(min_length=1, max_length=limits.USER_CHARS_MAX)
    password: str = Field(min_length=1, max_length=limits.PASSWORD_CHARS_MAX)


class Session(BaseModel):
    """Who is logged in."""

    user: str
    role: accounts.Role


@router.post("", summary="Log in", responses=documented(401, 403, 429))
async def log_in(body: Login, request: Request, response: Response, use: Use) -> Session:
    """Start a session; its cookie is HttpOnly and sent to this site only."""
    auth.check_origin(request, required=False)
    now = now_ms()
    client = request.client.host if request.client else ""
    keys = (f"login from {client}", f"login as {body.username}")
    for key in keys:
        use.attempts.check(key, now)
    stored = await use.database.read(lambda c: accounts.password_hash(c, body.username))
    async with use.hashing:
        right = await asyncio.to_thread(secrets.verify_password, stored, body.password)
    if not right:
        for key in keys:
            use.attempts.failed(key, now)
        raise Refused("the user or the password is wrong", code="unauthenticated")
    use.attempts.succeeded(keys[1])
    cookie = secrets.new_secret()
    await use.database.write(lambda c: accounts.start_session(c, cookie, body.username, now))
    await use.database.write(
        lambda c: settings_store.note(
            c, actor=body.username, action="session.start", subject=client, now=now
        )
    )
    response.set_cookie(
        auth.COOKIE,
        cookie,
        max_age=limits.SESSION_MAX_MS // 1000,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    found = await use.database.read(lambda c: accounts.find_session(c, cookie, now))
    if found is None:
        raise Refused("the user is gone", code="unauthenticated")
    return Session(user=found[0].user, role=found[0].role)


@router.get("", summary="Who is logged in")
async def read_session(account: auth.Viewer) -> Session:
    """The account of the session or API token that came with the request."""
    return Session(user=account.user, role=account.role)


@router.delete("", summary="Log out", status_code=204)
async def log_out(account: auth.Viewer, request: Request, response: Response, use: Use) -> None:
    """End the session; its cookie opens nothing any more. Nothing happens for an API token."""
    cookie = request.cookies.get(auth.COOKIE)
    if account.by == "session" and cookie:
        await use.database.write(lambda c: accounts.end_session(c, cookie))
    response.delete_cookie(auth.COOKIE, path="/", httponly=True, samesite="strict")
