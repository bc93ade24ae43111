"""Every plan there may be, and what the text made of one declares."""

import re
from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from cnnf.defender.core.marks import marks_at
from cnnf.defender.core.plan import Plan, Scopes

NETWORKS = tuple(map(ip_network, ("172.17.0.0/16", "172.18.0.0/16", "fd00:78::/64")))
CONSOLE = ((ip_address("192.0.2.7"), 8084), (ip_address("2001:db8::7"), 8084))

_DECLARATION = re.compile(r"^add (set|counter|chain) inet cnnf (\S+)")
_RULE = re.compile(r"^add rule inet cnnf (\S+) (.+)$")
_TARGET = re.compile(r"\b(?:goto|jump) (\S+)")


def plan(**changes: object) -> Plan:
    """A plan with everything in it, enabled everywhere."""
    standard: dict[str, object] = {
        "marks": marks_at(0x3C00),
        "queue_first": 8030,
        "queue_count": 2,
        "log_group": 8031,
        "dns_group": 8032,
        "scopes": Scopes(containers=True, hosts=True),
        "networks": NETWORKS,
        "prevents": True,
        "failsafe": (22, 2222),
        "console": CONSOLE,
    }
    return Plan(**{**standard, **changes})  # type: ignore[arg-type]


plans = st.builds(
    plan,
    marks=st.integers(0, 28).map(lambda shift: marks_at(0xF << shift)),
    scopes=st.builds(Scopes, containers=st.booleans(), hosts=st.booleans()),
    networks=st.sampled_from([(), NETWORKS, NETWORKS[:1], NETWORKS[2:]]),
    bridged=st.booleans(),
    udp=st.booleans(),
    refuse_with=st.sampled_from(["reset", "drop"]),
    prevents=st.booleans(),
    guarded=st.booleans(),
    failsafe=st.sampled_from([(), (22,), (22, 2222)]),
    console=st.sampled_from([(), CONSOLE]),
    levels=st.sampled_from([1, 2, 6]),
    generation=st.integers(0, 5),
    dns_group=st.sampled_from([0, 8032]),
    answer_queue=st.just(8032),
    answers_held=st.booleans(),
    fail_closed=st.booleans(),
)


def declared(text: str, kind: str) -> set[str]:
    """The names of all sets, counters or chains that a text declares."""
    found = (_DECLARATION.match(line) for line in text.splitlines())
    return {match[2] for match in found if match and match[1] == kind}


def rules(text: str) -> dict[str, list[str]]:
    """Rules by chain, in order."""
    by_chain: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = _RULE.match(line)
        if match:
            by_chain.setdefault(match[1], []).append(match[2])
    return by_chain


def targets(lines: list[str]) -> set[str]:
    """The chains that rules go to."""
    return {match[1] for line in lines for match in _TARGET.finditer(line)}
