"""The comparison of Radar with what really happened says exactly what differs."""

from typing import Any

from tests.lab.truth import (
    INTERNET,
    Edge,
    Picture,
    Report,
    app,
    credited_wrongly,
    differences,
    expected,
    service,
    unmanaged,
)

WEB, API, PAY = app("lab/web"), app("lab/api"), service("lab-pay")
EDGE = Edge(WEB, API, 8080)


def graph(*edges: tuple[str, str, int, int]) -> dict[str, Any]:
    """A graph of (source, target, port, connections); ids are names, all of them apps."""
    names = {name for source, target, _, _ in edges for name in (source, target)}
    return {
        "nodes": [
            {"id": name, "kind": "app", "name": name.rstrip("'"), "instances": 1} for name in names
        ],
        "edges": [
            {
                "source": source,
                "target": target,
                "ports": [
                    {
                        "port": port,
                        "connections": count,
                        "answered": count,
                        "refused": 0,
                        "found": 0,
                    }
                ],
            }
            for source, target, port, count in edges
        ],
    }


def made(count: int, again: int = 0, edge: Edge = EDGE) -> tuple[str, Edge, Report]:
    return "a line", edge, Report(count, {"api": count}, again=again)


def said(lines: list[tuple[str, Edge, Report]], *edges: tuple[str, str, int, int]) -> list[str]:
    gained = Picture(graph(*edges)).since(Picture(graph()))
    return differences(expected(lines), gained, "containers")


def test_nothing_is_said_when_all_is_right() -> None:
    lines = [made(3), made(4), made(2, edge=Edge(API, WEB, 80))]
    assert said(lines, ("lab/web", "lab/api", 8080, 7), ("lab/api", "lab/web", 80, 2)) == []


def test_a_missing_edge_is_said() -> None:
    assert said([made(3)]) == ["missing: app lab/web → app lab/api :8080 (a line): 3 connections"]


def test_an_invented_edge_is_said_also_beside_the_right_one() -> None:
    found = said([made(3)], ("lab/web", "lab/api", 8080, 3), ("lab/web", "lab/api", 18080, 3))
    assert found == ["invented: app lab/web → app lab/api :18080: 3 connections, 0 found"]


def test_a_count_too_high_or_too_low_is_said() -> None:
    for count in (5, 7):
        (first, second) = said([made(6)], ("lab/web", "lab/api", 8080, count))
        assert first == f"count: app lab/web → app lab/api :8080 (a line): {count}, made were 6"
        assert second.startswith("answered:")


def test_a_syn_sent_again_may_be_seen_or_not() -> None:
    for count, right in ((5, False), (6, True), (7, True), (8, False)):
        found = said([made(6, again=1)], ("lab/web", "lab/api", 8080, count))
        assert any(one.startswith("count") for one in found) is not right


def test_what_was_there_before_is_no_gain() -> None:
    before = Picture(graph(("lab/web", "lab/api", 8080, 10), ("lab/api", "lab/web", 80, 4)))
    after = Picture(graph(("lab/web", "lab/api", 8080, 13), ("lab/api", "lab/web", 80, 4)))
    assert differences(expected([made(3)]), after.since(before), "containers") == []


def test_one_name_on_two_nodes_is_seen() -> None:
    drawn = Picture(graph(("lab/web", "lab/api", 1, 1), ("lab/web'", "lab/api", 1, 1)))
    assert drawn.twice == ["app lab/web"]
    assert drawn.edges[Edge(WEB, API, 1)].connections == 2


def test_a_view_asks_for_its_own_edges_only() -> None:
    lines = [made(3), made(2, edge=Edge(PAY, INTERNET, 443))]
    assert [one.split(" ", 1)[0] for one in differences(expected(lines), {}, "hosts")] == [
        "missing:"
    ]
    both = Edge(PAY, API, 8080)
    for view in ("containers", "hosts"):
        assert differences(expected([made(1, edge=both)]), {}, view) != []


def test_credit_for_what_another_did_is_said_and_an_address_is_nobody() -> None:
    nobody = Edge(unmanaged("10.0.0.2"), API, 8080)
    gained = Picture(graph(("lab/web", "lab/api", 8080, 4))).edges
    figures = gained[EDGE]
    assert credited_wrongly(expected([made(4)]), gained) == []
    assert credited_wrongly(expected([made(2)]), {nobody: figures}) == []
    assert credited_wrongly(expected([made(3)]), gained) == [
        "credited: app lab/web → app lab/api :8080: 4, made were 3"
    ]
