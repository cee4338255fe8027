"""What an acknowledged package costs in syncs does not grow with its files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft
from tests.support import say_revision

if TYPE_CHECKING:
    from pathlib import Path


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
    say_revision(tmp_path / "artifactstore.db", "0006", "9999")

    with pytest.raises(DatabaseVersionError, match="9999"):
        open_registry(settings)
