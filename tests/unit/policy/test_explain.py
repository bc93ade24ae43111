"""Explanations: of every rule, and always those of the decision."""

from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnf.policy.compiled import compile_policy
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import evaluate
from cnnf.policy.explain import Explanation, explain
from cnnf.policy.flows import Flow, parse_flows
from cnnf.policy.form import parse_policy
from cnnf.policy.rules import Policy
from tests.unit.policy.slow import applies
from tests.unit.policy.strategies import PORTS, TIMES_MS, candidates, policies

POLICY = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: office, type: subnet, values: [10.0.0.0/8]}
  - {name: nginx, type: service, values: [nginx]}
rules:
  containers:
    - {name: any, effect: prevent}
  hosts:
    - {name: sleeping, effect: prevent, enabled: false}
    - {name: over, effect: prevent, expires: 1970-01-02}
    - {name: dns, destination: [nginx], ports: [53], protocol: udp, effect: prevent}
    - {name: office, source: [office], destination: [nginx], ports: [443], effect: alert}
    - {name: rest, destination: [nginx], effect: prevent}
"""


def explained(text: str, flow: str) -> Explanation:
    compiled = compile_policy(parse_policy(text, subject="p"), 86_400_000)
    return explain(compiled, parse_flows(flow, subject="f")[0])


def test_every_rule_says_why_it_does_not_match() -> None:
    found = explained(
        POLICY, "- {source: {ip: 10.0.0.1}, destination: {service: nginx}, port: 443}"
    )
    assert [(one.rule, one.mismatches, one.decides) for one in found.rules] == [
        ("any", ("other list",), False),
        ("sleeping", ("disabled",), False),
        ("over", ("expired",), False),
        ("dns", ("port", "protocol"), False),
        ("office", (), True),
        ("rest", (), False),
    ]
    assert (found.decision.effect, found.decision.cause) == ("alert", "rule:office")


def test_nothing_decides_where_nothing_matches() -> None:
    found = explained(POLICY, "- {source: {ip: 11.0.0.1}, destination: {host: a}, port: 443}")
    assert found.decision.cause == "default"
    assert not any(one.matched or one.decides for one in found.rules)
    assert found.rules[4].mismatches == ("source", "destination")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    policies(),
    candidates(),
    candidates(),
    PORTS,
    st.sampled_from(("tcp", "udp")),
    st.sampled_from(TIMES_MS),
)
def test_explanations_are_those_of_the_decision(
    policy: Policy,
    source: Candidate,
    destination: Candidate,
    port: int,
    protocol: Literal["tcp", "udp"],
    now_ms: int,
) -> None:
    compiled = compile_policy(policy, now_ms)
    flow = Flow(source=source, destination=destination, port=port, protocol=protocol)
    found = explain(compiled, flow)
    assert found.decision == evaluate(compiled, [source], [destination], port, protocol)
    matched = [one for one in found.rules if one.matched]
    assert [one for one in found.rules if one.decides] == matched[:1]
    assert found.decision.cause == (f"rule:{matched[0].rule}" if matched else "default")
    # Every rule's verdict, not only that of the one that decides.
    objects = {one.name: one for one in policy.objects}
    listed = [("containers", rule) for rule in policy.containers]
    listed += [("hosts", rule) for rule in policy.hosts]
    judging = "containers" if found.decision.container else "hosts"
    for (where, rule), looked in zip(listed, found.rules, strict=True):
        active = rule.enabled and not rule.expired(now_ms)
        matches = applies(rule, objects, source, destination, port, protocol)
        assert looked.matched is (active and where == judging and matches)


NARROWED = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: pods, type: image, values: [shop/web], addresses: [10.1.0.0/16]}
  - {name: nets, type: subnet, values: [10.2.0.0/16]}
rules:
  containers:
    - {name: from, source: [pods], effect: alert}
    - {name: to, destination: [pods], effect: alert}
    - {name: either, source: [pods, nets], effect: prevent}
"""


def test_an_image_at_other_addresses_is_told_from_another_image() -> None:
    flow = "- {source: {image: shop/IMAGE, ip: ADDRESS}, destination: {ip: 10.9.9.9}, port: 80}"

    def why(image: str, address: str) -> list[tuple[str, ...]]:
        text = flow.replace("IMAGE", image).replace("ADDRESS", address)
        return [one.mismatches for one in explained(NARROWED, text).rules]

    elsewhere: tuple[str, ...] = ("source addresses",)
    assert why("web", "10.9.0.1") == [elsewhere, ("destination",), elsewhere]
    assert why("db", "10.9.0.1") == [("source",), ("destination",), ("source",)]
    assert why("web", "10.1.0.1") == [(), ("destination",), ()]
    assert why("web", "10.2.0.1") == [elsewhere, ("destination",), ()]
