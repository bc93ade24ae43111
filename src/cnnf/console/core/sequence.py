"""Which batches are taken: the high-water mark's decision, a table first.

Batches are named `(defender, incarnation, sequence)`. The mark of an incarnation is the last
sequence that was committed; ingest asks here inside its transaction.
"""

from typing import Literal

from cnnf.protocol.messages import Gap

Decision = Literal["take", "duplicate", "missing"]

#: (sequence compared with mark + 1, hole announced?) -> decision
DECISIONS: dict[tuple[Literal["before", "next", "after"], bool], Decision] = {
    ("before", False): "duplicate",
    ("before", True): "duplicate",
    ("next", False): "take",
    ("next", True): "take",
    ("after", False): "missing",
    ("after", True): "take",
}


def decide(mark: int, sequence: int, gap: Gap | None) -> Decision:
    """What to do with the batch of this sequence when `mark` (0: none yet) was the last taken.

    A hole is announced when the gap covers everything between the mark and this batch.
    """
    expected = mark + 1
    announced = gap is not None and gap.first <= expected and gap.last >= sequence - 1
    if sequence < expected:
        return DECISIONS["before", announced]
    if sequence == expected:
        return DECISIONS["next", announced]
    return DECISIONS["after", announced]
