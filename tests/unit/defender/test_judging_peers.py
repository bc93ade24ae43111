"""What packet loops judge by follows what is known of ends elsewhere, in orders that they take."""

from typing import Any

import msgspec
import pytest

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import Listener, Listeners, Owner
from cnnf.defender.core.containers import Container, PublishedPort
from cnnf.defender.core.judge import ALLOW, CERTAIN, GRAVE, MATTERS, PREVENT, Judge, Verdict
from cnnf.defender.core.limits import ORDER_PIECE_BYTES, ORDER_PIECES_MAX
from cnnf.defender.core.observations import Endpoints, Order, decode_order, encode, in_pieces
from cnnf.defender.core.peers import Change, Crowd, Kept, Peers, identity_of
from cnnf.defender.core.plan import Scopes
from cnnf.defender.core.tables import Tables, decode_tables, encode_tables
from cnnf.defender.judging import Judging
from cnnf.defender.netlink.nfqueue import INPUT, OUTPUT
from cnnf.policy.compiled import compile_policy
from cnnf.policy.form import parse_policy
from cnnf.protocol.messages import Known
from tests.unit.defender.core.estate import packed

HERE, THERE = packed("10.0.0.1"), packed("10.0.0.2")
FROM, TO = (THERE, 0, 0), (THERE, 8080, 6)
SHOP = Crowd((identity_of(Known(kind="container", name="shop/cart", tag="1", host="h2")),))
WEB = Crowd((identity_of(Known(kind="service", name="nginx", host="h2")),))
HOST = Crowd((identity_of(Known(kind="host", name="h2")),))
NOBODY = Crowd()

POLICY = """
apiVersion: cnnf/v1
networkObjects:
  - {name: cart, type: image, values: ["shop/cart:*"]}
  - {name: api, type: service, values: [api]}
  - {name: web, type: service, values: [nginx]}
  - {name: elsewhere, type: host, values: [h2]}
rules:
  containers:
    - {name: no cart, source: [cart], destination: [api], effect: prevent}
    - {name: no cart there, source: [api], destination: [cart], ports: ["8080"], effect: prevent}
  hosts:
    - {name: no web, source: [api], destination: [web], ports: ["443"], effect: prevent}
    - {name: no host, source: [api], destination: [elsewhere], ports: ["22"], effect: prevent}
"""


class Services:
    """A host with one service, which listens on every port."""

    named = frozenset({7})

    def owner_of_cgroup(self, cgroup: int) -> str:
        """Whom a cgroup names."""
        assert cgroup == 7
        return "service:api"

    def owner_of(self, cgroup: int, inode: int) -> str:
        """Whom a socket is of."""
        return "service:api"


class OneLoop:
    """A packet loop's side: it takes what it is told as bytes, and refuses what it can't."""

    def __init__(self) -> None:
        self.judge = Judge(Tables(version=0))
        self.largest = 0
        self.orders = self.files = 0

    def tell(self, order: Order) -> None:
        """As `Loops.tell`."""
        data = encode(order)
        self.largest = max(self.largest, len(data))
        self.orders += 1
        told = decode_order(data)
        assert isinstance(told, Endpoints)
        self.judge.change(*msgspec.structs.astuple(told))

    def prepare(self, tables: Tables) -> None:
        """As `Loops.prepare`."""
        self.files += 1
        self.judge = Judge(decode_tables(encode_tables(tables)))


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def judging(peers: Peers) -> Judging:
    services: Any = Services()
    made = Judging(AddressBook(), services, "h1", peers)
    policy = compile_policy(parse_policy(POLICY, subject="the test's"))
    made.change(Scopes(containers=True, hosts=True), policy)
    return made


@pytest.fixture
def loop(judging: Judging) -> Any:
    made = OneLoop()
    made.prepare(judging.tables())
    return made


def test_who_connects_to_is_found_by_address_and_port(judging: Judging, loop: Any) -> None:
    def effect(port: int) -> int:
        return int(loop.judge.decide(OUTPUT, HERE, THERE, port, 6, 7).effect)

    assert loop.judge.decide(OUTPUT, HERE, THERE, 8080, 6, 7).doubt == GRAVE
    # What was not known was not remembered: no new generation for it.
    assert not judging.tell_peers(loop, [Change(TO, None, SHOP)])
    assert loop.judge.decide(OUTPUT, HERE, THERE, 8080, 6, 7) == Verdict(PREVENT, 1, True, CERTAIN)
    judging.tell_peers(
        loop, [Change((THERE, 443, 6), None, WEB), Change((THERE, 22, 6), None, HOST)]
    )
    assert (effect(443), effect(22)) == (PREVENT, PREVENT)
    assert judging.tell_peers(loop, [Change(TO, SHOP, NOBODY)])
    assert loop.judge.decide(OUTPUT, HERE, THERE, 8080, 6, 7) == Verdict(ALLOW, -1, True, CERTAIN)
    assert judging.tell_peers(loop, [Change((THERE, 443, 6), WEB, None)])
    assert loop.judge.decide(OUTPUT, HERE, THERE, 443, 6, 7).doubt == GRAVE


def test_a_published_port_is_judged_as_the_port_that_it_leads_to(
    judging: Judging, loop: Any
) -> None:
    def effect(port: int) -> int:
        return int(loop.judge.decide(OUTPUT, HERE, THERE, port, 6, 7).effect)

    place, shop = (THERE, 18080, 6), msgspec.structs.replace(SHOP, leads_to=8080)
    assert effect(18080) == ALLOW
    # Until it was known it was judged, and remembered, by the port that was connected to.
    assert judging.tell_peers(loop, [Change(place, None, shop)])
    assert effect(18080) == PREVENT
    assert judging.tell_peers(loop, [Change(place, shop, SHOP)])
    assert effect(18080) == ALLOW
    # And a port that rules are about leads to one that they are not about.
    other = msgspec.structs.replace(SHOP, leads_to=80)
    judging.tell_peers(loop, [Change(TO, None, other)])
    assert effect(8080) == ALLOW


def test_what_a_forwarder_takes_is_judged_as_the_container_behind_it(
    judging: Judging, loop: Any
) -> None:
    published = PublishedPort(host_address="0.0.0.0", host_port=18080, port=8080)
    judging._book.put(Container(id="c1", image="shop/cart", tag="1", published=(published,)), 0)
    forwarder = Owner("service:docker", "docker-proxy", None, forwards=True)
    api = Owner("service:api", "api", None)
    listeners = Listeners(
        Listener(bytes(4), port, owner) for port, owner in ((18080, forwarder), (8080, api))
    )
    judging.set_surroundings(loop, listeners, frozenset({HERE}))
    assert loop.judge.decide(OUTPUT, HERE, HERE, 18080, 6, 7).effect == PREVENT
    assert loop.judge.decide(OUTPUT, HERE, HERE, 8080, 6, 7).effect == ALLOW


def test_who_connects_from_there_is_found_by_address_alone(judging: Judging, loop: Any) -> None:
    candidate = judging.candidate_of(7, 0)
    judging.name_cgroups(loop)
    loop.judge.change([], [], [], [(80, b"", candidate, 0)], [HERE])
    assert loop.judge.decide(INPUT, THERE, HERE, 80, 6).doubt == GRAVE
    judging.tell_peers(loop, [Change(FROM, None, SHOP)])
    assert loop.judge.decide(INPUT, THERE, HERE, 80, 6) == Verdict(PREVENT, 0, True, CERTAIN)
    both = Crowd((*SHOP.identities, *WEB.identities))
    assert judging.tell_peers(loop, [Change(FROM, SHOP, both)])
    # Of those who may be behind the address not all are prevented.
    assert loop.judge.decide(INPUT, THERE, HERE, 80, 6) == Verdict(ALLOW, -1, False, CERTAIN)
    judging.tell_peers(loop, [Change(FROM, both, Crowd(SHOP.identities, more=True))])
    assert loop.judge.decide(INPUT, THERE, HERE, 80, 6) == Verdict(ALLOW, -1, False, CERTAIN)


def test_another_name_that_the_rules_do_not_tell_apart_is_no_news(
    judging: Judging, loop: Any
) -> None:
    judging.tell_peers(loop, [Change(TO, None, NOBODY)])
    other = Crowd((identity_of(Known(kind="service", name="cron", host="h3")),))
    assert not judging.tell_peers(loop, [Change(TO, NOBODY, other)])


def test_what_was_forgotten_for_want_of_room_was_right(judging: Judging, loop: Any) -> None:
    judging.tell_peers(loop, [Change(FROM, None, WEB)])
    assert not judging.tell_peers(loop, [Change(FROM, WEB, None, forgotten=True)])
    assert judging.tell_peers(loop, [Change(FROM, WEB, None)])


def test_whole_tables_have_everything(judging: Judging, peers: Peers) -> None:
    peers.restore([Kept(TO, SHOP, 1), Kept(FROM, WEB, 1)])
    judge = Judge(judging.tables())
    assert judge.decide(OUTPUT, HERE, THERE, 8080, 6, 7) == Verdict(PREVENT, 1, True, CERTAIN)


def test_without_rules_nobody_has_to_be_told(peers: Peers) -> None:
    services: Any = Services()
    judging, loop = Judging(AddressBook(), services, "h1", peers), OneLoop()
    peers.restore([Kept(TO, SHOP, 1)])
    tables = judging.tables()
    assert (tables.peers, tables.private) == ([], [])
    loops: Any = loop
    assert not judging.tell_peers(loops, [Change(TO, None, SHOP)])
    assert loop.orders == 0


def test_who_would_be_prevented_in_any_case_is_not_waited_for(peers: Peers) -> None:
    services: Any = Services()
    judging = Judging(AddressBook(), services, "h1", peers)
    rule = "effect: prevent}"
    text = f"""
apiVersion: cnnf/v1
rules:
  containers:
    - {{name: one, {rule}
  hosts:
    - {{name: two, source: [api], {rule}
networkObjects:
  - {{name: api, type: service, values: [api]}}
"""
    judging.change(
        Scopes(containers=True, hosts=True), compile_policy(parse_policy(text, subject="a"))
    )
    judge = Judge(judging.tables())
    # Whoever the other is, it is prevented; only by which rule is to be seen.
    assert judge.decide(OUTPUT, HERE, THERE, 80, 6, 7) == Verdict(PREVENT, 1, True, MATTERS)
    # Where the other list is not in force, a container there would be let through.
    judging.change(Scopes(hosts=True))
    judge = Judge(judging.tables())
    assert judge.decide(OUTPUT, HERE, THERE, 80, 6, 7) == Verdict(PREVENT, 1, True, GRAVE)


@pytest.mark.parametrize("count", [1_000, 20_000])
def test_many_changes_go_in_pieces_or_as_a_file(
    judging: Judging, peers: Peers, loop: Any, count: int
) -> None:
    places = [(bytes([10, 9, *number.to_bytes(2)]), 8080, 6) for number in range(count)]
    peers.restore([Kept(place, SHOP, 1) for place in places])
    judging.tell_peers(loop, [Change(place, None, SHOP) for place in places])
    assert loop.largest <= ORDER_PIECE_BYTES
    assert 0 < loop.orders <= ORDER_PIECES_MAX or loop.files == 2
    for place in (places[0], places[-1]):
        assert loop.judge.decide(OUTPUT, HERE, place[0], 8080, 6, 7).effect == PREVENT


def test_pieces_are_the_whole() -> None:
    order = Endpoints(
        classes=[(bytes(10), bytes(1_000))] * 100,
        put=[(bytes([10, 0, *number.to_bytes(2)]), [1, 3]) for number in range(2_000)],
        drop=[bytes([10, 1, *number.to_bytes(2)]) for number in range(2_000)],
        listeners=[(80, b"", 1, 0)],
        host_addresses=[],
        peers=[(bytes([10, 2, *number.to_bytes(2)]), 80, 6, [1], 0) for number in range(2_000)],
        gone=[(bytes([10, 3, *number.to_bytes(2)]), 0, 0) for number in range(2_000)],
        members=[(bytes(16), bytes([10, 4, *number.to_bytes(2)]), 1) for number in range(2_000)],
        left=[(b"", bytes([10, 5, *number.to_bytes(2)])) for number in range(2_000)],
    )
    pieces = list(in_pieces(order))
    assert all(len(encode(piece)) <= ORDER_PIECE_BYTES for piece in pieces)
    assert len(pieces) > 5
    for name in ("classes", "put", "drop", "peers", "gone", "members", "left"):
        joined = [entry for piece in pieces for entry in getattr(piece, name)]
        assert joined == getattr(order, name)
    replaced = [(one.listeners, one.host_addresses) for one in pieces if one.listeners is not None]
    assert replaced == [(order.listeners, [])]
    assert list(in_pieces(Endpoints(host_addresses=[]))) == [Endpoints(host_addresses=[])]
    assert list(in_pieces(Endpoints())) == []
