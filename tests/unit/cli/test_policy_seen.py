"""What `cnnf policy seen` prints."""

from io import StringIO
from typing import Any

from rich.console import Console

from cnnf.cli.policy_seen import render


def end(name: str, *who: str, member: bool = False, more: int = 0) -> dict[str, Any]:
    return {"name": name, "member": member, "who": list(who), "more": more}


def printed(found: dict[str, Any]) -> str:
    out = StringIO()
    console = Console(file=out, width=160, highlight=False)
    for part in render(found, "24h"):
        console.print(part)
    return out.getvalue()


ROW = {
    "source": end("shop/front"),
    "destination": end("internet", "api.pay.example (203.0.113.7)", member=True, more=3),
    "port": 443, "protocol": "tcp", "connections": 1234, "certain": False,
    "last_seen": "2026-01-31T12:00:00.000Z", "effect": "alert", "cause": "rule:pay", "sure": True,
}  # fmt: skip


def test_rows_say_who_how_many_and_what_is_in_force() -> None:
    rows = [
        ROW,
        ROW | {"certain": True, "sure": False},
        ROW | {"port": 0, "effect": None, "cause": ""},
    ]
    found = printed({"object": "pay", "flows": 7, "skipped": 2, "listed": rows})
    first, _, *rest = found.splitlines()
    one, two, three = (" ".join(row.split()) for row in rest)
    assert first == "7 flows of pay in the last 24h; shown are 3 to 5."
    assert "internet (api.pay.example (203.0.113.7) and 3 more) 443/tcp up to 1,234" in one
    assert one.endswith("alert rule:pay")
    assert "up to" not in two
    assert "alert, not for all" in two
    assert "other/tcp" in three
    assert "not known" in three


def test_nothing_seen_is_said() -> None:
    found = printed({"object": "pay", "flows": 0, "skipped": 0, "listed": []})
    assert found == "No connection of pay was seen in the last 24h.\n"
