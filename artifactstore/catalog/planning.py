"""What a retention plan is made of, read a page at a time: packages that are expired, or would be but for a hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.catalog.records import PackageRecord
from artifactstore.domain import events, object_events
from artifactstore.domain.event import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.database import Connection

_PACKAGE = ", ".join(f"package.{column}" for column in ("id", *PackageRecord._fields[1:]))
_RESTS_ON = (
    events.PackageExpired.type,
    events.PackageDeleted.type,
    events.PackagePinned.type,
    events.PackageUnpinned.type,
    events.RetentionExtended.type,
    events.HoldPlaced.type,
    events.HoldReleased.type,
    object_events.ObjectCopied.type,
    object_events.ObjectCondemned.type,
    object_events.ObjectReprieved.type,
    object_events.ObjectDeleted.type,
    object_events.PackRepacked.type,
)


def rests_on(connection: Connection, plan_schema: str) -> tuple[int, int]:
    """The newest event that a plan may follow from, and when it was: (0, 0) if there is none.

    That plans are made changes no plan, so packages with their schema do not count.
    """
    newest = [
        row
        for name in _RESTS_ON
        for row in connection.execute(
            "SELECT seq, at FROM event WHERE type = ? ORDER BY type DESC, seq DESC LIMIT 1", (name,)
        )
    ]
    newest += connection.execute(
        "SELECT seq, at FROM event WHERE type = ? AND NOT EXISTS (SELECT 1 FROM package"
        " WHERE package.package_id = event.subject AND package.schema_slug = ? LIMIT 1 OFFSET 0)"
        " ORDER BY type DESC, seq DESC LIMIT 1",
        (events.PackageFinalized.type, plan_schema),
    )
    return max(((int(seq), int(at)) for seq, at in newest), default=(0, 0))


def expired(connection: Connection, *, after: str, limit: int) -> list[PackageRecord]:
    """A page of expired packages by their public ids, after one."""
    rows = connection.execute(
        f"SELECT {_PACKAGE} FROM package WHERE status = 'expired' AND package_id > ? ORDER BY package_id LIMIT ?",
        (after, limit),
    )
    return list(map(PackageRecord._make, rows))


def due_and_held(connection: Connection, now: int, *, after: int, limit: int) -> list[PackageRecord]:
    """Of a page of packages with a hold in force, by row id after one: those that are finalized and due."""
    rows = connection.execute(
        f"SELECT {_PACKAGE} FROM (SELECT DISTINCT package FROM hold WHERE released_at IS NULL AND package > ?"
        " ORDER BY package LIMIT ?) AS held JOIN package ON package.id = held.package"
        " WHERE package.status = 'finalized' AND package.expires_at <= ?",
        (after, limit, now),
    )
    return list(map(PackageRecord._make, rows))


def last_held(connection: Connection, *, after: int, limit: int) -> int | None:
    """Where such a page ends: the last row id in it; None for an empty one."""
    ((last,),) = connection.execute(
        "SELECT max(package) FROM (SELECT DISTINCT package FROM hold WHERE released_at IS NULL AND package > ?"
        " ORDER BY package LIMIT ?) AS held",
        (after, limit),
    )
    return None if last is None else int(last)


def newer_about_subject(connection: Connection, package: PackageRecord, *, limit: int) -> int:
    """How many packages of the same producer about the same subject came later and are not deleted; counts so far."""
    ((count,),) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM package WHERE producer = ? AND subject = ? AND id > ?"
        " AND status IN ('finalized', 'expired') ORDER BY id DESC LIMIT ?) AS newer",
        (package.producer, package.subject, package.row_id, limit),
    )
    return int(count)


def holds_in_force(connection: Connection, package: int) -> list[str]:
    """The ids of a package's holds that are in force, oldest first."""
    rows = connection.execute(
        "SELECT hold_id FROM hold WHERE package = ? AND released_at IS NULL ORDER BY id", (package,)
    )
    return [str(hold_id) for (hold_id,) in rows]


def blobs_of(connection: Connection, package: int) -> Iterator[int]:
    """The row id of the blob of every file of a package; more than once if several files have it."""
    rows = connection.stream("SELECT blob_id FROM package_file WHERE package = ? ORDER BY file_index", (package,))
    return (int(blob) for (blob,) in rows)


def objects_of(connection: Connection, package: PackageRecord) -> list[ObjectRef]:
    """What holds a package's manifest or any of its blobs, in every backend, in a fixed order."""
    rows = connection.execute(
        "SELECT backend, kind, blake3, size_bytes FROM stored_object WHERE id IN"
        " (SELECT blob_location.object_id FROM package_file"
        "  JOIN blob_location ON blob_location.blob_id = package_file.blob_id WHERE package_file.package = ?"
        "  UNION SELECT id FROM stored_object WHERE blake3 = ? AND kind = 'manifest')"
        " ORDER BY kind, blake3, backend",
        (package.row_id, package.manifest_digest),
    )
    return list(map(ObjectRef._make, rows))
