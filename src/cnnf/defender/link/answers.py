"""What the Console says when it refuses, and what stands behind a connection that failed."""

import ssl

import msgspec

ANSWER_BYTES_MAX = 64 * 1024


class _Said(msgspec.Struct):
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Said


def said(body: bytes) -> str:
    """The sentence in the Console's error answer, cut; '' when it has none."""
    try:
        return msgspec.json.decode(body[:ANSWER_BYTES_MAX], type=_ErrorBody).error.message[:300]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def behind(error: BaseException) -> ssl.SSLError | None:
    """The TLS failure that an HTTP client's error was raised for; None when it is another."""
    seen = 0
    cause: BaseException | None = error
    while cause is not None and seen < 10:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause, seen = cause.__cause__ or cause.__context__, seen + 1
    return None
