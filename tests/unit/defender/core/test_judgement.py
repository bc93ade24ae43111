"""Tables made of a policy decide what the policy says, whoever is behind an address."""

from ipaddress import ip_address
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cnnf.defender.core.judge import Judge
from cnnf.defender.core.judgement import EFFECTS, Cause, Judgement, People, effect_name
from cnnf.defender.core.limits import ADDRESS_CANDIDATES_MAX, TABLES_REMEMBERED_MAX
from cnnf.defender.core.peers import Crowd
from cnnf.defender.core.plan import Scopes
from cnnf.defender.core.tables import ANYONE, UDP, decode_tables, encode_tables
from cnnf.defender.netlink.nfqueue import FORWARD, INPUT, OUTPUT
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.evaluation import Decision, evaluate
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rules import Policy, Rule
from tests.unit.defender.core.estate import packed
from tests.unit.policy.strategies import ADDRESSES, PORTS, REPOSITORIES, WORDS, identities, policies

EVERYWHERE = Scopes(containers=True, hosts=True)
HOST_NAME = "web-1"
HOST = Identity(kind="host", name=HOST_NAME, host=HOST_NAME)
PLAIN = [packed(one) for one in ADDRESSES if not one.startswith("::ffff:")]
CGROUPS = (5, 6, 7)

containers = st.builds(
    lambda one, name: replace(one, kind="container", name=name),
    identities(),
    st.sampled_from(REPOSITORIES),
)
services = st.builds(
    lambda one, name: replace(one, kind="service", name=name, tag=""),
    identities(),
    st.sampled_from(WORDS[:-1]),
)
people = st.builds(
    People,
    addresses=st.dictionaries(
        st.sampled_from(PLAIN), st.lists(containers, min_size=1, max_size=3), max_size=5
    ),
    listeners=st.dictionaries(
        st.tuples(PORTS, st.sampled_from([*PLAIN, bytes(4), bytes(16), b""])), services, max_size=3
    ),
    cgroups=st.dictionaries(st.sampled_from(CGROUPS), services, max_size=3),
    host_addresses=st.frozensets(st.sampled_from(PLAIN), max_size=3),
    peers=st.dictionaries(
        st.tuples(st.sampled_from(PLAIN), st.just(0), st.just(0))
        | st.tuples(st.sampled_from(PLAIN), PORTS, st.sampled_from([6, 17])),
        st.builds(Crowd, st.lists(containers | services, max_size=3).map(tuple)),
        max_size=6,
    ).map(lambda known: list(known.items())),
)


def behind(here: People, own: bool, *place: Any) -> list[Identity]:
    """Who may stand behind an address that is a packet's."""
    known = here.addresses.get(place[0]) or ([HOST] if own else [])
    return known or list(dict(here.peers).get(place, Crowd()).identities)


def said(
    compiled: Compiled,
    here: People,
    packet: tuple[int, bytes, bytes, int, int, int],
    owner: Identity | None,
) -> Decision:
    """What the policy says when it is asked directly."""
    hook, source, destination, port, protocol, cgroup = packet

    def is_own(address: bytes) -> bool:
        return address in here.host_addresses or ip_address(address).is_loopback

    told = here.cgroups.get(cgroup) or owner
    if told is not None or hook == OUTPUT:
        sources = [told or HOST]
    else:
        sources = behind(here, is_own(source), source, 0, 0)
    if hook == INPUT or is_own(destination):
        exact = here.listeners.get((port, destination))
        anywhere = [
            who
            for (at, address), who in sorted(here.listeners.items())
            if at == port and not any(address)
        ]
        destinations = [exact or (anywhere or [HOST])[-1]]
    else:
        destinations = behind(here, is_own(destination), destination, port, protocol)

    def side(address: bytes, who: list[Identity]) -> list[Candidate]:
        if not who:
            return [Candidate(address=address)]
        return [Candidate(identity=one, address=address) for one in who]

    spoken: Literal["tcp", "udp"] = "udp" if protocol == UDP else "tcp"
    return evaluate(compiled, side(source, sources), side(destination, destinations), port, spoken)


packets = st.tuples(
    st.sampled_from([INPUT, FORWARD, OUTPUT]),
    st.sampled_from(PLAIN),
    st.sampled_from(PLAIN),
    PORTS | st.integers(0, 65_535),
    st.sampled_from([6, 17]),
    st.sampled_from([0, *CGROUPS]),
)


@settings(deadline=None, max_examples=60)
@given(
    policies(),
    people,
    st.lists(st.tuples(packets, st.none() | services), min_size=1, max_size=6),
)
def test_a_loop_decides_what_the_policy_says(
    policy: Policy,
    here: People,
    script: list[tuple[tuple[int, bytes, bytes, int, int, int], Identity | None]],
) -> None:
    # One on 0.0.0.0 and another on :: of the same port: a loop knows one of them.
    wildcards = {port for port, address in here.listeners if not any(address)}
    unclear = [
        port
        for port in wildcards
        if sum(at == port and not any(address) for at, address in here.listeners) > 1
    ]
    compiled = compile_policy(policy)
    judgement = Judgement(HOST_NAME)
    judgement.change(EVERYWHERE, compiled)
    judge = Judge(decode_tables(encode_tables(judgement.tables(here))))
    for packet, owner in script:
        candidate = -1 if owner is None else judgement.candidate(owner)
        # Whoever comes up later may be of a class that the loop has not been told of.
        judge.change(judgement.new_classes(), [], [], None, None)
        found = judge.decide(*packet, candidate)
        if packet[3] in unclear:
            continue
        wanted = said(compiled, here, packet, owner)
        assert (found.effect, found.unanimous) == (EFFECTS[wanted.effect], wanted.unanimous)
        # Of two that allow, a rule is named here only where the default is not the other.
        assert found.rule in (wanted.rule_index, -1)
        if found.rule < 0:
            assert wanted.effect == "allow"


SHOP = Identity(kind="container", name="shop/cart", tag="1")
OTHER = Identity(kind="container", name="shop/front", tag="1")
POLICY = Policy(
    objects=(
        NetworkObject(name="shop", kind="image", values=("shop/*",)),
        NetworkObject(name="backup", kind="service", values=("backup",)),
    ),
    containers=(Rule(name="closed", destination=("shop",), effect="prevent"),),
    hosts=(Rule(name="watched", source=("backup",), effect="alert"),),
)


@pytest.fixture
def judgement() -> Judgement:
    """A policy with a rule in each list, in force everywhere."""
    made = Judgement(HOST_NAME)
    made.change(EVERYWHERE, compile_policy(POLICY))
    return made


def test_identities_that_select_the_same_rules_share_a_class(judgement: Judgement) -> None:
    assert judgement.candidate(SHOP) == judgement.candidate(OTHER)
    assert judgement.candidate(SHOP) & 1 == 1
    assert judgement.candidate(HOST) & 1 == 0
    address = packed("172.18.0.2")
    # Two alike are one candidate: then what holds for one may be remembered.
    assert judgement.addresses({address: [SHOP, OTHER]}) == {address: [judgement.candidate(SHOP)]}


def test_of_more_than_a_loop_takes_the_rest_may_be_anyone() -> None:
    names = [f"n{number}" for number in range(ADDRESS_CANDIDATES_MAX + 1)]
    judgement = Judgement(HOST_NAME)
    policy = Policy(
        objects=tuple(NetworkObject(name=name, kind="service", values=(name,)) for name in names),
        hosts=tuple(Rule(name=name, source=(name,), effect="alert") for name in names),
    )
    judgement.change(EVERYWHERE, compile_policy(policy))
    everybody = tuple(Identity(kind="service", name=name) for name in names)
    found = judgement.crowd(Crowd(everybody))
    assert (len(found), found[-1]) == (ADDRESS_CANDIDATES_MAX, ANYONE)
    assert judgement.crowd(Crowd(everybody[:1], more=True))[-1] == ANYONE
    assert ANYONE not in judgement.crowd(Crowd(everybody[1:]))
    assert judgement.crowd(Crowd()) == [0]


def test_classes_are_told_once_and_in_order(judgement: Judgement) -> None:
    told = judgement.tables(People()).classes
    assert judgement.new_classes() == []
    judgement.candidate(SHOP)
    fresh = judgement.new_classes()
    assert len(fresh) == 1
    assert judgement.new_classes() == []
    assert judgement.tables(People()).classes == told + fresh


def test_a_judge_of_our_own_takes_nothing_from_what_is_told(judgement: Judgement) -> None:
    told = judgement.tables(People()).classes
    here = People(addresses={bytes([10, 1, 0, 7]): [SHOP]})
    described = judgement.describe(here)
    assert described.classes == told + judgement.new_classes()
    assert judgement.tables(here) == described


def test_numbers_mean_what_they_meant_in_their_version(judgement: Judgement) -> None:
    before = judgement.version
    assert judgement.cause(before, 0) == Cause("prevent", "rule:closed")
    assert judgement.cause(before, 1) == Cause("alert", "rule:watched")
    judgement.change(EVERYWHERE, compile_policy(Policy(hosts=POLICY.hosts, objects=POLICY.objects)))
    assert judgement.cause(before, 0) == Cause("prevent", "rule:closed")
    assert judgement.cause(judgement.version, 0) == Cause("alert", "rule:watched")
    # No rule, no such rule, no such version: nothing but the default.
    for version, rule in ((before, -1), (before, 2), (before - 5, 0), (judgement.version + 1, 0)):
        assert judgement.cause(version, rule) == Cause(None, "")
    for _ in range(TABLES_REMEMBERED_MAX):
        judgement.change(EVERYWHERE)
    assert judgement.cause(before, 0) == Cause(None, "")


def test_only_a_prevention_that_is_enabled_prevents(judgement: Judgement) -> None:
    found = [judgement.prevents]
    judgement.change(Scopes())
    found.append(judgement.prevents)
    judgement.change(EVERYWHERE, compile_policy(Policy(hosts=POLICY.hosts, objects=POLICY.objects)))
    found.append(judgement.prevents)
    assert found == [True, False, False]


def test_who_asks_is_waited_for_longer_while_a_host_rule_is_in_force(judgement: Judgement) -> None:
    strict = judgement.tables(People())
    judgement.change(Scopes(containers=True))
    mild = judgement.tables(People())
    assert strict.hold_ms > mild.hold_ms
    assert strict.holds_per_second > mild.holds_per_second
    judgement.change(EVERYWHERE, compile_policy(Policy(containers=POLICY.containers,
                                                       objects=POLICY.objects)))  # fmt: skip
    assert judgement.tables(People()).hold_ms == mild.hold_ms


def test_without_rules_nobody_has_to_be_told_of() -> None:
    judgement = Judgement(HOST_NAME)
    judgement.change(EVERYWHERE)
    here = People(
        addresses={packed("172.18.0.2"): [SHOP]}, host_addresses=frozenset([packed("10.0.0.1")])
    )
    tables = judgement.tables(here)
    assert (tables.addresses, tables.listeners, tables.host_addresses) == ([], [], [])


def test_effects_have_one_number_each() -> None:
    assert {effect_name(number): number for number in range(3)} == EFFECTS
