"""What is counted: whose bytes are whose, what is shared, and what of every object is used.

A projection says by a ``Change`` what its event adds or takes; ``settle`` brings the counters there. It is called under
the lock under which events are appended, in the order of the log, so that a blob's first file and its last are seen as
such whoever else writes, and nobody waits for a counter's row. What only grows by what is new is counted when it is
inserted.

No counter is ever read from the whole store: what a change costs is what its event names.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog.blobs import BATCH
from artifactstore.domain.zip_format import stored_archive_size
from artifactstore.errors import CatalogCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from artifactstore.catalog.database import Connection, SqlValue

_HEX_DIGEST_BYTES = 64
"""How long every member's name in a pack is."""
_NEVER_DEAD = "segment"
"""Events of the log, which no package has."""


@dataclass(slots=True)
class Change:
    """What one event changes of what is counted."""

    producer: int = 0
    """Whose packages: a row of ``producer_usage``."""
    packages: int = 0
    files: int = 0
    logical_bytes: int = 0
    new_bytes: int = 0
    """Of blobs that were inserted with their count."""
    reused: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Blobs that were there: in how many files more, and their size."""
    filled: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Objects with new locations of new blobs: how many, and their bytes."""
    manifest: bytes | None = None
    """The manifest of a package that is there now."""
    touched: tuple[int, ...] = ()
    """Objects that are new, are gone, or have another state."""
    recounted: tuple[int, ...] = ()
    """Objects of which other blobs are located now."""
    released: int | None = None
    """A package whose files go."""


class _Blob(NamedTuple):
    row_id: int
    files: int
    producer: int | None
    size_bytes: int


class _Usage(NamedTuple):
    """A row of ``object_usage``."""

    row_id: int
    backend: str
    kind: str
    size_bytes: int
    used: int
    used_bytes: int
    dead_bytes: int
    is_condemned: int

    def share(self) -> tuple[int, ...]:
        """What it adds to its backend's row: the columns of ``_BACKEND_COUNTERS``."""
        is_dead = not self.used and self.dead_bytes > 0
        return (
            1,
            self.size_bytes,
            int(is_dead),
            self.dead_bytes if is_dead else 0,
            0 if is_dead else self.dead_bytes,
            self.is_condemned,
            self.size_bytes if self.is_condemned else 0,
        )


_PRODUCER_COUNTERS = ("packages", "files", "logical_bytes", "unique_bytes", "shared_bytes")
_BACKEND_COUNTERS = (
    "objects", "size_bytes", "dead_objects", "dead_object_bytes", "dead_in_use_bytes", "condemned_objects",
    "condemned_bytes",
)  # fmt: skip
_UNIQUE, _SHARED = 3, 4


def producer_id(connection: Connection, producer: str) -> int:
    """The row of a producer's counters, made if it is the first package."""
    sql = "SELECT id FROM producer_usage WHERE producer = ?"
    for (row_id,) in connection.execute(sql, (producer,)):
        return int(row_id)
    connection.execute(
        "INSERT INTO producer_usage (producer, packages, files, logical_bytes, unique_bytes, shared_bytes)"
        " VALUES (?, 0, 0, 0, 0, 0) ON CONFLICT (producer) DO NOTHING",
        (producer,),
    )
    ((row_id,),) = connection.execute(sql, (producer,))
    return int(row_id)


def settle(connection: Connection, changes: Iterable[Change]) -> None:
    """Bring every counter to where these changes have happened. The caller holds the append lock."""
    settling = _Settling(connection)
    for change in changes:
        settling.take(change)
    settling.write()


def dead_bytes(kind: str, size_bytes: int, used: int, used_bytes: int) -> int:
    """What comes free of an object of which so many blobs are used: all of it, or what making a pack smaller saves."""
    if kind == _NEVER_DEAD:
        return 0
    if not used:
        return size_bytes
    if kind != "pack":
        return 0
    return max(size_bytes - stored_archive_size(used, used_bytes, name_bytes=_HEX_DIGEST_BYTES), 0)


class _Settling:
    """Blobs as each change is taken, in their order; what follows from all of them at the end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._producers: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(_PRODUCER_COUNTERS))
        self._objects: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        self._filled: set[int] = set()
        self._recounted: set[int] = set()

    def take(self, change: Change) -> None:
        """One event's."""
        if change.producer:
            counted = (change.packages, change.files, change.logical_bytes, change.new_bytes, 0)
            self._count(change.producer, counted)
        if change.reused:
            for batch in _batches(sorted(change.reused)):
                self._reuse(change.producer, {blob: change.reused[blob] for blob in batch})
        for row_id, (used, used_bytes) in change.filled.items():
            self._use(row_id, used, used_bytes)
        self._filled |= change.filled.keys()
        for row_id in change.touched:
            self._use(row_id, 0, 0)
        self._recounted.update(change.recounted)
        if change.manifest is not None:
            self._use_manifest(change.manifest, 1)
        if change.released is not None:
            self._release(change.released)

    def write(self) -> None:
        """Producers, objects, backends."""
        columns = ", ".join(f"{name} = {name} + ?" for name in _PRODUCER_COUNTERS)
        self._connection.executemany(
            f"UPDATE producer_usage SET {columns} WHERE id = ?",
            [(*counted, row_id) for row_id, counted in sorted(self._producers.items()) if any(counted)],
        )
        backends: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * len(_BACKEND_COUNTERS))
        for batch in _batches(sorted(self._objects.keys() | self._recounted)):
            self._write_objects(batch, backends)
        _add_to_backends(self._connection, backends)

    # blobs

    def _reuse(self, producer: int, more: Mapping[int, tuple[int, int]]) -> None:
        """Files of a producer have blobs that were there. Most often they are its own: then only the count moves."""
        marks = _marks(more)
        others = [
            _Blob._make(row)
            for row in self._connection.execute(
                f"SELECT id, files, producer, size_bytes FROM blob WHERE id IN ({marks})"
                " AND (producer IS NULL OR producer <> ?)",
                (*more, producer),
            )
        ]
        once = [blob for blob, (files, _) in more.items() if files == 1]
        if once:
            self._connection.execute(f"UPDATE blob SET files = files + 1 WHERE id IN ({_marks(once)})", once)
        self._connection.executemany(
            "UPDATE blob SET files = files + ? WHERE id = ?",
            [(files, blob) for blob, (files, _) in more.items() if files != 1],
        )
        if others:
            self._reuse_of_others(producer, {blob: files for blob, (files, _) in more.items()}, others)

    def _reuse_of_others(self, producer: int, more: Mapping[int, int], others: Sequence[_Blob]) -> None:
        revived = [blob for blob in others if not blob.files]
        shared = [blob for blob in others if blob.files]
        mine = self._my_shares(producer, [blob.row_id for blob in shared])
        rows: list[tuple[int, int, int]] = []
        for blob in shared:
            if blob.producer is not None:
                rows.append((blob.row_id, blob.producer, blob.files))
                self._move(blob.producer, -blob.size_bytes, blob.size_bytes)
            if blob.row_id not in mine:
                self._move(producer, 0, blob.size_bytes)
            rows.append((blob.row_id, producer, more[blob.row_id]))
        self._connection.insert(
            "shared_blob (blob, producer, files)",
            rows,
            "ON CONFLICT (blob, producer) DO UPDATE SET files = shared_blob.files + excluded.files",
        )
        owned = [(producer, blob.row_id) for blob in revived]
        owned_by_none = [(None, blob.row_id) for blob in shared if blob.producer is not None]
        self._set_producers([*owned, *owned_by_none])
        self._move(producer, sum(blob.size_bytes for blob in revived), 0)
        self._use_objects_with(revived, 1)

    def _release(self, package: int) -> None:
        """A package goes: its files, then its rows in ``package_file``."""
        ((name, count, total_bytes, manifest),) = self._connection.execute(
            "SELECT producer, file_count, total_bytes, manifest_digest FROM package WHERE id = ?", (package,)
        )
        producer = producer_id(self._connection, name)
        self._count(producer, (-1, -count, -total_bytes, 0, 0))
        if manifest is not None:
            self._use_manifest(manifest, -1)
        for first in range(0, count, BATCH):
            files = self._connection.execute(
                "SELECT blob_id, count(*) FROM package_file WHERE package = ? AND file_index >= ? AND file_index < ?"
                " GROUP BY blob_id ORDER BY blob_id",
                (package, first, first + BATCH),
            )
            self._release_blobs(producer, {int(blob): int(times) for blob, times in files})
        self._connection.execute("DELETE FROM package_file WHERE package = ?", (package,))

    def _release_blobs(self, producer: int, fewer: Mapping[int, int]) -> None:
        blobs = self._blobs(fewer)
        if len(blobs) != len(fewer) or any(blob.files < fewer[blob.row_id] for blob in blobs):
            raise CatalogCorruptError("a blob is counted in fewer files than have it")
        self._connection.executemany(
            "UPDATE blob SET files = files - ? WHERE id = ?", [(times, blob) for blob, times in fewer.items()]
        )
        dead = [blob for blob in blobs if blob.files == fewer[blob.row_id]]
        alive_and_shared = [blob for blob in blobs if blob.files > fewer[blob.row_id] and blob.producer is None]
        self._move(producer, -sum(blob.size_bytes for blob in dead), 0)
        self._set_producers([(None, blob.row_id) for blob in dead])
        self._use_objects_with(dead, -1)
        self._unshare(producer, fewer, alive_and_shared)

    def _unshare(self, producer: int, fewer: Mapping[int, int], blobs: Sequence[_Blob]) -> None:
        """Where this was the producer's last file with a blob, it may be one other's alone now."""
        mine = self._my_shares(producer, [blob.row_id for blob in blobs])
        leaving = [blob for blob in blobs if mine[blob.row_id] == fewer[blob.row_id]]
        self._connection.executemany(
            "UPDATE shared_blob SET files = files - ? WHERE blob = ? AND producer = ?",
            [(fewer[blob], blob, producer) for blob, files in mine.items() if files > fewer[blob]],
        )
        if not leaving:
            return
        self._connection.executemany(
            "DELETE FROM shared_blob WHERE blob = ? AND producer = ?", [(blob.row_id, producer) for blob in leaving]
        )
        self._move(producer, 0, -sum(blob.size_bytes for blob in leaving))
        left = self._connection.execute(
            f"SELECT blob, min(producer) FROM shared_blob WHERE blob IN ({_marks(leaving)}) GROUP BY blob"
            " HAVING count(*) = 1",
            [blob.row_id for blob in leaving],
        )
        sole = {int(blob): int(other) for blob, other in left}
        self._connection.executemany("DELETE FROM shared_blob WHERE blob = ?", [(blob,) for blob in sole])
        self._set_producers([(other, blob) for blob, other in sole.items()])
        for blob in leaving:
            if blob.row_id in sole:
                self._move(sole[blob.row_id], blob.size_bytes, -blob.size_bytes)

    def _blobs(self, ids: Iterable[int]) -> list[_Blob]:
        wanted = list(ids)
        sql = f"SELECT id, files, producer, size_bytes FROM blob WHERE id IN ({_marks(wanted)})"
        return list(map(_Blob._make, self._connection.execute(sql, wanted))) if wanted else []

    def _my_shares(self, producer: int, blobs: Sequence[int]) -> dict[int, int]:
        """In how many files of a producer each of these shared blobs is, if in any."""
        if not blobs:
            return {}
        sql = f"SELECT blob, files FROM shared_blob WHERE blob IN ({_marks(blobs)}) AND producer = ?"
        return {int(blob): int(files) for blob, files in self._connection.execute(sql, (*blobs, producer))}

    def _set_producers(self, rows: Sequence[tuple[int | None, int]]) -> None:
        if rows:
            self._connection.executemany("UPDATE blob SET producer = ? WHERE id = ?", rows)

    def _move(self, producer: int, unique_bytes: int, shared_bytes: int) -> None:
        counted = self._producers[producer]
        counted[_UNIQUE] += unique_bytes
        counted[_SHARED] += shared_bytes

    def _count(self, producer: int, counted: Sequence[int]) -> None:
        self._producers[producer] = [a + b for a, b in zip(self._producers[producer], counted, strict=True)]

    # objects

    def _use(self, row_id: int, used: int, used_bytes: int) -> None:
        counted = self._objects[row_id]
        counted[0] += used
        counted[1] += used_bytes

    def _use_manifest(self, digest: bytes, sign: int) -> None:
        sql = "SELECT id, size_bytes FROM stored_object WHERE blake3 = ? AND kind = 'manifest'"
        for row_id, size_bytes in self._connection.execute(sql, (digest,)):
            self._use(int(row_id), sign, sign * size_bytes)

    def _use_objects_with(self, blobs: Sequence[_Blob], sign: int) -> None:
        """Blobs have come to life, or died, wherever they lie."""
        if not blobs:
            return
        sizes = {blob.row_id: blob.size_bytes for blob in blobs}
        sql = f"SELECT object_id, blob_id FROM blob_location WHERE blob_id IN ({_marks(sizes)})"
        for row_id, blob in self._connection.execute(sql, list(sizes)):
            self._use(int(row_id), sign, sign * sizes[blob])

    def _write_objects(self, batch: Sequence[int], backends: defaultdict[tuple[str, str], list[int]]) -> None:
        marks = _marks(batch)
        before = self._connection.execute(
            "SELECT object, backend, kind, size_bytes, used, used_bytes, dead_bytes, is_condemned FROM object_usage"
            f" WHERE object IN ({marks})",
            batch,
        )
        known = {usage.row_id: usage for usage in map(_Usage._make, before)}
        sql = f"SELECT id, backend, kind, size_bytes, status, blake3 FROM stored_object WHERE id IN ({marks})"
        now = {row[0]: self._usage(known.get(row[0]), *row) for row in self._connection.execute(sql, batch)}
        for usages, sign in ((known, -1), (now, 1)):
            for usage in usages.values():
                counted = backends[usage.backend, usage.kind]
                counted[:] = [a + sign * b for a, b in zip(counted, usage.share(), strict=True)]
        gone = [(row_id,) for row_id in known.keys() - now.keys()]
        if gone:
            self._connection.executemany("DELETE FROM object_usage WHERE object = ?", gone)
        self._connection.insert(
            "object_usage (object, backend, kind, size_bytes, used, used_bytes, dead_bytes, is_condemned)",
            [usage for row_id, usage in sorted(now.items()) if usage != known.get(row_id)],
            "ON CONFLICT (object) DO UPDATE SET used = excluded.used, used_bytes = excluded.used_bytes,"
            " dead_bytes = excluded.dead_bytes, is_condemned = excluded.is_condemned",
        )

    def _usage(
        self, before: _Usage | None, row_id: int, backend: str, kind: str, size_bytes: int, status: str, digest: bytes
    ) -> _Usage:
        if row_id in self._recounted or (before is None and row_id not in self._filled):
            used, used_bytes = _used(self._connection, row_id, kind, size_bytes, digest)
        else:
            more, more_bytes = self._objects[row_id]
            used, used_bytes = more + (before.used if before else 0), more_bytes + (before.used_bytes if before else 0)
        is_condemned = status == "condemned"
        dead = 0 if is_condemned else dead_bytes(kind, size_bytes, used, used_bytes)
        return _Usage(row_id, backend, kind, size_bytes, used, used_bytes, dead, int(is_condemned))


def _used(connection: Connection, row_id: int, kind: str, size_bytes: int, digest: bytes) -> tuple[int, int]:
    """Count anew what of an object is used: for one that is new, or whose locations have changed."""
    if kind == "manifest":
        sql = "SELECT count(*) FROM package WHERE manifest_digest = ? AND status <> 'deleted'"
        ((packages,),) = connection.execute(sql, (digest,))
        return int(packages), int(packages) * size_bytes
    ((used, used_bytes),) = connection.execute(
        "SELECT count(*), coalesce(sum(blob.size_bytes), 0) FROM blob_location"
        " JOIN blob ON blob.id = blob_location.blob_id WHERE blob_location.object_id = ? AND blob.files > 0",
        (row_id,),
    )
    return int(used), int(used_bytes)


def _add_to_backends(connection: Connection, backends: Mapping[tuple[str, str], Sequence[int]]) -> None:
    rows: list[tuple[SqlValue, ...]] = [(*key, *counted) for key, counted in sorted(backends.items()) if any(counted)]
    more = ", ".join(f"{name} = backend_usage.{name} + excluded.{name}" for name in _BACKEND_COUNTERS)
    connection.insert(
        f"backend_usage (backend, kind, {', '.join(_BACKEND_COUNTERS)})",
        rows,
        f"ON CONFLICT (backend, kind) DO UPDATE SET {more}",
    )


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[at : at + BATCH] for at in range(0, len(ids), BATCH))


def _marks(values: Iterable[object]) -> str:
    return ",".join("?" for _ in values)
