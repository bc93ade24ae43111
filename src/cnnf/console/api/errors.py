"""The one error shape: `{"error": {"code", "message", "where"}}`, whatever went wrong."""

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cnnf.console.errors import (
    Conflict,
    ConsoleError,
    Refused,
    StoreUnavailable,
    StreamsExhausted,
    TooMany,
)
from cnnf.protocol.errors import MessageTooLarge, ProtocolError, UnsupportedVersion

log = structlog.get_logger()


class ErrorDetail(BaseModel):
    """`code` is for programs, `message` for people, `where` names the part of the request."""

    code: str
    message: str
    where: str = ""


class ErrorBody(BaseModel):
    """Every answer with a status of 400 and above."""

    error: ErrorDetail


#: Codes that come with a status rather than with a cause of their own.
CODES = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "bad-request",
    426: "unsupported-version",
    429: "too-many-requests",
    500: "internal",
    503: "unavailable",
}
_DESCRIPTIONS = {
    400: "The request cannot be understood; `where` names the part.",
    401: "Neither a session nor an API token came with the request, or it is no longer good.",
    403: "The account's role does not allow this, or the request came from another origin.",
    404: "There is no such thing.",
    409: "The request was right for a state that is no longer there.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many attempts; `Retry-After` says how long to wait.",
    503: "Not now; try again.",
}
#: What a code's status is when a cause brings its own code.
_STATUS_BY_CODE = {"forbidden": 403, "unauthenticated": 401, "not-found": 404, "too-many": 409,
                   "too-large": 413}  # fmt: skip


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: these errors, beside the ones that every route has."""
    return {
        status: {"model": ErrorBody, "description": _DESCRIPTIONS[status]} for status in statuses
    }


def error_response(
    status: int,
    message: str,
    *,
    code: str = "",
    where: str = "",
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The one shape."""
    body = ErrorBody(
        error=ErrorDetail(code=code or CODES.get(status, "error"), message=message, where=where)
    )
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Every exception becomes the one shape."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(ConsoleError, _console)
    app.add_exception_handler(ProtocolError, _protocol)
    app.add_exception_handler(Exception, _unexpected)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404:
        message = f"there is no {request.url.path:.200}"
    elif error.status_code == 405:
        message = f"{request.url.path:.200} does not take {request.method}"
    return error_response(error.status_code, message, headers=dict(error.headers or {}))


async def _validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return error_response(400, str(first["msg"]), where=where[:200])


async def _console(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, TooMany):
        headers = {"Retry-After": str(error.retry_after_s)}
        return error_response(429, str(error), code=error.code, headers=headers)
    if isinstance(error, Conflict):
        # What is in force instead, so that whoever was too late need not ask.
        current = {"ETag": f'"{error.version}"'} if error.version else None
        return error_response(409, str(error), code=error.code, where=error.where, headers=current)
    if isinstance(error, Refused):
        status = _STATUS_BY_CODE.get(error.code, 400)
        return error_response(status, str(error), code=error.code, where=error.where)
    if isinstance(error, StoreUnavailable | StreamsExhausted):
        log.warning("request turned away", error=str(error))
        return error_response(503, str(error), headers={"Retry-After": "2"})
    return await _unexpected(_, error)


async def _protocol(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnsupportedVersion):
        return error_response(426, str(error), headers={"Upgrade": "cnnf"})
    if isinstance(error, MessageTooLarge):
        return error_response(413, str(error))
    return error_response(400, str(error), code="malformed")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", path=request.url.path, exc_info=error)
    return error_response(500, "the Console failed to answer this; its log says why")
