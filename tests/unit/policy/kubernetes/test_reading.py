"""Manifests are read as the API defines them; what its server refuses is refused with its place."""

import pytest

from cnnf.policy import limits
from cnnf.policy.errors import InvalidFormError
from cnnf.policy.kubernetes.manifests import Peer, PodPort, PolicyPort, Requirement, TrafficRule
from cnnf.policy.kubernetes.reading import parse_namespaces, parse_pods, parse_policies

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ("{}", (), None),
        ("{podSelector: {}, egress: []}", (), None),
        ("{podSelector: {}, egress: [{}]}", (), (TrafficRule(),)),
        ("{podSelector: {}, policyTypes: [Egress]}", None, ()),
        ("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", None, ()),
        ("{podSelector: {}, ingress: [{from: [], ports: []}]}", (TrafficRule(),), None),
        (
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}]}",
            (TrafficRule(peers=(Peer(namespaces=()),), ports=(PolicyPort(ports=(80, 80)),)),),
            None,
        ),
    ],
)
def test_what_is_left_out_means_what_the_api_says(
    spec: str,
    ingress: tuple[TrafficRule, ...] | None,
    egress: tuple[TrafficRule, ...] | None,
) -> None:
    (found,) = parse_policies(f"{HEAD}spec: {spec}\n", subject="p.yaml").policies
    assert (found.namespace, found.ingress, found.egress) == ("default", ingress, egress)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("{podSelectors: {}}", "p.yaml:4:8: unknown key 'podSelectors' in spec"),
        ("{ingress: {}}", "p.yaml:4:17: `ingress`: write a list"),
        ("{ingress: [{form: []}]}", "p.yaml:4:19: unknown key 'form'"),
        ("{ingress: [{from: [{}]}]}", "p.yaml:4:26: a peer that is nobody"),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}",
            "p.yaml:4:26: `ipBlock` beside a selector",
        ),
        ("{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}", "p.yaml:4:43: '10.0.0.0' is no net"),
        (
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9]}}]}]}",
            "p.yaml:4:64: 11.0.0.0/9 in `except` has to lie in 10.0.0.0/8",
        ),
        ("{ingress: [{ports: [{port: 0}]}]}", "p.yaml:4:34: `port` is 0"),
        ('{ingress: [{ports: [{port: "80"}]}]}', "p.yaml:4:34: '80' is no port's name: write 80"),
        ("{ingress: [{ports: [{port: 80, endPort: 79}]}]}", "p.yaml:4:47: `endPort` 79 lies"),
        ("{ingress: [{ports: [{port: http, endPort: 79}]}]}", "p.yaml:4:49: `endPort` beside a"),
        ("{ingress: [{ports: [{endPort: 79}]}]}", "p.yaml:4:37: `endPort` without `port`"),
        ("{ingress: [{ports: [{protocol: ICMP}]}]}", "p.yaml:4:38: `protocol` is 'ICMP'"),
        ("{policyTypes: [ingress]}", "p.yaml:4:22: `policyTypes` is 'ingress'"),
        ("{podSelector: {matchLabels: {app: 1}}}", "p.yaml:4:41: `a label's value`: a number"),
        ("{podSelector: {matchLabels: {app: a b}}}", "p.yaml:4:41: 'a b' can't be a label's value"),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
            "p.yaml:4:41: `In` without values",
        ),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
            "p.yaml:4:41: `Exists` with values",
        ),
    ],
)
def test_what_the_server_refuses_is_refused_where_it_is(spec: str, problem: str) -> None:
    with pytest.raises(InvalidFormError) as caught:
        parse_policies(f"{HEAD}spec: {spec}\n", subject="p.yaml")
    assert str(caught.value).startswith(problem)


def test_lists_and_documents_are_read_and_others_counted() -> None:
    item = "{kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, metadata: {name: NAME}}"
    text = (
        f"---\n{item.replace('NAME', 'a')}\n---\n---\n"
        f"{{kind: List, apiVersion: v1, items: [{item.replace('NAME', 'b')}, {{kind: Pod}}]}}\n"
        "---\n{kind: NetworkPolicyList, items: [{metadata: {name: c, namespace: d}}]}\n"
    )
    found = parse_policies(text, subject="p.yaml")
    assert [(one.namespace, one.name) for one in found.policies] == [
        ("default", "a"),
        ("default", "b"),
        ("d", "c"),
    ]
    assert found.others == {"Pod": 1}


def test_a_policy_stands_once() -> None:
    with pytest.raises(InvalidFormError, match="stands in line 1 already"):
        parse_policies(f"{HEAD}---\n{HEAD}", subject="p.yaml")


def test_of_pods_what_matters_is_read() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec:
  nodeName: node-1
  hostNetwork: true
  initContainers:
    - {name: once, ports: [{name: gone, containerPort: 1}]}
    - {name: proxy, restartPolicy: Always, ports: [{name: admin, containerPort: 15000}]}
  containers:
    - name: c
      ports: [{containerPort: 9}, {name: dns, containerPort: 53, protocol: UDP}]
"""
    (pod,) = parse_pods(text, subject="pods").pods
    assert pod.ports == (PodPort("admin", 15000), PodPort("dns", 53, "udp"))
    assert (pod.node, pod.host_network, pod.labels) == ("node-1", True, {"app": "web"})
    assert Requirement("app", "In", ("web",)).holds(pod.labels)


def test_of_namespaces_name_and_labels_are_read() -> None:
    text = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}"
    (found,) = parse_namespaces(text, subject="n").namespaces
    assert (found.name, found.labels) == ("shop", {"team": "a"})


def test_aliases_are_read_and_count_as_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = "{podSelector: &all {}, ingress: [{from: [{podSelector: *all}]}]}"
    (found,) = parse_policies(f"{HEAD}spec: {spec}\n", subject="p").policies
    assert found.ingress == (TrafficRule(peers=(Peer(pods=()),)),)
    bomb = "a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
    monkeypatch.setattr(limits, "FORM_NODES_MAX", 40)
    with pytest.raises(InvalidFormError, match=r"p:4:.*more than 40 keys and values"):
        parse_policies(bomb, subject="p")


@pytest.mark.parametrize("text", ["a: *a\n", "a: &a [*a]\n", "a: &a 1\n---\nb: *a\n"])
def test_an_alias_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidFormError, match="p:"):
        parse_policies(text, subject="p")
