"""SQLite, by the driver of the standard library.

WAL with ``synchronous=FULL``, so an acknowledged commit survives a power cut; writers begin with ``BEGIN IMMEDIATE``,
because a read transaction that turns into a write fails at once whatever the time-out; foreign keys on. An in-memory
database is one connection behind a lock.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING
from weakref import ReferenceType

from artifactstore.errors import (
    ArtifactStoreError,
    CatalogCorruptError,
    CatalogFullError,
    CatalogUnavailableError,
    ConcurrentUpdateError,
    StorageDeniedError,
    StorageError,
)
from artifactstore.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from artifactstore.catalog.database import Connection, Row, SqlValue

BUSY_TIMEOUT_S = 30
_CACHE_KIB = 32 * 1024
_MAX_IDLE = 16
"""Connections kept for the next ones; each may hold its cache."""
_CHECKPOINT_PAGES = 16_000
_ROWS_PER_STATEMENT = 64
_WAL_RETRY_S = 0.02
_QUERIES_REMEMBERED = 1_000
"""Before those that are over are forgotten."""
_TAKEN = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})
_ERRORS: dict[int, type[ArtifactStoreError]] = {
    sqlite3.SQLITE_BUSY: CatalogUnavailableError,
    sqlite3.SQLITE_LOCKED: CatalogUnavailableError,
    sqlite3.SQLITE_FULL: CatalogFullError,
    sqlite3.SQLITE_READONLY: StorageDeniedError,
    sqlite3.SQLITE_PERM: StorageDeniedError,
    sqlite3.SQLITE_CANTOPEN: StorageDeniedError,
    sqlite3.SQLITE_CORRUPT: CatalogCorruptError,
    sqlite3.SQLITE_NOTADB: CatalogCorruptError,
}
_WHERE_THE_WAL_FINDS_NO_ROOM = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_BESIDE_THE_DATABASE_BYTES = 64 * 1024
_BESIDE_THE_DATABASE_INODES = 2


class SqliteDatabase:
    """A database file, or one in memory where ``path`` is None."""

    kind = "sqlite"

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._turn = threading.RLock()
        """Guards the list of idle connections; for a database in memory, the one connection itself."""
        self._writing = threading.RLock()
        """Lets this process's writers queue here: SQLite lets them try again and again, and some starve."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See ``Database``."""
        with self._write_turn(), self._connection() as connection:
            with _Committing(connection) as given:
                yield given
                failpoint("catalog.before-commit")
            failpoint("catalog.after-commit")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """``BEGIN`` … ``ROLLBACK``: a snapshot."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            given = SqliteConnection(connection)
            try:
                yield given
            finally:
                given.end_queries()
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    @contextmanager
    def upgrading(self) -> Iterator[tuple[sqlite3.Connection, Connection]]:
        """See ``UpgradableDatabase``. The caller holds a lock file."""
        with self._connection() as connection, _Committing(connection) as given:
            yield connection, given

    @contextmanager
    def driver_connection(self) -> Iterator[sqlite3.Connection]:
        """A bare connection, for tests of migrations."""
        with self._connection() as connection:
            yield connection

    def close(self) -> None:
        """Close every idle connection; the last one folds the WAL into the file."""
        with self._turn:
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def _write_turn(self) -> Iterator[None]:
        if not self._writing.acquire(timeout=BUSY_TIMEOUT_S):
            raise CatalogUnavailableError(f"the database {self._path or 'in memory'} is busy with other writers")
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._path is None:
            with self._turn, _CatalogErrors(None):
                if not self._idle:
                    self._idle.append(self._connect())
                yield self._idle[0]
            return
        with _CatalogErrors(self._path):
            with self._turn:
                connection = self._idle.pop() if self._idle else self._connect()
            try:
                yield connection
            finally:
                self._put_back(connection)

    def _put_back(self, connection: sqlite3.Connection) -> None:
        with self._turn:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path or ":memory:", timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _enter_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        except BaseException:
            connection.close()
            raise
        return connection


class _Committing:
    """``BEGIN IMMEDIATE`` … ``COMMIT``, or ``ROLLBACK`` on any error.

    A class, as ``_CatalogErrors`` is: every transaction enters both, and a generator takes three times as long.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._given = SqliteConnection(connection)

    def __enter__(self) -> SqliteConnection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._given

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._given.end_queries()
        if error is not None:
            self._roll_back()
            return
        try:
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # some errors have rolled back already
            self._connection.execute("ROLLBACK")


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL, which a new database does once. SQLite does not wait for others here, so we do."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_S)
        else:
            return


class SqliteConnection:
    """The driver's connection as the catalog's ``Connection``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queries: list[ReferenceType[sqlite3.Cursor]] = []

    def execute(self, sql: str, parameters: Sequence[SqlValue] = ()) -> Iterator[Row]:
        """See ``Connection``."""
        cursor = self._connection.execute(sql, parameters)
        queries = self._queries
        queries.append(ReferenceType(cursor))
        if len(queries) > _QUERIES_REMEMBERED:
            queries[:] = [query for query in queries if query() is not None]
        return cursor

    def end_queries(self) -> None:
        """Let go of every query whose rows were not all taken, and which somebody holds on to.

        A rollback does not end it: the view would stay open, and whoever has the connection next would read what was
        then, and could not write.
        """
        for query in self._queries:
            cursor = query()
            if cursor is not None:
                cursor.close()
        self._queries.clear()

    def stream(
        self,
        sql: str,
        parameters: Sequence[SqlValue] = (),
        *,
        at_a_time: int = 1,  # noqa: ARG002 - the driver fetches a row when it is asked for one
    ) -> Iterator[Row]:
        """See ``Connection``."""
        return self.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[SqlValue]]) -> None:
        """See ``Connection``."""
        self._connection.executemany(sql, rows)

    def insert(self, into: str, rows: Sequence[Sequence[SqlValue]], on_conflict: str = "") -> int:
        """See ``Connection``. Many rows in one statement take two thirds of the time of a statement each."""
        if not rows:
            return 0
        count = 0
        for at in range(0, len(rows), _ROWS_PER_STATEMENT):
            batch = rows[at : at + _ROWS_PER_STATEMENT]
            marks = _marks(len(batch), len(batch[0]))
            done = self._connection.execute(
                f"INSERT INTO {into} VALUES {marks} {on_conflict}", list(chain.from_iterable(batch))
            )
            count += done.rowcount
        return count

    def reserve_ids(self, table: str, count: int) -> Sequence[int]:
        """See ``Connection``. One writer at a time: all that follow are free."""
        ((highest,),) = self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}")
        return range(int(highest) + 1, int(highest) + 1 + count)

    def has_table(self, table: str) -> bool:
        """See ``Connection``."""
        return bool(list(self.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))))

    def lock(self, name: str) -> None:
        """``BEGIN IMMEDIATE`` holds the only write lock there is."""

    def lock_append(self) -> None:
        """The same."""


@cache
def _marks(rows: int, columns: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


class _CatalogErrors:
    """The driver's errors as ours."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            where = self._path or "in memory"
            raise self._kind_of(error)(f"the database {where} failed: {error}") from error

    def _kind_of(self, error: sqlite3.Error) -> type[ArtifactStoreError]:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF  # the primary code; the rest says which constraint or system call
        if code in _WHERE_THE_WAL_FINDS_NO_ROOM and self._path is not None and _is_full(self._path.parent):
            return CatalogFullError
        return ConcurrentUpdateError if extended in _TAKEN else _ERRORS.get(code, StorageError)


def _is_full(folder: Path) -> bool:
    """Whether SQLite finds no room here for the two files beside a database that it needs even to read it."""
    try:
        found = os.statvfs(folder)
    except OSError:  # it may be gone
        return False
    counts_inodes = found.f_files > 0
    return found.f_bavail * found.f_frsize < _BESIDE_THE_DATABASE_BYTES or (
        counts_inodes and found.f_favail < _BESIDE_THE_DATABASE_INODES
    )
