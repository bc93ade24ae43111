"""What was asked and never answered: all of it in the end, never more on the way."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.unjudged import Unjudged

steps = st.lists(st.sampled_from(["ask", "ask and lose", "answer", "restore", "read"]), max_size=60)


@given(steps)
def test_it_says_what_was_lost_and_never_too_much(steps: list[str]) -> None:
    unjudged = Unjudged()
    asked = waiting = answered = lost = 0
    said = 0
    for step in steps:
        if step == "ask":
            asked, waiting = asked + 1, waiting + 1
        elif step == "ask and lose":
            asked, lost = asked + 1, lost + 1
        elif step == "answer" and waiting:
            answered, waiting = answered + 1, waiting - 1
        elif step == "restore":
            # Its counter begins again; what was counted before is read once more, or it is lost.
            said = unjudged.feed(asked, answered + waiting)
            asked = 0
            unjudged.feed(asked, answered + waiting)
        elif step == "read":
            before, said = said, unjudged.feed(asked, answered + waiting)
            assert before <= said == lost
    assert unjudged.feed(asked, answered + waiting) == lost


def test_packets_between_the_readings_are_not_taken_for_lost() -> None:
    unjudged = Unjudged()
    # Asked was read at 3; by the time the answers were, five had been asked and answered.
    assert unjudged.feed(3, 5) == 0
    assert unjudged.feed(5, 5) == 0
    assert unjudged.feed(6, 5) == 1
    # Answered late, by a loop whose count came in afterwards: what was said stays.
    assert unjudged.feed(6, 6) == 1
