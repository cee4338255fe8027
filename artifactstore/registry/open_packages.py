"""Packages that arrive over several requests: opened, sent to, and then finalized or given up.

An open package is a draft that waits for its bytes. Nothing of it is in the event log, so giving it up leaves no trace
(docs/adr/0010). What it has been sent is in storage and listed in operational tables, which any server of the store
reads; it is kept for 24 hours.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from artifactstore.catalog import backends, pushes, usage
from artifactstore.catalog.package_filter import EVERY_PACKAGE, PackageFilter
from artifactstore.catalog.pushes import OpenPackageRecord, PartRecord, UploadRecord
from artifactstore.domain.canonical import decode, encode
from artifactstore.domain.digest import Digest
from artifactstore.domain.instant import Instant
from artifactstore.domain.package import (
    FileDraft,
    PackageDraft,
    PackageReceipt,
    PackageStatus,
    check_sizes,
    search_terms,
)
from artifactstore.domain.quotas import QuotaState
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import (
    DigestMismatchError,
    LimitExceededError,
    PackageStateError,
    PackageUnknownError,
    Problem,
)
from artifactstore.registry.idempotency import Attempt, answer_once, answered_before
from artifactstore.registry.ingest import check_storage, checked_draft, existing_package, is_new, receipt_of
from artifactstore.registry.placing import placed
from artifactstore.registry.reading import manifest_of
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from artifactstore.catalog.catalog import Catalog, Transaction
    from artifactstore.catalog.database import Connection
    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.digest import BlobDescriptor
    from artifactstore.domain.manifest import FileEntry, Manifest
    from artifactstore.domain.package import OpenedFile
    from artifactstore.registry.registry import Registry

OPEN_FOR = 24 * 60 * 60 * 1_000_000
"""How long a package may stay open, and an idempotency key is remembered, in microseconds."""
MAX_OPEN = 10_000
"""Packages that one caller may have open."""
_PAGE = 100
_KEPT_DECLARATIONS = 8
_LONGEST_KEPT = 20_000


class Unsent:
    """The source of a file whose bytes will come later."""

    def open(self) -> OpenedFile:
        """Never asked for."""
        raise AssertionError("the bytes of this file arrive by themselves")


UNSENT = Unsent()


@dataclass(frozen=True, slots=True)
class PushState:
    """What is left to do for a package."""

    package_id: str
    status: PackageStatus
    expires_at: Instant | None
    missing: tuple[bytes, ...]
    """Addresses of the declared blobs that are still to be sent, each once, in path order."""
    uploads: tuple[UploadRecord, ...]
    receipt: PackageReceipt | None


def open_package(
    registry: Registry,
    draft: PackageDraft,
    declared: Sequence[FileEntry] | None,
    *,
    as_revision: bool,
    readable_producers: Sequence[str] | None,
    attempt: Attempt | None = None,
    owner: str | None = None,
) -> PushState:
    """Open a package, or answer the one that has this very content.

    ``declared`` are the files it is to have, in any order; None if that is not known yet. The draft's own files are not
    looked at. A blob counts as missing unless it is in a package of one of ``readable_producers`` (None: anyone's).
    ``owner`` is whose package it is while it is open; without one, the actor's.
    Raises ``InvalidRequestError`` or ``ConflictError`` for what finalizing would refuse.
    """
    files = None if declared is None else tuple(sorted(declared))
    registry = placed(registry)
    draft = checked_draft(registry, _with_files(draft, files or ()))
    check_sizes((file.path, file.size_bytes) for file in files or ())
    _check_agreement(files or ())
    check_storage(registry)
    stands = _is_kept if files is None else _is_still_open
    with registry.catalog.snapshot() as queries:
        before = attempt and answered_before(queries.connection, attempt, stands=partial(stands, queries.connection))
        if before is not None:
            return _push_state(queries, before, readable_producers)
        if existing := files is not None and existing_package(
            queries, manifest_of(draft, files), as_revision=as_revision
        ):
            receipt = receipt_of(existing, stored_bytes=0)
            return PushState(existing.package_id, PackageStatus.FINALIZED, None, (), (), receipt)
        _require_room(registry, queries, manifest_of(draft, files or ()), as_revision=as_revision)
        missing = missing_blobs(queries, files or (), set(), readable_producers, within=registry.presence_within)
    now = registry.clock()
    record = OpenPackageRecord(
        package_id=registry.new_id(),
        producer=draft.producer,
        opened_by=owner or registry.actor,
        opened_at=now,
        expires_at=now + OPEN_FOR,
        draft=_written(draft, as_revision=as_revision),
        receipt=None,
        backend=registry.chosen_backend,
    )

    def begin(tx: Transaction) -> str:
        if pushes.count_open(tx.connection, record.opened_by) >= MAX_OPEN:
            raise LimitExceededError(
                f"{MAX_OPEN} packages are open already", hint="Finalize them or give them up; each ends after 24 hours."
            )
        pushes.begin(tx.connection, record, files)
        return record.package_id

    with registry.transaction() as tx:
        package_id = answer_once(tx, attempt, now, begin, stands=partial(stands, tx.connection))
    if package_id != record.package_id:
        return push_state(registry, package_id, readable_producers=readable_producers)
    return PushState(package_id, PackageStatus.OPEN, Instant(record.expires_at), missing, (), None)


def _require_room(registry: Registry, queries: Queries, manifest: Manifest, *, as_revision: bool) -> None:
    quota_bytes = registry.quotas.get(manifest.producer)
    if quota_bytes is not None and manifest.files and is_new(queries, manifest, as_revision=as_revision):
        used = usage.logical_bytes_of(queries.connection, manifest.producer)
        QuotaState(quota_bytes, used).require(manifest.producer, sum(file.size_bytes for file in manifest.files))


def _is_kept(connection: Connection, package_id: str) -> bool:
    return pushes.open_package(connection, package_id) is not None


def _is_still_open(connection: Connection, package_id: str) -> bool:
    """With its files declared, one that is finalized is found by its content, and as it is now."""
    opened = pushes.open_package(connection, package_id)
    return opened is not None and opened.receipt is None


def push_state(registry: Registry, package_id: str, *, readable_producers: Sequence[str] | None) -> PushState:
    """What is left to do. Raises ``PackageUnknownError``."""
    with registry.catalog.snapshot() as queries:
        return _push_state(queries, package_id, readable_producers)


def _push_state(queries: Queries, package_id: str, readable_producers: Sequence[str] | None) -> PushState:
    opened = require_open_or_concluded(queries, package_id)
    if receipt := concluded_receipt(opened):
        return PushState(package_id, PackageStatus.FINALIZED, None, (), (), receipt)
    declared = declared_files(queries, package_id)
    uploads = pushes.uploads(queries.connection, package_id)
    arrived = {
        blob.measure.blake3 for _, blobs in pushes.received_objects(queries.connection, package_id) for blob in blobs
    }
    within = None if opened.backend is None else backends.taking_writes(queries.connection, opened.backend)
    missing = missing_blobs(queries, declared or (), arrived, readable_producers, within=within)
    return PushState(package_id, PackageStatus.OPEN, Instant(opened.expires_at), missing, tuple(uploads), None)


def list_open_packages(
    registry: Registry,
    *,
    after: str | None,
    limit: int,
    opened_by: str | None,
    wanted: PackageFilter = EVERY_PACKAGE,
) -> list[OpenPackageRecord]:
    """A page of open packages by id; those of one actor, unless that is None. None is found by a blob."""
    found: list[OpenPackageRecord] = []
    while len(found) < limit:
        with registry.catalog.snapshot() as queries:
            page = pushes.open_packages(queries.connection, after=after or "", limit=_PAGE, opened_by=opened_by)
        found += [opened for opened in page if _is_wanted(opened, wanted)]
        if len(page) < _PAGE:
            break
        after = page[-1].package_id
    return found[:limit]


def _is_wanted(opened: OpenPackageRecord, wanted: PackageFilter) -> bool:
    draft, _ = draft_of(opened)
    asked_and_said = (
        (wanted.producer, draft.producer),
        (wanted.external_id, draft.external_id),
        (wanted.subject, draft.subject),
        (wanted.schema_slug, draft.schema),
        (wanted.retention_class, draft.retention_class),
    )
    has_metadata = wanted.metadata is None or wanted.metadata in search_terms(draft.metadata or {}).items()
    return wanted.blob is None and has_metadata and all(asked in {None, said} for asked, said in asked_and_said)


def find_open_package(registry: Registry, package_id: str) -> OpenPackageRecord | None:
    """A package that was opened and is not forgotten yet, whether finalized or not."""
    with registry.catalog.snapshot() as queries:
        return pushes.open_package(queries.connection, package_id)


def abandon(registry: Registry, package_id: str) -> None:
    """Give up an open package. Raises ``PackageUnknownError``, or ``PackageStateError`` if it is finalized."""
    _forget(registry, package_id, check=require_open)


def expire_open_packages(registry: Registry) -> int:
    """Forget what has been open for too long, and old idempotency keys; returns the number of packages."""
    now, count = registry.clock(), 0
    while True:
        with registry.catalog.snapshot() as queries:
            overdue = pushes.overdue(queries.connection, now, limit=_PAGE)
        for package_id in overdue:
            _forget(registry, package_id, check=None)
        count += len(overdue)
        if len(overdue) < _PAGE:
            break
    with registry.transaction() as tx:
        pushes.forget_keys(tx.connection, now - OPEN_FOR)
    return count


def require_open(queries: Queries, package_id: str) -> OpenPackageRecord:
    """An open package. Raises ``PackageUnknownError``, or ``PackageStateError`` if it is finalized."""
    opened = require_open_or_concluded(queries, package_id)
    if opened.receipt is not None:
        raise PackageStateError(
            f"package {package_id} is finalized and cannot change", hint="Open another one with POST /packages."
        )
    return opened


def require_open_or_concluded(queries: Queries, package_id: str) -> OpenPackageRecord:
    """A package that was opened and is not forgotten yet. Raises ``PackageUnknownError``, ``PackageStateError``."""
    queries.lock("open package", package_id)
    opened = pushes.open_package(queries.connection, package_id)
    if opened is None:
        _refuse(queries, package_id)
    return opened


def _refuse(queries: Queries, package_id: str) -> NoReturn:
    if queries.package(package_id) is not None:
        raise PackageStateError(f"package {package_id} is not open", hint="Open another one with POST /packages.")
    raise PackageUnknownError(f"there is no package {package_id[:80]!r}", hint="An open package is kept for 24 hours.")


# what it is to have


def declared_files(queries: Queries, package_id: str) -> tuple[FileEntry, ...] | None:
    """The files it is to have, in path order; None if they were not declared."""
    return pushes.declared_files(queries.connection, package_id)


def declaration(registry: Registry, package_id: str) -> Mapping[str, FileEntry] | None:
    """The declared files by path; None if they were not declared."""
    return _declarations.get(registry.catalog, package_id)


def are_declared(queries: Queries, package_id: str) -> bool:
    """Whether its files were declared."""
    return pushes.are_declared(queries.connection, package_id)


class _Declarations:
    """The last few declarations, by path. They never change, and the files of a package may come one by one.

    Long ones are not kept: they take as much memory as all the others together.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Mapping[str, FileEntry] | None] = {}
        self._turn = threading.Lock()

    def get(self, catalog: Catalog, package_id: str) -> Mapping[str, FileEntry] | None:
        with self._turn:
            if package_id in self._kept:
                return self._kept[package_id]
        with catalog.snapshot() as queries:
            files = declared_files(queries, package_id)
        by_path = None if files is None else {file.path: file for file in files}
        if not files or len(files) <= _LONGEST_KEPT:
            with self._turn:
                self._kept[package_id] = by_path
                while len(self._kept) > _KEPT_DECLARATIONS:
                    del self._kept[next(iter(self._kept))]
        return by_path


_declarations = _Declarations()


def missing_blobs(
    queries: Queries,
    declared: Sequence[FileEntry],
    arrived: set[bytes],
    readable_producers: Sequence[str] | None,
    *,
    within: str | None,
) -> tuple[bytes, ...]:
    """The declared blobs that have not arrived and are in no package the caller may read; or not in this backend.

    Raises ``DigestMismatchError`` for a file declared with another size or SHA-256 than its blob has.
    """
    wanted = {file.blake3: file for file in declared if file.blake3 not in arrived}
    present = queries.readable_blobs(list(wanted), readable_producers, within=within)
    _check_descriptors(wanted, present)
    return tuple(address for address in wanted if address not in present)


def _check_descriptors(wanted: Mapping[bytes, FileEntry], present: Mapping[bytes, BlobDescriptor]) -> None:
    wrong = [wanted[address] for address, found in present.items() if wanted[address].descriptor != found]
    if wrong:
        raise DigestMismatchError(
            f"{len(wrong)} file(s) are declared with digests and sizes that no bytes have",
            problems=tuple(Problem(file.path, f"has BLAKE3 {Digest.blake3(file.blake3)}") for file in wrong[:20]),
        )


def _check_agreement(files: Sequence[FileEntry]) -> None:
    """Files with one address must have one size and one SHA-256."""
    known: dict[bytes, FileEntry] = {}
    for file in files:
        if known.setdefault(file.blake3, file).descriptor != file.descriptor:
            raise DigestMismatchError(
                f"{known[file.blake3].path!r} and {file.path!r} are declared with one BLAKE3 and different bytes"
            )


# a draft without its files, in a row


def draft_of(opened: OpenPackageRecord) -> tuple[PackageDraft, bool]:
    """The draft, without files, and whether changed content may become a revision."""
    members = decode(opened.draft)
    as_revision = members.pop("as_revision")
    retention_class = RetentionClass(members.pop("retention_class"))
    return PackageDraft(producer=opened.producer, files=(), retention_class=retention_class, **members), as_revision


def _written(draft: PackageDraft, *, as_revision: bool) -> bytes:
    members = {
        "retention_class": str(draft.retention_class),
        "external_id": draft.external_id,
        "subject": draft.subject,
        "schema": draft.schema,
        "metadata": draft.metadata,
        "as_revision": as_revision,
    }
    return encode({key: value for key, value in members.items() if value is not None})


def _with_files(draft: PackageDraft, files: Sequence[FileEntry]) -> PackageDraft:
    drafts = tuple(FileDraft(file.path, UNSENT, file.role, file.media_type) for file in files)
    return replace(draft, files=drafts)


def concluded_receipt(opened: OpenPackageRecord) -> PackageReceipt | None:
    """The receipt of a package that is finalized."""
    return None if opened.receipt is None else PackageReceipt(**json.loads(opened.receipt))


def receipt_text(receipt: PackageReceipt) -> str:
    """A receipt as it is kept."""
    return json.dumps(asdict(receipt))


# forgetting


def _forget(registry: Registry, package_id: str, *, check: Callable[[Queries, str], object] | None) -> None:
    """Remove its rows, then the parts of its uploads; its other objects wait for collection, as any orphan does."""
    with registry.transaction() as tx:
        tx.lock("open package", package_id)
        if check is not None:  # in this transaction, because it may be finalized until then
            check(tx, package_id)
        parts = pushes.end_uploads(tx.connection, package_id)
        pushes.forget(tx.connection, package_id)
    delete_parts(registry, parts)


def delete_parts(registry: Registry, parts: Sequence[PartRecord]) -> None:
    """Delete the objects of parts whose uploads have ended."""
    for part in parts:
        registry.backend(part.backend).delete(ObjectKey(ObjectKind.PART, part.blake3))
