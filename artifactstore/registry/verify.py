"""Verify: read stored bytes back and compare them with every digest that is recorded of them.

An object is read whole. If a pack's own digest holds, its bytes are the bytes that were written, member names (the
blobs' BLAKE3) included, so each blob is checked by its name and its SHA-256. If it does not hold, each blob is checked
by both digests, to tell the damaged ones from the sound. A package's manifest is read back and compared with the
catalog's rows. What is found bad is recorded, and counts as absent from then on; what was bad and is good again is
recorded too.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from blake3 import blake3

from artifactstore.domain.digest import Digest
from artifactstore.domain.events import (
    MAX_FILES_PER_EVENT,
    BlobDamaged,
    BlobRestored,
    Event,
    ObjectDamaged,
    ObjectRef,
    ObjectRestored,
)
from artifactstore.domain.hashing import BUFFER_BYTES, BlobHasher
from artifactstore.domain.manifest import Manifest, manifest_digest
from artifactstore.domain.package import PackageStatus
from artifactstore.errors import ObjectNotFoundError, StorageError
from artifactstore.registry.packages import require_content
from artifactstore.registry.progress import SILENT
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord, PackageRecord, PlacedBlob
    from artifactstore.domain.digest import Algorithm
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

T = TypeVar("T")

_WITH_CONTENT = (PackageStatus.FINALIZED, PackageStatus.EXPIRED)
_PAGE = 500
_NAMED_USERS = 100
_NAME_BYTES = 64
_WRONG_ROW = "the catalog's row disagrees with the object"


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as recorded, and what it concerns."""

    finding: str
    backend: str
    object_key: str
    package_id: str | None = None
    path: str | None = None
    expected_blake3: str | None = None
    found_blake3: str | None = None
    expected_sha256: str | None = None
    found_sha256: str | None = None


@dataclass(slots=True)
class VerifyReport:
    """What was read, and what was found wrong."""

    packages: int = 0
    files: int = 0
    objects: int = 0
    bytes_read: int = 0
    superseded: int = 0
    """Objects passed over: known to be damaged, and every blob in them is sound elsewhere."""
    damage: list[Damage] = field(default_factory=list)


def verify_package(registry: Registry, package_id: str, *, progress: Progress = SILENT) -> VerifyReport:
    """Read back a package's manifest and every object that holds its files. Raises ``PackageUnknownError``."""
    report = VerifyReport()
    with registry.catalog.snapshot() as queries:
        package = require_content(queries, package_id)
        objects = queries.objects_of_package(package.row_id)
    progress.begin("verifying", sum(found.size_bytes for found in objects))
    _verify_manifest(registry, package, report)
    for found in objects:
        _verify_object(registry, found, report, progress, only_package=package)
    _report_absent(registry, package, report)
    return report


def verify_all(registry: Registry, *, progress: Progress = SILENT) -> VerifyReport:
    """Read back everything: every manifest against the catalog, every object once."""
    report = VerifyReport()
    for package in _packages(registry):
        _verify_manifest(registry, package, report)
        _report_absent(registry, package, report)
    _verify_objects(registry, (ObjectKind.BLOB, ObjectKind.PACK), report, progress)
    return report


def verify_objects(registry: Registry, *, progress: Progress = SILENT) -> VerifyReport:
    """Read back every object the catalog knows, without asking what packages say of them."""
    report = VerifyReport()
    _verify_objects(registry, tuple(ObjectKind), report, progress)
    return report


def _verify_objects(
    registry: Registry, kinds: tuple[ObjectKind, ...], report: VerifyReport, progress: Progress
) -> None:
    with registry.catalog.snapshot() as queries:
        progress.begin("verifying", queries.stored_bytes())
    for found in _objects(registry):
        if found.kind in kinds:
            _verify_object(registry, found, report, progress)


# manifests against the catalog


def _verify_manifest(registry: Registry, package: PackageRecord, report: VerifyReport) -> None:
    report.packages += 1
    digest = package.manifest_digest or b""
    with registry.catalog.snapshot() as queries:
        places = queries.objects_of_digest(ObjectKind.MANIFEST, digest)
        recorded = _manifest_from_rows(queries, package)
    report.files += package.file_count
    for place in places:
        _verify_manifest_at(registry, package, place, recorded, report)
    if not places:
        key = ObjectKey(ObjectKind.MANIFEST, digest)
        report.damage.append(Damage("the manifest is in no backend", "", key.path, package.package_id))


def _verify_manifest_at(
    registry: Registry, package: PackageRecord, place: ObjectRecord, recorded: bytes, report: VerifyReport
) -> None:
    key = ObjectKey(ObjectKind.MANIFEST, place.blake3)
    report.objects += 1
    try:
        stored = registry.backend(place.backend).read(key)
    except StorageError as error:
        if error.retryable:
            raise  # a backend that does not answer has damaged nothing
        finding, found = _finding_of(error), b""
    else:
        report.bytes_read += len(stored)
        found = manifest_digest(stored)
        if found != place.blake3:
            finding = "the manifest was altered"
        elif stored != recorded:
            finding = "the catalog's rows disagree with the manifest"
        else:
            return _note_good(registry, place)
    report.damage.append(
        Damage(
            finding, place.backend, key.path, package.package_id,
            expected_blake3=_text("blake3", place.blake3), found_blake3=_text("blake3", found),
        )
    )  # fmt: skip
    return None if found == place.blake3 else _note_bad(registry, place, finding)


def _manifest_from_rows(queries: Queries, package: PackageRecord) -> bytes:
    import json

    metadata = None if package.metadata_json is None else json.loads(package.metadata_json)
    return Manifest(
        producer=package.producer,
        files=tuple(queries.entries(package.row_id)),
        external_id=package.external_id,
        subject=package.subject,
        schema=package.schema_slug,
        metadata=metadata,
    ).encode()


def _report_absent(registry: Registry, package: PackageRecord, report: VerifyReport) -> None:
    """Name the files that have no location at all: nothing else would come across them."""
    with registry.catalog.snapshot() as queries:
        for path, address in queries.files_without_location(package.row_id):
            key = ObjectKey(ObjectKind.BLOB, address)
            report.damage.append(
                Damage(
                    "no backend has the blob", "", key.path, package.package_id, path,
                    expected_blake3=_text("blake3", address),
                )
            )  # fmt: skip


# objects


@dataclass(frozen=True, slots=True)
class _BadBlob:
    blob: PlacedBlob
    finding: str
    found_blake3: bytes = b""
    found_sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class _Findings:
    """What reading an object showed: ``finding`` is None for a sound object; a bad blob in one has a wrong row."""

    finding: str | None
    bad: list[_BadBlob]
    found_blake3: bytes = b""


def _verify_object(
    registry: Registry,
    found: ObjectRecord,
    report: VerifyReport,
    progress: Progress,
    only_package: PackageRecord | None = None,
) -> None:
    with registry.catalog.snapshot() as queries:
        if found.status == "damaged" and queries.object_is_superseded(found.row_id):
            report.superseded += 1
            return None
        if only_package is None:
            blobs = list(queries.blobs_in_object(found.row_id))
        else:
            blobs = list(queries.blobs_of_package_in_object(only_package.row_id, found.row_id))
    findings = _read_back(registry, found, blobs)
    if findings.finding and only_package is not None:  # then look at what other packages have in it, too
        return _verify_object(registry, found, report, progress)
    report.objects += 1
    report.bytes_read += found.size_bytes
    progress.advance(found.size_bytes)
    _record(registry, found, blobs, findings)
    report.damage += _damage(registry, found, findings)
    return None


def _read_back(registry: Registry, found: ObjectRecord, blobs: list[PlacedBlob]) -> _Findings:
    try:
        if found.kind == ObjectKind.PACK:
            return _read_pack(registry, found, blobs)
        return _read_single(registry, found, blobs)
    except StorageError as error:
        if error.retryable:
            raise
        finding = _finding_of(error)
        return _Findings(finding, [_BadBlob(blob, finding) for blob in blobs])


def _read_single(registry: Registry, found: ObjectRecord, blobs: list[PlacedBlob]) -> _Findings:
    """A large blob, or a manifest: one stream, both digests."""
    with registry.backend(found.backend).open(_key(found)) as stream, BlobHasher() as hasher:
        while data := stream.read(BUFFER_BYTES):
            hasher.update(data)
        measure = hasher.finish()
    if measure.size_bytes != found.size_bytes:
        finding = f"{measure.size_bytes} bytes are stored, not {found.size_bytes}"
    elif measure.blake3 != found.blake3:
        finding = "stored bytes were altered"
    else:
        bad = [_BadBlob(blob, _WRONG_ROW, measure.blake3, measure.sha256) for blob in blobs
               if blob.sha256 != measure.sha256]  # fmt: skip
        return _Findings(None, bad, measure.blake3)
    bad = [_BadBlob(blob, finding, measure.blake3, measure.sha256) for blob in blobs]
    return _Findings(finding, bad, measure.blake3)


def _read_pack(registry: Registry, found: ObjectRecord, blobs: list[PlacedBlob]) -> _Findings:
    """A pack is at most 64 MiB and a blob, so it is held in memory; its own digest is computed beside the blobs'."""
    data = registry.backend(found.backend).read(_key(found))
    view = memoryview(data)
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(lambda: blake3(data).digest())
        suspects = [blob for blob in blobs if not _matches_name_and_sha256(view, blob)]
        pack_digest = whole.result()
    if pack_digest == found.blake3:
        return _Findings(None, [replace(_examine(view, blob), finding=_WRONG_ROW) for blob in suspects], pack_digest)
    size_differs = len(data) != found.size_bytes
    finding = f"{len(data)} bytes are stored, not {found.size_bytes}" if size_differs else "stored bytes were altered"
    examined = [_examine(view, blob) for blob in blobs]
    bad = [each for each in examined if (each.found_blake3, each.found_sha256) != (each.blob.blake3, each.blob.sha256)]
    return _Findings(finding, bad, pack_digest)


def _matches_name_and_sha256(pack: memoryview, blob: PlacedBlob) -> bool:
    start, size_bytes, address, sha256, _ = blob
    return (
        hashlib.sha256(pack[start : start + size_bytes]).digest() == sha256
        and pack[start - _NAME_BYTES : start] == address.hex().encode()
    )


def _examine(pack: memoryview, blob: PlacedBlob) -> _BadBlob:
    data = pack[blob.start : blob.start + blob.size_bytes]
    finding = "stored bytes were altered" if len(data) == blob.size_bytes else "stored bytes are cut off"
    return _BadBlob(blob, finding, blake3(data).digest(), hashlib.sha256(data).digest())


# recording


def _record(registry: Registry, found: ObjectRecord, blobs: list[PlacedBlob], findings: _Findings) -> None:
    """Events for what is newly bad, and for what was bad and is good."""
    bad = {each.blob.blake3 for each in findings.bad}
    newly_bad = [blob.blake3 for blob in blobs if findings.finding and blob.blake3 in bad and blob.status == "live"]
    good_again = [(blob.blake3, blob.start) for blob in blobs if blob.blake3 not in bad and blob.status != "live"]
    reference = _reference(found)
    events: list[Event] = [
        BlobDamaged(object=reference, blobs=tuple(part), finding=findings.finding or "") for part in _parts(newly_bad)
    ]
    events += [BlobRestored(object=reference, blobs=tuple(part)) for part in _parts(good_again)]
    if findings.finding and found.status == "live":
        events.append(ObjectDamaged(object=reference, finding=findings.finding))
    elif findings.finding is None and found.status == "damaged":
        events.append(ObjectRestored(object=reference))
    if events:
        with registry.transaction() as tx:
            tx.record(*events)


def _note_good(registry: Registry, place: ObjectRecord) -> None:
    _record(registry, place, [], _Findings(None, []))


def _note_bad(registry: Registry, place: ObjectRecord, finding: str) -> None:
    _record(registry, place, [], _Findings(finding, []))


def _damage(registry: Registry, found: ObjectRecord, findings: _Findings) -> Iterator[Damage]:
    """Each bad blob with the files that need it; or the object itself, if its blobs are sound."""
    key = _key(found).path
    if findings.finding and not findings.bad:
        yield Damage(
            findings.finding, found.backend, key,
            expected_blake3=_text("blake3", found.blake3), found_blake3=_text("blake3", findings.found_blake3),
        )  # fmt: skip
    for bad in findings.bad:
        with registry.catalog.snapshot() as queries:
            users = queries.users_of_blob(bad.blob.blake3, limit=_NAMED_USERS)
        for package_id, path in users:
            yield Damage(
                bad.finding, found.backend, key, package_id, path,
                expected_blake3=_text("blake3", bad.blob.blake3), found_blake3=_text("blake3", bad.found_blake3),
                expected_sha256=_text("sha256", bad.blob.sha256), found_sha256=_text("sha256", bad.found_sha256),
            )  # fmt: skip


def _parts(items: list[T]) -> Iterator[list[T]]:
    for at in range(0, len(items), MAX_FILES_PER_EVENT):
        yield items[at : at + MAX_FILES_PER_EVENT]


# small change


def _packages(registry: Registry) -> Iterator[PackageRecord]:
    """Every package that has content, a page at a time."""
    after = 0
    while True:
        with registry.catalog.snapshot() as queries:
            page = queries.packages(after=after, limit=_PAGE)
        yield from (package for package in page if package.status in _WITH_CONTENT)
        if len(page) < _PAGE:
            return
        after = page[-1].row_id


def _objects(registry: Registry) -> Iterator[ObjectRecord]:
    """Every object the catalog knows, a page at a time."""
    after = 0
    while True:
        with registry.catalog.snapshot() as queries:
            page = queries.objects(after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].row_id


def _key(found: ObjectRecord) -> ObjectKey:
    return ObjectKey(ObjectKind(found.kind), found.blake3)


def _reference(found: ObjectRecord) -> ObjectRef:
    return ObjectRef(found.backend, found.kind, found.blake3, found.size_bytes)


def _finding_of(error: StorageError) -> str:
    return "the object is missing" if isinstance(error, ObjectNotFoundError) else f"cannot be read: {error.message}"


def _text(algorithm: Algorithm, digest: bytes) -> str | None:
    return str(Digest(algorithm, digest)) if digest else None
