"""What each statement really reads: a database whose connections have every statement measured as it is used.

On SQLite the measure is the steps of its virtual machine, on PostgreSQL the rows that the scans of a plan have read and
the pages they looked at. Both grow with what a statement goes through, whatever the plan calls it: an index that is
read from end to end costs as much as a table.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from artifactstore.catalog.postgres import PostgresConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from artifactstore.catalog.database import Connection, Database, Row, SqlValue

_STEPS_AT_A_TIME = 100
_STEPS_OF_A_ROW = 10
"""A row that is looked at and not wanted takes three at least; one that is answered takes some dozens."""
_PAGES_OF_A_ROW = 4
_SELECTS = ("SELECT", "WITH")
_CHANGES = ("INSERT", "UPDATE", "DELETE")
_EXECUTIONS_UNTIL_GENERIC = 6
"""So often PostgreSQL plans a prepared statement for its parameters before it may choose one plan for all."""
_TYPES = {int: "bigint", str: "text", bytes: "bytea"}
_MODES = ("planned for its parameters", "prepared")


@dataclass(frozen=True, slots=True)
class Measured:
    """One statement as it was executed."""

    sql: str
    how: str
    parameters: int
    rows: int
    """What it answered, or changed."""
    rows_read: float
    pages: int
    plan: str

    def is_bounded(self, fewest: int) -> bool:
        """Whether what it read is in proportion to what it was asked and answered, but for ``fewest`` rows."""
        most = fewest + self.parameters + 20 * self.rows
        return self.rows_read <= most and self.pages <= _PAGES_OF_A_ROW * most

    def __str__(self) -> str:
        return f"{self.how}: {self.rows_read:.0f} rows and {self.pages} pages for {self.rows}:\n{self.sql}\n{self.plan}"


@dataclass(slots=True)
class Watch:
    """A database, watched: what its connections execute is in ``seen``."""

    database: Database
    seen: list[Measured] = field(default_factory=list)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See ``Database``."""
        with self.database.read() as connection:
            yield _watched(connection, self.seen)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See ``Database``."""
        with self.database.write() as connection:
            yield _watched(connection, self.seen)

    def close(self) -> None:
        """Left to whoever opened it."""


def _watched(connection: Connection, seen: list[Measured]) -> Connection:
    kind = _OnPostgres if isinstance(connection, PostgresConnection) else _OnSqlite
    watched: Any = kind(connection, seen)
    return watched


class _Watched:
    """A connection; adapters say how a statement is measured."""

    def __init__(self, connection: Any, seen: list[Measured]) -> None:
        self._connection = connection
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, parameters: Sequence[SqlValue] = ()) -> Iterator[Row]:
        """Measured, then executed."""
        return self._measured(sql, parameters, lambda: self._connection.execute(sql, parameters))

    def stream(self, sql: str, parameters: Sequence[SqlValue] = (), *, at_a_time: int = 2_000) -> Iterator[Row]:
        """The same."""
        return self._measured(sql, parameters, lambda: self._connection.stream(sql, parameters, at_a_time=at_a_time))

    def executemany(self, sql: str, rows: Iterable[Sequence[SqlValue]]) -> None:
        """One after the other."""
        for row in rows:
            self.execute(sql, row)

    def _measured(
        self, sql: str, parameters: Sequence[SqlValue], execute: Callable[[], Iterator[Row]]
    ) -> Iterator[Row]:
        raise NotImplementedError


class _OnSqlite(_Watched):
    def _measured(
        self, sql: str, parameters: Sequence[SqlValue], execute: Callable[[], Iterator[Row]]
    ) -> Iterator[Row]:
        plan = "\n".join(row[3] for row in self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += _STEPS_AT_A_TIME
            return 0

        driver = self._connection._connection
        driver.set_progress_handler(count, _STEPS_AT_A_TIME)
        try:
            rows = list(execute())
        finally:
            driver.set_progress_handler(None, 0)
        self._seen.append(Measured(sql, "on SQLite", len(parameters), len(rows), steps / _STEPS_OF_A_ROW, 0, plan))
        return iter(rows)


class _OnPostgres(_Watched):
    def _measured(
        self, sql: str, parameters: Sequence[SqlValue], execute: Callable[[], Iterator[Row]]
    ) -> Iterator[Row]:
        if sql.startswith((*_SELECTS, *_CHANGES)):
            for how, document in zip(_MODES, self._explained(sql, parameters), strict=True):
                plan = document["Plan"]
                rows = int(plan["Actual Rows"] * plan["Actual Loops"])
                pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
                self._seen.append(
                    Measured(sql, how, len(parameters), rows, _rows_read(plan), pages, "\n".join(_lines(plan)))
                )
        return execute()

    def _explained(self, sql: str, parameters: Sequence[SqlValue]) -> Iterator[dict[str, Any]]:
        """As it is planned for these parameters, and as it is when it was executed often; changes are taken back."""
        driver = self._connection._driver
        explain = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON)"
        yield self._taken_back(f"{explain} {_numbered(sql)}", parameters)
        types = [_TYPES.get(type(value), "unknown") for value in parameters]
        literals = psycopg.sql.SQL(", ").join(map(psycopg.sql.Literal, parameters)).as_string(driver)
        named = f"EXECUTE measured ({literals})" if parameters else "EXECUTE measured"
        driver.execute(f"PREPARE measured {'(' + ', '.join(types) + ')' if types else ''} AS {_numbered(sql)}")
        for _ in range(_EXECUTIONS_UNTIL_GENERIC):
            driver.execute(f"EXPLAIN {named}")
        yield self._taken_back(f"{explain} {named}")
        driver.execute("DEALLOCATE measured")

    def _taken_back(self, sql: str, parameters: Sequence[SqlValue] = ()) -> dict[str, Any]:
        driver = self._connection._driver
        driver.execute("SAVEPOINT measuring")
        cursor = psycopg.RawCursor(driver)
        ((found,),) = cursor.execute(sql, [_plain(value) for value in parameters], prepare=False)
        driver.execute("ROLLBACK TO measuring")
        document: dict[str, Any] = found[0]
        return document


def _plain(value: SqlValue) -> SqlValue:
    """Text that is an enumeration's is only text to the driver's own cursor."""
    return str(value) if isinstance(value, str) else value


def _numbered(sql: str) -> str:
    """``$1, $2`` for every mark outside quotes."""
    numbers = iter(range(1, sql.count("?") + 1))
    pieces = sql.split("'")
    pieces[::2] = [re.sub(r"\?", lambda _: f"${next(numbers)}", piece) for piece in pieces[::2]]
    return "'".join(pieces)


def _rows_read(plan: dict[str, Any]) -> float:
    """What the scans have looked at, whether or not it was wanted."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    is_scan = "Relation Name" in plan and plan["Node Type"] != "ModifyTable"
    here = (plan["Actual Rows"] + removed) * plan["Actual Loops"] if is_scan else 0
    return float(here) + sum(map(_rows_read, plan.get("Plans", ())))


def _lines(plan: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """The plan as people read it."""
    of = " ".join(str(plan[name]) for name in ("Index Name", "Relation Name", "Index Cond", "Filter") if name in plan)
    yield f"{'  ' * depth}{plan['Node Type']} {of}: {plan['Actual Rows']} rows, {plan['Actual Loops']} times"
    for below in plan.get("Plans", ()):
        yield from _lines(below, depth + 1)
