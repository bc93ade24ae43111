"""What packet loops judge by follows the names that askers were told."""

from typing import Any

import pytest

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.judge import ALLOW, PREVENT, Judge
from cnnf.defender.core.memberships import Membership
from cnnf.defender.core.name_rules import NameRules
from cnnf.defender.core.names import HOST, Learned
from cnnf.defender.core.plan import Scopes
from cnnf.defender.judging import Judging
from cnnf.defender.netlink.nfqueue import OUTPUT
from cnnf.policy.compiled import compile_policy
from cnnf.policy.form import parse_policy
from cnnf.policy.rulesets import NOTHING
from tests.unit.defender.core.estate import packed
from tests.unit.defender.test_judging_peers import OneLoop, Services

HERE, API = packed("10.0.0.1"), packed("203.0.113.7")
NOW = 1_000_000_000_000
POLICY = """
apiVersion: cnnf/v1
networkObjects:
  - {name: payments, type: dns, values: ["*.pay.example", "-test.*"]}
  - {name: api, type: service, values: [api]}
rules:
  hosts:
    - {name: pay, source: [api], destination: [payments], effect: allow}
    - {name: rest, source: [api], effect: prevent}
"""


@pytest.fixture
def names() -> NameRules:
    return NameRules()


@pytest.fixture
def judging(names: NameRules) -> Judging:
    services: Any = Services()
    made = Judging(AddressBook(), services, "h1", None, names)
    made.change(Scopes(hosts=True), compile_policy(parse_policy(POLICY, subject="the test's")))
    return made


@pytest.fixture
def loop(judging: Judging) -> Any:
    made = OneLoop()
    made.prepare(judging.tables())
    return made


def effect(judge: Judge) -> int:
    return judge.decide(OUTPUT, HERE, API, 443, 6, 7).effect


def learned(name: str) -> Learned:
    return Learned(HOST, name, ((API, 0),))


def test_a_name_lets_in_until_it_ends(judging: Judging, names: NameRules, loop: Any) -> None:
    assert judging.goes_by_names
    assert effect(loop.judge) == PREVENT
    # Nothing was remembered that it changes: no new generation.
    assert not judging.tell_members(loop, names.learn(learned("api.pay.example"), NOW))
    assert effect(loop.judge) == ALLOW
    # What goes was remembered.
    assert judging.tell_members(loop, names.forget(HOST, NOW))
    assert effect(loop.judge) == PREVENT


def test_the_last_that_is_told_of_an_end_holds(
    judging: Judging, names: NameRules, loop: Any
) -> None:
    told = names.learn(learned("api.pay.example"), NOW)
    told += names.learn(learned("test.pay.example"), NOW)
    assert [one.selected == NOTHING for one in told] == [False, True]
    judging.tell_members(loop, told)
    assert effect(loop.judge) == PREVENT
    again = [*told, Membership(HOST, API, told[0].selected)]
    judging.tell_members(loop, again)
    assert effect(loop.judge) == ALLOW


def test_whole_tables_have_every_name(judging: Judging, names: NameRules, loop: Any) -> None:
    names.learn(learned("api.pay.example"), NOW)
    loop.prepare(judging.tables())
    assert effect(loop.judge) == ALLOW


def test_without_rules_or_where_nothing_is_enabled_nobody_waits(
    judging: Judging, names: NameRules, loop: Any
) -> None:
    judging.change(Scopes())
    assert not judging.goes_by_names
    empty = compile_policy(parse_policy("apiVersion: cnnf/v1", subject="the test's"))
    judging.change(Scopes(hosts=True), empty)
    assert not judging.goes_by_names
    orders = loop.orders
    assert not judging.tell_members(loop, names.learn(learned("api.pay.example"), NOW))
    assert loop.orders == orders


def test_many_names_go_in_pieces_or_as_a_file(
    judging: Judging, names: NameRules, loop: Any
) -> None:
    # An asker has no more than a few thousand.
    told = []
    for number in range(20_000):
        asker, address = bytes([10, 1, *divmod(number % 16, 256)]), number.to_bytes(4)
        told += names.learn(Learned(asker, "api.pay.example", ((address, 0),)), NOW)
    files = loop.files
    judging.tell_members(loop, told)
    assert loop.files == files + 1 or loop.orders > 1
    judge = Judge(judging.tables())
    for one in (told[0], told[-1]):
        assert loop.judge._members[one.asker, one.address] > 0
        assert judge._members[one.asker, one.address] > 0
