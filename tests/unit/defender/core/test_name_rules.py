"""What rules by name go by: for each asker, over all its addresses, for as long as a name holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.limits import NAME_TTL_MAX_MS, NAME_TTL_MIN_MS
from cnnf.defender.core.memberships import Membership
from cnnf.defender.core.name_rules import Kin, NameRules
from cnnf.defender.core.names import HOST, Learned
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.form import parse_policy
from cnnf.policy.rulesets import NOTHING, Selected
from tests.unit.defender.core.estate import packed

POD, POD6, OTHER = packed("10.1.0.4"), packed("fd00::4"), packed("10.1.0.5")
API, API6, WWW = packed("203.0.113.7"), packed("2001:db8::7"), packed("203.0.113.8")
NOW = 1_000_000_000_000

POLICY = """
apiVersion: cnnf/v1
networkObjects:
  - {name: payments, type: dns, values: [pay.example, "*.pay.example", "-test.pay.example"]}
  - {name: web, type: dns, values: ["www.*"]}
  - {name: front, type: image, values: [shop/front]}
rules:
  containers:
    - {name: pay, source: [front], destination: [payments], effect: allow}
    - {name: web, source: [front], destination: [web], effect: alert}
"""
PAY, WEB = Selected(0, 0b01), Selected(0, 0b10)


def compiled(text: str = POLICY) -> Compiled:
    return compile_policy(parse_policy(text.encode(), subject="the test's policy"))


@pytest.fixture
def rules() -> NameRules:
    made = NameRules()
    made.use(compiled(), NOW)
    return made


def learned(
    name: str, *addresses: bytes, asker: bytes = POD, seconds: int = 0, server: bytes = b""
) -> Learned:
    return Learned(asker, name, tuple((one, seconds) for one in addresses or (API,)), server)


def places(rules: NameRules) -> dict[tuple[bytes, bytes], Selected]:
    return {(one.asker, one.address): one.selected for one in rules}


def test_a_name_counts_for_whoever_was_told(rules: NameRules) -> None:
    assert rules.matter
    told = rules.learn(learned("api.pay.example", API, API6), NOW)
    assert told == [Membership(POD, API, PAY), Membership(POD, API6, PAY)]
    # Another asker has to ask himself, and the host too.
    assert rules.learn(learned("api.pay.example", asker=OTHER), NOW) == [
        Membership(OTHER, API, PAY)
    ]
    assert rules.learn(learned("api.pay.example", asker=HOST), NOW) == [Membership(HOST, API, PAY)]
    assert rules.forget(POD, NOW) == [
        Membership(POD, API, NOTHING, PAY),
        Membership(POD, API6, NOTHING, PAY),
    ]
    assert places(rules) == {(OTHER, API): PAY, (HOST, API): PAY}


@pytest.mark.parametrize(
    ("name", "selected"),
    [
        ("pay.example", PAY),
        ("a.b.pay.example", PAY),
        ("www.pay.example", PAY | WEB),
        ("www.example", WEB),
        ("test.pay.example", None),
        ("pay.example.com", None),
        ("xpay.example", None),
        (r"x\046pay.example", None),
    ],
)
def test_which_names_an_object_has(rules: NameRules, name: str, selected: Selected | None) -> None:
    told = rules.learn(learned(name), NOW)
    assert told == ([] if selected is None else [Membership(POD, API, selected)])


def test_several_names_select_together_and_end_apart(rules: NameRules) -> None:
    rules.learn(learned("pay.example"), NOW)
    told = rules.learn(learned("www.example", seconds=1_000), NOW)
    assert told == [Membership(POD, API, PAY | WEB, PAY)]
    later = NOW + NAME_TTL_MIN_MS
    assert rules.expire(NOW, later) == [Membership(POD, API, WEB, PAY | WEB)]


@pytest.mark.parametrize(
    ("seconds", "holds_ms"),
    [
        (0, NAME_TTL_MIN_MS),
        (NAME_TTL_MIN_MS // 1_000 + 1, NAME_TTL_MIN_MS + 1_000),
        (2**31 - 1, NAME_TTL_MAX_MS),
    ],
)
def test_how_long_a_name_counts(rules: NameRules, seconds: int, holds_ms: int) -> None:
    rules.learn(learned("pay.example", seconds=seconds), NOW)
    assert rules.expire(NOW, NOW + holds_ms - 1) == []
    # Told again it goes on, and nobody has to be told.
    assert rules.learn(learned("pay.example", seconds=seconds), NOW + 1) == []
    assert rules.expire(NOW + holds_ms - 1, NOW + holds_ms) == []
    assert rules.expire(NOW + holds_ms, NOW + holds_ms + 1) == [Membership(POD, API, NOTHING, PAY)]
    assert rules.expire(NOW + holds_ms + 1, NOW + 2 * holds_ms) == []


def test_a_name_that_has_ended_but_was_not_looked_at_does_not_come_back(rules: NameRules) -> None:
    rules.learn(learned("pay.example"), NOW)
    rules.use(compiled(), NOW + NAME_TTL_MIN_MS)
    assert places(rules) == {}


def test_other_addresses_of_the_asker(rules: NameRules) -> None:
    """It asks over one family, and connects over the other."""
    kin: Kin = {POD: (POD6,), POD6: (POD,)}
    rules.learn(learned("pay.example"), NOW)
    assert rules.related(kin, NOW) == [Membership(POD6, API, PAY)]
    assert rules.related(dict(kin), NOW) == []
    told = rules.learn(learned("www.example", WWW, asker=POD6), NOW)
    assert set(told) == {Membership(POD6, WWW, WEB), Membership(POD, WWW, WEB)}
    # One address goes to another: what was told over the other one is not his.
    assert set(rules.related({POD: (), OTHER: ()}, NOW)) == {
        Membership(POD, WWW, NOTHING, WEB),
        Membership(POD6, API, NOTHING, PAY),
    }
    assert places(rules) == {(POD, API): PAY, (POD6, WWW): WEB}


def test_another_policy_counts_what_was_told_before(rules: NameRules) -> None:
    rules.use(compiled("apiVersion: cnnf/v1"), NOW)
    assert not rules.matter
    assert rules.learn(learned("pay.example"), NOW) == []
    assert rules.related({POD: (POD6,), POD6: (POD,)}, NOW) == []
    assert list(rules) == []
    rules.use(compiled(), NOW)
    assert places(rules) == {(POD, API): PAY, (POD6, API): PAY}


askers = st.sampled_from([POD, POD6, OTHER, HOST])
steps = st.one_of(
    st.tuples(
        st.just("learn"),
        askers,
        st.sampled_from(["pay.example", "www.example", "test.pay.example"]),
    ),
    st.tuples(st.just("wait"), st.integers(0, NAME_TTL_MIN_MS), st.none()),
    st.tuples(st.just("forget"), askers, st.none()),
    st.tuples(st.just("kin"), st.booleans(), st.none()),
)


@given(st.lists(steps, max_size=30))
def test_what_is_told_makes_what_a_new_beginning_makes(some: list[tuple[str, object, str]]) -> None:
    """Whoever follows the changes in their order knows what whoever asks now is told."""
    rules, now, told = NameRules(), NOW, list[Membership]()
    rules.use(compiled(), now)
    for what, how, name in some:
        if what == "learn":
            assert isinstance(how, bytes)
            told += rules.learn(learned(name, API, WWW, asker=how), now)
        elif what == "wait":
            assert isinstance(how, int)
            told += rules.expire(now, now + how)
            now += how
        elif what == "forget":
            assert isinstance(how, bytes)
            told += rules.forget(how, now)
        else:
            told += rules.related({POD: (POD6,), POD6: (POD,)} if how else {}, now)
    copy: dict[tuple[bytes, bytes], Selected] = {}
    for one in told:
        assert copy.get((one.asker, one.address), NOTHING) == one.before
        copy[one.asker, one.address] = one.selected
    assert {place: one for place, one in copy.items() if one != NOTHING} == places(rules)
    rules.use(compiled(), now)
    assert {place: one for place, one in copy.items() if one != NOTHING} == places(rules)
