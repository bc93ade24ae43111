"""Findings: each is so, whatever flows there are, and what people get wrong is found."""

from time import perf_counter
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnf.policy.analysis import Finding, analyse
from cnnf.policy.compiled import compile_policy
from cnnf.policy.containment import Containment, is_empty
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.evaluation import evaluate
from cnnf.policy.flows import parse_endpoints
from cnnf.policy.form import parse_policy
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import Effect, Policy, Rule
from tests.unit.policy.slow import within
from tests.unit.policy.strategies import (
    HOSTNAMES,
    PORTS,
    TIMES_MS,
    candidates,
    identities,
    network_objects,
    policies,
)

DAY_MS = 86_400_000
NEVER_DECIDES = {"shadowed", "duplicate", "contradictory", "never-applies"}

OBJECTS = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: ten, type: subnet, values: [10.0.0.0/8]}
  - {name: lan, type: subnet, values: [10.1.0.0/16, 10.2.0.0/16]}
  - {name: low, type: subnet, values: [10.1.0.0/17]}
  - {name: high, type: subnet, values: [10.1.128.0/17, 10.2.0.0/16]}
  - {name: none, type: subnet, values: [10.0.0.0/9, "-10.0.0.0/8"]}
  - {name: web, type: image, values: ["shop/web:*"], labels: {tier: web}}
  - {name: shop, type: image, values: ["shop/*"], labels: {tier: {in: [web, data]}}}
  - {name: shops, type: image, values: ["shop/*"]}
  - {name: prod, type: image, values: ["shop/*"], namespaces: [prod]}
  - {name: not test, type: image, values: ["*"], namespaces: ["*", "-test-*"]}
  - {name: nobody, type: image, values: ["shop/*"], labels: {tier: {in: [a], not in: [a, b]}}}
  - {name: nginx, type: service, values: [nginx]}
rules:
  containers:
"""


def found(*rules: str, now_ms: int = DAY_MS) -> list[tuple[str, str, str]]:
    """Findings of rules, with who causes them."""
    text = OBJECTS + "".join(f"    - {{{rule}}}\n" for rule in rules)
    compiled = compile_policy(parse_policy(text, subject="p"), now_ms)
    return [(one.kind, one.name, one.because) for one in analyse(compiled) if one.list]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            (
                "name: a, destination: [shops], effect: alert",
                "name: b, source: [ten], destination: [web], ports: [80], effect: allow",
            ),
            ("shadowed", "b", "a"),
        ),
        (
            (
                "name: a, source: [lan, web], destination: [web], ports: [1-9], effect: alert",
                "name: b, source: [web, lan], destination: [web], ports: [1-9], effect: alert",
            ),
            ("duplicate", "b", "a"),
        ),
        (
            (
                "name: a, source: [lan], destination: [web], effect: prevent",
                "name: b, source: [high], destination: [web], ports: [0-65535], effect: allow",
            ),
            ("shadowed", "b", "a"),
        ),
        (
            (
                "name: a, source: [lan], destination: [web], effect: prevent",
                "name: b, source: [lan], destination: [web], ports: [0-65535], effect: allow",
            ),
            ("contradictory", "b", "a"),
        ),
        # One subnet of several, taken together.
        (
            (
                "name: a, source: [low, high], destination: [web], effect: prevent",
                "name: b, source: [lan], destination: [web], effect: allow",
            ),
            ("contradictory", "b", "a"),
        ),
        # Several rules, taken together: by ports, and by protocols.
        (
            (
                "name: a, destination: [web], ports: [1-10], effect: prevent",
                "name: b, destination: [shop], ports: [11-20], effect: alert",
                "name: c, destination: [web], ports: [5-15], effect: allow",
            ),
            ("shadowed", "c", "a"),
        ),
        (
            (
                "name: a, destination: [web], protocol: udp, effect: prevent",
                "name: b, destination: [shop], protocol: tcp, effect: alert",
                "name: c, destination: [web], effect: allow",
            ),
            ("shadowed", "c", "b"),
        ),
        (
            (
                "name: a, destination: [not test], effect: prevent",
                "name: b, destination: [prod], effect: allow",
            ),
            ("shadowed", "b", "a"),
        ),
        (("name: a, source: [none], effect: allow",), ("never-applies", "a", "none")),
        (("name: a, source: [nobody], effect: allow",), ("never-applies", "a", "nobody")),
        (("name: a, effect: allow, expires: 1970-01-02",), ("expired", "a", "")),
        (("name: a, effect: allow, expires: 1970-01-09",), ("expires-soon", "a", "")),
        (
            (
                "name: a, source: [web], ports: [80], effect: allow, expires: 1970-01-02",
                "name: b, source: [web], ports: [443], effect: allow",
            ),
            ("half-expired", "b", "a"),
        ),
    ],
)
def test_what_is_wrong_is_found(rules: tuple[str, ...], expected: tuple[str, str, str]) -> None:
    assert found(*rules)[-1] == expected


@pytest.mark.parametrize(
    "rules",
    [
        (
            "name: a, source: [low], destination: [web], effect: prevent",
            "name: b, source: [lan], destination: [web], effect: allow",
        ),
        (
            "name: a, destination: [web], effect: prevent",
            "name: b, destination: [shop], effect: allow",
        ),
        (
            "name: a, destination: [prod], effect: prevent",
            "name: b, destination: [web], effect: allow",
        ),
        (
            "name: a, destination: [web], ports: [1-9], effect: prevent",
            "name: b, destination: [web], ports: [11-20], effect: prevent",
            "name: c, destination: [web], ports: [1-20], effect: allow",
        ),
        (
            "name: a, destination: [web], protocol: tcp, effect: prevent",
            "name: b, destination: [web], effect: allow",
        ),
        (
            "name: a, destination: [web], effect: prevent, enabled: false",
            "name: b, destination: [web], effect: allow",
        ),
        (
            "name: a, destination: [web], effect: prevent",
            "name: b, effect: allow, expires: 1970-02-01",
        ),
    ],
)
def test_what_is_right_is_left_alone(rules: tuple[str, ...]) -> None:
    assert found(*rules) == []


def test_a_name_beside_the_one_that_is_in_an_object_may_be_excluded() -> None:
    """Somebody found by both names is in the first object only."""
    one = NetworkObject(name="a", kind="dns", values=("a.example",))
    other = NetworkObject(name="b", kind="dns", values=("*", "-b.example"))
    assert Containment([one, other]).containing(0) == 1
    hosts = [msgspec.structs.replace(thing, kind="host") for thing in (one, other)]
    assert Containment(hosts).containing(0) == 3


def test_a_shadow_that_ends_says_until_when() -> None:
    text = OBJECTS + "    - {name: a, effect: alert, expires: 2030-01-01}\n"
    text += "    - {name: b, source: [web], effect: allow}\n"
    (one,) = (
        one for one in analyse(compile_policy(parse_policy(text, subject="p"))) if one.name == "b"
    )
    assert one.message.endswith("until that expires at 2030-01-01T00:00:00Z")


def test_objects_are_looked_at() -> None:
    text = OBJECTS + "    - {name: a, source: [ten, none, web], effect: alert}\n"
    text += "    - {name: b, source: [internet, shop], effect: alert, enabled: false}\n"
    known = parse_endpoints(
        """
        - {image: shop/web, labels: {tier: web}, ip: 10.9.0.1, namespace: prod}
        - {image: shop/db, ip: "fd00::1"}
        - {service: nginx, host: a, ip: 203.0.113.7}
        - {ip: 10.1.0.1}
        """,
        subject="k",
    )
    kinds = ("empty-object", "unused-object", "unmatched-object", "contains-protected")
    by_kind: dict[str, list[Finding]] = {kind: [] for kind in kinds}
    for one in analyse(compile_policy(parse_policy(text, subject="p")), known):
        by_kind.setdefault(one.kind, []).append(one)
    names = {kind: [one.name for one in by_kind[kind]] for kind in kinds}
    assert names == {
        "empty-object": ["none", "nobody"],
        "unused-object": [
            "lan", "low", "high", "shops", "prod", "not test", "nobody", "nginx"
        ],
        "unmatched-object": ["high"],
        "contains-protected": ["internet", "ten"],
    }  # fmt: skip
    inside = by_kind["contains-protected"]
    assert [one.because for one in inside] == ["b", "a"]
    assert inside[1].message == (
        "contains container shop/web:latest (10.9.0.1), which image, service and host objects name"
    )


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    policies(),
    st.lists(
        st.tuples(candidates(), candidates(), PORTS, st.sampled_from(("tcp", "udp"))),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(TIMES_MS),
)
def test_what_is_said_never_to_decide_never_does(
    policy: Policy,
    flows: list[tuple[Candidate, Candidate, int, Literal["tcp", "udp"]]],
    now_ms: int,
) -> None:
    compiled = compile_policy(policy, now_ms)
    never = {one.name for one in analyse(compiled, ()) if one.kind in NEVER_DECIDES}
    for source, destination, port, protocol in flows:
        decision = evaluate(compiled, [source], [destination], port, protocol)
        assert decision.cause.removeprefix("rule:") not in never


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(network_objects("o"), min_size=2, max_size=8),
    st.lists(identities(), min_size=1, max_size=6),
    st.lists(st.sampled_from(HOSTNAMES), max_size=3),
)
def test_who_is_in_an_object_is_in_all_that_contain_it(
    objects: list[NetworkObject], people: list[Identity], names: list[str]
) -> None:
    containment = Containment(objects)
    for number, one in enumerate(objects):
        if one.kind == "subnet":
            continue
        containing = containment.containing(number)
        assert containing >> number & 1
        for who in (Candidate(identity=person, names=tuple(names)) for person in people):
            if not within("o", {"o": one}, who):
                continue
            assert not is_empty(one)
            for other, thing in enumerate(objects):
                assert not containing >> other & 1 or within("o", {"o": thing}, who)


def test_ten_thousand_rules_take_seconds() -> None:
    effects: tuple[Effect, ...] = ("allow", "alert", "prevent")
    objects = [
        NetworkObject(
            name=f"pods {at}", kind="image", values=("*",), namespaces=(f"team-{at % 500}",)
        )
        for at in range(1_000)
    ]
    objects += [
        NetworkObject(name=f"net {at}", kind="subnet", values=(f"10.{at // 250}.{at % 250}.0/24",))
        for at in range(1_000)
    ]
    rules = tuple(
        Rule(
            name=f"r{at}",
            source=(f"net {at * 7 % 1_000}",),
            destination=(f"pods {at % 1_000}",),
            ports=((at % 6_000, at % 6_000 + at % 50),),
            effect=effects[at % 3],
        )
        for at in range(10_000)
    )
    compiled = compile_policy(Policy(objects=tuple(objects), containers=rules))
    start = perf_counter()
    findings = analyse(compiled, ())
    assert perf_counter() - start < 20
    assert any(one.kind in NEVER_DECIDES for one in findings)
