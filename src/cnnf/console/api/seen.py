"""The connections of a network object: `/api/v1/policy/objects/{name}/connections`.

Asked of history each time, so an object that was made a moment ago has the connections of before.
"""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Response

from cnnf.console import limits
from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.deadlines import deadline
from cnnf.console.api.documents import answers, json
from cnnf.console.api.errors import documented
from cnnf.console.api.policy_answers import with_version
from cnnf.console.api.services import now_ms
from cnnf.console.core import policies, windows
from cnnf.console.core.seen import ObjectConnections, connections
from cnnf.console.errors import TooMany

router = APIRouter(prefix="/policy/objects", tags=["policy"])

#: For the OpenAPI document.
KINDS: list[type[msgspec.Struct]] = [ObjectConnections]


@router.get(
    "/{name:path}/connections",
    summary="Connections of a network object",
    responses={
        **answers(ObjectConnections, "Who, to whom, on which port; those seen latest first."),
        **documented(404, 429),
    },
)
async def read_connections(
    _: Viewer,
    use: Use,
    name: Annotated[str, Path(min_length=1, max_length=1_000)],
    window: Annotated[
        str, Query(description="How far back: `5m` to `31d`.", pattern=r"^[0-9]{1,6}[mhd]$")
    ] = "24h",
    skip: Annotated[
        int, Query(ge=0, le=limits.SEEN_SKIP_MAX, description="Leave out the first so many.")
    ] = 0,
    count: Annotated[int, Query(ge=1, le=limits.SEEN_PAGE_MAX)] = 100,
) -> Response:
    """Recorded flows with an end in it, those from before it was made included, and what the policy
    in force says of each. `skip` and `count` page on."""
    now = now_ms()
    one = policies.find_object(use.policies.policy, name)
    span = windows.last(windows.parse_length(window), now)
    if use.seeing.locked():
        raise TooMany("others are looked up; try again in some seconds", retry_after_s=2)
    async with use.seeing:
        await use.policies.renew(now)
        in_force, version = use.policies.compiled, use.policies.version
        check = deadline(limits.SEEN_S_MAX, "looked through")
        found = await use.flows.recorded(
            span,
            lambda recorded: connections(
                recorded, one, in_force, version=version, skip=skip, count=count, check=check
            ),
            check,
        )
    return with_version(json(found), version)
