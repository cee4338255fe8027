"""How the tables follow from the log: one function for each type of event, used live and by replay.

A projection reads and writes only projected tables, and only from the event and its actor: no clock, no storage. What
its event changes of what is counted it answers, for ``accounting`` to settle.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from artifactstore.catalog import blobs
from artifactstore.catalog.accounting import Change, producer_id
from artifactstore.catalog.provenance_projections import envelope_indexed, source_indexed
from artifactstore.domain import events, object_events
from artifactstore.domain.canonical import canonical_json
from artifactstore.domain.digest import BlobMeasure
from artifactstore.domain.event import Event, lock_order
from artifactstore.domain.package import PackageStatus, check_transition, search_terms
from artifactstore.domain.provenance_events import EnvelopeIndexed, Ingested, SourceIndexed
from artifactstore.errors import EventLogCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from artifactstore.catalog.database import Connection, SqlValue
    from artifactstore.domain.event import ObjectRef

E = TypeVar("E", bound=Event)

_PROJECTIONS: dict[type[Event], Callable[[Connection, Any, str], Change | None]] = {}


def project(connection: Connection, event: Event, actor: str) -> Change | None:
    """Bring the tables to where this event has happened; what is still to be settled under the lock of the log."""
    return _PROJECTIONS[type(event)](connection, event, actor)


def _projects(
    kind: type[E],
) -> Callable[[Callable[[Connection, E, str], Change | None]], Callable[[Connection, E, str], Change | None]]:
    def register(
        function: Callable[[Connection, E, str], Change | None],
    ) -> Callable[[Connection, E, str], Change | None]:
        _PROJECTIONS[kind] = function
        return function

    return register


def contribute(kind: type[Event], projection: Callable[[Connection, Any, str], None]) -> None:
    """How tables follow from an event that is not the core's; see ``contributions``."""
    _PROJECTIONS[kind] = projection


@_projects(events.MetadataSchemaRegistered)
def _metadata_schema_registered(connection: Connection, event: events.MetadataSchemaRegistered, actor: str) -> None:
    connection.execute(
        "INSERT INTO metadata_schema (slug, json_schema, registered_at, registered_by) VALUES (?, ?, ?, ?)",
        (event.slug, canonical_json(event.json_schema), event.registered_at, actor),
    )


@_projects(events.PackageOpened)
def _package_opened(connection: Connection, event: events.PackageOpened, actor: str) -> None:
    metadata = None if event.metadata is None else canonical_json(event.metadata)
    ((package,),) = connection.execute(
        "INSERT INTO package (package_id, producer, external_id, subject, schema_slug, metadata_json, revision,"
        " supersedes, status, opened_at, opened_by, file_count, total_bytes, stored_bytes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0) RETURNING id",
        (
            event.package_id, event.producer, event.external_id, event.subject_ref, event.schema, metadata,
            event.revision, event.supersedes, PackageStatus.OPEN, event.opened_at, actor,
        ),
    )  # fmt: skip
    if terms := search_terms(event.metadata or {}):
        connection.insert(
            "package_metadata (key, value, package, producer)",
            [(key, value, package, event.producer) for key, value in terms.items()],
        )


@_projects(events.FilesAdded)
def _files_added(connection: Connection, event: events.FilesAdded, actor: str) -> Change:  # noqa: ARG001
    package, producer = _package_of(connection, event.package_id)
    files = event.files
    chunks = dict(event.chunks)
    measures = {
        file.blake3: BlobMeasure(*file.descriptor, crc32, chunks.get(offset, b""))
        for offset, (file, crc32) in enumerate(zip(files, event.crc32s, strict=True))
        if crc32 is not None
    }
    counts = Counter([file.blake3 for file in files])
    ids, new = blobs.add(connection, counts, measures, blobs.Owner(producer, counts))
    # by digest, and a manifest after them: two writers with the same objects meet in one order, as ``lock_order`` says
    rows = {reference: _live_object(connection, reference) for reference in sorted(event.objects, key=lock_order)}
    objects = [rows[reference] for reference in event.objects]
    placements = [
        (ids[file.blake3], objects[index], start)
        for file, index, start in zip(files, event.object_indexes, event.starts, strict=True)
        if index is not None
    ]
    are_new = _place(connection, placements)
    connection.insert(
        "package_file (package, file_index, path, role, media_type, blob_id)",
        [
            (package, file_index, path, role, media_type, ids[blake3])
            for file_index, (path, role, media_type, _, blake3, _) in enumerate(files, start=event.first_index)
        ],
    )
    return Change(
        producer=producer,
        new_bytes=sum([measures[address].size_bytes for address in measures if ids[address] in new]),
        reused={
            ids[file.blake3]: (counts[file.blake3], file.size_bytes) for file in files if ids[file.blake3] not in new
        },
        touched=tuple(objects),
        **_of_placements(placements, {ids[file.blake3]: file.size_bytes for file in files}, new if are_new else set()),
    )


def _of_placements(
    placements: Sequence[tuple[int, int, int | None]], sizes: Mapping[int, int], new: set[int]
) -> dict[str, Any]:
    """Objects that new blobs lie in are used by so much more; one in which another lies now is counted anew."""
    recounted = tuple({row_id for blob, row_id, _ in placements if blob not in new})
    filled: dict[int, tuple[int, int]] = {}
    for blob, row_id, _ in placements:
        used, used_bytes = filled.get(row_id, (0, 0))
        filled[row_id] = (used + 1, used_bytes + sizes[blob])
    return {"recounted": recounted, "filled": filled}


@_projects(events.RetentionApplied)
def _retention_applied(connection: Connection, event: events.RetentionApplied, actor: str) -> None:  # noqa: ARG001
    connection.execute(
        "UPDATE package SET retention_class = ?, duration_days = ?, expires_at = ? WHERE package_id = ?",
        (event.retention_class, event.duration_days, event.expires_at, event.package_id),
    )


@_projects(events.PackageFinalized)
def _package_finalized(connection: Connection, event: events.PackageFinalized, actor: str) -> Change:  # noqa: ARG001
    _, producer = _package_of(connection, event.package_id)
    manifest = _live_object(connection, event.manifest)
    _move(
        connection,
        event.package_id,
        PackageStatus.FINALIZED,
        manifest_digest=event.manifest.blake3,
        file_count=event.file_count,
        total_bytes=event.total_bytes,
        stored_bytes=event.stored_bytes,
        finalized_at=event.finalized_at,
    )
    return Change(
        producer=producer,
        packages=1,
        files=event.file_count,
        logical_bytes=event.total_bytes,
        manifest=event.manifest.blake3,
        touched=(manifest,),
    )


@_projects(events.PackageExpired)
def _package_expired(connection: Connection, event: events.PackageExpired, actor: str) -> None:  # noqa: ARG001
    _move(connection, event.package_id, PackageStatus.EXPIRED, expired_at=event.expired_at)


@_projects(events.PackageDeleted)
def _package_deleted(connection: Connection, event: events.PackageDeleted, actor: str) -> Change:
    """Its files are taken away when they are counted."""
    package, _ = _package(connection, event.package_id)
    _move(
        connection,
        event.package_id,
        PackageStatus.DELETED,
        deleted_at=event.deleted_at,
        deleted_by=actor,
        deletion_plan=event.plan,
        deletion_rule=event.rule,
        deletion_reason=event.reason,
    )
    return Change(released=package)


@_projects(events.PackagePinned)
def _package_pinned(connection: Connection, event: events.PackagePinned, actor: str) -> None:
    _pin(connection, event.package_id, event.pinned_at, actor, event.reason)


@_projects(events.PackageUnpinned)
def _package_unpinned(connection: Connection, event: events.PackageUnpinned, actor: str) -> None:  # noqa: ARG001
    _pin(connection, event.package_id, None, None, None)


def _pin(connection: Connection, package_id: str, at: int | None, by: str | None, reason: str | None) -> None:
    package, _ = _package(connection, package_id)
    connection.execute(
        "UPDATE package SET pinned_at = ?, pinned_by = ?, pin_reason = ? WHERE id = ?", (at, by, reason, package)
    )


@_projects(events.PlanApproved)
def _plan_approved(connection: Connection, event: events.PlanApproved, actor: str) -> None:
    """It changes no table: the log alone says it."""


@_projects(events.RetentionExtended)
def _retention_extended(connection: Connection, event: events.RetentionExtended, actor: str) -> None:  # noqa: ARG001
    """What was marked as expired is not any more."""
    connection.execute(
        "UPDATE package SET expires_at = ?, expired_at = NULL,"
        " status = CASE status WHEN 'expired' THEN 'finalized' ELSE status END WHERE package_id = ?",
        (event.expires_at, event.package_id),
    )


@_projects(events.HoldPlaced)
def _hold_placed(connection: Connection, event: events.HoldPlaced, actor: str) -> None:
    package, _ = _package(connection, event.package_id)
    connection.execute(
        "INSERT INTO hold (hold_id, package, reason, placed_at, placed_by) VALUES (?, ?, ?, ?, ?)",
        (event.hold_id, package, event.reason, event.placed_at, actor),
    )


@_projects(events.HoldReleased)
def _hold_released(connection: Connection, event: events.HoldReleased, actor: str) -> None:
    connection.execute(
        "UPDATE hold SET released_at = ?, released_by = ?, release_reason = ? WHERE hold_id = ?",
        (event.released_at, actor, event.reason, event.hold_id),
    )


@_projects(object_events.BlobDamaged)
def _blob_damaged(connection: Connection, event: object_events.BlobDamaged, actor: str) -> None:  # noqa: ARG001
    ids = blobs.resolve(connection, event.blobs)
    row_id = _object_id(connection, event.object)
    connection.executemany(
        "UPDATE blob_location SET status = 'damaged' WHERE blob_id = ? AND object_id = ?",
        [(blob_id, row_id) for blob_id in ids.values()],
    )


@_projects(object_events.BlobRestored)
def _blob_restored(connection: Connection, event: object_events.BlobRestored, actor: str) -> Change:  # noqa: ARG001
    ids = blobs.resolve(connection, [blake3 for blake3, _ in event.blobs])
    row_id = _known_object(connection, event.object)
    _place(connection, [(ids[blake3], row_id, start) for blake3, start in event.blobs])
    return Change(recounted=(row_id,))


@_projects(object_events.ObjectDamaged)
def _object_damaged(connection: Connection, event: object_events.ObjectDamaged, actor: str) -> Change:  # noqa: ARG001
    return _set_object_status(connection, event.object, "damaged")


@_projects(object_events.ObjectRestored)
def _object_restored(connection: Connection, event: object_events.ObjectRestored, actor: str) -> Change:  # noqa: ARG001
    return Change(touched=(_live_object(connection, event.object),))


@_projects(object_events.ObjectCondemned)
def _object_condemned(connection: Connection, event: object_events.ObjectCondemned, actor: str) -> Change:  # noqa: ARG001
    # one that was never recorded has lain in the backend since a writer broke off
    rows = connection.execute(
        "INSERT INTO stored_object (backend, kind, blake3, size_bytes, status) VALUES (?, ?, ?, ?, 'condemned')"
        " ON CONFLICT (blake3, kind, backend) DO UPDATE SET status = 'condemned' RETURNING id",
        event.object,
    )
    return Change(touched=tuple(int(row_id) for (row_id,) in rows))


@_projects(object_events.ObjectReprieved)
def _object_reprieved(connection: Connection, event: object_events.ObjectReprieved, actor: str) -> Change:  # noqa: ARG001
    return _set_object_status(connection, event.object, "damaged")


@_projects(object_events.PackRepacked)
def _pack_repacked(connection: Connection, event: object_events.PackRepacked, actor: str) -> Change:  # noqa: ARG001
    ids = blobs.resolve(connection, [blake3 for blake3, _ in event.blobs])
    source, pack = _object_id(connection, event.source), _live_object(connection, event.object)
    connection.executemany(
        "DELETE FROM blob_location WHERE blob_id = ? AND object_id = ?",
        [(ids[blake3], source) for blake3, _ in event.blobs],
    )
    _place(connection, [(ids[blake3], pack, start) for blake3, start in event.blobs])
    return Change(recounted=(source, pack))


@_projects(object_events.ObjectCopied)
def _object_copied(connection: Connection, event: object_events.ObjectCopied, actor: str) -> Change:  # noqa: ARG001
    source = _object_id(connection, event.object._replace(backend=event.source))
    copy = _live_object(connection, event.object)
    connection.execute(
        "INSERT INTO blob_location (blob_id, object_id, start, status)"
        " SELECT blob_id, ?, start, 'live' FROM blob_location WHERE object_id = ? AND status = 'live'"
        " ON CONFLICT (blob_id, object_id) DO UPDATE SET start = excluded.start, status = 'live'",
        (copy, source),
    )
    return Change(recounted=(copy,))


@_projects(object_events.ObjectDeleted)
def _object_deleted(connection: Connection, event: object_events.ObjectDeleted, actor: str) -> Change:  # noqa: ARG001
    row_id = _object_id(connection, event.object)
    connection.execute("DELETE FROM blob_location WHERE object_id = ?", (row_id,))
    connection.execute("DELETE FROM stored_object WHERE id = ?", (row_id,))
    return Change(touched=(row_id,))


@_projects(object_events.ReadFellBack)
def _read_fell_back(connection: Connection, event: object_events.ReadFellBack, actor: str) -> None:
    """It changes no table: the log alone says it."""


@_projects(object_events.LogSealed)
def _log_sealed(connection: Connection, event: object_events.LogSealed, actor: str) -> Change:  # noqa: ARG001
    return Change(touched=(_live_object(connection, event.object),))


@_projects(events.LogRebuilt)
def _log_rebuilt(connection: Connection, event: events.LogRebuilt, actor: str) -> None:
    """It changes no table: the log alone says it."""


_projects(SourceIndexed)(source_indexed)
_projects(EnvelopeIndexed)(envelope_indexed)


@_projects(events.PackageObserved)
def _package_observed(connection: Connection, event: events.PackageObserved, actor: str) -> None:
    package, _ = _package(connection, event.package_id)
    linked = connection.execute(
        "INSERT INTO package_observation (package, envelope, observed_at, observed_by, producer)"
        " SELECT package.id, envelope.id, ?, ?, package.producer FROM package, envelope"
        " WHERE package.id = ? AND envelope.envelope_id = ? RETURNING 1",
        (event.observed_at, actor, package, event.envelope_id),
    )
    if not list(linked):
        raise EventLogCorruptError(f"an event names envelope {event.envelope_id.hex()}, which was never indexed")


@_projects(Ingested)
def _ingested(connection: Connection, event: Ingested, actor: str) -> None:
    """It changes no table: it is the signal that others did."""


@_projects(events.PluginEvent)
def _plugin_event(connection: Connection, event: events.PluginEvent, actor: str) -> None:
    """It changes no table: the log alone says it."""


def _package_of(connection: Connection, package_id: str) -> tuple[int, int]:
    """A package's row and that of its producer's counters."""
    for row_id, producer in connection.execute("SELECT id, producer FROM package WHERE package_id = ?", (package_id,)):
        return row_id, producer_id(connection, producer)
    raise EventLogCorruptError(f"an event names package {package_id}, which was never opened")


def _package(connection: Connection, package_id: str) -> tuple[int, PackageStatus]:
    for row_id, status in connection.execute("SELECT id, status FROM package WHERE package_id = ?", (package_id,)):
        return row_id, PackageStatus(status)
    raise EventLogCorruptError(f"an event names package {package_id}, which was never opened")


def _move(connection: Connection, package_id: str, target: PackageStatus, **columns: SqlValue) -> None:
    """Into another state, with what there is to say of it then."""
    row_id, current = _package(connection, package_id)
    check_transition(package_id, current, target)
    assignments = ", ".join(f"{column} = ?" for column in ("status", *columns))
    connection.execute(f"UPDATE package SET {assignments} WHERE id = ?", (target, *columns.values(), row_id))


def _live_object(connection: Connection, reference: ObjectRef) -> int:
    """The object's row, made if it is new, live in any case: its bytes have just been stored or seen."""
    rows = connection.execute(
        "INSERT INTO stored_object (backend, kind, blake3, size_bytes, status) VALUES (?, ?, ?, ?, 'live')"
        " ON CONFLICT (blake3, kind, backend) DO UPDATE SET status = 'live' RETURNING id",
        reference,
    )
    ((row_id,),) = list(rows)
    return int(row_id)


def _known_object(connection: Connection, reference: ObjectRef) -> int:
    """The object's row, made live if it is new, else as it is; locked in any case, so that the log has the order."""
    connection.execute(
        "INSERT INTO stored_object (backend, kind, blake3, size_bytes, status) VALUES (?, ?, ?, ?, 'live')"
        " ON CONFLICT (blake3, kind, backend) DO UPDATE SET status = stored_object.status",
        reference,
    )
    return _object_id(connection, reference)


def _object_id(connection: Connection, reference: ObjectRef) -> int:
    for (row_id,) in connection.execute(
        "SELECT id FROM stored_object WHERE backend = ? AND kind = ? AND blake3 = ?", reference[:3]
    ):
        return int(row_id)
    raise EventLogCorruptError(f"an event names the {reference.kind} {reference.blake3.hex()}, which was never stored")


def _set_object_status(connection: Connection, reference: ObjectRef, status: str) -> Change:
    row_id = _object_id(connection, reference)
    connection.execute("UPDATE stored_object SET status = ? WHERE id = ?", (status, row_id))
    return Change(touched=(row_id,))


def _place(connection: Connection, placements: list[tuple[int, int, int | None]]) -> bool:
    """Whether all of these locations are new."""
    placements.sort()
    rows = [(blob_id, object_id, start, "live") for blob_id, object_id, start in placements]
    into = "blob_location (blob_id, object_id, start, status)"
    if connection.insert(into, rows, "ON CONFLICT (blob_id, object_id) DO NOTHING") == len(rows):
        return True
    connection.insert(
        into, rows, "ON CONFLICT (blob_id, object_id) DO UPDATE SET start = excluded.start, status = 'live'"
    )
    return False
