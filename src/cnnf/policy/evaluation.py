"""Decides: who may be on each side, a port and a protocol in; an effect, its cause, a reason out.

The same function answers for a recorded flow, for `policy test` and for the Console's drafts; the
Defender's tables give the same answer by the same sets (`rulesets.decide`).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cnnf.policy.compiled import PROTOCOL_NUMBERS, Compiled
from cnnf.policy.endpoints import Candidate
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.limits import CANDIDATES_MAX
from cnnf.policy.rules import EFFECTS, PORT_MAX, Effect
from cnnf.policy.rulesets import Selected, decide
from cnnf.policy.subnets import address_text, pack

Protocol = Literal["tcp", "udp"]

#: How strict an effect is; of several the mildest holds.
STRICTNESS: dict[Effect, int] = {effect: place for place, effect in enumerate(EFFECTS)}
_DOES: dict[Effect, str] = {"allow": "allows", "alert": "alerts on", "prevent": "prevents"}

#: Somebody of whom nothing is known.
UNKNOWN = Candidate()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
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
    container = any(
        one.identity is not None and one.identity.kind == "container"
        for one in (*sources, *destinations)
    )
    rules = (
        compiled.list_rules(container) & compiled.protocols[PROTOCOL_NUMBERS[protocol]]
    ) & compiled.by_port(port)
    from_sets = {rules & selected_by(compiled, one).source for one in sources}
    to_sets = {rules & selected_by(compiled, one).destination for one in destinations}
    found = {decide(one, other, rules, rules, rules) for one in from_sets for other in to_sets}
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
    found = compiled.anyone
    packed = b"" if candidate.address is None else pack(candidate.address)
    if candidate.identity is not None:
        found |= compiled.selected(candidate.identity, packed)
    if packed:
        found |= compiled.by_address(packed)
    if candidate.names:
        found |= compiled.selected_names(candidate.names)
    return found


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


def _who(candidates: Iterable[Candidate]) -> str:
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
