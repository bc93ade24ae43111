"""Which generation of the policy is in force, as a script: told and given, in any order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.policy_progress import (
    MismatchError,
    OutdatedDocumentError,
    PolicyProgress,
    Step,
)
from cnnf.protocol.limits import COMMAND_CHARS_MAX
from cnnf.protocol.messages import PolicyDocument, PolicyNews, PolicyState


def news(generation: int, digest: str = "") -> PolicyNews:
    """A generation, which means something of its own unless said otherwise."""
    return PolicyNews(generation=generation, digest=digest or f"d{generation}")


def document(generation: int, digest: str = "") -> PolicyDocument:
    """What the Console gives."""
    return PolicyDocument(generation=generation, digest=digest or f"d{generation}", text="text")


def step(progress: PolicyProgress) -> Step:
    """What it is to do next."""
    return progress.step


def holding(generation: int) -> PolicyProgress:
    """A Defender with this one in force, whose stream has said so."""
    made = PolicyProgress()
    made.applied(document(generation))
    made.opened()
    made.tell(news(generation))
    assert step(made) == "rest"
    return made


def test_what_is_told_is_fetched_and_in_force() -> None:
    progress = PolicyProgress()
    assert step(progress) == "rest"
    assert progress.state == PolicyState()
    progress.opened()
    assert progress.tell(news(4))
    assert step(progress) == "fetch"
    progress.fetched(document(4))
    assert step(progress) == "fetch"
    progress.applied(document(4))
    assert step(progress) == "rest"
    assert progress.state == PolicyState(generation=4, digest="d4")


def test_what_is_kept_is_not_fetched_again() -> None:
    assert holding(4).state == PolicyState(generation=4, digest="d4")


def test_a_generation_that_means_the_same_is_not_fetched() -> None:
    progress = holding(4)
    assert progress.tell(news(5, "d4"))
    assert step(progress) == "renumber"
    assert progress.renumbered() == document(5, "d4")
    assert step(progress) == "rest"
    assert progress.state == PolicyState(generation=5, digest="d4")


def test_an_older_one_of_the_same_stream_changes_nothing() -> None:
    progress = holding(4)
    assert not progress.tell(news(3))
    assert step(progress) == "rest"


def test_a_console_from_a_backup_is_followed_back() -> None:
    progress = holding(9)
    progress.opened()
    assert progress.tell(news(4))
    assert step(progress) == "fetch"
    progress.fetched(document(4))
    progress.applied(document(4))
    assert progress.state.generation == 4


def test_one_that_is_refused_leaves_what_is_in_force_and_is_not_fetched_again() -> None:
    progress = holding(4)
    progress.tell(news(5))
    progress.fetched(document(5))
    progress.refused("generation 5:3:1: no policy")
    assert step(progress) == "rest"
    assert progress.state == PolicyState(
        generation=4, digest="d4", refused_generation=5, refused="generation 5:3:1: no policy"
    )
    # A new stream says the same: still no.
    progress.opened()
    progress.tell(news(5))
    assert step(progress) == "rest"
    # Another one, and all is well.
    progress.tell(news(6))
    assert step(progress) == "fetch"
    progress.fetched(document(6))
    progress.applied(document(6))
    assert progress.state == PolicyState(generation=6, digest="d6")


def test_back_to_what_is_in_force_ends_the_refusal() -> None:
    progress = holding(4)
    progress.tell(news(5))
    progress.refused("no")
    progress.tell(news(6, "d4"))
    assert step(progress) == "renumber"
    progress.renumbered()
    assert progress.state == PolicyState(generation=6, digest="d4")


def test_one_that_is_delayed_is_tried_again() -> None:
    progress = holding(4)
    progress.tell(news(5))
    progress.delayed("the kernel")
    assert step(progress) == "fetch"
    assert progress.state == PolicyState(
        generation=4, digest="d4", refused_generation=5, refused="the kernel"
    )
    progress.applied(document(5))
    assert progress.state == PolicyState(generation=5, digest="d5")


def test_a_reason_stays_with_the_generation_that_it_is_of() -> None:
    progress = holding(4)
    progress.tell(news(5))
    progress.refused("no")
    progress.tell(news(6))
    assert (progress.state.refused_generation, progress.state.refused) == (5, "no")


def test_what_is_given_may_be_newer_than_what_was_told() -> None:
    progress = holding(4)
    progress.tell(news(5))
    progress.fetched(document(7))
    progress.applied(document(7))
    # The stream is behind.
    assert not progress.tell(news(6))
    assert not progress.tell(news(7))
    assert step(progress) == "rest"


def test_what_is_given_is_never_older() -> None:
    progress = holding(4)
    progress.tell(news(6))
    with pytest.raises(OutdatedDocumentError, match="told of generation 6, given 5"):
        progress.fetched(document(5))
    assert step(progress) == "fetch"


def test_what_is_given_is_what_was_told() -> None:
    progress = holding(4)
    progress.tell(news(5))
    with pytest.raises(MismatchError, match="told of digest 'd5', given 'other'"):
        progress.fetched(document(5, "other"))
    progress.refused("a mismatch")
    assert step(progress) == "rest"


def test_a_reason_fits_into_a_batch() -> None:
    progress = holding(4)
    progress.tell(news(5))
    progress.refused("x" * 5_000)
    assert len(progress.state.refused) == COMMAND_CHARS_MAX


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.booleans())))
def test_it_always_comes_to_rest_at_what_was_told(script: list[tuple[bool, int, bool]]) -> None:
    """And what was told never goes back within a stream."""
    progress = PolicyProgress()
    for opens, number, good in script:
        if opens:
            progress.opened()
        before, told = progress.state.generation, progress.told
        # Every digest is that of two generations.
        progress.tell(news(number, f"d{number // 2}"))
        if step(progress) == "renumber":
            progress.renumbered()
        elif step(progress) == "fetch":
            assert progress.told is not None
            given = document(progress.told.generation, progress.told.digest)
            progress.fetched(given)
            if good:
                progress.applied(given)
            else:
                progress.refused("no")
        assert step(progress) == "rest"
        assert progress.told is not None
        state = progress.state
        if state.refused:
            assert state.refused_generation == progress.told.generation
            assert state.generation == before
        else:
            assert state.generation == progress.told.generation
        # Only a stream's first word may lead back.
        assert opens or told is None or progress.told.generation >= told.generation
