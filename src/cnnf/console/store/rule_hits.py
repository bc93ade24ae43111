"""How often rules decided, counted with the batches that tell of it.

A connection between two hosts with Defenders is decided at both ends, often by the same rule. What
the source's Defender tells (or the only one there is) and what the destination's tells are summed
apart, by day; the larger of the two is taken as that day's number. So one connection counts once
where one rule decided at both ends, and a rule that only the destination can apply counts, too.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection

from cnnf.console.core.hits import Hit


class Total(NamedTuple):
    """Connections that a rule decided about, and when last (ms)."""

    hits: int
    last_hit: int


def count(sql: Any, hits: Iterable[Hit]) -> None:
    """Add what a batch tells, in its transaction."""
    sql.executemany(
        "INSERT INTO rule_hits (rule, day, told, claimed, last_hit) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (rule, day) DO UPDATE SET told = told + excluded.told, "
        "claimed = claimed + excluded.claimed, last_hit = max(last_hit, excluded.last_hit)",
        [(one.rule, one.day, one.told, one.claimed, one.last_hit) for one in hits],
    )


def totals(connection: Connection) -> dict[str, Total]:
    """Of every rule that ever decided, as far back as days are kept (`limits.DAYS_KEPT_MS`)."""
    sql: Any = connection.connection.driver_connection
    return {
        rule: Total(hits, last_hit)
        for rule, hits, last_hit in sql.execute(
            "SELECT rule, sum(max(told, claimed)), max(last_hit) FROM rule_hits GROUP BY rule"
        )
    }
