"""The floor: bare transactions that write the very rows of an observation, by the driver alone.

The rows are those that our own calls wrote into a database in memory, so that nothing is left out and every header,
chain value and payload is there, ready. A transaction is the begin, one ``INSERT`` for each table, and the commit. On
SQLite it has the connection of our adapter, whose settings are what makes a commit durable, and begins as ours. On
PostgreSQL it begins plainly: what ours sets for a transaction changes no ``INSERT``. Statements are prepared on both.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from artifactstore.bootstrap import is_postgresql, open_registry
from artifactstore.catalog.sqlite import SqliteDatabase
from artifactstore.config import Settings
from benchmarks.provenance.observations import GRANT, context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.catalog.database import Connection
    from benchmarks.provenance.observations import Said

    Row = tuple[Any, ...]
    Execute = Callable[[str, Sequence[Any]], object]

TABLES = {
    "source": (
        "id, source_id, location_kind, path_id, owner_host_id, content_type, display_name, metadata_json, plugin_name,"
        " plugin_version, contract_version, is_declared, indexed_at, indexed_by"
    ),
    "envelope": (
        "id, envelope_id, source, transport, received_at, raw_payload, plugin_name, plugin_version, contract_version,"
        " is_declared, indexed_at, indexed_by"
    ),
    "party": "envelope, ordinal, identifier_kind, identifier_scope, identifier_value, role, trust",
    "event": "seq, at, type, subject, actor, header, chain, payload",
}
"""The tables an observation is written to, in order, and all their columns."""
_ORDER = {"source": "id", "envelope": "id", "party": "envelope, ordinal", "event": "seq"}
_IN_MEMORY = {"ARTIFACTSTORE_DATABASE_URL": "sqlite://", "ARTIFACTSTORE_STORAGE_URL": "memory:", **GRANT}


class Statement(NamedTuple):
    """An ``INSERT`` of all rows that one observation has in one table."""

    sql: str
    values: Sequence[Any]


def transactions(said: Sequence[Said]) -> list[list[Statement]]:
    """What each observation writes into a new database."""
    settings = Settings.from_environment(_IN_MEMORY)
    with closing(open_registry(settings)) as registry:
        context = context_of(registry, settings)
        for one in said:
            one.to(context)
        with registry.catalog.snapshot() as queries:
            tables = {table: _rows(queries.connection, table) for table in TABLES}
    return [[_insert(table, rows, number, len(said)) for table, rows in tables.items()] for number in range(len(said))]


@contextmanager
def bare(database_url: str) -> Iterator[Callable[[Sequence[Statement]], None]]:
    """Writes one transaction of statements, committed when it answers."""
    if is_postgresql(database_url):
        with _bare_postgresql(database_url) as execute:
            yield lambda statements: _write(execute, "BEGIN", statements)
        return
    database = SqliteDatabase(Path(database_url.removeprefix("sqlite:///")))
    with closing(database), database.driver_connection() as connection:
        yield lambda statements: _write(connection.execute, "BEGIN IMMEDIATE", statements)


def _write(execute: Execute, begin: str, statements: Sequence[Statement]) -> None:
    execute(begin, ())
    for statement in statements:
        execute(statement.sql, statement.values)
    execute("COMMIT", ())


@contextmanager
def _bare_postgresql(url: str) -> Iterator[Execute]:
    """One connection; integers are sent as bigint, as ours are, so that each statement is prepared once."""
    import psycopg
    from psycopg.types.numeric import Int8BinaryDumper

    with psycopg.connect(url, autocommit=True, prepare_threshold=3) as connection:
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        marked: dict[str, str] = {}

        def execute(sql: str, values: Sequence[Any]) -> None:
            connection.execute(marked.setdefault(sql, sql.replace("?", "%s")), values)

        yield execute


def _rows(connection: Connection, table: str) -> list[Row]:
    return list(connection.execute(f"SELECT {TABLES[table]} FROM {table} ORDER BY {_ORDER[table]}"))


def _insert(table: str, rows: Sequence[Row], number: int, count: int) -> Statement:
    """Of the rows of one observation: each has as many as the others."""
    each = len(rows) // count
    own = rows[number * each : (number + 1) * each]
    marks = f"({', '.join('?' * len(own[0]))})"
    return Statement(
        f"INSERT INTO {table} ({TABLES[table]}) VALUES {', '.join([marks] * each)}", list(chain.from_iterable(own))
    )
