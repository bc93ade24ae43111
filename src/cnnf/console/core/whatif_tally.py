"""What a draft newly does, added up, and told: totals, by rule, and the flows with the most
connections."""

from heapq import heappush, heappushpop
from typing import cast

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.crowds import Crowds
from cnnf.console.core.outcomes import Change
from cnnf.console.core.recorded import Recorded, RecordedFlow, candidates_of
from cnnf.console.core.whatif_form import (
    Count,
    Decided,
    Newly,
    RuleCount,
    WhatIfEnd,
    WhatIfFlow,
)
from cnnf.policy.compiled import Compiled
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import Protocol, called, evaluate
from cnnf.policy.rules import EFFECTS
from cnnf.policy.subnets import address_text

#: Connections, the flow's place from behind: of equals the first come first.
_Entry = tuple[int, int, RecordedFlow, Change, Decided]


class Tally:
    """The flows that would newly get one effect."""

    def __init__(self) -> None:
        self.flows = self.connections = 0
        self.certain = [0, 0]
        #: Flows and connections by the draft's rule.
        self.rules: dict[int, list[int]] = {}
        self._most: list[_Entry] = []

    def add(self, flow: RecordedFlow, change: Change, before: Decided, connections: int) -> None:
        """One more flow, of which this many connections are meant."""
        self.flows += 1
        self.connections += connections
        if change.certain:
            self.certain[0] += 1
            self.certain[1] += connections
        rule = self.rules.setdefault(change.rule, [0, 0])
        rule[0] += 1
        rule[1] += connections
        entry = (connections, -self.flows, flow, change, before)
        if len(self._most) < limits.WHAT_IF_FLOWS_MAX:
            heappush(self._most, entry)
        elif entry[:2] > self._most[0][:2]:
            heappushpop(self._most, entry)

    @property
    def most(self) -> list[_Entry]:
        """The flows with the most connections, these first."""
        return sorted(self._most, reverse=True)


class Telling:
    """Writes tallies as the API tells them."""

    def __init__(
        self, recorded: Recorded, draft: Compiled, in_force: Compiled, crowds: Crowds
    ) -> None:
        self._recorded = recorded
        self._draft = draft
        self._in_force = in_force
        self._crowds = crowds

    def in_force(self, rule: int) -> Decided:
        """What the policy in force says by a rule."""
        effect = self._in_force.rules[rule].effect if rule >= 0 else EFFECTS[0]
        return Decided(effect=effect, cause=_cause(self._in_force, rule))

    def newly(self, tally: Tally) -> Newly:
        """The whole of one effect."""
        rules = sorted(tally.rules.items(), key=lambda item: (-item[1][1], item[0]))
        listed = [self._flow(*entry[2:], entry[0]) for entry in tally.most]
        return Newly(
            flows=tally.flows,
            connections=tally.connections,
            certain=Count(flows=tally.certain[0], connections=tally.certain[1]),
            rules=[
                RuleCount(cause=_cause(self._draft, rule), flows=flows, connections=connections)
                for rule, (flows, connections) in rules[: limits.WHAT_IF_RULES_MAX]
            ],
            more_rules=max(0, len(rules) - limits.WHAT_IF_RULES_MAX),
            listed=listed,
            more=tally.flows - len(listed),
        )

    def _flow(
        self, flow: RecordedFlow, change: Change, before: Decided, connections: int
    ) -> WhatIfFlow:
        sources = self._sorted_out(flow, flow.source, flow.target)
        targets = self._sorted_out(flow, flow.target, flow.source)
        met = change.met or (next(iter(sources)), next(iter(targets)))
        decision = evaluate(
            self._draft,
            sources[met[0]][:1],
            targets[met[1]][:1],
            flow.port,
            cast(Protocol, flow.protocol),
        )
        assert decision.rule_index == change.rule, (decision, change)
        return WhatIfFlow(
            source=self._end(flow.source, sources, change.sources),
            destination=self._end(flow.target, targets, change.targets),
            port=flow.port,
            protocol=flow.protocol,
            connections=connections,
            certain=change.certain,
            effect=change.effect,
            cause=decision.cause,
            reason=decision.reason,
            before=before,
            first_seen=windows.text(flow.first_seen),
            last_seen=windows.text(flow.last_seen),
        )

    def _sorted_out(self, flow: RecordedFlow, key: int, other: int) -> dict[int, list[Candidate]]:
        """Everybody on a side, by class."""
        sides = self._recorded.sides
        found: dict[int, list[Candidate]] = {}
        for one in candidates_of(sides[key], flow, sides[other].node):
            found.setdefault(self._crowds.class_of(one), []).append(one)
        return found

    def _end(
        self, key: int, everybody: dict[int, list[Candidate]], meant: tuple[int, ...] | None
    ) -> WhatIfEnd:
        node = self._recorded.sides[key].node
        numbers = everybody if meant is None else meant
        texts = sorted({described(one) for number in numbers for one in everybody[number]})
        return WhatIfEnd(
            id=node.id,
            kind=node.kind,
            name=node.name,
            cluster=node.cluster,
            namespace=node.namespace,
            examples=texts[: limits.WHAT_IF_EXAMPLES_MAX],
            more=max(0, len(texts) - limits.WHAT_IF_EXAMPLES_MAX),
        )


def _cause(compiled: Compiled, rule: int) -> str:
    return f"rule:{compiled.rules[rule].name}" if rule >= 0 else "default"


def described(one: Candidate) -> str:
    """Somebody in a few words, with where: `container shop/front:1.4 on web-1`."""
    if one.identity is not None:
        at = one.identity.host if one.identity.kind != "host" else ""
        return f"{called(one)} on {at}" if at else called(one)
    if one.names and one.address is not None:
        return f"{called(one)} ({address_text(one.address)})"
    return called(one)
