"""The writer and the readers on a real file: groups, failures, a full disk."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from cnnf.console import limits
from cnnf.console.errors import CannotStart, StoreUnavailable
from cnnf.console.store.database import Database, check_version
from cnnf.console.store.schema import metadata
from cnnf.console.store.sqlite_flows import SqliteFlowStore
from tests.contract.test_flow_store import NOW, RUN_A, SHOP, batch, counts, flow, radar, run


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "cnnf.db")
    made.open()
    yield made
    made.close()


def note(connection: Connection, value: str) -> None:
    connection.execute(
        text("INSERT INTO audit (at, actor, action, subject, detail) VALUES (1, :v, '', '', '{}')"),
        {"v": value},
    )


def noted(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT actor FROM audit ORDER BY id")).scalars())


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 51, 2)])
def test_a_sqlite_that_corrupts_is_refused(version: tuple[int, ...]) -> None:
    with pytest.raises(CannotStart, match="WAL-reset"):
        check_version(version)


def test_the_sqlite_in_use_is_taken() -> None:
    check_version()
    check_version((3, 51, 3))


def test_the_migrations_make_what_the_schema_says(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert database.read_now(differences) == []


def test_a_job_that_fails_is_undone_and_others_stand(database: Database) -> None:
    def fails(connection: Connection) -> None:
        note(connection, "undone")
        raise ValueError("no")

    async def work() -> list[object]:
        jobs = [
            database.write(lambda c, n=n: fails(c) if n == 5 else note(c, str(n)))  # type: ignore[misc]
            for n in range(10)
        ]
        return list(await asyncio.gather(*jobs, return_exceptions=True))

    results = run(work())
    assert [type(r) for r in results].count(ValueError) == 1
    assert database.read_now(noted) == [str(n) for n in range(10) if n != 5]


def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        database.read_now(lambda c: note(c, "x"))


def test_a_full_disk_acknowledges_nothing_and_passes(database: Database) -> None:
    store = SqliteFlowStore(database)
    run(store.append_batch("d", batch(1, instances=SHOP, flows=[flow("c1", "c2")]), NOW))
    before = radar(store)

    def size(pages: int) -> None:
        def job(connection: Connection) -> None:
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))

        database.write_now(job)

    size(1)  # as many pages as there are, and no more
    many = batch(2, flows=[flow("c1", f"10.0.{n // 250}.{n % 250}") for n in range(5_000)])

    async def both() -> list[object]:
        # In one group: what shares the transaction may not be said to stand either.
        return list(
            await asyncio.gather(
                store.append_batch("d", many, NOW),
                store.append_batch("e", batch(1, flows=[flow("10.0.0.1", "10.0.0.2")]), NOW),
                return_exceptions=True,
            )
        )

    first, second = run(both())
    assert isinstance(first, StoreUnavailable), first
    size(1_000_000)
    assert run(store.watermark("d", RUN_A)).sequence == 1
    told = not isinstance(second, BaseException)
    assert (run(store.watermark("e", RUN_A)).sequence == 1) or not told
    names = {name for pair in counts(radar(store)) for name in pair[:2]}
    assert {"shop/front", "shop/back"} <= names
    assert before.edges[0] in radar(store).edges
    assert not run(store.append_batch("d", many, NOW)).duplicate
    assert len(counts(radar(store))) >= 5_001


def test_too_many_writers_are_turned_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    release = threading.Event()

    async def work() -> None:
        blocked = asyncio.create_task(database.write(lambda _: release.wait()))
        await asyncio.sleep(0.05)
        waiting = [
            asyncio.create_task(database.write(lambda c: note(c, "w")))
            for _ in range(limits.WRITE_QUEUE_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="busy"):
            await database.write(lambda c: note(c, "late"))
        release.set()
        await blocked
        await asyncio.gather(*waiting)

    run(work())
    assert len(database.read_now(noted)) == limits.WRITE_QUEUE_MAX
