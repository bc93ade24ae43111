"""The policy as one versioned document: `/api/v1/policy`."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from cnnf.console import limits
from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.documents import answers, json
from cnnf.console.api.errors import documented
from cnnf.console.api.policy_answers import Changing, change, version_form, whole, with_version
from cnnf.console.api.policy_in_force import read
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core import hits, policies, policy_form
from cnnf.console.core.policy_form import (
    ChangedForm,
    DiffForm,
    FindingForm,
    HitsForm,
    PolicyForm,
    VersionForm,
)
from cnnf.console.errors import Refused
from cnnf.console.store import known, rule_hits
from cnnf.console.store import policies as store
from cnnf.console.store.policies import StoredPolicy
from cnnf.policy.changes import changes
from cnnf.policy.rules import Policy

router = APIRouter(prefix="/policy", tags=["policy"])

#: Media types that the YAML form comes and goes as.
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

_YAML = {"application/yaml": {"schema": {"type": "string"}}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "A policy, in its YAML form, or the same as JSON.",
        "content": {**_YAML, "application/json": {"schema": {"type": "object"}}},
    }
}

VersionPath = Annotated[int, Path(ge=1, lt=2**53)]


def _document(description: str) -> dict[int | str, dict[str, object]]:
    found = answers(PolicyForm, description)
    found[200]["content"] |= _YAML
    return {**found, **documented(404)}


@router.get(
    "",
    summary="The policy in force",
    responses=_document("Network objects and rules, as JSON or, by `Accept`, in the YAML form."),
)
async def read_policy(request: Request, _: Viewer, use: Use) -> Response:
    """The newest version; its number is in the `ETag`, too."""
    stored, policy = use.policies.stored, use.policies.policy
    return await _answer(request, stored, policy)


@router.put(
    "",
    summary="Replace the policy, or merge into it",
    responses={**answers(ChangedForm, "What changed, or would."), **documented(409, 413, 415)},
    openapi_extra=_BODY,
)
async def put_policy(
    request: Request,
    wanted: Changing,
    use: Use,
    mode: Annotated[
        Literal["replace", "merge"],
        Query(
            description="`merge` keeps what the body does not name: objects and rules of the same "
            "name are replaced where they stand, new ones come last."
        ),
    ] = "replace",
) -> Response:
    """All of it or nothing: a body with any problem changes nothing, and is answered with line and
    column of each. With `preview` nothing is stored, and the answer says what would change."""
    body = await request.body()

    def edit(policy: Policy) -> Policy:
        given = read(body, "policy")
        return policies.merge(policy, given) if mode == "merge" else given

    return await change(use, wanted, mode, edit)


@router.get(
    "/versions",
    summary="Every version there was",
    responses=answers(list[VersionForm], "The newest first, without their contents."),
)
async def read_versions(
    _: Viewer,
    use: Use,
    before: Annotated[int, Query(ge=0, lt=2**53, description="Older than this version.")] = 0,
    count: Annotated[int, Query(ge=1, le=limits.POLICY_VERSIONS_PAGE_MAX)] = 100,
) -> Response:
    """Who changed what, when and why; all are kept. `before` pages on."""
    found = await use.database.read(lambda c: store.history(c, before=before, count=count))
    return json([version_form(one) for one in found])


@router.get(
    "/versions/{version}",
    summary="One version",
    responses=_document("Network objects and rules, as JSON or, by `Accept`, in the YAML form."),
)
async def read_version(request: Request, _: Viewer, use: Use, version: VersionPath) -> Response:
    """As it was, whatever has changed since."""
    stored = await _load(use, version)
    policy = await asyncio.to_thread(_policy, stored)
    return await _answer(request, stored, policy)


@router.get(
    "/diff",
    summary="What differs between two versions",
    responses={
        **answers(DiffForm, "Objects and rules by name, and the order of rules."),
        **documented(404),
    },
)
async def read_diff(
    _: Viewer,
    use: Use,
    old: Annotated[int, Query(ge=1, lt=2**53)],
    new: Annotated[int, Query(ge=1, lt=2**53)],
) -> Response:
    """A rule that was renamed is one that went and one that came."""
    before, after = [await _load(use, version) for version in (old, new)]

    def compare() -> DiffForm:
        found = changes(_policy(before), _policy(after))
        most = limits.POLICY_CHANGES_TOLD_MAX
        return DiffForm(
            old=old,
            new=new,
            changes=[policy_form.change_form(one) for one in found[:most]],
            more_changes=max(0, len(found) - most),
        )

    return json(await asyncio.to_thread(compare))


@router.post(
    "/rollback",
    summary="Go back to an earlier version",
    responses={**answers(ChangedForm, "What changed, or would."), **documented(404, 409)},
)
async def roll_back(
    wanted: Changing,
    use: Use,
    to: Annotated[int, Query(ge=1, lt=2**53, description="The version to go back to.")],
) -> Response:
    """Puts its contents in force as a new version."""
    stored = await _load(use, to)
    return await change(use, wanted, "rollback", lambda _: _policy(stored), f"version {to}")


@router.get(
    "/findings",
    summary="What the policy in force has that is hardly meant",
    responses=answers(list[FindingForm], "Rules first, in the policy's order."),
)
async def read_findings(_: Viewer, use: Use) -> Response:
    """Rules that never decide, have expired or were never hit; objects that nobody is in."""
    now = now_ms()
    there = await use.database.read(known.endpoints)
    found = await use.policies.findings(there, now)
    forms = [policy_form.finding_form(one) for one in found]
    return json(hits.never_hit(await _hits(use, now)) + forms)


@router.get(
    "/hits",
    summary="How often each rule decided",
    responses=answers(list[HitsForm], "Every rule of the policy in force, in its order."),
)
async def read_hits(_: Viewer, use: Use) -> Response:
    """Connections that a rule decided about, as Defenders told them, within 13 months."""
    return json(await _hits(use, now_ms()))


async def _hits(use: Services, now: int) -> list[HitsForm]:
    policy = use.policies.policy

    def job(connection: Connection) -> list[HitsForm]:
        since = store.in_force_since(connection)
        return hits.forms(policy, rule_hits.totals(connection), since, now)

    return await use.database.read(job)


async def _load(use: Services, version: int) -> StoredPolicy:
    stored = await use.database.read(lambda c: store.load(c, version))
    if stored is None:
        raise store.unknown(version)
    return stored


def _policy(stored: StoredPolicy) -> Policy:
    try:
        return read(stored.text.encode(), f"policy version {stored.version}")
    except Refused as error:
        # Written by a cnnf that took what this one does not.
        raise Refused(
            f"version {stored.version} can't be read: {error}", code="invalid-policy"
        ) from error


async def _answer(request: Request, stored: StoredPolicy, policy: Policy) -> Response:
    accepted = request.headers.get("accept", "")
    if any(kind in accepted for kind in YAML_TYPES):
        return with_version(Response(stored.text, media_type=YAML_TYPES[0]), stored.version)
    body = await asyncio.to_thread(whole, stored, policy)
    return with_version(Response(body, media_type="application/json"), stored.version)
