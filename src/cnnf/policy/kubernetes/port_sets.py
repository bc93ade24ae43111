"""Which destination ports a rule lets through, closed under intersection.

A port's name means another number on each pod, so a name stays a condition: a `Stretch` is a range
of numbers and the names that the port must have where it arrives.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cnnf.policy.kubernetes.manifests import PolicyPort
from cnnf.policy.rules import PORT_MAX, RuleProtocol

PROTOCOLS: tuple[RuleProtocol, ...] = ("tcp", "udp")


class Stretch(NamedTuple):
    """Ports from the first to the last one that have all the names on the destination."""

    low: int
    high: int
    names: frozenset[str] = frozenset()


ALL = Stretch(0, PORT_MAX)
#: For `tcp` and `udp`, what is let through.
PortSet = dict[RuleProtocol, tuple[Stretch, ...]]
EVERY_PORT: PortSet = dict.fromkeys(PROTOCOLS, (ALL,))


def port_set(ports: Iterable[PolicyPort]) -> PortSet:
    """What a rule's `ports` let through of TCP and UDP; SCTP is not judged here."""
    ports = tuple(ports)
    if not ports:
        return EVERY_PORT
    return _normal(
        {
            protocol: [_stretch(one) for one in ports if one.protocol == protocol]
            for protocol in PROTOCOLS
        }
    )


def both(one: PortSet, other: PortSet) -> PortSet:
    """The ports in both."""
    return _normal(
        {
            protocol: [
                Stretch(max(a.low, b.low), min(a.high, b.high), a.names | b.names)
                for a in one.get(protocol, ())
                for b in other.get(protocol, ())
                if max(a.low, b.low) <= min(a.high, b.high)
            ]
            for protocol in PROTOCOLS
        }
    )


def by_protocol(ports: PortSet) -> Iterable[tuple[RuleProtocol, tuple[Stretch, ...]]]:
    """The protocols to write, `any` where both have the same ports."""
    if len(ports) == len(PROTOCOLS) and len(set(ports.values())) == 1:
        yield "any", ports["tcp"]
    else:
        yield from ports.items()


def _stretch(one: PolicyPort) -> Stretch:
    if one.ports:
        return Stretch(*one.ports)
    return Stretch(0, PORT_MAX, frozenset((one.name,))) if one.name else ALL


def _normal(found: dict[RuleProtocol, list[Stretch]]) -> PortSet:
    """Without protocols that have none; ranges without names merged, in order."""
    normal: PortSet = {}
    for protocol, stretches in found.items():
        plain: list[Stretch] = []
        for one in sorted(one for one in stretches if not one.names):
            if plain and one.low <= plain[-1].high + 1:
                plain[-1] = Stretch(plain[-1].low, max(plain[-1].high, one.high))
            else:
                plain.append(one)
        named = {
            one
            for one in stretches
            if one.names and not any(p.low <= one.low and one.high <= p.high for p in plain)
        }
        if plain or named:
            normal[protocol] = (
                *plain,
                *sorted(named, key=lambda one: (one.low, one.high, sorted(one.names))),
            )
    return normal
