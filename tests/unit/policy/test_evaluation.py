"""Decisions: always those of the slow reference, and each one says why."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.policy.compiled import compile_policy
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.evaluation import Decision, evaluate
from cnnf.policy.limits import CANDIDATES_MAX
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import Policy, Rule
from tests.unit.policy.slow import judged
from tests.unit.policy.strategies import PORTS, SIDES, TIMES_MS, policies

FRONTEND = Candidate(identity=Identity(kind="container", name="shop/frontend", tag="1.4"))
CART = Candidate(identity=Identity(kind="container", name="shop/cart", tag="1"))
SSHD = Candidate(identity=Identity(kind="service", name="sshd", host="web-1"))
OUTSIDE = Candidate(address=ip_address("203.0.113.7"))
INSIDE = Candidate(address=ip_address("10.0.0.7"))
NOBODY = Candidate()

SHOP = NetworkObject(name="shop", kind="image", values=("shop/*",))
FRONT = NetworkObject(name="front", kind="image", values=("shop/frontend",))
HOSTS = NetworkObject(name="webs", kind="host", values=("web-*",))
OFFICE = NetworkObject(name="office", kind="subnet", values=("10.0.0.0/8",))

POLICY = Policy(
    objects=(SHOP, FRONT, HOSTS, OFFICE),
    containers=(
        Rule(name="off", source=("shop",), effect="prevent", enabled=False),
        Rule(name="out", source=("front",), destination=("internet",), effect="alert"),
        Rule(name="web", destination=("front",), ports=((80, 80), (443, 443)), effect="allow"),
        Rule(name="rest", destination=("shop",), effect="prevent"),
    ),
    hosts=(
        Rule(
            name="admin", source=("office",), destination=("webs",), protocol="tcp", effect="allow"
        ),
        Rule(name="others", destination=("webs",), effect="prevent"),
    ),
)
COMPILED = compile_policy(POLICY)


def decided(
    source: Sequence[Candidate],
    destination: Sequence[Candidate],
    port: int = 80,
    protocol: Literal["tcp", "udp"] = "tcp",
) -> Decision:
    return evaluate(COMPILED, source, destination, port, protocol)


@settings(max_examples=120)
@given(policies(), SIDES, SIDES, PORTS, st.sampled_from(("tcp", "udp")), st.sampled_from(TIMES_MS))
def test_decisions_are_those_of_the_reference(
    policy: Policy,
    sources: list[Candidate],
    destinations: list[Candidate],
    port: int,
    protocol: Literal["tcp", "udp"],
    now_ms: int,
) -> None:
    decision = evaluate(compile_policy(policy, now_ms), sources, destinations, port, protocol)
    assert (decision.effect, decision.cause, decision.unanimous) == judged(
        policy, sources, destinations, port, protocol, now_ms
    )


@pytest.mark.parametrize(
    ("source", "destination", "port", "protocol", "effect", "cause"),
    [
        (FRONTEND, OUTSIDE, 443, "tcp", "alert", "rule:out"),
        (FRONTEND, INSIDE, 443, "tcp", "allow", "default"),
        (INSIDE, FRONTEND, 443, "tcp", "allow", "rule:web"),
        (INSIDE, FRONTEND, 22, "tcp", "prevent", "rule:rest"),
        (INSIDE, CART, 443, "tcp", "prevent", "rule:rest"),
        (CART, OUTSIDE, 443, "tcp", "allow", "default"),
        (INSIDE, SSHD, 22, "tcp", "allow", "rule:admin"),
        (INSIDE, SSHD, 22, "udp", "prevent", "rule:others"),
        (OUTSIDE, SSHD, 22, "tcp", "prevent", "rule:others"),
        # A container on either side: the rules for hosts have no say.
        (FRONTEND, SSHD, 22, "tcp", "allow", "default"),
        (NOBODY, NOBODY, 22, "tcp", "allow", "default"),
    ],
)
def test_the_first_matching_rule_of_the_judging_list_decides(
    source: Candidate,
    destination: Candidate,
    port: int,
    protocol: Literal["tcp", "udp"],
    effect: str,
    cause: str,
) -> None:
    decision = decided([source], [destination], port, protocol)
    assert (decision.effect, decision.cause) == (effect, cause)
    assert decision.unanimous
    assert decision.container is (
        FRONTEND in (source, destination) or CART in (source, destination)
    )


def test_the_mildest_of_several_candidates_holds_and_the_decision_says_so() -> None:
    decision = decided([INSIDE], [FRONTEND, CART], 443)
    assert (decision.effect, decision.cause, decision.unanimous) == ("allow", "rule:web", False)
    assert "can't be told" in decision.reason


def test_prevented_for_every_candidate_is_prevented() -> None:
    decision = decided([INSIDE, OUTSIDE], [FRONTEND, CART], 22)
    assert (decision.effect, decision.cause, decision.unanimous) == ("prevent", "rule:rest", True)


def test_alert_holds_where_every_pair_is_at_least_alerted_on() -> None:
    policy = Policy(
        objects=(SHOP, FRONT),
        containers=(
            Rule(name="soft", source=("front",), effect="alert"),
            Rule(name="hard", source=("shop",), effect="prevent"),
        ),
    )
    decision = evaluate(compile_policy(policy), [FRONTEND, CART], [OUTSIDE], 80, "tcp")
    assert (decision.effect, decision.cause, decision.unanimous) == ("alert", "rule:soft", False)


def test_nobody_known_is_judged_as_somebody_unknown() -> None:
    assert decided([], [CART], 22).cause == "rule:rest"


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        (
            FRONTEND,
            OUTSIDE,
            "Rule out for containers alerts on tcp from container shop/frontend:1.4 to 203.0.113.7",
        ),
        (
            CART,
            Candidate(names=("pay.example",), address=b"\x0a\0\0\1"),
            "No rule for either side matches tcp from container shop/cart:1 to pay.example",
        ),
        (
            NOBODY,
            SSHD,
            "Rule others for hosts prevents tcp from somebody unknown to service sshd",
        ),
    ],
)
def test_the_reason_is_one_sentence(source: Candidate, destination: Candidate, reason: str) -> None:
    assert decided([source], [destination]).reason == f"{reason} on port 80."


def test_more_candidates_than_a_side_may_have_are_refused() -> None:
    side = [INSIDE] * CANDIDATES_MAX
    assert decided(side, [CART]).effect == "prevent"
    with pytest.raises(InvalidValueError, match=f"at most {CANDIDATES_MAX}"):
        decided([*side, INSIDE], [CART])


@pytest.mark.parametrize("port", [-1, 65_536])
def test_no_such_port_is_refused(port: int) -> None:
    with pytest.raises(InvalidValueError, match="0 to 65535"):
        decided([INSIDE], [CART], port)


def test_no_such_protocol_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="tcp or udp"):
        evaluate(COMPILED, [INSIDE], [CART], 1, "sctp")  # type: ignore[arg-type]
