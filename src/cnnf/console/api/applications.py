"""The two applications: pages with the API, and the Defender listener."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from cnnf.console import limits
from cnnf.console.api import (
    audit,
    auth,
    defenders,
    documents,
    errors,
    events,
    ingest,
    pages,
    policy,
    policy_answers,
    policy_objects,
    policy_rules,
    quarantine,
    radar,
    renewal,
    seen,
    session,
    settings,
    whatif,
)
from cnnf.console.api.guard import Bounds, Guard
from cnnf.console.api.services import Services
from cnnf.policy.limits import FORM_BYTES_MAX
from cnnf.protocol.codec import CONTENT_TYPE
from cnnf.protocol.limits import BATCH_BYTES_MAX

API = "/api/v1"
JSON = "application/json"


def describe() -> FastAPI:
    """The pages' application without its services: enough for the OpenAPI document."""
    app = FastAPI(title="cnnf Console", openapi_url=None, docs_url=None, redoc_url=None)
    errors.install(app)
    # What is under /policy with names of its own comes before whole policies.
    policies = (seen, policy_objects, policy_rules, quarantine, whatif, policy)
    for module in (session, radar, events, settings, *policies, defenders, audit):
        app.include_router(module.router, prefix=API)
    document = APIRouter(include_in_schema=False)

    @document.get(f"{API}/openapi.json")
    async def openapi(_: auth.Viewer) -> JSONResponse:
        return JSONResponse(app.openapi())

    app.include_router(document)
    app.include_router(pages.router)
    kinds = (*radar.KINDS, *events.KINDS, *policy_answers.KINDS, *whatif.KINDS, *seen.KINDS)
    documents.install(app, list(kinds))
    return app


def pages_and_api(services: Services) -> ASGIApp:
    """What people's browsers and the command line talk to."""
    app = describe()
    app.state.services = services
    whole = Bounds(body_bytes_max=FORM_BYTES_MAX, media_types=(JSON, *policy.YAML_TYPES))
    return Guard(
        app,
        Bounds(body_bytes_max=limits.API_BODY_BYTES_MAX, media_types=(JSON,)),
        large={f"{API}/policy": whole, f"{API}{whatif.PATH}": whole},
    )


def defender_listener(services: Services) -> ASGIApp:
    """What Defenders talk to."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    errors.install(app)
    for module in (ingest, renewal):
        app.include_router(module.router)
    app.state.services = services
    return Guard(app, Bounds(body_bytes_max=BATCH_BYTES_MAX, media_types=(CONTENT_TYPE, JSON)))


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return describe().openapi()
