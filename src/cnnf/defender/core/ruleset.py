"""The offload plan: what the kernel is told, as text for `nft -f`.

All of it lies in one nft table that is changed in single transactions. A hook costs every packet
that passes it, so there is one chain a hook and no more, and a packet of an established connection
meets one comparison there. A new connection's first packet goes

    looked up among the remembered flows -> counted, let through or refused
    not found -> `handover`: to a packet loop -> the same chain again, now with the loop's answer in
                 the mark: remembered, refused or let through, and the mark as it was before

The loop answers REPEAT: the kernel calls the chain that asked once more, so that nothing of anybody
else's is passed by, and a packet leaves the hook with the mark it came with, which is why policy
routing does not notice. The rule in `handover` is iptables' NFQUEUE target, which the `nft` program
can't write: it is put there once by `kernel/table.py`, and never touched again. So is the one in
`dns_held`, which hands answers of DNS to the daemon while rules go by names (`dns_chains.py`).

The hooks (`chains.base`): after every translation of the destination, before that of the source,
and after the host's own firewall, so that addresses are the real ones and what the host drops
anyway is never seen. Bridged packets between containers of one network are judged in PREROUTING,
because later a bridge may have made copies of them, which the kernel drops when they come back.

Flows through and into the host are remembered by addresses and port. A flow from the host is
remembered by the cgroup of its socket, exactly: the deepest level the socket has, so that a
parent's flows never cover a child's. Root-cgroup processes have none and are asked about each time.

Counts: a counter is what costs most of an element (one for each processor), so a flow that comes
once gets none. `pass` and `refuse` only remember; the loop has counted the packet that put an
element there, and the next one makes the element of `passed` or `refused`, which counts it and all
that follow. Where nobody else counts the first one, a set without counters does: `answered_first`
and `answered`, `asked_first` and `asked` add up. The last two are read only when more was asked
than the loops have answered.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal

import msgspec

from cnnf.defender.core import chains, dns_chains
from cnnf.defender.core.limits import CGROUP_LEVELS, SET_ELEMENTS_MAX
from cnnf.defender.core.plan import Plan, Role, address_key, cgroup_key
from cnnf.policy.addresses import INSIDE_NETWORKS, Network

TABLE = "cnnf"
#: The chain whose only rule hands packets to the loops.
HANDOVER = "handover"
COUNTERS = ("asked", "unremembered", "failsafe", dns_chains.COUNTER)

_BY_CGROUP: tuple[Role, ...] = ("pass", "passed", "refuse", "refused")
_BY_ADDRESS: tuple[Role, ...] = (
    *_BY_CGROUP,
    *("answered_first", "answered", "reset", "asked_first", "asked"),
)
_WITH_COUNTER = frozenset({"passed", "refused", "answered", "reset", "asked"})
#: What is not read: nothing in there counts.
_MEMORY = frozenset({"pass", "refuse"})
_ASKED = frozenset({"asked_first", "asked"})


class FlowSet(msgspec.Struct, frozen=True):
    """A set of flows. `level` is 0 where the key begins with a source address."""

    name: str
    role: Role
    family: Literal[4, 6]
    level: int


def flow_sets(plan: Plan, generation: int) -> tuple[FlowSet, ...]:
    """All sets of flows of a generation."""
    return tuple(one for one, _ in _sets(plan.levels, generation & 1))


def count_sets(plan: Plan, generation: int, *, asked: bool) -> tuple[FlowSet, ...]:
    """The sets of a generation that count something."""
    left_out = _MEMORY if asked else _MEMORY | _ASKED
    return tuple(one for one in flow_sets(plan, generation) if one.role not in left_out)


# Counting asks for them every other second.
@lru_cache(2 * CGROUP_LEVELS)
def _sets(levels: int, parity: int) -> tuple[tuple[FlowSet, str], ...]:
    return tuple(_each_set(levels, parity))


def _each_set(levels: int, parity: int) -> Iterator[tuple[FlowSet, str]]:
    families: tuple[Literal[4, 6], ...] = (4, 6)
    for role in _BY_ADDRESS:
        for family in families:
            name = f"{role}{family}_{parity}"
            yield FlowSet(name, role, family, 0), address_key(family)
    for level in range(1, levels + 1):
        for role in _BY_CGROUP:
            for family in families:
                name = f"{role}_l{level}v{family}_{parity}"
                yield FlowSet(name, role, family, level), cgroup_key(level, family)


def table(plan: Plan) -> str:
    """The whole table, replacing any earlier one in the same transaction."""
    lines = [f"table inet {TABLE} {{}}", f"delete table inet {TABLE}", f"add table inet {TABLE}"]
    lines += [f"add counter inet {TABLE} {name}" for name in COUNTERS]
    lines += [f"add chain inet {TABLE} {name}" for name in (HANDOVER, dns_chains.HELD)]
    lines += _network_sets()
    return "\n".join([*lines, *_content(plan)]) + "\n"


def switch(plan: Plan, before: Plan) -> str:
    """Make `plan` the table's rules without touching its sets of flows: one transaction.

    Used for a new generation, a new mode and new networks alike. A hook that is no longer needed
    is taken out, since an empty chain costs as much as one with a rule.
    """
    lines = [f"flush chain inet {TABLE} {name}" for name in chains.rules(before)]
    hooks = chains.base(plan)
    lines += [
        f"delete chain inet {TABLE} {name}" for name in chains.base(before) if name not in hooks
    ]
    for family in (4, 6):
        for name in ("containers", "same", "console"):
            lines.append(f"flush set inet {TABLE} {name}{family}")
    lines.append(f"flush set inet {TABLE} failsafe")
    return "\n".join([*lines, *_content(plan)]) + "\n"


def forget(plan: Plan, generation: int) -> str:
    """Empty a generation's sets, once they have been read."""
    return "".join(f"flush set inet {TABLE} {one.name}\n" for one in flow_sets(plan, generation))


def remove() -> str:
    """Remove the table; also right when there is none."""
    return f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n"


def rules_by_chain(plan: Plan) -> dict[str, int]:
    """How many rules stand in each chain while the plan is in force: what is checked against."""
    return {HANDOVER: 1, dns_chains.HELD: 1} | {
        name: len(rules) for name, rules in chains.rules(plan).items()
    }


def _content(plan: Plan) -> Iterator[str]:
    """Sets that may be missing yet, elements, chains and rules: what a plan puts in force."""
    for parity in (0, 1):
        for one, key in _sets(plan.levels, parity):
            counter = " counter;" if one.role in _WITH_COUNTER else ""
            yield (
                f"add set inet {TABLE} {one.name} {{ typeof {key}; size {SET_ELEMENTS_MAX}; "
                f"flags dynamic;{counter} }}"
            )
    for line in dns_chains.sets(plan):
        yield f"add set inet {TABLE} {line}"
    for name, elements in _elements(plan):
        if elements:
            yield f"add element inet {TABLE} {name} {{ {elements} }}"
    hooks = chains.base(plan)
    rules = chains.rules(plan)
    for name in rules:
        hook = f" {{ type filter {hooks[name]}; policy accept; }}" if name in hooks else ""
        yield f"add chain inet {TABLE} {name}{hook}"
    for name, lines in rules.items():
        for line in lines:
            yield f"add rule inet {TABLE} {name} {line}"


def _network_sets() -> Iterator[str]:
    for family in (4, 6):
        kind = f"ipv{family}_addr"
        inside = ", ".join(text for text in INSIDE_NETWORKS if (":" in text) == (family == 6))
        interval = "flags interval; auto-merge;"
        yield (
            f"add set inet {TABLE} inside{family} "
            f"{{ type {kind}; {interval} elements = {{ {inside} }}; }}"
        )
        yield f"add set inet {TABLE} containers{family} {{ type {kind}; {interval} }}"
        yield f"add set inet {TABLE} same{family} {{ type {kind} . {kind}; flags interval; }}"
        yield f"add set inet {TABLE} console{family} {{ type {kind} . inet_service; }}"
    yield f"add set inet {TABLE} failsafe {{ type inet_service; }}"


def _elements(plan: Plan) -> Iterator[tuple[str, str]]:
    ordered = sorted(set(plan.networks), key=lambda network: (network.version, str(network)))
    for family in (4, 6):
        of_family = [network for network in ordered if network.version == family]
        yield f"containers{family}", ", ".join(map(str, of_family))
        # The kernel refuses a pair that lies within another one, so of nested networks (a stated
        # one around an engine's own) the widest counts as the one network.
        widest = [
            str(network)
            for network in of_family
            if not any(_within(network, other) for other in of_family if other != network)
        ]
        yield f"same{family}", ", ".join(f"{text} . {text}" for text in widest)
        places = [place for place in plan.console if place[0].version == family]
        yield f"console{family}", ", ".join(_texts(places))
    yield "failsafe", ", ".join(map(str, plan.failsafe))


def _texts(places: Iterable[tuple[object, int]]) -> list[str]:
    return sorted({f"{address} . {port}" for address, port in places})


def _within(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and inner.network_address in outer
    )
