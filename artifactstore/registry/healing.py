"""Heal: store afresh what is damaged or missing, wherever its bytes still are.

An object is healed in its own backend, under its own key: a large blob and a manifest from another location, a pack by
writing it again, which gives the same bytes if all of its blobs can be had. If some cannot, those that can are stored
in a new pack. What was bad is kept in quarantine. Nothing is believed that was not compared by both digests, and
nothing is recorded that was not read back.

Every step can be taken again: what was stored and not recorded is found sound by the next.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from artifactstore.catalog import backends, stored
from artifactstore.catalog.records import PlacedBlob
from artifactstore.domain.digest import Digest
from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.events import event_from
from artifactstore.domain.hashing import BlobHasher, measure
from artifactstore.domain.manifest import manifest_digest
from artifactstore.domain.object_events import LogSealed, ObjectRestored
from artifactstore.domain.segment import segment_digest
from artifactstore.errors import (
    ArtifactStoreError,
    BlobCorruptError,
    ConcurrentUpdateError,
    ManifestCorruptError,
)
from artifactstore.failpoints import failpoint
from artifactstore.registry.damage import record_findings, recorded_now
from artifactstore.registry.healing_sources import NOT_GIVEN, Refusal, Sources
from artifactstore.registry.lease import Lease
from artifactstore.registry.locations import read_manifest_of
from artifactstore.registry.packages import require_content
from artifactstore.registry.paging import every
from artifactstore.registry.placing import placed, require_takes_writes
from artifactstore.registry.progress import SILENT
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.read_back import is_right, key_of, read_back_surely
from artifactstore.registry.salvaging import restoring
from artifactstore.registry.sealing import segment_of
from artifactstore.registry.verify import NO_ANSWER, Damage, manifest_of_rows, verify_package
from artifactstore.storage.pack import PackWriter
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord, PackageRecord
    from artifactstore.domain.hashing import ObjectHasher
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.salvaging import Restored
    from artifactstore.storage.port import Stage

HEAL = "heal"
"""What a healing's lease says it is for."""
_PAGE = 100
_NAMED_USERS = 10_000
_WITHOUT_BLOBS = (ObjectKind.MANIFEST, ObjectKind.SEGMENT)
_NOBODY: list[tuple[str, str]] | list[tuple[None, None]] = [(None, None)]


@dataclass(slots=True)
class HealReport:
    """What was healed, and what could not be."""

    objects: int = 0
    """Objects that are whole again."""
    found_sound: int = 0
    """Of these, objects that were recorded as damaged and read well."""
    blobs: int = 0
    """Blobs stored in new objects, because the object they were in cannot be had whole."""
    bytes_stored: int = 0
    superseded: int = 0
    """Damaged objects that nothing needs: their backend has all that was in them elsewhere."""
    not_healed: list[Damage] = field(default_factory=list)
    """What no source has."""
    refused: list[Refusal] = field(default_factory=list)
    """Files of the directory that are not what is missing."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left that is damaged."""
        return not self.not_healed


def heal_package(
    registry: Registry, package_id: str, *, folder: Path | None = None, progress: Progress = SILENT
) -> HealReport:
    """Read a package back, and heal what is bad of it: from other locations, or from the files in ``folder``.

    A file of the folder counts if it is at the path that the package has it at and both digests match; else it is
    refused and named. Raises ``PackageUnknownError``, ``FileUnreadableError`` for a folder that is none, and what a
    backend raises that gives no answer.
    """
    with registry.catalog.snapshot() as queries:
        paths = _paths(queries, require_content(queries, package_id))
    with Sources(registry, folder, paths) as sources:
        verify_package(registry, package_id, progress=progress)
        healing = _Healing(registry, sources)
        with registry.catalog.snapshot() as queries:
            package = require_content(queries, package_id)
            objects = stored.of_package(queries.connection, package.row_id, package.manifest_digest or b"")
            bad = [found for found in objects if queries.object_has_losses(found.row_id)]
            nowhere = _nowhere(queries, package)
        for found in bad:
            healing.object(found)
        healing.loose(nowhere)
        if package.manifest_digest is not None and not any(found.kind == ObjectKind.MANIFEST for found in objects):
            healing.manifest(package.manifest_digest)
        return healing.finish()


def heal_all(registry: Registry, *, progress: Progress = SILENT) -> HealReport:
    """Heal whatever is recorded as damaged; ``verify`` and the scrub record it. Raises as ``heal_package``."""

    def page(after: int) -> list[ObjectRecord]:
        with registry.catalog.snapshot() as queries:
            return stored.with_losses(queries.connection, after=after, limit=_PAGE)

    progress.begin("healing", None)
    with Sources(registry) as sources:
        healing = _Healing(registry, sources)
        for found in every(page, first=0, size=_PAGE, key=attrgetter("row_id")):
            healing.object(found)
            progress.advance(found.size_bytes)
        return healing.finish()


class _Healing:
    def __init__(self, registry: Registry, sources: Sources) -> None:
        self._registry = registry
        self._sources = sources
        self._report = HealReport()

    def finish(self) -> HealReport:
        """The report."""
        self._report.refused = [self._sources.refused[path] for path in sorted(self._sources.refused)]
        return self._report

    def object(self, found: ObjectRecord) -> None:
        """Heal one that is recorded as damaged, or has a damaged blob in it."""
        with self._registry.catalog.snapshot() as queries:
            now = recorded_now(queries, found)
            target = backends.taking_writes(queries.connection, found.backend)
            absent = backends.blobs_not_in(queries.connection, found.row_id, target)
        if now is None:
            return  # it is being removed
        is_no_ones = found.kind == ObjectKind.MANIFEST and not self._packages_of(key_of(found))
        if is_no_ones or (found.kind not in _WITHOUT_BLOBS and not absent):
            self._report.superseded += 1
            return
        try:
            self._heal(_Place(replace(self._registry, default_backend=target)), now, absent)
        except NO_ANSWER as error:
            self._name(now, absent, f"not healed, for want of an answer: {error.message}")

    def loose(self, blobs: Sequence[PlacedBlob]) -> None:
        """Store blobs that no object is recorded to have where new objects go."""
        if not blobs:
            return
        place = _Place(placed(self._registry))
        large = [blob for blob in blobs if blob.size_bytes >= self._registry.pack_threshold_bytes]
        for blob in large:
            key = ObjectKey(ObjectKind.BLOB, blob.blake3)
            if not self._large(place, key, blob):
                self._name_blobs("", key, [blob], "no source has it")
        self._new_pack(place, [blob for blob in blobs if blob not in large], "", "")

    def manifest(self, digest: bytes) -> None:
        """Store a manifest that no backend is recorded to have."""
        self._document(_Place(placed(self._registry)), ObjectKey(ObjectKind.MANIFEST, digest), "")

    # one object

    def _heal(self, place: _Place, found: ObjectRecord, absent: list[PlacedBlob]) -> None:
        if self._is_sound(found):
            self._report.objects += 1
            self._report.found_sound += 1
        elif found.kind in _WITHOUT_BLOBS:
            self._document(place, key_of(found), found.backend)
        elif found.kind == ObjectKind.PACK:
            if place.name != found.backend or not self._same_pack(place, found):
                self._new_pack(place, absent, found.backend, key_of(found).path)
        elif not self._large(place, key_of(found), absent[0]):
            self._name(found, absent, "no source has it")

    def _is_sound(self, found: ObjectRecord) -> bool:
        """Whether it reads well after all; what is found is recorded."""
        with self._registry.catalog.snapshot() as queries:
            blobs = list(queries.blobs_in_object(found.row_id))
        findings = read_back_surely(self._registry.backend(found.backend), found, blobs, lambda _: None)
        record_findings(self._registry, found, findings)
        return findings.finding is None and not findings.bad

    def _document(self, place: _Place, key: ObjectKey, backend: str) -> None:
        """A manifest, or a segment of the log."""
        data = self._manifest_bytes(key) if key.kind is ObjectKind.MANIFEST else self._segment_bytes(key)
        if data is None:
            concerned: list[str] | list[None] = self._packages_of(key) or [None]
            self._report.not_healed += [Damage("no source has it", backend, key.path, each) for each in concerned]
            return
        with ExitStack() as on_leaving:
            stage = place.stage(BlobHasher(), on_leaving)
            stage.write(data)
            self._report.bytes_stored += len(data)
            place.publish(stage, ObjectInfo(key, len(data)))
            place.record(ObjectInfo(key, len(data)), [])
        self._report.objects += 1

    def _manifest_bytes(self, key: ObjectKey) -> bytes | None:
        """From another backend; else as the catalog's rows give it, if that is to the byte what its digest names."""
        try:
            return read_manifest_of(self._registry, "", key.digest)
        except ManifestCorruptError:
            for package_id in self._packages_of(key)[:1]:
                with self._registry.catalog.snapshot() as queries:
                    package = require_content(queries, package_id)
                    made = manifest_of_rows(package, list(queries.entries(package.row_id)))
                if manifest_digest(made) == key.digest:
                    return made
        return None

    def _segment_bytes(self, key: ObjectKey) -> bytes | None:
        """As the log gives it, if that is to the byte what its digest names."""
        with self._registry.catalog.snapshot() as queries:
            for record in queries.events(after=0, limit=_PAGE, subject=f"blake3:{key.digest.hex()}"):
                event = event_from(record.type, record.payload)
                if isinstance(event, LogSealed):
                    made = segment_of(queries, event.first_seq, event.last_seq).encode()
                    return made if segment_digest(made) == key.digest else None
        return None

    def _packages_of(self, key: ObjectKey) -> list[str]:
        with self._registry.catalog.snapshot() as queries:
            return stored.packages_of_manifest(queries.connection, key.digest, limit=_NAMED_USERS)

    def _same_pack(self, place: _Place, found: ObjectRecord) -> bool:
        """Write the pack once more, blob by blob; whether that gave the same pack, which then is in its place."""
        with self._registry.catalog.snapshot() as queries:
            blobs = list(queries.blobs_in_object(found.row_id))
        with ExitStack() as on_leaving:
            pack = place.pack(on_leaving)
            restored: Restored = []
            for blob in blobs:
                if (data := self._sources.small(blob)) is None:
                    return False
                restored.append((blob.blake3, pack.add(measure(data), data)))
            info = pack.finish()
            if info != ObjectInfo(key_of(found), found.size_bytes):
                return False
            place.publish(pack.stage, info)
            place.record(info, restored)
        self._report.objects += 1
        self._report.bytes_stored += info.size_bytes
        return True

    def _new_pack(self, place: _Place, blobs: Iterable[PlacedBlob], backend: str, path: str) -> None:
        """Store what can be had of these in a pack of their own, and name the others."""
        lost: list[PlacedBlob] = []
        with ExitStack() as on_leaving:
            pack, restored = place.pack(on_leaving), list[tuple[bytes, int]]()
            for blob in blobs:
                if (data := self._sources.small(blob)) is None:
                    lost.append(blob)
                else:
                    restored.append((blob.blake3, pack.add(measure(data), data)))
            if restored:
                info = pack.finish()
                place.publish(pack.stage, info)
                place.record(info, restored)
                self._report.blobs += len(restored)
                self._report.bytes_stored += info.size_bytes
        self._name_blobs(backend, path, lost, "no source has it")

    def _large(self, place: _Place, key: ObjectKey, blob: PlacedBlob) -> bool:
        """Store a large blob; whether some source has it."""
        for way in self._sources.ways(blob):
            with ExitStack() as on_leaving:
                hasher = on_leaving.enter_context(BlobHasher())
                stage = place.stage(hasher, on_leaving)
                try:
                    for data in way():
                        stage.write(data)
                except NOT_GIVEN:
                    continue
                if hasher.finish().descriptor != (blob.blake3, blob.sha256, blob.size_bytes):
                    continue
                place.publish(stage, ObjectInfo(key, blob.size_bytes))
                place.record(ObjectInfo(key, blob.size_bytes), [(blob.blake3, 0)])
            self._report.objects += 1
            self._report.bytes_stored += blob.size_bytes
            return True
        return False

    # what cannot be healed

    def _name(self, found: ObjectRecord, absent: list[PlacedBlob], why: str) -> None:
        key = key_of(found)
        if absent:
            self._name_blobs(found.backend, key.path, absent, why)
        else:
            self._report.not_healed.append(Damage(why, found.backend, key.path))

    def _name_blobs(self, backend: str, key: ObjectKey | str, blobs: Iterable[PlacedBlob], why: str) -> None:
        for blob in blobs:
            with self._registry.catalog.snapshot() as queries:
                users = queries.users_of_blob(blob.blake3, limit=_NAMED_USERS)
            where, digest = str(key or ObjectKey(ObjectKind.BLOB, blob.blake3)), str(Digest.blake3(blob.blake3))
            self._report.not_healed += [
                Damage(why, backend, where, package_id, path, expected_blake3=digest)
                for package_id, path in users or _NOBODY
            ]


class _Place:
    """The backend that is healed, and how something is stored and recorded there."""

    def __init__(self, registry: Registry) -> None:
        self.name = registry.default_backend
        self._registry = registry
        self._lease: Lease | None = None

    def stage(self, hasher: ObjectHasher, on_leaving: ExitStack) -> Stage:
        """Begin an object, under a lease."""
        self._open_lease(on_leaving)
        return on_leaving.enter_context(self._registry.store.stage(hasher))

    def pack(self, on_leaving: ExitStack) -> PackWriter:
        """Begin a pack, under a lease."""
        self._open_lease(on_leaving)
        pack = PackWriter(self._registry.store)
        on_leaving.callback(pack.discard)
        return pack

    def publish(self, stage: Stage, info: ObjectInfo) -> None:
        """Store it in place of a bad one, which is quarantined, and read it back."""
        failpoint("heal.before-publish")
        publish_and_close(stage, way_to_publish(self._registry, stage, info.key), info)
        if is_right(self._registry.store, info.key, info.key.digest):
            return
        raise BlobCorruptError(
            f"{info.key} was stored in backend {self.name!r} and reads otherwise",
            hint=f"`artifactstore storage probe {self.name}` says whether it can be relied on.",
        )

    def record(self, info: ObjectInfo, restored: Restored) -> None:
        """Let it be known, and end the lease. Raises ``ConcurrentUpdateError`` if it is being removed."""
        reference = ObjectRef(self.name, info.key.kind, info.key.digest, info.size_bytes)
        failpoint("heal.before-record")
        with self._registry.transaction() as tx:
            places = tx.objects_of_digest(info.key.kind, info.key.digest)
            for place in (place for place in places if place.backend == self.name):
                tx.lock_object(place.row_id)
                if recorded_now(tx, place) is None:
                    raise ConcurrentUpdateError(f"{info.key} is being removed")
            tx.record(*self._events(tx, reference, restored))
            if self._lease is not None:
                self._lease.end_in(tx)
            require_takes_writes(tx, self.name)
        self._lease = None
        failpoint("heal.after-record")

    def _events(self, queries: Queries, reference: ObjectRef, restored: Restored) -> Iterator[Event]:
        if restored:
            yield from restoring(queries, reference, restored)
        else:
            yield ObjectRestored(object=reference)

    def _open_lease(self, on_leaving: ExitStack) -> None:
        lease = self._lease = on_leaving.enter_context(Lease(self._registry, HEAL))
        lease.ensure_open()
        on_leaving.callback(self._end, lease)

    def _end(self, lease: Lease) -> None:
        """End a lease under which nothing was recorded. One that cannot be ended runs out by itself."""
        if self._lease is lease:
            with suppress(ArtifactStoreError), self._registry.transaction() as tx:
                lease.end_in(tx)


# what a package has


def _paths(queries: Queries, package: PackageRecord) -> dict[bytes, list[str]]:
    paths: dict[bytes, list[str]] = {}
    for entry in queries.entries(package.row_id):
        paths.setdefault(entry.blake3, []).append(entry.path)
    return paths


def _nowhere(queries: Queries, package: PackageRecord) -> list[PlacedBlob]:
    """The package's blobs that no object is recorded to have, each once."""
    rows = queries.recorded_files(package.row_id)
    found = {row[4]: PlacedBlob(0, row[3], row[4], row[5], "gone") for row in rows if row[6] is None}
    return list(found.values())
