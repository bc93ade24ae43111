"""The kernel's rules as text: read back generically, so that no rule can point at nothing."""

import re
from ipaddress import ip_network

import pytest

from cnnf.defender.core import ruleset
from cnnf.defender.core.limits import CGROUP_LEVELS
from cnnf.defender.core.marks import marks_at
from cnnf.defender.core.ruleset import ASK_HOOKS, Plan, Scopes
from cnnf.policy.addresses import INSIDE_NETWORKS

NETWORKS = tuple(map(ip_network, ("172.17.0.0/16", "172.18.0.0/16", "fd00:78::/64")))
SCOPES = [
    Scopes(containers=containers, hosts=hosts)
    for containers in (False, True)
    for hosts in (False, True)
]
DECLARATION = re.compile(r"^(set|counter|chain) (\S+) \{")
ADD_RULE = re.compile(r"^add rule inet cnnf (\S+) (.+)$")


def plan(**changes: object) -> Plan:
    """A plan with everything in it."""
    standard: dict[str, object] = {
        "marks": marks_at(0x3C00),
        "queue_first": 8030,
        "queue_count": 2,
        "log_group": 8031,
        "networks": NETWORKS,
    }
    return Plan(**{**standard, **changes})  # type: ignore[arg-type]


def declared(text: str, kind: str) -> set[str]:
    """The names of all sets, counters or chains that a text declares."""
    found = (DECLARATION.match(line) for line in text.splitlines())
    return {match[2] for match in found if match and match[1] == kind}


def rules(text: str) -> dict[str, list[str]]:
    """Rules by chain, in order."""
    by_chain: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = ADD_RULE.match(line)
        if match:
            by_chain.setdefault(match[1], []).append(match[2])
    return by_chain


def targets(lines: list[str]) -> set[str]:
    """The chains that rules go to or jump to."""
    return {match[2] for line in lines for match in re.finditer(r"\b(goto|jump) (\S+)", line)}


every_plan = pytest.mark.parametrize(
    "given",
    [
        plan(scopes=scopes, networks=networks, generation=generation)
        for scopes in SCOPES
        for networks in ((), NETWORKS)
        for generation in (0, 1)
    ],
)


@every_plan
def test_nothing_refers_to_what_is_not_there(given: Plan) -> None:
    text = ruleset.table(given)
    sets, chains, counters = (declared(text, kind) for kind in ("set", "chain", "counter"))
    by_chain = rules(text)
    assert set(by_chain) <= chains
    for lines in by_chain.values():
        assert targets(lines) <= chains
        for line in lines:
            assert set(re.findall(r"@(\w+)", line)) <= sets
            assert set(re.findall(r"counter name (\w+)", line)) <= counters
    # And nothing is declared in vain but the chains of a mode that is not on.
    used = {
        name
        for lines in by_chain.values()
        for line in lines
        for name in re.findall(r"@(\w+)", line)
    }
    other = 1 - (given.generation & 1)
    unused = {name for name in sets - used if not name.endswith(f"_{other}")}
    assert unused <= {"inside4", "inside6", "containers4", "containers6"}


@every_plan
def test_no_chain_can_reach_itself(given: Plan) -> None:
    by_chain = rules(ruleset.table(given))

    def walk(chain: str, path: tuple[str, ...]) -> None:
        assert chain not in path
        for target in targets(by_chain.get(chain, [])):
            walk(target, (*path, chain))

    for chain in by_chain:
        walk(chain, ())


@every_plan
def test_braces_and_lines_are_whole(given: Plan) -> None:
    for text in (ruleset.table(given), ruleset.switch(given)):
        assert text.endswith("\n")
        depth = 0
        for line in text.splitlines():
            assert line.strip() == line != ""
            depth += line.count("{") - line.count("}")
            assert depth in (0, 1)
        assert depth == 0
        # No value was formatted as a Python object.
        assert not re.search(r"None|True|False|<|\[|Network", text)


@every_plan
def test_a_switch_has_the_rules_of_the_whole_table(given: Plan) -> None:
    assert rules(ruleset.switch(given)) == rules(ruleset.table(given))


@every_plan
def test_a_switch_leaves_the_sets_of_flows_alone(given: Plan) -> None:
    table, switch = ruleset.table(given), ruleset.switch(given)
    flushed = set(re.findall(r"^flush chain inet cnnf (\S+)$", switch, re.M))
    assert flushed == declared(table, "chain")
    sets = set(re.findall(r"^flush set inet cnnf (\S+)$", switch, re.M))
    assert sets == {"containers4", "containers6", "same4", "same6"}
    assert not re.search(
        r"(pass|count)\w*", "".join(re.findall(r"^(?:flush|add element).*$", switch, re.M))
    )
    filled = dict(re.findall(r"^add element inet cnnf (\S+) \{ (.*) \}$", switch, re.M))
    for name, elements in filled.items():
        assert f"set {name} " in table
        assert f"elements = {{ {elements} }}" in table


@pytest.mark.parametrize("generation", [0, 1, 2, 7])
def test_generations_use_their_own_sets_and_bits(generation: int) -> None:
    given = plan(generation=generation, scopes=Scopes(containers=True, hosts=True))
    text = ruleset.table(given)
    lines = [line for chain in rules(text).values() for line in chain]
    used = {name for line in lines for name in re.findall(r"@((?:pass|count)\w+)", line)}
    assert all(name.endswith(f"_{generation & 1}") for name in used)
    counted = set(ruleset.count_sets(generation))
    assert counted == {name for name in used if name.startswith("count")}
    assert counted <= declared(text, "set")
    assert len(counted) == 2 + 2 * CGROUP_LEVELS
    remembered = f"{given.marks.remembered(generation):#x}"
    other = f"{given.marks.remembered(generation + 1):#x}"
    assert f"== {remembered} jump done" in text
    assert f"== {other} " not in text


def test_counting_sets_count_and_passing_sets_do_not() -> None:
    for line in ruleset.table(plan()).splitlines():
        match = re.match(r"set (pass|count)\w+ \{", line)
        if match:
            assert ("counter;" in line) == (match[1] == "count")
            assert "flags dynamic;" in line
            assert re.search(r"size \d+;", line)
            # A timeout would take the counter with the element.
            assert "timeout" not in line


def test_forget_empties_both_kinds_of_one_parity_only() -> None:
    for generation in (4, 5):
        lines = ruleset.forget(generation).splitlines()
        names = [re.fullmatch(r"flush set inet cnnf (\S+)", line)[1] for line in lines]  # type: ignore[index]
        assert {name for name in names if name.startswith("count")} == set(
            ruleset.count_sets(generation)
        )
        assert {name.replace("pass", "count") for name in names} == set(
            ruleset.count_sets(generation)
        )
        assert set(names) <= declared(ruleset.table(plan()), "set")


def test_remove_is_also_right_when_there_is_no_table() -> None:
    assert ruleset.remove().splitlines() == ["table inet cnnf {}", "delete table inet cnnf"]
    assert ruleset.table(plan()).splitlines()[:2] == ruleset.remove().splitlines()


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (
            Scopes(),
            {
                "pre_known_syn": {"watch"},
                "fwd_known_syn": {"watch"},
                "in_known_syn": {"watch"},
                "out_known_syn": {"watch"},
            },
        ),
        (
            Scopes(containers=True),
            {
                "pre_known_syn": {"ask"},
                "fwd_known_syn": {"ask"},
                "in_known_syn": {"ask"},
                # To containers it is asked; other connections of the host are only watched.
                "out_known_syn": {"ask_out", "watch"},
            },
        ),
        (
            Scopes(hosts=True),
            {
                "pre_known_syn": {"watch"},
                "fwd_known_syn": {"watch"},
                "in_known_syn": {"ask"},
                "out_known_syn": {"ask_out"},
            },
        ),
        (
            Scopes(containers=True, hosts=True),
            {
                "pre_known_syn": {"ask"},
                "fwd_known_syn": {"ask"},
                "in_known_syn": {"ask"},
                "out_known_syn": {"ask_out"},
            },
        ),
    ],
)
def test_each_scope_asks_and_watches_where_it_should(
    scopes: Scopes, expected: dict[str, set[str]]
) -> None:
    by_chain = rules(ruleset.table(plan(scopes=scopes)))
    assert {chain: targets(by_chain[chain]) for chain in expected} == expected
    # Only whole hosts are asked about SYNs from anywhere.
    assert ("goto ask" in by_chain["in_known_syn"]) == scopes.hosts
    # Forwarded packets concern hosts in no mode: they are not the host's own.
    outside = [line for line in by_chain["fwd_known_syn"] if "@inside" in line]
    assert bool(outside) == (not scopes.containers)


def test_nothing_is_asked_in_the_limited_view() -> None:
    by_chain = rules(ruleset.table(plan()))
    hooks = ("pre", "in", "fwd", "out")
    assert all("ask" not in targets(by_chain[f"{hook}_known_syn"]) for hook in hooks)
    at_once, in_batches = by_chain["watch"][1:]
    assert at_once.startswith("limit rate ")
    assert "log group 8031 " in at_once
    assert in_batches.startswith("log group 8031 ")


def test_loopback_is_judged_where_it_is_made_and_bits_are_cleared_on_entry() -> None:
    by_chain = rules(ruleset.table(plan(scopes=Scopes(containers=True, hosts=True))))
    assert by_chain["in_known_syn"][0] == 'iifname "lo" return'
    for chain in ("pre_known_syn", "out_known_syn"):
        assert by_chain[chain][0] == "meta mark set meta mark & 0xffffc3ff"
    for hook in ("in", "fwd", "out"):
        assert by_chain[f"{hook}_done_syn"][-1].endswith("meta mark set meta mark & 0xffffc3ff")


def test_a_socket_is_found_under_its_own_cgroup_before_its_parents() -> None:
    by_chain = rules(ruleset.table(plan(scopes=Scopes(hosts=True))))
    for chain in ("ask_out", "done_out"):
        levels = [
            int(match[1])
            for line in by_chain[chain]
            if (match := re.search(r"level (\d+) !=", line))
        ]
        # One that lies deeper than we look is nobody's but its own: it is looked for first.
        assert levels == list(range(CGROUP_LEVELS + 1, 0, -1))
        deeper = {"done_out_deeper"} if chain == "done_out" else set()
        assert targets(by_chain[chain]) == {f"{chain}_l{level}" for level in levels[1:]} | deeper
    assert by_chain["ask_out"][0].endswith(" return")
    assert "@pass" not in " ".join(by_chain["done_out_deeper"])
    for level in range(1, CGROUP_LEVELS + 1):
        keys = re.findall(r"cgroupv2 level (\d+)", " ".join(by_chain[f"ask_out_l{level}"]))
        assert set(keys) == {str(level)}


def test_every_base_chain_lets_established_packets_pass_at_once() -> None:
    text = ruleset.table(plan())
    by_chain = rules(text)
    base = re.findall(
        r"^chain (\w+) \{ type filter hook (\w+) priority (-?\d+); policy accept; \}$", text, re.M
    )
    assert len(base) == 8
    for name, _, _ in base:
        assert len(by_chain[name]) == 1
        assert by_chain[name][0].startswith("tcp flags & (fin|syn|rst|ack) == syn goto ")
    priorities = {name: int(priority) for name, _, priority in base}
    # Before and after the queue: raw is -300, security 50 (legacy) or 150 (nft).
    assert priorities["pre_known"] < -300 < priorities["pre_done"]
    for hook in ("in", "fwd", "out"):
        assert priorities[f"{hook}_known"] < 50
        assert priorities[f"{hook}_done"] > 150


def elements(text: str, name: str) -> list[str]:
    """What a set is filled with."""
    match = re.search(rf"^set {name} \{{.* elements = \{{ (.*) \}}; \}}$", text, re.M)
    return match[1].split(", ") if match else []


def test_networks_fill_their_familys_sets() -> None:
    text = ruleset.table(plan())
    assert elements(text, "containers4") == ["172.17.0.0/16", "172.18.0.0/16"]
    assert elements(text, "containers6") == ["fd00:78::/64"]
    assert elements(text, "same4") == [
        "172.17.0.0/16 . 172.17.0.0/16",
        "172.18.0.0/16 . 172.18.0.0/16",
    ]
    assert elements(text, "same6") == ["fd00:78::/64 . fd00:78::/64"]
    inside = elements(text, "inside4") + elements(text, "inside6")
    assert sorted(inside) == sorted(INSIDE_NETWORKS)


def test_the_same_networks_in_any_order_are_the_same_rules() -> None:
    assert ruleset.table(plan(networks=NETWORKS[::-1] * 2)) == ruleset.table(plan())


def test_of_nested_networks_the_widest_is_the_pair() -> None:
    nested = map(ip_network, ("172.17.0.0/16", "172.16.0.0/12", "10.9.0.0/24", "172.17.3.0/24"))
    text = ruleset.table(plan(networks=tuple(nested)))
    assert elements(text, "same4") == ["10.9.0.0/24 . 10.9.0.0/24", "172.16.0.0/12 . 172.16.0.0/12"]
    assert len(elements(text, "containers4")) == 4
    assert "set containers4 { type ipv4_addr; flags interval; auto-merge;" in text


def test_iptables_queues_what_asks_in_every_hook() -> None:
    found = ruleset.iptables_rules(plan())
    assert [(table, rule.split()[1]) for table, lines in found.items() for rule in lines] == list(
        ASK_HOOKS
    )
    for lines in found.values():
        for rule in lines:
            assert " -p tcp --tcp-flags FIN,SYN,RST,ACK SYN -m mark --mark 0x400/0x3c00 " in rule
            assert " -m comment --comment cnnf -j NFQUEUE --queue-" in rule
            # A loop that is gone must not stop anybody.
            assert rule.endswith("--queue-bypass")


def test_iptables_balances_several_queues_only() -> None:
    one = ruleset.iptables_rules(plan(queue_count=1))["raw"][0]
    three = ruleset.iptables_rules(plan(queue_count=3))["raw"][0]
    assert " --queue-num 8030 --queue-bypass" in one
    assert "balance" not in one
    assert " --queue-balance 8030:8032 --queue-cpu-fanout --queue-bypass" in three
    assert "--queue-num" not in three


def test_other_mark_bits_reach_every_rule() -> None:
    moved = ruleset.table(plan(marks=marks_at(0xF0)))
    assert "0x3c00" not in moved
    assert "0xffffc3ff" not in moved
    assert "meta mark & 0xffffff0f" in moved
    assert "--mark 0x10/0xf0 " in ruleset.iptables_rules(plan(marks=marks_at(0xF0)))["raw"][0]
