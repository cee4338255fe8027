"""Ingest: a draft becomes one immutable package, or is answered with the package it already is.

Bytes first, record last. ``store`` makes the bytes durable under a lease; one transaction records the events. Two
processes that ingest one run at once both store, one records, the other answers that package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from artifactstore.domain.digest import Digest
from artifactstore.domain.events import (
    MAX_FILES_PER_EVENT,
    FilesAdded,
    PackageFinalized,
    PackageOpened,
    RetentionApplied,
)
from artifactstore.domain.manifest import manifest_digest
from artifactstore.domain.metadata_schema import check_metadata
from artifactstore.domain.object_events import BlobRestored, ObjectRestored
from artifactstore.domain.package import PackageReceipt, PackageStatus
from artifactstore.domain.retention import expiry
from artifactstore.errors import (
    CatalogUnavailableError,
    ConcurrentUpdateError,
    ObjectNotFoundError,
    PackageDeletedError,
    PackageExpiredError,
    StorageUnavailableError,
)
from artifactstore.failpoints import failpoint
from artifactstore.registry.differing import run_changed
from artifactstore.registry.gc_pause import gc_paused
from artifactstore.registry.lease import Lease
from artifactstore.registry.metadata_schemas import record_schema, schema_for
from artifactstore.registry.other_logs import require_no_other_log
from artifactstore.registry.placing import placed_by
from artifactstore.registry.probing import require_usable
from artifactstore.registry.progress import SILENT
from artifactstore.registry.quotas import require_room
from artifactstore.registry.reading import describe, settled
from artifactstore.registry.storing import Stored, store
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord, PackageRecord
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.event import Event
    from artifactstore.domain.instant import Instant
    from artifactstore.domain.manifest import FileEntry, Manifest
    from artifactstore.domain.package import PackageDraft
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

    Beside = Callable[[Transaction, PackageReceipt], object]

T = TypeVar("T")

_ATTEMPTS = 3
_NOWHERE = (None, None)


@dataclass(frozen=True, slots=True)
class IngestRequest:
    """A draft that is to become a package; ``ingest`` says what stands with it."""

    draft: PackageDraft
    as_revision: bool = False
    schema: dict[str, JsonValue] | None = None
    beside: Beside | None = None


class Opened(NamedTuple):
    """A package that is to be recorded: its id, and when it was begun."""

    package_id: str
    at: Instant


def ingest(
    registry: Registry,
    draft: PackageDraft,
    *,
    as_revision: bool = False,
    schema: dict[str, JsonValue] | None = None,
    beside: Beside | None = None,
    progress: Progress = SILENT,
) -> PackageReceipt:
    """Record a draft as one package. The same content under the same external id is answered with the same package.

    ``as_revision`` records changed content under a known external id as its next revision; without it that is
    ``RunChangedError``. ``schema`` is registered with the package under the draft's slug, unless one is already.
    ``beside`` is recorded in the package's own transaction, also for one that was there already.
    Raises ``InvalidRequestError`` or ``StorageError``, with nothing recorded.
    """
    request = IngestRequest(checked_draft(registry, draft, schema), as_revision, schema, beside)
    here = placed_and_checked(registry)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with gc_paused():
                return _ingest(here, request, progress)
        except ConcurrentUpdateError:
            if attempt == _ATTEMPTS:
                raise
            here = placed_and_checked(registry)
    raise AssertionError("the last attempt returns or raises")


def check(
    registry: Registry,
    draft: PackageDraft,
    *,
    schema: dict[str, JsonValue] | None = None,
    progress: Progress = SILENT,
) -> Manifest:
    """Everything ingest would check, and the manifest it would record; nothing is stored.

    ``schema`` stands in for the one that is registered under the draft's slug, or is not registered yet.
    """
    return describe(checked_draft(registry, draft, schema), progress)


def checked_draft(registry: Registry, draft: PackageDraft, schema: dict[str, JsonValue] | None = None) -> PackageDraft:
    """The draft with its files in path order and its metadata canonical. Raises for every rule it breaks."""
    return checked_by(lambda slug: schema_for(registry, slug, schema), draft, max_files=registry.max_files)


def checked_by(
    schema_of: Callable[[str], dict[str, JsonValue]], draft: PackageDraft, *, max_files: int
) -> PackageDraft:
    """The same, with the schemas that ``schema_of`` answers; it is asked only if there is metadata."""
    draft = settled(draft, max_files=max_files)
    if draft.schema is not None and draft.metadata is not None:
        check_metadata(draft.schema, schema_of(draft.schema), draft.metadata)
    return draft


def check_storage(registry: Registry) -> None:
    """The object recorded last must be there: else this is another storage, or none, and nothing can rely on it.

    Where nothing was recorded yet, there must be no other log's segments (``ConfigurationError``): whoever has lost a
    database is to rebuild it, not to begin another beside what is left. Nor can anything rely on what a probe refused
    (``BackendRefusedError``).
    """
    with registry.catalog.snapshot() as queries:
        newest = queries.newest_object(registry.default_backend)
    _check_storage(registry, newest)


def placed_and_checked(registry: Registry) -> Registry:
    """The registry that puts new objects where they go now, which is there and usable."""
    with registry.catalog.snapshot() as queries:
        here = placed_by(queries, registry)
        newest = queries.newest_object(here.default_backend)
    _check_storage(here, newest)
    return here


def _check_storage(registry: Registry, newest: ObjectRecord | None) -> None:
    if newest is None:
        require_no_other_log(registry, registry.default_backend)
    else:
        _check_object(registry, newest)
    require_usable(registry, registry.default_backend)


def _check_object(registry: Registry, newest: ObjectRecord) -> None:
    try:
        registry.store.size(ObjectKey(ObjectKind(newest.kind), newest.blake3))
    except ObjectNotFoundError as error:
        raise StorageUnavailableError(
            f"backend {registry.default_backend!r} does not have the object that was recorded last",
            hint="Is it mounted, and is its URL right? If so, `verify --all` says what is lost.",
        ) from error


def _ingest(registry: Registry, request: IngestRequest, progress: Progress) -> PackageReceipt:
    if existing := _find_existing(registry, request, progress):
        return record_beside(registry, receipt_of(existing, stored_bytes=0), request.beside)
    require_room(registry, request.draft, progress, is_new=partial(is_new, as_revision=request.as_revision))
    with Lease(registry, "ingest") as lease:
        stored = store(registry, request.draft, lease, progress)
        receipt = record_patiently(registry, lease, lambda tx: write_package(tx, registry, request, stored))
    failpoint("record.before-answer")
    return receipt


def write_package(tx: Transaction, registry: Registry, request: IngestRequest, stored: Stored) -> PackageReceipt:
    """Record what is stored, its schema and what stands beside it, in a transaction the caller owns."""
    if request.draft.schema is not None and request.schema is not None:
        record_schema(tx, registry, request.draft.schema, request.schema)
    receipt = record(tx, registry, request.draft, stored, as_revision=request.as_revision)
    if request.beside is not None:
        request.beside(tx, receipt)
    return receipt


def record_beside(registry: Registry, receipt: PackageReceipt, beside: Beside | None) -> PackageReceipt:
    """Record what stands beside a package that was there already, in a transaction of its own; the receipt."""
    if beside is not None:
        with registry.transaction() as tx:
            beside(tx, receipt)
    return receipt


def record_patiently(registry: Registry, lease: Lease, write: Callable[[Transaction], T]) -> T:
    """Record what is stored and end its lease. A database that is busy for long is asked again: the bytes are there."""
    failpoint("record.before-transaction")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with registry.transaction() as tx:
                recorded = write(tx)
                lease.end_in(tx)
        except CatalogUnavailableError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return recorded
    raise AssertionError("the last attempt returns or raises")


def _find_existing(registry: Registry, request: IngestRequest, progress: Progress) -> PackageRecord | None:
    """A whole package that is this draft, found by hashing alone; None if something is to be stored or recorded."""
    draft = request.draft
    with registry.catalog.snapshot() as queries:
        known = queries.revisions(draft.producer, draft.external_id) if draft.external_id else []
    if not known:
        return None
    manifest = describe(draft, progress)
    with registry.catalog.snapshot() as queries:
        return existing_package(queries, manifest, as_revision=request.as_revision)


def is_new(queries: Queries, manifest: Manifest, *, as_revision: bool) -> bool:
    """Whether this would be another package, instead of one that is there. Raises as ``existing_package`` does."""
    return isinstance(_find(queries, manifest, as_revision=as_revision), _NextRevision)


def existing_package(queries: Queries, manifest: Manifest, *, as_revision: bool) -> PackageRecord | None:
    """A whole package that has this content already; None if something is to be stored or recorded.

    Raises ``RunChangedError``, ``PackageExpiredError`` or ``PackageDeletedError`` where that would be refused.
    """
    found = _find(queries, manifest, as_revision=as_revision)
    return found if not isinstance(found, _NextRevision) and _is_whole(queries, found) else None


def record(
    tx: Transaction,
    registry: Registry,
    draft: PackageDraft,
    stored: Stored,
    *,
    as_revision: bool,
    opened: Opened | None = None,
) -> PackageReceipt:
    """Write a stored draft's events in a transaction the caller owns; or only what it heals of a package it equals.

    ``opened`` names a package that was opened before; without it the package is opened now.
    """
    digest = stored.manifest_object.blake3
    tx.lock("run", run_of(stored))
    known = _known(tx, stored.manifest, digest)
    found = _decide(tx, known, stored.manifest, digest, as_revision=as_revision)
    manifest_relied_on = None if stored.manifest_written else digest
    tx.rely_on_presence(stored.relied, manifest=manifest_relied_on, since=stored.relies_since)
    if not isinstance(found, _NextRevision):
        if not _is_whole(tx, found):
            tx.record(*_restoration(tx, stored))
        return receipt_of(found, stored_bytes=stored.stored_bytes)
    if (quota_bytes := registry.quotas.get(draft.producer)) is not None:
        tx.keep_quota(draft.producer, quota_bytes)
    opened = opened or Opened(registry.new_id(), registry.clock())
    tx.record(*_package_events(registry, draft, stored, opened, found))
    return PackageReceipt(
        package_id=opened.package_id,
        manifest_digest=str(Digest.blake3(digest)),
        file_count=len(stored.manifest.files),
        total_bytes=_total_bytes(stored.manifest.files),
        stored_bytes=stored.stored_bytes,
        reused_existing=False,
        revision=found.number,
    )


# deciding what a draft is


@dataclass(frozen=True, slots=True)
class _NextRevision:
    number: int
    supersedes: str | None


def run_of(stored: Stored) -> str:
    """What no two packages with different content, or none with the same, may be: as ``_known`` looks for it."""
    manifest = stored.manifest
    return f"{manifest.producer} {manifest.external_id or stored.manifest_object.blake3.hex()}"


def _find(queries: Queries, manifest: Manifest, *, as_revision: bool) -> PackageRecord | _NextRevision:
    digest = manifest_digest(manifest.encode())
    return _decide(queries, _known(queries, manifest, digest), manifest, digest, as_revision=as_revision)


def _known(queries: Queries, manifest: Manifest, digest: bytes) -> list[PackageRecord]:
    """The packages this content may be, newest first: those of its external id, or without one, of its manifest."""
    if manifest.external_id:
        return queries.revisions(manifest.producer, manifest.external_id)
    return queries.packages_of_content(manifest.producer, digest)


def _decide(
    queries: Queries, known: Sequence[PackageRecord], manifest: Manifest, digest: bytes, *, as_revision: bool
) -> PackageRecord | _NextRevision:
    """The package this content already is, or the revision it is to become; ``known`` has the newest first."""
    same = [package for package in known if package.manifest_digest == digest]
    if finalized := [package for package in same if package.status == PackageStatus.FINALIZED]:
        return finalized[0]
    if not known:
        return _NextRevision(1, None)
    if as_revision:
        return _NextRevision(known[0].revision + 1, known[0].package_id)
    if same:
        raise gone(same[0])
    raise run_changed(queries, known[0], manifest)


def gone(package: PackageRecord) -> PackageExpiredError | PackageDeletedError:
    """What is said of content whose package is finalized no longer."""
    kind = PackageExpiredError if package.status == PackageStatus.EXPIRED else PackageDeletedError
    return kind(f"this content is package {package.package_id}, which is {package.status}")


def _is_whole(queries: Queries, package: PackageRecord) -> bool:
    return not queries.has_losses() or queries.package_is_whole(package)


# events


def _package_events(
    registry: Registry, draft: PackageDraft, stored: Stored, opened: Opened, revision: _NextRevision
) -> Iterator[Event]:
    package_id, now = opened.package_id, registry.clock()
    files = stored.manifest.files
    yield PackageOpened(
        package_id=package_id,
        producer=draft.producer,
        revision=revision.number,
        opened_at=opened.at,
        external_id=draft.external_id,
        subject_ref=draft.subject,
        schema=draft.schema,
        metadata=draft.metadata,
        supersedes=revision.supersedes,
    )
    yield from _files_added(package_id, stored)
    duration_days = registry.retention.duration_days(draft.retention_class)
    yield RetentionApplied(
        package_id=package_id,
        retention_class=draft.retention_class,
        duration_days=duration_days,
        expires_at=expiry(now, duration_days),
    )
    yield PackageFinalized(
        package_id=package_id,
        manifest=stored.manifest_object,
        file_count=len(files),
        total_bytes=_total_bytes(files),
        stored_bytes=stored.stored_bytes,
        finalized_at=now,
    )


def _files_added(package_id: str, stored: Stored) -> Iterator[FilesAdded]:
    """The files in slices; what is new of a blob stands with the first file that has it."""
    files = stored.manifest.files
    new_blobs, placements = dict(stored.new_blobs), dict(stored.placements)
    for first_index in range(0, len(files), MAX_FILES_PER_EVENT):
        files_here = files[first_index : first_index + MAX_FILES_PER_EVENT]
        news = [new_blobs.pop(file.blake3, None) for file in files_here]
        places = [placements.pop(file.blake3, _NOWHERE) for file in files_here]
        objects = sorted({index for index, _ in places if index is not None})
        renumbered = {index: here for here, index in enumerate(objects)}
        yield FilesAdded(
            package_id=package_id,
            first_index=first_index,
            files=files_here,
            objects=tuple(stored.objects[index] for index in objects),
            crc32s=tuple(None if new is None else new.crc32 for new in news),
            object_indexes=tuple(None if index is None else renumbered[index] for index, _ in places),
            starts=tuple(start for _, start in places),
            chunks=tuple((offset, new.chunks) for offset, new in enumerate(news) if new is not None and new.chunks),
            encoded_files=stored.encoded_files if len(files_here) == len(files) else None,
        )


def _restoration(queries: Queries, stored: Stored) -> Iterator[Event]:
    """What a repeated ingest healed: every blob it stored was absent."""
    places = [list[tuple[bytes, int]]() for _ in stored.objects]
    for address, (index, start) in stored.placements.items():
        places[index].append((address, start))
    for reference, blobs in zip(stored.objects, places, strict=True):
        for at in range(0, len(blobs), MAX_FILES_PER_EVENT):
            yield BlobRestored(object=reference, blobs=tuple(blobs[at : at + MAX_FILES_PER_EVENT]))
    for reference in [*stored.objects, *([stored.manifest_object] if stored.manifest_written else [])]:
        known = queries.objects_of_digest(reference.kind, reference.blake3)
        if any(found.backend == reference.backend and found.status != "live" for found in known):
            yield ObjectRestored(object=reference)


def _total_bytes(files: Sequence[FileEntry]) -> int:
    return sum(file.size_bytes for file in files)


def receipt_of(package: PackageRecord, *, stored_bytes: int) -> PackageReceipt:
    """The receipt for a package that was there already."""
    return PackageReceipt(
        package_id=package.package_id,
        manifest_digest=str(Digest.blake3(package.manifest_digest or b"")),
        file_count=package.file_count,
        total_bytes=package.total_bytes,
        stored_bytes=stored_bytes,
        reused_existing=True,
        revision=package.revision,
    )
