"""Every way through the table: bits restored, asked once, refused only where an answer says so."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cnnf.defender.core import ruleset
from cnnf.defender.core.plan import Plan, Scopes
from tests.unit.defender.core.plans import plan, plans, rules
from tests.unit.defender.core.walks import End, walk

FLAGGED = "@th,96,32 & 0x00060000 != 0x0"
SYN = "@th,96,32 & 0x00170000 == 0x00020000"
FIRST_UDP = "meta l4proto udp ct direction original ct status & confirmed == 0x0"
#: A TCP SYN that comes from elsewhere, and one over loopback.
TCP = {
    FLAGGED: True, SYN: True, f"{SYN} meta l4proto tcp": True, "meta l4proto != tcp": False,
    FIRST_UDP: False, "iif lo": False, "ct direction reply": False,
}  # fmt: skip
#: The first packet of a UDP flow; its bytes may look like any flags.
UDP = {
    "meta l4proto != tcp": True, FIRST_UDP: True, "iif lo": False, SYN: False,
    "ct direction reply": False,
}  # fmt: skip
#: An answer of DNS: over UDP, or within a TCP connection.
ANSWER = {
    FLAGGED: False, FIRST_UDP: False, "meta l4proto != { tcp, udp }": False,
    "@th,0,16 53": True, "@th,16,16 53": False, "ct direction reply": True,
}  # fmt: skip

hooks = st.sampled_from(["input", "forward", "output", "prerouting"])
others = st.integers(0, 0xFFFFFFFF)


def ways(given: Plan, hook: str, mark: int, facts: dict[str, bool] = TCP) -> set[End]:
    """Every end of a packet that comes to a hook with this mark; none where it is not needed."""
    base = f"at_{hook}"
    if hook == "prerouting" and facts is UDP:
        base += "_udp"
    by_chain = rules(ruleset.table(given))
    return walk(by_chain, base, mark, facts) if base in by_chain else set()


def protocols(given: Plan) -> list[dict[str, bool]]:
    """Of which packets may be asked."""
    return [TCP, UDP] if given.udp else [TCP]


@given(plans, hooks, others)
def test_a_new_packet_leaves_with_the_mark_it_came_with(given: Plan, hook: str, mark: int) -> None:
    mark &= given.marks.keep
    for facts in protocols(given):
        for end in ways(given, hook, mark, facts):
            assert end.mark & given.marks.keep == mark
            if hook == "prerouting" and end.how == "accept":
                # Later hooks of the same packet pass it by this bit.
                assert end.mark in (mark, mark | given.marks.judged)
            else:
                assert end.mark == mark


@given(plans, hooks, others, st.booleans(), st.booleans(), st.sampled_from([0, 1]))
def test_an_answered_packet_leaves_with_the_mark_it_came_with(
    given: Plan, hook: str, mark: int, remember: bool, refuse: bool, late: int
) -> None:
    """Whatever the loop has answered, in this generation or late by one."""
    mark &= given.marks.keep
    answered = given.marks.verdict(
        mark, remember=remember, generation=given.generation + late, refuse=refuse
    )
    for facts in protocols(given):
        found = ways(given, hook, answered, facts)
        if not found:
            continue
        # It is not asked about again, and what was answered holds, whether or not the sets are
        # full, and also when it is too late to be remembered.
        assert {end.how for end in found} == {"refuse" if refuse else "accept"}
        bridged = hook == "prerouting" and not refuse
        assert {end.mark for end in found} == {mark | given.marks.judged if bridged else mark}
        added = {name.rstrip("0123456789_lv") for end in found for name in end.added}
        assert added == ({"refuse" if refuse else "pass"} if remember and not late else set())


@given(plans, hooks, others)
def test_nothing_is_refused_unasked_but_what_is_remembered_so(
    given: Plan, hook: str, mark: int
) -> None:
    for facts in protocols(given):
        found = ways(given, hook, mark & given.marks.keep, facts)
        if not (given.prevents and given.scopes.any):
            assert all(end.how != "refuse" for end in found)
        assert all("refuse" in end.chains for end in found if end.how == "refuse")
        if not given.scopes.any:
            assert all(end.how == "accept" for end in found)


@given(plans, hooks)
def test_whoever_is_asked_about_is_counted_as_asked(given: Plan, hook: str) -> None:
    text = rules(ruleset.table(given))
    for facts in protocols(given):
        for end in ways(given, hook, 0, facts):
            assert ("ask" in end.chains) == (end.how == "hand over")
    *counted, full = text["ask"]
    assert full == "counter name asked goto handover"
    # The first one of a flow by being there, the others by a counter.
    sets = [[name.rstrip("46_01") for name in re.findall(r"@(\w+)", line)] for line in counted]
    assert sets == [["asked_first", "asked"], ["asked_first"]] * 2
    assert all(line.endswith(full) for line in counted)


@given(plans)
def test_what_is_known_is_counted(given: Plan) -> None:
    """By a counter from its second packet on; the loop has counted the first."""
    for name, lines in rules(ruleset.table(given)).items():
        if not name.startswith(("bridged", "forward_syn", "input_syn", "output_l")):
            continue
        for line in lines:
            memory = re.search(r" @(pass|refuse)((?:_l\d)?v?[46]_[01]) ", line)
            if memory is not None:
                counts = "passed" if memory[1] == "pass" else "refused"
                assert f" add @{counts}{memory[2]} {{ " in line
                assert line.endswith("goto refuse" if memory[1] == "refuse" else "return")
                before = lines[: lines.index(line)]
                assert any(f" @{counts}{memory[2]} " in one for one in before)


@pytest.mark.parametrize("hook", ["input", "forward", "output", "prerouting"])
def test_udp_is_asked_about_whatever_its_bytes_look_like(hook: str) -> None:
    """Byte 13 of a TCP header is the client's to choose in a UDP packet."""
    given = plan(udp=True)
    for flagged in (False, True):
        found = ways(given, hook, 0, UDP | {FLAGGED: flagged} if hook != "prerouting" else UDP)
        assert any(end.how == "hand over" for end in found)
        if hook != "prerouting":
            syn = f"{hook}_syn"
            assert all(syn in end.chains for end in found), f"flagged: {flagged}"


@given(plans)
def test_loopback_is_judged_where_it_is_made(given: Plan) -> None:
    for facts in protocols(given):
        found = ways(given, "input", 0, facts | {"iif lo": True})
        assert {(end.how, end.added) for end in found} == {("accept", frozenset())}


@given(plans, st.sampled_from([Scopes(containers=True), Scopes(hosts=True)]))
def test_failsafe_ports_are_counted_and_never_asked_about(any_plan: Plan, scopes: Scopes) -> None:
    given = replace(any_plan, scopes=scopes)
    key = "meta l4proto tcp th dport @failsafe"
    found = walk(rules(ruleset.table(given)), "at_input", 0, TCP | {key: True})
    parity = given.generation & 1
    assert all(end.how != "hand over" for end in found)
    assert {f"passed4_{parity}", f"passed6_{parity}"} <= {
        name for end in found for name in end.added
    }


@given(plans, st.sampled_from([Scopes(containers=True), Scopes(hosts=True)]))
def test_the_console_is_never_asked_about_from_here_nor_where_it_is_here(
    any_plan: Plan, scopes: Scopes
) -> None:
    given = replace(any_plan, scopes=scopes)
    for family, ip in ((4, "ip"), (6, "ip6")):
        key = f"meta l4proto tcp {ip} daddr . th dport @console{family}"
        for hook in ("input", "output"):
            found = walk(rules(ruleset.table(given)), f"at_{hook}", 0, TCP | {key: True})
            assert all(end.how != "hand over" for end in found)
            counted = {name for end in found for name in end.added}
            assert f"passed{family}_{given.generation & 1}" in counted


@given(plans, st.sampled_from(["input", "forward", "output"]))
def test_answers_are_let_through_and_counted_where_enabled(given: Plan, hook: str) -> None:
    kinds = (
        "@th,96,32 & 0x00170000 == 0x00120000",
        "@th,96,32 & 0x00170000 == 0x00140000 @th,32,32 0x0",
    )
    for flags in kinds:
        facts = dict.fromkeys(kinds, False) | TCP | {SYN: False, flags: True}
        found = ways(given, hook, 0x1234 & given.marks.keep, facts)
        assert {(end.how, end.mark) for end in found} == {("accept", 0x1234 & given.marks.keep)}
        added = {name.rstrip("46_01") for end in found for name in end.added}
        roles = {"answered_first", "answered"} if flags == kinds[0] else {"reset"}
        assert added == (roles if given.scopes.any else set())


@given(plans, st.sampled_from(["input", "forward", "output"]), others)
def test_answers_wait_while_rules_go_by_names(given: Plan, hook: str, mark: int) -> None:
    mark &= given.marks.keep
    found = ways(given, hook, mark, ANSWER)
    waiting = {end for end in found if "wait" in end.how}
    ours = given.dns_group and (given.networks or hook == "input")
    assert bool(waiting) == bool(ours and given.answers_held)
    assert {end.mark for end in found} == {mark}
    # What is too much for us follows the fail mode.
    drops = given.fail_closed and waiting
    assert any(end.how == "refuse" for end in found) == bool(drops)
    # A copy is none that waits, and no copy is made of what does.
    assert not any("dns_log" in end.chains for end in waiting)


@given(plans, st.sampled_from(["input", "forward", "output"]))
def test_what_begins_a_flow_never_waits(given: Plan, hook: str) -> None:
    """Whatever its port: a server of DNS may be connected from."""
    for facts in (TCP, UDP):
        assert all(end.how != "wait" for end in ways(given, hook, 0, facts))
    begun = ANSWER | {"ct direction reply": False}
    assert {end.how for end in ways(given, hook, 0, begun)} == {"accept"}


@given(plans, st.sampled_from(["input", "forward", "output"]), others)
def test_what_has_waited_goes_on_when_nothing_waits_any_more(
    given: Plan, hook: str, mark: int
) -> None:
    before = given.marks.verdict(mark & given.marks.keep, remember=False, generation=0)
    if not given.dns_group:
        return
    ours = {"ip daddr @containers4": True, "ip6 daddr @containers6": True}
    for held in (False, True):
        found = ways(replace(given, answers_held=held), hook, before, ANSWER | ours)
        if given.networks or hook == "input":
            assert {(end.how, end.mark) for end in found} == {("accept", mark & given.marks.keep)}
