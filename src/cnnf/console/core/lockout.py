"""What rules can never do: keep the administrator out, or a Defender from its Console.

Every Defender lets connections in to its failsafe ports, and connects to the Console, whatever the
policy says (docs/operating/datapath.md, "What is never blocked"). So a rule that could do nothing
but prevent these is a mistake, and is refused; one that prevents more is taken, and what it can't
do is told. What a Defender can't know is that the Console on its host is what others connect to: a
policy that prevents that is refused here.
"""

from collections.abc import Iterable, Sequence
from itertools import product

from cnnf.console.core.policies import some
from cnnf.console.errors import Refused
from cnnf.policy.compiled import Compiled
from cnnf.policy.endpoints import Candidate
from cnnf.policy.evaluation import evaluate
from cnnf.policy.objects import BUILT_IN, ObjectKind
from cnnf.policy.rules import Policy, PortRange, Rule

#: What a Defender's `--failsafe-port` is where nobody chose; it does not tell the Console.
FAILSAFE_PORTS = frozenset((22,))
_HOSTS: frozenset[ObjectKind] = frozenset(("host", "service"))


def check_failsafe(policy: Policy) -> None:
    """Raises Refused for an enabled rule that prevents nothing but what is never refused."""
    kinds = _kinds(policy)
    for rule in policy.hosts:
        if rule.ports and _only_failsafe(rule.ports) and _keeps_out(rule, kinds):
            raise Refused(
                f"rule {rule.name!r:.200}: TCP port {_written(rule.ports)} of a host is a failsafe "
                "port, which Defenders never refuse to those outside, so that nobody is locked "
                "out: take it out, name hosts or services as source, or write `protocol: udp`",
                code="locks-out",
                where="body",
            )


def notes(policy: Policy) -> list[str]:
    """What rules of this policy can't do though they say so."""
    kinds = _kinds(policy)
    found = [
        rule.name
        for rule in policy.hosts
        if (not rule.ports or _has_failsafe(rule.ports)) and _keeps_out(rule, kinds)
    ]
    if not found:
        return []
    verb = "prevents" if len(found) == 1 else "prevent"
    told = (
        f"{some(found)} {verb} connections to hosts: those from outside to their failsafe ports "
        "(TCP 22, or those of --failsafe-port), and a Defender's to the Console, are let through "
        "all the same"
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


def _only_failsafe(ports: Iterable[PortRange]) -> bool:
    return all(low == high and low in FAILSAFE_PORTS for low, high in ports)


def _has_failsafe(ports: Iterable[PortRange]) -> bool:
    return any(low <= port <= high for low, high in ports for port in FAILSAFE_PORTS)


def _written(ports: Iterable[PortRange]) -> str:
    return ", ".join(str(low) for low, _ in ports)


def _kinds(policy: Policy) -> dict[str, ObjectKind]:
    return {**BUILT_IN, **{one.name: one.kind for one in policy.objects}}
