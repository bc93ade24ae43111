"""Defenders: who is enrolled, and how one joins: `/api/v1/defenders`."""

import secrets as random
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.console.api.auth import Admin, Use, Viewer
from cnnf.console.api.errors import documented
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core import windows
from cnnf.console.errors import Refused
from cnnf.console.store import defenders as store
from cnnf.console.store import secrets
from cnnf.console.store import settings as settings_store
from cnnf.console.store.defenders import DefenderRecord
from cnnf.protocol.messages import RefuseWith, Settings

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


class Spool(BaseModel):
    """What a Defender keeps on disk for the Console; `oldest_at` is null when that is nothing."""

    bytes: int
    bytes_max: int
    oldest_at: str | None


class Enforced(BaseModel):
    """Which version of the policy a Defender says it enforces (0: none yet), and which newer one it
    could not put in force, and why; 0 and empty where there is no such."""

    generation: int
    digest: str
    refused_generation: int
    refused: str


class Defender(BaseModel):
    """One Defender; `seen_at` is null before its first batch, `expires_at` (the end of its
    certificate, which it renews by itself), `spool` and `policy` where they are not known."""

    id: str
    name: str
    live: bool
    version: str
    kernel: str
    system: str
    addresses: list[str]
    fingerprint: str
    expires_at: str | None
    enrolled_at: str
    seen_at: str | None
    applied: Applied | None
    conditions: list[Condition]
    spool: Spool | None
    policy: Enforced | None


class TokenWanted(BaseModel):
    """For how long the token is to be good: between a minute and a week, an hour when left out."""

    model_config = ConfigDict(extra="forbid")
    expires_s: int = Field(
        default=limits.JOIN_TOKEN_MS // 1000,
        ge=limits.JOIN_TOKEN_MS_MIN // 1000,
        le=limits.JOIN_TOKEN_MS_MAX // 1000,
    )


class JoinToken(BaseModel):
    """A token for one Defender. It is shown once; its last part is the authority's fingerprint,
    which the joiner checks the authority's certificate against. `console` is where to join, `url`
    where Defenders connect from then on."""

    token: str
    expires_at: str
    authority: str
    fingerprint: str
    console: str
    url: str


class Trust(BaseModel):
    """The Console's certificate authority (PEM), for a joiner to compare with its token."""

    authority: str
    fingerprint: str


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


Id = Annotated[str, Path(min_length=1, max_length=64)]


@router.get("", summary="All Defenders")
async def list_defenders(_: Viewer, use: Use) -> list[Defender]:
    """Everyone enrolled, by name."""
    now = now_ms()
    return [_form(record, use, now) for record in await use.database.read(store.everyone)]


@router.get("/authority", summary="Whom Defenders trust", openapi_extra={"security": []})
async def read_authority(use: Use) -> Trust:
    """No secret: a joining Defender checks it against its token before it sends that."""
    return Trust(authority=use.authority.pem, fingerprint=use.authority.fingerprint)


@router.get("/{defender}", summary="One Defender", responses=documented(404))
async def read_defender(_: Viewer, use: Use, defender: Id) -> Defender:
    """As in the list."""
    record = await use.database.read(lambda c: store.one(c, defender))
    if record is None:
        raise _unknown()
    return _form(record, use, now_ms())


@router.delete(
    "/{defender}", summary="Remove a Defender", status_code=204, responses=documented(404)
)
async def remove_defender(account: Admin, use: Use, defender: Id) -> None:
    """Its certificate is good no more: its streams end, and what it sends is refused. What it told
    before stays."""
    now = now_ms()

    def job(connection: Connection) -> str | None:
        name = store.remove(connection, defender, now)
        if name is not None:
            settings_store.note(
                connection,
                actor=account.user,
                action="defender.remove",
                subject=defender,
                detail={"host": name},
                now=now,
            )
        return name

    name = await use.database.write(job)
    if name is None:
        raise _unknown()
    use.liveness.removed(defender)
    use.directory.removed(defender)
    use.radar.touch()
    log.info("Defender removed", defender=defender, host=name)


@router.post("/tokens", summary="Let one Defender join", status_code=201)
async def create_token(account: Admin, use: Use, body: TokenWanted | None = None) -> JoinToken:
    """A single-use token, good for an hour unless asked for otherwise."""
    secret = secrets.new_secret()
    now = now_ms()
    lasts = (body or TokenWanted()).expires_s * 1000
    expires_at = await use.database.write(
        lambda c: store.put_join_token(c, secret, account.user, now, lasts)
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
        console=use.url,
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
    issued = use.authority.sign(body.request, id_)

    def job(connection: Connection) -> bool:
        if not store.take_join_token(connection, secret, now):
            return False
        store.add(connection, id_, body.host, issued.fingerprint, issued.expires_at, now)
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
        defender=id_, certificate=issued.pem, authority=use.authority.pem, url=use.defender_url
    )


def _unknown() -> Refused:
    return Refused("no such Defender is enrolled", code="not-found", where="path.defender")


def _form(record: DefenderRecord, use: Services, now: int) -> Defender:
    return Defender(
        id=record.id,
        name=record.name,
        live=use.liveness.live(record.id, now),
        version=record.version,
        kernel=record.kernel,
        system=record.system,
        addresses=record.addresses,
        fingerprint=record.fingerprint.hex(),
        expires_at=_moment(record.expires_at),
        enrolled_at=windows.text(record.enrolled_at),
        seen_at=_moment(record.seen_at),
        applied=None if record.applied is None else _applied(record.applied),
        conditions=[
            Condition(
                code=condition.code,
                severity=condition.severity,
                message=condition.message,
                since=windows.text(max(0, min(condition.since, 2**47))),
            )
            for condition in record.conditions
        ],
        spool=None
        if record.spool is None
        else Spool(
            bytes=record.spool.bytes,
            bytes_max=record.spool.bytes_max,
            oldest_at=_moment(record.spool.oldest_at),
        ),
        policy=None
        if record.policy is None
        else Enforced(
            generation=record.policy.generation,
            digest=record.policy.digest,
            refused_generation=record.policy.refused_generation,
            refused=record.policy.refused,
        ),
    )


def _applied(settings: Settings) -> Applied:
    return Applied(
        generation=settings.generation,
        containers=settings.containers,
        hosts=settings.hosts,
        udp=settings.udp,
        refuse_with=settings.refuse_with,
        cut=settings.cut,
    )


def _moment(ms: int) -> str | None:
    # A Defender may say anything; what no date can be made of is as good as the end of time.
    return windows.text(min(ms, 2**47)) if ms > 0 else None
