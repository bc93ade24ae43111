"""What was decided about flows, in order of how much it needs a person.

Several decisions can fall into one bucket of history, or into one window that Radar shows. What is
kept is the most severe one with its cause. Taking the greater of two is commutative, associative
and idempotent, so neither the order of batches nor the resolution of buckets matters.
"""

from collections.abc import Iterable
from typing import Literal

from cnnf.console import limits
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge
from cnnf.protocol.messages import Flow

Verdict = Literal["none", "allow", "alert", "prevent"]

#: By severity; a verdict's place is what is stored.
VERDICTS: tuple[Verdict, ...] = ("none", "allow", "alert", "prevent")
#: Those that make an event, and an incident on Radar.
INCIDENTS: frozenset[Verdict] = frozenset({"alert", "prevent"})

#: A verdict's place in `VERDICTS`, and its cause. Of equally severe ones the cause that sorts last
#: is kept: any would do, as long as it is always the same.
Decision = tuple[int, str]

UNDECIDED: Decision = (0, "")


def decision_of(flow: Flow) -> Decision:
    """What this flow's effect and cause are stored as."""
    if flow.effect is None:
        return UNDECIDED
    return VERDICTS.index(flow.effect), flow.cause


def check_flows(flows: Iterable[Flow]) -> None:
    """Refuse outcomes and decisions that the database could not take or would have to cut.

    Raises MalformedMessage, and MessageTooLarge for a cause that is too long.
    """
    for index, flow in enumerate(flows):
        for name in ("answered", "refused", "cut"):
            count: int = getattr(flow, name)
            if not 0 <= count < 2**53:
                raise MalformedMessage(f"batch: flows[{index}]: {name}: {count} is out of range")
        if len(flow.cause) > limits.CAUSE_CHARS_MAX:
            raise MessageTooLarge(
                f"batch: flows[{index}].cause: {len(flow.cause)}, at most {limits.CAUSE_CHARS_MAX}"
            )
