"""What a compiled policy tells those who make tables of it."""

from bisect import bisect_right
from ipaddress import ip_address
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.policy import limits
from cnnf.policy.compiled import CompiledRule, compile_policy
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import Policy, Rule, port_range
from cnnf.policy.rulesets import NOTHING, Selected, decide, divide, first_match
from cnnf.policy.subnets import VERSIONS
from tests.unit.policy.slow import within
from tests.unit.policy.strategies import ADDRESSES, policies

WEB = NetworkObject(name="web", kind="image", values=("web",))
TEN = NetworkObject(name="ten", kind="subnet", values=("10.0.0.0/8", "fd00::/8"))
SHOP = NetworkObject(name="shop", kind="dns", values=("shop.example",))
WEBS = NetworkObject(name="webs", kind="host", values=("web-*",))

POLICY = Policy(
    objects=(WEB, TEN, SHOP, WEBS),
    containers=(
        Rule(name="a", source=("ten",), destination=("web",), ports=((80, 80),), effect="allow"),
        Rule(name="b", source=("web",), effect="prevent", enabled=False),
        Rule(name="c", source=("web",), destination=("ten",), protocol="udp", effect="alert"),
    ),
    hosts=(
        Rule(name="d", destination=("webs",), ports=((80, 90), (85, 95)), protocol="tcp",
             effect="prevent"),
    ),
)  # fmt: skip


def test_rules_are_numbered_in_one_sequence_without_those_that_are_off() -> None:
    compiled = compile_policy(POLICY)
    assert compiled.rules == (
        CompiledRule("a", "containers", "allow", None, ((80, 80),)),
        CompiledRule("c", "containers", "alert", "udp", ()),
        CompiledRule("d", "hosts", "prevent", "tcp", ((80, 90), (85, 95))),
    )
    assert compiled.container_rules == 2
    assert (compiled.list_rules(container=True), compiled.list_rules(container=False)) == (3, 4)
    assert compiled.anyone == Selected(source=0b100, destination=0)
    assert compiled.protocols == {6: 0b101, 17: 0b011}
    assert compiled.uses == {"image", "subnet", "host"}


def test_who_is_selected() -> None:
    compiled = compile_policy(POLICY)
    web = Identity(kind="container", name="web", tag="1")
    assert compiled.selected(web) == Selected(source=0b010, destination=0b001)
    assert compiled.selected(Identity(kind="host", name="web-1")) == Selected(0, 0b100)
    assert compiled.selected(Identity(kind="container", name="db")) == NOTHING
    assert compiled.selected_names(["shop.example"]) == NOTHING
    assert compiled.by_address(b"\x0a\0\0\1") == Selected(source=0b001, destination=0b010)
    assert compiled.by_address(ip_address("::ffff:10.0.0.1").packed) == Selected(0b001, 0b010)
    assert compiled.by_address(ip_address("fd00::1").packed) == Selected(0b001, 0b010)
    assert compiled.by_address(ip_address("2001:db8::1").packed) == NOTHING


def test_addresses_and_ports_are_cut_where_something_changes() -> None:
    compiled = compile_policy(POLICY)
    ten = Selected(0b001, 0b010)
    assert compiled.intervals(4) == ([0, 10 << 24, 11 << 24], [NOTHING, ten, NOTHING])
    assert compiled.intervals(6) == ([0, 0xFD << 120, 0xFE << 120], [NOTHING, ten, NOTHING])
    assert compiled.ports() == ([0, 80, 81, 96], [0b010, 0b111, 0b110, 0b010])


def test_nothing_to_say_is_still_an_answer() -> None:
    compiled = compile_policy(Policy())
    assert compiled.intervals(4) == compiled.intervals(6) == ([0], [NOTHING])
    assert compiled.ports() == ([0], [0])
    assert compiled.uses == frozenset()
    assert compiled.by_address(bytes(4)) == NOTHING


def test_the_internet_is_a_subnet() -> None:
    rule = Rule(name="out", source=("web",), destination=("internet",), effect="alert")
    compiled = compile_policy(Policy(objects=(WEB,), containers=(rule,)))
    assert compiled.uses == {"image", "subnet"}
    assert compiled.by_address(ip_address("203.0.113.7").packed).destination == 1
    assert compiled.by_address(ip_address("10.0.0.7").packed).destination == 0


@settings(max_examples=50)
@given(policies())
def test_tables_agree_with_the_objects_at_every_address_and_port(policy: Policy) -> None:
    compiled = compile_policy(policy)
    objects = {one.name: one for one in policy.objects}
    listed = [one for one in (*policy.containers, *policy.hosts) if one.enabled]
    subnets = {"internet", *(one.name for one in policy.objects if one.kind == "subnet")}
    for text in ADDRESSES:
        who = Candidate(address=ip_address(text))
        expected = [0, 0]
        for at, rule in enumerate(listed):
            for side, names in enumerate((rule.source, rule.destination)):
                if any(within(name, objects, who) for name in names if name in subnets):
                    expected[side] |= 1 << at
        assert list(compiled.by_address(ip_address(text).packed)) == expected
    starts, sets = compiled.ports()
    for port in (0, 79, 80, 81, 443, 8000, 8100, 8101, 65535):
        assert sets[bisect_right(starts, port) - 1] == sum(
            1 << at
            for at, rule in enumerate(listed)
            if not rule.ports or any(low <= port <= high for low, high in rule.ports)
        )
    for version in VERSIONS:
        starts, stretches = compiled.intervals(version)
        assert starts[0] == 0
        assert starts == sorted(set(starts))
        assert all(one != other for one, other in pairwise(stretches))


SPANS = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 31)).map(
    lambda one: (*sorted(one[:2]), one[2])
)


@given(st.lists(SPANS))
def test_a_line_is_divided_as_its_ranges_say(spans: list[tuple[int, int, int]]) -> None:
    starts, sets = divide(spans, 20)
    for at in range(21):
        expected = 0
        for low, high, rules in spans:
            expected |= rules if low <= at <= high else 0
        assert sets[bisect_right(starts, at) - 1] == expected
    assert starts[-1] <= 20
    assert all(one != other for one, other in pairwise(sets))


@given(st.sets(st.integers(0, 300)))
def test_the_first_match_is_the_lowest_rule(rules: set[int]) -> None:
    held = sum(1 << one for one in rules)
    assert first_match(held) == min(rules, default=-1)


@given(*[st.integers(0, 255)] * 5)
def test_the_first_rule_in_all_five_sets_decides(a: int, b: int, c: int, d: int, e: int) -> None:
    assert decide(a, b, c, d, e) == first_match(a & b & c & d & e)


def renamed(policy: Policy) -> Policy:
    """The same meaning, written differently."""
    other = NetworkObject(name="zehn", kind="subnet", values=("fd00::/8", "10.0.0.0/8"))
    first = POLICY.containers[0]
    return Policy(
        objects=(WEBS, other, TEN, WEB),
        containers=(
            Rule(name="a", source=("zehn",), destination=first.destination, ports=first.ports,
                 effect="allow", note="said again"),
            *policy.containers[2:],
        ),
        hosts=policy.hosts,
    )  # fmt: skip


def test_the_digest_is_that_of_the_meaning() -> None:
    digest = compile_policy(POLICY).digest
    assert digest == "085b5281bca6fca1"
    assert compile_policy(renamed(POLICY)).digest == digest


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(objects=POLICY.objects, containers=POLICY.containers),
        Policy(objects=POLICY.objects, containers=POLICY.containers[::-1], hosts=POLICY.hosts),
        Policy(
            objects=(WEB, NetworkObject(name="ten", kind="subnet", values=("10.0.0.0/8",)), WEBS),
            containers=POLICY.containers,
            hosts=POLICY.hosts,
        ),
    ],
)
def test_another_meaning_has_another_digest(policy: Policy) -> None:
    assert compile_policy(policy).digest != compile_policy(POLICY).digest


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(hosts=(Rule(name="r", source=("x",), effect="alert"),)), "no network object"),
        (
            Policy(objects=(WEB,), hosts=(Rule(name="r", source=("web",), effect="alert"),)),
            "move the rule to `containers`",
        ),
        (
            Policy(
                objects=(WEBS,),
                containers=(
                    Rule(name="r", source=("webs",), destination=("webs",), effect="alert"),
                ),
            ),
            "move the rule to `hosts`",
        ),
        (
            Policy(
                objects=(TEN,),
                hosts=(Rule(name="r", source=("ten",), destination=("internet",), effect="alert"),),
            ),
            "neither side is protected",
        ),
        (Policy(hosts=(Rule(name="r", effect="deny"),)), "write one of allow"),  # type: ignore[arg-type]
        (Policy(hosts=(Rule(name="r", effect="allow", protocol="sctp"),)), "write one of tcp"),  # type: ignore[arg-type]
        (Policy(hosts=(Rule(name="r", effect="allow", ports=((2, 1),)),)), "ports from 0"),
        (Policy(hosts=(Rule(name="r", effect="allow", note="\0"),)), "can't be printed"),
        (
            Policy(
                containers=(Rule(name="r", effect="allow"),),
                hosts=(Rule(name="r", effect="alert"),),
            ),
            "taken already",
        ),
    ],
)
def test_a_rule_that_is_wrong_is_refused_with_its_name(policy: Policy, said: str) -> None:
    with pytest.raises(InvalidValueError, match=f"rule 'r': .*{said}"):
        compile_policy(policy)


@pytest.mark.parametrize(
    ("bound", "most"),
    [("RULES_MAX", 3), ("OBJECTS_MAX", 3), ("POLICY_VALUES_MAX", 4), ("VALUES_MAX", 1),
     ("PORTS_MAX", 1), ("SIDE_OBJECTS_MAX", 0)],
)  # fmt: skip
def test_bounds_hold_for_policies_that_no_form_wrote(
    bound: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, bound, most)
    with pytest.raises(InvalidValueError, match=f"at most {most}"):
        compile_policy(POLICY)


def test_sets_beyond_their_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnf.policy.rulesets.SET_BYTES_MAX", 1)
    rules = [Rule(name=f"r{at}", ports=((at, at),), effect="allow") for at in range(20)]
    with pytest.raises(InvalidValueError, match="overlap so much"):
        compile_policy(Policy(containers=tuple(rules)))


def test_identities_beyond_the_cache_are_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDENTITIES_CACHED_MAX", 2)
    monkeypatch.setattr(limits, "IDENTITY_SET_BYTES_MAX", 0)
    compiled = compile_policy(POLICY)
    who = [Identity(kind="container", name=name) for name in ("web", "db", "cache", "web")]
    expected = [Selected(0b010, 0b001), NOTHING, NOTHING, Selected(0b010, 0b001)]
    for _ in range(2):
        assert [compiled.selected(one) for one in who] == expected
    assert len(compiled._by_identity) <= 2


def test_port_ranges_are_read() -> None:
    assert [port_range(text) for text in ("0", "443", "8000-8100", "1 - 65535")] == [
        (0, 0),
        (443, 443),
        (8000, 8100),
        (1, 65535),
    ]


def test_ten_thousand_rules_and_identities_are_no_trouble() -> None:
    count = 10_000
    objects = [
        NetworkObject(name=f"s{at}", kind="subnet", values=(f"10.{at >> 8}.{at & 255}.0/24",))
        for at in range(count)
    ]
    objects += [
        NetworkObject(name=f"i{at}", kind="image", values=(f"team/app{at}",)) for at in range(count)
    ]
    rules = [
        Rule(name=f"r{at}", source=(f"i{at}",), destination=(f"s{at}",), effect="prevent")
        for at in range(count)
    ]
    compiled = compile_policy(Policy(objects=tuple(objects), containers=tuple(rules)))
    assert len(compiled.intervals(4)[0]) == count + 2
    for at in range(0, count, 100):
        who = Identity(kind="container", name=f"team/app{at}")
        assert compiled.selected(who) == Selected(1 << at, 0)
        assert compiled.by_address(bytes((10, at >> 8, at & 255, 9))) == Selected(0, 1 << at)
