"""Changes: what people did to a policy, and nothing else."""

from hypothesis import HealthCheck, given, settings

from cnnf.policy.changes import Change, changes
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import ListName, Policy, Rule
from tests.unit.policy.strategies import policies


def host(name: str, value: str = "a") -> NetworkObject:
    return NetworkObject(name=name, kind="host", values=(value,))


def rules(*names: str) -> tuple[Rule, ...]:
    return tuple(Rule(name=name, effect="alert") for name in names)


def test_objects_by_name() -> None:
    old = Policy(objects=(host("a"), host("b"), host("c")))
    new = Policy(objects=(host("d"), host("c", "x"), host("a")))
    assert changes(old, new) == (
        Change(kind="removed", name="b"),
        Change(kind="added", name="d"),
        Change(kind="changed", name="c", fields=("values",)),
    )


def test_as_little_as_possible_has_moved() -> None:
    found = changes(Policy(hosts=rules(*"abcdef")), Policy(hosts=rules(*"faxbcde")))
    assert found == (
        Change(kind="moved", name="f", list="hosts"),
        Change(kind="added", name="x", list="hosts", after="a"),
    )


def test_a_rule_may_change_and_go_to_the_other_list() -> None:
    other = Rule(name="b", effect="prevent", expires_ms=1_000)
    found = changes(Policy(hosts=rules("a", "b")), Policy(hosts=rules("a"), containers=(other,)))
    assert found == (
        Change(kind="moved", name="b", list="containers"),
        Change(kind="changed", name="b", list="containers", fields=("effect", "expires")),
    )


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies(), policies())
def test_the_changes_make_the_new_of_the_old(old: Policy, new: Policy) -> None:
    assert changes(new, new) == ()
    found = changes(old, new)
    lists: tuple[ListName, ...] = ("containers", "hosts")
    for where in lists:
        listed: tuple[Rule, ...] = getattr(new, where)
        out = {one.name for one in found if one.kind in ("removed", "moved")}
        names = [one.name for one in getattr(old, where) if one.name not in out]
        for change in found:
            if change.list == where and change.kind in ("added", "moved"):
                names.insert(names.index(change.after) + 1 if change.after else 0, change.name)
        assert names == [one.name for one in listed]
        was = {one.name: one for one in (*old.containers, *old.hosts)}
        told = {one.name for one in found if one.kind in ("changed", "added")}
        assert all(one == was.get(one.name) or one.name in told for one in listed)
