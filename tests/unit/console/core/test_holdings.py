"""Who holds an answer is told when it is true no more, and nobody else is."""

import pytest

from cnnf.console import limits
from cnnf.console.core.holdings import Holdings
from cnnf.protocol.messages import Stale


def test_only_holders_are_told_and_once() -> None:
    holdings = Holdings()
    holdings.told("a", ["10.0.0.1", "10.0.0.2"])
    holdings.told("b", ["10.0.0.2"])
    holdings.changed(["10.0.0.1", "10.0.0.9"])
    assert holdings.waiting() == ["a"]
    assert holdings.take("a", 7) == Stale(generation=7, addresses=["10.0.0.1"])
    holdings.changed(["10.0.0.1"])
    assert holdings.take("a", 8) is None
    holdings.changed(["10.0.0.2"])
    assert sorted(holdings.waiting()) == ["a", "b"]
    assert len(holdings) == 0


def test_what_is_new_for_everybody_is_told_to_all_who_ask() -> None:
    holdings = Holdings()
    holdings.told("a", ["10.0.0.1"])
    holdings.told("b", [])
    holdings.changed(["198.51.100.1"], everybody=True)
    assert sorted(holdings.waiting()) == ["a", "b"]
    assert len(holdings) == 1


def test_a_new_stream_begins_with_everything() -> None:
    holdings = Holdings()
    holdings.told("a", ["10.0.0.1"])
    holdings.changed(["10.0.0.1"])
    assert holdings.opened("a", 3) == Stale(generation=3, everything=True)
    assert holdings.waiting() == []


def test_what_is_forgotten_is_called_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELD_MAX", 3)
    holdings = Holdings()
    holdings.told("a", [f"10.0.0.{n}" for n in range(3)])
    holdings.told("a", ["10.0.0.0", "10.0.0.9"])
    assert holdings.take("a", 1) == Stale(generation=1, addresses=["10.0.0.1"])
    monkeypatch.setattr(limits, "HELD_ALL_MAX", 4)
    holdings.told("b", ["10.0.1.1", "10.0.1.2"])
    assert holdings.take("b", 1) == Stale(generation=1, addresses=["10.0.1.1"])
    assert len(holdings) == 4


def test_too_much_is_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALE_ADDRESSES_MAX", 2)
    holdings = Holdings()
    addresses = [f"10.0.0.{n}" for n in range(3)]
    holdings.told("a", addresses)
    holdings.changed(addresses)
    assert holdings.take("a", 4) == Stale(generation=4, everything=True)


def test_who_is_removed_holds_nothing() -> None:
    holdings = Holdings()
    holdings.told("a", ["10.0.0.1"])
    holdings.told("b", ["10.0.0.1"])
    holdings.removed("a")
    assert len(holdings) == 1
    holdings.changed(["10.0.0.1"])
    assert holdings.waiting() == ["b"]
