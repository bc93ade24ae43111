"""What rules can never do: keep the administrator out, or a Defender from its Console.

Every Defender lets connections in to its failsafe ports, and connects to the Console, whatever the
policy says (docs/operating/datapath.md, "What is never blocked"). So a rule that could do nothing
but prevent these is a mistake, and is refused; one that prevents more is taken, and what it can't
do is told. What a Defender can't know is that the Console on its host is what others connect to: a
policy that prevents that is refused here.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import msgspec

from cnnf.console.core.policies import some
from cnnf.console.errors import Refused
from cnnf.policy.compiled import Compiled
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.evaluation import evaluate
from cnnf.policy.objects import BUILT_IN, ObjectKind
from cnnf.policy.rules import Policy, PortRange, Rule
from cnnf.policy.selectors import Selectors
from cnnf.protocol.messages import PolicyState

#: What a Defender's `--failsafe-port` is where nobody chose, or where it has not told yet.
FAILSAFE_PORTS = frozenset(PolicyState().failsafe)
#: The failsafe ports of each Defender's host, by its name.
Failsafe = Mapping[str, frozenset[int]]
_NOWHERE: Failsafe = {}
_SHOWN = 10
_HOSTS: frozenset[ObjectKind] = frozenset(("host", "service"))


def check_failsafe(policy: Policy, failsafe: Failsafe = _NOWHERE) -> None:
    """Raises Refused for an enabled rule that prevents nothing but what is never refused."""
    kinds, anywhere = _kinds(policy), _anywhere(failsafe)
    for rule in policy.hosts:
        if not rule.ports or not _only(rule.ports, anywhere) or not _keeps_out(rule, kinds):
            continue
        if all(_only(rule.ports, ports) for ports in _there(rule, policy, failsafe)):
            raise Refused(
                f"rule {rule.name!r:.200}: TCP port {_written(rule.ports)} of a host is a failsafe "
                "port, which Defenders never refuse to those outside, so that nobody is locked "
                "out: take it out, name hosts or services as source, or write `protocol: udp`",
                code="locks-out",
                where="body",
            )


def notes(policy: Policy, failsafe: Failsafe = _NOWHERE) -> list[str]:
    """What rules of this policy can't do though they say so."""
    kinds, anywhere = _kinds(policy), _anywhere(failsafe)
    found = [
        rule.name
        for rule in policy.hosts
        if (not rule.ports or _has(rule.ports, anywhere)) and _keeps_out(rule, kinds)
    ]
    if not found:
        return []
    verb = "prevents" if len(found) == 1 else "prevent"
    told = (
        f"{some(found)} {verb} connections to hosts: those from outside to their failsafe ports "
        f"(TCP {_ports(anywhere)}), and a Defender's to the Console, are let through all the same"
    )
    return [told]


def check_console(
    compiled: Compiled, defenders: Iterable[Candidate], console: Sequence[Candidate], port: int
) -> None:
    """Raises Refused when a Defender on another host could not connect to the Console.

    `console` is the Console's host with each of its addresses, as a Defender there sees it; `port`
    is that of the Defender listener.
    """
    if not console or all(rule.effect != "prevent" for rule in compiled.rules):
        return
    for one, other in product(defenders, console):
        decision = evaluate(compiled, [one], [other], port, "tcp")
        if decision.effect == "prevent":
            name = one.identity.name if one.identity is not None else "somebody"
            raise Refused(
                f"{decision.cause} would cut Defenders off: it prevents {name:.200} from reaching "
                f"the Console's Defender listener, TCP port {port}. Put a rule before it that "
                "allows this",
                code="locks-out",
                where="body",
            )


def _keeps_out(rule: Rule, kinds: dict[str, ObjectKind]) -> bool:
    """Does it say that hosts refuse TCP from those whom no Defender protects?"""
    if not rule.enabled or rule.effect != "prevent" or rule.protocol == "udp":
        return False
    destinations = {kinds.get(name) for name in rule.destination}
    sources = {kinds.get(name) for name in rule.source}
    return (not destinations or bool(destinations & _HOSTS)) and not sources & _HOSTS


def _there(rule: Rule, policy: Policy, failsafe: Failsafe) -> list[frozenset[int]]:
    """The failsafe ports of each host that the rule may be about; of one that is not there yet,
    those that nobody chose."""
    named = [one for one in policy.objects if one.name in rule.destination and one.kind in _HOSTS]
    # A service may be on any host that its object does not leave out.
    hosts = [
        one
        if one.kind == "host"
        else msgspec.structs.replace(one, kind="host", values=("*",), labels=())
        for one in named
    ]
    selectors = Selectors(hosts)
    found = [
        ports
        for name, ports in failsafe.items()
        if not hosts or selectors.of_identity(Identity(kind="host", name=name, host=name), b"")
    ]
    return found or [FAILSAFE_PORTS]


def _anywhere(failsafe: Failsafe) -> frozenset[int]:
    return frozenset().union(*failsafe.values()) if failsafe else FAILSAFE_PORTS


def _only(ports: Iterable[PortRange], failsafe: frozenset[int]) -> bool:
    return all(low == high and low in failsafe for low, high in ports)


def _has(ports: Iterable[PortRange], failsafe: frozenset[int]) -> bool:
    return any(low <= port <= high for low, high in ports for port in failsafe)


def _written(ports: Iterable[PortRange]) -> str:
    return ", ".join(str(low) for low, _ in ports)


def _ports(failsafe: frozenset[int]) -> str:
    shown = sorted(failsafe)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(map(str, shown[:_SHOWN])) + more


def _kinds(policy: Policy) -> dict[str, ObjectKind]:
    return {**BUILT_IN, **{one.name: one.kind for one in policy.objects}}
