"""No room, or no answer, at any step: nothing half-recorded, and the same run succeeds afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.catalog.sqlite import SqliteDatabase
from artifactstore.errors import CatalogFullError, StorageError, StorageFullError
from artifactstore.registry.ingest import ingest
from artifactstore.registry.verify import verify_all
from artifactstore.testing.builders import package_draft, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.support import event_types, replay_is_exact

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry

FILES = {"large": some_bytes(2 * 2**20), **{f"small-{n}": some_bytes(2000, n) for n in range(200)}}
WHOLE_BYTES = 2 * 2**20 + 200 * 2300


def recovers(registry: Registry) -> None:
    """Nothing of the failed attempt is recorded; the next one is whole."""
    assert [] == event_types(registry)
    receipt = ingest(registry, package_draft(FILES))
    assert receipt.reused_existing is False
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)


@pytest.mark.parametrize("twelfths", range(12))
def test_storage_that_is_full_at_any_fill_level(registry: Registry, twelfths: int) -> None:
    faulty = FaultyStore(registry.store)
    faulty.fill_after(WHOLE_BYTES * twelfths // 12)

    with pytest.raises(StorageFullError):
        ingest(replace(registry, backends={"default": faulty}), package_draft(FILES))

    recovers(registry)


@pytest.mark.parametrize("operation", [Operation.STAGE, Operation.WRITE, Operation.COMMIT])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("after", [False, True])
def test_storage_that_fails_at_any_call(registry: Registry, operation: Operation, call: int, after: bool) -> None:
    faulty = FaultyStore(registry.store)
    faulty.fail(operation, StorageError("planted"), call=call, after=after)

    with pytest.raises(StorageError, match="planted"):
        ingest(replace(registry, backends={"default": faulty}), package_draft(FILES))

    recovers(registry)


@pytest.mark.parametrize("pages", [1, 4, 8, 12])
def test_a_database_that_is_full(registry: Registry, pages: int) -> None:
    database = registry.catalog._database
    assert isinstance(database, SqliteDatabase)
    with database.driver_connection() as connection:
        ((used,),) = connection.execute("PRAGMA page_count")
        connection.execute(f"PRAGMA max_page_count = {used + pages}")

    with pytest.raises(CatalogFullError):
        ingest(registry, package_draft(FILES))

    with database.driver_connection() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    recovers(registry)


def test_the_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    from artifactstore.bootstrap import open_registry
    from artifactstore.config import Settings

    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="file"):
        open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(tmp_path / "file" / "home")}))
