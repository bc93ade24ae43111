"""Claims set against what was told: the ledger's arithmetic, by figure and minute."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from cnnf.console import limits
from cnnf.console.core.accounts import (
    NOTHING,
    Account,
    Credit,
    Figures,
    Progress,
    figures_of,
    plus,
)

#: By minute and source (claims: '' where the address does not tell it).
Sums = dict[tuple[int, str], int]


class Pair(NamedTuple):
    """So many of a figure, told in one minute, were claimed in another."""

    figure: int
    told: tuple[int, str]
    claim: tuple[int, str]
    number: int


def left_of(account: Account) -> tuple[list[Sums], list[Pair]]:
    """What of the claims the source's Defender has not told, by figure; and what met what.

    Each minute of the told, in order, takes from the earliest claims that it can reach: since all
    reach equally far, nothing more can meet by any other choice (a greedy matching of a convex
    bipartite graph: Glover 1967). Claims whose source is known come first and meet only that one.
    """
    all_left: list[Sums] = []
    pairs: list[Pair] = []
    for figure in range(3):
        told = _sums(((one.minute, one.source.id), one.figures[figure]) for one in account.told)
        left = _sums(
            ((one.minute, one.source.id if one.known else ""), one.figures[figure])
            for one in account.claims
        )
        minutes = sorted({minute for minute, _ in left})
        sources = sorted({source for _, source in left}, reverse=True)
        for source in sources:
            for at in sorted(told):
                if source and at[1] != source:
                    continue
                for minute in minutes:
                    place = (minute, source)
                    if abs(minute - at[0]) > REACH or not left.get(place) or not told[at]:
                        continue
                    count = min(told[at], left[place])
                    told[at] -= count
                    left[place] -= count
                    pairs.append(Pair(figure, at, place, count))
        all_left.append(left)
    return all_left, pairs


REACH = limits.LEDGER_TOLERANCE_MINUTES * limits.MINUTE_MS


def credited(account: Account, left: list[Sums]) -> list[Credit]:
    """What is drawn of the claims that are left."""
    attempts = {place for place, count in left[0].items() if count}
    remaining = [dict(sums) for sums in left]
    told_targets = {one.target.id for one in account.told}
    made: dict[tuple[int, str, str], Credit] = {}
    # Where some of a minute's claims are left, those to whom nothing was told are.
    for one in sorted(account.claims, key=lambda one: one.target.id in told_targets):
        place = (one.minute, one.source.id if one.known else "")
        figures = list(NOTHING)
        for figure in range(3):
            # An outcome alone is no connection: the attempt it belongs to was told by the source.
            if figure and not _attempted(place, attempts):
                continue
            figures[figure] = min(one.figures[figure], remaining[figure].get(place, 0))
            remaining[figure][place] = remaining[figure].get(place, 0) - figures[figure]
        if not account.heard:
            figures[3] = one.figures[3]
        if not one.ready or not any(figures):
            continue
        key = (one.minute, one.source.id, one.target.id)
        held = made.get(key)
        made[key] = Credit(
            minute=one.minute,
            source=one.source,
            target=one.target,
            figures=plus(held.figures if held else NOTHING, figures_of(figures)),
        )
    return [made[key] for key in sorted(made)]


def _attempted(place: tuple[int, str], attempts: set[tuple[int, str]]) -> bool:
    minute, source = place
    return any(one == source and minute - REACH <= at <= minute for at, one in attempts)


def pruned(account: Account, pairs: list[Pair], progress: Progress) -> Account:
    """Without what can meet nothing any more."""
    until = max(
        progress.both - limits.LEDGER_GRACE_MS - REACH,
        progress.now - limits.LEDGER_KEPT_MS,
    )
    minutes = [one.minute for one in account.told] + [one.minute for one in account.claims]
    entries = len(minutes)
    if entries > limits.LEDGER_ENTRIES_MAX:
        minutes.sort()
        until = max(until, minutes[entries - limits.LEDGER_ENTRIES_MAX - 1] + limits.MINUTE_MS)

    def over(minute: int) -> bool:
        return minute + limits.MINUTE_MS <= until

    if not any(map(over, minutes)):
        return account
    # What stays has met some of what goes; that much of it goes as well.
    told_met: list[Sums] = [defaultdict(int) for _ in range(3)]
    claims_met: list[Sums] = [defaultdict(int) for _ in range(3)]
    for pair in pairs:
        if over(pair.told[0]) and not over(pair.claim[0]):
            claims_met[pair.figure][pair.claim] += pair.number
        elif over(pair.claim[0]) and not over(pair.told[0]):
            told_met[pair.figure][pair.told] += pair.number
    return Account(
        told=tuple(
            msgspec.structs.replace(
                one, figures=_less(one.figures, (one.minute, one.source.id), told_met)
            )
            for one in account.told
            if not over(one.minute)
        ),
        claims=tuple(
            msgspec.structs.replace(
                one,
                figures=_less(
                    one.figures, (one.minute, one.source.id if one.known else ""), claims_met
                ),
            )
            for one in account.claims
            if not over(one.minute)
        ),
        credits=tuple(one for one in account.credits if not over(one.minute)),
        merged=frozenset(one for one in account.merged if not over(one[0])),
        heard=account.heard,
    )


def _less(figures: Figures, place: tuple[int, str], met: list[Sums]) -> Figures:
    out = list(figures)
    for figure, sums in enumerate(met):
        take = min(out[figure], sums.get(place, 0))
        if take:
            sums[place] -= take
            out[figure] -= take
    return figures_of(out)


def _sums(entries: Iterable[tuple[tuple[int, str], int]]) -> Sums:
    sums: Sums = defaultdict(int)
    for place, count in entries:
        if count:
            sums[place] += count
    return sums
