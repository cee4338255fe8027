"""Stores to begin from. Run as a child.

What is read back, listed or deleted has its bytes; what only fills the catalog is recorded as the events of an ingest,
whose rows are the same. Packages that are due were stored long ago, by the clock that their events have.
"""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain import events
from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.hashing import measure
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.domain.manifest import FileEntry, Manifest
from artifactstore.domain.package import BytesSource, FileDraft, PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.ingest import ingest
from artifactstore.registry.planning import make_plan
from artifactstore.registry.retention import sweep
from artifactstore.registry.sealing import seal_log
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import key_of
from benchmarks.catalogs import package_events, register_schema
from benchmarks.on_servers.growing import rest
from benchmarks.processes import FailedError, answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from benchmarks.processes import Measures, Request

PRODUCER = "life-cycle"
_LONG_AGO_DAYS = 4_000
_ROLE, _MEDIA_TYPE = "content", "application/octet-stream"
_ROWS_AT_ONCE = 10_000


def stored(request: Request) -> Measures:
    """``packages`` of ``files`` of ``file_bytes``, stored by ingest; with ``sealed``, their log is sealed."""
    with closing(_open()) as registry:
        _ingest(registry, request)
        if request.get("sealed"):
            seal_log(registry)
    return _at_rest()


def dead(request: Request) -> Measures:
    """The same, deleted by a plan, so that nothing refers to their objects; beside them ``live`` packages, recorded."""
    with closing(_open()) as registry:
        _ingest(_long_ago(registry), request)
        _record(registry, request, int(request["live"]))
        _expire(registry, int(request["packages"]))
        report = apply_plan(registry, make_plan(registry).digest)
        if report.deleted != int(request["packages"]):
            raise FailedError(f"{report.deleted} packages were deleted, not {request['packages']}")
    return _at_rest()


def partly_dead(request: Request) -> Measures:
    """``repacked`` pairs beside those: two packages share a pack of which only the smaller one's files stay."""
    with closing(_open()) as registry:
        _ingest(_long_ago(registry), request)
        numbers = _numbers(request, "shared")
        for number in range(int(request["repacked"])):
            files = _files(numbers, 10, int(request["file_bytes"]))
            _store(_long_ago(registry), files, f"large-{number}", RetentionClass.TRANSIENT)
            _store(registry, files[:2], f"small-{number}", RetentionClass.PERMANENT_RECORD)
        _expire(registry, int(request["packages"]) + int(request["repacked"]))
        apply_plan(registry, make_plan(registry).digest)
    return _at_rest()


def recorded(request: Request) -> Measures:
    """``packages`` of ``files``, recorded and without bytes; with ``due`` their retention has ended."""
    with closing(_open()) as registry:
        is_due = bool(request.get("due"))
        _record(_long_ago(registry) if is_due else registry, request, int(request["packages"]))
        if is_due:
            _expire(registry, int(request["packages"]))
    return _at_rest()


def loose(request: Request) -> Measures:
    """``packages`` of ``files``, each an object of its own, with its bytes; written without a sync."""
    numbers, objects = _numbers(request, "loose"), _objects()
    with closing(_open()) as registry:
        for number in range(int(request["packages"])):
            files = _files(numbers, int(request["files"]), int(request["file_bytes"]))
            with registry.transaction() as tx:
                tx.record(*_loose_events(registry, objects, number, files))
    return _at_rest()


def _ingest(registry: Registry, request: Request) -> None:
    what = str(request.get("named", "stored"))
    numbers = _numbers(request, what)
    for number in range(int(request["packages"])):
        files = _files(numbers, int(request["files"]), int(request["file_bytes"]))
        _store(registry, files, f"{what}-{number:06}", RetentionClass.TRANSIENT)


def _store(registry: Registry, files: Sequence[tuple[str, bytes]], name: str, retention: RetentionClass) -> None:
    drafts = tuple(FileDraft(path, BytesSource(data), _ROLE, _MEDIA_TYPE) for path, data in files)
    ingest(registry, PackageDraft(PRODUCER, drafts, retention, external_id=name))


def _record(registry: Registry, request: Request, packages: int) -> None:
    """Packages without bytes; one more has them, because an ingest looks for the object that was recorded last."""
    numbers, files = _numbers(request, "recorded"), int(request["files"])
    paths = [f"part-{at // 100}/file-{at:06}.json" for at in range(files)]
    register_schema(registry)
    at_once = max(1, _ROWS_AT_ONCE // files)
    for first in range(0, packages, at_once):
        with registry.transaction() as tx:
            for number in range(first, min(packages, first + at_once)):
                tx.record(*package_events(registry, new_uuid7(), number, max(1, packages // 100), numbers, paths))
    with registry.transaction() as tx:
        tx.record(*_loose_events(registry, _objects(), packages, _files(numbers, 1, 64)))


def _loose_events(
    registry: Registry, objects: Path, number: int, files: Sequence[tuple[str, bytes]]
) -> Iterator[Event]:
    now, package_id = registry.clock(), new_uuid7()
    measured = [(path, data, measure(data)) for path, data in files]
    references = [ObjectRef("default", ObjectKind.BLOB, each.blake3, each.size_bytes) for _, _, each in measured]
    entries = tuple(
        FileEntry(path, _ROLE, _MEDIA_TYPE, each.size_bytes, each.blake3, each.sha256) for path, _, each in measured
    )
    manifest = Manifest(PRODUCER, entries, f"loose-{number}", None, None, None).encode()
    named = ObjectRef("default", ObjectKind.MANIFEST, key_of(manifest).digest, len(manifest))
    for reference, data in zip([*references, named], [*(data for _, data in files), manifest], strict=True):
        _write_object(objects, reference, data)
    yield events.PackageOpened(
        package_id=package_id, producer=PRODUCER, revision=1, opened_at=now, external_id=f"loose-{number}"
    )
    yield events.FilesAdded(
        package_id=package_id, first_index=0, files=entries, objects=tuple(references),
        crc32s=tuple(each.crc32 for _, _, each in measured), object_indexes=tuple(range(len(files))),
        starts=(0,) * len(files), chunks=(),
    )  # fmt: skip
    yield events.RetentionApplied(
        package_id=package_id, retention_class=RetentionClass.PERMANENT_RECORD, duration_days=None, expires_at=None
    )
    total_bytes = sum(each.size_bytes for _, _, each in measured)
    yield events.PackageFinalized(
        package_id=package_id, manifest=named, file_count=len(files), total_bytes=total_bytes,
        stored_bytes=total_bytes, finalized_at=now,
    )  # fmt: skip


def _write_object(objects: Path, reference: ObjectRef, data: bytes) -> None:
    path = objects / ObjectKey(ObjectKind(reference.kind), reference.blake3).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _files(numbers: random.Random, count: int, size_bytes: int) -> list[tuple[str, bytes]]:
    return [(f"part-{at // 100}/file-{at:06}.bin", numbers.randbytes(size_bytes)) for at in range(count)]


def _expire(registry: Registry, count: int) -> None:
    if (expired := len(sweep(registry))) != count:
        raise FailedError(f"{expired} packages are past their retention, not {count}")


def _long_ago(registry: Registry) -> Registry:
    before = _LONG_AGO_DAYS * MICROSECONDS_PER_DAY
    return replace(registry, clock=lambda: Instant(registry.clock() - before))


def _numbers(request: Request, what: str) -> random.Random:
    return random.Random(f"{request['seed']}/{what}")


def _objects() -> Path:
    return Settings.from_environment().home / "objects"


def _open() -> Registry:
    return open_registry(Settings.from_environment())


def _at_rest() -> Measures:
    rest(Settings.from_environment().database_url)
    return {}


if __name__ == "__main__":
    answer({"stored": stored, "dead": dead, "partly_dead": partly_dead, "recorded": recorded, "loose": loose})
