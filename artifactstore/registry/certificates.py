"""Certificates of destruction: what of a deleted package is gone, and the events that prove it.

A certificate is canonical CBOR and says nothing that the event log does not: whoever has the log recomputes its chain
and finds the events at the numbers that are named. There is none before collection has deleted the last byte. What
other packages have too was not destroyed, and is counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import collecting
from artifactstore.catalog.sharing import packages_with_manifest
from artifactstore.domain.canonical import encode
from artifactstore.domain.events import FilesAdded, PackageDeleted
from artifactstore.domain.object_events import ObjectDeleted
from artifactstore.domain.package import PackageStatus
from artifactstore.errors import CatalogCorruptError, NotDestroyedError, PackageStateError, Problem
from artifactstore.registry.packages import require_package
from artifactstore.registry.removing import reference_to
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import PackageRecord
    from artifactstore.domain.event import ObjectRef
    from artifactstore.registry.registry import Registry

VERSION = 1
_NAMED = 20
_EVENTS_AT_ONCE = 16
"""Payloads that are in memory together: each may name 10,000 files."""


class _Deletion(NamedTuple):
    record: EventRecord
    event: PackageDeleted


@dataclass(slots=True)
class _Fate:
    """What became of a package's bytes."""

    destroyed: dict[bytes, int] = field(default_factory=dict)
    """Blobs by address, with their sizes."""
    shared: dict[bytes, int] = field(default_factory=dict)
    """Those that other packages have."""
    remaining: dict[bytes, int] = field(default_factory=dict)


def certificate(registry: Registry, package_id: str) -> bytes:
    """A deleted package's certificate of destruction.

    Raises ``PackageStateError`` for a package that is not deleted, ``NotDestroyedError`` naming what remains.
    """
    with registry.catalog.snapshot() as queries:
        package = require_package(queries, package_id)
        if package.status != PackageStatus.DELETED:
            raise PackageStateError(f"package {package_id} is {package.status}, not deleted")
        deletion = _deletion_of(queries, package)
        fate = _fate_of_blobs(queries, package)
        gone, remaining = _fate_of_objects(queries, deletion, fate)
        remaining += _copies_of_manifest(queries, package, but=remaining)
        if remaining or fate.remaining:
            raise _not_destroyed(package_id, fate, remaining)
        return encode(_document(queries, package, deletion, fate, gone))


def _deletion_of(queries: Queries, package: PackageRecord) -> _Deletion:
    for record in _events_of(queries, package.package_id):
        if record.type == PackageDeleted.type:
            return _Deletion(record, PackageDeleted.from_payload(record.payload))
    raise CatalogCorruptError(f"package {package.package_id} is deleted, and no event says so")


def _events_of(queries: Queries, subject: str, *, after: int = 0) -> Iterator[EventRecord]:
    while page := queries.events(after=after, limit=_EVENTS_AT_ONCE, subject=subject):
        yield from page
        after = page[-1].seq


def _fate_of_blobs(queries: Queries, package: PackageRecord) -> _Fate:
    fate = _Fate()
    for record in _events_of(queries, package.package_id):
        if record.type != FilesAdded.type:
            continue
        sizes = {file.blake3: file.size_bytes for file in FilesAdded.from_payload(record.payload).files}
        for blake3, is_referred_to, is_stored in collecting.fates(queries.connection, list(sizes)):
            kind = fate.shared if is_referred_to else fate.remaining if is_stored else fate.destroyed
            kind[blake3] = sizes[blake3]
    return fate


def _fate_of_objects(
    queries: Queries, deletion: _Deletion, fate: _Fate
) -> tuple[list[tuple[ObjectRef, EventRecord]], list[ObjectRef]]:
    """Objects that held the package's bytes and are gone, each with the event that says so; and those that should be.

    One that is there still holds what others have, unless it is its manifest and nobody else has that.
    """
    gone: list[tuple[ObjectRef, EventRecord]] = []
    remaining: list[ObjectRef] = []
    for reference in deletion.event.objects:
        ended = _end_of(queries, reference, after=deletion.record.seq)
        if ended is not None:
            gone.append((reference, ended))
        elif reference.kind == ObjectKind.MANIFEST:
            if not packages_with_manifest(queries.connection, reference.blake3, limit=1):
                remaining.append(reference)
        elif not fate.shared:
            remaining.append(reference)
    return gone, remaining


def _copies_of_manifest(queries: Queries, package: PackageRecord, *, but: list[ObjectRef]) -> list[ObjectRef]:
    """Where else its manifest lies, copied there since it was deleted, if nobody else has it."""
    digest = package.manifest_digest or b""
    if packages_with_manifest(queries.connection, digest, limit=1):
        return []
    places = map(reference_to, queries.objects_of_digest(ObjectKind.MANIFEST, digest))
    return [place for place in places if place not in but]


def _end_of(queries: Queries, reference: ObjectRef, *, after: int) -> EventRecord | None:
    for record in _events_of(queries, f"blake3:{reference.blake3.hex()}", after=after):
        if record.type == ObjectDeleted.type and ObjectDeleted.from_payload(record.payload).object == reference:
            return record
    return None


def _not_destroyed(package_id: str, fate: _Fate, remaining: list[ObjectRef]) -> NotDestroyedError:
    blobs = [Problem(f"blake3:{blake3.hex()}", f"{size} bytes are stored") for blake3, size in fate.remaining.items()]
    objects = [
        Problem(str(ObjectKey(ObjectKind(each.kind), each.blake3)), f"is in backend {each.backend}")
        for each in remaining
    ]
    left = sum(fate.remaining.values())
    return NotDestroyedError(
        f"{len(fate.remaining)} blob(s) of package {package_id} with {left} bytes, and {len(remaining)} object(s), are"
        " not destroyed yet",
        problems=tuple((objects + blobs)[:_NAMED]),
    )


def _document(
    queries: Queries,
    package: PackageRecord,
    deletion: _Deletion,
    fate: _Fate,
    gone: list[tuple[ObjectRef, EventRecord]],
) -> dict[str, object]:
    last = max((record for _, record in gone), key=lambda record: record.seq, default=deletion.record)
    return {
        "certificate": VERSION,
        "package_id": package.package_id,
        "producer": package.producer,
        "manifest_digest": package.manifest_digest,
        "plan_digest": deletion.event.plan,
        "rule": deletion.event.rule,
        "reason": deletion.event.reason,
        "deleted_at": deletion.event.deleted_at,
        "deleted_by": deletion.record.actor,
        "destroyed_at": last.at,
        "blobs": [[blake3, size] for blake3, size in sorted(fate.destroyed.items())],
        "objects": [[*reference, record.seq] for reference, record in sorted(gone, key=lambda each: each[0])],
        "shared": {"blobs": len(fate.shared), "bytes": sum(fate.shared.values())},
        "log": {
            "log_id": queries.log_id(),
            "first_seq": deletion.record.seq,
            "last_seq": last.seq,
            "chain_before": queries.chain_at(deletion.record.seq - 1),
            "chain_first": deletion.record.chain,
            "chain_last": last.chain,
        },
    }
