"""The SQLite database: one writer with group commit, a few readers.

The writer is a thread of its own. Whoever wants to write hands it a job and awaits the result; all
jobs that wait at the same time share one transaction, each in a savepoint of its own, and none is
answered before the commit is on disk. Readers see the last commit and never wait for the writer
(WAL).
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pysqlite3
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from cnnf.console import limits
from cnnf.console.errors import CannotStart, StoreUnavailable
from cnnf.console.store.migrate import migrate

T = TypeVar("T")
Job = Callable[[Connection], Any]

#: The WAL-reset bug: a database written by several connections can be corrupted.
BROKEN_FROM, BROKEN_TO = (3, 7, 0), (3, 51, 2)
#: FULL: a commit is on disk before it is acknowledged.
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -32768",
    "PRAGMA temp_store = MEMORY",
)


def check_version(version: tuple[int, ...] | None = None) -> None:
    """Raises CannotStart when the SQLite in use has the WAL-reset bug."""
    version = version or pysqlite3.sqlite_version_info
    if BROKEN_FROM <= version <= BROKEN_TO:
        raise CannotStart(
            f"SQLite {'.'.join(map(str, version))} can corrupt its database (WAL-reset bug)",
            hint="Install the pysqlite3 package that cnnf asks for: it brings a current SQLite.",
        )


class Database:
    """One database file. `open` first, `close` last; in between `write` and `read` from a loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writes: queue.Queue[tuple[Job, Future[Any]] | None] = queue.Queue(
            limits.WRITE_QUEUE_MAX
        )
        self._readers = ThreadPoolExecutor(limits.READERS, thread_name_prefix="reader")
        self._reading = 0
        self._writer: threading.Thread | None = None
        self._write_engine: Engine | None = None
        self._read_engine: Engine | None = None

    def open(self) -> None:
        """Open, migrate and start the writer. Raises CannotStart."""
        check_version()
        self._write_engine = _engine(self._path, begin="BEGIN IMMEDIATE")
        try:
            with self._write_engine.begin() as connection:
                migrate(connection)
        except DatabaseError as error:
            raise CannotStart(
                f"{self._path}: the database cannot be opened: {error.orig}",
                hint="Restore a backup, or start with another --data-dir.",
            ) from error
        self._read_engine = _engine(self._path, begin="BEGIN", query_only=True)
        self._writer = threading.Thread(target=self._write_loop, name="writer", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Finish the jobs that wait, then close."""
        if self._writer is not None:
            self._writes.put(None)
            self._writer.join()
        self._readers.shutdown(wait=True, cancel_futures=True)
        for engine in (self._read_engine, self._write_engine):
            if engine is not None:
                engine.dispose()

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run the job in a transaction; returns after the commit.

        Raises what the job raises (its writes are undone, others' are not) and StoreUnavailable.
        """
        future: Future[T] = Future()
        try:
            self._writes.put_nowait((job, future))
        except queue.Full as error:
            raise StoreUnavailable("the database is busy: too many writes wait") from error
        return await asyncio.wrap_future(future)

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run the job on a reader, over one consistent state."""
        if self._reading >= limits.READ_QUEUE_MAX:
            raise StoreUnavailable("the database is busy: too many reads wait")
        self._reading += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._readers, self.read_now, job
            )
        finally:
            self._reading -= 1

    def write_now(self, job: Callable[[Connection], T]) -> T:
        """As `write`, for callers without a loop (first start, the command line)."""
        future: Future[T] = Future()
        self._writes.put((job, future))
        return future.result()

    def read_now(self, job: Callable[[Connection], T]) -> T:
        """As `read`, on the caller's thread."""
        assert self._read_engine is not None
        try:
            with self._read_engine.begin() as connection:
                return job(connection)
        except SQLAlchemyError as error:
            raise StoreUnavailable(f"reading the database: {error}") from error

    def _write_loop(self) -> None:
        assert self._write_engine is not None
        with self._write_engine.connect() as connection:
            while True:
                first = self._writes.get()
                if first is None:
                    return
                group, last = self._group(first)
                self._commit_group(connection, group)
                if last:
                    return

    def _group(self, first: tuple[Job, Future[Any]]) -> tuple[list[tuple[Job, Future[Any]]], bool]:
        group = [first]
        while len(group) < limits.WRITE_GROUP_MAX:
            try:
                item = self._writes.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            group.append(item)
        return group, False

    def _commit_group(self, connection: Connection, group: list[tuple[Job, Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            with connection.begin():
                for job, future in group:
                    try:
                        with connection.begin_nested():
                            result = job(connection)
                    except SQLAlchemyError as error:
                        future.set_exception(StoreUnavailable(f"writing the database: {error}"))
                        # A full disk can undo the whole transaction at once: then nothing of
                        # the group stands, and nobody may be told that it does.
                        if not _in_transaction(connection):
                            raise
                    except Exception as error:
                        future.set_exception(error)
                    else:
                        done.append((future, result))
        except Exception as error:
            for _, future in group:
                if not future.done():
                    failure = StoreUnavailable(f"writing the database: {error}")
                    failure.__cause__ = error
                    with contextlib.suppress(Exception):
                        future.set_exception(failure)
            return
        for future, result in done:
            # A caller that went away has cancelled its future; the commit stands.
            if future.set_running_or_notify_cancel():
                future.set_result(result)


def _in_transaction(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)


def _engine(path: Path, *, begin: str, query_only: bool = False) -> Engine:
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        module=pysqlite3,
        pool_size=limits.READERS,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _record: object) -> None:
        # The driver would start transactions at its own discretion; SQLAlchemy does it here.
        raw.isolation_level = None
        cursor = raw.cursor()
        for pragma in (*PRAGMAS, *(("PRAGMA query_only = ON",) if query_only else ())):
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
