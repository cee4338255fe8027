"""A catalog that holds many blobs or packages already, made without storing their bytes.

The objects they name do not exist as files: an ingest looks blobs up and writes rows among theirs, and never opens one;
lists and descriptions are the catalog's alone. Blobs are rows, written in sorted batches of the size of a package, so
that the indexes grow as they would have grown. Packages are recorded as the events of an ingest, and the projections
fill every table and index.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.catalog.blobs import address_prefix
from artifactstore.config import Settings
from artifactstore.domain import events
from artifactstore.domain.canonical import canonical_object
from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.domain.manifest import FileEntry, Manifest
from artifactstore.domain.retention import RetentionClass, expiry
from artifactstore.registry.ingest import ingest
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import key_of, package_draft
from benchmarks.ours import open_home, prepare
from benchmarks.processes import answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.registry import Registry
    from benchmarks.processes import Measures, Request

_BATCH = 10_000
_BLOB_BYTES = 4096
_PACKAGES_AT_ONCE = 1_000
FILES = ("logs/run.log", "report.json", "summary.txt")
_SCHEMA = "benchmark.run.v1"
PACKAGES_IN_GROUP = 100
"""How many packages have the same ``group`` in their metadata, however many packages there are."""


def fill(request: Request) -> Measures:
    """A new home whose catalog holds ``count`` blobs."""
    home, count, seed = Path(str(request["home"])), int(request["count"]), int(request["seed"])
    prepare(request)
    _make_the_newest_object_real(home)
    connection = sqlite3.connect(home / "artifactstore.db")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    with connection:
        _insert(connection, count, random.Random(f"{seed}/catalog"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return {}


def fill_packages(request: Request) -> tuple[Measures, dict[str, str]]:
    """A new home whose catalog holds ``count`` packages.

    Answers ids of some, at random; each is followed by a page of others, unless one page is all there is.
    """
    home, count, seed = Path(str(request["home"])), int(request["count"]), int(request["seed"])
    numbers, ids = random.Random(f"{seed}/packages"), [new_uuid7() for _ in range(count)]
    groups = max(1, count // PACKAGES_IN_GROUP)
    with closing(open_home(str(home))) as registry:
        register_schema(registry)
        for first in range(0, count, _PACKAGES_AT_ONCE):
            with registry.transaction() as tx:
                for number in range(first, min(count, first + _PACKAGES_AT_ONCE)):
                    tx.record(*package_events(registry, ids[number], number, groups, numbers))
    named = numbers.choices(ids[:-PACKAGES_IN_GROUP] or ids, k=int(request["named"]))
    return {}, {"package_ids": " ".join(named)}


def register_schema(registry: Registry) -> None:
    """Of the metadata that ``package_events`` has."""
    schema: dict[str, JsonValue] = {"type": "object", "required": ["group"]}
    with registry.transaction() as tx:
        tx.record(events.MetadataSchemaRegistered(slug=_SCHEMA, json_schema=schema, registered_at=registry.clock()))


def package_events(
    registry: Registry,
    package_id: str,
    number: int,
    groups: int,
    numbers: random.Random,
    paths: Sequence[str] = FILES,
) -> Iterator[Event]:
    """What an ingest of a few small files records, metadata to search by included."""
    now = registry.clock()
    files = tuple(
        FileEntry(path, "content", "text/plain", _BLOB_BYTES, numbers.randbytes(32), numbers.randbytes(32))
        for path in paths
    )
    producer, external_id, subject = f"producer-{number % 10}", f"run-{number:07}", f"subject-{number % 1000}"
    metadata = canonical_object(
        {
            "group": f"group-{number % groups}",
            "commit": numbers.randbytes(20).hex(),
            "branch": f"branch-{number % 50}",
            "passed": bool(number % 7),
        }
    )
    pack = ObjectRef("default", "pack", numbers.randbytes(32), len(files) * _BLOB_BYTES)
    manifest = Manifest(producer, files, external_id, subject, _SCHEMA, metadata).encode()
    yield events.PackageOpened(
        package_id=package_id, producer=producer, revision=1, opened_at=now, external_id=external_id,
        subject_ref=subject, schema=_SCHEMA, metadata=metadata,
    )  # fmt: skip
    yield events.FilesAdded(
        package_id=package_id, first_index=0, files=files, objects=(pack,),
        crc32s=tuple(numbers.getrandbits(32) for _ in files), object_indexes=(0,) * len(files),
        starts=tuple(_BLOB_BYTES * at for at in range(len(files))), chunks=(),
    )  # fmt: skip
    retention = RetentionClass.SUMMARY_EVIDENCE
    days = registry.retention.duration_days(retention)
    yield events.RetentionApplied(
        package_id=package_id, retention_class=retention, duration_days=days, expires_at=expiry(now, days)
    )
    reference = ObjectRef("default", ObjectKind.MANIFEST, key_of(manifest).digest, len(manifest))
    total_bytes = _BLOB_BYTES * len(files)
    yield events.PackageFinalized(
        package_id=package_id, manifest=reference, file_count=len(files), total_bytes=total_bytes,
        stored_bytes=total_bytes, finalized_at=now,
    )  # fmt: skip


def _make_the_newest_object_real(home: Path) -> None:
    """An ingest looks whether the object recorded last is in storage; the synthetic pack is not."""
    registry = open_registry(Settings.from_environment({"ARTIFACTSTORE_HOME": str(home)}))
    ingest(registry, package_draft({"newest": b"newest"}, external_id="newest"))
    registry.close()


def _insert(connection: sqlite3.Connection, count: int, numbers: random.Random) -> None:
    pack = (0, "default", "pack", numbers.randbytes(32), count * _BLOB_BYTES, "live")
    connection.execute(
        "INSERT INTO stored_object (id, backend, kind, blake3, size_bytes, status) VALUES (?,?,?,?,?,?)", pack
    )
    for first in range(2, count + 2, _BATCH):
        connection.executemany(
            "INSERT INTO blob (id, address_prefix, address_ordinal, blake3, sha256, size_bytes, crc32)"
            " VALUES (?, ?, 0, ?, ?, ?, ?)",
            _blobs(first, min(_BATCH, count + 2 - first), numbers),
        )
    connection.execute(
        "INSERT INTO blob_location (blob_id, object_id, start, status)"
        " SELECT id, 0, id * ?, 'live' FROM blob WHERE id > 1 ORDER BY id",
        (_BLOB_BYTES,),
    )


def _blobs(first: int, count: int, numbers: random.Random) -> Iterator[tuple[object, ...]]:
    addresses = sorted((address_prefix(address), address) for address in (numbers.randbytes(32) for _ in range(count)))
    for row_id, (prefix, address) in enumerate(addresses, start=first):
        yield row_id, prefix, address, numbers.randbytes(32), _BLOB_BYTES, numbers.getrandbits(32)


if __name__ == "__main__":
    answer({"fill": fill, "fill_packages": fill_packages})
