"""PostgreSQL, by psycopg.

A write transaction is READ COMMITTED: each statement sees what others have committed, so what is read under a lock is
the latest. A view is REPEATABLE READ. Locks are advisory and end with their transaction, and so do all settings: a
pooler that lends a connection for one transaction at a time may stand between.

The server's statistics do not choose the plans: where an index can be used it is, and tables are joined row by row. A
table is read whole only if there is no other way.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo
from psycopg.adapt import AdaptersMap
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper

from artifactstore.catalog.postgres_arrays import DUMPERS, column_arrays
from artifactstore.catalog.postgres_pool import Pool
from artifactstore.errors import (
    ArtifactStoreError,
    CatalogCorruptError,
    CatalogFullError,
    CatalogUnavailableError,
    ConcurrentUpdateError,
    ConfigurationError,
    StorageDeniedError,
    StorageError,
    UsageError,
)
from artifactstore.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from artifactstore.catalog.database import Connection, DatabaseLimits, Row, SqlValue

    Driver = psycopg.Connection[Row]

LOCK_TIMEOUT_S = 30
_IDLE_IN_WRITE_S = 60
_CONNECTION_DEFAULTS = {
    "application_name": "artifactstore",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""What the URL does not say: a server that vanishes without a word is noticed within a minute."""
_SPACE = 0x61727466  # "artf"
_APPEND, _UPGRADE = 1, 2
"""The two locks that are not named: (``_SPACE``, one of these)."""
_PREPARE_THRESHOLD = 3
_ROWS_PER_STATEMENT = 5_000
_FEW_ROWS = 4
_PLANS = "; ".join(
    f"SET LOCAL {setting}"
    for setting in (
        "enable_seqscan = off", "enable_bitmapscan = off", "enable_hashjoin = off", "enable_mergejoin = off",
        "enable_material = off", "max_parallel_workers_per_gather = 0", "jit = off",
        "seq_page_cost = 0", "random_page_cost = 0",
    )
)  # fmt: skip
"""Rows are found by indexes, joined one by one, and the fewest of them make the best plan, wherever they lie."""

_ERRORS: dict[str, type[ArtifactStoreError]] = {
    "08": CatalogUnavailableError,  # connection exceptions
    "22021": UsageError,  # text that the database cannot hold
    "23505": ConcurrentUpdateError,  # unique
    "25006": StorageDeniedError,  # read-only: a standby
    "28": StorageDeniedError,  # authorization
    "3D": StorageDeniedError,  # no such database
    "40": ConcurrentUpdateError,  # serialization, deadlock
    "42501": StorageDeniedError,
    "53": CatalogUnavailableError,  # too many connections, out of memory
    "53100": CatalogFullError,
    "55P03": CatalogUnavailableError,  # waited too long for a lock
    "57": CatalogUnavailableError,  # shut down, starting up, time-out
    "25P03": CatalogUnavailableError,  # idle in a transaction for too long
    "58": CatalogUnavailableError,  # the server's system
    "XX001": CatalogCorruptError,
    "XX002": CatalogCorruptError,
}
"""By SQLSTATE, else by its first two characters."""


class PostgresDatabase:
    """A database on a PostgreSQL server. Connections are opened when they are needed, and kept for the next ones.

    Raises ``ConfigurationError`` for a URL that is none.
    """

    kind = "postgresql"

    def __init__(self, url: str, limits: DatabaseLimits) -> None:
        self._parameters = _parameters_of(url)
        self._name = f"{self._parameters.get('host', 'local')}/{self._parameters.get('dbname', '')}"
        self._pool = Pool(self._connect, limits.max_connections)
        timeouts = (
            f"SET LOCAL statement_timeout = '{limits.statement_timeout_s}s';"
            f" SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"
        )
        self._begin_read = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {timeouts}; {_PLANS}"
        self._begin_write = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {timeouts}; {_PLANS}; SET LOCAL synchronous_commit = on;"
            f" SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_IN_WRITE_S}s'"
        )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See ``Database``."""
        with self._errors(), self._transaction(self._begin_write) as driver:
            yield PostgresConnection(driver)
            failpoint("catalog.before-commit")
            _commit(driver)
        failpoint("catalog.after-commit")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See ``Database``."""
        with self._errors(), self._transaction(self._begin_read) as driver:
            yield PostgresConnection(driver)

    @contextmanager
    def upgrading(self) -> Iterator[tuple[Driver, Connection]]:
        """See ``UpgradableDatabase``. Without time-outs."""
        with self._errors(), self._transaction("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE") as driver:
            _require_utf8(driver)
            driver.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_SPACE, _UPGRADE))
            yield driver, PostgresConnection(driver)
            _commit(driver)

    def close(self) -> None:
        """Close every connection that nobody uses; the others when they are given back."""
        self._pool.close()

    def _connect(self) -> Driver:
        return psycopg.connect(
            **self._parameters, autocommit=True, prepare_threshold=_PREPARE_THRESHOLD, context=_adapters()
        )

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Driver]:
        """Rolled back in the end, unless it was committed."""
        driver = self._begun(begin)
        try:
            yield driver
        finally:
            if not driver.closed and driver.info.transaction_status != TransactionStatus.IDLE:
                with suppress(psycopg.Error):
                    driver.execute("ROLLBACK", prepare=False)
            self._pool.put_back(driver)

    def _begun(self, begin: str) -> Driver:
        """A connection that has begun. One that was kept may be dead, after a restart for example: then the next."""
        while True:
            driver, is_new = self._pool.take()
            try:
                driver.execute(begin, prepare=False)
            except psycopg.OperationalError:
                was_broken = driver.closed
                driver.close()
                self._pool.put_back(driver)
                if is_new or not was_broken:
                    raise
            except BaseException:
                driver.close()
                self._pool.put_back(driver)
                raise
            else:
                return driver

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The driver's errors as ours. Only the server's first line is told: others may quote content."""
        try:
            yield
        except psycopg.Error as error:
            message = error.diag.message_primary or str(error).strip().partition("\n")[0]
            raise _kind_of(error)(f"the database {self._name} failed: {message}") from error


class PostgresConnection:
    """The driver's connection as the catalog's ``Connection``."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._cursor_numbers = count()

    def execute(self, sql: str, parameters: Sequence[SqlValue] = ()) -> Iterator[Row]:
        """See ``Connection``."""
        cursor = self._driver.cursor(binary=True)
        cursor.execute(_translated(sql), parameters)
        return iter(()) if cursor.description is None else iter(cursor)

    def stream(self, sql: str, parameters: Sequence[SqlValue] = (), *, at_a_time: int = 2_000) -> Iterator[Row]:
        """See ``Connection``. By a cursor of the server's, which ends with the transaction."""
        name = f"artifactstore_{next(self._cursor_numbers)}"
        self.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}", parameters)
        return self._fetch(name, at_a_time)

    def executemany(self, sql: str, rows: Iterable[Sequence[SqlValue]]) -> None:
        """See ``Connection``. One round trip for all."""
        self._driver.cursor().executemany(_translated(sql), rows)

    def insert(self, into: str, rows: Sequence[Sequence[SqlValue]], on_conflict: str = "") -> int:
        """See ``Connection``. A column is one parameter, an array: one statement for thousands of rows."""
        if 0 < len(rows) <= _FEW_ROWS:
            return self._insert_few(into, rows, on_conflict)
        table, names = into.rstrip(")").split(" (")
        done = 0
        for at in range(0, len(rows), _ROWS_PER_STATEMENT):
            columns, arrays = column_arrays(names.split(", "), rows[at : at + _ROWS_PER_STATEMENT])
            marks = ", ".join(["%s"] * len(arrays))
            sql = f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({marks}) {on_conflict}"
            done += self._driver.execute(sql, arrays).rowcount
        return done

    def _insert_few(self, into: str, rows: Sequence[Sequence[SqlValue]], on_conflict: str) -> int:
        """A value is one parameter: the server does with few in half the time of arrays."""
        marks = ", ".join([f"({', '.join(['%s'] * len(rows[0]))})"] * len(rows))
        sql = f"INSERT INTO {into} VALUES {marks} {on_conflict}"
        return self._driver.execute(sql, list(chain.from_iterable(rows))).rowcount

    def reserve_ids(self, table: str, count: int) -> Sequence[int]:
        """See ``Connection``. From the table's sequence; what is not used, or rolled back, is never used again."""
        if not count:
            return ()
        sql = f"SELECT array_agg(nextval('{table}_id_seq')) FROM generate_series(1, ?)"
        ((ids,),) = self.execute(sql, (count,))
        reserved: list[int] = ids
        return reserved

    def has_table(self, table: str) -> bool:
        """See ``Connection``."""
        ((found,),) = self.execute("SELECT to_regclass(?) IS NOT NULL", (table,))
        return bool(found)

    def lock(self, name: str) -> None:
        """See ``Connection``. Two names whose hashes agree share a lock, which does no harm."""
        key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
        self.execute("SELECT pg_advisory_xact_lock(?)", (key,))

    def lock_append(self) -> None:
        """See ``Connection``. It is given free after the commit can be seen."""
        self.execute(f"SELECT pg_advisory_xact_lock({_SPACE}, {_APPEND})")

    def _fetch(self, name: str, at_a_time: int) -> Iterator[Row]:
        while rows := list(self.execute(f"FETCH FORWARD {at_a_time} FROM {name}")):
            yield from rows


def _commit(driver: Driver) -> None:
    """Raises ``ConcurrentUpdateError`` if the server has rolled back instead, as it does after any error."""
    if driver.execute("COMMIT", prepare=False).statusmessage != "COMMIT":
        raise ConcurrentUpdateError("the database rolled the transaction back")


def _kind_of(error: psycopg.Error) -> type[ArtifactStoreError]:
    state = error.sqlstate or ""
    kind = _ERRORS.get(state) or _ERRORS.get(state[:2])
    if kind is None and not state:
        lost = isinstance(error, psycopg.OperationalError)
        return CatalogUnavailableError if lost else UsageError if isinstance(error, psycopg.DataError) else StorageError
    return kind or StorageError


def _require_utf8(driver: Driver) -> None:
    encoding = driver.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database has the encoding {encoding}, which cannot hold every path",
            hint="Create one with ENCODING 'UTF8' TEMPLATE template0.",
        )


def _parameters_of(url: str) -> dict[str, Any]:
    """What libpq makes of the URL. The error does not repeat it: there may be a password in it."""
    try:
        given: dict[str, Any] = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        given = {}
    ports = str(given.get("port", "")).split(",")
    if not given or not all(port.isdigit() or not port for port in ports):
        raise ConfigurationError(
            "ARTIFACTSTORE_DATABASE_URL is not a URL that PostgreSQL's library understands",
            hint="Write it as postgresql://user@host:5432/database.",
        )
    return {**_CONNECTION_DEFAULTS, **given, "client_encoding": "UTF8"}


@lru_cache(maxsize=1)
def _adapters() -> AdaptersMap:
    """Integers always go as bigint, so that a statement is prepared once and not for every size of number."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, Int8BinaryDumper)
    for kind, dumper in DUMPERS.items():
        adapters.register_dumper(kind, dumper)
    return adapters


@lru_cache(maxsize=1024)
def _translated(sql: str) -> str:
    """The same statement with psycopg's marks. Text between quotes keeps its question marks."""
    pieces = sql.replace("%", "%%").split("'")
    pieces[::2] = [piece.replace("?", "%s") for piece in pieces[::2]]
    return "'".join(pieces)
