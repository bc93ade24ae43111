"""Rules of the policy in force, one by one: `/api/v1/policy/rules`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from cnnf.console import limits
from cnnf.console.api.auth import Use, Viewer
from cnnf.console.api.documents import answers, json
from cnnf.console.api.errors import documented
from cnnf.console.api.policy_answers import (
    Changing,
    RuleAdded,
    RuleMoved,
    RuleReplaced,
    RulesEnabled,
    change,
    decoded,
    listed_rule,
    takes,
    with_version,
)
from cnnf.console.core import policies
from cnnf.console.core.policies import Position
from cnnf.console.core.policy_form import ChangedForm, ListedRuleForm, read_rule
from cnnf.console.errors import Refused
from cnnf.policy.rules import LISTS, ListName

router = APIRouter(prefix="/policy/rules", tags=["policy"])

_CHANGED = {**answers(ChangedForm, "What changed, or would."), **documented(404, 409)}
Name = Annotated[str, Path(min_length=1, max_length=1_000)]


@router.get(
    "",
    summary="Rules",
    responses=answers(list[ListedRuleForm], "In order; those for containers first."),
)
async def read_rules(
    _: Viewer,
    use: Use,
    list_: Annotated[ListName | None, Query(alias="list", description="Only this list's.")] = None,
) -> Response:
    """All of the policy in force."""
    found = [
        listed_rule(rule, where, position)
        for where in LISTS
        if list_ in (None, where)
        for position, rule in enumerate(policies.listed(use.policies.policy, where))
    ]
    return with_version(json(found), use.policies.version)


@router.get(
    "/{name:path}",
    summary="One rule",
    responses={**answers(ListedRuleForm, "The rule and its place."), **documented(404)},
)
async def read_rule_named(_: Viewer, use: Use, name: Name) -> Response:
    """By its name, whichever list it is in."""
    held = policies.find_rule(use.policies.policy, name)
    found = listed_rule(held.rule, held.list, held.position)
    return with_version(json(found), use.policies.version)


@router.post("", summary="Add a rule", responses=_CHANGED, openapi_extra=takes(RuleAdded))
async def add_rule(request: Request, wanted: Changing, use: Use) -> Response:
    """To the end of a list, or where `before`, `after` or `first` say."""
    body = await decoded(request, RuleAdded)
    position = Position(before=body.before, after=body.after, first=body.first)
    return await change(
        use,
        wanted,
        "rule",
        lambda policy: policies.add_rule(policy, body.list, read_rule(body.rule), position),
        body.rule.name,
    )


@router.post("/move", summary="Move a rule", responses=_CHANGED, openapi_extra=takes(RuleMoved))
async def move_rule(request: Request, wanted: Changing, use: Use) -> Response:
    """The order of a list is the only precedence there is."""
    body = await decoded(request, RuleMoved)
    position = Position(before=body.before, after=body.after, first=body.first)
    return await change(
        use,
        wanted,
        "order",
        lambda policy: policies.move_rule(policy, body.rule, position, body.list),
        body.rule,
    )


@router.post(
    "/enable",
    summary="Enable or disable rules",
    responses=_CHANGED,
    openapi_extra=takes(RulesEnabled),
)
async def enable_rules(request: Request, wanted: Changing, use: Use) -> Response:
    """Those that are named, at once."""
    body = await decoded(request, RulesEnabled)
    if not 0 < len(body.rules) <= limits.POLICY_RULES_AT_ONCE_MAX:
        raise Refused(
            f"{len(body.rules)} rules: name 1 to {limits.POLICY_RULES_AT_ONCE_MAX:,}",
            where="body.rules",
        )
    return await change(
        use,
        wanted,
        "rule",
        lambda policy: policies.enable_rules(policy, body.rules, enabled=body.enabled),
        policies.some(body.rules),
    )


@router.put(
    "/{name:path}",
    summary="Change or rename a rule",
    responses=_CHANGED,
    openapi_extra=takes(RuleReplaced),
)
async def replace_rule(request: Request, wanted: Changing, use: Use, name: Name) -> Response:
    """The rule as it is to be, where it stands; a body with another name renames it, and its hits
    go with it."""
    body = await decoded(request, RuleReplaced)
    renamed = None if body.rule.name == name else (name, body.rule.name)
    return await change(
        use,
        wanted,
        "rule",
        lambda policy: policies.replace_rule(policy, name, read_rule(body.rule), body.list),
        " -> ".join(renamed or (name,)),
        renamed,
    )


@router.delete("/{name:path}", summary="Delete a rule", responses=_CHANGED)
async def delete_rule(wanted: Changing, use: Use, name: Name) -> Response:
    """By its name, whichever list it is in."""
    return await change(
        use, wanted, "rule", lambda policy: policies.delete_rule(policy, name), name
    )
