"""Imported policies decide every flow as Kubernetes does."""

from collections import Counter
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


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_flow_is_decided_as_kubernetes_does(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
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
