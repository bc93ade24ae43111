"""Network objects of the policy in force, one by one: `/api/v1/policy/objects`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.documents import answers, json
from cnnf.console.api.errors import documented
from cnnf.console.api.policy_answers import Changing, change, decoded, takes, with_version
from cnnf.console.core import policies
from cnnf.console.core.policy_form import (
    ChangedForm,
    ListedObjectForm,
    ObjectForm,
    object_form,
    read_object,
)

router = APIRouter(prefix="/policy/objects", tags=["policy"])

_CHANGED = {**answers(ChangedForm, "What changed, or would."), **documented(404, 409)}
Name = Annotated[str, Path(min_length=1, max_length=1_000)]
Carry = Annotated[
    bool,
    Query(
        description="Change the rules that name it, too: without it one that is in use is neither "
        "renamed nor deleted."
    ),
]


@router.get(
    "",
    summary="Network objects",
    responses=answers(list[ListedObjectForm], "In the policy's order, each with where it is used."),
)
async def read_objects(_: Viewer, use: Use) -> Response:
    """All of the policy in force."""
    used = policies.uses(use.policies.policy)
    found = [
        ListedObjectForm(object=object_form(one), used_by=used.get(one.name, []))
        for one in use.policies.policy.objects
    ]
    return with_version(json(found), use.policies.version)


@router.get(
    "/{name:path}",
    summary="One network object",
    responses={
        **answers(ListedObjectForm, "The object, and the rules that name it."),
        **documented(404),
    },
)
async def read_object_named(_: Viewer, use: Use, name: Name) -> Response:
    """With every place where a rule names it."""
    policy = use.policies.policy
    one = policies.find_object(policy, name)
    found = ListedObjectForm(
        object=object_form(one), used_by=policies.uses(policy).get(one.name, [])
    )
    return with_version(json(found), use.policies.version)


@router.put(
    "/{name:path}",
    summary="Make, change or rename a network object",
    responses=_CHANGED,
    openapi_extra=takes(ObjectForm),
)
async def put_object(
    request: Request, wanted: Changing, use: Use, name: Name, carry: Carry = False
) -> Response:
    """The object as it is to be. A body with another name renames it."""
    form = await decoded(request, ObjectForm)
    return await change(
        use,
        wanted,
        "object",
        lambda policy: policies.put_object(policy, name, read_object(form), carry=carry),
        form.name if form.name == name else f"{name} -> {form.name}",
    )


@router.delete("/{name:path}", summary="Delete a network object", responses=_CHANGED)
async def delete_object(wanted: Changing, use: Use, name: Name, carry: Carry = False) -> Response:
    """With `carry` it is taken out of rules that name it, and a rule with nothing else on that
    side is deleted: left out, the side would mean anybody."""
    return await change(
        use,
        wanted,
        "object",
        lambda policy: policies.delete_object(policy, name, carry=carry),
        name,
    )
