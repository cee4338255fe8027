"""Bringing a database to the schema this software needs, by Alembic's migrations.

Knowing where a database stands costs one query and does not import Alembic.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.catalog import event_log, migrations
from artifactstore.catalog.migrations import HEAD, REVISIONS
from artifactstore.catalog.sqlite import SqliteConnection, committing
from artifactstore.errors import DatabaseVersionError
from artifactstore.failpoints import failpoint

if TYPE_CHECKING:
    import sqlite3

    from artifactstore.catalog.sqlite import SqliteDatabase
    from artifactstore.domain.instant import Instant


def current_revision(database: SqliteDatabase) -> str | None:
    """The revision a database is at; None for a new one. Raises ``DatabaseVersionError`` for one not known here."""
    with database.driver_connection() as connection:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if found else None
    if row is None:
        return None
    if row[0] not in REVISIONS:
        raise DatabaseVersionError(
            f"the database is at revision {row[0]!r}, which this artifactstore does not know",
            hint="It was upgraded by a newer artifactstore; install that version or a later one.",
        )
    return str(row[0])


def is_at_head(database: SqliteDatabase) -> bool:
    """Whether nothing is to be done."""
    return current_revision(database) == HEAD


def upgrade(database: SqliteDatabase, *, now: Instant) -> None:
    """Create or migrate the tables, and give a new database its event log, in one transaction.

    The caller holds the upgrade lock. A new database is made from ``head.sql``, what the migrations come to, because
    importing Alembic takes three times as long as everything else in a first run.
    """
    is_new = current_revision(database) is None
    with database.driver_connection() as connection:
        with committing(connection):
            (_create if is_new else migrate)(connection)
            event_log.create(SqliteConnection(connection), secrets.token_bytes(32), now)
            failpoint("upgrade.before-commit")
        failpoint("upgrade.after-commit")


def migrate(connection: sqlite3.Connection) -> None:
    """Apply every migration that is missing, within the caller's transaction if there is one."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", creator=lambda: _Borrowed(connection), poolclass=StaticPool)
    with engine.connect() as bound:
        config = Config(attributes={"connection": bound})
        config.set_main_option("script_location", "artifactstore.catalog:migrations")
        command.upgrade(config, "head")


class _Borrowed:
    """A connection whose transaction is the lender's to end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """Left to the lender."""

    def rollback(self) -> None:
        """Left to the lender."""

    def close(self) -> None:
        """Left to the lender."""


def _create(connection: sqlite3.Connection) -> None:
    statements = Path(migrations.__file__).with_name("head.sql").read_text(encoding="utf-8")
    for statement in statements.split(";\n"):
        connection.execute(statement)
