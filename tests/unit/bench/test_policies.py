from ipaddress import IPv4Address

import pytest
from bench.policies import policy
from hypothesis import given
from hypothesis import strategies as st

from cnnf.policy.form import parse_policy


@given(rules=st.integers(2, 60), addresses=st.integers(1, 400), met=st.integers(1, 200))
def test_every_address_stands_in_one_rule(rules: int, addresses: int, met: int) -> None:
    addresses = max(addresses, rules - 1)
    text = policy("cnnf-bench-*", rules, addresses, "10.78.0.0", met)
    read = parse_policy(text, subject="policy.yaml")
    assert (len(read.containers), len(read.hosts)) == (0, rules)
    values = {one.name: one.values for one in read.objects}
    assert values.pop("service") == ("cnnf-bench-*",)
    listed = [value for rule in read.hosts for name in rule.destination for value in values[name]]
    assert len(listed) == len(set(listed)) == addresses
    # Those that are connected to are among them, as many as there is room for.
    first = int(IPv4Address("10.78.0.0"))
    wanted = {str(IPv4Address(first + number)) for number in range(min(met, addresses))}
    assert wanted <= set(listed)
    assert {rule.effect for rule in read.hosts} == {"allow"}


def test_the_same_policy_each_time() -> None:
    assert policy("a", 10, 20, "10.0.0.0", 5) == policy("a", 10, 20, "10.0.0.0", 5)


@pytest.mark.parametrize(("rules", "addresses"), [(1, 10), (10, 8)])
def test_a_policy_that_cannot_be_is_refused(rules: int, addresses: int) -> None:
    with pytest.raises(ValueError, match=f"{rules} rules with {addresses} addresses"):
        policy("a", rules, addresses, "10.0.0.0", 5)
