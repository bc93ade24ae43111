"""Versions of the policy on a real database: history, differences, an older database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text

from cnnf.console.errors import Conflict
from cnnf.console.store import policies, rule_hits
from cnnf.console.store.database import Database
from cnnf.console.store.policies import Change, NewPolicy, StoredPolicy
from cnnf.console.store.schema import policies as table
from tests.contract.test_flow_store import NOW

BY = Change(author="ann", reason="why", kind="replace")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "cnnf.db")
    made.open()
    made.write_now(lambda c: policies.ensure(c, NOW))
    yield made
    made.close()


def new(body: str, *enabled: str) -> NewPolicy:
    return NewPolicy(text=body, digest=f"{hash(body)}", rules=1, objects=2,
                     enabled=frozenset(enabled))  # fmt: skip


def store(database: Database, expected: int, what: NewPolicy, change: Change = BY) -> StoredPolicy:
    return database.write_now(
        lambda c: policies.store(c, expected=expected, new=what, change=change, now=NOW + expected)
    )


def lines(count: int, *changed: int) -> str:
    return "".join(
        f"- rule {n} {'is another' if n in changed else 'as it was'} {n * 7919 % 104729}\n"
        for n in range(count)
    )


def test_the_first_version_is_empty_and_made_once(database: Database) -> None:
    database.write_now(lambda c: policies.ensure(c, NOW + 5))
    (only,) = database.read_now(lambda c: policies.history(c, before=0, count=9))
    assert (only.version, only.at, only.author, only.kind) == (1, NOW, "cnnf", "first")
    assert "containers: []" in database.read_now(policies.current).text


def test_every_version_can_be_read_again_and_most_are_small(database: Database) -> None:
    texts = [lines(3_000, *range(n)) for n in range(1, 120)]
    for version, body in enumerate(texts, 1):
        stored = store(database, version, new(body))
        assert (stored.version, stored.text) == (version + 1, body)
    for version, body in enumerate(texts, 2):
        loaded = database.read_now(lambda c, v=version: policies.load(c, v))  # type: ignore[misc]
        assert loaded is not None
        assert loaded.text == body

    def kept(c: Connection) -> tuple[int, int, int]:
        whole = select(func.count()).where(table.c.base == 0)
        sizes = select(func.sum(func.length(table.c.body)), func.max(func.length(table.c.body)))
        total, largest = c.execute(sizes).one()
        return c.execute(whole).scalar_one(), total, largest

    whole, total, largest = database.read_now(kept)
    assert 2 <= whole <= 10
    assert total < 12 * largest  # a tenth of what 119 whole ones take


def test_the_faster_one_wins(database: Database) -> None:
    store(database, 1, new("a"))
    with pytest.raises(Conflict) as caught:
        store(database, 1, new("b"))
    assert caught.value.version == 2
    assert database.read_now(policies.current).text == "a"


def test_the_same_text_is_no_version(database: Database) -> None:
    store(database, 1, new("a"))
    assert store(database, 2, new("a")).version == 2


def test_rules_are_in_force_since_they_were_enabled(database: Database) -> None:
    store(database, 1, new("a", "x", "y"))
    store(database, 2, new("b", "y", "z"))
    store(database, 3, new("c", "x", "y", "z"))
    assert database.read_now(policies.in_force_since) == {
        "x": NOW + 3, "y": NOW + 1, "z": NOW + 2,
    }  # fmt: skip


def test_a_renamed_rule_keeps_its_hits(database: Database) -> None:
    store(database, 1, new("a", "x"))

    def fill(c: Connection) -> None:
        for row in ("('x', 1, 5, 2, 9)", "('x', 2, 1, 4, 7)", "('y', 1, 1, 1, 3)"):
            c.execute(text(f"INSERT INTO rule_hits VALUES {row}"))

    database.write_now(fill)
    renamed = Change(author="ann", reason="", kind="rule", renamed=("x", "y"))
    store(database, 2, new("b", "y"), renamed)
    assert database.read_now(rule_hits.totals) == {"y": (10, 9)}
    assert database.read_now(policies.in_force_since) == {"y": NOW + 1}


def test_an_older_database_gets_an_empty_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import command

    path = tmp_path / "old.db"
    real = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: real(config, "0005"))
    old = Database(path)
    old.open()

    def fill(c: Connection) -> None:
        c.execute(
            text(
                "INSERT INTO defenders (id, name, fingerprint, enrolled_at, seen_at, sent_at, "
                "version, kernel, system, conditions) "
                "VALUES ('d', 'web-1', x'00', 1, 1, 1, '', '', '', '[]')"
            )
        )

    old.write_now(fill)
    old.close()
    monkeypatch.setattr(command, "upgrade", real)
    fresh = Database(path)
    fresh.open()
    try:
        from cnnf.console.store import defenders

        fresh.write_now(lambda c: policies.ensure(c, NOW))
        assert fresh.read_now(policies.current).version == 1
        (one,) = fresh.read_now(defenders.everyone)
        assert (one.name, one.policy) == ("web-1", None)
        assert fresh.read_now(rule_hits.totals) == {}
    finally:
        fresh.close()
