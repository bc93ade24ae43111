"""Policies of any size in the YAML form, for traffic of this run's own service. Pure.

Every rule but the last lets the service talk to some single addresses, spread over the rules in
no order; the last is for ports that nobody uses here. So each first contact is decided by a rule
anywhere in the list, or by none.
"""

import json
import random
from ipaddress import IPv4Address

#: What follows the addresses that are connected to: known, but never met.
_ELSEWHERE = int(IPv4Address("10.128.0.0"))


def policy(service: str, rules: int, addresses: int, met: str, met_count: int) -> str:
    """The text of a policy with so many rules, and so many addresses spread over them.

    The first `met_count` of the addresses are those from `met` on. The same arguments make the same
    text. Raises ValueError for fewer than two rules, or fewer addresses than rules that name some.
    """
    naming = rules - 1
    if naming < 1 or addresses < naming:
        raise ValueError(f"{rules} rules with {addresses} addresses")
    first = int(IPv4Address(met))
    known = [first + number for number in range(min(met_count, addresses))]
    known += [_ELSEWHERE + number for number in range(addresses - len(known))]
    order = random.Random(rules)
    order.shuffle(known)
    texts = [str(IPv4Address(address)) for address in known]
    lines = [
        "apiVersion: cnnf/v1",
        "networkObjects:",
        _line({"name": "service", "type": "service", "values": [service]}),
    ]
    lines += [
        _line({"name": f"peers-{number}", "type": "subnet", "values": texts[number::naming]})
        for number in range(naming)
    ]
    lines += ["rules:", "  hosts:"]
    for number in range(naming):
        further = order.randrange(10_000, 60_000)
        lines.append(_rule(f"rule-{number}", [f"peers-{number}"], ["1024-9999", str(further)]))
    lines.append(_rule("last", [], ["1-1023"]))
    return "\n".join(lines) + "\n"


def _rule(name: str, destination: list[str], ports: list[str]) -> str:
    rule = {"name": name, "source": ["service"], "ports": ports, "protocol": "tcp"}
    return _line(rule | ({"destination": destination} if destination else {}) | {"effect": "allow"})


def _line(fields: object) -> str:
    # JSON is YAML, in one line.
    return f"    - {json.dumps(fields)}"
