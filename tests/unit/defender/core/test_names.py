"""Names of addresses: each asker's own, for as long as they hold, within their bounds."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import limits, names
from cnnf.defender.core.limits import NAME_LINGER_MS, NAME_TTL_MAX_MS, NAME_TTL_MIN_MS
from cnnf.defender.core.names import HOST, Changed, Learned, Names

POD, OTHER = bytes([10, 1, 0, 4]), bytes([10, 1, 0, 5])
API, API_TOO = bytes([203, 0, 113, 7]), bytes([203, 0, 113, 8])
NOW = 1_000_000_000_000


def learned(name: str, *addresses: bytes, asker: bytes = POD, seconds: int = 600) -> Learned:
    return Learned(asker, name, tuple((address, seconds) for address in addresses))


def test_an_answer_names_every_address_for_its_asker_alone() -> None:
    known = Names()
    changed = known.learn(learned("api.example", API, API_TOO), NOW)
    assert changed == [Changed(POD, API), Changed(POD, API_TOO)]
    assert known.matching(POD, API_TOO, NOW) == ("api.example",)
    for asker in (OTHER, HOST):
        assert known.matching(asker, API, NOW) == ()
        assert known.label(asker, API, NOW) == ()


def test_many_names_of_one_address_newest_first() -> None:
    known = Names()
    for name in ("a.example", "b.example", "a.example"):
        known.learn(learned(name, API), NOW)
    assert known.matching(POD, API, NOW) == ("a.example", "b.example")
    for at in range(limits.NAMES_OF_ADDRESS_MAX):
        known.learn(learned(f"{at}.example", API), NOW)
    assert known.matching(POD, API, NOW) == tuple(
        f"{at}.example" for at in reversed(range(limits.NAMES_OF_ADDRESS_MAX))
    )


def test_hearing_the_same_again_changes_nothing_until_it_had_ended() -> None:
    known = Names()
    known.learn(learned("api.example", API), NOW)
    assert known.learn(learned("api.example", API), NOW + 1) == []
    assert known.learn(learned("api.example", API), NOW + 700_000) == [Changed(POD, API)]


def test_a_name_holds_for_its_time_within_bounds() -> None:
    for seconds, holds_ms in ((0, NAME_TTL_MIN_MS), (600, 600_000), (2**31 - 1, NAME_TTL_MAX_MS)):
        known = Names()
        known.learn(learned("api.example", API, seconds=seconds), NOW)
        assert known.matching(POD, API, NOW + holds_ms - 1) == ("api.example",)
        assert known.matching(POD, API, NOW + holds_ms) == ()


def test_a_shorter_time_later_does_not_end_what_holds() -> None:
    known = Names()
    known.learn(learned("api.example", API, seconds=3600), NOW)
    known.learn(learned("api.example", API, seconds=0), NOW + 1)
    assert known.matching(POD, API, NOW + 3_599_000) == ("api.example",)


def test_the_last_name_is_shown_for_a_while() -> None:
    known = Names()
    known.learn(learned("old.example", API, seconds=200), NOW)
    known.learn(learned("api.example", API, seconds=600), NOW)
    assert known.label(POD, API, NOW) == ("api.example", "old.example")
    assert known.label(POD, API, NOW + 600_000) == ("api.example",)
    assert known.label(POD, API, NOW + 600_000 + NAME_LINGER_MS) == ()


def test_what_ends_is_told_once_and_then_forgotten() -> None:
    known = Names()
    known.learn(learned("api.example", API, seconds=600), NOW)
    assert known.expire(NOW, NOW + 599_999) == []
    assert known.expire(NOW + 599_999, NOW + 600_001) == [Changed(POD, API)]
    assert known.expire(NOW + 600_001, NOW + 700_000) == []
    assert len(known) == 1
    known.expire(NOW + 700_000, NOW + 600_000 + NAME_LINGER_MS)
    assert len(known) == 0


def test_an_address_that_changes_hands_knows_nothing() -> None:
    known = Names()
    known.learn(learned("api.example", API), NOW)
    known.learn(learned("api.example", API, asker=OTHER), NOW)
    assert known.forget(POD) == [Changed(POD, API)]
    assert known.forget(POD) == []
    assert known.matching(POD, API, NOW) == ()
    assert list(known.entries(NOW)) == [(OTHER, API, ("api.example",))]


def packed(number: int) -> bytes:
    return (0x0A000000 + number).to_bytes(4, "big")


def test_who_asks_for_too_much_forgets_his_own() -> None:
    known = Names()
    known.learn(learned("api.example", API, asker=OTHER), NOW)
    for at in range(limits.NAMED_BY_ASKER_MAX + 5):
        changed = known.learn(learned("x.example", packed(at)), NOW)
    assert changed == [Changed(POD, packed(4)), Changed(POD, packed(at))]
    assert known.matching(POD, packed(4), NOW) == ()
    assert known.matching(POD, packed(5), NOW) == ("x.example",)
    assert known.matching(OTHER, API, NOW) == ("api.example",)
    assert known.forgotten == 5


def test_all_together_are_bounded_and_who_has_most_gives_way() -> None:
    known = Names()
    askers = limits.NAMED_ADDRESSES_MAX // limits.NAMED_BY_ASKER_MAX
    for asker in range(askers):
        for at in range(limits.NAMED_BY_ASKER_MAX):
            known.learn(learned("x.example", packed(at), asker=packed(asker)), NOW)
    known.learn(learned("few.example", packed(0), asker=OTHER), NOW)
    known.learn(learned("api.example", API, asker=OTHER), NOW)
    assert len(known) <= limits.NAMED_ADDRESSES_MAX
    assert known.matching(OTHER, API, NOW) == ("api.example",)
    assert known.matching(OTHER, packed(0), NOW) == ("few.example",)


def test_many_who_have_little_make_room_in_little_time() -> None:
    known = Names()
    for asker in range(limits.NAMED_ADDRESSES_MAX + 2_000):
        known.learn(learned("x.example", API, asker=packed(asker)), NOW)
    assert len(known) <= limits.NAMED_ADDRESSES_MAX
    assert len(known.askers) == len(known)


numbers = st.integers(0, 5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), numbers, numbers, st.lists(numbers, max_size=4)),
        st.tuples(st.just("forget"), numbers, numbers, st.just([])),
        st.tuples(st.just("wait"), numbers, numbers, st.just([])),
    ),
    max_size=60,
)


@given(steps)
def test_whoever_listens_to_the_changes_knows_all_that_holds(
    given_steps: list[tuple[str, int, int, list[int]]],
) -> None:
    """A copy that looks again only where it was told to is never wrong once all was told."""
    known, now = Names(), NOW
    copy: dict[Changed, tuple[str, ...]] = {}
    for what, asker, number, addresses in given_steps:
        who, before = bytes([asker]), now
        if what == "learn":
            name = f"{number}.example"
            changed = known.learn(learned(name, *map(packed, addresses), asker=who, seconds=0), now)
        elif what == "forget":
            changed = known.forget(who)
        else:
            now += number * NAME_TTL_MIN_MS // 3
            changed = known.expire(before, now)
        for one in changed:
            copy[one] = known.matching(*one, now)
        held = {Changed(a, b): set(c) for a, b, c in known.entries(now)}
        assert {one: set(texts) for one, texts in copy.items() if texts} == held
        assert len(known) >= len(held)


def test_the_module_s_askers() -> None:
    assert names.HOST == b""
