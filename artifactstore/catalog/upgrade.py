"""Bringing a database to the schema this software needs, by Alembic's migrations.

Knowing where a database stands costs one query and does not import Alembic.
"""

from __future__ import annotations

import secrets
import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from artifactstore.catalog import event_log
from artifactstore.catalog.contributions import branches, head, in_words
from artifactstore.catalog.database import Database
from artifactstore.errors import DatabaseVersionError
from artifactstore.failpoints import failpoint

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from artifactstore.catalog.database import Connection
    from artifactstore.catalog.migrations import Branch
    from artifactstore.domain.instant import Instant


class UpgradableDatabase(Database, Protocol):
    """A database whose schema can be brought to head."""

    def upgrading(self) -> AbstractContextManager[tuple[Any, Connection]]:
        """A transaction for changing the schema, for which others wait: the driver's connection, and ours over it."""


def current_revision(database: Database) -> str | None:
    """The revisions a database is at, the core's first; None for a new one.

    Raises ``DatabaseVersionError`` for one not known here.
    """
    with database.read() as connection:
        return _revision(connection)


def is_at_head(database: Database) -> bool:
    """Whether nothing is to be done."""
    return current_revision(database) == head()


def upgrade(database: UpgradableDatabase, *, now: Instant) -> None:
    """Create or migrate the tables, and give a new database its event log, in one transaction.

    Harmless at head. A new SQLite database is made from ``head.sql``, what the migrations come to, because importing
    Alembic takes three times as long as everything else in a first run.
    """
    with database.upgrading() as (driver, connection):
        revision = _revision(connection)
        if revision is None and isinstance(driver, sqlite3.Connection):
            _create(driver)
        elif revision != head():
            migrate(driver, *branches())
        event_log.create(connection, secrets.token_bytes(32), now)
        failpoint("upgrade.before-commit")
    failpoint("upgrade.after-commit")


def migrate(driver: Any, *wanted: Branch) -> None:
    """Apply every migration of these branches that is missing, within the caller's transaction if there is one."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    url, options = ("sqlite://", {}) if isinstance(driver, sqlite3.Connection) else _POSTGRESQL
    engine = create_engine(url, creator=lambda: _Borrowed(driver), poolclass=StaticPool, **options)
    with engine.connect() as bound:
        config = Config(attributes={"connection": bound})
        config.set_main_option("script_location", "artifactstore.catalog:migrations")
        config.set_main_option("path_separator", "space")
        config.set_main_option("version_locations", " ".join(f"{branch.package}:versions" for branch in branches()))
        for branch in wanted:
            command.upgrade(config, branch.head)


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
    rows = connection.execute("SELECT version_num FROM alembic_version")
    found = [str(revision) for (revision,) in rows]
    if strange := set(found).difference(*[branch.revisions for branch in branches()]):
        raise DatabaseVersionError(
            f"the database is at revision {min(strange)!r}, which this artifactstore does not know",
            hint="It was upgraded by a newer artifactstore; install that version or a later one.",
        )
    return in_words(found) or None


def _create(connection: sqlite3.Connection) -> None:
    for branch in branches():
        statements = files(branch.package).joinpath("head.sql").read_text(encoding="utf-8")
        for statement in statements.split(";\n"):
            connection.execute(statement)
