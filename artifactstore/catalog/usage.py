"""What is asked of what is counted: by producer, by package, by backend. A row for each answer, not a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.database import Connection

_OF_PRODUCER = "producer, packages, files, logical_bytes, unique_bytes, shared_bytes"


class ProducerUsageRecord(NamedTuple):
    """A producer's packages that are not deleted, and their bytes."""

    producer: str
    packages: int
    files: int
    logical_bytes: int
    """Of all their files, each for itself."""
    unique_bytes: int
    """Of different blobs that no other producer's package has."""
    shared_bytes: int
    """Of different blobs that another producer's package has too."""


class PackageUsage(NamedTuple):
    """A package's bytes: what would come free with it, and what other packages have too."""

    unique_bytes: int
    shared_bytes: int


class BackendUsageRecord(NamedTuple):
    """A backend's objects, of all kinds."""

    backend: str
    objects: int
    size_bytes: int
    dead_objects: int
    """No package has any of it, and it is not condemned; a push that is under way may."""
    dead_object_bytes: int
    dead_in_use_bytes: int
    """In packs that something else is in use of: what making them smaller would save."""
    condemned_objects: int
    condemned_bytes: int

    @property
    def reclaimable_bytes(self) -> int:
        """What collection could free at most: a pack is made smaller only where that is worth it."""
        return self.dead_object_bytes + self.dead_in_use_bytes


def of_producers(
    connection: Connection, producers: Sequence[str] | None, *, after: str = "", limit: int
) -> list[ProducerUsageRecord]:
    """Those of these producers, of any if None, that ever had a package; by name, after one."""
    if producers is None:
        sql = f"SELECT {_OF_PRODUCER} FROM producer_usage WHERE producer > ? ORDER BY producer LIMIT ?"
        return list(map(ProducerUsageRecord._make, connection.execute(sql, (after, limit))))
    wanted = sorted(producer for producer in set(producers) if producer > after)[:limit]
    sql = f"SELECT {_OF_PRODUCER} FROM producer_usage WHERE producer = ?"
    return [ProducerUsageRecord._make(row) for producer in wanted for row in connection.execute(sql, (producer,))]


def logical_bytes_of(connection: Connection, producer: str) -> int:
    """What a quota is compared with; 0 for one that never had a package."""
    sql = "SELECT logical_bytes FROM producer_usage WHERE producer = ?"
    return next((int(found) for (found,) in connection.execute(sql, (producer,))), 0)


def of_package(connection: Connection, row_id: int) -> PackageUsage:
    """A package's, by its files."""
    ((unique_bytes, shared_bytes),) = connection.execute(
        "SELECT coalesce(sum(CASE WHEN blob.files = own.files THEN blob.size_bytes ELSE 0 END), 0),"
        " coalesce(sum(CASE WHEN blob.files > own.files THEN blob.size_bytes ELSE 0 END), 0) FROM"
        " (SELECT blob_id, count(*) AS files FROM package_file WHERE package = ? GROUP BY blob_id) AS own"
        " CROSS JOIN blob WHERE blob.id = own.blob_id",
        (row_id,),
    )
    return PackageUsage(int(unique_bytes), int(shared_bytes))


def of_backends(connection: Connection) -> list[BackendUsageRecord]:
    """Every backend that has objects, by name."""
    return [_summed(connection, str(name)) for (name,) in connection.execute(_NAMES)]


def of_backend(connection: Connection, backend: str) -> BackendUsageRecord:
    """One's; nothing but zeros if it has no objects."""
    return _summed(connection, backend)


_NAMES = "SELECT backend FROM backend_usage WHERE objects > 0 GROUP BY backend ORDER BY backend"
_SUMS = ", ".join(f"coalesce(sum({name}), 0)" for name in BackendUsageRecord._fields[1:])


def _summed(connection: Connection, backend: str) -> BackendUsageRecord:
    ((*counted,),) = connection.execute(f"SELECT {_SUMS} FROM backend_usage WHERE backend = ?", (backend,))
    return BackendUsageRecord(backend, *map(int, counted))
