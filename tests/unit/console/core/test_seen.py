"""The connections of an object: which flows, whose, how many, and what is in force for them."""

import pytest

from cnnf.console.core import nodes
from cnnf.console.core.recorded import Decided, Peer, Recorded, RecordedFlow
from cnnf.console.core.seen import Connection, ObjectConnections, connections, touching
from cnnf.policy.compiled import compile_policy
from cnnf.policy.form import parse_policy
from tests.unit.console.core.test_whatif import NOW, SIDES, WINDOW, flow

POLICY = parse_policy(
    """\
apiVersion: cnnf/v1
networkObjects:
  - {name: front, type: image, values: [shop/front]}
  - {name: canary, type: image, values: ["shop/front:canary"]}
  - {name: pay, type: dns, values: [api.pay.example]}
  - {name: inside, type: subnet, values: [10.0.0.0/8]}
  - {name: partners, type: subnet, values: [203.0.113.0/24]}
rules:
  containers:
    - {name: pay, source: [front], destination: [pay], effect: alert}
    - {name: no-canary, source: [canary], effect: prevent}
""",
    subject="policy",
)
FRONT, BACK, INTERNET, INSIDE, REST = range(5)
PAY, OTHER = Peer("203.0.113.7", ("api.pay.example",)), Peer("198.51.100.1")
FLOWS = (
    flow(FRONT, BACK, 8080),
    flow(FRONT, INTERNET, 443, 20, peers=(PAY, OTHER)),
    flow(INSIDE, BACK, 22, 3),
    flow(FRONT, REST, 0),
    flow(BACK, INTERNET, 443, decided=(Decided(0, "", 0),)),
)


def seen(name: str, *flows: RecordedFlow, skip: int = 0, count: int = 50) -> ObjectConnections:
    one = next(one for one in POLICY.objects if one.name == name)
    recorded = Recorded(window=WINDOW, sides=SIDES, flows=iter(flows or FLOWS))
    return connections(recorded, one, compile_policy(POLICY), version=3, skip=skip, count=count)


def told(one: Connection) -> tuple[str, str, int, int, bool, str | None, str, bool]:
    return (
        one.source.name, one.destination.name, one.port, one.connections, one.certain,
        one.effect, one.cause, one.sure,
    )  # fmt: skip


def test_a_name_has_the_connections_to_addresses_that_were_called_so() -> None:
    found = seen("pay")
    assert (found.object, found.version, found.flows, found.connections) == ("pay", 3, 1, 20)
    (one,) = found.listed
    assert told(one) == (
        "shop/front", "internet", 443, 20, False, "alert", "rule:pay", True,
    )  # fmt: skip
    assert (one.destination.member, one.source.member) == (True, False)
    assert one.destination.who == ["api.pay.example (203.0.113.7)"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("partners", [("shop/front", "internet", 443, 20, False, "alert", "rule:pay", True)]),
        ("inside", [("10.9.9.9", "shop/back", 22, 3, True, "allow", "default", True)]),
        # Of two instances one is the canary: for it another rule decides.
        ("canary", [
            ("shop/front", "shop/back", 8080, 10, False, "prevent", "rule:no-canary", True),
            ("shop/front", "internet", 443, 20, False, "alert", "rule:pay", False),
            ("shop/front", "other addresses", 0, 10, False, None, "", False),
        ]),
    ],
)  # fmt: skip
def test_whose_connections_they_are_and_what_is_in_force(
    name: str, expected: list[tuple[object, ...]]
) -> None:
    assert list(map(told, seen(name).listed)) == expected


def test_an_app_has_all_its_connections_for_certain() -> None:
    assert [(one.port, one.certain) for one in seen("front").listed] == [
        (8080, True), (443, True), (0, True),
    ]  # fmt: skip


def test_pages_follow_each_other_the_latest_first() -> None:
    flows = [
        flow(FRONT, BACK, 1000 + number)._replace(last_seen=NOW - number * 1000)
        for number in (3, 0, 4, 1, 2)
    ]
    pages = [seen("front", *flows, skip=skip, count=2) for skip in (0, 2, 4, 6)]
    assert [[one.port for one in page.listed] for page in pages] == [
        [1000, 1001], [1002, 1003], [1004], [],
    ]  # fmt: skip
    assert {(page.flows, page.connections) for page in pages} == {(5, 50)}


def test_what_of_the_graph_it_is_about() -> None:
    def about(name: str) -> tuple[set[int], set[str]]:
        one = next(one for one in POLICY.objects if one.name == name)
        found = touching(Recorded(window=WINDOW, sides=SIDES, flows=iter(FLOWS)), one)
        return {edge[2] for edge in found.edges}, set(found.members)

    assert about("front") == ({8080, 443, 0}, {nodes.app("shop/front").id})
    # The internet is more than the object: it is drawn as a node of its own.
    assert about("pay") == ({443}, set())
    assert about("inside") == ({22}, {nodes.unmanaged("10.9.9.9").id})
