"""The migrations give the tables that ``tables.py`` describes, on the way from nothing to head."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.contributions import Contribution, all_tables, branches, contribution_of, head, register
from artifactstore.catalog.migrations import CORE, Branch
from artifactstore.catalog.replay import NATURAL_ROWS
from artifactstore.catalog.sqlite import SqliteDatabase
from artifactstore.catalog.upgrade import current_revision, is_at_head, migrate
from artifactstore.domain.events import EVENT_TYPES, PackageExpired
from artifactstore.errors import DatabaseVersionError
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft
from scripts.generate_head_schema import head_schemas
from tests.first_version import TABLES_SINCE_0001, take_back_to_0001
from tests.service import settings_of
from tests.support import replay_is_exact, say_revision

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
    "removal",
    "probe_report",
    "duty",
    "subscription",
    "webhook_delivery",
}
THE_RECORD = {"event", "event_log"}


@pytest.mark.parametrize("branch", branches(), ids=lambda branch: branch.package)
def test_head_is_known_without_alembic(branch: Branch) -> None:
    config = Config()
    config.set_main_option("script_location", "artifactstore.catalog:migrations")
    config.set_main_option("path_separator", "space")
    config.set_main_option("version_locations", f"{branch.package}:versions")
    script = ScriptDirectory.from_config(config)

    assert script.get_current_head() == branch.head
    assert [revision.revision for revision in script.walk_revisions()] == [*reversed(branch.revisions)]


def test_the_migrated_database_is_what_the_tables_say() -> None:
    database = SqliteDatabase(None)
    with database.driver_connection() as connection:
        migrate(connection, *branches())

        engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        with engine.connect() as bound:
            differences = compare_metadata(MigrationContext.configure(bound), all_tables())

    assert [] == differences
    assert is_at_head(database)
    database.close()


def test_every_table_is_projected_operational_or_the_record() -> None:
    assert set(all_tables().tables) == {*NATURAL_ROWS, *OPERATIONAL, *THE_RECORD}


def test_a_new_database_is_what_the_migrations_come_to() -> None:
    for file, statements in head_schemas().items():
        assert statements == file.read_text(), "run scripts/generate_head_schema.py"


def test_a_new_database_is_made_at_the_head_of_every_branch(home: Path) -> None:
    open_registry(settings_of(home)).close()

    with closing(sqlite3.connect(home / "artifactstore.db")) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
    assert sorted((branch.head,) for branch in branches()) == rows


def test_migrating_stays_within_the_callers_transaction() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")

    migrate(connection, *branches())

    assert connection.in_transaction
    connection.execute("ROLLBACK")
    assert [] == connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()


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
        take_back_to_0001(connection.execute)

        migrate(connection, *branches())

        after = connection.execute("SELECT * FROM package_metadata ORDER BY key").fetchall()
    assert before == after
    assert ["attempt", "branch", "ok", "ratio"] == [key for key, *_ in after]
    with closing(open_registry(settings_of(home))) as again:
        replay_is_exact(again)


@pytest.fixture
def without_pilots(home: Path) -> SqliteDatabase:
    """A store that was made before any pilot contributed tables, with a package in it."""
    with closing(open_registry(settings_of(home))) as registry:
        ingest(registry, package_draft({"a": b"a"}))
    with closing(sqlite3.connect(home / "artifactstore.db")) as connection, connection:
        for table in (name for name in TABLES_SINCE_0001 if name.startswith("testing_os_")):
            connection.execute(f"DROP TABLE {table}")
    say_revision(home / "artifactstore.db", CORE.head)
    return SqliteDatabase(home / "artifactstore.db")


def test_a_store_from_before_a_pilot_is_behind_and_brought_to_head_when_it_is_opened(
    without_pilots: SqliteDatabase, home: Path
) -> None:
    with closing(without_pilots) as database:
        assert (CORE.head, False) == (current_revision(database), is_at_head(database))

        with closing(open_registry(settings_of(home))) as registry:
            assert (head(), True) == (current_revision(database), is_at_head(database))
            replay_is_exact(registry)


def test_a_store_from_before_a_pilot_is_not_served(without_pilots: SqliteDatabase, home: Path) -> None:
    without_pilots.close()

    with pytest.raises(DatabaseVersionError, match=f"at revision {CORE.head}, and this version needs {head()}"):
        open_registry(settings_of(home), upgrade=False)


@pytest.mark.parametrize("newer", ["0006", "testing_os_0002", "another_0001"])
def test_a_database_is_refused_if_any_branch_is_newer_or_not_known(home: Path, newer: str) -> None:
    open_registry(settings_of(home)).close()
    say_revision(home / "artifactstore.db", CORE.head, newer)

    with pytest.raises(DatabaseVersionError, match=f"'{newer}', which this artifactstore does not know"):
        open_registry(settings_of(home))


# what may be contributed


def contribution(**changed: Any) -> Contribution:
    ours: dict[str, Any] = {
        "name": "other", "projections": {}, "natural_rows": {}, "tables": "", "branch": Branch("other", ("other_1",)),
    }  # fmt: skip
    return Contribution(**{**ours, **changed})


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({"name": "testing-os"}, "testing-os"),
        ({"projections": {PackageExpired: print}}, "v1.package.expired"),
        ({"natural_rows": {"package": ""}}, "package"),
        ({"branch": Branch("other", ("0002",))}, "0002"),
        ({"branch": Branch("other", ("testing_os_0001",))}, "testing_os_0001"),
    ],
)
def test_nothing_that_is_there_can_be_contributed_again(changed: dict[str, Any], taken: str) -> None:
    before = (dict(EVENT_TYPES), dict(NATURAL_ROWS), branches())

    with pytest.raises(ValueError, match=f"contributes {taken}, which is taken"):
        register(contribution(**changed))

    assert before == (EVENT_TYPES, NATURAL_ROWS, branches())


def test_registering_the_same_again_changes_nothing() -> None:
    before = branches()
    (known,) = [found for found in [contribution_of("testing-os")] if found is not None]

    register(known)

    assert before == branches()
