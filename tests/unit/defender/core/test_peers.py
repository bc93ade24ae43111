"""What is known of ends elsewhere: asked once, kept, forgotten when it is true no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.limits import (
    GENERATION_SECONDS_MAX,
    PEER_ACTIVE_SECONDS,
    PEER_KEEP_SECONDS,
    PEER_PORTS_MAX,
    PEERS_MAX,
    WANTED_MAX,
)
from cnnf.defender.core.peers import Change, Crowd, Peers, place_of, sought_of
from cnnf.defender.core.peers_form import UnreadablePeersError, decode_peers, encode_peers
from cnnf.defender.core.tables import Place
from cnnf.policy.endpoints import Identity
from cnnf.protocol.messages import Answer, Answers, Known, Sought, Stale
from tests.unit.defender.core.estate import packed

SHOP = Known(kind="container", name="shop/cart", tag="1", host="h2", labels={"b": "1", "a": "2"})
WEB = Known(kind="service", name="nginx", host="h2")
#: Longer no flow is remembered, in whole seconds.
GENERATION = int(GENERATION_SECONDS_MAX)
NOW = 1_000_000
FROM: Place = (packed("10.0.0.2"), 0, 0)
TO: Place = (packed("10.0.0.2"), 8080, 6)


def told(place: Place, *who: Known, more: bool = False, generation: int = 1) -> Answers:
    """The answer about one end."""
    end = sought_of(place)
    answer = Answer(
        address=end.address, port=end.port, protocol=end.protocol, candidates=list(who), more=more
    )
    return Answers(generation=generation, answers=[answer])


def knowing(*places: Place) -> Peers:
    """Somebody who knows that the cart stands at these."""
    peers = Peers()
    for place in places:
        assert peers.meet(place, NOW)
        peers.question(9)
        peers.answered(told(place, SHOP), NOW)
    return peers


def test_an_end_is_asked_for_once_and_then_known() -> None:
    peers = Peers()
    assert peers.meet(FROM, NOW)
    assert not peers.meet(FROM, NOW)
    assert peers.meet(TO, NOW)
    assert peers.question(1) == [FROM]
    assert not peers.meet(FROM, NOW)
    (change,) = peers.answered(told(FROM, SHOP, WEB), NOW)
    labels = (("a", "2"), ("b", "1"))
    cart = Identity(kind="container", name="shop/cart", tag="1", host="h2", labels=labels)
    web = Identity(kind="service", name="nginx", host="h2")
    assert change == Change(FROM, None, Crowd((cart, web)))
    assert peers.question(9) == [TO]
    assert not peers.meet(FROM, NOW)
    assert peers.crowds() == {FROM: Crowd((cart, web))}


def test_a_host_is_one_of_its_name() -> None:
    peers = Peers()
    peers.meet(FROM, NOW)
    peers.question(9)
    (change,) = peers.answered(told(FROM, Known(kind="host", name="h2"), more=True), NOW)
    assert change.after == Crowd((Identity(kind="host", name="h2", host="h2"),), True)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.1.1", "224.0.0.1", "8.8.8.8", "::1", "fe80::1", "2001:db8::1"]
)
def test_who_can_be_nobody_elsewhere_is_not_asked_for(address: str) -> None:
    assert not Peers().meet((packed(address), 0, 0), NOW)


def test_on_the_internet_only_protected_hosts_are_asked_for() -> None:
    peers = Peers()
    assert peers.set_public(["203.0.113.7/32", "2001:db8::/32"])
    assert not peers.set_public(["203.0.113.7/32", "2001:db8::/32"])
    assert peers.meet((packed("203.0.113.7"), 443, 6), NOW)
    assert peers.meet((packed("2001:db8::9"), 443, 6), NOW)
    assert not peers.meet((packed("203.0.113.8"), 443, 6), NOW)
    # Nobody waits for the name of one of many.
    assert (packed("203.0.113.7"), packed("203.0.113.7")) in peers.doubtful
    assert len(peers.doubtful) == len(Peers().doubtful) + 1


def test_a_port_that_can_not_be_asked_for_is_not() -> None:
    assert not Peers().meet((packed("10.0.0.2"), 0, 6), NOW)


def test_answers_that_nobody_asked_for_are_not_taken() -> None:
    peers = knowing(FROM)
    assert peers.answered(told(TO, SHOP), NOW) == []
    peers.meet(TO, NOW)
    peers.question(9)
    assert peers.answered(told((packed("10.0.0.3"), 8080, 6), SHOP), NOW) == []
    # It was not answered: it is asked again when it is met again.
    assert peers.meet(TO, NOW)


def test_a_question_that_failed_is_still_open() -> None:
    peers = knowing(FROM)
    peers.stale(Stale(generation=2, everything=True), NOW)
    peers.meet(TO, NOW)
    assert peers.question(9) == [TO, FROM]
    assert not peers.wants
    peers.failed()
    assert peers.wanted == 1
    assert peers.question(9) == [TO, FROM]


def test_what_became_stale_is_forgotten_and_asked_again_where_it_was_in_use() -> None:
    peers = knowing(FROM, TO, other := (packed("10.0.0.3"), 0, 0))
    peers.meet(TO, NOW + PEER_ACTIVE_SECONDS)
    stale = Stale(generation=2, addresses=["10.0.0.2", "10.9.9.9"])
    changes = peers.stale(stale, NOW + PEER_ACTIVE_SECONDS)
    assert {change.place for change in changes} == {FROM, TO}
    assert all(change.before and change.after is None for change in changes)
    assert peers.question(9) == [TO]
    assert list(peers.crowds()) == [other]


def test_an_answer_from_before_it_became_stale_is_not_taken() -> None:
    peers = Peers()
    peers.meet(FROM, NOW)
    peers.question(9)
    peers.stale(Stale(generation=5, addresses=["10.0.0.2"]), NOW)
    assert peers.answered(told(FROM, SHOP, generation=4), NOW) == []
    assert peers.question(9) == [FROM]
    (change,) = peers.answered(told(FROM, WEB, generation=5), NOW)
    assert change.before is None


def test_everything_holds_until_it_is_answered_again() -> None:
    peers = knowing(FROM, TO)
    assert peers.stale(Stale(generation=9, everything=True), NOW) == []
    assert len(peers.crowds()) == 2
    assert peers.question(9) == [FROM, TO]
    (change,) = peers.answered(told(FROM, WEB, generation=9), NOW)
    assert change.before == peers.crowds()[TO]
    assert change.after != change.before
    # The same answer is no change.
    peers.stale(Stale(generation=9, everything=True), NOW)
    peers.question(9)
    assert peers.answered(told(FROM, WEB, generation=9), NOW) == []


def test_what_is_not_met_for_long_is_forgotten() -> None:
    peers = knowing(FROM, TO)
    peers.meet(TO, NOW + 10)
    assert peers.forget_unused(NOW + PEER_KEEP_SECONDS) == []
    (change,) = peers.forget_unused(NOW + PEER_KEEP_SECONDS + 1)
    assert (change.place, change.after, change.forgotten) == (FROM, None, True)


def test_who_was_forgotten_may_be_remembered_by_the_kernel_for_a_while() -> None:
    peers = knowing(FROM, other := (packed("10.0.0.3"), 0, 0))
    later = NOW + PEER_KEEP_SECONDS + 1
    peers.meet(other, later)
    peers.forget_unused(later)
    stale = Stale(generation=2, addresses=["10.0.0.2"])
    (change,) = peers.stale(stale, later + GENERATION)
    assert (change.place, change.after, change.forgotten) == (FROM, None, False)
    assert peers.stale(stale, later + GENERATION + 1) == []


def test_those_unused_for_longest_make_room() -> None:
    peers = Peers()
    for number in range(PEERS_MAX):
        place = (bytes([10, *number.to_bytes(3)]), 0, 0)
        peers.meet(place, NOW + number)
        peers.question(1)
        peers.answered(told(place, SHOP), NOW + number)
    assert len(peers) == PEERS_MAX
    peers.meet(last := (packed("fd00::9"), 0, 0), NOW + PEERS_MAX)
    peers.question(1)
    changes = peers.answered(told(last, SHOP), NOW + PEERS_MAX)
    assert changes[-1].place == last
    assert changes[0].place == (bytes([10, 0, 0, 0]), 0, 0)
    assert all(one.forgotten for one in changes[:-1])
    assert len(peers) == PEERS_MAX + 2 - len(changes) < PEERS_MAX
    assert len(peers.crowds()) == len(peers)


def test_a_port_scan_takes_no_room_from_others() -> None:
    peers = knowing(FROM)
    for port in range(1, PEER_PORTS_MAX + 100):
        place = (packed("10.0.0.9"), port, 6)
        peers.meet(place, NOW + port)
        peers.question(1)
        peers.answered(told(place), NOW + port)
    assert len(peers) == PEER_PORTS_MAX + 1
    assert FROM in peers.crowds()


def test_no_more_than_so_many_are_wanted() -> None:
    peers = Peers()
    met = [peers.meet((bytes([10, *number.to_bytes(3)]), 0, 0), NOW) for number in range(9_000)]
    assert sum(met) == WANTED_MAX


@given(
    st.sampled_from(["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"]),
    st.integers(0, 65_535),
    st.sampled_from(["tcp", "udp"]),
)
def test_an_end_survives_its_question(address: str, port: int, protocol: str) -> None:
    place = place_of(Sought(address=address, port=port, protocol=protocol))  # type: ignore[arg-type]
    assert place_of(sought_of(place)) == place
    assert len(place[0]) == (16 if address == "fd00::1" else 4)


# --- the file


def filled() -> Peers:
    """Some answers, one of them that nobody is there."""
    peers = knowing(FROM, TO)
    peers.meet(nobody := (packed("fd00::9"), 0, 0), NOW)
    peers.question(9)
    peers.answered(told(nobody), NOW)
    peers.set_public(["203.0.113.7/32"])
    return peers


def test_what_is_kept_is_known_again() -> None:
    peers = filled()
    data = encode_peers("me", peers.public, list(peers.kept()))
    public, kept = decode_peers(data, "me")
    again = Peers()
    again.set_public(public)
    again.restore(kept)
    assert again.crowds() == peers.crowds()
    assert (again.public, again.news) == (peers.public, 0)
    assert list(again.kept()) == list(peers.kept())
    assert not again.wants


def test_a_file_that_is_not_whole_or_not_ours_is_refused() -> None:
    peers = filled()
    data = encode_peers("me", peers.public, list(peers.kept()))
    for length in range(len(data)):
        with pytest.raises(UnreadablePeersError):
            decode_peers(data[:length], "me")
    for at in range(len(data)):
        with pytest.raises(UnreadablePeersError):
            decode_peers(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "me")
    with pytest.raises(UnreadablePeersError, match="another"):
        decode_peers(data, "somebody else")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePeersError):
        decode_peers(data, "me")
