"""Bringing a database to the schema this software needs, by Alembic's migrations.

Knowing where a database stands costs one query and does not import Alembic.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from artifactstore.catalog import event_log
from artifactstore.catalog.migrations import HEAD, REVISIONS
from artifactstore.catalog.sqlite import SqliteConnection
from artifactstore.errors import DatabaseVersionError
from artifactstore.failpoints import failpoint

if TYPE_CHECKING:
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

    The caller holds the upgrade lock.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    with database.driver_connection() as connection:
        connection.execute("BEGIN IMMEDIATE")
        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:  # leaving it without the commit rolls back
            config = Config(attributes={"connection": bound})
            config.set_main_option("script_location", "artifactstore.catalog:migrations")
            command.upgrade(config, "head")
            event_log.create(SqliteConnection(connection), secrets.token_bytes(32), now)
            failpoint("upgrade.before-commit")
            bound.commit()
        failpoint("upgrade.after-commit")
