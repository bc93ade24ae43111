"""What if this were the policy: a draft judged against the flows that were recorded.

Pure; the store hands over the flows of a window (`recorded`), the API asks (`api/whatif.py`). All
flows between the same crowds on the same stretch of ports have one outcome, so that a million flows
cost some thousands of decisions.
"""

from collections.abc import Callable

from cnnf.console import limits
from cnnf.console.core import windows
from cnnf.console.core.crowds import Crowds
from cnnf.console.core.outcomes import Outcomes
from cnnf.console.core.recorded import Peer, Recorded, RecordedFlow, peers_of
from cnnf.console.core.whatif_form import Comparison, Count, Decided, WhatIf
from cnnf.console.core.whatif_tally import Tally, Telling
from cnnf.policy.compiled import Compiled
from cnnf.policy.rules import EFFECTS, Effect

#: What was decided, by its place in `VERDICTS`: what nothing decided was let through.
_RECORDED: tuple[Effect, ...] = ("allow", "allow", "alert", "prevent")


def what_if(
    recorded: Recorded,
    draft: Compiled,
    in_force: Compiled,
    *,
    version: int = 0,
    check: Callable[[], None] = lambda: None,
) -> WhatIf:
    """What the draft would change, against the policy in force (of this version) and against what
    was recorded.

    `check` is called at least once every few thousand flows; what it raises ends the work.
    """
    return _Work(recorded, draft, in_force, check).done(version)


class _Work:
    """One draft, judged; lives for the length of one call."""

    def __init__(
        self,
        recorded: Recorded,
        draft: Compiled,
        in_force: Compiled,
        check: Callable[[], None],
    ) -> None:
        self._recorded = recorded
        self._crowds = Crowds(draft, in_force)
        self._outcomes = Outcomes(draft, in_force, self._crowds, check)
        self._telling = Telling(recorded, draft, in_force, self._crowds)
        self._check = check
        self._of_sides: dict[int, int | None] = {}
        self._of_peers: dict[Peer, int] = {}
        self._judged, self._unjudged = [0, 0], [0, 0]
        self._against_policy = {effect: Tally() for effect in EFFECTS}
        self._against_recorded = {effect: Tally() for effect in EFFECTS}

    def done(self, version: int) -> WhatIf:
        for number, flow in enumerate(self._recorded.flows):
            if number % limits.WHAT_IF_CHECK_FLOWS == 0:
                self._check()
            self._take(flow)
        window = self._recorded.window
        return WhatIf(
            from_=windows.text(window.start),
            to=windows.text(window.end),
            resolution=window.resolution,
            version=version,
            judged=Count(flows=self._judged[0], connections=self._judged[1]),
            unjudged=Count(flows=self._unjudged[0], connections=self._unjudged[1]),
            policy=self._comparison(self._against_policy),
            recorded=self._comparison(self._against_recorded),
        )

    def _take(self, flow: RecordedFlow) -> None:
        connections = 0
        for one in flow.decided:
            connections += one.connections
        if connections <= 0:
            # Only answers came in the window, to what was attempted before it.
            return
        source = self._crowd(flow, flow.source, flow.target)
        target = self._crowd(flow, flow.target, flow.source)
        if source is None or target is None or not flow.port:
            self._unjudged[0] += 1
            self._unjudged[1] += connections
            return
        self._judged[0] += 1
        self._judged[1] += connections
        outcome = self._outcomes.of(source, target, flow.port, flow.protocol)
        for change in outcome.policy:
            before = self._telling.in_force(change.before)
            self._against_policy[change.effect].add(flow, change, before, connections)
        for change in outcome.draft:
            count, most = 0, None
            for one in flow.decided:
                if one.connections > 0 and _RECORDED[one.verdict] != change.effect:
                    count += one.connections
                    most = max(one, most) if most else one
            if most:
                before = Decided(effect=_RECORDED[most.verdict], cause=most.cause)
                self._against_recorded[change.effect].add(flow, change, before, count)

    def _crowd(self, flow: RecordedFlow, key: int, other: int) -> int | None:
        """The crowd of a side; None where nothing is kept of who it was."""
        if flow.peers:
            side = self._recorded.sides[key]
            peers = peers_of(side.node, flow, self._recorded.sides[other].node)
            if peers:
                return self._crowd_of_peers(peers)
        if key not in self._of_sides:
            side = self._recorded.sides[key]
            self._of_sides[key] = (
                self._crowds.crowd_of(side.candidates, whole=side.whole)
                if side.candidates
                else None
            )
        return self._of_sides[key]

    def _crowd_of_peers(self, peers: tuple[Peer, ...]) -> int:
        numbers = set()
        for peer in peers:
            number = self._of_peers.get(peer)
            if number is None:
                number = self._of_peers[peer] = self._crowds.class_of(peer.candidate)
            numbers.add(number)
        return self._crowds.crowd(sorted(numbers), whole=len(peers) < limits.PEER_ADDRESSES_MAX)

    def _comparison(self, tallies: dict[Effect, Tally]) -> Comparison:
        return Comparison(
            prevented=self._telling.newly(tallies["prevent"]),
            alerted=self._telling.newly(tallies["alert"]),
            allowed=self._telling.newly(tallies["allow"]),
        )
