"""What the routes of the policy have in common: how a change is asked for, made and answered."""

from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from fastapi import Depends, Query, Request, Response

from cnnf.console import limits
from cnnf.console.api import documents
from cnnf.console.api.auth import Operator
from cnnf.console.api.policy_in_force import Edit, Outcome, Surroundings
from cnnf.console.api.services import Services, now_ms
from cnnf.console.core import policy_form, quarantine, windows
from cnnf.console.core.policy_form import ChangedForm, PolicyForm, VersionForm
from cnnf.console.errors import Refused
from cnnf.console.store import defenders, known
from cnnf.console.store.policies import Change, Kind, PolicyVersion, StoredPolicy
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.rules import ListName, Policy, Rule
from cnnf.protocol.messages import PolicyState

M = TypeVar("M")


class RuleAdded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule for one of the lists, right before or after another one there, or at its beginning
    (`first`); else at its end."""

    rule: policy_form.RuleForm
    list: ListName
    before: str = ""
    after: str = ""
    first: bool = False


class RuleReplaced(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule as it is to be; another name renames it. With the other `list` it goes to its
    end."""

    rule: policy_form.RuleForm
    list: ListName | None = None


class RuleMoved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a rule is to be: as for one that is added; in its own list unless one is named."""

    rule: str
    list: ListName | None = None
    before: str = ""
    after: str = ""
    first: bool = False


class RulesEnabled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules that are to be enabled, or disabled."""

    rules: list[str]
    enabled: bool


class Quarantined(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to be isolated: an app or a service by its name (`cluster`, `namespace` and `host`
    narrow it), or one instance by its id, or how that begins, and the host it is on where several
    have one of that id."""

    kind: quarantine.TargetKind
    name: str = ""
    cluster: str = ""
    namespace: str = ""
    host: str = ""
    instance: str = ""


#: For the OpenAPI document.
KINDS: list[type[msgspec.Struct]] = [
    PolicyForm,
    VersionForm,
    ChangedForm,
    policy_form.DiffForm,
    policy_form.HitsForm,
    policy_form.FindingForm,
    policy_form.ObjectForm,
    policy_form.ListedObjectForm,
    policy_form.ListedRuleForm,
    policy_form.UseForm,
    quarantine.QuarantineForm,
    RuleAdded,
    RuleReplaced,
    RuleMoved,
    RulesEnabled,
    Quarantined,
]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to change which version, and why; `preview`: only to see what would come of it."""

    author: str
    version: int
    reason: str
    preview: bool


async def _wanted(
    account: Operator,
    version: Annotated[
        int,
        Query(
            ge=1,
            lt=2**53,
            description="The version that the change is made of; refused if another is in force.",
        ),
    ],
    reason: Annotated[
        str, Query(max_length=limits.REASON_CHARS_MAX, description="Why, for the history.")
    ] = "",
    preview: Annotated[bool, Query(description="Only say what would change.")] = False,
) -> Wanted:
    if not reason.isprintable():
        raise Refused("the reason has what can't be printed", where="query.reason")
    return Wanted(author=account.user, version=version, reason=reason, preview=preview)


#: A route that changes the policy takes this; only operators pass.
Changing = Annotated[Wanted, Depends(_wanted)]


async def change(
    use: Services,
    wanted: Wanted,
    kind: Kind,
    edit: Edit,
    subject: str = "",
    renamed: tuple[str, str] | None = None,
) -> Response:
    """Make the change (or preview it) and answer with what it does. Raises Conflict, Refused."""
    outcome = await use.policies.change(
        use.database,
        wanted.version,
        edit,
        Change(
            author=wanted.author,
            reason=wanted.reason,
            kind=kind,
            subject=subject,
            renamed=renamed,
        ),
        await surroundings(use),
        now=now_ms(),
        preview=wanted.preview,
    )
    if not wanted.preview:
        use.radar.touch()
    return answer(outcome, preview=wanted.preview)


def answer(outcome: Outcome, *, preview: bool) -> Response:
    """What a change does, as JSON; its ETag is the version in force."""
    most, findings = limits.POLICY_CHANGES_TOLD_MAX, limits.POLICY_FINDINGS_TOLD_MAX
    form = ChangedForm(
        version=outcome.stored.version,
        digest=outcome.digest,
        preview=preview,
        changes=[policy_form.change_form(one) for one in outcome.changes[:most]],
        more_changes=max(0, len(outcome.changes) - most),
        findings=[policy_form.finding_form(one) for one in outcome.findings[:findings]],
        more_findings=max(0, len(outcome.findings) - findings),
        notes=outcome.notes,
    )
    return with_version(documents.json(form), outcome.stored.version)


def with_version(response: Response, version: int) -> Response:
    """The answer, telling the version it is true of."""
    response.headers["ETag"] = f'"{version}"'
    return response


async def surroundings(use: Services) -> Surroundings:
    """What a policy is looked at with, as of now."""
    records = await use.database.read(defenders.everyone)
    place = urlsplit(use.defender_url)
    hosts = [
        (
            Candidate(identity=Identity(kind="host", name=one.name), address=address),
            one.name == use.host_name or place.hostname in one.addresses,
        )
        for one in records
        for address in known.addresses(one.addresses)
    ]
    return Surroundings(
        known=await use.database.read(known.endpoints),
        defenders=[one for one, is_here in hosts if not is_here],
        console=[one for one, is_here in hosts if is_here],
        port=place.port or 443,
        failsafe={one.name: frozenset((one.policy or PolicyState()).failsafe) for one in records},
    )


async def decoded(request: Request, kind: type[M]) -> M:
    """The request's body as this type. Raises Refused, saying where it is wrong."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        path = where.rstrip("`")
        raise Refused(message, where=f"body{path}"[:200]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"no JSON: {error}", where="body") from error


def takes(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """For a route's `openapi_extra`: this msgspec type as its body."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def version_form(version: PolicyVersion) -> VersionForm:
    """A version as it is answered."""
    return VersionForm(
        version=version.version,
        digest=version.digest,
        author=version.author,
        reason=version.reason,
        at=windows.text(version.at),
        kind=version.kind,
        subject=version.subject,
        rule_count=version.rules,
        object_count=version.objects,
    )


def whole(stored: StoredPolicy, policy: Policy) -> bytes:
    """A version with all that is in it, as JSON."""
    head = msgspec.structs.asdict(version_form(stored))
    form = PolicyForm(
        network_objects=[policy_form.object_form(one) for one in policy.objects],
        rules=policy_form.rules_form(policy),
        **head,
    )
    return msgspec.json.encode(form)


def listed_rule(rule: Rule, where: ListName, position: int) -> policy_form.ListedRuleForm:
    """A rule with its place, as it is answered."""
    return policy_form.ListedRuleForm(
        rule=policy_form.rule_form(rule), list=where, position=position
    )
