"""Blobs by the thousand: which are known, which are present.

A blob is looked up by the first eight bytes of its address, as a signed integer; the whole address is compared on a
hit. Eight bytes can be made to collide with some effort, so blobs that share them are told apart by an ordinal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.digest import BlobDescriptor, Digest
from artifactstore.errors import CatalogCorruptError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from artifactstore.catalog.database import Connection, Row, SqlValue
    from artifactstore.domain.digest import BlobMeasure

BATCH = 1_000
"""Values in one IN list."""
_AT_A_LIVE_LOCATION = (
    "SELECT 1 FROM blob_location JOIN stored_object ON stored_object.id = blob_location.object_id"
    " WHERE blob_location.blob_id = blob.id AND blob_location.status = 'live' AND stored_object.status = 'live'"
)
_OF_A_BACKEND = " AND stored_object.backend = ?"
_IN_A_PACKAGE_OF = (
    " AND EXISTS (SELECT 1 FROM (SELECT package_file.package FROM package_file WHERE package_file.blob_id = blob.id"
    " ORDER BY package_file.package DESC LIMIT 64) AS newest JOIN package ON package.id = newest.package"
    " WHERE package.producer IN ({}) LIMIT 1 OFFSET 0)"
)


def address_prefix(address: bytes) -> int:
    """The first eight bytes, big-endian, as a signed 64-bit integer."""
    return int.from_bytes(address[:8], "big", signed=True)


class Owner(NamedTuple):
    """Whose files have blobs, and in how many of them each is; a blob that is added is added with that."""

    producer: int | None
    files: Mapping[bytes, int]


NOBODY = Owner(None, {})


def resolve(connection: Connection, addresses: Collection[bytes]) -> dict[bytes, int]:
    """The row id of every blob. Raises ``CatalogCorruptError`` for one that is not known."""
    return add(connection, addresses, {})[0]


def add(
    connection: Connection, addresses: Collection[bytes], measures: Mapping[bytes, BlobMeasure], owner: Owner = NOBODY
) -> tuple[dict[bytes, int], set[int]]:
    """The row id of every blob, and which of them are new: those not known yet are added from ``measures``.

    Raises ``CatalogCorruptError`` for one that is in neither.
    """
    wanted = set(addresses)
    measured = [measures[address] for address in wanted & measures.keys()]
    ids, _ = _find(connection, wanted - measures.keys())
    if unknown := wanted - measures.keys() - ids.keys():
        raise CatalogCorruptError(f"an event names blob {Digest.blake3(min(unknown))}, which the catalog does not have")
    added, new = _add(connection, measured, owner)
    return ids | added, new


def presence(connection: Connection, addresses: Sequence[bytes], *, within: str | None = None) -> dict[bytes, bool]:
    """For each blob that is known: whether it is present, at a live location in a live object, of this backend if any.

    ``within`` names the backend.
    """
    location, before = _live_location(within)
    sql = f"SELECT blake3, EXISTS ({location} LIMIT 1 OFFSET 0) FROM blob WHERE address_prefix IN ({{}})"
    rows = _by_prefix(connection, sql, addresses, before=before)
    wanted = set(addresses)
    return {blake3: bool(is_present) for blake3, is_present in rows if blake3 in wanted}


def readable(
    connection: Connection, addresses: Sequence[bytes], producers: Sequence[str] | None, *, within: str | None = None
) -> dict[bytes, BlobDescriptor]:
    """Those of these blobs that are present and in a package of one of these producers; of anyone's, if None.

    Of a blob that is in very many packages only the newest of them are looked at, so that the answer costs the same
    however often others have it. One more blob sent is harmless, one more admitted would tell of others' content.
    """
    condition = "" if producers is None else _IN_A_PACKAGE_OF.format(",".join("?" * len(producers)))
    location, of_backend = _live_location(within)
    known = "SELECT blake3, sha256, size_bytes FROM blob WHERE address_prefix IN ({})"
    sql = f"{known} AND EXISTS ({location} LIMIT 1 OFFSET 0) {condition}"
    rows = _by_prefix(connection, sql, addresses, (*of_backend, *(producers or ())))
    wanted = set(addresses)
    return {blake3: BlobDescriptor(blake3, sha256, size) for blake3, sha256, size in rows if blake3 in wanted}


def live_locations(connection: Connection, address: bytes) -> list[tuple[str, str, bytes, int]]:
    """(backend, kind of object, its digest, start) of each live location of a blob in an object not condemned."""
    rows = connection.execute(
        "SELECT stored_object.backend, stored_object.kind, stored_object.blake3, blob_location.start FROM blob"
        " JOIN blob_location ON blob_location.blob_id = blob.id AND blob_location.status = 'live'"
        " JOIN stored_object ON stored_object.id = blob_location.object_id AND stored_object.status <> 'condemned'"
        " WHERE blob.address_prefix = ? AND blob.blake3 = ?",
        (address_prefix(address), address),
    )
    return [(backend, kind, digest, start) for backend, kind, digest, start in rows]


def condemned_locations(connection: Connection, address: bytes) -> list[tuple[str, str, bytes, int]]:
    """The same of each location in a condemned object, which may be removed from its backend at any moment."""
    rows = connection.execute(
        "SELECT stored_object.backend, stored_object.kind, stored_object.blake3, blob_location.start FROM blob"
        " JOIN blob_location ON blob_location.blob_id = blob.id"
        " JOIN stored_object ON stored_object.id = blob_location.object_id AND stored_object.status = 'condemned'"
        " WHERE blob.address_prefix = ? AND blob.blake3 = ?",
        (address_prefix(address), address),
    )
    return [(backend, kind, digest, start) for backend, kind, digest, start in rows]


def _live_location(within: str | None) -> tuple[str, tuple[SqlValue, ...]]:
    """A query for the blob's live locations in live objects, and its parameters."""
    return (_AT_A_LIVE_LOCATION, ()) if within is None else (_AT_A_LIVE_LOCATION + _OF_A_BACKEND, (within,))


def _add(connection: Connection, measures: Sequence[BlobMeasure], owner: Owner) -> tuple[dict[bytes, int], set[int]]:
    """Add those blobs that are not there; the row ids of all, and those of the rows that were inserted.

    First on the guess that nobody has added one since they were looked up, which saves looking them up again.
    """
    guessed, inserted = _insert(connection, measures, {}, owner, "ON CONFLICT DO NOTHING")
    if inserted == len(measures):
        return guessed, set(guessed.values())
    ids, ordinals = _find(connection, [measure.blake3 for measure in measures])
    absent = [measure for measure in measures if measure.blake3 not in ids]
    others, _ = _insert(connection, absent, ordinals, owner)
    new = {row_id for address, row_id in ids.items() if guessed[address] == row_id}
    return ids | others, new.union(others.values())


def _insert(
    connection: Connection,
    measures: Sequence[BlobMeasure],
    ordinals: dict[int, int],
    owner: Owner,
    on_conflict: str = "",
) -> tuple[dict[bytes, int], int]:
    """Insert rows with new ids; the ids, and how many rows were inserted.

    Sorted by prefix, so that the index is written page by page, and two writers with the same blobs meet in one order.
    """
    ordered = sorted((address_prefix(measure.blake3), measure) for measure in measures)
    rows, ids = [], {}
    producer, files = owner
    for row_id, (prefix, measure) in zip(connection.reserve_ids("blob", len(ordered)), ordered, strict=True):
        ordinal = ordinals.get(prefix, 0)
        ordinals[prefix] = ordinal + 1
        ids[measure.blake3] = row_id
        rows.append((row_id, prefix, ordinal, *measure[:4], measure.chunks or None, files.get(measure[0], 0), producer))
    return ids, connection.insert(
        "blob (id, address_prefix, address_ordinal, blake3, sha256, size_bytes, crc32, chunks, files, producer)",
        rows,
        on_conflict,
    )


def _find(connection: Connection, addresses: Iterable[bytes]) -> tuple[dict[bytes, int], dict[int, int]]:
    """The row ids of those blobs that are known, and the next free ordinal of every prefix that is taken."""
    wanted = set(addresses)
    ids: dict[bytes, int] = {}
    ordinals: dict[int, int] = {}
    sql = "SELECT address_prefix, address_ordinal, blake3, id FROM blob WHERE address_prefix IN ({})"
    for prefix, ordinal, blake3, row_id in _by_prefix(connection, sql, wanted):
        ordinals[prefix] = max(ordinals.get(prefix, 0), ordinal + 1)
        if blake3 in wanted:
            ids[blake3] = row_id
    return ids, ordinals


def _by_prefix(
    connection: Connection,
    sql: str,
    addresses: Iterable[bytes],
    after: tuple[SqlValue, ...] = (),
    *,
    before: tuple[SqlValue, ...] = (),
) -> Iterator[Row]:
    """Rows by the thousand prefixes; the other parameters stand before and after them."""
    values = sorted({address_prefix(address) for address in addresses})
    for at in range(0, len(values), BATCH):
        batch = values[at : at + BATCH]
        yield from connection.execute(sql.format(",".join("?" * len(batch))), (*before, *batch, *after))
