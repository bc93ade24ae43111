"""What a draft would change: the same as judging every flow by itself, and told in full."""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core import nodes, windows
from cnnf.console.core.nodes import Node
from cnnf.console.core.recorded import Decided, Peer, Recorded, RecordedFlow, Side, candidates_of
from cnnf.console.core.whatif import what_if
from cnnf.console.core.whatif_form import Comparison, Newly, WhatIf
from cnnf.console.core.whatif_tally import described
from cnnf.console.core.windows import Window
from cnnf.policy.addresses import parse_address
from cnnf.policy.compiled import compile_policy
from cnnf.policy.endpoints import Candidate, container_identity
from cnnf.policy.evaluation import Decision, evaluate
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import EFFECTS, Policy
from tests.unit.policy.strategies import HOSTNAMES, PORTS, candidates, policies

NOW = 1_790_000_000_000
WINDOW = Window(start=NOW - 3_600_000, end=NOW, resolution="minute")
EMPTY = Policy()
RECORDED = ("allow", "allow", "alert", "prevent")

DRAFT = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: canary, type: image, values: ["shop/front:canary"]}
  - {name: front, type: image, values: [shop/front]}
  - {name: back, type: image, values: [shop/back]}
  - {name: pay, type: dns, values: [api.pay.example]}
rules:
  containers:
    - {name: no-canary, source: [canary], destination: [back], effect: prevent}
    - {name: pay, source: [front], destination: [pay], effect: allow}
    - {name: out, source: [front], destination: [internet], effect: alert}
"""


def policy(text: str) -> Policy:
    return parse_policy(text, subject="draft")


def app(name: str, *tags: str, whole: bool = True) -> Side:
    found = (Candidate(identity=container_identity(f"{name}:{tag}", host="web-1")) for tag in tags)
    return Side(node=nodes.app(name), candidates=tuple(found), whole=whole)


FRONT, BACK = app("shop/front", "1.4", "canary"), app("shop/back", "2")
INTERNET = Side(node=nodes.INTERNET)
INSIDE = Side(
    node=nodes.unmanaged("10.9.9.9"), candidates=(Candidate(address=parse_address("10.9.9.9")),)
)
SIDES = dict(enumerate((FRONT, BACK, INTERNET, INSIDE, Side(node=nodes.UNMANAGED_REST))))


def flow(source: int, target: int, port: int = 443, count: int = 10, **more: Any) -> RecordedFlow:
    values: dict[str, Any] = {"decided": (Decided(0, "", count),)} | more
    return RecordedFlow(
        source=source, target=target, port=port, protocol="tcp",
        first_seen=NOW - 1000, last_seen=NOW, **values,
    )  # fmt: skip


def judged(*flows: RecordedFlow, draft: str = DRAFT, before: Policy = EMPTY) -> WhatIf:
    recorded = Recorded(window=WINDOW, sides=SIDES, flows=iter(flows))
    return what_if(recorded, compile_policy(policy(draft)), compile_policy(before), version=7)


def told(newly: Newly) -> list[tuple[str, str, int, int, bool, str]]:
    return [
        (one.source.name, one.destination.name, one.port, one.connections, one.certain, one.cause)
        for one in newly.listed
    ]


def test_what_holds_for_some_instances_only_is_possible_and_says_whose() -> None:
    found = judged(flow(0, 1))
    assert told(found.policy.prevented) == [
        ("shop/front", "shop/back", 443, 10, False, "rule:no-canary")
    ]
    assert found.policy.prevented.certain.flows == 0
    (one,) = found.policy.prevented.listed
    assert one.source.examples == ["container shop/front:canary on web-1"]
    assert one.source.more == 0
    assert (one.before.effect, one.before.cause) == ("allow", "default")
    assert one.reason == (
        "Rule no-canary for containers prevents tcp from container shop/front:canary to "
        "container shop/back:2 on port 443."
    )
    assert found.policy.alerted.flows == found.policy.allowed.flows == 0
    assert (found.version, found.judged.flows, found.judged.connections) == (7, 1, 10)


def test_the_internet_is_judged_by_the_addresses_and_names_that_were_kept() -> None:
    peers = (Peer("203.0.113.7", ("api.pay.example",)), Peer("198.51.100.1"))
    both = judged(flow(0, 2, peers=peers)).policy.alerted
    assert told(both) == [("shop/front", "internet", 443, 10, False, "rule:out")]
    assert both.listed[0].destination.examples == ["198.51.100.1"]
    only = judged(flow(0, 2, peers=peers[1:])).policy.alerted
    assert told(only) == [("shop/front", "internet", 443, 10, True, "rule:out")]
    assert judged(flow(0, 2, peers=peers[:1])).policy.alerted.flows == 0
    many = tuple(Peer(f"198.51.100.{at}") for at in range(limits.PEER_ADDRESSES_MAX))
    # There may have been others than those kept.
    assert not judged(flow(0, 2, peers=many)).policy.alerted.listed[0].certain


def test_a_peer_inside_has_the_names_it_was_called_by() -> None:
    named = flow(0, 3, peers=(Peer("10.9.9.9", ("api.pay.example",)),))
    before = policy(DRAFT.replace("effect: allow", "effect: alert"))
    assert told(judged(named, before=before).policy.allowed) == [
        ("shop/front", "10.9.9.9", 443, 10, True, "rule:pay")
    ]
    (one,) = judged(named, before=before).policy.allowed.listed
    assert one.destination.examples == ["api.pay.example (10.9.9.9)"]
    assert judged(flow(0, 3), before=before).policy.allowed.flows == 0


@pytest.mark.parametrize("unknown", [flow(0, 1, 0), flow(0, 4), flow(0, 2), flow(2, 0)], ids=str)
def test_what_is_not_kept_is_not_judged(unknown: RecordedFlow) -> None:
    found = judged(unknown, flow(1, 0))
    assert (found.unjudged.flows, found.unjudged.connections) == (1, 10)
    assert found.judged.flows == 1


def test_answers_without_attempts_are_no_flow() -> None:
    found = judged(flow(0, 1, count=0))
    assert found.judged.flows == found.policy.prevented.flows == 0


def test_against_what_was_recorded_only_what_was_decided_otherwise_counts() -> None:
    decided = (
        Decided(0, "", 1),
        Decided(1, "rule:old", 2),
        Decided(2, "rule:watch", 4),
        Decided(3, "rule:no", 8),
    )
    draft = "apiVersion: cnnf/v1\nrules: {containers: [{name: a, effect: EFFECT}]}\n"
    counted = {}
    for effect in EFFECTS:
        found = judged(flow(1, 1, decided=decided), draft=draft.replace("EFFECT", effect))
        newly = found.recorded.newly(effect)
        counted[effect] = (newly.connections, newly.certain.flows, newly.listed[0].before)
        assert found.policy.newly(effect).connections == (0 if effect == "allow" else 15)
        others = [one for one in EFFECTS if one != effect]
        assert not any(found.recorded.newly(one).flows for one in others)
    shown = {key: (one[0], one[1], one[2].effect, one[2].cause) for key, one in counted.items()}
    assert shown == {
        "allow": (12, 1, "prevent", "rule:no"),
        "alert": (11, 1, "prevent", "rule:no"),
        "prevent": (7, 1, "alert", "rule:watch"),
    }


def test_only_the_most_used_are_listed_and_the_others_counted() -> None:
    ports = range(1, limits.WHAT_IF_FLOWS_MAX + 31)
    found = judged(*(flow(0, 1, port, count=port) for port in ports)).policy.prevented
    assert [one.connections for one in found.listed] == sorted(ports, reverse=True)[:-30]
    assert (found.flows, found.connections, found.more) == (len(ports), sum(ports), 30)
    assert [(one.cause, one.flows, one.connections) for one in found.rules] == [
        ("rule:no-canary", len(ports), sum(ports))
    ]


def test_work_ends_where_the_check_says_so() -> None:
    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    recorded = Recorded(window=WINDOW, sides=SIDES, flows=iter((flow(0, 1),)))
    compiled = compile_policy(EMPTY)
    with pytest.raises(Enough):
        what_if(recorded, compiled, compiled, check=check)


# -- the same, one by one ---------------------------------------------------------------------


@st.composite
def sides(draw: st.DrawFn) -> Side:
    kind = draw(st.sampled_from(("internet", "unmanaged", "rest", "somebody", "somebody")))
    if kind == "internet":
        return INTERNET
    if kind == "rest":
        return SIDES[4]
    if kind == "unmanaged":
        text = draw(st.sampled_from(("10.1.0.4", "10.1.0.3", "fd00::1")))
        candidate = Candidate(address=parse_address(text))
        return Side(node=nodes.unmanaged(text), candidates=(candidate,))
    who = draw(st.lists(candidates(), min_size=1, max_size=3))
    node: Node = nodes.app(draw(st.sampled_from(("a", "b", "c"))))
    return Side(node=node, candidates=tuple(dict.fromkeys(who)), whole=draw(st.booleans()))


PEERS = st.builds(
    Peer,
    st.sampled_from(("203.0.113.7", "203.0.113.8", "10.1.0.4", "2001:db8::1")),
    st.lists(st.sampled_from(HOSTNAMES), max_size=2).map(tuple),
)
DECIDED = st.builds(Decided, st.integers(0, 3), st.sampled_from(("", "rule:x")), st.integers(0, 9))


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, Side], list[RecordedFlow]]:
    who = dict(enumerate(draw(st.lists(sides(), min_size=1, max_size=4))))
    flows = st.builds(
        RecordedFlow,
        source=st.sampled_from(sorted(who)),
        target=st.sampled_from(sorted(who)),
        port=PORTS,
        protocol=st.sampled_from(("tcp", "udp")),
        decided=st.lists(DECIDED, min_size=1, max_size=3).map(tuple),
        first_seen=st.just(NOW),
        last_seen=st.just(NOW),
        peers=st.lists(PEERS, max_size=3, unique_by=lambda one: one.address).map(tuple),
    )
    return who, draw(st.lists(flows, max_size=6))


class Row(NamedTuple):
    """A flow that gets a new effect, in comparison with one of the two."""

    first_seen: str
    effect: str
    connections: int
    certain: bool
    cause: str
    sources: frozenset[str]
    destinations: frozenset[str]


class Met(NamedTuple):
    """Two who may have met, and what either policy says of it."""

    source: Candidate
    destination: Candidate
    new: Decision
    old: Decision


def one_by_one(
    who: dict[int, Side], flows: list[RecordedFlow], draft: Policy, before: Policy
) -> tuple[set[Row], set[Row]]:
    """Every pair of candidates of every flow, judged by both policies, one after the other."""
    new, old = compile_policy(draft), compile_policy(before)
    rows: tuple[set[Row], set[Row]] = (set(), set())
    for flow_ in flows:
        a, b = who[flow_.source], who[flow_.target]
        ends = candidates_of(a, flow_, b.node), candidates_of(b, flow_, a.node)
        met = [
            Met(
                x,
                y,
                evaluate(new, [x], [y], flow_.port, protocol(flow_)),
                evaluate(old, [x], [y], flow_.port, protocol(flow_)),
            )
            for x, y in product(*map(list, ends))
        ]
        if not flow_.port:
            continue
        for effect in EFFECTS:
            now = [one for one in met if one.new.effect == effect]
            others = [one for one in flow_.decided if RECORDED[one.verdict] != effect]
            for found, changed, count in (
                (rows[0], [one for one in now if one.old.effect != effect], total(flow_.decided)),
                (rows[1], now, total(others)),
            ):
                if changed and count:
                    first = min(
                        changed, key=lambda one: (one.new.rule_index < 0, one.new.rule_index)
                    )
                    found.add(
                        Row(
                            windows.text(flow_.first_seen),
                            effect,
                            count,
                            a.whole and b.whole and len(changed) == len(met),
                            first.new.cause,
                            frozenset(described(one.source) for one in changed),
                            frozenset(described(one.destination) for one in changed),
                        )
                    )
    return rows


def protocol(one: RecordedFlow) -> Literal["tcp", "udp"]:
    return "tcp" if one.protocol == "tcp" else "udp"


def total(decided: Iterable[Decided]) -> int:
    return sum(one.connections for one in decided)


def rows_of(comparison: Comparison) -> set[Row]:
    listed = [one for effect in EFFECTS for one in comparison.newly(effect).listed]
    assert all(not one.source.more and not one.destination.more for one in listed)
    return {
        Row(
            one.first_seen,
            one.effect,
            one.connections,
            one.certain,
            one.cause,
            frozenset(one.source.examples),
            frozenset(one.destination.examples),
        )
        for one in listed
    }


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), draft=policies(), before=policies())
def test_the_same_as_judging_every_flow_by_itself(
    history: tuple[dict[int, Side], list[RecordedFlow]], draft: Policy, before: Policy
) -> None:
    who, drawn = history
    flows = [one._replace(first_seen=NOW + at) for at, one in enumerate(drawn)]
    recorded = Recorded(window=WINDOW, sides=who, flows=iter(flows))
    found = what_if(recorded, compile_policy(draft), compile_policy(before))
    wanted = one_by_one(who, flows, draft, before)
    for comparison, rows in zip((found.policy, found.recorded), wanted, strict=True):
        assert rows_of(comparison) == rows
        for effect in EFFECTS:
            newly = comparison.newly(effect)
            its = [row for row in rows if row.effect == effect]
            certain = [row for row in its if row.certain]
            assert (newly.flows, newly.connections) == (len(its), sum(r.connections for r in its))
            assert newly.certain.flows == len(certain)
            assert newly.certain.connections == sum(row.connections for row in certain)
            by_rule = Counter[str]()
            for row in its:
                by_rule[row.cause] += row.connections
            assert {one.cause: one.connections for one in newly.rules} == by_rule
    assert found.judged.flows + found.unjudged.flows == sum(bool(total(f.decided)) for f in flows)
