"""Says of every rule of a policy why it does or does not match a flow.

For people: `cnnf policy test --explain`, and whoever asks about one flow. The decision itself is
`evaluate`'s, the reasons come from the same sets of rules; nothing is judged a second way.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from cnnf.policy.compiled import PROTOCOL_NUMBERS, Compiled, is_active
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import Decision, evaluate, selected_by
from cnnf.policy.flows import Flow
from cnnf.policy.rules import Effect, ListName, Rule
from cnnf.policy.rulesets import Selected

#: Why a rule doesn't match. `other list`: it is for containers and there is none, or for hosts and
#: there is one. `source addresses`, `destination addresses`: an image object is the right one but
#: for its `addresses`. A rule that is disabled or has expired is looked at no further.
Mismatch = Literal[
    "disabled",
    "expired",
    "other list",
    "source",
    "source addresses",
    "destination",
    "destination addresses",
    "port",
    "protocol",
]


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """One rule, looked at. No `mismatches`: it matches, and the first such rule `decides`."""

    rule: str
    list: ListName
    effect: Effect
    mismatches: tuple[Mismatch, ...]
    decides: bool

    @property
    def matched(self) -> bool:
        """Does it match?"""
        return not self.mismatches


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What holds, and every rule in order, those for containers first."""

    decision: Decision
    rules: tuple[Looked, ...]


def explain(compiled: Compiled, flow: Flow) -> Explanation:
    """Why the policy decides about a flow as it does. Raises InvalidValueError as `evaluate`."""
    decision = evaluate(compiled, [flow.source], [flow.destination], flow.port, flow.protocol)
    source, destination = (_sides(compiled, one) for one in (flow.source, flow.destination))
    sets: tuple[tuple[Mismatch, int], ...] = (
        ("other list", compiled.list_rules(decision.container)),
        ("source", source[1].source),
        ("source addresses", source[0].source | ~source[1].source),
        ("destination", destination[1].destination),
        ("destination addresses", destination[0].destination | ~destination[1].destination),
        ("port", compiled.by_port(flow.port)),
        ("protocol", compiled.protocols[PROTOCOL_NUMBERS[flow.protocol]]),
    )
    return Explanation(decision=decision, rules=tuple(_looked(compiled, sets, decision.rule_index)))


def _sides(compiled: Compiled, one: Candidate) -> tuple[Selected, Selected]:
    """The rules whose sides somebody is on, and those whose he would be at other addresses."""
    found = selected_by(compiled, one)
    if one.identity is None:
        return found, found
    return found, found | compiled.selected_anywhere(one.identity)


def _looked(
    compiled: Compiled, sets: tuple[tuple[Mismatch, int], ...], deciding: int
) -> Iterator[Looked]:
    number = -1
    for where, rule in _listed(compiled):
        mismatches: tuple[Mismatch, ...]
        decides = False
        if not rule.enabled:
            mismatches = ("disabled",)
        elif not is_active(rule, compiled.now_ms):
            mismatches = ("expired",)
        else:
            # Only the others have numbers, in the same order.
            number += 1
            mismatches = tuple(why for why, matching in sets if not matching >> number & 1)
            decides = number == deciding
        yield Looked(
            rule=rule.name, list=where, effect=rule.effect, mismatches=mismatches, decides=decides
        )


def _listed(compiled: Compiled) -> Iterator[tuple[ListName, Rule]]:
    for rule in compiled.policy.containers:
        yield "containers", rule
    for rule in compiled.policy.hosts:
        yield "hosts", rule
