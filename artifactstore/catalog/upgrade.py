"""Bringing a database to the schema this software needs, by Alembic's migrations.

Knowing where a database stands costs one query and does not import Alembic.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from artifactstore.catalog import event_log, migrations
from artifactstore.catalog.database import Database
from artifactstore.catalog.migrations import HEAD, REVISIONS
from artifactstore.errors import DatabaseVersionError
from artifactstore.failpoints import failpoint

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from artifactstore.catalog.database import Connection
    from artifactstore.domain.instant import Instant


class UpgradableDatabase(Database, Protocol):
    """A database whose schema can be brought to head."""

    def upgrading(self) -> AbstractContextManager[tuple[Any, Connection]]:
        """A transaction for changing the schema, for which others wait: the driver's connection, and ours over it."""


def current_revision(database: Database) -> str | None:
    """The revision a database is at; None for a new one. Raises ``DatabaseVersionError`` for one not known here."""
    with database.read() as connection:
        return _revision(connection)


def is_at_head(database: Database) -> bool:
    """Whether nothing is to be done."""
    return current_revision(database) == HEAD


def upgrade(database: UpgradableDatabase, *, now: Instant) -> None:
    """Create or migrate the tables, and give a new database its event log, in one transaction.

    Harmless at head. A new SQLite database is made from ``head.sql``, what the migrations come to, because importing
    Alembic takes three times as long as everything else in a first run.
    """
    with database.upgrading() as (driver, connection):
        revision = _revision(connection)
        if revision is None and isinstance(driver, sqlite3.Connection):
            _create(driver)
        elif revision != HEAD:
            migrate(driver)
        event_log.create(connection, secrets.token_bytes(32), now)
        failpoint("upgrade.before-commit")
    failpoint("upgrade.after-commit")


def migrate(driver: Any) -> None:
    """Apply every migration that is missing, within the caller's transaction if there is one."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    url, options = ("sqlite://", {}) if isinstance(driver, sqlite3.Connection) else _POSTGRESQL
    engine = create_engine(url, creator=lambda: _Borrowed(driver), poolclass=StaticPool, **options)
    with engine.connect() as bound:
        config = Config(attributes={"connection": bound})
        config.set_main_option("script_location", "artifactstore.catalog:migrations")
        command.upgrade(config, "head")


_POSTGRESQL: tuple[str, dict[str, Any]] = ("postgresql+psycopg://", {"use_native_hstore": False})


class _Borrowed:
    """A connection whose transaction is the lender's to end."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """Left to the lender."""

    def rollback(self) -> None:
        """Left to the lender."""

    def close(self) -> None:
        """Left to the lender."""


def _revision(connection: Connection) -> str | None:
    if not connection.has_table("alembic_version"):
        return None
    for (revision,) in connection.execute("SELECT version_num FROM alembic_version"):
        if revision not in REVISIONS:
            raise DatabaseVersionError(
                f"the database is at revision {revision!r}, which this artifactstore does not know",
                hint="It was upgraded by a newer artifactstore; install that version or a later one.",
            )
        return str(revision)
    return None


def _create(connection: sqlite3.Connection) -> None:
    statements = Path(migrations.__file__).with_name("head.sql").read_text(encoding="utf-8")
    for statement in statements.split(";\n"):
        connection.execute(statement)
