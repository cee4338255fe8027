"""What servers share about backends: operational rows, one for each backend that something is to be said of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import usage
from artifactstore.catalog.records import ObjectRecord, PlacedBlob

if TYPE_CHECKING:
    from collections.abc import Collection

    from artifactstore.catalog.database import Connection

_COLUMNS = ", ".join(f"here.{column}" for column in ("id", *ObjectRecord._fields[1:]))
_HAS_ALL_OF_IT = (
    "there.id IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM blob_location AS mine WHERE mine.object_id = here.id AND mine.status = 'live' AND NOT EXISTS"
    "  (SELECT 1 FROM blob_location AS theirs WHERE theirs.blob_id = mine.blob_id AND theirs.object_id = there.id"
    "   AND theirs.status = 'live'))"
)
_TWIN = (
    "LEFT JOIN stored_object AS there ON there.blake3 = here.blake3 AND there.kind = here.kind"
    " AND there.backend = ? AND there.status = 'live'"
)
_AT_A_LIVE_LOCATION = (
    "SELECT 1 FROM blob_location AS other JOIN stored_object ON stored_object.id = other.object_id"
    " WHERE other.blob_id = blob_location.blob_id AND other.status = 'live' AND stored_object.status = 'live'"
)


class Twin(NamedTuple):
    """An object of one backend, and whether another has it too: live, with every blob that is live in the first."""

    found: ObjectRecord
    is_there: bool


class Writer(NamedTuple):
    """Someone who may be writing to a backend: a lease, or an open package."""

    name: str
    """The id of either."""
    what: str
    owner: str
    since: int
    has_bytes_there: bool
    """Bytes that were sent for the package are in the backend that was asked about."""


def taking_writes(connection: Connection, name: str) -> str:
    """The backend that takes the writes of this one: itself, unless it is being emptied."""
    rows = connection.execute("SELECT name, successor FROM backend_state WHERE successor IS NOT NULL")
    successors: dict[str, str] = dict(iter(rows))
    while name in successors:
        name = successors.pop(name)
    return name


def fell_back_before(connection: Connection, name: str, instant: int) -> bool:
    """Whether reads were last said to fall back from a backend at or before an instant, or never."""
    rows = connection.execute("SELECT 1 FROM backend_state WHERE name = ? AND fell_back_at > ?", (name, instant))
    return not list(rows)


def note_fall_back(connection: Connection, name: str, *, now: int, before: int) -> bool:
    """Note that reads fall back from a backend now; whether the last note is from ``before`` or older, else nothing is.

    Of several that note it at once one is told so.
    """
    rows = connection.execute(
        "INSERT INTO backend_state (name, fell_back_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE"
        " SET fell_back_at = excluded.fell_back_at"
        " WHERE backend_state.fell_back_at IS NULL OR backend_state.fell_back_at <= ? RETURNING 1",
        (name, now, before),
    )
    return bool(list(rows))


# who takes whose writes


def succession(connection: Connection, name: str) -> tuple[str, int] | None:
    """The backend that takes the writes of this one, and since when; None if it takes them itself."""
    rows = connection.execute(
        "SELECT successor, succeeded_at FROM backend_state WHERE name = ? AND successor IS NOT NULL", (name,)
    )
    return next(((successor, int(at)) for successor, at in rows), None)


def succeed(connection: Connection, name: str, successor: str, now: int) -> None:
    """From now on another backend takes the writes of this one, and the other takes its own."""
    reclaim(connection, successor)
    connection.execute(
        "INSERT INTO backend_state (name, successor, succeeded_at) VALUES (?, ?, ?) ON CONFLICT (name)"
        " DO UPDATE SET successor = excluded.successor, succeeded_at = excluded.succeeded_at",
        (name, successor, now),
    )


def reclaim(connection: Connection, name: str) -> None:
    """From now on this backend takes its writes itself."""
    connection.execute("UPDATE backend_state SET successor = NULL, succeeded_at = NULL WHERE name = ?", (name,))


def recorded(connection: Connection) -> list[str]:
    """Every backend that objects are recorded in, or that takes the writes of one: by leaps over the index."""
    names = {str(name) for (name,) in connection.execute("SELECT successor FROM backend_state") if name is not None}
    latest = ""
    while True:
        sql = "SELECT backend FROM stored_object WHERE backend > ? ORDER BY backend LIMIT 1"
        rows = connection.execute(sql, (latest,))
        if (latest := next((str(name) for (name,) in rows), "")) == "":
            return sorted(names)
        names.add(latest)


def writers(connection: Connection, name: str) -> list[Writer]:
    """Every lease, and every open package with whether bytes that were sent for it are in this backend; by age."""
    leases = connection.execute("SELECT lease_id, purpose, owner, opened_at FROM lease ORDER BY opened_at")
    pushes = connection.execute(
        "SELECT package_id, opened_by, opened_at,"
        " EXISTS (SELECT 1 FROM received_object WHERE received_object.package_id = open_package.package_id"
        "  AND received_object.backend = ?)"
        " OR EXISTS (SELECT 1 FROM upload JOIN upload_part ON upload_part.upload_id = upload.upload_id"
        "  WHERE upload.package_id = open_package.package_id AND upload_part.backend = ?)"
        " FROM open_package WHERE receipt IS NULL ORDER BY opened_at",
        (name, name),
    )
    return [
        *(Writer(lease_id, purpose, owner, since, False) for lease_id, purpose, owner, since in leases),
        *(Writer(package_id, "open package", owner, since, bool(there)) for package_id, owner, since, there in pushes),
    ]


def end_dead_leases(connection: Connection, names: Collection[str], heartbeat_before: int) -> None:
    """End those of these leases that had no heartbeat since an instant. Who lives after all fails and begins anew."""
    connection.executemany(
        "DELETE FROM lease WHERE lease_id = ? AND heartbeat_at < ?", [(name, heartbeat_before) for name in names]
    )


def leases_for(connection: Connection, purpose: str) -> list[tuple[str, str, int]]:
    """Id, purpose and last heartbeat of every lease whose purpose begins with this word."""
    rows = connection.execute("SELECT lease_id, purpose, heartbeat_at FROM lease ORDER BY opened_at")
    return [(name, what, int(at)) for name, what, at in rows if what.partition(" ")[0] == purpose]


# what lies in a backend, and where else


def twins(connection: Connection, backend: str, other: str, *, after: int, limit: int) -> list[Twin]:
    """A page of a backend's objects, after a row id, each with whether another backend has it too."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, {_HAS_ALL_OF_IT} FROM stored_object AS here {_TWIN}"
        " WHERE here.backend = ? AND here.id > ? ORDER BY here.id LIMIT ?",
        (other, backend, after, limit),
    )
    return [Twin(ObjectRecord._make(row[:-1]), bool(row[-1])) for row in rows]


def twin(connection: Connection, row_id: int, other: str) -> Twin | None:
    """An object by its row id, as it is now, with whether another backend has it too; None if it is no more."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, {_HAS_ALL_OF_IT} FROM stored_object AS here {_TWIN} WHERE here.id = ?", (other, row_id)
    )
    return next((Twin(ObjectRecord._make(row[:-1]), bool(row[-1])) for row in rows), None)


def twins_of_package(connection: Connection, package: int, manifest: bytes, backend: str, other: str) -> list[Twin]:
    """The objects of a backend that hold a package's manifest or any of its blobs, by row id."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, {_HAS_ALL_OF_IT} FROM stored_object AS here {_TWIN} WHERE here.id IN"
        " (SELECT blob_location.object_id FROM package_file"
        "  JOIN blob_location ON blob_location.blob_id = package_file.blob_id WHERE package_file.package = ?"
        "  UNION SELECT id FROM stored_object WHERE blake3 = ? AND kind = 'manifest')"
        " AND here.backend = ? ORDER BY here.id",
        (other, package, manifest, backend),
    )
    return [Twin(ObjectRecord._make(row[:-1]), bool(row[-1])) for row in rows]


def blobs_not_in(connection: Connection, row_id: int, backend: str) -> list[PlacedBlob]:
    """What lies in an object and is at no live location in a live object of a backend, by position."""
    return _blobs_absent(connection, row_id, "stored_object.backend = ?", backend)


def blobs_only_in(connection: Connection, row_id: int, backend: str) -> list[PlacedBlob]:
    """What lies in an object and is at no live location in a live object outside a backend, by position."""
    return _blobs_absent(connection, row_id, "stored_object.backend <> ?", backend)


def content(connection: Connection, backend: str) -> tuple[int, int]:
    """How many objects a backend has, and their bytes; whatever their state."""
    found = usage.of_backend(connection, backend)
    return found.objects, found.size_bytes


def condemned(connection: Connection, backend: str, *, after: int, limit: int) -> list[ObjectRecord]:
    """A page of the objects of a backend that are condemned, after a row id."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM stored_object AS here WHERE here.status <> 'live' AND here.status = 'condemned'"
        " AND here.backend || '' = ? AND here.id > ? ORDER BY here.id LIMIT ?",  # few are: not by the backend's index
        (backend, after, limit),
    )
    return list(map(ObjectRecord._make, rows))


def _blobs_absent(connection: Connection, row_id: int, where: str, backend: str) -> list[PlacedBlob]:
    rows = connection.execute(
        "SELECT blob_location.start, blob.size_bytes, blob.blake3, blob.sha256, blob_location.status"
        " FROM blob_location JOIN blob ON blob.id = blob_location.blob_id"
        f" WHERE blob_location.object_id = ? AND NOT EXISTS ({_AT_A_LIVE_LOCATION} AND {where})"
        " ORDER BY blob_location.start",
        (row_id, backend),
    )
    return list(map(PlacedBlob._make, rows))
