"""What a draft costs that is judged against a day of history: a million recorded rows.

The Console's own store on a disk, one process: 2,000 apps with 10,000 containers, their connections
among each other and to the internet, 10,000 rules in force, and a draft that differs in fifty.
Twice: the rows are the hours of 50,000 flows, and they are a million different flows.
"""

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from sqlalchemy import Connection

from bench import companies
from bench.benchmark import Benchmark, Tell
from bench.policy_engine import company
from bench.rows import Row, Target, single
from cnnf.console import limits
from cnnf.console.core import nodes, windows
from cnnf.console.core.whatif import what_if
from cnnf.console.core.whatif_form import WhatIf
from cnnf.console.store.database import Database
from cnnf.console.store.sqlite_flows import SqliteFlowStore
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.rules import Effect, Policy, Rule

NAME = "what-if"
HOURS, FLOWS = "rows-1000000", "flows-1000000"
#: How many different flows the million rows are of.
_FLOWS = {HOURS: 50_000, FLOWS: 1_000_000}
_ROWS = 1_000_000
_CONTAINERS, _HOSTS = 10_000, 1_000
#: One flow in so many goes to the internet, to so many addresses of 10,000.
_TO_INTERNET, _ADDRESSES = 20, 3
_DIFFERENT = 50
_ROUNDS_LEAST = 3
_NOW = 1_790_000_000_000 - 1_790_000_000_000 % limits.HOUR_MS
_EFFECTS: tuple[Effect, ...] = ("prevent", "alert")
_PORTS = (80, 443, 5432, 6379, 8080, 9000)


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    policy = company()
    in_force, draft = compile_policy(policy), compile_policy(_draft(policy))
    rows: list[Row] = []
    for number, case in enumerate(cases, 1):
        share = (deadline - time.monotonic()) / (len(cases) + 1 - number)
        rows += _case(case, in_force, draft, time.monotonic() + share, tell)
    return rows


def _case(
    case: str, in_force: Compiled, draft: Compiled, deadline: float, tell: Tell
) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="cnnf-bench-") as directory:
        database = Database(Path(directory) / "cnnf.db")
        database.open()
        try:
            tell(f"{NAME}-{case}: writing a day of history")
            database.write_now(lambda c: _fill(c, _FLOWS[case]))
            store = SqliteFlowStore(database)
            times: list[float] = []
            while len(times) < _ROUNDS_LEAST or time.monotonic() < deadline:
                tell(f"{NAME}-{case}: judging, round {len(times) + 1}")
                began = time.perf_counter()
                found = asyncio.run(_judged(store, draft, in_force))
                times.append(time.perf_counter() - began)
                assert found.judged.flows == _FLOWS[case], found.judged
                assert found.policy.prevented.flows, "the draft prevents nothing"
        finally:
            database.close()
    target = Target(at_most=5.0) if case == HOURS else None
    yield single(f"{NAME}-{case}-time", "s", median(times), target)


async def _judged(store: SqliteFlowStore, draft: Compiled, in_force: Compiled) -> WhatIf:
    window = windows.between(_NOW - limits.DAY_MS, _NOW, _NOW)
    return await store.recorded(
        window, lambda recorded: what_if(recorded, draft, in_force), lambda: None
    )


def _draft(policy: Policy) -> Policy:
    """The policy with some more rules in front, each about all apps of a team."""
    teams = [one.name for one in policy.objects if one.labels][:_DIFFERENT]
    new = (
        Rule(name=f"new-{at}", effect=_EFFECTS[at % 2], source=(team,), ports=((443, 443),))
        for at, team in enumerate(teams)
    )
    return msgspec.structs.replace(policy, containers=(*new, *policy.containers[:-_DIFFERENT]))


def _fill(connection: Connection, flows: int) -> None:
    sql: Any = connection.connection.driver_connection
    chance = random.Random(3)
    internet = companies.APPS + 1
    for number in range(companies.APPS):
        team = f"team-{number % companies.TEAMS}"
        node = nodes.app(companies.repository(number), cluster="one", namespace=team)
        _insert(sql, "nodes", (number + 1, node.id, "app", node.name, "one", team))
    _insert(sql, "nodes", (internet, nodes.INTERNET_ID, "internet", "internet", "", ""))
    for number in range(_HOSTS):
        address = json.dumps([f"10.{number >> 8}.{number & 255}.1"])
        _insert(sql, "hosts", (f"{number:032x}", f"host-{number}", address, _NOW, _NOW, 0, "[]",
                               _NOW, 0))  # fmt: skip
    for number in range(_CONTAINERS):
        _insert(sql, "instances", _instance(number, chance))
    sql.executemany(
        "INSERT INTO edges VALUES (?, ?, ?, ?, 'tcp', ?, ?)", _edges(flows, internet, chance)
    )
    sql.executemany(
        "INSERT INTO edge_peers SELECT number, ?, ?, ? FROM edges WHERE number % ? = 0 "
        "AND number % 7 <> ?",
        [
            (f"203.0.{chance.randrange(40)}.{chance.randrange(250)}", _NOW, "[]", _TO_INTERNET, at)
            for at in range(_ADDRESSES)
        ],
    )
    buckets = _ROWS // flows
    sql.executemany(
        "INSERT INTO hours (start, edge, connections, found, first_seen, last_seen, verdict, "
        "cause) VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
        (
            (start, edge, 1 + edge % 50, start, start + 1, verdict, "rule:some" if verdict else "")
            for start in (_NOW - limits.HOUR_MS * (1 + at) for at in range(buckets))
            for edge in range(1, flows + 1)
            for verdict in (edge % 3 % 2,)
        ),
    )


def _insert(sql: Any, table: str, values: tuple[Any, ...]) -> None:
    marks = ", ".join("?" * len(values))
    sql.execute(f"INSERT INTO {table} VALUES ({marks})", values)


def _instance(number: int, chance: random.Random) -> tuple[Any, ...]:
    app, host = number % companies.APPS, number % _HOSTS
    one = companies.container(app, host, number % 2)
    address = f"100.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    return (
        f"{host:032x}", f"c{number}", app + 1, "container", one.tag, one.digest, "", "",
        json.dumps(dict(one.labels)), json.dumps([address]), "[]", chance.randrange(9999),
        _NOW - 2 * limits.DAY_MS, 0, "[]", 0, "", "", "", "", 0,
    )  # fmt: skip


def _edges(flows: int, internet: int, chance: random.Random) -> Iterator[tuple[int, ...]]:
    seen: set[tuple[int, int, int]] = set()
    for number in range(1, flows + 1):
        while True:
            source = 1 + chance.randrange(companies.APPS)
            if number % _TO_INTERNET:
                edge = (source, 1 + chance.randrange(companies.APPS), chance.choice(_PORTS))
            else:
                edge = (source, internet, chance.randrange(1, 60_000))
            if edge not in seen:
                break
        seen.add(edge)
        yield (number, *edge, _NOW - limits.DAY_MS, _NOW)


BENCHMARK = Benchmark(name=NAME, cases={HOURS: 30.0, FLOWS: 60.0}, measure=_measure)
