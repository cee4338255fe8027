"""The seam to a database: what the catalog asks of a driver.

SQL is written in the part that SQLite and PostgreSQL share, with ``?`` for parameters. An adapter opens connections,
begins and ends transactions, and turns its driver's errors into ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

SqlValue = str | int | bytes | None
Row = tuple[Any, ...]


class Connection(Protocol):
    """One transaction's connection."""

    def execute(self, sql: str, parameters: Sequence[SqlValue] = ()) -> Iterator[Row]:
        """Run one statement; its rows, streamed."""

    def executemany(self, sql: str, rows: Iterable[Sequence[SqlValue]]) -> None:
        """Run one statement for each row."""

    def insert(self, into: str, rows: Sequence[Sequence[SqlValue]], on_conflict: str = "") -> None:
        """Insert rows by the thousand. ``into`` is ``table (column, ...)``; ``on_conflict`` what follows the values."""

    def reserve_ids(self, table: str, count: int) -> int:
        """The first of ``count`` consecutive unused ids of ``table``, this transaction's to use."""

    def lock_append(self) -> None:
        """Take the lock under which events are appended, until the transaction ends."""


class Database(Protocol):
    """Where connections come from. Safe for several threads."""

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that commits, durably, when the context is left without an error."""

    def read(self) -> AbstractContextManager[Connection]:
        """One consistent view."""

    def close(self) -> None:
        """Release every connection."""
