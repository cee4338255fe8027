"""The seam to a database: what the catalog asks of a driver.

SQL is written in the part that SQLite and PostgreSQL share, with ``?`` for parameters. An adapter opens connections,
begins and ends transactions, and turns its driver's errors into ours.

Every statement reads along an index, and how is written so that no planner can choose otherwise. ``EXISTS`` ends with
``LIMIT 1 OFFSET 0``: PostgreSQL then looks it up row by row, and never joins a whole table for it.

On SQLite writers take turns. On PostgreSQL they run side by side, each statement sees what others have committed until
then, and what is decided over what was read is safe only under a lock: ``lock``, ``lock_append``, or a row written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

SqlValue = str | int | bytes | None
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """What one process asks of a database server; a file needs none."""

    max_connections: int = 10
    statement_timeout_s: int = 300


DEFAULT_LIMITS = DatabaseLimits()


class Connection(Protocol):
    """One transaction's connection."""

    def execute(self, sql: str, parameters: Sequence[SqlValue] = ()) -> Iterator[Row]:
        """Run one statement; its rows, which the memory must have room for."""

    def stream(self, sql: str, parameters: Sequence[SqlValue] = (), *, at_a_time: int = 2_000) -> Iterator[Row]:
        """Run one query; its rows, however many. The memory must have room for ``at_a_time`` of them."""

    def executemany(self, sql: str, rows: Iterable[Sequence[SqlValue]]) -> None:
        """Run one statement for each row."""

    def insert(self, into: str, rows: Sequence[Sequence[SqlValue]], on_conflict: str = "") -> int:
        """Insert rows by the thousand; how many were inserted or changed.

        ``into`` is ``table (column, ...)``; ``on_conflict`` what follows the values.
        """

    def reserve_ids(self, table: str, count: int) -> Sequence[int]:
        """Ascending unused ids of ``table``, this transaction's to use."""

    def has_table(self, table: str) -> bool:
        """Whether there is one of this name."""

    def lock(self, name: str) -> None:
        """Wait until no other writer holds the lock of this name, and hold it until the transaction ends."""

    def lock_append(self) -> None:
        """Take the lock under which events are appended, until the transaction ends."""


class Database(Protocol):
    """Where connections come from. Safe for several threads."""

    kind: str
    """``sqlite`` or ``postgresql``."""

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that commits, durably, when the context is left without an error.

        ``CatalogUnavailableError`` may come after the commit, if its answer is lost: look whether it has happened.
        """

    def read(self) -> AbstractContextManager[Connection]:
        """One consistent view."""

    def close(self) -> None:
        """Release every connection."""
