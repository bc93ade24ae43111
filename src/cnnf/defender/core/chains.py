"""The rules of the nft table, chain by chain; why they are as they are is told in `ruleset.py`.

Order within a chain is by what most packets need: a known flow's first packet is done after two or
three rules. Chains that others go to come first, since nft wants to know them.
"""

from collections.abc import Iterator

from cnnf.defender.core import dns_chains
from cnnf.defender.core.limits import LOG_AT_ONCE_PER_SECOND
from cnnf.defender.core.plan import Plan, address_key, cgroup_key, reply_key

_FAMILIES = ((4, "ip"), (6, "ip6"))

#: Bytes 12 to 15 of a TCP header, with the flags in the second; four bytes are what nft compares
#: fastest. Read without a test for TCP, which would cost every packet two more comparisons: what is
#: no TCP and looks alike is turned away later.
_FLAGS = "@th,96,32"
_FLAGGED = f"{_FLAGS} & 0x00060000 != 0x0"  # SYN or RST: the first packets of either direction
_SYN = f"{_FLAGS} & 0x00170000 == 0x00020000"
_SYN_ACK = f"{_FLAGS} & 0x00170000 == 0x00120000"
_NO_TCP = "meta l4proto != tcp return"
#: A closed port's answer to a SYN has no sequence number of its own (RFC 9293, 3.10.7.1).
_REFUSAL = f"{_FLAGS} & 0x00170000 == 0x00140000 @th,32,32 0x0"
#: A reset that we have made ourselves bears the address of one who is elsewhere.
_OWN_REFUSALS = {
    "input": [f"iif lo {_REFUSAL} fib saddr type != local return"],
    "output": [f"{_REFUSAL} fib saddr type != local return"],
}
#: A conntrack entry's first packet: it is confirmed only after all hooks.
_FIRST_UDP = "meta l4proto udp ct direction original ct status & confirmed == 0x0"

#: A path that is no cgroup of any level we look at: `!=` it is true for every socket that has a
#: cgroup of that level, and breaks for one that has not.
_NO_CGROUP = '"."'

#: After the host's own firewall (filter, 0), before the source's translation on INPUT (100).
_PRIORITY = 90

Chains = dict[str, list[str]]


def base(plan: Plan) -> dict[str, str]:
    """The hooks a plan needs, by chain."""
    hooks = {}
    if plan.bridged and plan.networks:
        # After raw's own rules, before conntrack.
        hooks["at_prerouting"] = "hook prerouting priority -290"
        if plan.udp:
            # Conntrack tells the first packet; before the destination is translated.
            hooks["at_prerouting_udp"] = "hook prerouting priority -160"
    if plan.prevents or plan.guarded:
        # Before everybody else's, who may set marks of their own by it.
        hooks["at_output_first"] = "hook output priority -450"
    for chain in ("input", "forward", "output"):
        hooks[f"at_{chain}"] = f"hook {chain} priority {_PRIORITY}"
    return hooks


def rules(plan: Plan) -> Chains:
    """Every chain's rules, but the one of `handover`."""
    made = {
        **_ends(plan),
        **_done(plan),
        **_output(plan),
        **_answers(plan),
        **dns_chains.rules(plan),
        **_prerouting(plan),
        "forward_syn": _forward(plan),
        "input_syn": _input(plan),
    }
    hooks = base(plan)
    if "at_prerouting" in hooks:
        made["at_prerouting"] = [f"{_SYN} meta l4proto tcp goto prerouting_syn"]
    if "at_prerouting_udp" in hooks:
        made["at_prerouting_udp"] = [f"{_FIRST_UDP} goto prerouting_syn"]
    if "at_output_first" in hooks:
        # A socket may set a mark that looks like an answer of ours (SO_MARK, for which CAP_NET_RAW
        # is enough): what it says of our bits is not heard. Elsewhere packets come without marks.
        made["at_output_first"] = [f"{_Mark(plan).is_ours} {_Mark(plan).clear}"]
    for hook in ("input", "forward", "output"):
        answers = "host_answers" if hook != "forward" else "forward_answers"
        first_udp = [f"{_FIRST_UDP} goto {hook}_syn"] if plan.udp else []
        made[f"{hook}_flagged"] = [
            # What is no TCP looks alike if its sender likes: a `return` from here is no way back.
            *([*first_udp, _NO_TCP] if plan.udp else []),
            f"{_SYN} goto {hook}_syn",
            *([] if plan.udp else [_NO_TCP]),
            # What is within the host comes by on OUTPUT and INPUT: counted on INPUT.
            *(["oif lo return"] if hook == "output" else []),
            f"{_SYN_ACK} goto {answers}_answered",
            *_OWN_REFUSALS.get(hook, ()),
            f"{_REFUSAL} goto {answers}_reset",
        ]
        dns = dns_chains.entry(plan, hook)
        made[f"at_{hook}"] = [f"{_FLAGGED} goto {hook}_flagged", *dns, *first_udp]
    return made


class _Mark:
    """What rules say about our bits."""

    def __init__(self, plan: Plan) -> None:
        marks = plan.marks
        ours = f"meta mark & {marks.mask:#x}"
        self.is_ours = f"{ours} != 0x0"
        self.clear = f"meta mark set meta mark & {marks.keep:#x}"
        self.only_judged = f"{self.clear} | {marks.judged:#x}"
        self.is_judged = f"meta mark & {marks.judged:#x} != 0x0"
        self.keep_pass = f"{ours} == {marks.remembered(plan.generation):#x}"
        self.keep_refuse = f"{ours} == {marks.remembered(plan.generation, refuse=True):#x}"
        self.refuse = f"meta mark & {marks.refuse:#x} != 0x0"


# --- where a packet ends up


def _ends(plan: Plan) -> Chains:
    at_once = f"limit rate {LOG_AT_ONCE_PER_SECOND}/second burst {LOG_AT_ONCE_PER_SECOND} packets"
    log = f"log group {plan.log_group} snaplen 128"
    parity = plan.generation & 1
    refuse = ["drop"]
    if plan.refuse_with == "reset":
        refuse = [
            "meta l4proto tcp reject with tcp reset",
            "reject with icmpx port-unreachable",
        ]
    asks = []
    for family, _ in _FAMILIES:
        key = address_key(family)
        first, more = (f"@{role}{family}_{parity}" for role in ("asked_first", "asked"))
        asks += [
            f"{key} {first} add {more} {{ {key} }} counter name asked goto handover",
            f"add {first} {{ {key} }} counter name asked goto handover",
        ]
    return {
        "refuse": refuse,
        # Told at once while there are few, since nobody waits for us here and a short-lived client
        # is soon gone; in batches when there are many.
        "watch": [f"{at_once} {log} queue-threshold 1 return", f"{log} queue-threshold 32"],
        # The last one for when the sets are full.
        "ask": [*asks, "counter name asked goto handover"],
    }


def _done(plan: Plan) -> Chains:
    """The loop has answered; by addresses, where the host is not the one who connects."""
    mark, parity = _Mark(plan), plan.generation & 1
    made: Chains = {}
    for suffix, leave in (("", mark.clear), ("_bridged", mark.only_judged)):
        made[f"keep_pass{suffix}"] = [
            *(
                _remember("pass", f"{family}_{parity}", address_key(family), leave, "return")
                for family, _ in _FAMILIES
            ),
            f"{leave} counter name unremembered",
        ]
        made[f"keep_refuse{suffix}"] = [
            *(
                _remember(
                    "refuse", f"{family}_{parity}", address_key(family), mark.clear, "goto refuse"
                )
                for family, _ in _FAMILIES
            ),
            f"{mark.clear} counter name unremembered goto refuse",
        ]
        made[f"done{suffix}"] = _answer(mark, f"keep_pass{suffix}", f"keep_refuse{suffix}", leave)
    return made


def _answer(mark: _Mark, keep_pass: str, keep_refuse: str, leave: str) -> list[str]:
    return [
        f"{mark.keep_pass} goto {keep_pass}",
        f"{mark.keep_refuse} goto {keep_refuse}",
        f"{mark.refuse} {mark.clear} goto refuse",
        leave,
    ]


def _remember(role: str, suffix: str, key: str, leave: str, end: str) -> str:
    return f"{leave} add @{role}{suffix} {{ {key} }} {end}"


# --- where it comes in


def _known(plan: Plan, infix: str, keys: Iterator[str], leave: str = "") -> Iterator[str]:
    parity = plan.generation & 1
    by_family = [
        (key, f"{infix}{family}_{parity}") for (family, _), key in zip(_FAMILIES, keys, strict=True)
    ]
    for key, suffix in by_family:
        yield f"{key} @passed{suffix} {leave}return"
    if plan.prevents:
        for key, suffix in by_family:
            yield f"{key} @refused{suffix} goto refuse"
    # Seen once before. When there is no room to count it, it is asked about.
    for key, suffix in by_family:
        yield f"{key} @pass{suffix} add @passed{suffix} {{ {key} }} {leave}return"
    if plan.prevents:
        for key, suffix in by_family:
            yield f"{key} @refuse{suffix} add @refused{suffix} {{ {key} }} goto refuse"


def _by_address(plan: Plan, leave: str = "") -> Iterator[str]:
    return _known(plan, "", (address_key(family) for family, _ in _FAMILIES), leave)


def _lookalikes(plan: Plan) -> list[str]:
    """Turns away what only looked like a SYN, once known flows are done with; with UDP judged too
    that has happened before."""
    return [] if plan.udp else [_NO_TCP]


def _prerouting(plan: Plan) -> Chains:
    """Within one container network, over a bridge."""
    mark = _Mark(plan)
    asked = "ask" if plan.scopes.containers else "watch"
    # Later hooks of the same packet pass it by this bit; the last of them clears it.
    watched = f"{mark.only_judged} " if asked == "watch" else ""
    known = _by_address(plan, f"{mark.only_judged} ") if asked == "ask" else ()
    return {
        "bridged": [*known, f"{watched}goto {asked}"],
        "prerouting_syn": [
            f"{mark.is_judged} goto done_bridged",
            *(
                f'meta iifkind "bridge" {ip} saddr . {ip} daddr @same{family} '
                "fib daddr type != local goto bridged"
                for family, ip in _FAMILIES
            ),
        ],
    }


def _forward(plan: Plan) -> list[str]:
    made = [f"{_Mark(plan).is_judged} goto done"]
    if plan.scopes.containers:
        made += _by_address(plan)
    made += _lookalikes(plan)
    for family, ip in _FAMILIES:
        source, target = f"{ip} saddr @containers{family}", f"{ip} daddr @containers{family}"
        if plan.scopes.containers:
            made += [f"{source} goto ask", f"{target} goto ask"]
        else:
            made += [
                f"{source} {target} goto watch",
                f"{source} {ip} daddr != @inside{family} goto watch",
            ]
    return made


def _input(plan: Plan) -> list[str]:
    # Loopback is judged where it is made.
    made = ["iif lo return", f"{_Mark(plan).is_judged} goto done"]
    parity = plan.generation & 1
    if plan.scopes.any:
        made += _by_address(plan)
    made += _lookalikes(plan)
    if plan.scopes.any:
        for family, _ in _FAMILIES:
            # As if it were known: never asked about, and counted all the same.
            made.append(
                f"meta l4proto tcp th dport @failsafe counter name failsafe "
                f"add @passed{family}_{parity} {{ {address_key(family)} }} return"
            )
        made.append("meta l4proto tcp th dport @failsafe return")
        # Where it is here, others come to it.
        made += _to_console(plan)
    either = "ask" if plan.scopes.any else "watch"
    made += [f"{ip} saddr @containers{family} goto {either}" for family, ip in _FAMILIES]
    if plan.scopes.hosts:
        made.append("goto ask")
    return made


def _output(plan: Plan) -> Chains:
    """The host's own connections, by the cgroup of their socket."""
    mark, parity = _Mark(plan), plan.generation & 1
    levels = range(plan.levels, 0, -1)
    deeper = f"socket cgroupv2 level {plan.levels + 1} != {_NO_CGROUP}"
    enabled = plan.scopes.any
    made: Chains = {"output_unknown": list(_output_unknown(plan))}
    for level in levels:
        keys = {family: cgroup_key(level, family) for family, _ in _FAMILIES}
        if enabled:
            made[f"output_l{level}"] = [
                *_known(plan, f"_l{level}v", iter(keys.values())),
                "goto output_unknown",
            ]
        for role, end in (("pass", "return"), ("refuse", "goto refuse")):
            made[f"keep_{role}_output_l{level}"] = [
                *(
                    _remember(role, f"_l{level}v{family}_{parity}", key, mark.clear, end)
                    for family, key in keys.items()
                ),
                f"{mark.clear} counter name unremembered {end}",
            ]
    for role, end in (("pass", "return"), ("refuse", "goto refuse")):
        made[f"keep_{role}_output"] = [
            # A socket that lies deeper has an ancestor at our deepest level, but that is not its
            # own name.
            f"{deeper} {mark.clear} {end}",
            *_by_level(levels, f"keep_{role}_output"),
            f"{mark.clear} {end}",
        ]
    made["done_output"] = _answer(mark, "keep_pass_output", "keep_refuse_output", mark.clear)
    made["output_syn"] = [f"{mark.is_judged} goto done_output"]
    if enabled:
        made["output_syn"] += [
            f"{deeper} goto output_unknown",
            *_by_level(levels, "output"),
        ]
    made["output_syn"].append("goto output_unknown")
    return made


def _by_level(levels: range, chain: str) -> Iterator[str]:
    """Deepest first, so that a socket is found under its own cgroup and not under a parent's."""
    for level in levels:
        yield f"socket cgroupv2 level {level} != {_NO_CGROUP} goto {chain}_l{level}"


def _to_console(plan: Plan) -> Iterator[str]:
    for family, ip in _FAMILIES:
        there = f"meta l4proto tcp {ip} daddr . th dport @console{family}"
        counted = f"add @passed{family}_{plan.generation & 1} {{ {address_key(family)} }}"
        yield f"{there} counter name failsafe {counted} return"
        # Where the set is full.
        yield f"{there} return"


def _output_unknown(plan: Plan) -> Iterator[str]:
    yield from _lookalikes(plan)
    if plan.scopes.any:
        yield from _to_console(plan)
    if plan.scopes.hosts:
        yield "goto ask"
        return
    for family, ip in _FAMILIES:
        towards = "ask" if plan.scopes.containers else "watch"
        yield f"{ip} daddr @containers{family} goto {towards}"
        yield f"{ip} daddr != @inside{family} goto watch"
    yield "fib daddr type local goto watch"


def _answers(plan: Plan) -> Chains:
    """SYN-ACKs and refusals, under the key of the flow that they answer."""
    # What was asked before a switch may be answered after it: then it counts there, and never in
    # sets that may have been read already.
    parity = plan.generation & 1
    made: Chains = {}
    for name in ("forward_answers", "host_answers"):
        everything = name == "host_answers" and plan.scopes.hosts
        for role, first in (("answered", "answered_first"), ("reset", "reset")):
            found: list[str] = []
            for family, _ in _FAMILIES:
                key = reply_key(family)
                if role == "reset" and plan.prevents:
                    # Ours, to one who connects to this host.
                    found.append(f"{key} @refuse{family}_{parity} return")
                found.append(f"{key} @{role}{family}_{parity} return")
            for family, ip in _FAMILIES:
                key, suffix = reply_key(family), f"{family}_{parity}"
                if first != role:
                    found.append(f"{key} @{first}{suffix} add @{role}{suffix} {{ {key} }} return")
                add = f"add @{first}{suffix} {{ {key} }} return"
                if everything:
                    found.append(f"meta nfproto ipv{family} {add}")
                else:
                    found += [f"{ip} {end} @containers{family} {add}" for end in ("saddr", "daddr")]
            made[f"{name}_{role}"] = found if plan.scopes.any else []
    return made
