"""Events as text for a terminal, and a stream's lines as events."""

from typing import Any

import pytest
from rich.console import Console, RenderableType

from cnnf.cli import client
from cnnf.cli.events import _unshown, line, table


def end(name: str, **more: Any) -> dict[str, Any]:
    values = {
        "kind": "app",
        "address": "172.18.0.4",
        "host": "web-1",
        "process": "",
        "pid": 0,
        "names": [],
    }
    return {"name": name, **values, **more}


def event(**more: Any) -> dict[str, Any]:
    return {
        "id": "7",
        "effect": "prevent",
        "cause": "rule:pay",
        "source": end("shop/front", process="curl http://db", pid=7),
        "destination": end("shop/db[x]"),
        "port": 5432,
        "protocol": "tcp",
        "last_seen": "2026-01-31T12:00:00.000Z",
        "count": 3,
        "cut": 0,
        "defender": "d" * 32,
        "defender_name": "web-1",
        **more,
    }


def shown(part: RenderableType) -> str:
    console = Console(width=200, highlight=False, soft_wrap=True)
    with console.capture() as capture:
        console.print(part)
    return capture.get()


def test_a_row_says_who_what_and_why() -> None:
    text = shown(table([event(), event(effect="alert", port=53, protocol="udp", cut=2)]))
    first, second = text.splitlines()[1:]
    words = ["prevented", "shop/front", "→", "shop/db[x]", "5432", "3", "rule:pay"]
    assert [word for word in words if word not in first.split()] == []
    assert "curl http://db" in first
    assert first.rstrip().endswith("web-1")
    assert " alert " in second
    assert "53/udp" in second
    assert "3 (2 cut)" in second


def test_a_line_says_the_same() -> None:
    text = shown(line(event()))
    for part in (
        "prevented",
        "shop/front → shop/db[x] port 5432",
        "3 times",
        "rule:pay",
        "on web-1",
    ):
        assert part in text
    assert len(text.splitlines()) == 1


def test_the_internet_has_its_address_and_port_0_is_the_others() -> None:
    text = shown(
        line(event(destination=end("internet", kind="internet", address="8.8.8.8"), port=0))
    )
    assert "→ internet (8.8.8.8) port others" in text


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\r", "\n", "\x9b31m", "\u202e"])
def test_nobody_elses_words_steer_the_terminal(hostile: str) -> None:
    bad = event(
        source=end(f"a{hostile}b", process=f"x{hostile}"),
        cause=f"rule:{hostile}",
        defender_name=hostile,
    )
    for part, lines in ((line(bad), 1), (table([bad]), 2)):
        text = shown(part)
        assert [char for char in text.replace("\n", "") if not char.isprintable()] == []
        assert len(text.splitlines()) == lines


def test_an_address_elsewhere_is_shown_by_its_newest_name() -> None:
    outside = {"kind": "internet", "address": "203.0.113.7"}
    assert "internet (203.0.113.7)" in shown(line(event(destination=end("internet", **outside))))
    named = end("internet", names=["api.example", "b.example"], **outside)
    assert "api.example (203.0.113.7)" in shown(line(event(destination=named)))


def test_what_was_shown_is_shown_again_only_when_it_grew() -> None:
    seen: dict[str, int] = {}
    first = [event(id="1", count=1), event(id="2", count=4)]
    assert [e["id"] for e in _unshown(first, seen)] == ["1", "2"]
    assert list(_unshown(first, seen)) == []
    assert [e["id"] for e in _unshown([event(id="1", count=2), event(id="2", count=4)], seen)] == [
        "1"
    ]


def test_a_streams_lines_are_events() -> None:
    lines = ["id: 4", "event: change", 'data: [{"id": "1"}]', "", ": keep-alive", "",
             "event: resync", "data: {}", ""]  # fmt: skip
    assert list(client._events(lines)) == [("change", "4", [{"id": "1"}]), ("resync", "4", {})]
