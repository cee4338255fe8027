"""What collection asks: which objects nothing refers to, what it has condemned, who may rely on that still.

``removal`` is operational: a row says since when collection has condemned an object, and since when its bytes are being
deleted. Before they are, whoever needs the object may have it back; from then on it is waited for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog.blobs import BATCH, address_prefix
from artifactstore.catalog.records import ObjectRecord, PlacedBlob
from artifactstore.domain.instant import instant_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from artifactstore.catalog.database import Connection
    from artifactstore.domain.event import ObjectRef

_COLUMNS = ", ".join(f"here.{column}" for column in ("id", *ObjectRecord._fields[1:]))
_REFERRED_TO_ITSELF = (
    " OR here.kind = 'segment'"
    " OR EXISTS (SELECT 1 FROM received_object WHERE received_object.blake3 = here.blake3"
    "  AND received_object.kind = here.kind AND received_object.backend = here.backend LIMIT 1 OFFSET 0)"
    " OR here.kind = 'part' AND EXISTS (SELECT 1 FROM upload_part WHERE upload_part.blake3 = here.blake3"
    "  AND upload_part.backend = here.backend LIMIT 1 OFFSET 0)"
)
_MANIFEST_IS_REFERRED_TO = (
    "EXISTS (SELECT 1 FROM package"
    "  WHERE package.manifest_digest = here.blake3 AND package.status <> 'deleted' LIMIT 1 OFFSET 0)"
)
_REFERRED_TO = (
    f"CASE WHEN here.kind = 'manifest' THEN {_MANIFEST_IS_REFERRED_TO}"
    " ELSE EXISTS (SELECT 1 FROM blob_location JOIN package_file ON package_file.blob_id = blob_location.blob_id"
    f"  WHERE blob_location.object_id = here.id LIMIT 1 OFFSET 0) END{_REFERRED_TO_ITSELF}"
)
_NEEDED = (
    f"CASE WHEN here.kind = 'manifest' THEN {_MANIFEST_IS_REFERRED_TO}"
    " ELSE EXISTS (SELECT 1 FROM blob_location AS place WHERE place.object_id = here.id"
    "  AND EXISTS (SELECT 1 FROM package_file WHERE package_file.blob_id = place.blob_id LIMIT 1 OFFSET 0)"
    "  AND NOT EXISTS (SELECT 1 FROM blob_location AS other JOIN stored_object ON stored_object.id = other.object_id"
    "   WHERE other.blob_id = place.blob_id AND other.object_id <> here.id AND other.status = 'live'"
    f"   AND stored_object.status = 'live' LIMIT 1 OFFSET 0) LIMIT 1 OFFSET 0) END{_REFERRED_TO_ITSELF}"
)
_OF_KEY = "blake3 = ? AND kind = ? AND backend = ?"


class Referred(NamedTuple):
    """An object, and whether a package or one that is open refers to it; events of the log always are."""

    found: ObjectRecord
    is_referred_to: bool


class PartlyDead(NamedTuple):
    """An object that is not condemned and that not all is used of: what of it is dead, by what is counted."""

    found: ObjectRecord
    used: int
    dead_bytes: int


class RemovalRecord(NamedTuple):
    """A row of ``removal`` with its object; ``row_id`` is None if the catalog has that no more."""

    blake3: bytes
    kind: str
    backend: str
    condemned_at: int
    begun_at: int | None
    row_id: int | None
    size_bytes: int | None
    status: str | None

    @property
    def found(self) -> ObjectRecord | None:
        """The object, if it is recorded."""
        if self.row_id is None or self.size_bytes is None or self.status is None:
            return None
        return ObjectRecord(self.row_id, self.backend, self.kind, self.blake3, self.size_bytes, self.status)


def page_of_partly_dead(connection: Connection, backend: str, *, after: int, limit: int) -> list[PartlyDead]:
    """A page of a backend's objects that something of is dead, after a row id; ``referred`` is to say that of each."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, usage.used, usage.dead_bytes FROM object_usage AS usage"
        " CROSS JOIN stored_object AS here WHERE usage.backend = ? AND usage.dead_bytes > 0 AND usage.object > ?"
        " AND here.id = usage.object ORDER BY usage.object LIMIT ?",
        (backend, after, limit),
    )
    return [PartlyDead(ObjectRecord._make(row[:-2]), *row[-2:]) for row in rows]


def page_of_forgotten(connection: Connection, backend: str, *, after: int, limit: int) -> list[ObjectRecord]:
    """A page of a backend's condemned objects that are not noted as such, by row id: a replayed log brings them.

    The backend is compared as an expression, so that what is not live is looked at, and not all that the backend has.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM stored_object AS here WHERE here.status <> 'live' AND here.status = 'condemned'"
        " AND here.backend || '' = ? AND here.id > ?"
        " AND NOT EXISTS (SELECT 1 FROM removal WHERE removal.blake3 = here.blake3"
        "  AND removal.kind = here.kind AND removal.backend = here.backend LIMIT 1 OFFSET 0) ORDER BY here.id LIMIT ?",
        (backend, after, limit),
    )
    return list(map(ObjectRecord._make, rows))


def referred(connection: Connection, row_id: int) -> Referred | None:
    """An object as it is now; None if it is no more."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, {_REFERRED_TO} FROM stored_object AS here WHERE here.id = ?", (row_id,)
    )
    return next((Referred(ObjectRecord._make(row[:-1]), bool(row[-1])) for row in rows), None)


def is_needed(connection: Connection, row_id: int) -> bool:
    """Whether something refers to an object itself, or to a blob in it that is live nowhere else."""
    return any(
        needed
        for (needed,) in connection.execute(f"SELECT {_NEEDED} FROM stored_object AS here WHERE here.id = ?", (row_id,))
    )


def blobs_referred_to(connection: Connection, row_id: int) -> list[PlacedBlob]:
    """What lies in an object and a file has, by position."""
    rows = connection.execute(
        "SELECT blob_location.start, blob.size_bytes, blob.blake3, blob.sha256, blob_location.status"
        " FROM blob_location JOIN blob ON blob.id = blob_location.blob_id WHERE blob_location.object_id = ? AND EXISTS"
        " (SELECT 1 FROM package_file WHERE package_file.blob_id = blob.id LIMIT 1 OFFSET 0)"
        " ORDER BY blob_location.start",
        (row_id,),
    )
    return list(map(PlacedBlob._make, rows))


def is_known(connection: Connection, reference: ObjectRef) -> bool:
    """Whether the catalog has an object in this backend, or an open package or an upload has it."""
    key = (reference.blake3, reference.kind, reference.backend)
    recorded = connection.execute(f"SELECT 1 FROM stored_object WHERE {_OF_KEY} LIMIT 1", key)
    return bool(list(recorded)) or is_received(connection, reference)


def is_received(connection: Connection, reference: ObjectRef) -> bool:
    """Whether an open package or an upload has an object in this backend."""
    key = (reference.blake3, reference.kind, reference.backend)
    if reference.kind == "part":
        part = "SELECT 1 FROM upload_part WHERE blake3 = ? AND backend = ? LIMIT 1"
        if list(connection.execute(part, (reference.blake3, reference.backend))):
            return True
    return bool(list(connection.execute(f"SELECT 1 FROM received_object WHERE {_OF_KEY} LIMIT 1", key)))


def claim_unrecorded(connection: Connection, reference: ObjectRef) -> bool:
    """Give an object that has none its row, as condemned: until the transaction ends nobody else records it.

    False if it is recorded; whoever is recording it is waited for. What is claimed is recorded or given back.
    """
    claimed = connection.execute(
        "INSERT INTO stored_object (backend, kind, blake3, size_bytes, status) VALUES (?, ?, ?, ?, 'condemned')"
        " ON CONFLICT (blake3, kind, backend) DO NOTHING RETURNING 1",
        reference,
    )
    return bool(list(claimed))


def give_back_unrecorded(connection: Connection, reference: ObjectRef) -> None:
    """Let an object that this transaction has claimed be unrecorded again."""
    connection.execute(
        f"DELETE FROM stored_object WHERE {_OF_KEY}", (reference.blake3, reference.kind, reference.backend)
    )


# removals


def note_condemned(connection: Connection, references: Iterable[ObjectRef], now: int) -> None:
    """Collection has condemned these, now."""
    connection.insert(
        "removal (blake3, kind, backend, condemned_at)",
        [(each.blake3, each.kind, each.backend, now) for each in references],
        "ON CONFLICT (blake3, kind, backend) DO UPDATE SET condemned_at = excluded.condemned_at, begun_at = NULL",
    )


def removals(connection: Connection, backend: str, *, limit: int, condemned_before: int) -> list[RemovalRecord]:
    """Those of a backend that were condemned up to an instant, or whose deletion was begun; the latter first."""
    rows = connection.execute(
        "SELECT removal.blake3, removal.kind, removal.backend, removal.condemned_at, removal.begun_at,"
        " stored_object.id, stored_object.size_bytes, stored_object.status FROM removal LEFT JOIN stored_object"
        " ON stored_object.blake3 = removal.blake3 AND stored_object.kind = removal.kind"
        " AND stored_object.backend = removal.backend"
        " WHERE removal.backend = ? AND (removal.begun_at IS NOT NULL OR removal.condemned_at <= ?)"
        " ORDER BY removal.begun_at IS NULL, removal.condemned_at, removal.blake3 LIMIT ?",
        (backend, condemned_before, limit),
    )
    return list(map(RemovalRecord._make, rows))


def begin_removals(connection: Connection, references: Sequence[ObjectRef], now: int) -> None:
    """From now on nobody has these back."""
    connection.executemany(
        f"UPDATE removal SET begun_at = ? WHERE {_OF_KEY}",
        [(now, each.blake3, each.kind, each.backend) for each in references],
    )


def end_removals(connection: Connection, references: Iterable[ObjectRef]) -> None:
    """They are gone, or are not to be removed any more."""
    connection.executemany(
        f"DELETE FROM removal WHERE {_OF_KEY}", [(each.blake3, each.kind, each.backend) for each in references]
    )


def may_be_had_back(connection: Connection, kind: str, digest: bytes, backend: str) -> bool:
    """Whether collection has condemned an object and has not begun to delete it."""
    rows = connection.execute(f"SELECT 1 FROM removal WHERE {_OF_KEY} AND begun_at IS NULL", (digest, kind, backend))
    return bool(list(rows))


def is_noted(connection: Connection, reference: ObjectRef) -> bool:
    """Whether collection has condemned an object and has not ended that."""
    key = (reference.blake3, reference.kind, reference.backend)
    return bool(list(connection.execute(f"SELECT 1 FROM removal WHERE {_OF_KEY}", key)))


def waiting(connection: Connection, backend: str) -> tuple[int, int]:
    """How many objects of a backend are condemned by collection and not removed yet, and their bytes."""
    ((count, size_bytes),) = connection.execute(
        "SELECT count(*), coalesce(sum((SELECT size_bytes FROM stored_object"
        " WHERE stored_object.blake3 = removal.blake3 AND stored_object.kind = removal.kind"
        " AND stored_object.backend = removal.backend LIMIT 1 OFFSET 0)), 0)"
        " FROM removal WHERE removal.backend = ?",
        (backend,),
    )
    return int(count), int(size_bytes)


# who may rely on what was condemned


def leases(connection: Connection) -> list[tuple[str, str, int, int]]:
    """(id, purpose, opened, last heartbeat) of every lease, oldest first."""
    rows = connection.execute(
        "SELECT lease_id, purpose, opened_at, heartbeat_at FROM lease ORDER BY opened_at, lease_id"
    )
    return [(str(name), str(what), int(opened), int(beat)) for name, what, opened, beat in rows]


def database_time(connection: Connection) -> int:
    """The database's own clock, in microseconds."""
    ((now,),) = connection.execute("SELECT CURRENT_TIMESTAMP")  # SQLite writes it as text, in UTC
    return instant_of(now if isinstance(now, datetime) else datetime.fromisoformat(now).replace(tzinfo=UTC))


def fates(connection: Connection, addresses: Sequence[bytes]) -> list[tuple[bytes, bool, bool]]:
    """For each of these blobs that is known: its address, whether a file has it, and whether it lies anywhere."""
    wanted, found = set(addresses), list[tuple[bytes, bool, bool]]()
    prefixes = sorted({address_prefix(address) for address in addresses})
    for at in range(0, len(prefixes), BATCH):
        batch = prefixes[at : at + BATCH]
        rows = connection.execute(
            "SELECT blake3, EXISTS (SELECT 1 FROM package_file WHERE blob_id = blob.id LIMIT 1 OFFSET 0),"
            " EXISTS (SELECT 1 FROM blob_location WHERE blob_id = blob.id LIMIT 1 OFFSET 0)"
            f" FROM blob WHERE address_prefix IN ({','.join('?' * len(batch))})",
            batch,
        )
        found += [(blake3, bool(has), bool(lies)) for blake3, has, lies in rows if blake3 in wanted]
    return found
