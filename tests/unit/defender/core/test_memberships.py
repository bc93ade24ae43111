"""Names become sets of rules, and only what is different is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import memberships
from cnnf.defender.core.limits import NAME_TTL_MIN_MS
from cnnf.defender.core.memberships import Membership, Memberships
from cnnf.defender.core.names import Changed, Learned, Names
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.form import parse_policy
from cnnf.policy.rulesets import NOTHING, Selected

POD, OTHER = bytes([10, 1, 0, 4]), bytes([10, 1, 0, 5])
API = bytes([203, 0, 113, 7])
NOW = 1_000_000_000_000

POLICY = """
apiVersion: cnnf/v1
networkObjects:
  - {name: payments, type: dns, values: ["*.pay.example", "-test.pay.example"]}
  - {name: anything, type: dns, values: ["*.example"]}
  - {name: front, type: image, values: [shop/front]}
rules:
  containers:
    - {name: pay, source: [front], destination: [payments], effect: allow}
    - {name: called, source: [payments], destination: [front], effect: alert}
    - {name: rest, source: [front], destination: [anything], effect: prevent}
"""
PAID, ANY = Selected(0b010, 0b101), Selected(0, 0b100)


def compiled(text: str = POLICY) -> Compiled:
    return compile_policy(parse_policy(text.encode(), subject="the test's policy"))


def learned(name: str, asker: bytes = POD) -> Learned:
    return Learned(asker, name, ((API, 0),))


def test_a_name_s_rules_for_its_asker_alone() -> None:
    names, members = Names(), Memberships(compiled())
    told = members.update(names.learn(learned("api.pay.example"), NOW), names, NOW)
    assert told == [Membership(POD, API, PAID)]
    assert list(members) == told
    assert names.matching(OTHER, API, NOW) == ()


def test_only_what_is_different_is_told() -> None:
    names, members = Names(), Memberships(compiled())
    members.update(names.learn(learned("api.pay.example"), NOW), names, NOW)
    for again in ("api.pay.example", "b.pay.example", "nothing.of.ours"):
        assert members.update(names.learn(learned(again), NOW), names, NOW) == []
    # What one of its names excludes it from, it is out of.
    told = members.update(names.learn(learned("test.pay.example"), NOW), names, NOW)
    assert told == [Membership(POD, API, ANY, PAID)]


def test_a_name_that_has_ended_is_told_once() -> None:
    names, members = Names(), Memberships(compiled())
    members.update(names.learn(learned("api.pay.example"), NOW), names, NOW)
    later = NOW + NAME_TTL_MIN_MS
    told = members.update(names.expire(NOW, later), names, later)
    assert told == [Membership(POD, API, NOTHING, PAID)]
    assert list(members) == []
    assert members.update([Changed(POD, API)], names, later) == []


def test_a_policy_without_dns_objects_is_told_of_nothing() -> None:
    names, members = Names(), Memberships(compiled("apiVersion: cnnf/v1"))
    assert not members.matter
    assert members.update(names.learn(learned("api.pay.example"), NOW), names, NOW) == []
    # Names that came before the policy count in it.
    members.use(compiled(), names, NOW)
    assert list(members) == [Membership(POD, API, PAID)]
    members.use(compiled("apiVersion: cnnf/v1"), names, NOW)
    assert list(members) == []


POLICY_MADE = compiled()
texts = st.sampled_from(["api.pay.example", "test.pay.example", "b.example", "none"])
steps = st.lists(
    st.tuples(st.sampled_from([POD, OTHER]), texts, st.integers(0, NAME_TTL_MIN_MS)), max_size=25
)


@given(steps)
def test_changes_make_what_a_new_beginning_makes(given_steps: list[tuple[bytes, str, int]]) -> None:
    names, members, now = Names(), Memberships(POLICY_MADE), NOW
    copy: dict[Changed, Selected] = {}
    for asker, name, wait in given_steps:
        before, now = now, now + wait
        changed = names.expire(before, now) + names.learn(learned(name, asker), now)
        for one in members.update(changed, names, now):
            copy[Changed(one.asker, one.address)] = one.selected
    fresh = Memberships(POLICY_MADE)
    fresh.use(POLICY_MADE, names, now)
    assert set(fresh) == set(members)
    assert {place: one for place, one in copy.items() if one != NOTHING} == {
        Changed(one.asker, one.address): one.selected for one in members
    }


def test_what_there_is_no_room_for_is_selected_by_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memberships, "MEMBERS_MAX", 2)
    names, members = Names(), Memberships(compiled())
    some = [bytes([203, 0, 113, last]) for last in range(3)]
    answer = Learned(POD, "api.pay.example", tuple((one, 0) for one in some))
    told = members.update(names.learn(answer, NOW), names, NOW)
    assert [one.address for one in told] == some[:2]
    # What is known still changes, and goes; its room is the next one's.
    told = members.update(names.learn(learned("test.pay.example"), NOW), names, NOW)
    assert told == []
    excluded = Learned(POD, "test.pay.example", ((some[0], 0),))
    told = members.update(names.learn(excluded, NOW), names, NOW)
    assert told == [Membership(POD, some[0], ANY, PAID)]
    members.update([Changed(POD, some[1])], _Nothing(), NOW)
    assert members.update([Changed(POD, some[2])], names, NOW) == [Membership(POD, some[2], PAID)]


class _Nothing:
    """Names that have all ended."""

    def matching(self, asker: bytes, address: bytes, now_ms: int) -> tuple[str, ...]:
        return ()

    def entries(self, now_ms: int) -> list[tuple[bytes, bytes, tuple[str, ...]]]:
        return []
