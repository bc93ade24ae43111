"""Defenders: who is enrolled, and how one joins: `/api/v1/defenders`."""

import secrets as random
from typing import Literal

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.console.api.auth import Admin, Use, Viewer
from cnnf.console.api.errors import documented
from cnnf.console.api.services import now_ms
from cnnf.console.core import windows
from cnnf.console.errors import Refused
from cnnf.console.store import defenders as store
from cnnf.console.store import secrets
from cnnf.console.store import settings as settings_store
from cnnf.protocol.messages import RefuseWith

router = APIRouter(prefix="/defenders", tags=["defenders"])
log = structlog.get_logger()

TOKEN_PREFIX = "cnnf-join"  # noqa: S105 (a prefix, no secret)


class Condition(BaseModel):
    """Something about a Defender's health that a person should know."""

    code: str
    severity: Literal["info", "warning", "error"]
    message: str
    since: str


class Applied(BaseModel):
    """The settings a Defender says are in force on its host."""

    generation: int
    containers: bool
    hosts: bool
    udp: bool
    refuse_with: RefuseWith
    cut: bool


class Defender(BaseModel):
    """One Defender; `seen_at` is null before its first batch."""

    id: str
    name: str
    live: bool
    version: str
    kernel: str
    system: str
    fingerprint: str
    enrolled_at: str
    seen_at: str | None
    applied: Applied | None
    conditions: list[Condition]


class JoinToken(BaseModel):
    """A token for one Defender. It is shown once; its last part is the authority's fingerprint,
    which the joiner checks the authority's certificate against."""

    token: str
    expires_at: str
    authority: str
    fingerprint: str
    url: str


class Enrolment(BaseModel):
    """A joining Defender: its token and a PEM signing request for its own ECDSA P-256 key."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(min_length=1, max_length=512)
    request: str = Field(min_length=1, max_length=limits.REQUEST_CHARS_MAX)
    host: str = Field(min_length=1, max_length=253)


class Enrolled(BaseModel):
    """The Defender's id and certificate, the authority to trust, and where to send batches."""

    defender: str
    certificate: str
    authority: str
    url: str


@router.get("", summary="All Defenders")
async def list_defenders(_: Viewer, use: Use) -> list[Defender]:
    """Everyone enrolled, by name."""
    now = now_ms()
    return [
        Defender(
            id=record.id,
            name=record.name,
            live=use.liveness.live(record.id, now),
            version=record.version,
            kernel=record.kernel,
            system=record.system,
            fingerprint=record.fingerprint.hex(),
            enrolled_at=windows.text(record.enrolled_at),
            seen_at=windows.text(record.seen_at) if record.seen_at else None,
            applied=None
            if record.applied is None
            else Applied(
                generation=record.applied.generation,
                containers=record.applied.containers,
                hosts=record.applied.hosts,
                udp=record.applied.udp,
                refuse_with=record.applied.refuse_with,
                cut=record.applied.cut,
            ),
            conditions=[
                Condition(
                    code=condition.code,
                    severity=condition.severity,
                    message=condition.message,
                    since=windows.text(max(0, min(condition.since, 2**47))),
                )
                for condition in record.conditions
            ],
        )
        for record in await use.database.read(store.everyone)
    ]


@router.post("/tokens", summary="Let one Defender join", status_code=201)
async def create_token(account: Admin, use: Use) -> JoinToken:
    """A single-use token, good for an hour."""
    secret = secrets.new_secret()
    now = now_ms()
    expires_at = await use.database.write(
        lambda c: store.put_join_token(c, secret, account.user, now)
    )
    await use.database.write(
        lambda c: settings_store.note(
            c, actor=account.user, action="defender.token", subject="join token", now=now
        )
    )
    return JoinToken(
        token=f"{TOKEN_PREFIX}.{secret}.{use.authority.fingerprint}",
        expires_at=windows.text(expires_at),
        authority=use.authority.pem,
        fingerprint=use.authority.fingerprint,
        url=use.defender_url,
    )


@router.post(
    "/enrol",
    summary="Join",
    responses=documented(403, 429),
    openapi_extra={"security": []},
)
async def enrol(body: Enrolment, request: Request, use: Use) -> Enrolled:
    """A Defender trades its join token for a certificate; the token is used up by it."""
    now = now_ms()
    key = f"enrol from {request.client.host if request.client else ''}"
    use.attempts.check(key, now)
    parts = body.token.split(".")
    secret = parts[1] if len(parts) == 3 and parts[0] == TOKEN_PREFIX else ""
    id_ = random.token_hex(16)
    # Signed before the token is taken: a bad request must not use it up.
    certificate, fingerprint = use.authority.sign(body.request, id_)

    def job(connection: Connection) -> bool:
        if not store.take_join_token(connection, secret, now):
            return False
        store.add(connection, id_, body.host, fingerprint, now)
        settings_store.note(
            connection,
            actor="join token",
            action="defender.enrol",
            subject=id_,
            detail={"host": body.host},
            now=now,
        )
        return True

    if not await use.database.write(job):
        use.attempts.failed(key, now)
        raise Refused(
            "the join token is unknown, used or expired", code="forbidden", where="body.token"
        )
    log.info("Defender enrolled", defender=id_, host=body.host)
    use.radar.touch()
    return Enrolled(
        defender=id_, certificate=certificate, authority=use.authority.pem, url=use.defender_url
    )
