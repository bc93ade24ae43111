"""The form in which the API tells what a draft of a policy would change."""

from typing import Literal

import msgspec

from cnnf.policy.rules import Effect


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Flows, and connections on them."""

    flows: int
    connections: int


class RuleCount(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule of the draft, or its default, does newly."""

    cause: str
    flows: int
    connections: int


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """An effect and what decided it: `rule:<name>`, `default`, or empty where nothing did."""

    effect: Effect
    cause: str


class WhatIfEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A side of a flow: the node of the graph, and whom of it the change is about: some of them in
    `examples`, the others counted."""

    id: str
    kind: str
    name: str
    cluster: str
    namespace: str
    examples: list[str]
    more: int


class WhatIfFlow(msgspec.Struct, frozen=True, kw_only=True):
    """One flow that would be decided otherwise.

    `certain`: it holds for everybody that the ends can have been; otherwise it is not told which of
    the connections it is about, and `connections` is how many it may be at most.
    """

    source: WhatIfEnd
    destination: WhatIfEnd
    port: int
    protocol: str
    connections: int
    certain: bool
    effect: Effect
    cause: str
    reason: str
    before: Decided
    first_seen: str
    last_seen: str


class Newly(msgspec.Struct, frozen=True, kw_only=True):
    """What would get one effect and had another: in all, by rule, and the flows with the most
    connections; `more` and `more_rules` are not listed. `certain` are the flows and connections of
    which it is certain, the others are possible."""

    flows: int
    connections: int
    certain: Count
    rules: list[RuleCount]
    more_rules: int
    listed: list[WhatIfFlow]
    more: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What would newly be prevented, alerted on and allowed."""

    prevented: Newly
    alerted: Newly
    allowed: Newly

    def newly(self, effect: Effect) -> Newly:
        """What would newly get the effect."""
        found: dict[Effect, Newly] = {
            "prevent": self.prevented, "alert": self.alerted, "allow": self.allowed
        }  # fmt: skip
        return found[effect]


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """A draft judged against the recorded flows of a window.

    `policy` compares with what the policy in force (`version`) says of the same flows, `recorded`
    with what was decided when they happened. `unjudged` are flows of which the port or who was
    there is not kept.
    """

    from_: str = msgspec.field(name="from")
    to: str
    resolution: Literal["minute", "hour", "day"]
    version: int
    judged: Count
    unjudged: Count
    policy: Comparison
    recorded: Comparison
