"""The migrations give the tables that ``tables.py`` describes, on the way from nothing to head."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import tables
from artifactstore.catalog.migrations import HEAD, REVISIONS
from artifactstore.catalog.replay import NATURAL_ROWS
from artifactstore.catalog.sqlite import SqliteDatabase
from artifactstore.catalog.upgrade import is_at_head, migrate
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft
from scripts.generate_head_schema import HEAD_SQL, head_schema
from tests.service import settings_of
from tests.support import replay_is_exact

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.registry import Registry

OPERATIONAL = {
    "lease",
    "token",
    "open_package",
    "declared_files",
    "received_object",
    "received_file",
    "upload",
    "upload_part",
    "idempotency_key",
    "backend_state",
    "probe_report",
    "duty",
    "subscription",
    "webhook_delivery",
}
THE_RECORD = {"event", "event_log"}


def test_head_is_known_without_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", "artifactstore.catalog:migrations")
    script = ScriptDirectory.from_config(config)

    assert script.get_current_head() == HEAD
    assert {revision.revision for revision in script.walk_revisions()} == set(REVISIONS)


def test_the_migrated_database_is_what_the_tables_say() -> None:
    database = SqliteDatabase(None)
    with database.driver_connection() as connection:
        migrate(connection)

        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:
            differences = compare_metadata(MigrationContext.configure(bound), tables.Package.metadata)

    assert [] == differences
    assert is_at_head(database)
    database.close()


def test_every_table_is_projected_operational_or_the_record() -> None:
    assert set(tables.Package.metadata.tables) == {*NATURAL_ROWS, *OPERATIONAL, *THE_RECORD}


def test_a_new_database_is_what_the_migrations_come_to() -> None:
    assert head_schema() == HEAD_SQL.read_text(), "run scripts/generate_head_schema.py"


def test_migrating_stays_within_the_callers_transaction() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")

    migrate(connection)

    assert connection.in_transaction
    connection.execute("ROLLBACK")
    assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()


ADDED_SINCE_0001 = (
    "webhook_delivery",
    "subscription",
    "package_observation",
    "party",
    "envelope",
    "source",
    "backend_state",
    "probe_report",
    "duty",
    "upload_part",
    "upload",
    "received_file",
    "received_object",
    "declared_files",
    "open_package",
    "idempotency_key",
    "token",
    "package_metadata",
)


def test_packages_of_the_first_version_are_found_by_their_metadata_after_an_upgrade(
    registry: Registry, home: Path
) -> None:
    metadata: dict[str, JsonValue] = {
        "branch": "main", "attempt": 2, "ok": True, "ratio": 0.5, "tags": ["x"], "long": "x" * 257, "none": None,
    }  # fmt: skip
    ingest(registry, package_draft({"a": b"a"}, metadata=metadata))
    registry.close()
    with closing(sqlite3.connect(home / "artifactstore.db", isolation_level=None)) as connection:
        before = connection.execute("SELECT * FROM package_metadata ORDER BY key").fetchall()
        _take_back_to_0001(connection)

        migrate(connection)

        after = connection.execute("SELECT * FROM package_metadata ORDER BY key").fetchall()
    assert before == after
    assert ["attempt", "branch", "ok", "ratio"] == [key for key, *_ in after]
    with closing(open_registry(settings_of(home))) as again:
        replay_is_exact(again)


def _take_back_to_0001(connection: sqlite3.Connection) -> None:
    for table in ADDED_SINCE_0001:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DROP INDEX stored_object_by_backend")
    connection.execute("DROP INDEX package_by_producer_and_subject")
    connection.execute("DROP INDEX package_by_schema")
    connection.execute("DROP INDEX package_by_retention_class")
    connection.execute("UPDATE alembic_version SET version_num = '0001'")
