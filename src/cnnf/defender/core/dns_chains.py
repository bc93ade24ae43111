"""The rules by which DNS is seen: copies of queries and answers of those who are protected here.

Called by `chains.rules`. They meet every packet of every connection, so each is one comparison of a
port, and there are no more of them than are needed: two a hook where there are containers, else one
on INPUT and one on OUTPUT. What is no TCP or UDP, or nobody's of ours, is turned away behind them.
Jumped to and not gone to: afterwards the packet is judged as any other.

While a rule goes by names, answers wait: they are handed to the daemon, not copied, and come by
once more, with our mark, when the loops know what they say (`naming.py`).

Who asks is seen at the hook where he is: the host's queries on OUTPUT and the answers on INPUT,
containers' on FORWARD, or on INPUT and OUTPUT where the resolver is on the host.
"""

from cnnf.defender.core.limits import DNS_COPY_BYTES, DNS_PACKETS_PER_SECOND
from cnnf.defender.core.plan import Plan

COUNTER = "dns_unread"
#: The chain whose only rule hands answers to the daemon: iptables' NFQUEUE target, put there once.
HELD = "dns_held"

_PORTS = {"answer": "@th,0,16 53", "query": "@th,16,16 53"}
_ENDS = {"answer": "daddr", "query": "saddr"}
#: Where the host itself gets its answers, and sends its queries.
_HOST = {"answer": "input", "query": "output"}


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
    rate = f"{DNS_PACKETS_PER_SECOND}/second burst {DNS_PACKETS_PER_SECOND} packets"
    made = {
        "dns_log": [
            "meta l4proto != { tcp, udp } return",
            f"limit rate over {rate} counter name {COUNTER} return",
            # At once: the flow that follows is to be shown by the name.
            f"log group {plan.dns_group} snaplen {DNS_COPY_BYTES} queue-threshold 1",
        ]
    }
    if plan.answers_held:
        ours, keep = f"meta mark & {plan.marks.judged:#x}", f"{plan.marks.keep:#x}"
        made["dns_answer"] = [
            "meta l4proto != { tcp, udp } return",
            # What begins a flow is judged, whatever its port: the mark may be a loop's.
            "ct direction reply goto dns_hold",
            "goto dns_log",
        ]
        made["dns_hold"] = [
            f"{ours} != 0x0 meta mark set meta mark & {keep} return",
            f"limit rate over {rate} counter name {COUNTER} return",
            f"goto {HELD}",
        ]
    towards = {"query": "dns_log", "answer": "dns_answer" if plan.answers_held else "dns_log"}
    for hook in ("input", "forward", "output"):
        for what, end in _ENDS.items():
            made[f"dns_{hook}_{what}"] = (
                [f"goto {towards[what]}"]
                if _HOST[what] == hook
                else [
                    f"{ip} {end} @containers{family} goto {towards[what]}"
                    for family, ip in ((4, "ip"), (6, "ip6"))
                ]
            )
    return made
