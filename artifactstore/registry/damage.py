"""Damage in the catalog: what reading an object back has shown becomes events, and nothing that is recorded already."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.events import MAX_FILES_PER_EVENT
from artifactstore.domain.object_events import BlobDamaged, BlobRestored, ObjectDamaged, ObjectRestored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.read_back import Findings
    from artifactstore.registry.registry import Registry

T = TypeVar("T")


def record_findings(registry: Registry, found: ObjectRecord, findings: Findings) -> None:
    """Events for what is newly bad, and for what was bad and is good; judged again in the transaction."""
    with registry.catalog.snapshot() as queries:
        if not _changes(queries, found, findings):
            return
    with registry.transaction() as tx:
        tx.lock_object(found.row_id)
        tx.record(*_changes(tx, found, findings))


def recorded_now(queries: Queries, found: ObjectRecord) -> ObjectRecord | None:
    """The object as it is recorded by now; None if it has been removed from its backend, or is about to be."""
    places = queries.objects_of_digest(found.kind, found.blake3)
    return next((place for place in places if place.row_id == found.row_id and place.status != "condemned"), None)


def _changes(queries: Queries, found: ObjectRecord, findings: Findings) -> list[Event]:
    """What the findings change of what is recorded now."""
    reference = ObjectRef(found.backend, found.kind, found.blake3, found.size_bytes)
    now = recorded_now(queries, found)
    if now is None:
        return []
    status = now.status
    if findings.finding is None:
        restored = [(blob.blake3, blob.start) for blob in queries.damaged_in_object(found.row_id)]
        damaged: list[bytes] = []
        objects: list[Event] = [ObjectRestored(object=reference)] if status == "damaged" else []
    else:
        bad = {each.blob.blake3 for each in findings.bad}
        blobs = list(queries.blobs_in_object(found.row_id))
        restored = [(blob.blake3, blob.start) for blob in blobs if blob.status != "live" and blob.blake3 not in bad]
        damaged = [blob.blake3 for blob in blobs if blob.status == "live" and blob.blake3 in bad]
        objects = [ObjectDamaged(object=reference, finding=findings.finding)] if status == "live" else []
    return [
        *(BlobRestored(object=reference, blobs=tuple(part)) for part in _parts(restored)),
        *(BlobDamaged(object=reference, blobs=tuple(part), finding=findings.finding or "") for part in _parts(damaged)),
        *objects,
    ]


def _parts(items: list[T]) -> Iterator[list[T]]:
    for at in range(0, len(items), MAX_FILES_PER_EVENT):
        yield items[at : at + MAX_FILES_PER_EVENT]
