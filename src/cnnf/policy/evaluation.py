"""Decides: who may be on each side, a port and a protocol in; an effect, its cause, a reason out.

The same function answers for a recorded flow, for `policy test` and for the Console's drafts; the
Defender's tables give the same answer by the same sets (`rulesets.decide`).
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from cnnf.policy.compiled import PROTOCOL_NUMBERS, Compiled
from cnnf.policy.endpoints import Candidate
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.limits import CANDIDATES_MAX
from cnnf.policy.rules import EFFECTS, PORT_MAX, Effect
from cnnf.policy.rulesets import Selected, first_match
from cnnf.policy.subnets import address_text, pack

Protocol = Literal["tcp", "udp"]

#: How strict an effect is; of several the mildest holds.
STRICTNESS: dict[Effect, int] = {effect: place for place, effect in enumerate(EFFECTS)}
_DOES: dict[Effect, str] = {"allow": "allows", "alert": "alerts on", "prevent": "prevents"}

#: Somebody of whom nothing is known.
UNKNOWN = Candidate()


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What holds and why. `cause` is `rule:<name>` or `default`, `reason` one sentence.

    `rule_index` is the rule's number, -1 for the default. `unanimous` says that every pair of
    candidates has this effect, so that it may be remembered for the address. `container` says that
    the list for containers judged.
    """

    effect: Effect
    cause: str
    reason: str
    rule_index: int
    unanimous: bool
    container: bool


def evaluate(
    compiled: Compiled,
    sources: Sequence[Candidate],
    destinations: Sequence[Candidate],
    port: int,
    protocol: Protocol,
) -> Decision:
    """What the policy says of a connection between those who may be on either side.

    Every pair of candidates is decided. Where they differ the mildest effect holds: only what
    would be prevented for every pair is prevented. No candidate means that nothing is known.
    Raises InvalidValueError for more candidates than a side may have, or no such port or protocol.
    """
    sources, destinations = sources or (UNKNOWN,), destinations or (UNKNOWN,)
    _check(sources, destinations, port, protocol)
    container = any(map(_is_container, sources)) or any(map(_is_container, destinations))
    rules = compiled.judging(container, PROTOCOL_NUMBERS[protocol], port)
    if len(sources) == len(destinations) == 1:
        both = _side(compiled, sources[0], 0) & _side(compiled, destinations[0], 1)
        deciding, unanimous = first_match(rules & both), True
        effect = compiled.rules[deciding].effect if deciding >= 0 else EFFECTS[0]
    else:
        from_sets = {rules & _side(compiled, one, 0) for one in sources}
        to_sets = {rules & _side(compiled, one, 1) for one in destinations}
        found = {first_match(one & other) for one in from_sets for other in to_sets}
        effects = {at: compiled.rules[at].effect if at >= 0 else EFFECTS[0] for at in found}
        effect = min(effects.values(), key=STRICTNESS.__getitem__)
        deciding = min((at for at in found if at >= 0 and effects[at] == effect), default=-1)
        unanimous = len(set(effects.values())) == 1
    return Decision(
        effect=effect,
        cause=f"rule:{compiled.rules[deciding].name}" if deciding >= 0 else "default",
        reason=_reason(
            compiled,
            deciding,
            unanimous,
            f"{protocol} from {_who(sources)} to {_who(destinations)} on port {port}",
        ),
        rule_index=deciding,
        unanimous=unanimous,
        container=container,
    )


def selected_by(compiled: Compiled, candidate: Candidate) -> Selected:
    """The rules whose sides a candidate is on, by all that is known of it."""
    return Selected(_side(compiled, candidate, 0), _side(compiled, candidate, 1))


def _side(compiled: Compiled, one: Candidate, side: Literal[0, 1]) -> int:
    """The rules whose source (0) or destination (1) a candidate is."""
    found = compiled.anyone[side]
    packed = b"" if one.address is None else pack(one.address)
    if one.identity is not None:
        found |= compiled.selected(one.identity, packed)[side]
    if packed:
        found |= compiled.by_address(packed)[side]
    if one.names:
        found |= compiled.selected_names(one.names)[side]
    return found


def _is_container(one: Candidate) -> bool:
    return one.identity is not None and one.identity.kind == "container"


def _check(
    sources: Sequence[Candidate], destinations: Sequence[Candidate], port: int, protocol: str
) -> None:
    for side in (sources, destinations):
        if len(side) > CANDIDATES_MAX:
            raise InvalidValueError(f"{len(side)} candidates on a side: at most {CANDIDATES_MAX}")
    if not 0 <= port <= PORT_MAX:
        raise InvalidValueError(f"port {port}: write a port from 0 to {PORT_MAX}")
    if protocol not in PROTOCOL_NUMBERS:
        raise InvalidValueError(f"protocol {protocol!r}: write tcp or udp")


def _reason(compiled: Compiled, deciding: int, unanimous: bool, what: str) -> str:
    if deciding < 0:
        said = f"no rule for either side matches {what}"
    else:
        rule = compiled.rules[deciding]
        said = f"rule {rule.name} for {rule.list} {_DOES[rule.effect]} {what}"
    if unanimous:
        return f"{said[0].upper()}{said[1:]}."
    return (
        f"Who is on each side can't be told, and the rules differ between those it may be; "
        f"the mildest holds: {said}."
    )


def _who(candidates: Sequence[Candidate]) -> str:
    if len(candidates) == 1:
        return called(candidates[0])
    first, *others = dict.fromkeys(map(called, candidates))
    return f"{first} (or {len(others)} more)" if others else first


def called(one: Candidate) -> str:
    """A candidate in a few words."""
    if one.identity is not None:
        tag = f":{one.identity.tag}" if one.identity.tag else ""
        name = one.identity.name or "of an unknown image"
        return f"{one.identity.kind} {name}{tag}"
    if one.names:
        return one.names[0]
    if one.address is None:
        return "somebody unknown"
    return address_text(one.address)
