"""Hits: how often rules decided, from what batches tell of flows."""

from collections.abc import Mapping

import msgspec

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.events import happened
from cnnf.console.core.policies import listed
from cnnf.console.core.policy_form import FindingForm, HitsForm
from cnnf.policy.rules import LISTS, Policy
from cnnf.protocol.messages import Flow

RULE = "rule:"


class Hit(msgspec.Struct, kw_only=True):
    """What a batch says of one rule on one day (its start in ms): connections that the Defender
    of their source told (or the only one), and those that the destination's did."""

    rule: str
    day: int
    told: int = 0
    claimed: int = 0
    last_hit: int = 0


class Tally:
    """Adds up one batch."""

    def __init__(self) -> None:
        self._hits: dict[tuple[str, int], Hit] = {}

    def take(self, flow: Flow, *, last_seen: int, claimed: bool) -> None:
        """Count a flow that a rule decided about; `claimed`: another Defender has its source."""
        times = happened(flow)
        if flow.effect is None or not times or not flow.cause.startswith(RULE):
            return
        day = last_seen - last_seen % limits.DAY_MS
        key = flow.cause.removeprefix(RULE), day
        hit = self._hits.get(key)
        if hit is None:
            if len(self._hits) >= limits.BATCH_RULES_HIT_MAX:
                return
            hit = self._hits[key] = Hit(rule=key[0], day=day)
        if claimed:
            hit.claimed += times
        else:
            hit.told += times
        hit.last_hit = max(hit.last_hit, last_seen)

    def hits(self) -> list[Hit]:
        """Everything counted."""
        return list(self._hits.values())


def forms(
    policy: Policy,
    totals: Mapping[str, tuple[int, int]],
    since: Mapping[str, int],
    now: int,
) -> list[HitsForm]:
    """Every rule in order. `totals` are hits and the last one's time, `since` tells from when on a
    rule is enabled."""
    found = []
    for where in LISTS:
        for rule in listed(policy, where):
            hits, last_hit = totals.get(rule.name, (0, 0))
            start = since.get(rule.name) if rule.enabled else None
            old = start is not None and start <= now - limits.NEVER_HIT_AFTER_MS
            found.append(
                HitsForm(
                    rule=rule.name,
                    list=where,
                    hits=hits,
                    last_hit=windows.text(last_hit) if last_hit else None,
                    since=None if start is None else windows.text(start),
                    never_hit=old and not hits and not rule.expired(now),
                )
            )
    return found


def never_hit(hits: list[HitsForm]) -> list[FindingForm]:
    """A finding for each rule that nothing has met."""
    return [
        FindingForm(
            kind="never-hit",
            name=one.rule,
            list=one.list,
            because="",
            message=f"has decided nothing since it was enabled at {one.since}",
        )
        for one in hits
        if one.never_hit
    ]
