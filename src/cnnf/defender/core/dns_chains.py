"""The rules by which DNS is seen: copies of queries and answers of those who are protected here.

Called by `chains.rules`. They meet every packet of every connection, so each is one comparison of a
port, and there are no more of them than are needed: two a hook where there are containers, else one
on INPUT and one on OUTPUT. What is no TCP or UDP, or nobody's of ours, is turned away behind them.
Jumped to and not gone to: afterwards the packet is judged as any other.

While a rule goes by names, answers wait: they are handed to the daemon, not copied, and come by
once more, with our mark, when the loops know what they say (`naming.py`).

Who asks is seen at the hook where he is: the host's queries on OUTPUT and the answers on INPUT,
containers' on FORWARD, or on INPUT and OUTPUT where the resolver is on the host.

What is more than can be read is passed by, and of one container's before others have to suffer.
Answers that would have to wait follow the fail mode then, as those that nobody reads do.
"""

from cnnf.defender.core.limits import (
    DNS_ASKER_SECONDS,
    DNS_ASKERS_MAX,
    DNS_COPY_BYTES,
    DNS_PACKETS_PER_ASKER,
    DNS_PACKETS_PER_SECOND,
)
from cnnf.defender.core.plan import Plan

COUNTER = "dns_unread"
#: The chain whose only rule hands answers to the daemon: iptables' NFQUEUE target, put there once.
HELD = "dns_held"

_PORTS = {"answer": "@th,0,16 53", "query": "@th,16,16 53"}
_ENDS = {"answer": "daddr", "query": "saddr"}
#: Where the host itself gets its answers, and sends its queries.
_HOST = {"answer": "input", "query": "output"}
_FAMILIES = ((4, "ip"), (6, "ip6"))

_NO_DNS = "meta l4proto != { tcp, udp } return"
_PASSED = f"counter name {COUNTER} return"
_REPLY = "ct direction reply"


def sets(plan: Plan) -> list[str]:
    """Whose packets are counted at the moment: the containers that ask."""
    return [
        f"dns_askers{family} {{ type ipv{family}_addr; size {DNS_ASKERS_MAX}; "
        f"flags dynamic,timeout; timeout {DNS_ASKER_SECONDS}s; }}"
        for family, _ in _FAMILIES
        if plan.dns_group
    ]


def entry(plan: Plan, hook: str) -> list[str]:
    """What a hook's base chain has of it."""
    return [
        f"{port} jump dns_{hook}_{what}"
        for what, port in _PORTS.items()
        if plan.dns_group and (plan.networks or _HOST[what] == hook)
    ]


def rules(plan: Plan) -> dict[str, list[str]]:
    """The chains that `entry` leads to."""
    if not plan.dns_group:
        return {}
    made = {
        "dns_log": [
            _NO_DNS,
            f"{_over(DNS_PACKETS_PER_SECOND)} {_PASSED}",
            # At once: the flow that follows is to be shown by the name.
            f"log group {plan.dns_group} snaplen {DNS_COPY_BYTES} queue-threshold 1",
        ],
        "dns_of_container_query": [*_too_many("saddr", _PASSED), "goto dns_log"],
    }
    # What has waited goes on as it came, also where nothing waits any more.
    ours, keep = f"meta mark & {plan.marks.judged:#x}", f"{plan.marks.keep:#x}"
    # Whoever names conntrack has it follow every connection of the host, a tenth of what one costs:
    # only where that is done anyway. Elsewhere no loop answers what comes by here.
    reply = f"{_REPLY} " if plan.udp or plan.answers_held else ""
    go_on = f"{ours} != 0x0 {reply}meta mark set meta mark & {keep} return"
    made |= _held(plan, go_on) if plan.answers_held else _copied(go_on)
    for hook in ("input", "forward", "output"):
        for what, end in _ENDS.items():
            made[f"dns_{hook}_{what}"] = (
                ["goto dns_answer" if what == "answer" else "goto dns_log"]
                if _HOST[what] == hook
                else [
                    f"{ip} {end} @containers{family} goto dns_of_container_{what}"
                    for family, ip in _FAMILIES
                ]
            )
    return made


def _copied(go_on: str) -> dict[str, list[str]]:
    """Answers while no rule goes by names."""
    return {
        "dns_answer": [_NO_DNS, go_on, "goto dns_log"],
        "dns_of_container_answer": [
            _NO_DNS,
            go_on,
            *_too_many("daddr", _PASSED),
            "goto dns_answer",
        ],
    }


def _held(plan: Plan, go_on: str) -> dict[str, list[str]]:
    """Answers while they wait."""
    # What begins a flow is judged, whatever its port: a mark may be a loop's, and nothing waits.
    past = f"counter name {COUNTER} drop" if plan.fail_closed else _PASSED
    return {
        "dns_answer": [_NO_DNS, go_on, f"{_REPLY} goto dns_hold", "goto dns_log"],
        "dns_of_container_answer": [
            _NO_DNS,
            go_on,
            *(f"{_REPLY} {rule}" for rule in _too_many("daddr", past)),
            "goto dns_answer",
        ],
        "dns_hold": [f"{_over(DNS_PACKETS_PER_SECOND)} {past}", f"goto {HELD}"],
    }


def _over(rate: int) -> str:
    return f"limit rate over {rate}/second burst {rate} packets"


def _too_many(end: str, verdict: str) -> list[str]:
    """More than one asker's share; where there is no room to count it, the sum is bounded."""
    return [
        f"update @dns_askers{family} {{ {ip} {end} {_over(DNS_PACKETS_PER_ASKER)} }} {verdict}"
        for family, ip in _FAMILIES
    ]
