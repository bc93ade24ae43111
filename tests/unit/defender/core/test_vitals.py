"""Conditions come when a figure grows, and go when it has not grown for a while."""

from cnnf.defender.core.conditions import Conditions
from cnnf.defender.core.limits import CONDITION_LINGER_SECONDS
from cnnf.defender.core.vitals import Figures, Moment, Vitals
from cnnf.protocol.messages import Gap

START = 1_000.0


class Watched:
    """Vitals with a clock of our own."""

    def __init__(self) -> None:
        self.conditions = Conditions()
        self.vitals = Vitals(self.conditions)
        self.at = START

    def feed(self, figures: Figures, *, after: float = 2.0, fail_closed: bool = False) -> None:
        """The figures some seconds later."""
        self.at += after
        self.vitals.feed(figures, fail_closed=fail_closed, now=self.now)

    @property
    def now(self) -> Moment:
        """This moment; the epoch began at our clock's 0."""
        return Moment(self.at, int(self.at * 1_000))

    def told(self) -> dict[str, str]:
        """What stands: code and message."""
        return {one.code: one.message for one in self.conditions.standing()}


def test_where_nothing_has_happened_nothing_stands() -> None:
    watched = Watched()
    for _ in range(3):
        watched.feed(Figures(asked=100, answered=90, waiting=10, unremembered=0))
    assert watched.told() == {}


def test_each_figure_that_grows_is_a_condition_of_its_own() -> None:
    watched = Watched()
    watched.feed(
        Figures(
            asked=10, answered=4, waiting=1, unremembered=2, overflowed=3, undecodable=4,
            unaccounted=5, dropped=6, flows_lost=7, gap=Gap(first=8, last=9),
        )
    )  # fmt: skip
    told = watched.told()
    assert {code: message.split()[0] for code, message in told.items()} == {
        "packets-bypassed": "5", "set-full": "2", "queue-overflow": "3", "packets-undecodable": "4",
        "packets-unaccounted": "5", "packets-dropped": "6", "flows-lost": "7",
        "batches-lost": "batches",
    }  # fmt: skip
    assert told["batches-lost"] == "batches 8 to 9 were given up"
    assert "passed without a verdict" in told["packets-bypassed"]


def test_what_was_not_answered_was_dropped_where_it_fails_closed() -> None:
    watched = Watched()
    watched.feed(Figures(asked=1), fail_closed=True)
    assert "were dropped" in watched.told()["packets-bypassed"]


def test_it_stands_while_it_happens_and_a_while_after() -> None:
    watched = Watched()
    watched.feed(Figures(undecodable=1))
    (first,) = watched.conditions.standing()
    watched.feed(Figures(undecodable=2), after=CONDITION_LINGER_SECONDS - 1)
    (second,) = watched.conditions.standing()
    assert (second.since, second.message) == (first.since, "2 packets could not be read")
    watched.feed(Figures(undecodable=2), after=CONDITION_LINGER_SECONDS)
    assert list(watched.told()) == ["packets-undecodable"]
    watched.feed(Figures(undecodable=2), after=1)
    assert watched.told() == {}
    # And it begins anew.
    watched.feed(Figures(undecodable=3))
    (again,) = watched.conditions.standing()
    assert again.since == int(watched.at * 1_000)


def test_counters_that_begin_again_are_no_news_until_they_grow() -> None:
    watched = Watched()
    watched.feed(Figures(unremembered=5))
    watched.feed(Figures(unremembered=0), after=CONDITION_LINGER_SECONDS + 1)
    assert watched.told() == {}
    watched.feed(Figures(unremembered=1))
    assert watched.told()["set-full"].startswith("1 ")


def test_a_table_that_cant_be_read_says_nothing() -> None:
    watched = Watched()
    watched.feed(Figures(asked=7, answered=7))
    watched.feed(Figures(answered=3))
    watched.feed(Figures(asked=8, answered=8))
    assert watched.told() == {}


def test_what_has_happened_elsewhere_is_forgotten_alike() -> None:
    watched = Watched()
    watched.vitals.happened("loop-restarted", "it was killed", watched.now)
    watched.conditions.put("rules-failed", "stands by itself", 1)
    watched.feed(Figures(), after=CONDITION_LINGER_SECONDS)
    assert "loop-restarted" in watched.told()
    watched.feed(Figures(), after=1)
    assert watched.told() == {"rules-failed": "stands by itself"}
