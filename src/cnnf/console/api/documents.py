"""Answers that msgspec writes, and their schemas in the OpenAPI document.

The graph is built from msgspec values; making pydantic ones of them only to serialise them again
would cost ten times the time, so the document takes their schemas from msgspec.
"""

from typing import Any, get_args, get_origin

import msgspec
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from cnnf import __version__

_REF = "#/components/schemas/{name}"
#: Errors that any route can answer with, besides its own.
_EVERYWHERE = ("400", "401", "403", "500", "503")
_DESCRIPTION = """\
What Defenders saw, and what they are told. Every request needs a session (`POST /session`, a
cookie) or an API token (`Authorization: Bearer ...`; the first one lies in `cli-token` in the data
directory). Every error has the one shape `{"error": {"code", "message", "where"}}`.
"""


def json(value: Any) -> Response:
    """The value as a JSON answer."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def answers(kind: Any, description: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: this msgspec type, or a list of it, as JSON."""
    schema: dict[str, Any]
    if get_origin(kind) is list:
        schema = {"type": "array", "items": {"$ref": _REF.format(name=get_args(kind)[0].__name__)}}
    else:
        schema = {"$ref": _REF.format(name=kind.__name__)}
    return {
        200: {
            "description": description,
            "content": {"application/json": {"schema": schema}},
        }
    }


def streams(description: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: server-sent events."""
    return {
        200: {
            "description": description,
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }


def install(app: FastAPI, kinds: list[type[msgspec.Struct]]) -> None:
    """Let the application describe itself, with these msgspec types among its schemas."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, kinds)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI, kinds: list[type[msgspec.Struct]]) -> dict[str, Any]:
    document = get_openapi(
        title="cnnf Console",
        version=__version__,
        summary="The Console's API.",
        description=_DESCRIPTION,
        routes=app.routes,
        servers=[{"url": "/"}],
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas.update(components)
    # The one error shape takes the place of the framework's own.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    error = {"application/json": {"schema": {"$ref": _REF.format(name="ErrorBody")}}}
    for path, item in document["paths"].items():
        for operation in item.values():
            responses = operation["responses"]
            responses.pop("422", None)
            for status in _EVERYWHERE:
                responses.setdefault(status, {"description": "See the error.", "content": error})
            if path != "/healthz":
                operation.setdefault("security", [{"session": []}, {"token": []}])
    document["components"]["securitySchemes"] = {
        "session": {"type": "apiKey", "in": "cookie", "name": "cnnf_session"},
        "token": {"type": "http", "scheme": "bearer"},
    }
    return document
