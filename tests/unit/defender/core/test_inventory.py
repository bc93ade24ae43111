"""What runs here, as the Console has been told."""

import pytest

from cnnf.defender.core import inventory as inventory_module
from cnnf.defender.core.inventory import Inventory
from cnnf.protocol.messages import Instance


def container(name: str, **changes: object) -> Instance:
    """A running container."""
    return Instance(id=name, kind="container", name=f"shop/{name}", **changes)  # type: ignore[arg-type]


SSH = Instance(id="service:ssh", kind="service", name="ssh")


def test_what_starts_is_news_once() -> None:
    inventory = Inventory()
    inventory.put(container("cart"))
    inventory.put(container("cart"))
    assert inventory.take_news() == [container("cart")]
    inventory.put(container("cart"))
    assert inventory.take_news() == []
    assert not inventory.has_news


def test_a_difference_is_news_and_replaces_what_was_not_told() -> None:
    inventory = Inventory()
    inventory.put(container("cart"))
    inventory.put(container("cart", tag="2"))
    assert inventory.has_news
    assert inventory.take_news() == [container("cart", tag="2")]


def test_what_stops_is_told_with_its_time() -> None:
    inventory = Inventory()
    inventory.put(container("cart"))
    inventory.take_news()
    inventory.stop("cart", 500)
    inventory.stop("cart", 600)
    inventory.stop("never", 600)
    assert inventory.take_news() == [container("cart", stopped_at=500)]
    assert inventory.running("container") == set()


def test_a_stop_without_a_time_is_still_a_stop() -> None:
    inventory = Inventory()
    inventory.put(container("cart"))
    inventory.stop("cart", 0)
    assert inventory.take_news()[0].stopped_at == 1


def test_what_starts_again_is_news_again() -> None:
    inventory = Inventory()
    inventory.put(container("cart"))
    inventory.stop("cart", 500)
    inventory.put(container("cart"))
    assert inventory.take_news() == [container("cart")]
    assert inventory.running("container") == {"cart"}


def test_kinds_are_told_apart() -> None:
    inventory = Inventory()
    inventory.put(container("cart"))
    inventory.put(SSH)
    assert inventory.running("container") == {"cart"}
    assert inventory.running("service") == {"service:ssh"}


def test_a_snapshot_is_everything_that_runs_and_no_news_remain() -> None:
    inventory = Inventory()
    inventory.put(container("cart"))
    inventory.put(SSH)
    inventory.stop("cart", 500)
    assert inventory.take_snapshot() == [SSH]
    assert not inventory.has_news
    assert inventory.take_snapshot() == [SSH]


def test_a_batch_is_never_overfilled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory_module, "BATCH_INSTANCES_MAX", 2)
    inventory = Inventory()
    for name in "abcde":
        inventory.put(container(name))
    assert [one.id for one in inventory.take_news()] == ["a", "b"]
    assert [one.id for one in inventory.take_snapshot()] == ["a", "b"]
    assert [one.id for one in inventory.take_news()] == ["c", "d"]
    assert [one.id for one in inventory.take_news()] == ["e"]
    assert not inventory.has_news
