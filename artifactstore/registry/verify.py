"""Verify: read stored bytes back and compare them with every digest that is recorded of them.

Objects are read by ``read_back``. A package's manifest is read back and compared with the catalog's rows. What is found
bad is recorded, and counts as absent from then on; what was bad and is good again is recorded too.

A backend that gives no answer has damaged nothing: it is passed over from then on, named in the report, and the others
are read. If that leaves nothing that answered, its error is raised.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import stored
from artifactstore.catalog.records import PlacedBlob
from artifactstore.domain.digest import Digest
from artifactstore.domain.manifest import FileEntry, Manifest, manifest_digest
from artifactstore.domain.package import PackageStatus
from artifactstore.errors import (
    ArtifactStoreError,
    BackendRefusedError,
    ConfigurationError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
    UsageError,
)
from artifactstore.registry.damage import record_findings, recorded_now
from artifactstore.registry.packages import require_content
from artifactstore.registry.paging import every
from artifactstore.registry.progress import SILENT
from artifactstore.registry.read_back import Findings, finding_of, key_of, read_back_surely
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord, PackageRecord
    from artifactstore.domain.digest import Algorithm
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

_WITH_CONTENT = (PackageStatus.FINALIZED, PackageStatus.EXPIRED)
_PAGE = 500
_NAMED_USERS = 10_000
_SUBSET_DIGITS = 6
_PREFIX_BITS = 64
_NOBODY: list[tuple[str, str]] | list[tuple[None, None]] = [(None, None)]
NO_ANSWER = (StorageUnavailableError, StorageDeniedError, BackendRefusedError, ConfigurationError)
"""What a backend raises that says nothing of the objects in it."""


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
    unreachable: dict[str, ArtifactStoreError] = field(default_factory=dict)
    """Backends that gave no answer, and why."""
    passed_over: set[str] = field(default_factory=set)
    """Those of them of which something should have been read and was not."""
    answered: set[str] = field(default_factory=set)
    """Backends that at least one object was read from."""


def verify_package(registry: Registry, package_id: str, *, progress: Progress = SILENT) -> VerifyReport:
    """Read back a package's manifest and every object that holds its files.

    Raises ``PackageUnknownError``, and one of ``NO_ANSWER`` if no backend that has any of it answers.
    """
    report = VerifyReport()
    with registry.catalog.snapshot() as queries:
        package = require_content(queries, package_id)
        recorded = _recorded(queries, package)
        objects = [queries.object(row_id) for row_id in recorded.placed]
    progress.begin("verifying", sum(found.size_bytes for found in objects))
    _verify_manifest(registry, package, recorded, report)
    for found in objects:
        _verify_object(registry, found, report, progress, blobs=recorded.blobs_in(found))
    return _of_any_backend(report)


def own_damage(registry: Registry, package_id: str, report: VerifyReport) -> list[Damage]:
    """What the report on a package says of the package itself, without the other packages that share its bytes."""
    with registry.catalog.snapshot() as queries:
        paths = {
            _text("blake3", file.blake3): file.path
            for file in _recorded(queries, require_content(queries, package_id)).entries
        }
    own = [damage for damage in report.damage if damage.package_id == package_id]
    named = {damage.expected_blake3 for damage in own}
    return own + [
        replace(damage, package_id=package_id, path=paths[damage.expected_blake3])
        for damage in report.damage
        if damage.expected_blake3 in paths.keys() - named and damage.package_id is not None
    ]


def verify_all(registry: Registry, *, progress: Progress = SILENT) -> VerifyReport:
    """Read back everything: every manifest against the catalog, every object once.

    Raises one of ``NO_ANSWER`` if no backend answers.
    """
    report = VerifyReport()
    for package in _packages(registry):
        with registry.catalog.snapshot() as queries:
            recorded = _recorded(queries, package)
        _verify_manifest(registry, package, recorded, report)
    _verify_objects(registry, (ObjectKind.BLOB, ObjectKind.PACK, ObjectKind.SEGMENT), report, progress)
    return _of_any_backend(report)


def verify_objects(registry: Registry, *, subset: Subset | None = None, progress: Progress = SILENT) -> VerifyReport:
    """Read back every object the catalog knows, or a subset, without asking what packages say of them.

    Raises one of ``NO_ANSWER`` if no backend answers.
    """
    report = VerifyReport()
    if subset is None:
        _verify_objects(registry, tuple(ObjectKind), report, progress)
        return _of_any_backend(report)
    progress.begin("verifying", None)
    for found in _objects_of(registry, subset):
        _verify_object(registry, found, report, progress)
    return _of_any_backend(report)


class Subset(NamedTuple):
    """One of ``of`` parts of a store, by the beginnings of its objects' digests.

    An object is always in the same part, in one part only, and every object is in one.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Subset:
        """``K/N``, K from 1 to N. Raises ``UsageError``."""
        number, slash, of = text.partition("/")
        if slash and all(word.isascii() and word.isdigit() and len(word) <= _SUBSET_DIGITS for word in (number, of)):
            found = cls(int(number), int(of))
            if 1 <= found.number <= found.of:
                return found
        raise UsageError(f"{text[:40]!r} is not a subset", hint="Such as 1/7, and 2/7 the next day.")

    @property
    def bounds(self) -> tuple[bytes, bytes]:
        """Its objects' digests are not less than the first, and less than the second, which is empty for no end."""
        first, end = ((-(-(number << _PREFIX_BITS) // self.of)) for number in (self.number - 1, self.number))
        return first.to_bytes(8, "big"), b"" if end >> _PREFIX_BITS else end.to_bytes(8, "big")


def verify_page(
    registry: Registry, *, after: int, up_to: int, limit: int, report: VerifyReport, progress: Progress = SILENT
) -> int | None:
    """Read back the next objects by their row ids; the last one's id, None if there are none up to ``up_to``.

    Those in a backend that the report has as unreachable are passed over.
    """
    with registry.catalog.snapshot() as queries:
        page = [found for found in queries.objects(after=after, limit=limit) if found.row_id <= up_to]
    for found in page:
        _verify_object(registry, found, report, progress)
    return page[-1].row_id if page else None


def _verify_objects(
    registry: Registry, kinds: tuple[ObjectKind, ...], report: VerifyReport, progress: Progress
) -> None:
    progress.begin("verifying", _total_bytes(registry, kinds) if progress is not SILENT else None)
    for found in _objects(registry):
        if found.kind in kinds:
            _verify_object(registry, found, report, progress)


# backends that give no answer


def _of_any_backend(report: VerifyReport) -> VerifyReport:
    """The report; raises why there is none if every backend that was asked has failed and nothing is known by it."""
    if report.unreachable and report.answered <= report.unreachable.keys() and not report.damage:
        raise next(iter(report.unreachable.values()))
    return report


def _pass_over(registry: Registry, found: ObjectRecord, error: ArtifactStoreError, report: VerifyReport) -> None:
    """Its backend from now on; only it, if it has been removed meanwhile. What says nothing of a backend is raised."""
    if not _is_there(registry, found):
        return
    if not isinstance(error, NO_ANSWER):
        raise error
    report.unreachable[found.backend] = error
    report.passed_over.add(found.backend)


# manifests against the catalog


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What the catalog's rows say of one package."""

    entries: list[FileEntry]
    placed: dict[int, dict[int, PlacedBlob]]
    """For each object's row id, the package's blobs in it by position."""
    nowhere: list[FileEntry]

    def blobs_in(self, found: ObjectRecord) -> list[PlacedBlob]:
        return sorted(self.placed[found.row_id].values(), key=attrgetter("start"))


def _recorded(queries: Queries, package: PackageRecord) -> _Recorded:
    recorded = _Recorded([], {}, [])
    latest_path = None
    for path, role, media_type, size_bytes, blake3, sha256, object_id, start, status in queries.recorded_files(
        package.row_id
    ):
        if path != latest_path:
            latest_path = path
            recorded.entries.append(FileEntry(path, role, media_type, size_bytes, blake3, sha256))
        if object_id is None or start is None or status is None:
            recorded.nowhere.append(recorded.entries[-1])
        else:
            here = recorded.placed.setdefault(object_id, {})
            here[start] = PlacedBlob(start, size_bytes, blake3, sha256, status)
    return recorded


def _verify_manifest(registry: Registry, package: PackageRecord, recorded: _Recorded, report: VerifyReport) -> None:
    report.packages += 1
    report.files += package.file_count
    key = ObjectKey(ObjectKind.MANIFEST, package.manifest_digest or b"")
    with registry.catalog.snapshot() as queries:
        places = queries.objects_of_digest(key.kind, key.digest)
    expected = manifest_of_rows(package, recorded.entries)
    for place in places:
        _verify_manifest_at(registry, package, place, expected, report)
    if not places:
        report.damage.append(Damage("the manifest is in no backend", "", key.path, package.package_id))
    for file in recorded.nowhere:
        where = ObjectKey(ObjectKind.BLOB, file.blake3).path
        address = _text("blake3", file.blake3)
        report.damage.append(
            Damage("no backend has the blob", "", where, package.package_id, file.path, expected_blake3=address)
        )


def _verify_manifest_at(
    registry: Registry, package: PackageRecord, place: ObjectRecord, expected: bytes, report: VerifyReport
) -> None:
    if place.backend in report.unreachable:
        report.passed_over.add(place.backend)
        return
    try:
        stored, finding = _read_manifest_at(registry, place)
        if finding is not None:  # believed if it is so once more: bytes can be altered on their way
            stored, finding = _read_manifest_at(registry, place)
    except (StorageError, ConfigurationError) as error:
        _pass_over(registry, place, error, report)
        return
    if finding is not None and not _is_there(registry, place):
        return
    report.answered.add(place.backend)
    report.objects += 1
    report.bytes_read += len(stored)
    found = manifest_digest(stored) if stored else b""
    record_findings(registry, place, Findings(finding, []))
    if finding is None and stored != expected:
        finding = "the catalog's rows disagree with the manifest"
    if finding is not None:
        digests = {"expected_blake3": _text("blake3", place.blake3), "found_blake3": _text("blake3", found)}
        report.damage.append(Damage(finding, place.backend, key_of(place).path, package.package_id, **digests))


def _read_manifest_at(registry: Registry, place: ObjectRecord) -> tuple[bytes, str | None]:
    """What is stored there, and what is wrong with it."""
    store = registry.backend(place.backend)
    try:
        stored = store.read(key_of(place))
    except StorageError as error:
        return b"", finding_of(store, error)
    return stored, None if manifest_digest(stored) == place.blake3 else "the manifest was altered"


def manifest_of_rows(package: PackageRecord, entries: list[FileEntry]) -> bytes:
    """The manifest that the rows would give. Whoever uses it compares it, or its digest, with what is recorded."""
    return Manifest(
        producer=package.producer,
        files=tuple(entries),
        external_id=package.external_id,
        subject=package.subject,
        schema=package.schema_slug,
        metadata=None if package.metadata_json is None else json.loads(package.metadata_json),
    ).encode()


# objects


def _verify_object(
    registry: Registry,
    found: ObjectRecord,
    report: VerifyReport,
    progress: Progress,
    *,
    blobs: list[PlacedBlob] | None = None,
) -> None:
    """Read one back, unless there is no use in it; of its blobs only these, unless something is found wrong."""
    if found.backend in report.unreachable:
        report.passed_over.add(found.backend)
        return
    if found.status == "damaged" and _is_superseded(registry, found):
        report.superseded += 1
        return
    every_blob = partial(_blobs_in, registry, found)
    if blobs is None:
        blobs = every_blob()
    try:
        store = registry.backend(found.backend)
        findings = read_back_surely(store, found, blobs, progress.advance, every_blob=every_blob)
    except (StorageError, ConfigurationError) as error:
        _pass_over(registry, found, error, report)
        return
    if findings.finding and not _is_there(registry, found):
        return
    report.answered.add(found.backend)
    report.objects += 1
    report.bytes_read += findings.size_bytes
    record_findings(registry, found, findings)
    report.damage += _damage(registry, found, findings)


def _is_there(registry: Registry, found: ObjectRecord) -> bool:
    """Whether the catalog still relies on it: one that is removed while it is read is not damaged."""
    with registry.catalog.snapshot() as queries:
        return recorded_now(queries, found) is not None


def _is_superseded(registry: Registry, found: ObjectRecord) -> bool:
    with registry.catalog.snapshot() as queries:
        return queries.object_is_superseded(found.row_id)


def _blobs_in(registry: Registry, found: ObjectRecord) -> list[PlacedBlob]:
    with registry.catalog.snapshot() as queries:
        return list(queries.blobs_in_object(found.row_id))


def _damage(registry: Registry, found: ObjectRecord, findings: Findings) -> Iterator[Damage]:
    """Each bad blob with the files that need it; or the object itself, if its blobs are sound."""
    key = key_of(found).path
    if findings.finding and not findings.bad:
        expected, there = _text("blake3", found.blake3), _text("blake3", findings.found_blake3)
        yield Damage(findings.finding, found.backend, key, expected_blake3=expected, found_blake3=there)
    for bad in findings.bad:
        digests = {
            "expected_blake3": _text("blake3", bad.blob.blake3),
            "found_blake3": _text("blake3", bad.found_blake3),
            "expected_sha256": _text("sha256", bad.blob.sha256),
            "found_sha256": _text("sha256", bad.found_sha256),
        }
        with registry.catalog.snapshot() as queries:
            users = queries.users_of_blob(bad.blob.blake3, limit=_NAMED_USERS)
        for package_id, path in users or _NOBODY:
            yield Damage(bad.finding, found.backend, key, package_id, path, **digests)


def _text(algorithm: Algorithm, digest: bytes) -> str | None:
    return str(Digest(algorithm, digest)) if digest else None


# everything, a page at a time


def _packages(registry: Registry) -> Iterator[PackageRecord]:
    """Every package that has content."""

    def page(after: int) -> list[PackageRecord]:
        with registry.catalog.snapshot() as queries:
            return queries.packages(after=after, limit=_PAGE)

    found = every(page, first=0, size=_PAGE, key=attrgetter("row_id"))
    return (package for package in found if package.status in _WITH_CONTENT)


def _objects(registry: Registry) -> Iterator[ObjectRecord]:
    """Every object the catalog knows."""

    def page(after: int) -> list[ObjectRecord]:
        with registry.catalog.snapshot() as queries:
            return queries.objects(after=after, limit=_PAGE)

    return every(page, first=0, size=_PAGE, key=attrgetter("row_id"))


def _objects_of(registry: Registry, subset: Subset) -> Iterator[ObjectRecord]:
    """Every object of a subset, by digest."""
    first, end = subset.bounds
    after = stored.Place(first)
    while True:
        with registry.catalog.snapshot() as queries:
            page = stored.in_key_order(queries.connection, after, limit=_PAGE)
        for found in page:
            if end and found.blake3 >= end:
                return
            yield found
        if len(page) < _PAGE:
            return
        after = stored.Place(page[-1].blake3, page[-1].kind, page[-1].backend)


def _total_bytes(registry: Registry, kinds: tuple[ObjectKind, ...]) -> int:
    return sum(found.size_bytes for found in _objects(registry) if found.kind in kinds)
