"""One connection, once: whoever told of it, in whatever order that came."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.console import limits
from cnnf.console.core import events, ledger, nodes
from cnnf.console.core.accounts import Account, Claim, Posting, Progress, Told
from cnnf.console.core.decisions import Decision
from cnnf.console.core.directory import Found
from cnnf.console.core.events import End, Event

NOW = 1_790_000_040_000 // 60_000 * 60_000
FRONT, CRON, SHOP = nodes.app("front"), nodes.service("cron"), nodes.app("shop")
HOST = nodes.host("s", "web-1")
PREVENT: Decision = (3, "rule:no")
LATER = Progress(source=NOW + limits.DAY_MS, both=0, now=NOW)


class Books:
    """An account, and what is drawn because of it."""

    def __init__(self) -> None:
        self.account = Account()
        self.drawn: Counter[tuple[str, str]] = Counter()
        self.answered: Counter[tuple[str, str]] = Counter()
        self.found: Counter[tuple[str, str]] = Counter()
        self.decided: dict[tuple[str, str], Decision] = {}
        self.events: list[Event] = []

    def tell(self, at: int, source: nodes.Node = FRONT, count: int = 1, **more: object) -> None:
        values: dict[str, object] = {"figures": (count, count, 0, 0), "sure": True} | more
        told = Told(
            minute=at - at % 60_000, source=source, target=SHOP, address="192.0.2.2", port=80,
            first=at, last=at, **values,  # type: ignore[arg-type]
        )  # fmt: skip
        self.account = ledger.tell(self.account, told)
        self._post(ledger.drawn(told))

    def claim(self, at: int, count: int = 1, source: nodes.Node = HOST, **more: object) -> None:
        values: dict[str, object] = {"figures": (count, count, 0, 0)} | more
        claim = Claim(
            minute=at - at % 60_000, source=source, known=source is not HOST, address="192.0.2.1",
            target=SHOP, first=at, last=at, since=NOW, **values,  # type: ignore[arg-type]
        )  # fmt: skip
        self.account = ledger.claim(self.account, claim)

    def settle(self, progress: Progress = LATER) -> None:
        settled = ledger.settle(self.account, progress)
        self.account = settled.account
        for posting in settled.postings:
            self._post(posting)
        self.events += settled.events

    def _post(self, posting: Posting) -> None:
        edge = posting.source.name, posting.target.name
        for sums, figure in ((self.drawn, 0), (self.answered, 1), (self.found, 3)):
            sums[edge] += posting.figures[figure]
        self.decided[edge] = max(self.decided.get(edge, (0, "")), posting.decision)

    @property
    def edges(self) -> dict[tuple[str, str], int]:
        """Connections by edge."""
        return {edge: count for edge, count in self.drawn.items() if count}


def event(effect: events.EventEffect = "prevent") -> Event:
    ends = (End(name="web-1", kind="host", address="192.0.2.1"), End(name="shop", kind="app"))
    key, pair = events.keys("d", effect, "rule:no", (HOST.id, SHOP.id), 80, "tcp")
    return Event(
        key=key, pair=pair, kind="rule", effect=effect, cause="rule:no", source=ends[0],
        destination=ends[1], port=80, protocol="tcp", first_seen=NOW, last_seen=NOW, count=2,
        cut=0, defender="d",
    )  # fmt: skip


def test_both_ends_make_one_edge() -> None:
    for order in ("tc", "ct"):
        books = Books()
        for one in order:
            books.tell(NOW, count=3) if one == "t" else books.claim(NOW + 1_000, count=3)
            books.settle()
        assert books.edges == {("front", "shop"): 3}, order
        assert books.answered == {("front", "shop"): 3, ("web-1", "shop"): 0} or order == "tc"


def test_what_only_the_destination_tells_is_the_hosts() -> None:
    books = Books()
    books.tell(NOW, count=3)
    books.claim(NOW, count=5)
    books.settle()
    assert books.edges == {("front", "shop"): 3, ("web-1", "shop"): 2}
    assert books.answered[("web-1", "shop")] == 2


def test_a_claim_waits_for_the_source_to_deliver_but_not_for_ever() -> None:
    books = Books()
    books.claim(NOW)
    books.settle(Progress(NOW + limits.LEDGER_MARGIN_MS - 1, 0, NOW))
    assert books.edges == {}
    assert ledger.ready_at(books.account) == NOW + limits.LEDGER_MARGIN_MS
    assert ledger.due_at(books.account) == NOW + limits.LEDGER_WAIT_MS
    away = Books()
    away.account = books.account
    away.settle(Progress(0, 0, NOW + limits.LEDGER_WAIT_MS))
    assert away.edges == {("web-1", "shop"): 1}
    books.settle(Progress(NOW + limits.LEDGER_MARGIN_MS, 0, NOW))
    assert books.edges == {("web-1", "shop"): 1}
    assert ledger.ready_at(books.account) == ledger.due_at(books.account) == 0


def test_what_the_source_tells_an_hour_late_takes_the_credit_back() -> None:
    books = Books()
    for second in range(0, 3600, 10):
        books.claim(NOW + second * 1000)
        books.settle()
    assert books.edges == {("web-1", "shop"): 360}
    for second in range(0, 3600, 10):
        books.tell(NOW + second * 1000, FRONT if second % 20 else CRON)
        books.settle()
    assert books.edges == {("front", "shop"): 180, ("cron", "shop"): 180}


def test_one_hour_without_the_source_and_one_without_the_destination_add_up() -> None:
    """What was told by one end alone at one time is not what the other told at another."""
    books = Books()
    for minute in range(60):
        books.tell(NOW + minute * 60_000)
        books.claim(NOW + (minute + 70) * 60_000)
        books.settle()
    assert books.edges == {("front", "shop"): 60, ("web-1", "shop"): 60}


def test_a_container_that_its_address_tells_meets_itself_only() -> None:
    books = Books()
    books.tell(NOW, FRONT, 2)
    books.claim(NOW, 3, source=CRON)
    books.claim(NOW, 2, source=FRONT)
    books.settle()
    assert books.edges == {("front", "shop"): 2, ("cron", "shop"): 3}


def test_a_container_is_named_when_its_news_come() -> None:
    bare = nodes.unmanaged("10.244.1.7")
    books = Books()
    books.claim(NOW, source=HOST)
    books.account = ledger.look_up(books.account, lambda _: Found("s", bare, 0, False))
    assert not books.account.claims[0].known
    books.account = ledger.look_up(books.account, lambda _: Found("s", FRONT, 0, True))
    books.settle()
    assert books.edges == {("front", "shop"): 1}


def test_found_connections_are_not_drawn_twice() -> None:
    books = Books()
    books.claim(NOW, figures=(0, 0, 0, 2))
    books.settle()
    assert books.found[("web-1", "shop")] == 2
    books.tell(NOW + limits.HOUR_MS, figures=(0, 0, 0, 2))
    books.settle()
    assert (books.found[("web-1", "shop")], books.found[("front", "shop")]) == (0, 2)
    books.claim(NOW + 2 * limits.HOUR_MS, figures=(0, 0, 0, 1))
    books.settle()
    assert books.found[("web-1", "shop")] == 0


def test_a_refusal_at_the_destination_is_an_incident_of_the_sources_edge() -> None:
    for order in ("tc", "ct"):
        books = Books()
        for one in order:
            if one == "t":
                books.tell(NOW, CRON, 2, figures=(2, 2, 0, 0))
                books.tell(NOW, FRONT, 2, figures=(2, 0, 2, 0))
            else:
                books.claim(NOW, 4, figures=(4, 2, 0, 0), decision=PREVENT, event=event())
        books.settle()
        assert books.edges == {("front", "shop"): 2, ("cron", "shop"): 2}
        # Who got an answer was not refused.
        assert books.decided[("front", "shop")] == PREVENT
        assert books.decided[("cron", "shop")] == (0, "")
        (one_event,) = books.events
        assert (one_event.source.name, one_event.source.kind) == ("front", "app")
        assert one_event.key != event().key
        books.settle()
        assert len(books.events) == 1


def test_of_several_who_may_have_done_it_nobody_is_accused() -> None:
    books = Books()
    books.tell(NOW, CRON, figures=(1, 0, 0, 0))
    books.tell(NOW, FRONT, figures=(1, 0, 0, 0))
    books.claim(NOW, 2, decision=PREVENT, event=event())
    books.settle()
    assert [one.source.name for one in books.events] == ["web-1"]
    assert books.events[0].key == event().key
    assert {edge for edge, decided in books.decided.items() if decided == PREVENT} == {
        ("front", "shop"), ("cron", "shop"),
    }  # fmt: skip


def test_the_sources_own_event_is_the_record() -> None:
    books = Books()
    books.tell(NOW, decision=(2, "rule:look"))
    books.claim(NOW, decision=(2, "rule:look"), event=event("alert"))
    books.settle()
    assert books.events == []
    books = Books()
    books.tell(NOW, decision=(2, "rule:look"), figures=(1, 0, 1, 0))
    books.claim(NOW, decision=PREVENT, event=event())
    books.settle()
    assert [one.source.name for one in books.events] == ["front"]


def test_an_event_waits_for_who_did_it() -> None:
    books = Books()
    books.tell(NOW - 60_000, CRON)
    books.claim(NOW, decision=PREVENT, event=event())
    books.settle(Progress(NOW, 0, NOW))
    assert books.events == []
    books.tell(NOW, FRONT, figures=(1, 0, 0, 0))
    books.settle()
    assert [one.source.name for one in books.events] == ["front"]


def test_what_was_drawn_too_early_is_looked_up_again() -> None:
    books = Books()
    books.tell(NOW, sure=False)
    assert ledger.unsure(books.account, NOW) == ([], books.account)
    assert ledger.unsure_at(books.account) == NOW + limits.LEDGER_MARGIN_MS
    again, left = ledger.unsure(books.account, NOW + limits.LEDGER_MARGIN_MS)
    assert [one.figures for one in again] == [(1, 1, 0, 0)]
    assert left.told == ()
    assert left.heard
    books._post(ledger.negative(again[0]))
    assert books.edges == {}


def test_an_account_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEDGER_ENTRIES_MAX", 50)
    books = Books()
    for minute in range(60):
        books.claim(NOW + minute * 60_000)
    books.settle(Progress(0, 0, NOW))
    assert len(books.account.claims) == 50


def test_what_comes_after_more_than_a_day_is_drawn_at_once() -> None:
    books = Books()
    books.claim(NOW - limits.LEDGER_KEPT_MS - limits.MINUTE_MS)
    books.settle(Progress(0, 0, NOW))
    assert books.edges == {("web-1", "shop"): 1}
    assert books.account.claims == ()


class Connection(NamedTuple):
    """A true one: when, whose, how many; how much later the destination's clock is, and who
    tells."""

    second: int
    source: int
    number: int
    skew: int
    told: bool
    claimed: bool


connections = st.lists(
    st.builds(
        Connection,
        second=st.integers(0, 1800),
        source=st.integers(0, 1),
        number=st.integers(1, 4),
        skew=st.integers(-60, 60),
        told=st.sampled_from([True, True, True, False]),
        claimed=st.sampled_from([True, True, True, False]),
    ),
    max_size=25,
)
SOURCES = (FRONT, CRON)


def check(books: Books, made: list[Connection]) -> None:
    """What is drawn is what was told, each connection once."""
    for at, source in enumerate(SOURCES):
        truth = sum(one.number for one in made if one.told and one.source == at)
        assert books.drawn[source.name, "shop"] == truth
    only_claimed = sum(one.number for one in made if one.claimed and not one.told)
    only_told = sum(one.number for one in made if one.told and not one.claimed)
    hosts = books.drawn["web-1", "shop"]
    # A connection that one end missed may be taken for one that the other missed at that time.
    assert only_claimed - only_told <= hosts <= only_claimed
    assert all(count >= 0 for count in books.drawn.values())


@settings(max_examples=300)
@given(connections, st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_delivery_draws_the_truth(
    made: list[Connection], random: object, eager: bool
) -> None:
    books = Books()
    messages = [(one, True) for one in made if one.told] + [
        (one, False) for one in made if one.claimed
    ]
    random.shuffle(messages)  # type: ignore[attr-defined]
    for one, is_told in messages:
        at = NOW + one.second * 1000
        if is_told:
            books.tell(at, SOURCES[one.source], one.number)
        else:
            books.claim(at + one.skew * 1000, one.number)
        if eager:
            books.settle()
    books.settle()
    check(books, made)
    before = dict(books.drawn)
    books.settle()
    assert before == dict(books.drawn)


@settings(max_examples=200)
@given(connections, st.integers(0, 120), st.integers(0, 120))
def test_what_can_meet_nothing_any_more_is_dropped_and_stays_drawn(
    made: list[Connection], lag_told: int, lag_claimed: int
) -> None:
    """Both deliver in order, one later than the other; old entries go meanwhile."""
    books = Books()
    messages = sorted(
        [(one.second + lag_told, True, one) for one in made if one.told]
        + [(one.second + one.skew + lag_claimed, False, one) for one in made if one.claimed],
        key=lambda message: message[0],
    )
    for second, is_told, one in messages:
        at = NOW + one.second * 1000
        if is_told:
            books.tell(at, SOURCES[one.source], one.number)
        else:
            books.claim(at + one.skew * 1000, one.number)
        passed = NOW + second * 1000
        both = passed - max(lag_told, lag_claimed) * 1000 - 120_000 + limits.LEDGER_GRACE_MS
        books.settle(Progress(passed - lag_told * 1000, both, NOW))
    books.settle()
    check(books, made)
    books.settle(Progress(NOW + limits.DAY_MS, NOW + limits.DAY_MS, NOW))
    assert books.account.claims == ()
    assert books.account.told == ()
    assert not books.account.credits
    check(books, made)
