"""What is exported decides as our rules do; everything else is told."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.policy.compiled import compile_policy
from cnnf.policy.evaluation import Protocol, evaluate
from cnnf.policy.form import parse_policy
from cnnf.policy.kubernetes.exporting import export_policies
from cnnf.policy.kubernetes.reading import parse_policies
from cnnf.policy.kubernetes.translation import translate
from cnnf.policy.kubernetes.writing import write_policies
from cnnf.policy.objects import LabelTest, NetworkObject
from cnnf.policy.rules import Effect, Policy, Rule
from tests.unit.policy.kubernetes import clusters

OBJECTS = (
    NetworkObject(name="shop", kind="image", values=("*",), namespaces=("shop",)),
    NetworkObject(
        name="web",
        kind="image",
        values=("*",),
        namespaces=("shop", "default"),
        labels=(LabelTest(key="app", values=("web",)),),
    ),
    NetworkObject(
        name="no db",
        kind="image",
        values=("*",),
        namespaces=("*", "-data"),
        labels=(LabelTest(key="app", operator="not in", values=("db",)),),
    ),
    NetworkObject(
        name="data",
        kind="image",
        values=("*",),
        namespaces=("data",),
        labels=(LabelTest(key="tier", operator="exists"),),
    ),
    NetworkObject(name="out", kind="subnet", values=("203.0.113.0/24", "-203.0.113.8")),
    NetworkObject(name="image", kind="image", values=("shop/*",)),
)
PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp")
NAMES = tuple(one.name for one in OBJECTS)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    found = []
    for at in range(draw(st.integers(1, 7))):
        sides = [draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)) for _ in range(2)]
        effects: tuple[Effect, ...] = ("allow", "allow", "allow", "prevent", "alert")
        effect = draw(st.sampled_from(effects))
        if effect == "prevent" and draw(st.integers(0, 3)):
            sides[draw(st.integers(0, 1))] = []
            rule = Rule(
                name=f"r{at}", effect=effect, source=tuple(sides[0]), destination=tuple(sides[1])
            )
        else:
            rule = Rule(
                name=f"r{at}",
                effect=effect,
                source=tuple(sides[0]),
                destination=tuple(sides[1]),
                ports=draw(st.sampled_from(((), ((80, 81),), ((0, 53), (8080, 8080))))),
                protocol=draw(st.sampled_from(("tcp", "udp", "any"))),
            )
        sides_named = [{one != "out" for one in side} for side in sides]
        # Addresses on both sides are refused: nobody there is protected.
        if not all(sides_named) or True in sides_named[0] | sides_named[1]:
            found.append(rule)
    return Policy(objects=OBJECTS, containers=tuple(found))


@settings(max_examples=60, deadline=None)
@given(policies(), st.data())
def test_what_is_said_is_decided_alike(policy: Policy, data: st.DataObject) -> None:
    exported = export_policies(policy)
    text = write_policies(exported.policies)
    read = parse_policies(text, subject="written").policies
    assert read == exported.policies
    before = compile_policy(policy)
    after = compile_policy(translate(read, (), ()).policy)
    pods = [data.draw(clusters.pods(number)) for number in range(1, 5)]
    ends = [clusters.candidate(one, ports_told=False) for one in clusters.ends(pods)[:-2]]
    untold = {f"rule:{one.rule}" for one in exported.left_out}
    for one, other in product(ends, repeat=2):
        if one is other or not (one.identity or other.identity):
            continue
        for port, protocol in product(clusters.FLOW_PORTS, PROTOCOLS):
            wanted = evaluate(before, [one], [other], port, protocol)
            found = evaluate(after, [one], [other], port, protocol)
            if wanted.cause not in untold:
                assert found.effect == wanted.effect, (one, other, port, wanted, found)
            elif wanted.effect == "prevent" and found.effect == "allow":
                # What is left out may be lost, but nothing else allows it.
                assert found.cause == "default", (one, other, port, wanted, found)


RULES = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: web, type: image, values: ["*"], namespaces: [shop], labels: {app: web}}
  - {name: db, type: image, values: ["*"], namespaces: [shop], labels: {app: db}}
  - {name: all, type: image, values: ["*"]}
  - {name: nginx, type: image, values: [nginx]}
  - {name: names, type: dns, values: [pay.example]}
  - {name: host, type: host, values: [h]}
  - {name: wide, type: image, values: ["*"], namespaces: ["shop-*"]}
rules:
  containers: [RULES]
  hosts: []
"""


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("{name: r, source: [web], effect: alert}", "raises no events"),
        ("{name: r, source: [nginx], effect: allow}", "selects images"),
        ("{name: r, source: [web], destination: [names], effect: allow}", "is a dns"),
        ("{name: r, source: [host], destination: [web], effect: allow}", "is a host"),
        ("{name: r, source: [wide], effect: allow}", "a pattern of namespaces"),
        ("{name: r, source: [web], destination: [db], effect: prevent}", "refuses nothing but"),
        ("{name: r, source: [web], ports: [22], effect: prevent}", "refuses nothing but"),
        ("{name: r, source: [all], effect: prevent}", "name the namespaces"),
        ("{name: r, source: [web], ports: [0], effect: allow}", "port 0"),
        ("{name: r, source: [web], effect: allow, expires: 2099-01-01T00:00:00Z}", "it expires"),
        ("{name: p, source: [web], effect: prevent}, {name: r, effect: allow}", "move it up"),
        (
            "{name: p, ports: [22], effect: prevent}, {name: r, source: [web], effect: allow}",
            "an earlier rule",
        ),
    ],
)
def test_what_cannot_be_said_is_told_with_the_reason(rule: str, reason: str) -> None:
    found = export_policies(parse_policy(RULES.replace("RULES", rule), subject="p"))
    told = {one.rule: one.reason for one in found.left_out}
    assert reason in told["r"]


def test_an_allow_rule_becomes_one_policy_a_direction_and_namespace() -> None:
    rules = (
        "{name: Read it, source: [web], destination: [db], ports: [5432], protocol: tcp, "
        "effect: allow}, {name: rest, destination: [db], effect: prevent}"
    )
    found = export_policies(parse_policy(RULES.replace("RULES", rules), subject="p"))
    assert found.left_out == ()
    assert [one.name for one in found.policies] == ["isolate-ingress", "read-it"]
    assert found.policies[1].egress is None
