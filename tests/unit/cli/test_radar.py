"""The graph as text for a terminal."""

from typing import Any

from rich.console import Console

from cnnf.cli.radar import render

GRAPH: dict[str, Any] = {
    "hidden": {"nodes": 0, "edges": 0},
    "mode": {"limited": False},
    "nodes": [
        {"id": "a", "kind": "app", "name": "shop/web", "group": ["", ""], "instances": 2,
         "model": {"state": "learning"}, "internet": True},
        {"id": "b", "kind": "app", "name": "shop/db[x]", "group": ["prod", "eu"], "instances": 1,
         "model": {"state": None}, "internet": False},
        {"id": "i", "kind": "internet", "name": "internet", "group": [], "instances": 0,
         "model": {"state": None}, "internet": False},
    ],
    "edges": [
        {"source": "a", "target": "b", "more_ports": 0, "ports": [
            {"port": 5432, "protocol": "tcp", "connections": 40, "verdict": "none",
             "answered": 36, "refused": 1},
            {"port": 53, "protocol": "udp", "connections": 2, "verdict": "prevent",
             "cause": "rule:no\x1b[2J names", "answered": 0, "refused": 0}]},
        {"source": "a", "target": "i", "more_ports": 5, "ports": [
            {"port": port, "protocol": "tcp", "connections": 1, "verdict": "alert",
             "answered": 0, "refused": 0}
            for port in range(1, 12)]},
    ],
}  # fmt: skip


def shown(graph: dict[str, Any]) -> str:
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        for part in render(graph, "1h"):
            console.print(part)
    return capture.get()


def test_nodes_and_edges_are_named() -> None:
    lines = shown(GRAPH).splitlines()
    assert any(line.split() == ["shop/web", "app", "2", "learning", "yes"] for line in lines)
    (edge,) = [line for line in lines if "5432" in line]
    assert "shop/web" in edge
    assert "shop/db[x] (prod/eu)" in edge
    assert "5432, 53/udp prevented by rule:no�[2J names" in edge
    assert edge.split("  ")[-1].strip() == "36 established, 1 refused, 3 no answer"
    assert " 42 " in edge


def test_what_nobody_looked_for_is_no_outcome() -> None:
    assert "11 no answer" in shown(GRAPH)
    limited = shown(GRAPH | {"mode": {"limited": True}})
    assert "no answer" not in limited
    assert "36 established, 1 refused" in limited


def test_many_ports_are_counted() -> None:
    assert "8 alert and 8 more" in shown(GRAPH)


def test_what_is_hidden_is_said() -> None:
    assert "Hidden: 3 nodes" in shown(GRAPH | {"hidden": {"nodes": 3, "edges": 0}})


def test_an_empty_map_points_to_the_demo() -> None:
    assert "cnnf demo" in shown(GRAPH | {"nodes": [], "edges": []})
