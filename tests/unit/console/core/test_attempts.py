"""Guessing is slowed down, honest mistakes are not."""

import pytest

from cnnf.console import limits
from cnnf.console.core.attempts import Attempts
from cnnf.console.errors import TooMany


def test_so_many_failures_and_no_more() -> None:
    attempts = Attempts()
    for n in range(limits.ATTEMPTS_MAX):
        attempts.check("a", n)
        attempts.failed("a", n)
    with pytest.raises(TooMany) as caught:
        attempts.check("a", 100)
    assert caught.value.retry_after_s == 60
    attempts.check("b", 100)
    # The first failure is over a minute old: one more try.
    attempts.check("a", limits.ATTEMPTS_WINDOW_MS)


def test_success_forgives() -> None:
    attempts = Attempts()
    for n in range(limits.ATTEMPTS_MAX):
        attempts.failed("a", n)
    attempts.succeeded("a")
    attempts.check("a", 100)


def test_the_number_of_names_is_bounded() -> None:
    attempts = Attempts()
    for n in range(limits.ATTEMPTS_KEYS_MAX + 100):
        attempts.failed(str(n), n)
    assert len(attempts._failures) == limits.ATTEMPTS_KEYS_MAX
