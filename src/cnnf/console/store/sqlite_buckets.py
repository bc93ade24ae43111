"""Buckets of history: added to, and taken back from what turned out to be told twice."""

from itertools import pairwise
from typing import Any

from cnnf.console import limits
from cnnf.console.core.ingest import EdgeKey, Observation

TABLES = (
    ("minutes", limits.MINUTE_MS),
    ("hours", limits.HOUR_MS),
    ("days", limits.DAY_MS),
)
_UPSERT_BUCKET = """
INSERT INTO {table} (start, edge, connections, answered, refused, found, verdict, cause,
                     first_seen, last_seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (start, edge) DO UPDATE SET
  connections = connections + excluded.connections,
  answered = answered + excluded.answered,
  refused = refused + excluded.refused,
  found = found + excluded.found,
  cause = CASE WHEN (excluded.verdict, excluded.cause) > (verdict, cause)
          THEN excluded.cause ELSE cause END,
  verdict = max(verdict, excluded.verdict),
  first_seen = min(first_seen, excluded.first_seen),
  last_seen = max(last_seen, excluded.last_seen)
"""
#: What was taken back is as if it had never been.
_DELETE_EMPTY = """
DELETE FROM minutes WHERE start = ? AND edge = ?
  AND connections <= 0 AND answered <= 0 AND refused <= 0 AND found <= 0
"""
_COLUMNS = "connections, answered, refused, found, verdict, cause, first_seen, last_seen"
_DELETE = "DELETE FROM {table} WHERE start = ? AND edge = ?"
_ANEW = """
INSERT INTO {table} (start, edge, {columns})
SELECT ?1, edge, sum(connections), sum(answered), sum(refused), sum(found), max(verdict),
       substr(max(verdict || cause), 2), min(first_seen), max(last_seen)
FROM {finer} WHERE edge = ?2 AND start >= ?1 AND start < ?1 + ?3 GROUP BY edge
"""


def add(sql: Any, observations: list[Observation], edges: dict[EdgeKey, int]) -> None:
    """Add to the buckets of all three resolutions.

    Where something is taken back, the coarser buckets are made anew of the finer ones, so that
    neither its times nor its verdict stay; nothing as old as minutes are kept is taken back.
    """
    for table, length in TABLES:
        sql.executemany(
            _UPSERT_BUCKET.format(table=table),
            [
                (
                    seen.minute - seen.minute % length,
                    edges[seen.edge],
                    seen.connections,
                    seen.answered,
                    seen.refused,
                    seen.found,
                    *seen.decision,
                    seen.first_seen,
                    seen.last_seen,
                )
                for seen in observations
            ],
        )
    taken_back = {
        (seen.minute, edges[seen.edge])
        for seen in observations
        if min(seen.connections, seen.answered, seen.refused, seen.found) < 0
    }
    if not taken_back:
        return
    sql.executemany(_DELETE_EMPTY, sorted(taken_back))
    for (finer, _), (table, length) in pairwise(TABLES):
        coarser = sorted({(start - start % length, edge) for start, edge in taken_back})
        sql.executemany(_DELETE.format(table=table), coarser)
        sql.executemany(
            _ANEW.format(table=table, finer=finer, columns=_COLUMNS),
            [(start, edge, length) for start, edge in coarser],
        )
