"""What the catalog can be asked, over one connection. Every list is keyset and every lookup uses an index.

What a statement reads is in proportion to what it answers, however much is stored: tests/integration/test_plans.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from artifactstore.catalog import blobs, event_log
from artifactstore.catalog.contributions import in_words
from artifactstore.catalog.package_filter import EVERY_PACKAGE, PackageFilter, page_of_packages
from artifactstore.catalog.records import (
    FileSum,
    HoldRecord,
    LocatedFile,
    ObjectRecord,
    PackageRecord,
    PlacedBlob,
    RecordedFile,
    SchemaRecord,
)
from artifactstore.domain.manifest import FileEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artifactstore.catalog.database import Connection, SqlValue
    from artifactstore.domain.digest import BlobDescriptor

_PACKAGE = ", ".join(f"package.{column}" for column in ("id", *PackageRecord._fields[1:]))
_OBJECT = "SELECT id, backend, kind, blake3, size_bytes, status FROM stored_object"
LARGE_BLOB_BYTES = 1024 * 1024
"""From this size on, blobs are indexed by size."""


class Queries:
    """Read access; ``Transaction`` adds writing."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def lock(self, kind: str, name: str) -> None:
        """Let nobody else change the thing of this name: a view holds still by itself, a ``Transaction`` sees to it."""

    # packages and their files

    def package(self, package_id: str) -> PackageRecord | None:
        """A package by its public id."""
        return self._one_package("package_id = ?", (package_id,))

    def revisions(self, producer: str, external_id: str) -> list[PackageRecord]:
        """Every package that is not open under this key, newest revision first."""
        return self._packages(
            "producer = ? AND external_id = ? AND external_id IS NOT NULL AND status <> 'open' ORDER BY revision DESC",
            (producer, external_id),
        )

    def packages_of_content(self, producer: str, manifest_digest: bytes) -> list[PackageRecord]:
        """Every package without an external id that is not open and has this manifest, newest revision first."""
        return self._packages(
            "producer = ? AND manifest_digest = ? AND external_id IS NULL AND status <> 'open' ORDER BY revision DESC",
            (producer, manifest_digest),
        )

    def packages(self, *, after: int, limit: int, wanted: PackageFilter = EVERY_PACKAGE) -> list[PackageRecord]:
        """A page of packages in the order they were opened, after a row id."""
        source, parameters = page_of_packages(wanted, after=after, limit=limit)
        rows = self.connection.execute(f"SELECT {_PACKAGE} FROM {source}", parameters)
        return list(map(PackageRecord._make, rows))

    def due(self, now: int, *, limit: int) -> list[PackageRecord]:
        """Finalized packages whose retention has ended and that no hold protects, longest overdue first."""
        return self._packages(
            "status = 'finalized' AND expires_at IS NOT NULL AND expires_at <= ? AND NOT EXISTS"
            " (SELECT 1 FROM hold WHERE hold.package = package.id AND hold.released_at IS NULL LIMIT 1 OFFSET 0)"
            " ORDER BY expires_at LIMIT ?",
            (now, limit),
        )

    def entries(self, package: int) -> Iterator[FileEntry]:
        """A package's files as its manifest says them, in path order, streamed."""
        rows = self.connection.stream(
            "SELECT package_file.path, package_file.role, package_file.media_type, blob.size_bytes, blob.blake3,"
            " blob.sha256 FROM package_file JOIN blob ON blob.id = package_file.blob_id"
            " WHERE package_file.package = ? ORDER BY package_file.file_index",
            (package,),
        )
        return map(FileEntry._make, rows)

    def located_files(self, package: int, *, after_index: int, limit: int) -> list[LocatedFile]:
        """A page of files in path order with their blobs' live locations."""
        return self._located(
            "package_file.package = ? AND package_file.file_index > ? AND package_file.file_index <= ?"
            " ORDER BY package_file.file_index",
            (package, after_index, after_index + limit),
        )

    def located_file(self, package: int, path: str) -> LocatedFile | None:
        """One file by its path, with its blob's live locations."""
        condition = "package_file.package = ? AND package_file.path = ?"
        return next(iter(self._located(condition, (package, path))), None)

    def file_sums(self, package: int, *, after_index: int, below_bytes: int, limit: int) -> list[FileSum]:
        """A page of a package's files smaller than a size, in path order, with what an archive says of each."""
        rows = self.connection.execute(
            "SELECT package_file.file_index, package_file.path, blob.size_bytes, blob.crc32"
            " FROM package_file JOIN blob ON blob.id = package_file.blob_id WHERE package_file.package = ?"
            " AND package_file.file_index > ? AND blob.size_bytes < ? ORDER BY package_file.file_index LIMIT ?",
            (package, after_index, below_bytes, limit),
        )
        return list(map(FileSum._make, rows))

    def chunk_digests(self, address: bytes) -> bytes:
        """The BLAKE3 digests of a blob's 4 MiB chunks, concatenated; empty for a blob of one chunk or less."""
        rows = self.connection.execute(
            "SELECT chunks FROM blob WHERE address_prefix = ? AND blake3 = ?", (blobs.address_prefix(address), address)
        )
        return next((bytes(chunks) for (chunks,) in rows if chunks), b"")

    def recorded_files(self, package: int) -> Iterator[RecordedFile]:
        """A package's files in path order with every location of their blobs: a row for each, or one without."""
        rows = self.connection.stream(
            "SELECT package_file.path, package_file.role, package_file.media_type, blob.size_bytes, blob.blake3,"
            " blob.sha256, blob_location.object_id, blob_location.start, blob_location.status"
            " FROM package_file JOIN blob ON blob.id = package_file.blob_id"
            " LEFT JOIN blob_location ON blob_location.blob_id = blob.id"
            " WHERE package_file.package = ? ORDER BY package_file.file_index",
            (package,),
        )
        return cast("Iterator[RecordedFile]", rows)

    def users_of_blob(self, address: bytes, *, limit: int) -> list[tuple[str, str]]:
        """(package id, path) of files that have this blob."""
        rows = self.connection.execute(
            "SELECT package.package_id, package_file.path FROM blob"
            " JOIN package_file ON package_file.blob_id = blob.id"
            " JOIN package ON package.id = package_file.package"
            " WHERE blob.address_prefix = ? AND blob.blake3 = ?"
            " ORDER BY package_file.package, package_file.file_index LIMIT ?",
            (blobs.address_prefix(address), address, limit),
        )
        return [(package_id, path) for package_id, path in rows]

    # holds and schemas

    def holds(self, package: int) -> list[HoldRecord]:
        """A package's holds, released ones included, oldest first."""
        rows = self.connection.execute(
            "SELECT hold_id, reason, placed_at, placed_by, released_at, released_by, release_reason"
            " FROM hold WHERE package = ? ORDER BY id",
            (package,),
        )
        return list(map(HoldRecord._make, rows))

    def schema(self, slug: str) -> SchemaRecord | None:
        """A registered schema."""
        rows = self.connection.execute(
            "SELECT slug, json_schema, registered_at, registered_by FROM metadata_schema WHERE slug = ?",
            (slug,),
        )
        return next(map(SchemaRecord._make, rows), None)

    def schemas(self, *, after: str = "", limit: int | None = None) -> list[SchemaRecord]:
        """Registered schemas by slug, after one."""
        rows = self.connection.execute(
            "SELECT slug, json_schema, registered_at, registered_by FROM metadata_schema WHERE slug > ? ORDER BY slug"
            + ("" if limit is None else f" LIMIT {int(limit)}"),
            (after,),
        )
        return list(map(SchemaRecord._make, rows))

    # blobs and objects

    def blob_presence(self, addresses: Sequence[bytes], *, within: str | None = None) -> dict[bytes, bool]:
        """For each of these blobs that is known: whether it is at a live location in a live object; of this backend."""
        return blobs.presence(self.connection, addresses, within=within)

    def readable_blobs(
        self, addresses: Sequence[bytes], producers: Sequence[str] | None, *, within: str | None = None
    ) -> dict[bytes, BlobDescriptor]:
        """Those of these blobs that are present in a package of one of these producers; of anyone's, if None."""
        return blobs.readable(self.connection, addresses, producers, within=within)

    def may_have_blob_of_size(self, size_bytes: int) -> bool:
        """Whether some large blob has exactly this size: then it is worth hashing a file before storing it."""
        if size_bytes < LARGE_BLOB_BYTES:
            return False
        rows = self.connection.execute(
            f"SELECT 1 FROM blob WHERE size_bytes >= {LARGE_BLOB_BYTES} AND size_bytes = ? LIMIT 1",
            (size_bytes,),
        )
        return bool(list(rows))

    def package_is_whole(self, package: PackageRecord) -> bool:
        """Whether its manifest and every one of its blobs is at a live location in a live object."""
        ((absent,),) = self.connection.execute(
            "SELECT count(*) FROM package_file WHERE package = ? AND NOT EXISTS"
            " (SELECT 1 FROM blob_location JOIN stored_object ON stored_object.id = blob_location.object_id"
            "  WHERE blob_location.blob_id = package_file.blob_id"
            "  AND blob_location.status = 'live' AND stored_object.status = 'live' LIMIT 1 OFFSET 0)",
            (package.row_id,),
        )
        manifests = self.objects_of_digest("manifest", package.manifest_digest or b"")
        return absent == 0 and any(found.status == "live" for found in manifests)

    def has_losses(self) -> bool:
        """Whether anything stored is damaged or condemned: if not, every package is whole."""
        rows = self.connection.execute(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM blob_location WHERE status <> 'live')"
            " OR EXISTS (SELECT 1 FROM stored_object WHERE status <> 'live')"
        )
        return bool(list(rows))

    def objects_of_digest(self, kind: str, digest: bytes) -> list[ObjectRecord]:
        """The objects of one key, one for each backend that has it."""
        rows = self.connection.execute(f"{_OBJECT} WHERE blake3 = ? AND kind = ? ORDER BY backend", (digest, kind))
        return list(map(ObjectRecord._make, rows))

    def newest_object(self, backend: str) -> ObjectRecord | None:
        """The live object of a backend that was recorded last."""
        rows = self.connection.execute(
            f"{_OBJECT} WHERE backend >= ? AND backend <= ? AND status = 'live' ORDER BY backend DESC, id DESC LIMIT 1",
            (backend, backend),
        )
        return next(map(ObjectRecord._make, rows), None)

    def object(self, row_id: int) -> ObjectRecord:
        """An object by its row id, which is known to be there."""
        (row,) = self.connection.execute(f"{_OBJECT} WHERE id = ?", (row_id,))
        return ObjectRecord._make(row)

    def objects(self, *, after: int, limit: int) -> list[ObjectRecord]:
        """A page of all objects, after a row id."""
        rows = self.connection.execute(f"{_OBJECT} WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return list(map(ObjectRecord._make, rows))

    def object_has_losses(self, row_id: int) -> bool:
        """Whether an object, or a blob in it, is damaged."""
        rows = self.connection.execute(
            "SELECT 1 FROM stored_object WHERE id = ? AND (status = 'damaged' OR EXISTS"
            " (SELECT 1 FROM blob_location WHERE object_id = stored_object.id AND status = 'damaged'"
            "  LIMIT 1 OFFSET 0))",
            (row_id,),
        )
        return bool(list(rows))

    def object_is_superseded(self, row_id: int) -> bool:
        """Whether there are blobs in an object, and each is also at a live location in another, live object."""
        blobs_here = self.connection.execute("SELECT 1 FROM blob_location WHERE object_id = ? LIMIT 1", (row_id,))
        if not list(blobs_here):
            return False
        rows = self.connection.execute(
            "SELECT 1 FROM blob_location AS here WHERE here.object_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM blob_location JOIN stored_object ON stored_object.id = blob_location.object_id"
            "  WHERE blob_location.blob_id = here.blob_id AND blob_location.object_id <> here.object_id"
            "  AND blob_location.status = 'live' AND stored_object.status = 'live' LIMIT 1 OFFSET 0) LIMIT 1",
            (row_id,),
        )
        return not list(rows)

    def blobs_in_object(self, row_id: int) -> Iterator[PlacedBlob]:
        """What lies in an object, by position."""
        return self._placed("blob_location.object_id = ?", row_id)

    def damaged_in_object(self, row_id: int) -> Iterator[PlacedBlob]:
        """What lies in an object at damaged locations, by position."""
        return self._placed("blob_location.object_id = ? AND blob_location.status <> 'live'", row_id)

    def schema_revision(self) -> str:
        """Where the migrations have brought the tables: a revision of each branch, the core's first."""
        rows = self.connection.execute("SELECT version_num FROM alembic_version")
        return in_words([str(revision) for (revision,) in rows])

    # the event log

    def latest_seq(self) -> int:
        """The newest event's sequence number."""
        return event_log.latest_seq(self.connection)

    def chain_at(self, seq: int) -> bytes:
        """The chain value of an event by its sequence number; before the first one, that of the empty log."""
        return event_log.chain_at(self.connection, seq)

    def latest_at(self) -> int:
        """When the newest event was; 0 for an empty log."""
        return event_log.latest_at(self.connection)

    def log_id(self) -> bytes:
        """The log's random identity."""
        return event_log.log_id(self.connection)

    def latest_chain(self) -> bytes:
        """The newest event's chain value; that of the empty log if there is none."""
        return event_log.latest_chain(self.connection)

    def events(
        self, *, after: int, limit: int, subject: str | None = None, with_payload: bool = True
    ) -> list[event_log.EventRecord]:
        """A page of events; their payloads are empty unless they are asked for."""
        return list(
            event_log.read(self.connection, after=after, limit=limit, subject=subject, with_payload=with_payload)
        )

    def events_within(self, max_bytes: int, *, after: int, limit: int, subject: str | None = None) -> int:
        """How many of a page's events come to at most so many bytes of payload; one at least."""
        return event_log.how_many_within(self.connection, max_bytes, after=after, limit=limit, subject=subject)

    def producers_of(self, package_ids: Sequence[str]) -> dict[str, str]:
        """The producers of those of these ids that are packages."""
        marks = ", ".join("?" * len(package_ids))
        rows = self.connection.execute(
            f"SELECT package_id, producer FROM package WHERE package_id IN ({marks})", package_ids
        )
        return dict(iter(rows))

    def _placed(self, condition: str, row_id: int) -> Iterator[PlacedBlob]:
        rows = self.connection.stream(
            "SELECT blob_location.start, blob.size_bytes, blob.blake3, blob.sha256, blob_location.status"
            " FROM blob_location JOIN blob ON blob.id = blob_location.blob_id"
            f" WHERE {condition} ORDER BY blob_location.start",
            (row_id,),
        )
        return map(PlacedBlob._make, rows)

    def _located(self, condition: str, parameters: Sequence[SqlValue]) -> list[LocatedFile]:
        rows = self.connection.execute(
            "SELECT package_file.file_index, package_file.path, package_file.role, package_file.media_type,"
            " blob.size_bytes, blob.blake3, blob.sha256,"
            " stored_object.backend, stored_object.kind, stored_object.blake3, blob_location.start"
            " FROM package_file JOIN blob ON blob.id = package_file.blob_id"
            " LEFT JOIN blob_location ON blob_location.blob_id = blob.id AND blob_location.status = 'live'"
            " LEFT JOIN stored_object ON stored_object.id = blob_location.object_id"
            f" AND stored_object.status <> 'condemned' WHERE {condition}",
            parameters,
        )
        found: list[LocatedFile] = []
        for row in rows:
            here = (row[7:],) if row[7] is not None else ()
            if found and found[-1].file_index == row[0]:
                found[-1] = found[-1]._replace(locations=found[-1].locations + here)
            else:
                found.append(LocatedFile._make((*row[:7], here)))
        return found

    def _one_package(self, condition: str, parameters: Sequence[SqlValue]) -> PackageRecord | None:
        return next(iter(self._packages(condition, parameters)), None)

    def _packages(self, condition: str, parameters: Sequence[SqlValue]) -> list[PackageRecord]:
        rows = self.connection.execute(f"SELECT {_PACKAGE} FROM package WHERE {condition}", parameters)
        return list(map(PackageRecord._make, rows))
