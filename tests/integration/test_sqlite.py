"""What is given back to the pool has nothing open: whoever has the connection next sees what is, and can write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.catalog.sqlite import SqliteDatabase
from artifactstore.errors import StorageDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.catalog.database import Connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(path)) as opened:
        with opened.write() as connection:
            connection.execute("CREATE TABLE number (value INTEGER)")
            connection.insert("number (value)", [(value,) for value in range(100)])
        yield opened


def highest(connection: Connection) -> int:
    ((value,),) = connection.execute("SELECT max(value) FROM number")
    return int(value)


@pytest.mark.parametrize("way", ["stream", "execute"])
def test_a_query_that_outlives_its_view_holds_nobody_up(database: SqliteDatabase, path: Path, way: str) -> None:
    with database.read() as connection:
        rows = getattr(connection, way)("SELECT value FROM number")
        next(rows)
    with closing(SqliteDatabase(path)) as other, other.write() as connection:
        connection.insert("number (value)", [(1_000,)])

    with database.read() as connection:
        seen = highest(connection)
    with database.write() as connection:
        connection.insert("number (value)", [(2_000,)])

    assert 1_000 == seen
    with pytest.raises(sqlite3.ProgrammingError):
        next(rows)


@pytest.mark.parametrize("fails", [False, True])
def test_a_query_that_outlives_its_transaction_holds_nobody_up(
    database: SqliteDatabase, path: Path, *, fails: bool
) -> None:
    held: list[Iterator[tuple[int]]] = []

    def write() -> None:
        with database.write() as connection:
            held.append(connection.stream("SELECT value FROM number"))
            next(held[0])
            connection.execute("INSERT INTO number VALUES (500)")
            if fails:
                raise KeyError

    if fails:
        with pytest.raises(KeyError):
            write()
    else:
        write()
    with closing(SqliteDatabase(path)) as other, other.write() as connection:
        connection.insert("number (value)", [(1_000,)])

    with database.read() as connection:
        assert 1_000 == highest(connection)
        assert (not fails) == bool(list(connection.execute("SELECT 1 FROM number WHERE value = 500")))


def test_as_many_queries_as_one_likes_leave_nothing_open(database: SqliteDatabase, path: Path) -> None:
    with database.read() as connection:
        rows = connection.stream("SELECT value FROM number")
        next(rows)
        for _ in range(2_500):
            highest(connection)

    with closing(SqliteDatabase(path)) as other, other.write() as connection:
        connection.insert("number (value)", [(1_000,)])
    with database.read() as connection:
        assert 1_000 == highest(connection)


def test_a_database_whose_directory_is_gone_cannot_be_opened(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    with closing(SqliteDatabase(folder / "catalog.db")) as database:
        folder.rmdir()

        with pytest.raises(StorageDeniedError, match="unable to open"), database.read():
            pass
