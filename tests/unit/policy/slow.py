"""The reference: decides by scanning every rule in order for every pair, and nothing else.

Written from the design, without an index, a set or a cache, so that it is obviously right.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from itertools import product

from cnnf.policy.addresses import Address, is_internet, parse_address
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.objects import LabelTest, NetworkObject
from cnnf.policy.rules import Policy, Rule

STRICTNESS = ["allow", "alert", "prevent"]


def judged(
    policy: Policy,
    sources: Sequence[Candidate],
    destinations: Sequence[Candidate],
    port: int,
    protocol: str,
    now_ms: int = 0,
) -> tuple[str, str, bool]:
    """Effect, cause and whether all pairs agree."""
    container = any(
        one.identity is not None and one.identity.kind == "container"
        for one in (*sources, *destinations)
    )
    rules = [
        one
        for one in (policy.containers if container else policy.hosts)
        if one.enabled and (one.expires_ms is None or now_ms < one.expires_ms)
    ]
    objects = {one.name: one for one in policy.objects}
    found = []
    for source, destination in product(sources, destinations):
        for place, rule in enumerate(rules):
            if applies(rule, objects, source, destination, port, protocol):
                found.append((rule.effect, place, f"rule:{rule.name}"))
                break
        else:
            found.append(("allow", len(rules), "default"))
    effects = {effect for effect, _, _ in found}
    mildest = min(effects, key=STRICTNESS.index)
    cause = min((place, cause) for effect, place, cause in found if effect == mildest)[1]
    return mildest, cause, len(effects) == 1


def applies(
    rule: Rule,
    objects: dict[str, NetworkObject],
    source: Candidate,
    destination: Candidate,
    port: int,
    protocol: str,
) -> bool:
    """Whether one rule matches one connection."""
    return (
        rule.protocol in ("any", protocol)
        and (not rule.ports or any(low <= port <= high for low, high in rule.ports))
        and (not rule.source or any(within(name, objects, source) for name in rule.source))
        and (
            not rule.destination
            or any(within(name, objects, destination) for name in rule.destination)
        )
    )


def within(name: str, objects: dict[str, NetworkObject], who: Candidate) -> bool:
    """Whether a candidate belongs to the object of that name."""
    if name == "internet":
        return who.address is not None and is_internet(address_of(who))
    one = objects[name]
    included = [value for value in one.values if not value.startswith("-")]
    excluded = [value[1:] for value in one.values if value.startswith("-")]
    if one.kind == "subnet":
        if who.address is None:
            return False
        return placed(one.values, who)
    if one.kind == "dns":
        known = [name.removesuffix(".") for name in who.names]
        return any(matches(v, name) for v in included for name in known) and not any(
            matches(v, name) for v in excluded for name in known
        )
    if who.identity is None:
        return False
    return (
        any(names(one.kind, value, who.identity) for value in included)
        and not any(names(one.kind, value, who.identity) for value in excluded)
        and narrowed(one.clusters, who.identity.cluster)
        and narrowed(one.namespaces, who.identity.namespace)
        and narrowed(one.hosts, host_of(who.identity))
        and all(label(test, dict(who.identity.labels)) for test in one.labels)
        and (not one.addresses or (who.address is not None and placed(one.addresses, who)))
    )


def placed(values: tuple[str, ...], who: Candidate) -> bool:
    """Whether a candidate's address is in a subnet's values."""
    address = address_of(who)
    return any(contains(value, address) for value in values if value[0] != "-") and not any(
        contains(value[1:], address) for value in values if value[0] == "-"
    )


def names(kind: str, value: str, who: Identity) -> bool:
    """Whether one pattern names an identity."""
    if kind == "host":
        return who.kind in ("host", "service") and matches(value, host_of(who))
    if kind == "service":
        return who.kind == "service" and matches(value, who.name)
    if who.kind != "container":
        return False
    path, _, tag = value.rpartition(":") if ":" in value.rpartition("/")[2] else (value, "", "*")
    return matches(completed(path), completed(who.name)) and matches(tag, who.tag)


def completed(name: str) -> str:
    """An image's name in full form."""
    if name.startswith("*"):
        return name
    if "/" not in name:
        return f"docker.io/library/{name}"
    first = name.partition("/")[0]
    if first == "docker.io":
        rest = name.partition("/")[2]
        return name if "/" in rest or rest.startswith("*") else f"docker.io/library/{rest}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def host_of(who: Identity) -> str:
    return who.name if who.kind == "host" else who.host


def narrowed(patterns: tuple[str, ...], text: str) -> bool:
    included = [one for one in patterns if not one.startswith("-")]
    return (not included or any(matches(one, text) for one in included)) and not any(
        matches(one[1:], text) for one in patterns if one.startswith("-")
    )


def label(test: LabelTest, labels: dict[str, str]) -> bool:
    match test.operator:
        case "exists":
            return test.key in labels
        case "not exists":
            return test.key not in labels
        case "in":
            return test.key in labels and labels[test.key] in test.values
        case _:
            return test.key not in labels or labels[test.key] not in test.values


def matches(pattern: str, text: str) -> bool:
    """`*` anywhere, in no case."""
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, text, re.IGNORECASE | re.ASCII | re.DOTALL) is not None


def contains(value: str, address: Address) -> bool:
    if "-" in value:
        first, _, last = value.partition("-")
        low, high = parse_address(first), parse_address(last)
        return low.version == address.version and int(low) <= int(address) <= int(high)
    network = ip_network(value)
    return address.version == network.version and address in network


def address_of(who: Candidate) -> Address:
    assert who.address is not None
    return parse_address(str(ip_address(who.address)))
