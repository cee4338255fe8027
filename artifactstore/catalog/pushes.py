"""Open packages and what has arrived for them: operational rows, no events. See docs/adr/0010."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog.blobs import BATCH
from artifactstore.domain.canonical import decode_own, encode
from artifactstore.domain.digest import BlobMeasure
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.manifest import FileEntry, encode_files, file_from_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from artifactstore.catalog.database import Connection


class OpenPackageRecord(NamedTuple):
    """A row of ``open_package``. ``receipt`` is set once it is finalized."""

    package_id: str
    producer: str
    opened_by: str
    opened_at: int
    expires_at: int
    draft: bytes
    receipt: str | None
    backend: str | None
    """The one that was chosen for it."""


class ReceivedBlob(NamedTuple):
    """A blob that has arrived, and where it begins in the object that holds it."""

    measure: BlobMeasure
    start: int


class UploadRecord(NamedTuple):
    """A row of ``upload``."""

    upload_id: str
    package_id: str
    path: str
    role: str
    media_type: str
    size_bytes: int
    received_bytes: int


class PartRecord(NamedTuple):
    """A row of ``upload_part``."""

    start: int
    size_bytes: int
    backend: str
    blake3: bytes


_OPEN = "SELECT package_id, producer, opened_by, opened_at, expires_at, draft, receipt, backend FROM open_package"
_UPLOAD = "SELECT upload_id, package_id, path, role, media_type, size_bytes, received_bytes FROM upload"
_CHILDREN = ("declared_files", "received_object", "received_file")


# open packages


def open_package(connection: Connection, package_id: str) -> OpenPackageRecord | None:
    """An open package, or one that was finalized not long ago."""
    return next(map(OpenPackageRecord._make, connection.execute(f"{_OPEN} WHERE package_id = ?", (package_id,))), None)


def open_packages(
    connection: Connection, *, after: str, limit: int, opened_by: str | None
) -> Sequence[OpenPackageRecord]:
    """A page of packages that are open, by id; those of one actor unless that is None."""
    conditions, parameters = "package_id > ? AND receipt IS NULL", [after]
    if opened_by is not None:
        conditions += " AND opened_by = ?"
        parameters.append(opened_by)
    rows = connection.execute(f"{_OPEN} WHERE {conditions} ORDER BY package_id LIMIT ?", (*parameters, limit))
    return list(map(OpenPackageRecord._make, rows))


def count_open(connection: Connection, opened_by: str) -> int:
    """How many packages of one owner are open."""
    ((count,),) = connection.execute(
        "SELECT count(*) FROM open_package WHERE opened_by = ? AND receipt IS NULL", (opened_by,)
    )
    return int(count)


def begin(connection: Connection, record: OpenPackageRecord, declared: Sequence[FileEntry] | None) -> None:
    """Open a package."""
    connection.execute(
        "INSERT INTO open_package (package_id, producer, opened_by, opened_at, expires_at, draft, receipt, backend)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        record,
    )
    if declared is not None:
        connection.execute(
            "INSERT INTO declared_files (package_id, files) VALUES (?, ?)", (record.package_id, encode_files(declared))
        )


def conclude(connection: Connection, package_id: str, receipt: str, *, expires_at: int) -> None:
    """It is finalized: only its receipt stays, for a while, to answer the same question again."""
    connection.execute(
        "UPDATE open_package SET receipt = ?, expires_at = ? WHERE package_id = ?", (receipt, expires_at, package_id)
    )
    _forget_children(connection, package_id)


def forget(connection: Connection, package_id: str) -> None:
    """Remove every trace of it; uploads must be gone."""
    _forget_children(connection, package_id)
    connection.execute("DELETE FROM open_package WHERE package_id = ?", (package_id,))


def overdue(connection: Connection, now: int, *, limit: int) -> list[str]:
    """Packages whose time is over, finalized ones included."""
    rows = connection.execute(
        "SELECT package_id FROM open_package WHERE expires_at <= ? ORDER BY expires_at LIMIT ?", (now, limit)
    )
    return [package_id for (package_id,) in rows]


def declared_files(connection: Connection, package_id: str) -> tuple[FileEntry, ...] | None:
    """The files it is to have, in path order; None if they were not declared."""
    rows = connection.execute("SELECT files FROM declared_files WHERE package_id = ?", (package_id,))
    for (files,) in rows:
        return tuple(map(file_from_document, decode_own(files)))
    return None


def are_declared(connection: Connection, package_id: str) -> bool:
    """Whether its files were declared."""
    return bool(list(connection.execute("SELECT 1 FROM declared_files WHERE package_id = ?", (package_id,))))


def _forget_children(connection: Connection, package_id: str) -> None:
    for table in _CHILDREN:
        connection.execute(f"DELETE FROM {table} WHERE package_id = ?", (package_id,))


# what has arrived


def add_object(connection: Connection, package_id: str, reference: ObjectRef, blobs: Iterable[ReceivedBlob]) -> None:
    """An object has been stored for this package. The same one again is harmless."""
    listed = encode([[*blob.measure, blob.start] for blob in blobs])
    connection.execute(
        "INSERT INTO received_object (package_id, blake3, kind, backend, size_bytes, blobs) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (package_id, blake3, kind) DO NOTHING",
        (package_id, reference.blake3, reference.kind, reference.backend, reference.size_bytes, listed),
    )


def received_objects(connection: Connection, package_id: str) -> list[tuple[ObjectRef, list[ReceivedBlob]]]:
    """Every object stored for this package, with the blobs in it."""
    rows = connection.execute(
        "SELECT backend, kind, blake3, size_bytes, blobs FROM received_object WHERE package_id = ? ORDER BY blake3",
        (package_id,),
    )
    return [
        (ObjectRef(*reference), [ReceivedBlob(BlobMeasure(*measure), start) for *measure, start in decode_own(blobs)])
        for *reference, blobs in rows
    ]


def add_files(connection: Connection, package_id: str, files: Sequence[FileEntry]) -> None:
    """Files have arrived whose names were not declared; the caller knows that their paths are free."""
    connection.insert(
        "received_file (package_id, path, role, media_type, size_bytes, blake3, sha256)",
        [(package_id, *file) for file in files],
    )


def received_files(connection: Connection, package_id: str, paths: Sequence[str] | None = None) -> list[FileEntry]:
    """The files that have arrived, in path order; of these paths, unless that is None."""
    sql = "SELECT path, role, media_type, size_bytes, blake3, sha256 FROM received_file WHERE package_id = ?"
    if paths is None:
        return list(map(FileEntry._make, connection.execute(f"{sql} ORDER BY path", (package_id,))))
    found: list[FileEntry] = []
    for at in range(0, len(paths), BATCH):
        batch = paths[at : at + BATCH]
        marks = ",".join("?" * len(batch))
        rows = connection.execute(f"{sql} AND path IN ({marks}) ORDER BY path", (package_id, *batch))
        found += map(FileEntry._make, rows)
    return found


def count_received_files(connection: Connection, package_id: str) -> int:
    """How many files have arrived whose names were not declared."""
    ((count,),) = connection.execute("SELECT count(*) FROM received_file WHERE package_id = ?", (package_id,))
    return int(count)


# resumable uploads


def begin_upload(connection: Connection, record: UploadRecord) -> None:
    """Begin one."""
    connection.execute(
        "INSERT INTO upload (upload_id, package_id, path, role, media_type, size_bytes, received_bytes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        record,
    )


def upload(connection: Connection, upload_id: str) -> UploadRecord | None:
    """One upload."""
    return next(map(UploadRecord._make, connection.execute(f"{_UPLOAD} WHERE upload_id = ?", (upload_id,))), None)


def uploads(connection: Connection, package_id: str) -> list[UploadRecord]:
    """The uploads of a package that are not complete, by path."""
    rows = connection.execute(f"{_UPLOAD} WHERE package_id = ? ORDER BY path", (package_id,))
    return list(map(UploadRecord._make, rows))


def upload_of_path(connection: Connection, package_id: str, path: str) -> UploadRecord | None:
    """The upload of a path that is not complete."""
    rows = connection.execute(f"{_UPLOAD} WHERE package_id = ? AND path = ?", (package_id, path))
    return next(map(UploadRecord._make, rows), None)


def add_part(connection: Connection, upload_id: str, part: PartRecord) -> bool:
    """The next part is stored. False, with nothing changed, if the upload does not stand where the part begins."""
    moved = connection.execute(
        "UPDATE upload SET received_bytes = ? WHERE upload_id = ? AND received_bytes = ? RETURNING upload_id",
        (part.start + part.size_bytes, upload_id, part.start),
    )
    if not list(moved):
        return False
    connection.execute(
        "INSERT INTO upload_part (upload_id, start, size_bytes, backend, blake3) VALUES (?, ?, ?, ?, ?)",
        (upload_id, *part),
    )
    return True


def parts(connection: Connection, upload_id: str) -> list[PartRecord]:
    """An upload's parts in order."""
    rows = connection.execute(
        "SELECT start, size_bytes, backend, blake3 FROM upload_part WHERE upload_id = ? ORDER BY start", (upload_id,)
    )
    return list(map(PartRecord._make, rows))


def end_uploads(connection: Connection, package_id: str) -> list[PartRecord]:
    """End every upload of a package; the parts that are no longer needed."""
    ended = uploads(connection, package_id)
    left = [part for each in ended for part in parts(connection, each.upload_id)]
    for each in ended:
        end_upload(connection, each.upload_id)
    return left


def end_upload(connection: Connection, upload_id: str) -> None:
    """It is complete, or given up; harmless if it has ended."""
    connection.execute("DELETE FROM upload_part WHERE upload_id = ?", (upload_id,))
    connection.execute("DELETE FROM upload WHERE upload_id = ?", (upload_id,))


# idempotency keys


def remembered(connection: Connection, caller: str, key: str) -> tuple[bytes, str] | None:
    """(digest of the request, its answer) under a key."""
    rows = connection.execute(
        "SELECT request_digest, answer FROM idempotency_key WHERE caller = ? AND key = ?", (caller, key)
    )
    return next(((bytes(digest), answer) for digest, answer in rows), None)


def remember(connection: Connection, caller: str, key: str, request_digest: bytes, answer: str, now: int) -> None:
    """Keep an answer."""
    connection.execute(
        "INSERT INTO idempotency_key (caller, key, request_digest, answer, created_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (caller, key) DO UPDATE SET request_digest = excluded.request_digest, answer = excluded.answer,"
        " created_at = excluded.created_at",
        (caller, key, request_digest, answer, now),
    )


def forget_keys(connection: Connection, created_before: int) -> None:
    """Remove keys whose time is over."""
    connection.execute("DELETE FROM idempotency_key WHERE created_at < ?", (created_before,))
