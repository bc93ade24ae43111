"""The ledger: one connection, told by the Defenders of both its ends, is one connection.

The source's report is the record: it is drawn as it comes. The destination's is a *claim*: it is
set against what the source's Defender has told of the same two hosts, port and protocol within a
few minutes, whatever comes first, and only what is left of it when the source's Defender has
delivered past that time (or is away) is *credited*, as an edge from the source's host. What the
source's tells later takes the credit back. So what is drawn depends on what was told, not on the
order in which it came. No ports of the source, no five-tuples: masquerading changes them.

An `Account` is a value; `settle` returns the next one and what to post: additions and, where a
credit is taken back, subtractions.
"""

from collections.abc import Callable, Iterable

import msgspec

from cnnf.console import limits
from cnnf.console.core import events
from cnnf.console.core.accounts import (
    NOTHING,
    Account,
    Claim,
    Credit,
    Posting,
    Progress,
    Settled,
    Told,
    minus,
    plus,
)
from cnnf.console.core.decisions import INCIDENTS, UNDECIDED, VERDICTS
from cnnf.console.core.directory import Found
from cnnf.console.core.events import Event
from cnnf.console.core.matching import REACH, credited, left_of, pruned


def tell(account: Account, told: Told) -> Account:
    """The source's Defender told; it is drawn already."""
    for at, one in enumerate(account.told):
        same = (one.minute, one.source.id, one.target.id, one.address, one.port, one.sure)
        if same == (
            told.minute, told.source.id, told.target.id, told.address, told.port, told.sure
        ):  # fmt: skip
            merged = msgspec.structs.replace(
                one,
                figures=plus(one.figures, told.figures),
                decision=max(one.decision, told.decision),
                first=min(one.first, told.first),
                last=max(one.last, told.last),
            )
            rest = (*account.told[:at], merged, *account.told[at + 1 :])
            return msgspec.structs.replace(account, told=rest, heard=True)
    return msgspec.structs.replace(account, told=(*account.told, told), heard=True)


def claim(account: Account, more: Claim) -> Account:
    """The destination's Defender told."""
    for at, one in enumerate(account.claims):
        same = _claim_key(one) == _claim_key(more) and not one.ready
        if same and (one.event is None) == (more.event is None):
            merged = msgspec.structs.replace(
                one,
                figures=plus(one.figures, more.figures),
                first=min(one.first, more.first),
                last=max(one.last, more.last),
                event=_joined(one.event, more.event),
                process=more.process or one.process,
            )
            rest = (*account.claims[:at], merged, *account.claims[at + 1 :])
            return msgspec.structs.replace(account, claims=rest)
    return msgspec.structs.replace(account, claims=(*account.claims, more))


def unsure(account: Account, delivered: int) -> tuple[list[Told], Account]:
    """What was drawn before the destination's Defender had told who is there, and now has, and the
    account without it: to be looked up again."""
    until = delivered - limits.LEDGER_MARGIN_MS
    again = [one for one in account.told if not one.sure and one.last <= until]
    if not again:
        return [], account
    kept = tuple(one for one in account.told if one.sure or one.last > until)
    return again, msgspec.structs.replace(account, told=kept)


def look_up(account: Account, find: Callable[[Claim], Found | None]) -> Account:
    """The account with the containers whose addresses have got a name since they were claimed."""
    claims = []
    for one in account.claims:
        found = None if one.ready or one.known else find(one)
        if found is not None and found.exact:
            claims.append(msgspec.structs.replace(one, source=found.node, known=True))
        else:
            claims.append(one)
    return msgspec.structs.replace(account, claims=tuple(claims))


def settle(account: Account, progress: Progress) -> Settled:
    """Set both against each other anew."""
    claims = tuple(_ready(one, progress) for one in account.claims)
    account = msgspec.structs.replace(account, claims=claims)
    left, pairs = left_of(account)
    drawn_now = credited(account, left)
    postings = _difference(account.credits, drawn_now, claims)
    occurred: list[Event] = []
    merged = set(account.merged)
    done: list[Claim] = []
    for one in claims:
        if not one.ready:
            done.append(one)
            continue
        who = _who(account.told, one)
        postings += _merge(one, who, merged)
        if one.event is None:
            done.append(one)
            continue
        who_did = _culprit(one, who)
        # The source's own event is the record of a connection that it alerted on as well.
        if not (isinstance(who_did, Told) and _as_severe(who_did, one)):
            ends = who_did.source.id, one.target.id
            occurred.append(events.from_source(one.event, who_did.source, ends))
        done.append(msgspec.structs.replace(one, event=None))
    account = msgspec.structs.replace(
        account, claims=tuple(done), credits=tuple(drawn_now), merged=frozenset(merged)
    )
    return Settled(pruned(account, pairs, progress), postings, occurred)


def due_at(account: Account) -> int:
    """When something has to be credited in any case (ms, the Console's time); 0 never."""
    return min((one.since + limits.LEDGER_WAIT_MS for one in _waiting(account)), default=0)


def ready_at(account: Account) -> int:
    """How far the source's Defender has to deliver for the next step; 0: nothing waits for it."""
    return min((one.last + limits.LEDGER_MARGIN_MS for one in _waiting(account)), default=0)


def unsure_at(account: Account) -> int:
    """How far the destination's has to deliver for the next look-up; 0: nothing waits for it."""
    unsure_ = (one.last for one in account.told if not one.sure)
    return min((last + limits.LEDGER_MARGIN_MS for last in unsure_), default=0)


def _waiting(account: Account) -> list[Claim]:
    return [one for one in account.claims if not one.ready]


def _ready(one: Claim, progress: Progress) -> Claim:
    if one.ready or not (
        progress.source >= one.last + limits.LEDGER_MARGIN_MS
        or progress.now >= one.since + limits.LEDGER_WAIT_MS
        or progress.now >= one.last + limits.LEDGER_KEPT_MS
    ):
        return one
    return msgspec.structs.replace(one, ready=True)


def _difference(
    before: Iterable[Credit], after: Iterable[Credit], claims: Iterable[Claim]
) -> list[Posting]:
    old = {(one.minute, one.source.id, one.target.id): one for one in before}
    new = {(one.minute, one.source.id, one.target.id): one for one in after}
    told = {(one.minute, one.source.id, one.target.id): one for one in claims}
    postings = []
    for key in sorted(old.keys() | new.keys()):
        has, had = new.get(key), old.get(key)
        figures = plus(has.figures if has else NOTHING, minus(had.figures if had else NOTHING))
        if not any(figures):
            continue
        credit = has or had
        assert credit is not None
        by = told.get(key)
        last = by.last if by else credit.minute
        postings.append(
            Posting(
                source=credit.source,
                target=credit.target,
                minute=credit.minute,
                figures=figures,
                decision=by.decision if by and has else UNDECIDED,
                first=by.first if by else credit.minute,
                last=max(credit.minute, min(last, credit.minute + limits.MINUTE_MS - 1)),
                process=by.process if by and has else None,
            )
        )
    return postings


def _who(told: Iterable[Told], claim_: Claim) -> list[Told]:
    """Who may have done what is claimed: of the nearest minute that the source told of it."""
    near = [
        one
        for one in told
        if abs(one.minute - claim_.minute) <= REACH
        and (not claim_.known or one.source.id == claim_.source.id)
    ]
    nearest = min((abs(one.minute - claim_.minute) for one in near), default=0)
    near = [one for one in near if abs(one.minute - claim_.minute) == nearest]
    if VERDICTS[claim_.decision[0]] == "prevent":
        # What was prevented there was not answered here.
        near = [one for one in near if one.figures[1] < one.figures[0]] or near
    return near


def _merge(
    claim_: Claim, who: Iterable[Told], merged: set[tuple[int, str, str, int, str]]
) -> list[Posting]:
    """What the destination's Defender decided, and who served, on the edges the source told."""
    if claim_.decision == UNDECIDED and claim_.process is None:
        return []
    postings = []
    for one in who:
        key = (one.minute, one.source.id, one.target.id, *claim_.decision)
        if key in merged:
            continue
        merged.add(key)
        postings.append(
            Posting(
                source=one.source,
                target=one.target,
                minute=one.minute,
                figures=NOTHING,
                decision=claim_.decision,
                first=one.first,
                last=max(one.minute, min(one.last, one.minute + limits.MINUTE_MS - 1)),
                process=claim_.process,
            )
        )
    return postings


def _culprit(claim_: Claim, who: list[Told]) -> Told | Claim:
    """Whose doing the event is: the one that it can have been, else the host's."""
    if len({one.source.id for one in who}) == 1:
        return max(who, key=lambda one: one.decision)
    return claim_


def _as_severe(told: Told, claim_: Claim) -> bool:
    own = VERDICTS[told.decision[0]]
    return own in INCIDENTS and told.decision[0] >= claim_.decision[0]


def _claim_key(one: Claim) -> tuple[object, ...]:
    return (one.minute, one.source.id, one.known, one.address, one.target.id, one.decision)


def _joined(one: Event | None, more: Event | None) -> Event | None:
    if one is None or more is None:
        return one or more
    return msgspec.structs.replace(
        one,
        count=one.count + more.count,
        cut=one.cut + more.cut,
        first_seen=min(one.first_seen, more.first_seen),
        last_seen=max(one.last_seen, more.last_seen),
    )


def negative(told: Told) -> Posting:
    """What takes back what was drawn."""
    return drawn(msgspec.structs.replace(told, figures=minus(told.figures), decision=UNDECIDED))


def drawn(told: Told) -> Posting:
    """What was told, as it is drawn."""
    return Posting(
        source=told.source,
        target=told.target,
        minute=told.minute,
        figures=told.figures,
        decision=told.decision,
        first=told.first,
        last=max(told.minute, min(told.last, told.minute + limits.MINUTE_MS - 1)),
    )
