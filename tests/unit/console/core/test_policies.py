"""Edits of a policy, quarantine and lockouts: values in, values out."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.console.core import lockout, policies, quarantine
from cnnf.console.core.policies import Position
from cnnf.console.core.policy_form import (
    ObjectForm,
    RuleForm,
    object_form,
    read_object,
    read_rule,
    rule_form,
)
from cnnf.console.core.quarantine import Target
from cnnf.console.errors import Conflict, Refused
from cnnf.defender.options import DEFAULT_FAILSAFE
from cnnf.policy.compiled import compile_policy
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.evaluation import evaluate
from cnnf.policy.export import write_policy
from cnnf.policy.form import parse_policy
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import LISTS, Policy, Rule

POLICY = parse_policy(
    """\
apiVersion: cnnf/v1
networkObjects:
  - {name: shop, type: image, values: [shop/*], labels: {a: {not in: [x], exists: true}, b: c}}
  - {name: office, type: subnet, values: [10.0.0.0/8]}
  - {name: hosts, type: host, values: ["*"]}
rules:
  containers:
    - {name: one, source: [shop, office], destination: [shop], ports: [80, 90-99], effect: allow}
    - {name: two, destination: [shop], effect: alert, expires: 2030-01-01, owner: o, note: n}
  hosts:
    - {name: three, source: [office], destination: [hosts], protocol: tcp, effect: prevent}
""",
    subject="",
)


def names(policy: Policy) -> tuple[list[str], list[str]]:
    return [one.name for one in policy.containers], [one.name for one in policy.hosts]


def test_the_json_form_says_the_same() -> None:
    for one in POLICY.objects:
        text = msgspec.json.encode(object_form(one))
        assert read_object(msgspec.json.decode(text, type=ObjectForm)) == one
    for rule in (*POLICY.containers, *POLICY.hosts):
        text = msgspec.json.encode(rule_form(rule))
        assert read_rule(msgspec.json.decode(text, type=RuleForm)) == rule


def test_a_new_object_is_last_and_a_changed_one_stays_where_it_is() -> None:
    fresh = msgspec.structs.replace(POLICY.objects[0], name="fresh")
    assert policies.put_object(POLICY, "fresh", fresh, carry=False).objects[-1] == fresh
    changed = msgspec.structs.replace(POLICY.objects[1], values=("192.0.2.1",))
    found = policies.put_object(POLICY, "office", changed, carry=False)
    assert found.objects[1] == changed
    with pytest.raises(Refused):  # there is nothing to rename
        policies.put_object(POLICY, "gone", fresh, carry=True)


def test_a_rename_is_carried_through_every_rule() -> None:
    renamed = msgspec.structs.replace(POLICY.objects[0], name="store")
    with pytest.raises(Conflict, match="'one', 'two'"):
        policies.put_object(POLICY, "shop", renamed, carry=False)
    found = policies.put_object(POLICY, "shop", renamed, carry=True)
    assert found.containers[0].source == ("store", "office")
    assert found.containers[1].destination == ("store",)
    assert compile_policy(found).digest == compile_policy(POLICY).digest


def test_what_is_deleted_never_leaves_a_side_open() -> None:
    with pytest.raises(Conflict):
        policies.delete_object(POLICY, "office", carry=False)
    found = policies.delete_object(POLICY, "office", carry=True)
    assert names(found) == (["one", "two"], [])
    assert found.containers[0].source == ("shop",)


def test_rules_are_put_where_they_are_wanted() -> None:
    rule = Rule(name="new", effect="alert")
    for position, expected in (
        (Position(), ["one", "two", "new"]),
        (Position(first=True), ["new", "one", "two"]),
        (Position(before="two"), ["one", "new", "two"]),
        (Position(after="one"), ["one", "new", "two"]),
    ):
        assert names(policies.add_rule(POLICY, "containers", rule, position))[0] == expected
    for position in (Position(before="one", first=True), Position(after="three"),
                     Position(after="gone")):  # fmt: skip
        with pytest.raises(Refused):
            policies.add_rule(POLICY, "containers", rule, position)
    with pytest.raises(Conflict):
        policies.add_rule(POLICY, "hosts", msgspec.structs.replace(rule, name="one"))


def test_a_rule_moves_within_and_between_lists() -> None:
    assert names(policies.move_rule(POLICY, "two", Position(first=True)))[0] == ["two", "one"]
    found = policies.move_rule(POLICY, "two", Position(before="three"), "hosts")
    assert names(found) == (["one"], ["two", "three"])
    again = policies.replace_rule(found, "two", Rule(name="2", effect="alert"), "containers")
    assert names(again) == (["one", "2"], ["three"])


@given(st.permutations(["one", "two", "a", "b", "c"]))
def test_any_order_can_be_reached_by_moving(order: list[str]) -> None:
    policy = POLICY
    for name in ("a", "b", "c"):
        policy = policies.add_rule(policy, "containers", Rule(name=name, effect="alert"))
    rules = {rule.name: rule for rule in policy.containers}
    previous = ""
    for name in order:
        position = Position(after=previous) if previous else Position(first=True)
        policy = policies.move_rule(policy, name, position)
        previous = name
    assert policy.containers == tuple(rules[name] for name in order)


def test_merging_replaces_by_name() -> None:
    other = Policy(
        objects=(msgspec.structs.replace(POLICY.objects[1], values=("192.0.2.1",)),),
        containers=(Rule(name="three", effect="allow"), Rule(name="four", effect="alert")),
        hosts=(Rule(name="two", effect="prevent"),),
    )
    found = policies.merge(POLICY, other)
    assert names(found) == (["one", "three", "four"], ["two"])
    assert found.objects[1] == other.objects[0]
    assert policies.merge(POLICY, Policy()) == POLICY
    assert policies.merge(Policy(), POLICY) == POLICY
    assert policies.merge(found, other) == found


CONTAINER = Identity(kind="container", name="shop/cart", tag="1", host="h1", namespace="prod")
SERVICE = Identity(kind="service", name="nginx", host="h1")


def target(**fields: object) -> Target:
    return Target(**({"kind": "app", "name": "shop/cart", "container": True} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "isolated", "others"),
    [
        (target(), [CONTAINER], [SERVICE]),
        (target(namespace="prod"), [CONTAINER],
         [msgspec.structs.replace(CONTAINER, namespace="test")]),
        (target(host="h1"), [CONTAINER], [msgspec.structs.replace(CONTAINER, host="h2")]),
        (target(kind="service", name="nginx", container=False), [SERVICE], [CONTAINER]),
        (target(kind="service", name="nginx", container=False, host="h2"), [], [SERVICE]),
    ],
)  # fmt: skip
def test_a_quarantine_isolates_whom_it_names_and_nobody_else(
    who: Target, isolated: list[Identity], others: list[Identity]
) -> None:
    policy, name = quarantine.isolate(POLICY, who, "why")
    compiled = compile_policy(policy)
    peers = [Candidate(identity=CONTAINER), Candidate(address=b"\x01\x02\x03\x04"),
             Candidate(identity=SERVICE)]  # fmt: skip
    for one in (*isolated, *others):
        for peer in peers:
            me = Candidate(identity=one)
            for source, destination in (([me], [peer]), ([peer], [me])):
                decision = evaluate(compiled, source, destination, 80, "tcp")
                by = decision.cause.startswith(f"rule:{name} ")
                assert by == bool({one, peer.identity} & set(isolated)), (one, peer, decision)
    assert quarantine.release(policy, name) == POLICY
    assert parse_policy(write_policy(policy), subject="") == policy


def test_an_instance_is_met_at_its_addresses_only() -> None:
    who = target(kind="instance", host="h1", instance="c" * 64, addresses=("172.17.0.2",))
    policy, name = quarantine.isolate(POLICY, who, "")
    assert name == "quarantine:shop/cart on h1 cccccccccccc"
    compiled = compile_policy(policy)
    for address, effect in ((b"\xac\x11\x00\x02", "prevent"), (b"\xac\x11\x00\x03", "allow")):
        one = Candidate(identity=CONTAINER, address=address)
        assert evaluate(compiled, [one], [], 80, "tcp").effect == effect


def test_names_of_quarantines_fit_and_differ() -> None:
    long = [target(name="a" * 500 + end) for end in ("x", "y")]
    found = [quarantine.isolate(Policy(), who, "n" * 5_000) for who in long]
    assert found[0][1] != found[1][1]
    for policy, _ in found:
        compile_policy(policy)
    service = target(kind="service", name="s" * 300, container=False)
    compile_policy(quarantine.isolate(Policy(), service, "")[0])


def test_quarantines_are_listed_with_what_is_left_of_them() -> None:
    policy, first = quarantine.isolate(POLICY, target(), "why")
    policy, second = quarantine.isolate(
        policy, target(kind="service", name="nginx", container=False), ""
    )
    assert [one.in_force for one in quarantine.quarantines(policy)] == [True, True]
    broken = policies.enable_rules(policy, [f"{first} in"], enabled=False)
    assert [one.in_force for one in quarantine.quarantines(broken)] == [False, True]
    for where in LISTS:
        broken = policies.add_rule(
            broken, where, Rule(name=f"before {where}", effect="allow"), Position(first=True)
        )
    assert [one.in_force for one in quarantine.quarantines(broken)] == [False, False]
    with pytest.raises(Conflict):
        quarantine.isolate(policy, target(), "")
    used = policies.add_rule(
        policy, "containers", Rule(name="mine", source=(first,), effect="alert")
    )
    with pytest.raises(Conflict, match="mine"):
        quarantine.release(used, first)
    assert quarantine.release(quarantine.release(policy, first), second) == POLICY


def test_failsafe_ports_are_the_defenders() -> None:
    assert frozenset(DEFAULT_FAILSAFE) == lockout.FAILSAFE_PORTS


@pytest.mark.parametrize(
    ("rule", "refused", "noted"),
    [
        ({"ports": ((2222, 2222),), "destination": ("edge",)}, True, True),
        ({"ports": ((22, 22), (2222, 2222)), "destination": ("edge",)}, True, True),
        ({"ports": ((22, 22),), "destination": ("inner",)}, True, True),
        # What is a failsafe port of some hosts is prevented on the others.
        ({"ports": ((2222, 2222),), "destination": ("inner",)}, False, True),
        ({"ports": ((2222, 2222),)}, False, True),
        ({"ports": ((22, 22),)}, True, True),
        # A service of hosts that have it, and one of whatever host.
        ({"ports": ((2222, 2222),), "destination": ("edge ssh",)}, True, True),
        ({"ports": ((2222, 2222),), "destination": ("ssh",)}, False, True),
        # Hosts that are not there yet have what nobody chose.
        ({"ports": ((22, 22),), "destination": ("coming",)}, True, True),
        ({"ports": ((2222, 2222),), "destination": ("coming",)}, False, True),
        ({"ports": ((2223, 2223),), "destination": ("edge",)}, False, False),
    ],
)
def test_hosts_have_failsafe_ports_of_their_own(
    rule: dict[str, object], refused: bool, noted: bool
) -> None:
    failsafe = {
        "edge-1": frozenset((22, 2222)),
        "edge-2": frozenset((22, 2222, 8443)),
        "db": frozenset((22,)),
    }
    objects = (
        NetworkObject(name="edge", kind="host", values=("edge-*",)),
        NetworkObject(name="inner", kind="host", values=("*", "-edge-*")),
        NetworkObject(name="coming", kind="host", values=("new-*",)),
        NetworkObject(name="ssh", kind="service", values=("ssh",)),
        NetworkObject(name="edge ssh", kind="service", values=("ssh",), hosts=("edge-*",)),
    )
    made = Rule(**({"name": "r", "effect": "prevent"} | rule))  # type: ignore[arg-type]
    policy = Policy(objects=objects, hosts=(made,))
    if refused:
        with pytest.raises(Refused, match="failsafe"):
            lockout.check_failsafe(policy, failsafe)
    else:
        lockout.check_failsafe(policy, failsafe)
    said = lockout.notes(policy, failsafe)
    assert bool(said) == noted
    assert all("(TCP 22, 2222, 8443)" in one for one in said)


def hosts(**fields: object) -> Policy:
    rule = Rule(**({"name": "r", "effect": "prevent"} | fields))  # type: ignore[arg-type]
    return msgspec.structs.replace(POLICY, hosts=(rule,))


@pytest.mark.parametrize(
    ("policy", "refused", "noted"),
    [
        (hosts(ports=((22, 22),)), True, True),
        (hosts(ports=((22, 22),), destination=("hosts",)), True, True),
        (hosts(ports=((22, 22),), source=("office",), destination=("hosts",)), True, True),
        (hosts(ports=((22, 22),), source=("hosts",)), False, False),
        (hosts(ports=((22, 22),), protocol="udp"), False, False),
        (hosts(ports=((22, 22),), enabled=False), False, False),
        (hosts(ports=((22, 22),), effect="alert"), False, False),
        (hosts(ports=((22, 22),), source=("hosts",), destination=("internet",)), False, False),
        (hosts(ports=((20, 25),)), False, True),
        (hosts(), False, True),
        (hosts(ports=((80, 80),)), False, False),
    ],
)
def test_a_rule_that_only_locks_out_is_refused(policy: Policy, refused: bool, noted: bool) -> None:
    if refused:
        with pytest.raises(Refused, match="failsafe"):
            lockout.check_failsafe(policy)
    else:
        lockout.check_failsafe(policy)
    assert bool(lockout.notes(policy)) == noted


def test_a_defender_that_could_not_reach_its_console_is_named() -> None:
    away = Candidate(identity=Identity(kind="host", name="away"), address=b"\x0a\x00\x00\x01")
    here = Candidate(identity=Identity(kind="host", name="here"), address=b"\xc0\x00\x02\x01")
    shut = compile_policy(hosts(destination=("hosts",)))
    with pytest.raises(Refused, match="away"):
        lockout.check_console(shut, [away], [here], 8084)
    lockout.check_console(shut, [away], [], 8084)
    lockout.check_console(shut, [], [here], 8084)
    open_ = compile_policy(hosts(destination=("hosts",), ports=((8000, 8080),)))
    lockout.check_console(open_, [away], [here], 8084)


#: What a client may send: words of policies, and anything else.
WORDS = st.one_of(
    st.sampled_from(
        ["a", "-a", "*", "no", "1", "1.5", "~", "a: b", "a #b", "10.0.0.0/8", "2020-01-01"]
    ),
    st.text(min_size=1, max_size=12),
)
OBJECTS = st.builds(
    ObjectForm,
    name=WORDS,
    type=st.sampled_from(["dns", "image", "service", "host", "subnet"]),
    values=st.lists(WORDS, min_size=1, max_size=3),
    namespaces=st.lists(WORDS, max_size=2),
    labels=st.dictionaries(
        WORDS,
        WORDS | st.fixed_dictionaries({}, optional={"in": st.lists(WORDS, max_size=2),
                                                    "not in": st.lists(WORDS, max_size=2),
                                                    "exists": st.booleans()}),
        max_size=2,
    ),
)  # fmt: skip
RULES = st.builds(
    RuleForm,
    name=WORDS,
    effect=st.sampled_from(["allow", "alert", "prevent"]),
    ports=st.lists(st.integers(-1, 70_000) | WORDS, max_size=2),
    owner=st.just("") | WORDS,
    note=st.just("") | st.text(max_size=30),
    expires=st.sampled_from(["", "2030-01-01", "2030-01-01T10:00:00+02:00", "soon"]),
)


@given(OBJECTS, RULES)
def test_what_is_taken_can_be_read_again(one: ObjectForm, rule: RuleForm) -> None:
    """A version that is stored is read at the next start, and by every Defender."""
    try:
        policy = policies.put_object(Policy(), one.name, read_object(one), carry=False)
        compile_policy(policy)
    except (InvalidValueError, Refused):
        policy = Policy()
    try:
        fuller = policies.add_rule(policy, "containers", read_rule(rule))
        compile_policy(fuller)
        policy = fuller
    except (InvalidValueError, Refused):
        pass
    assert parse_policy(write_policy(policy), subject="") == policy
