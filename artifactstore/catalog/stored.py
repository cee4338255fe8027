"""Stored objects in the order of their keys, and who needs them: what a backend's listing is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog.records import ObjectRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.database import Connection

_OBJECT = "SELECT id, backend, kind, blake3, size_bytes, status FROM stored_object"


class Place(NamedTuple):
    """Where in the order of keys a page begins: after an object's digest, kind and backend."""

    blake3: bytes = b""
    kind: str = ""
    backend: str = ""


def in_key_order(connection: Connection, after: Place, *, limit: int) -> list[ObjectRecord]:
    """A page of the objects of every backend by digest, kind and backend."""
    rows = connection.execute(
        f"{_OBJECT} WHERE (blake3, kind, backend) > (?, ?, ?) ORDER BY blake3, kind, backend LIMIT ?", (*after, limit)
    )
    return list(map(ObjectRecord._make, rows))


def has_live_objects(connection: Connection, backend: str) -> bool:
    """Whether the catalog relies on anything in a backend."""
    rows = connection.execute(
        "SELECT 1 FROM stored_object WHERE backend >= ? AND backend <= ? AND status = 'live'"
        " ORDER BY backend DESC, id DESC LIMIT 1",
        (backend, backend),
    )
    return bool(list(rows))


def held_by_pushes(connection: Connection, backend: str) -> Iterator[tuple[str, bytes]]:
    """(kind, digest) of every object of a backend that has bytes sent for an open package or an upload."""
    rows = connection.stream(
        "SELECT kind, blake3 FROM received_object WHERE backend = ?"
        " UNION ALL SELECT 'part', blake3 FROM upload_part WHERE backend = ?",
        (backend, backend),
    )
    return ((str(kind), bytes(digest)) for kind, digest in rows)


def users_of_object(connection: Connection, found: ObjectRecord, *, limit: int) -> list[tuple[str, str | None]]:
    """(package id, path) of files whose bytes lie in an object; of a manifest, the packages, without a path."""
    if found.kind == "manifest":
        return [(package_id, None) for package_id in packages_of_manifest(connection, found.blake3, limit=limit)]
    files = connection.execute(
        "SELECT package.package_id, package_file.path FROM blob_location"
        " JOIN package_file ON package_file.blob_id = blob_location.blob_id"
        " JOIN package ON package.id = package_file.package"
        " WHERE blob_location.object_id = ? ORDER BY blob_location.start LIMIT ?",
        (found.row_id, limit),
    )
    return [(package_id, path) for package_id, path in files]


def packages_of_manifest(connection: Connection, digest: bytes, *, limit: int) -> list[str]:
    """The ids of packages that have this manifest and are not deleted, in the order they were opened."""
    rows = connection.execute(
        "SELECT package_id FROM package WHERE manifest_digest = ? AND status <> 'deleted' ORDER BY id LIMIT ?",
        (digest, limit),
    )
    return [str(package_id) for (package_id,) in rows]


def oldest_live_lease(connection: Connection, heartbeat_after: int) -> int | None:
    """When the oldest lease that has a heartbeat later than an instant was opened; None if there is none."""
    ((opened_at,),) = connection.execute("SELECT min(opened_at) FROM lease WHERE heartbeat_at > ?", (heartbeat_after,))
    return None if opened_at is None else int(opened_at)


def with_losses(connection: Connection, *, after: int, limit: int) -> list[ObjectRecord]:
    """A page of the objects that are damaged or have a damaged blob in them, after a row id."""
    rows = connection.execute(
        f"{_OBJECT} WHERE id IN ("
        "SELECT id FROM (SELECT id FROM stored_object WHERE status <> 'live' AND status = 'damaged' AND id > ?"
        "  ORDER BY id LIMIT ?) AS objects UNION "
        "SELECT object_id FROM (SELECT DISTINCT object_id FROM blob_location WHERE status <> 'live' AND object_id > ?"
        "  ORDER BY object_id LIMIT ?) AS locations) ORDER BY id LIMIT ?",
        (after, limit, after, limit, limit),
    )
    return list(map(ObjectRecord._make, rows))


def of_package(connection: Connection, package: int, manifest: bytes) -> list[ObjectRecord]:
    """Every object that has a package's manifest or any of its blobs, in whatever state, by row id."""
    rows = connection.execute(
        f"{_OBJECT} WHERE id IN (SELECT blob_location.object_id FROM package_file"
        "  JOIN blob_location ON blob_location.blob_id = package_file.blob_id WHERE package_file.package = ?"
        "  UNION SELECT id FROM stored_object WHERE blake3 = ? AND kind = 'manifest') ORDER BY id",
        (package, manifest),
    )
    return list(map(ObjectRecord._make, rows))
