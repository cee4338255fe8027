"""What an acknowledged package costs in syncs does not grow with its files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import event_log
from artifactstore.config import Settings
from artifactstore.errors import ArtifactStoreError, StorageError
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft
from tests.support import say_revision

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry


def syncs_of_an_ingest(home: Path, files: int, monkeypatch: pytest.MonkeyPatch) -> int:
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    ingest(registry, package_draft({"first": b""}, external_id="first"))
    contents = {f"d{n // 100}/f{n}": b"%d" % n for n in range(files)}
    calls = []
    original = os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: calls.append(descriptor) or original(descriptor))
        ingest(registry, package_draft(contents))
    registry.close()
    return len(calls)


def test_ten_thousand_files_take_as_many_syncs_as_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = syncs_of_an_ingest(tmp_path / "few", 10, monkeypatch)
    many = syncs_of_an_ingest(tmp_path / "many", 10_000, monkeypatch)

    assert many <= few + 2, "shard directories that were there already may make a difference of two"
    assert 4 <= many <= 14


@pytest.mark.parametrize(("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
def test_every_connection_is_durable_and_checked(tmp_path: Path, pragma: str, value: object) -> None:
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(tmp_path)}))

    with registry.catalog._database.driver_connection() as connection:  # type: ignore[attr-defined]
        ((found,),) = connection.execute(f"PRAGMA {pragma}")

    assert value == found
    registry.close()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    from artifactstore.errors import DatabaseVersionError

    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(tmp_path)})
    open_registry(settings).close()
    say_revision(tmp_path / "artifactstore.db", "0005", "9999")

    with pytest.raises(DatabaseVersionError, match="9999"):
        open_registry(settings)


def test_a_commit_that_fails_is_an_error_and_nothing_is_there(registry: Registry) -> None:
    """The driver says so at COMMIT, and not before."""
    ingest(registry, package_draft())
    done: list[str] = []

    def refer_to_nothing() -> None:
        with registry.transaction() as tx:
            tx.connection.execute("PRAGMA defer_foreign_keys = ON")
            tx.connection.execute("UPDATE package_file SET blob_id = 1000000")
            done.append("updated")

    with pytest.raises(ArtifactStoreError):
        refer_to_nothing()

    assert ["updated"] == done
    with registry.catalog.snapshot() as queries:
        assert [] == list(queries.connection.execute("SELECT 1 FROM package_file WHERE blob_id = 1000000"))


def test_what_an_event_changes_is_not_there_without_the_event(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("planted")

    monkeypatch.setattr(event_log, "append", fail)

    with pytest.raises(StorageError, match="planted"):
        ingest(registry, package_draft())

    with registry.catalog.snapshot() as queries:
        assert ([], 0) == (queries.packages(after=0, limit=1), queries.latest_seq())
