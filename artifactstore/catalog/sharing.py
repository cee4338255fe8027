"""What comes free when packages are deleted: exactly, after what they share with others and with one another.

A blob is free when every file that has it is in a package that goes; an object when all of its blobs are, and a pack
that is free enough is made smaller. What comes free is counted with the package that goes last of those that share it.
What has been released so far lies in a scratch database of its own, on disk if it is large: memory does not grow.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple, Self

from artifactstore.catalog.blobs import BATCH
from artifactstore.catalog.records import ObjectRecord
from artifactstore.domain.zip_format import ZipEntry, archive_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from artifactstore.catalog.database import Connection

_HEX_DIGEST = "0" * 64
"""As long as every member's name in a pack."""
_SCRATCH_CACHE_KIB = 8_192
_SCRATCH = """
CREATE TABLE released (blob INTEGER PRIMARY KEY, times INTEGER NOT NULL, last INTEGER NOT NULL, kept INTEGER NOT NULL);
CREATE TABLE manifest (blake3 BLOB PRIMARY KEY, times INTEGER NOT NULL, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE freed (blob INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE touched (object INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE gain (number INTEGER PRIMARY KEY, bytes INTEGER NOT NULL)
"""
_RELEASE = (
    "INSERT INTO released VALUES (?, 1, ?, 0) ON CONFLICT (blob) DO UPDATE SET times = times + 1, last = excluded.last"
)
_TOUCH = "INSERT INTO touched VALUES (?, ?) ON CONFLICT (object) DO UPDATE SET last = max(last, excluded.last)"


class ReleasedBlob(NamedTuple):
    """A blob that packages which go refer to: how many of their files have it, and how many files that stay."""

    blake3: bytes
    size_bytes: int
    files: int
    files_kept: int


class FreedObject(NamedTuple):
    """An object that nothing refers to any more, or a pack that becomes smaller, and by how much."""

    found: ObjectRecord
    freed_bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether all of it comes free."""
        return self.freed_bytes == self.found.size_bytes


def comes_free(found: ObjectRecord, kept: Sequence[int], *, repack_percent: int) -> int:
    """The bytes that come free of an object of which blobs of these sizes are kept."""
    if not kept:
        return found.size_bytes
    saved = found.size_bytes - packed_bytes(kept) if found.kind == "pack" else 0
    return saved if saved > 0 and saved * 100 >= repack_percent * found.size_bytes else 0


def packed_bytes(sizes: Iterable[int]) -> int:
    """How large a pack of blobs of these sizes is."""
    return archive_size(ZipEntry(_HEX_DIGEST, size, 0) for size in sizes)


class Released:
    """What packages that go refer to: ``release`` each in order, ``settle`` once, then ask what came ``free_with``.

    Then ``blobs`` says of each what becomes of it, too.
    """

    def __init__(self, connection: Connection, *, repack_percent: int) -> None:
        self._connection = connection
        self._repack_percent = repack_percent
        self._scratch = sqlite3.connect("", isolation_level=None)
        self._scratch.execute(f"PRAGMA cache_size = -{_SCRATCH_CACHE_KIB}")
        self._scratch.execute("PRAGMA journal_mode = OFF")
        self._scratch.executescript(_SCRATCH)
        self._scratch.execute("BEGIN")  # and never an end: else each row is a transaction of its own

    def release(self, number: int, blobs: Iterable[int], manifest: bytes) -> None:
        """The package of this number, which counts up, refers to these no more; a blob as often as its files."""
        self._scratch.executemany(_RELEASE, ((blob, number) for blob in blobs))
        self._scratch.execute(
            "INSERT INTO manifest VALUES (?, 1, ?) ON CONFLICT (blake3) DO UPDATE SET times = times + 1,"
            " last = excluded.last",
            (manifest, number),
        )

    def settle(self) -> Iterator[FreedObject]:
        """Every object that comes free, wholly or in part; to be gone through to the end."""
        for blobs in self._batches("SELECT blob, times, last FROM released WHERE blob > ? ORDER BY blob LIMIT ?"):
            self._free_blobs(blobs)
        for objects in self._batches("SELECT object, last FROM touched WHERE object > ? ORDER BY object LIMIT ?"):
            for row_id, last in objects:
                yield from self._gained(self._object(row_id), self._kept(row_id), last)
        yield from self._free_manifests()

    def free_with(self, number: int) -> int:
        """The bytes that came free with the package of this number."""
        return next((n for (n,) in self._scratch.execute("SELECT bytes FROM gain WHERE number = ?", (number,))), 0)

    def blobs(self) -> Iterator[ReleasedBlob]:
        """Every blob that was released, in the order in which they came into the store."""
        for batch in self._batches("SELECT blob, times, kept FROM released WHERE blob > ? ORDER BY blob LIMIT ?"):
            said = _blobs(self._connection, [blob for blob, _, _ in batch])
            yield from (ReleasedBlob(*said[blob], times, kept) for blob, times, kept in batch)

    def close(self) -> None:
        """Let go of the scratch database."""
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _batches(self, sql: str) -> Iterator[list[tuple[int, ...]]]:
        after = -1
        while batch := self._scratch.execute(sql, (after, BATCH)).fetchall():
            yield batch
            after = batch[-1][0]

    def _free_blobs(self, released: list[tuple[int, ...]]) -> None:
        """Those of these blobs that nothing else refers to, and where they lie."""
        counts = references(self._connection, [blob for blob, _, _ in released])
        kept = {blob: counts[blob] - times for blob, times, _ in released if counts.get(blob, 0) > times}
        self._scratch.executemany("UPDATE released SET kept = ? WHERE blob = ?", ((kept[blob], blob) for blob in kept))
        free = {blob: last for blob, _, last in released if blob not in kept}
        self._scratch.executemany("INSERT INTO freed VALUES (?, ?)", free.items())
        places = objects_with(self._connection, list(free))
        self._scratch.executemany(_TOUCH, ((row_id, free[blob]) for row_id, blob in places))

    def _free_manifests(self) -> Iterator[FreedObject]:
        for digest, times, last in self._scratch.execute("SELECT blake3, times, last FROM manifest ORDER BY blake3"):
            if packages_with_manifest(self._connection, digest, limit=times + 1) <= times:
                for found in _objects(self._connection, "blake3 = ? AND kind = 'manifest'", digest):
                    yield from self._gained(found, [], last)

    def _gained(self, found: ObjectRecord, kept: Sequence[int], last: int) -> Iterator[FreedObject]:
        if found.status == "condemned":
            return  # counted when it was
        freed_bytes = comes_free(found, kept, repack_percent=self._repack_percent)
        if freed_bytes:
            self._scratch.execute(
                "INSERT INTO gain VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET bytes = bytes + excluded.bytes",
                (last, freed_bytes),
            )
            yield FreedObject(found, freed_bytes)

    def _object(self, row_id: int) -> ObjectRecord:
        (found,) = _objects(self._connection, "id = ?", row_id)
        return found

    def _kept(self, row_id: int) -> list[int]:
        """The sizes of the blobs in an object that something refers to still."""
        return [
            size
            for blob, size in referenced_in(self._connection, row_id)
            if not self._scratch.execute("SELECT 1 FROM freed WHERE blob = ?", (blob,)).fetchone()
        ]


def references(connection: Connection, blobs: Sequence[int]) -> dict[int, int]:
    """How many files have each of these blobs (row ids); those of none are left out."""
    counts: dict[int, int] = {}
    for at in range(0, len(blobs), BATCH):
        batch = blobs[at : at + BATCH]
        marks = ",".join("?" * len(batch))
        sql = f"SELECT blob_id, count(*) FROM package_file WHERE blob_id IN ({marks}) GROUP BY blob_id"
        counts.update((int(blob), int(count)) for blob, count in connection.execute(sql, batch))
    return counts


def objects_with(connection: Connection, blobs: Sequence[int]) -> list[tuple[int, int]]:
    """(object, blob), by row ids, for every location of up to a thousand blobs."""
    if not blobs:
        return []
    marks = ",".join("?" * len(blobs))
    sql = f"SELECT object_id, blob_id FROM blob_location WHERE blob_id IN ({marks})"
    return [(int(row_id), int(blob)) for row_id, blob in connection.execute(sql, blobs)]


def packages_with_manifest(connection: Connection, digest: bytes, *, limit: int) -> int:
    """How many packages that are not deleted have this manifest, counted up to a number."""
    ((count,),) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM package WHERE manifest_digest = ? AND status <> 'deleted'"
        " LIMIT ?) AS same",
        (digest, limit),
    )
    return int(count)


def referenced_in(connection: Connection, row_id: int) -> list[tuple[int, int]]:
    """(row id, size) of every blob in an object that a file has, by position."""
    rows = connection.execute(
        "SELECT blob.id, blob.size_bytes FROM blob_location JOIN blob ON blob.id = blob_location.blob_id"
        " WHERE blob_location.object_id = ? AND EXISTS"
        " (SELECT 1 FROM package_file WHERE package_file.blob_id = blob.id LIMIT 1 OFFSET 0)"
        " ORDER BY blob_location.start",
        (row_id,),
    )
    return [(int(blob), int(size)) for blob, size in rows]


def _blobs(connection: Connection, blobs: Sequence[int]) -> dict[int, tuple[bytes, int]]:
    """Address and size of each of up to a thousand blobs, by row id."""
    marks = ",".join("?" * len(blobs))
    rows = connection.execute(f"SELECT id, blake3, size_bytes FROM blob WHERE id IN ({marks})", blobs)
    return {int(blob): (bytes(blake3), int(size)) for blob, blake3, size in rows}


def _objects(connection: Connection, condition: str, parameter: bytes | int) -> list[ObjectRecord]:
    sql = f"SELECT id, backend, kind, blake3, size_bytes, status FROM stored_object WHERE {condition} ORDER BY backend"
    return list(map(ObjectRecord._make, connection.execute(sql, (parameter,))))
