"""What a store is, to compare one with another, and a second store to restore into."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.replay import NATURAL_ROWS
from artifactstore.config import Settings
from artifactstore.registry.events import list_events
from artifactstore.registry.ingest import ingest
from artifactstore.registry.metadata_schemas import register_schema
from artifactstore.registry.retention import place_hold
from artifactstore.registry.verify import verify_all
from artifactstore.storage.local import LocalStore
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore

FILES = {"a.txt": b"A" * 1000, "b.txt": b"B" * 1000, "empty": b"", "large.bin": some_bytes(2 * 2**20)}


def rows_of(registry: Registry) -> dict[str, list[tuple[object, ...]]]:
    """Every projected table, row by row."""
    with registry.catalog.snapshot() as queries:
        return {table: list(queries.connection.execute(sql)) for table, sql in NATURAL_ROWS.items()}


def log_of(registry: Registry) -> list[EventRecord]:
    return list_events(registry, limit=100_000)


def a_life(registry: Registry) -> dict[str, dict[str, bytes]]:
    """Packages that share bytes, a schema, a hold; the files of each."""
    register_schema(registry, "a.schema.v1", {"type": "object"})
    stored = {}
    for number in range(3):
        files = {**FILES, "n": b"%d" % number}
        stored[ingest(registry, package_draft(files, external_id=f"run-{number}")).package_id] = files
    place_hold(registry, next(iter(stored)), reason="evidence")
    return stored


def directory(path: Path) -> ObjectStore:
    return LocalStore.from_url(path.as_uri(), {})


@contextmanager
def another(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[Registry]:
    """A store on another machine, as it were."""
    found = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **(settings or {})})
    with closing(open_registry(found, actor="local:rescuer")) as registry:
        yield registry


def is_sound(registry: Registry) -> None:
    """Raises unless the tables follow from the log, and every byte is right."""
    replay_is_exact(registry)
    report = verify_all(registry)
    assert not report.damage
    assert not report.unreachable


def keys_in(store: ObjectStore) -> set[str]:
    """Every object of a store, but for what only a backup has."""
    content = set(ObjectKind) - {ObjectKind.BACKUP, ObjectKind.BACKUP_PART, ObjectKind.SEGMENT}
    return {info.key.path for kind in content for info in store.list(kind)}
