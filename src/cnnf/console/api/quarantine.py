"""Isolating an app, a service or an instance, and back: `/api/v1/policy/quarantine`."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.documents import answers, json
from cnnf.console.api.errors import documented
from cnnf.console.api.policy_answers import (
    Changing,
    Quarantined,
    Wanted,
    change,
    decoded,
    takes,
    with_version,
)
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core import quarantine, windows
from cnnf.console.core.policy_form import ChangedForm
from cnnf.console.core.quarantine import QuarantineForm, Target
from cnnf.console.errors import Refused
from cnnf.console.store import known
from cnnf.policy.rules import Policy

router = APIRouter(prefix="/policy/quarantine", tags=["policy"])

_CHANGED = {**answers(ChangedForm, "What changed, or would."), **documented(404, 409)}


@router.get(
    "",
    summary="Who is isolated",
    responses=answers(list[QuarantineForm], "The oldest first."),
)
async def read_quarantines(_: Viewer, use: Use) -> Response:
    """As the policy in force has it."""
    found = quarantine.quarantines(use.policies.policy)
    return with_version(json(found), use.policies.version)


@router.post(
    "",
    summary="Isolate an app, a service or one instance",
    responses=_CHANGED,
    openapi_extra=takes(Quarantined),
)
async def isolate(request: Request, wanted: Changing, use: Use) -> Response:
    """Prevents all its connections, in and out, but what is never blocked: rules at the top of the
    lists, which say so in their names and notes."""
    target = await _target(use, await decoded(request, Quarantined))
    note = _note(wanted)
    # The name that it gets tells who it is; that is worked out of the target alone.
    _, name = quarantine.isolate(Policy(), target, note)

    def edit(policy: Policy) -> Policy:
        return quarantine.isolate(policy, target, note)[0]

    return await change(use, wanted, "quarantine", edit, name)


@router.delete("/{name:path}", summary="End a quarantine", responses=_CHANGED)
async def release(
    wanted: Changing, use: Use, name: Annotated[str, Path(min_length=1, max_length=1_000)]
) -> Response:
    """Its rules and its object go."""
    return await change(
        use, wanted, "release", lambda policy: quarantine.release(policy, name), name
    )


async def _target(use: Services, body: Quarantined) -> Target:
    if body.kind != "instance":
        if not body.name:
            raise Refused(f"which {body.kind}? Write its name", where="body.name")
        return Target(
            kind=body.kind,
            name=body.name,
            container=body.kind == "app",
            cluster=body.cluster if body.kind == "app" else "",
            namespace=body.namespace if body.kind == "app" else "",
            host=body.host,
        )
    if not body.instance:
        raise Refused("which instance? Write its id, or how that begins", where="body.instance")
    found = await use.database.read(lambda c: known.instances(c, body.instance, body.host))
    if not found:
        raise Refused(
            f"no running instance has the id {body.instance!r:.80}"
            + (f" on {body.host!r:.80}" if body.host else ""),
            code="not-found",
            where="body.instance",
        )
    if len(found) > 1:
        hosts = ", ".join(sorted({one.host for one in found})[:5])
        raise Refused(
            f"{len(found)} or more instances have an id that begins so, on {hosts}: write more of "
            "it, or its host",
            where="body.instance",
        )
    return found[0]


def _note(wanted: Wanted) -> str:
    note = f"Quarantined by {wanted.author} at {windows.text(now_ms())[:19]}Z"
    return f"{note}: {wanted.reason}" if wanted.reason else note
