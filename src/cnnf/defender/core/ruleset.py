"""The offload plan: what the kernel is told, as text for `nft -f` and `iptables-restore`.

All logic lies in one nft table that is replaced in single transactions; the iptables rules never
change: they queue what the table has marked ASK. So switching a mode, a network or a generation is
one transaction, flushing the iptables rules stops the asking but no packet, and flushing the nft
table leaves iptables rules that match nothing.

A SYN's way (chains in brackets are ours):

    raw PREROUTING  [pre_known -310]  NFQUEUE in raw -300    [pre_done -290]   one container network
    INPUT           [in_known 45]     NFQUEUE in security    [in_done 160]
    FORWARD         [fwd_known 45]    NFQUEUE in security    [fwd_done 160]
    OUTPUT          [out_known 45]    NFQUEUE in security    [out_done 160]

*known* looks the flow up among the remembered ones and counts it there; *done* remembers what the
loop asked to, counts what went past without a verdict (bypass), and removes our bits.

Flows through and into the host are remembered by addresses and port. A flow from the host is
remembered by the cgroup of its socket, exactly: the deepest level the socket has, so that a
parent's flows never cover a child's. Root-cgroup processes have none and are asked about each time.
"""

from collections.abc import Iterable, Iterator

import msgspec

from cnnf.defender.core.limits import (
    CGROUP_LEVELS,
    LOG_AT_ONCE_PER_SECOND,
    SET_ELEMENTS_MAX,
)
from cnnf.defender.core.marks import Marks
from cnnf.policy.addresses import INSIDE_NETWORKS, Network

TABLE = "cnnf"
#: What stands in every iptables rule of ours, so that each is found and removed exactly.
RULE_COMMENT = "cnnf"

#: What iptables hooks we ask in: (table, chain).
ASK_HOOKS = (
    ("raw", "PREROUTING"),
    ("security", "INPUT"),
    ("security", "FORWARD"),
    ("security", "OUTPUT"),
)

#: A path that is no cgroup of any level we look at: `!=` it is true for every socket that has a
#: cgroup of that level, and breaks for one that has not.
_NO_CGROUP = '"."'


class Scopes(msgspec.Struct, frozen=True, kw_only=True):
    """Where cnnf is enabled; elsewhere it only watches (limited view)."""

    containers: bool = False
    hosts: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the table is made from."""

    marks: Marks
    queue_first: int
    queue_count: int
    log_group: int
    scopes: Scopes = Scopes()
    networks: tuple[Network, ...] = ()
    generation: int = 0


def count_sets(generation: int) -> tuple[str, ...]:
    """The sets whose counters hold a generation's flows."""
    return tuple(name for name, _ in _sets("count", generation & 1))


def _sets(role: str, parity: int) -> Iterator[tuple[str, str]]:
    """(name, key) of every set of a role ("pass" or "count") and parity."""
    yield f"{role}4_{parity}", "ip saddr . tcp dport . ip daddr"
    yield f"{role}6_{parity}", "ip6 saddr . tcp dport . ip6 daddr"
    for level in range(1, CGROUP_LEVELS + 1):
        for family, address in ((4, "ip daddr"), (6, "ip6 daddr")):
            key = f"socket cgroupv2 level {level} . {address} . tcp dport"
            yield f"{role}_l{level}v{family}_{parity}", key


def table(plan: Plan) -> str:
    """The whole table, replacing any earlier one in the same transaction."""
    lines = [f"table inet {TABLE} {{}}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    lines += _network_sets(plan.networks)
    for parity in (0, 1):
        for role, counted in (("pass", ""), ("count", " counter;")):
            for name, key in _sets(role, parity):
                lines.append(
                    f"set {name} {{ typeof {key}; size {SET_ELEMENTS_MAX}; "
                    f"flags dynamic;{counted} }}"
                )
    lines += ["counter bypassed {}", "counter uncounted {}"]
    for name, hook in _BASE_CHAINS:
        lines.append(f"chain {name} {{ type filter {hook}; policy accept; }}")
    lines += [f"chain {name} {{}}" for name in _jump_chains()]
    lines.append("}")
    return "\n".join([*lines, *_rules(plan)]) + "\n"


def switch(plan: Plan) -> str:
    """Make `plan` the table's rules without touching its sets of flows: one transaction.

    Used for a new generation, a new mode and new networks alike.
    """
    lines = [f"flush chain inet {TABLE} {name}" for name, _ in _BASE_CHAINS]
    lines += [f"flush chain inet {TABLE} {name}" for name in _jump_chains()]
    for family in (4, 6):
        lines.append(f"flush set inet {TABLE} containers{family}")
        lines.append(f"flush set inet {TABLE} same{family}")
    for name, elements in _network_elements(plan.networks):
        if elements:
            lines.append(f"add element inet {TABLE} {name} {{ {elements} }}")
    return "\n".join([*lines, *_rules(plan)]) + "\n"


def forget(generation: int) -> str:
    """Empty a generation's sets, once they have been read."""
    names = (name for role in ("pass", "count") for name, _ in _sets(role, generation & 1))
    return "".join(f"flush set inet {TABLE} {name}\n" for name in names)


def remove() -> str:
    """Remove the table; also right when there is none."""
    return f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n"


def iptables_rules(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The rules an iptables front end gets, by table: queue what is marked ASK and not judged."""
    last = plan.queue_first + plan.queue_count - 1
    queue = f"--queue-num {plan.queue_first}"
    if plan.queue_count > 1:
        queue = f"--queue-balance {plan.queue_first}:{last} --queue-cpu-fanout"
    rules: dict[str, tuple[str, ...]] = {}
    for name, chain in ASK_HOOKS:
        rule = (
            f"-A {chain} -p tcp --tcp-flags FIN,SYN,RST,ACK SYN "
            f"-m mark --mark {plan.marks.ask:#x}/{plan.marks.mask:#x} "
            f"-m comment --comment {RULE_COMMENT} -j NFQUEUE {queue} --queue-bypass"
        )
        rules[name] = (*rules.get(name, ()), rule)
    return rules


_BASE_CHAINS = (
    ("pre_known", "hook prerouting priority -310"),
    ("pre_done", "hook prerouting priority -290"),
    ("in_known", "hook input priority 45"),
    ("in_done", "hook input priority 160"),
    ("fwd_known", "hook forward priority 45"),
    ("fwd_done", "hook forward priority 160"),
    ("out_known", "hook output priority 45"),
    ("out_done", "hook output priority 160"),
)

_SYN = "tcp flags & (fin|syn|rst|ack) == syn"


def _jump_chains() -> Iterator[str]:
    yield from (f"{name}_syn" for name, _ in _BASE_CHAINS)
    yield from ("ask", "watch", "done", "ask_out", "done_out", "done_out_deeper")
    for level in range(1, CGROUP_LEVELS + 1):
        yield f"ask_out_l{level}"
        yield f"done_out_l{level}"


def _network_sets(networks: Iterable[Network]) -> Iterator[str]:
    elements = dict(_network_elements(networks))
    for family in (4, 6):
        kind = f"ipv{family}_addr"
        inside = ", ".join(text for text in INSIDE_NETWORKS if (":" in text) == (family == 6))
        for name, type_, content in (
            (f"inside{family}", kind, inside),
            (f"containers{family}", kind, elements[f"containers{family}"]),
            (f"same{family}", f"{kind} . {kind}", elements[f"same{family}"]),
        ):
            filled = f" elements = {{ {content} }};" if content else ""
            merge = "" if "." in type_ else " auto-merge;"
            yield f"set {name} {{ type {type_}; flags interval;{merge}{filled} }}"


def _network_elements(networks: Iterable[Network]) -> Iterator[tuple[str, str]]:
    ordered = sorted(set(networks), key=lambda network: (network.version, str(network)))
    for family in (4, 6):
        texts = [str(network) for network in ordered if network.version == family]
        yield f"containers{family}", ", ".join(texts)
        # The kernel refuses a pair that lies within another one, so of nested networks (a stated
        # one around an engine's own) the widest counts as the one network.
        widest = [
            str(network)
            for network in ordered
            if network.version == family
            and not any(_within(network, other) for other in ordered if other != network)
        ]
        yield f"same{family}", ", ".join(f"{text} . {text}" for text in widest)


def _within(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and inner.network_address in outer
    )


def _rules(plan: Plan) -> Iterator[str]:
    for name, _ in _BASE_CHAINS:
        # One comparison is all that a packet of an established connection meets in a hook.
        yield f"add rule inet {TABLE} {name} {_SYN} goto {name}_syn"
    for chain, rules in (
        *_entry_rules(plan),
        *_shared_rules(plan),
        *_ask_rules(plan),
        *_done_rules(plan),
    ):
        for rule in rules:
            yield f"add rule inet {TABLE} {chain} {rule}"


def _entry_rules(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """Which SYNs concern us, hook by hook."""
    marks = plan.marks
    clear = f"meta mark set meta mark & {marks.keep:#x}"
    judged = f"meta mark & {marks.judged:#x} != 0 return"
    containers = "ask" if plan.scopes.containers else "watch"
    either = "ask" if plan.scopes.containers or plan.scopes.hosts else "watch"
    # Nobody else sets our bits: cleared where a packet comes in or is made.
    yield (
        "pre_known_syn",
        [
            clear,
            *(
                f"{ip} saddr . {ip} daddr @same{family} fib daddr type != local goto {containers}"
                for family, ip in ((4, "ip"), (6, "ip6"))
            ),
        ],
    )
    yield ("fwd_known_syn", [judged, *_forward_rules(plan)])
    yield (
        "in_known_syn",
        [
            # Loopback is judged where it is made.
            'iifname "lo" return',
            *(
                f"{ip} saddr @containers{family} goto {either}"
                for family, ip in ((4, "ip"), (6, "ip6"))
            ),
            *(["goto ask"] if plan.scopes.hosts else []),
        ],
    )
    yield ("out_known_syn", [clear, *_output_rules(plan)])


def _forward_rules(plan: Plan) -> Iterator[str]:
    for family, ip in ((4, "ip"), (6, "ip6")):
        source, target = f"{ip} saddr @containers{family}", f"{ip} daddr @containers{family}"
        if plan.scopes.containers:
            yield f"{source} goto ask"
            yield f"{target} goto ask"
        else:
            yield f"{source} {target} goto watch"
            yield f"{source} {ip} daddr != @inside{family} goto watch"


def _output_rules(plan: Plan) -> Iterator[str]:
    if plan.scopes.hosts:
        yield "goto ask_out"
        return
    for family, ip in ((4, "ip"), (6, "ip6")):
        towards = "ask_out" if plan.scopes.containers else "watch"
        yield f"{ip} daddr @containers{family} goto {towards}"
        yield f"{ip} daddr != @inside{family} goto watch"
    yield "fib daddr type local goto watch"


def _shared_rules(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    at_once = f"limit rate {LOG_AT_ONCE_PER_SECOND}/second burst {LOG_AT_ONCE_PER_SECOND} packets"
    log = f"log group {plan.log_group} snaplen 128"
    # Marked as judged so that a later hook of the same packet does not log it again.
    yield (
        "watch",
        [
            f"meta mark set meta mark | {plan.marks.judged:#x}",
            # Told at once while there are few, since nobody waits for us here and a short-lived
            # client is soon gone; in batches when there are many.
            f"{at_once} {log} queue-threshold 1 return",
            f"{log} queue-threshold 32",
        ],
    )


def _known(plan: Plan, pass_set: str, key: str) -> str:
    """Known: count it and be done. A full counting set costs the count, which is itself counted."""
    parity = plan.generation & 1
    count_set = pass_set.replace("pass", "count", 1)
    return (
        f"{key} @{pass_set}_{parity} meta mark set meta mark | {plan.marks.judged:#x} "
        f"add @{count_set}_{parity} {{ {key} }} return"
    )


def _ask_rules(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    ask = f"meta mark set meta mark | {plan.marks.ask:#x}"
    by_address = [_known(plan, f"pass{family}", _address_key(family)) for family in (4, 6)]
    yield ("ask", [*by_address, ask])
    deeper = f"socket cgroupv2 level {CGROUP_LEVELS + 1} != {_NO_CGROUP}"
    yield ("ask_out", [f"{deeper} {ask} return", *_by_level("ask_out"), ask])
    for level in range(1, CGROUP_LEVELS + 1):
        by_cgroup = [
            _known(plan, f"pass_l{level}v{family}", _cgroup_key(level, family)) for family in (4, 6)
        ]
        yield (f"ask_out_l{level}", [*by_cgroup, ask])


def _by_level(chain: str) -> Iterator[str]:
    """Deepest first, so that a socket is found under its own cgroup and not under a parent's."""
    for level in range(CGROUP_LEVELS, 0, -1):
        yield f"socket cgroupv2 level {level} != {_NO_CGROUP} goto {chain}_l{level}"


def _done_rules(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    marks, parity = plan.marks, plan.generation & 1
    clear = f"meta mark set meta mark & {marks.keep:#x}"
    ours = f"meta mark & {marks.mask:#x}"
    remembered = f"{marks.remembered(plan.generation):#x}"
    bypassed = f"{ours} == {marks.ask:#x} counter name bypassed"
    yield (
        "pre_done_syn",
        [
            f"{ours} == {remembered} jump done",
            f"{bypassed} jump done",
            # Later hooks of the same packet pass it by this bit; the last of them clears it.
            f"{ours} != 0 {clear} | {marks.judged:#x}",
        ],
    )
    for hook in ("in", "fwd", "out"):
        where = "done_out" if hook == "out" else "done"
        yield (
            f"{hook}_done_syn",
            [
                f"{ours} == {remembered} jump {where}",
                f"{bypassed} jump {where}",
                f"{ours} != 0 {clear}",
            ],
        )
    yield ("done", _done(plan, "", (_address_key(4), _address_key(6)), parity))
    # A socket that lies deeper has an ancestor at our deepest level, but that is not its own name.
    deeper = f"socket cgroupv2 level {CGROUP_LEVELS + 1} != {_NO_CGROUP}"
    yield (
        "done_out",
        [
            f"{deeper} goto done_out_deeper",
            *_by_level("done_out"),
            *_bypassed_only(plan, parity),
        ],
    )
    yield ("done_out_deeper", _bypassed_only(plan, parity))
    for level in range(1, CGROUP_LEVELS + 1):
        keys = (_cgroup_key(level, 4), _cgroup_key(level, 6))
        yield (f"done_out_l{level}", _done(plan, f"_l{level}v", keys, parity))


def _done(plan: Plan, infix: str, keys: tuple[str, str], parity: int) -> list[str]:
    """Remember what was judged; count what was not: a bypassed SYN still makes an edge."""
    judged = f"meta mark & {plan.marks.judged:#x}"
    rules = []
    for family, key in zip((4, 6), keys, strict=True):
        name = f"{infix}{family}_{parity}"
        rules.append(f"{judged} != 0 add @pass{name} {{ {key} }} return")
        rules.append(f"{judged} == 0 add @count{name} {{ {key} }} return")
    rules.append(f"{judged} == 0 counter name uncounted")
    return rules


def _bypassed_only(plan: Plan, parity: int) -> list[str]:
    judged = f"meta mark & {plan.marks.judged:#x}"
    rules = [
        f"{judged} == 0 add @count{family}_{parity} {{ {_address_key(family)} }} return"
        for family in (4, 6)
    ]
    return [*rules, f"{judged} == 0 counter name uncounted"]


def _address_key(family: int) -> str:
    ip = "ip" if family == 4 else "ip6"
    return f"{ip} saddr . tcp dport . {ip} daddr"


def _cgroup_key(level: int, family: int) -> str:
    ip = "ip" if family == 4 else "ip6"
    return f"socket cgroupv2 level {level} . {ip} daddr . tcp dport"
