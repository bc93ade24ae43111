"""Who makes a request: a session's cookie or an API token; and what their role allows."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from cnnf.console import limits
from cnnf.console.api.services import Services, now_ms
from cnnf.console.errors import Refused
from cnnf.console.store import accounts
from cnnf.console.store.accounts import Account, Role

COOKIE = "cnnf_session"
#: Each role may do what those after it may.
RANKS: dict[Role, int] = {"admin": 2, "operator": 1, "viewer": 0}
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


Use = Annotated[Services, Depends(services)]


def check_origin(request: Request, *, required: bool) -> None:
    """Raises Refused when the request was made by another site's page."""
    origin = request.headers.get("origin")
    if origin is None:
        if required and request.headers.get("sec-fetch-site") != "same-origin":
            raise Refused(
                "a session's changes need an Origin header", code="forbidden", where="header.origin"
            )
        return
    parts = urlsplit(origin)
    if (parts.scheme, parts.netloc) != (request.url.scheme, request.headers.get("host", "")):
        raise Refused(
            "the request comes from another origin", code="forbidden", where="header.origin"
        )


async def authenticate(request: Request, use: Services) -> Account:
    """The account behind the request. Raises Refused (401, 403)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        account = await use.database.read(lambda c: accounts.find_token(c, token.strip()))
        if account is None:
            raise Refused("the API token is not known here", code="unauthenticated")
        return account
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise Refused("log in first", code="unauthenticated")
    now = now_ms()
    found = await use.database.read(lambda c: accounts.find_session(c, cookie, now))
    if found is None:
        raise Refused("the session has ended; log in again", code="unauthenticated")
    account, used_at = found
    if request.method in _CHANGING:
        check_origin(request, required=True)
    if used_at < now - limits.SESSION_TOUCH_MS:
        await use.database.write(lambda c: accounts.touch_session(c, cookie, now))
    return account


def require(role: Role) -> Callable[..., Awaitable[Account]]:
    """A dependency: the account, whose role is at least this."""

    async def dependency(request: Request, use: Use) -> Account:
        account = await authenticate(request, use)
        if RANKS[account.role] < RANKS[role]:
            raise Refused(f"this needs the role {role}", code="forbidden")
        return account

    return dependency


Viewer = Annotated[Account, Depends(require("viewer"))]
Operator = Annotated[Account, Depends(require("operator"))]
Admin = Annotated[Account, Depends(require("admin"))]

Schema = dict[str, Any]
