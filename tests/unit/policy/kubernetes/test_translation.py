"""Imported policies decide every flow as Kubernetes does."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.policy import limits
from cnnf.policy.compiled import compile_policy
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.evaluation import Protocol, evaluate
from cnnf.policy.export import write_policy
from cnnf.policy.form import parse_policy
from cnnf.policy.kubernetes.manifests import (
    NAME_LABEL,
    IpBlock,
    NetworkPolicy,
    Peer,
    PolicyPort,
    Requirement,
    TrafficRule,
)
from cnnf.policy.kubernetes.reading import parse_namespaces, parse_pods, parse_policies
from cnnf.policy.kubernetes.resolution import KnownPods
from cnnf.policy.kubernetes.translation import Translation, translate
from tests.unit.policy.kubernetes import clusters, oracle
from tests.unit.policy.kubernetes.oracle import Manifest

PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp")


def imported(
    policies: list[Manifest], namespaces: list[Manifest], pods: list[Manifest]
) -> Translation:
    """By way of files, as a person does it."""
    return translate(
        parse_policies(clusters.written(policies), subject="policies").policies,
        parse_namespaces(clusters.written(namespaces, True), subject="namespaces").namespaces,
        parse_pods(clusters.written(pods), subject="pods").pods,
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_flow_is_decided_as_kubernetes_does(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 6))
    policies = [data.draw(clusters.policies(f"p{number}")) for number in range(count)]
    namespaces = data.draw(clusters.namespaces())
    pods = [data.draw(clusters.pods(number)) for number in range(1, data.draw(st.integers(2, 6)))]
    found = imported(policies, namespaces, pods)
    compiled = compile_policy(parse_policy(write_policy(found.policy), subject="written"))
    known = parse_pods(clusters.written(pods), subject="pods").pods
    told = data.draw(st.booleans()) or bool(KnownPods(known).mixed_ports)
    everybody = clusters.ends(pods)
    who = [clusters.candidate(end, ports_told=told) for end in everybody]
    for (source, one), (destination, other) in product(zip(everybody, who, strict=True), repeat=2):
        if source is destination or (source.pod is None and destination.pod is None):
            continue
        for port, protocol in product(clusters.FLOW_PORTS, PROTOCOLS):
            wanted = oracle.allowed(
                policies, namespaces, source, destination, port, protocol.upper()
            )
            decision = evaluate(compiled, [one], [other], port, protocol)
            assert decision.effect == ("allow" if wanted else "prevent"), (
                source,
                destination,
                port,
                decision.reason,
            )


WEB, DB = {"app": "web"}, {"app": "db"}
ALL: Manifest = {}
FROM_WEB = [{"podSelector": {"matchLabels": WEB}}]
DENY: Manifest = {"podSelector": ALL, "policyTypes": ["Ingress", "Egress"]}


def pod(name: str, labels: dict[str, str], address: str, namespace: str = "default") -> Manifest:
    return clusters.manifest(
        "v1",
        "Pod",
        {"name": name, "namespace": namespace, "labels": labels},
        spec={"nodeName": "node-1", "containers": []},
        status={"podIP": address},
    )


PODS = [
    pod("web", WEB, "10.1.0.1"),
    pod("db", DB, "10.1.0.2"),
    pod("other", WEB, "10.1.0.3", "edge"),
]


@pytest.mark.parametrize(
    ("specs", "allowed"),
    [
        ([], "web>db db>web other>db out>db web>out"),
        ([DENY], ""),
        ([{"podSelector": ALL, "policyTypes": ["Ingress"]}], "web>out"),
        ([{"podSelector": ALL, "policyTypes": ["Egress"]}], "other>db out>db"),
        ([{"podSelector": ALL, "ingress": [{}]}], "web>db db>web other>db out>db web>out"),
        (
            [{"podSelector": {"matchLabels": DB}, "ingress": [{"from": FROM_WEB}]}],
            "web>db db>web web>out",
        ),
        # One end alone is not enough.
        ([DENY, {"podSelector": {"matchLabels": DB}, "ingress": [{"from": FROM_WEB}]}], ""),
        (
            [
                DENY,
                {"podSelector": {"matchLabels": DB}, "ingress": [{"from": FROM_WEB}]},
                {"podSelector": {"matchLabels": WEB}, "egress": [{}], "policyTypes": ["Egress"]},
            ],
            "web>db web>out",
        ),
        # Two peers are either, one peer with two selectors is both.
        (
            [{"podSelector": ALL, "ingress": [{"from": [{"namespaceSelector": ALL}]}]}],
            "web>db db>web other>db web>out",
        ),
        (
            [
                {
                    "podSelector": ALL,
                    "ingress": [
                        {
                            "from": [
                                {
                                    "namespaceSelector": {"matchLabels": {"team": "edge"}},
                                    "podSelector": {"matchLabels": WEB},
                                }
                            ]
                        }
                    ],
                }
            ],
            "other>db web>out",
        ),
        (
            [
                {
                    "podSelector": ALL,
                    "policyTypes": ["Egress"],
                    "egress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}],
                }
            ],
            "other>db out>db web>out",
        ),
    ],
)
def test_recipes(specs: list[Manifest], allowed: str) -> None:
    made = [
        clusters.manifest("networking.k8s.io/v1", "NetworkPolicy", {"name": f"p{at}"}, spec=spec)
        for at, spec in enumerate(specs)
    ]
    edge = clusters.manifest("v1", "Namespace", {"name": "edge", "labels": {"team": "edge"}})
    compiled = compile_policy(imported(made, [edge], PODS).policy)
    who = {one["metadata"]["name"]: oracle.End(one["status"]["podIP"], one) for one in PODS}
    who["out"] = oracle.End("203.0.113.7")
    found = []
    for pair in ("web>db", "db>web", "other>db", "out>db", "web>out"):
        source, destination = (who[name] for name in pair.split(">"))
        decision = evaluate(
            compiled,
            [clusters.candidate(source, ports_told=False)],
            [clusters.candidate(destination, ports_told=False)],
            80,
            "tcp",
        )
        wanted = oracle.allowed(made, [edge], source, destination, 80, "TCP")
        assert (decision.effect == "allow") is wanted, pair
        found += [pair] if decision.effect == "allow" else []
    assert " ".join(found) == allowed


def policy(peer: Peer) -> NetworkPolicy:
    return NetworkPolicy(name="p", ingress=(TrafficRule(peers=(peer,)),))


def test_what_is_needed_and_not_given_is_asked_for() -> None:
    by_label = policy(Peer(namespaces=(Requirement("team", "In", ("a",)),)))
    with pytest.raises(InvalidValueError, match=r"default/p: .*--namespaces"):
        translate([by_label])
    by_name = policy(Peer(namespaces=(Requirement(NAME_LABEL, "In", ("a",)),)))
    assert translate([by_name]).policy.containers
    named = NetworkPolicy(name="p", ingress=(TrafficRule(ports=(PolicyPort(name="http"),)),))
    with pytest.raises(InvalidValueError, match=r"default/p: .*--pods"):
        translate([named])


def test_what_is_not_judged_is_told() -> None:
    found = translate(
        [NetworkPolicy(name="p", ingress=(TrafficRule(ports=(PolicyPort(protocol="sctp"),)),))]
    )
    assert any("SCTP" in note for note in found.notes)
    # A rule for SCTP alone is none for anything else.
    assert [rule.effect for rule in found.policy.containers] == ["allow", "prevent"]


def test_a_cluster_is_selected_alone() -> None:
    found = translate([policy(Peer(pods=()))], cluster="c1").policy
    assert {one.clusters for one in found.objects} == {("c1",)}


def test_too_many_rules_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NETWORK_POLICY_PAIRS_MAX", 3)
    rules = tuple(TrafficRule(peers=(Peer(block=IpBlock(f"10.{at}.0.0/16")),)) for at in range(2))
    translate([NetworkPolicy(name="p", ingress=rules, egress=rules[:1])])
    with pytest.raises(InvalidValueError, match="more than 3 pairs"):
        translate([NetworkPolicy(name="p", ingress=rules, egress=rules)])
    monkeypatch.undo()
    monkeypatch.setattr(limits, "RULES_MAX", 8)
    with pytest.raises(InvalidValueError, match="more than 8 rules"):
        translate([NetworkPolicy(name="p", ingress=rules, egress=rules)])


def named(name: str, labels: dict[str, str], number: int, **ports: int) -> Manifest:
    listed = [{"name": each, "containerPort": port} for each, port in ports.items()]
    found = pod(name, labels, f"10.1.0.{number}")
    return {**found, "spec": {**found["spec"], "containers": [{"name": "c", "ports": listed}]}}


@pytest.mark.parametrize("told", [True, False])
def test_a_named_port_is_another_number_on_each_pod(told: bool) -> None:
    pods = [
        named("a", WEB, 1, http=80),
        named("b", {**WEB, "tier": "b"}, 2, http=8080),
        named("c", {**WEB, "tier": "c"}, 3),
        named("d", DB, 4, dns=80),
    ]
    spec = {"podSelector": {}, "ingress": [{"ports": [{"port": "http"}]}]}
    made = [clusters.manifest("networking.k8s.io/v1", "NetworkPolicy", {"name": "p"}, spec=spec)]
    compiled = compile_policy(imported(made, [], pods).policy)
    source = clusters.candidate(oracle.End("203.0.113.7"), ports_told=False)
    found = {
        (one["metadata"]["name"], port)
        for one, port in product(pods, (80, 8080))
        if evaluate(
            compiled,
            [source],
            [clusters.candidate(oracle.End(one["status"]["podIP"], one), ports_told=told)],
            port,
            "tcp",
        ).effect
        == "allow"
    }
    assert found == {("a", 80), ("b", 8080)}
