"""NetworkPolicies as the YAML that Kubernetes takes; `reading` reads the same policies from it."""

from collections.abc import Iterable

import yaml

from cnnf.policy.kubernetes.manifests import (
    API_VERSION,
    LabelSelector,
    NetworkPolicy,
    Peer,
    PolicyPort,
    TrafficRule,
)

_Manifest = dict[str, object]


def write_policies(policies: Iterable[NetworkPolicy]) -> str:
    """One document a policy."""
    manifests = map(manifest, policies)
    return yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True)


def manifest(one: NetworkPolicy) -> _Manifest:
    """One policy as the API has it."""
    spec: _Manifest = {"podSelector": _selector(one.pods)}
    types = []
    for word, peers, rules in (("ingress", "from", one.ingress), ("egress", "to", one.egress)):
        if rules is not None:
            types.append(word.capitalize())
            spec[word] = [_traffic(peers, rule) for rule in rules]
    return {
        "apiVersion": API_VERSION,
        "kind": "NetworkPolicy",
        "metadata": {"name": one.name, "namespace": one.namespace},
        "spec": {**spec, "policyTypes": types},
    }


def _traffic(word: str, rule: TrafficRule) -> _Manifest:
    found: _Manifest = {}
    if rule.peers:
        found[word] = [_peer(one) for one in rule.peers]
    if rule.ports:
        found["ports"] = [_port(one) for one in rule.ports]
    return found


def _peer(one: Peer) -> _Manifest:
    if one.block is not None:
        block: _Manifest = {"cidr": one.block.cidr}
        if one.block.excepted:
            block["except"] = list(one.block.excepted)
        return {"ipBlock": block}
    found: _Manifest = {}
    if one.namespaces is not None:
        found["namespaceSelector"] = _selector(one.namespaces)
    if one.pods is not None:
        found["podSelector"] = _selector(one.pods)
    return found


def _port(one: PolicyPort) -> _Manifest:
    found: _Manifest = {"protocol": one.protocol.upper()}
    if one.name:
        found["port"] = one.name
    elif one.ports is not None:
        low, high = one.ports
        found["port"] = low
        if high > low:
            found["endPort"] = high
    return found


def _selector(selector: LabelSelector) -> _Manifest:
    """Labels that have to have one value as `matchLabels`, as people write them.

    A key is asked once (`selection.Label`), or by two operators neither of which is `In`.
    """
    plain = [one for one in selector if one.operator == "In" and len(one.values) == 1]
    others = [one for one in selector if one not in plain]
    found: _Manifest = {}
    if plain:
        found["matchLabels"] = {one.key: one.values[0] for one in plain}
    if others:
        found["matchExpressions"] = [
            {
                "key": one.key,
                "operator": one.operator,
                **({"values": list(one.values)} if one.values else {}),
            }
            for one in others
        ]
    return found
