"""The kernel's rules as text: read back generically, so that no rule can point at nothing."""

import re
from ipaddress import ip_network

import pytest
from hypothesis import given

from cnnf.defender.core import dns_chains, ruleset
from cnnf.defender.core.limits import CGROUP_LEVELS, SET_ELEMENTS_MAX
from cnnf.defender.core.plan import Plan, Scopes
from cnnf.policy.addresses import INSIDE_NETWORKS
from tests.unit.defender.core.plans import NETWORKS, declared, plan, plans, rules, targets

#: Sets that are not of flows: filled by the plan.
PLACES = {f"{name}{family}" for name in ("containers", "same", "console") for family in (4, 6)}
PLACES |= {"failsafe"}
INSIDE = {"inside4", "inside6"}
ASKERS = {"dns_askers4", "dns_askers6"}
HOOKS = ("input", "forward", "output")


@given(plans)
def test_nothing_refers_to_what_is_not_there(given: Plan) -> None:
    text = ruleset.table(given)
    sets, chains, counters = (declared(text, kind) for kind in ("set", "chain", "counter"))
    by_chain = rules(text)
    assert set(by_chain) <= chains
    for lines in by_chain.values():
        assert targets(lines) <= chains
        for line in lines:
            assert set(re.findall(r"@(?!th,)(\w+)", line)) <= sets
            assert set(re.findall(r"counter name (\w+)", line)) <= counters
    filled = re.findall(r"^add element inet cnnf (\S+) ", text, re.M)
    assert set(filled) <= PLACES <= sets


@given(plans)
def test_a_chain_is_declared_before_a_rule_names_it(given: Plan) -> None:
    text = ruleset.table(given)
    first_rule = text.index("add rule ")
    assert "add chain " not in text[first_rule:]
    assert "add set " not in text[first_rule:]


@given(plans)
def test_no_chain_can_reach_itself(given: Plan) -> None:
    by_chain = rules(ruleset.table(given))

    def walk(chain: str, path: tuple[str, ...]) -> None:
        assert chain not in path
        for target in targets(by_chain.get(chain, [])):
            walk(target, (*path, chain))

    for chain in by_chain:
        walk(chain, ())


@given(plans)
def test_braces_and_lines_are_whole(given: Plan) -> None:
    for text in (ruleset.table(given), ruleset.switch(given, given), ruleset.forget(given, 0)):
        assert text.endswith("\n")
        for line in text.splitlines():
            assert line.strip() == line != ""
            assert line.count("{") == line.count("}")
        # No value was formatted as a Python object.
        assert not re.search(r"None|True|False|[\[\]]|Network|Address", text)


@given(plans, plans)
def test_a_switch_leads_to_the_rules_of_the_whole_table(before: Plan, after: Plan) -> None:
    switch, whole = ruleset.switch(after, before), ruleset.table(after)
    assert rules(switch) == rules(whole)
    flushed = set(re.findall(r"^flush chain inet cnnf (\S+)$", switch, re.M))
    # What was there and is no longer wanted is emptied; a hook for nothing is taken out.
    assert flushed == declared(ruleset.table(before), "chain") - {ruleset.HANDOVER, dns_chains.HELD}
    deleted = set(re.findall(r"^delete chain inet cnnf (\S+)$", switch, re.M))
    assert deleted == hooked(ruleset.table(before)) - hooked(whole)
    assert deleted <= flushed


def hooked(text: str) -> set[str]:
    """The base chains that a text declares."""
    return set(re.findall(r"^add chain inet cnnf (\S+) \{ type filter hook", text, re.M))


@given(plans, plans)
def test_a_switch_leaves_the_sets_of_flows_and_the_handover_alone(
    before: Plan, after: Plan
) -> None:
    switch = ruleset.switch(after, before)
    sets = set(re.findall(r"^flush set inet cnnf (\S+)$", switch, re.M))
    assert sets == PLACES
    assert not re.search(r"^delete set|^delete table|chain inet cnnf handover", switch, re.M)
    elements = re.findall(r"^(add element .*)$", switch, re.M)
    assert elements == re.findall(r"^(add element .*)$", ruleset.table(after), re.M)


@given(plans)
def test_rules_are_counted_as_they_are_made(given: Plan) -> None:
    """What somebody has changed is noticed by this count."""
    made = {name: len(lines) for name, lines in rules(ruleset.table(given)).items()}
    counted = {name: count for name, count in ruleset.rules_by_chain(given).items() if count}
    # The rule in `handover` is not nft's to write.
    assert counted == {**made, ruleset.HANDOVER: 1, dns_chains.HELD: 1}


@given(plans)
def test_generations_use_their_own_sets(given: Plan) -> None:
    text = ruleset.table(given)
    parity = given.generation & 1
    own = {one.name for one in ruleset.flow_sets(given, given.generation)}
    assert own <= declared(text, "set")
    for lines in rules(text).values():
        for line in lines:
            changed = set(re.findall(r"add @(\w+)", line))
            assert changed <= own
            # Those of before may have been read already.
            for name in set(re.findall(r"@(\w+_[01])\b", line)):
                assert name.endswith(f"_{parity}")


@pytest.mark.parametrize("generation", [0, 1, 6, 7])
def test_what_counts_is_read(generation: int) -> None:
    given = plan(generation=generation)
    sets = ruleset.flow_sets(given, generation)
    assert len({(one.role, one.level, one.family) for one in sets}) == len(sets)
    assert len(sets) == 2 * (9 + 4 * CGROUP_LEVELS)
    assert all(one.name.endswith(f"_{generation & 1}") for one in sets)
    found = ruleset.count_sets(given, generation, asked=True)
    assert set(sets) - set(found) == {one for one in sets if one.role in ("pass", "refuse")}
    # What was asked is read only where something of it is missing.
    unasked = ruleset.count_sets(given, generation, asked=False)
    assert {one.role for one in set(found) - set(unasked)} == {"asked_first", "asked"}


def test_every_set_of_flows_is_bounded_and_never_ages() -> None:
    text = ruleset.table(plan())
    wanted = {one for parity in (0, 1) for one in ruleset.flow_sets(plan(), parity)}
    assert {one.name for one in wanted} == declared(text, "set") - PLACES - INSIDE - ASKERS
    for one in wanted:
        (line,) = re.findall(rf"^add set inet cnnf {one.name} \{{ (.*) \}}$", text, re.M)
        counted = one.role in ("passed", "refused", "answered", "reset", "asked")
        counter = " counter;" if counted else ""
        assert line.endswith(f"; size {SET_ELEMENTS_MAX}; flags dynamic;{counter}")
        # A timeout would take the counter with the element.
        assert "timeout" not in line


@given(plans)
def test_forget_empties_one_parity_only(given: Plan) -> None:
    for generation in (4, 5):
        lines = ruleset.forget(given, generation).splitlines()
        sets = ruleset.flow_sets(given, generation)
        names = {f"flush set inet cnnf {one.name}" for one in sets}
        assert len(lines) == len(names)
        assert set(lines) == names


def test_remove_is_also_right_when_there_is_no_table() -> None:
    assert ruleset.remove().splitlines() == ["table inet cnnf {}", "delete table inet cnnf"]
    assert ruleset.table(plan()).splitlines()[:2] == ruleset.remove().splitlines()


@given(plans)
def test_there_is_one_chain_a_hook_and_one_for_bridges_where_they_may_matter(given: Plan) -> None:
    text = ruleset.table(given)
    bridged = {"at_prerouting"} if given.bridged and given.networks else set()
    if bridged and given.udp:
        bridged.add("at_prerouting_udp")
    first = {"at_output_first"} if given.prevents or given.guarded else set()
    assert hooked(text) == {f"at_{hook}" for hook in HOOKS} | bridged | first
    hook = re.compile(r"chain inet cnnf (\S+) \{ type filter hook \w+ priority (-?\d+);")
    priorities = dict(hook.findall(text))
    # After the host's firewall (0), before the source is translated on INPUT (100).
    assert all(0 < int(priorities[f"at_{hook}"]) < 100 for hook in HOOKS)
    if first:
        # Before whoever sets marks of his own there: mangle is at -150, raw at -300.
        assert int(priorities["at_output_first"]) < -300
    if bridged:
        # After raw's own rules (-300), before conntrack (-200).
        assert -300 < int(priorities["at_prerouting"]) < -200
    if "at_prerouting_udp" in priorities:
        # After conntrack, before the destination is translated (-100).
        assert -200 < int(priorities["at_prerouting_udp"]) < -100


@given(plans)
def test_a_packet_of_an_established_connection_meets_no_more_than_it_has_to(given: Plan) -> None:
    by_chain = rules(ruleset.table(given))
    for hook in HOOKS:
        first, *more = by_chain[f"at_{hook}"]
        assert first == f"@th,96,32 & 0x00060000 != 0x0 goto {hook}_flagged"
        answers, queries = "@th,0,16 53 jump", "@th,16,16 53 jump"
        dns = [f"{answers} dns_{hook}_answer", f"{queries} dns_{hook}_query"]
        if not given.networks:
            dns = {"input": dns[:1], "output": dns[1:]}.get(hook, [])
        assert more[: len(more) - given.udp] == (dns if given.dns_group else [])
        assert all(one.startswith("meta l4proto udp ") for one in more[len(more) - given.udp :])


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (Scopes(), {"prerouting": "watch", "forward": "watch", "input": "watch"}),
        (
            Scopes(containers=True),
            {"prerouting": "ask", "forward": "ask", "input": "ask"},
        ),
        (
            Scopes(hosts=True),
            {"prerouting": "watch", "forward": "watch", "input": "ask"},
        ),
        (
            Scopes(containers=True, hosts=True),
            {"prerouting": "ask", "forward": "ask", "input": "ask"},
        ),
    ],
)
def test_each_scope_asks_and_watches_where_it_should(
    scopes: Scopes, expected: dict[str, str]
) -> None:
    by_chain = rules(ruleset.table(plan(scopes=scopes)))
    found = {
        hook: targets(by_chain["bridged" if hook == "prerouting" else f"{hook}_syn"])
        & {"ask", "watch"}
        for hook in expected
    }
    assert found == {hook: {target} for hook, target in expected.items()}
    # Only whole hosts are asked about SYNs from anywhere, and about their own to anywhere.
    assert ("goto ask" in by_chain["input_syn"]) == scopes.hosts
    assert ("goto ask" in by_chain["output_unknown"]) == scopes.hosts
    # A host's connections to containers concern these; the others are watched at most.
    outgoing = targets(by_chain["output_unknown"])
    assert ("ask" in outgoing) == scopes.any
    assert ("watch" in outgoing) == (not scopes.hosts)


def test_in_the_limited_view_nothing_is_asked_or_counted() -> None:
    by_chain = rules(ruleset.table(plan(scopes=Scopes(), prevents=False)))
    asking = {chain for chain, lines in by_chain.items() if "ask" in targets(lines)}
    assert asking == set()
    assert not any(name in by_chain for name in ("forward_answers", "host_answers", "output_l1"))
    at_once, in_batches = by_chain["watch"]
    assert at_once.startswith("limit rate ")
    assert "log group 8031 " in at_once
    assert in_batches.startswith("log group 8031 ")


def test_a_socket_is_found_under_its_own_cgroup_before_its_parents() -> None:
    by_chain = rules(ruleset.table(plan()))
    for chain, own in (("output_syn", "output"), ("keep_pass_output", "keep_pass_output")):
        levels = [
            int(match[1])
            for line in by_chain[chain]
            if (match := re.search(r"level (\d+) !=", line))
        ]
        # One that lies deeper than we look is nobody's but its own: it is looked for first.
        assert levels == list(range(CGROUP_LEVELS + 1, 0, -1))
        own_levels = {f"{own}_l{level}" for level in levels[1:]}
        assert own_levels <= targets(by_chain[chain])
    for level in range(1, CGROUP_LEVELS + 1):
        for chain in (f"output_l{level}", f"keep_pass_output_l{level}"):
            keys = re.findall(r"cgroupv2 level (\d+)", " ".join(by_chain[chain]))
            assert set(keys) == {str(level)}


def elements(text: str, name: str) -> list[str]:
    """What a set is filled with, where it is declared or afterwards."""
    match = re.search(rf"^add element inet cnnf {name} \{{ (.*) \}}$", text, re.M)
    match = match or re.search(rf"set inet cnnf {name} \{{.* elements = \{{ (.*) \}}; \}}", text)
    return match[1].split(", ") if match else []


def test_networks_and_places_fill_their_familys_sets() -> None:
    text = ruleset.table(plan())
    assert elements(text, "containers4") == ["172.17.0.0/16", "172.18.0.0/16"]
    assert elements(text, "containers6") == ["fd00:78::/64"]
    assert elements(text, "same4") == [
        "172.17.0.0/16 . 172.17.0.0/16",
        "172.18.0.0/16 . 172.18.0.0/16",
    ]
    assert elements(text, "same6") == ["fd00:78::/64 . fd00:78::/64"]
    assert elements(text, "console4") == ["192.0.2.7 . 8084"]
    assert elements(text, "console6") == ["2001:db8::7 . 8084"]
    assert elements(text, "failsafe") == ["22", "2222"]
    inside = elements(text, "inside4") + elements(text, "inside6")
    assert sorted(inside) == sorted(INSIDE_NETWORKS)


def test_the_same_networks_in_any_order_are_the_same_rules() -> None:
    assert ruleset.table(plan(networks=NETWORKS[::-1] * 2)) == ruleset.table(plan())


def test_of_nested_networks_the_widest_is_the_pair() -> None:
    nested = map(ip_network, ("172.17.0.0/16", "172.16.0.0/12", "10.9.0.0/24", "172.17.3.0/24"))
    text = ruleset.table(plan(networks=tuple(nested)))
    assert elements(text, "same4") == ["10.9.0.0/24 . 10.9.0.0/24", "172.16.0.0/12 . 172.16.0.0/12"]
    assert len(elements(text, "containers4")) == 4
    assert "set inet cnnf containers4 { type ipv4_addr; flags interval; auto-merge; }" in text
