"""Finalize: an open package whose files have all arrived is recorded, by the same transaction as an ingest.

Asked again, it answers the same receipt. Two that finalize one package at once both prepare, one records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.catalog import pushes
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.instant import Instant
from artifactstore.domain.manifest import encode_files, manifest_digest
from artifactstore.domain.paths import check_paths
from artifactstore.errors import ConcurrentUpdateError, PackageIncompleteError, Problem
from artifactstore.failpoints import failpoint
from artifactstore.registry.ingest import Opened, record, record_beside
from artifactstore.registry.open_packages import (
    OPEN_FOR,
    concluded_receipt,
    declared_files,
    delete_parts,
    draft_of,
    missing_blobs,
    receipt_text,
    require_open_or_concluded,
)
from artifactstore.registry.placing import placed
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.reading import manifest_of
from artifactstore.registry.storing import Placement, Stored
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.pushes import OpenPackageRecord, ReceivedBlob
    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.manifest import FileEntry, Manifest
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.registry.ingest import Beside
    from artifactstore.registry.registry import Registry

_ATTEMPTS = 3
_NAMED_MISSING = 200


def finalize(
    registry: Registry,
    package_id: str,
    *,
    readable_producers: Sequence[str] | None,
    beside: Beside | None = None,
) -> PackageReceipt:
    """Record an open package; ``beside`` in the same transaction, also if the package has been recorded before.

    Raises ``PackageIncompleteError`` naming declared files that have neither arrived nor are in a package of one of
    ``readable_producers``, and what ``ingest`` raises.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _finalize(registry, package_id, readable_producers, beside)
        except ConcurrentUpdateError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _finalize(
    registry: Registry, package_id: str, readable_producers: Sequence[str] | None, beside: Beside | None
) -> PackageReceipt:
    with registry.catalog.snapshot() as queries:
        opened = require_open_or_concluded(queries, package_id)
        if receipt := concluded_receipt(opened):
            return record_beside(registry, receipt, beside)
    registry = placed(registry.putting_to(opened.backend))
    with registry.catalog.snapshot() as queries:
        arrived = _gather(queries, opened, readable_producers, within=registry.presence_within)
    draft, as_revision = draft_of(opened)
    begun = Opened(package_id, Instant(opened.opened_at))
    manifest = manifest_of(draft, arrived.files)
    stored = _store_manifest(registry, manifest, arrived)
    failpoint("finalize.before-transaction")
    with registry.transaction() as tx:
        if receipt := concluded_receipt(require_open_or_concluded(tx, package_id)):
            if beside is not None:
                beside(tx, receipt)
            return receipt
        _require_unchanged(tx, package_id, arrived)
        tx.rely_on_puts([stored.manifest_object], since=arrived.since)
        receipt = record(tx, registry, draft, stored, as_revision=as_revision, opened=begun)
        if beside is not None:
            beside(tx, receipt)
        left = pushes.end_uploads(tx.connection, package_id)
        expires_at = registry.clock() + OPEN_FOR
        pushes.conclude(tx.connection, package_id, receipt_text(receipt), expires_at=expires_at)
    failpoint("finalize.before-answer")
    delete_parts(registry, left)
    return receipt


def _require_unchanged(queries: Queries, package_id: str, arrived: _Arrived) -> None:
    """What was acknowledged meanwhile must be in the package too. ``ConcurrentUpdateError`` says: gather anew."""
    if not arrived.are_declared:
        count = pushes.count_received_files(queries.connection, package_id)
        if count != len(arrived.files):
            raise ConcurrentUpdateError(f"a file has arrived for package {package_id} while it was being finalized")


class _Arrived(NamedTuple):
    """Everything a package consists of, and where its new bytes are."""

    files: tuple[FileEntry, ...]
    are_declared: bool
    objects: list[tuple[ObjectRef, list[ReceivedBlob]]]
    relied: set[bytes]
    """Blobs that were not sent because they are present."""
    since: int
    """The log's end when that was looked up."""


def _gather(
    queries: Queries, opened: OpenPackageRecord, readable_producers: Sequence[str] | None, *, within: str | None
) -> _Arrived:
    package_id = opened.package_id
    declared = files = declared_files(queries, package_id)
    if files is None:
        files = tuple(pushes.received_files(queries.connection, package_id))
        check_paths([file.path for file in files])
    objects = pushes.received_objects(queries.connection, package_id)
    sent = {blob.measure.blake3 for _, blobs in objects for blob in blobs}
    missing = set(missing_blobs(queries, files, sent, readable_producers, within=within))
    if missing:
        absent = [file.path for file in files if file.blake3 in missing]
        raise PackageIncompleteError(
            f"{len(absent)} declared file(s) have not arrived",
            problems=tuple(Problem(path, "has not arrived") for path in absent[:_NAMED_MISSING]),
        )
    wanted = {file.blake3 for file in files}
    return _Arrived(files, declared is not None, _used(objects, wanted), wanted - sent, queries.latest_seq())


def _used(
    objects: list[tuple[ObjectRef, list[ReceivedBlob]]], wanted: set[bytes]
) -> list[tuple[ObjectRef, list[ReceivedBlob]]]:
    """Each wanted blob in one object only; objects with none of them are left to collection."""
    used, left = [], set(wanted)
    for reference, blobs in objects:
        here = [blob for blob in blobs if blob.measure.blake3 in left]
        left -= {blob.measure.blake3 for blob in here}
        if here:
            used.append((reference, here))
    return used


def _store_manifest(registry: Registry, manifest: Manifest, arrived: _Arrived) -> Stored:
    """The package as ``storing.store`` would have left it. The manifest is written whether or not it is known."""
    encoded_files = encode_files(manifest.files)
    encoded = manifest.encode(encoded_files)
    info = ObjectInfo(ObjectKey(ObjectKind.MANIFEST, manifest_digest(encoded)), len(encoded))
    with registry.store.stage(blake3()) as stage:
        stage.write(encoded)
        publish_and_close(stage, way_to_publish(registry, stage, info.key), info)
    blobs = [(index, blob) for index, (_, here) in enumerate(arrived.objects) for blob in here]
    return Stored(
        manifest=manifest,
        encoded_files=encoded_files,
        manifest_object=ObjectRef(registry.default_backend, info.key.kind, info.key.digest, info.size_bytes),
        manifest_written=True,
        objects=[reference for reference, _ in arrived.objects],
        placements={blob.measure.blake3: Placement(index, blob.start) for index, blob in blobs},
        new_blobs={blob.measure.blake3: blob.measure for _, blob in blobs},
        stored_bytes=sum(reference.size_bytes for reference, _ in arrived.objects),
        relied=arrived.relied,
        relies_since=arrived.since,
    )
