"""Moving the bytes of drafts into storage: small blobs into packs, large ones as objects, then the manifests.

Nothing is recorded here. What is left behind if it stops is unreferenced objects and a lease that runs out; the next
attempt finds the objects present. Memory does not grow with bytes: at most one batch of small files and a few buffers
of a large one are held at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.domain.event import ObjectRef
from artifactstore.domain.hashing import BUFFER_BYTES, BlobHasher, measure
from artifactstore.domain.manifest import encode_files, manifest_digest
from artifactstore.failpoints import failpoint
from artifactstore.registry.publishing import Publisher, publish_and_close, way_to_publish
from artifactstore.registry.reading import entry_of, manifest_of, measure_stream, read_whole
from artifactstore.storage.pack import PackWriter
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind, PutOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.digest import BlobMeasure
    from artifactstore.domain.manifest import FileEntry, Manifest
    from artifactstore.domain.package import FileDraft, OpenedFile, PackageDraft
    from artifactstore.registry.lease import Lease
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import Stage

_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_FILES = 1_000
_MANIFESTS_AT_ONCE = 8


class Placement(NamedTuple):
    """Where a blob was stored: index into ``Stored.objects``, and its first byte there."""

    object_index: int
    start: int


@dataclass(slots=True)
class Stored:
    """A draft whose bytes are all durable, ready to be recorded."""

    manifest: Manifest
    encoded_files: bytes
    """The manifest's file entries as they are written in it, for the event that repeats them."""
    manifest_object: ObjectRef
    manifest_written: bool
    objects: list[ObjectRef]
    """All of the pass."""
    placements: dict[bytes, Placement]
    """Blobs stored by this pass, by address; the others were present, or are another's stored before this."""
    new_blobs: dict[bytes, BlobMeasure]
    """Blobs the catalog did not know when they were looked up."""
    stored_bytes: int
    relied: set[bytes]
    """Blobs that were present, by address: the record relies on their staying so."""
    relies_since: int
    """The log's end before the first look-up."""


def store(registry: Registry, draft: PackageDraft, lease: Lease, progress: Progress) -> Stored:
    """Store what is not present yet of a draft whose files stand in path order."""
    return store_all(registry, [draft], lease, progress)[0]


def store_all(registry: Registry, drafts: Sequence[PackageDraft], lease: Lease, progress: Progress) -> list[Stored]:
    """The same of several, whose small blobs share packs. They are to be recorded together and in their order.

    What two of them have in common is new with the first; an object that several lie in counts as bytes of the first.
    """
    storing = _Storing(registry, lease, progress)
    progress.begin("storing", None)
    try:
        entries = [[storing.add(file) for file in draft.files] for draft in drafts]
        return storing.finish([manifest_of(draft, files) for draft, files in zip(drafts, entries, strict=True)])
    finally:
        storing.discard()


class _StoredManifest(NamedTuple):
    """A manifest that is stored unless it was present."""

    manifest: Manifest
    encoded_files: bytes
    encoded: bytes
    reference: ObjectRef
    is_known: bool
    """Whether the catalog has its object, in whatever state."""
    written: bool


@dataclass(slots=True)
class _Storing:
    """One pass: ``add`` every file, then ``finish``; ``discard`` in any case."""

    registry: Registry
    lease: Lease
    progress: Progress
    _objects: list[ObjectRef] = field(default_factory=list)
    _created_bytes: dict[int, int] = field(default_factory=dict)
    _placements: dict[bytes, Placement] = field(default_factory=dict)
    _new_blobs: dict[bytes, BlobMeasure] = field(default_factory=dict)
    _relied: set[bytes] = field(default_factory=set)
    _relies_since: int | None = None
    _seen: set[bytes] = field(default_factory=set)
    _batch: list[tuple[BlobMeasure, bytes]] = field(default_factory=list)
    _batch_bytes: int = 0
    _pack: PackWriter | None = None
    _packed: dict[bytes, int] = field(default_factory=dict)
    _publisher: Publisher = field(default_factory=Publisher)

    def add(self, file: FileDraft) -> FileEntry:
        opened = file.source.open()
        try:
            small = opened.size_bytes < self.registry.pack_threshold_bytes
            blob = self._add_small(opened) if small else self._add_large(file, opened)
        finally:
            opened.close()
        self.progress.advance(blob.size_bytes)
        return entry_of(file, blob)

    def finish(self, manifests: Sequence[Manifest]) -> list[Stored]:
        """Store what is still held back, then the manifests unless present; wait until all of it is durable."""
        self._flush_batch()
        self._finish_pack()
        stored = self._store_manifests(manifests)
        self._publisher.finish()
        return [self._stored(each) for each in stored]

    def _store_manifests(self, manifests: Sequence[Manifest]) -> list[_StoredManifest]:
        """Those that are not present; several at once, which a disk makes durable in little more than the time of one.

        A bucket answers them side by side, too.
        """
        with self.registry.catalog.snapshot() as queries:
            self._rely_from(queries)
            stored = [self._described(queries, manifest) for manifest in manifests]
        absent = [each for each in stored if each.written]
        if absent:
            failpoint("store.before-manifest")
            self.lease.ensure_open()
            if len(absent) == 1:
                self._put_manifest(absent[0])
            else:
                with ThreadPoolExecutor(_MANIFESTS_AT_ONCE) as pool:
                    list(pool.map(self._put_manifest, absent))
            failpoint("store.after-manifest")
        return stored

    def _described(self, queries: Queries, manifest: Manifest) -> _StoredManifest:
        encoded_files = encode_files(manifest.files)
        encoded = manifest.encode(encoded_files)
        reference = self._reference(ObjectInfo(ObjectKey(ObjectKind.MANIFEST, manifest_digest(encoded)), len(encoded)))
        known = queries.objects_of_digest(reference.kind, reference.blake3)
        within = self.registry.presence_within
        written = not any(record.status == "live" and within in {None, record.backend} for record in known)
        return _StoredManifest(manifest, encoded_files, encoded, reference, bool(known), written)

    def _put_manifest(self, manifest: _StoredManifest) -> None:
        with self.registry.store.stage(blake3()) as stage:
            stage.write(manifest.encoded)
            key = ObjectKey(ObjectKind.MANIFEST, manifest.reference.blake3)
            publish = way_to_publish(self.registry, stage, key) if manifest.is_known else stage.commit
            publish(key, len(manifest.encoded))

    def _stored(self, stored: _StoredManifest) -> Stored:
        """What of this pass is this manifest's and of none before it."""
        addresses = dict.fromkeys(file.blake3 for file in stored.manifest.files)
        placements = {each: self._placements.pop(each) for each in addresses if each in self._placements}
        objects = {placement.object_index for placement in placements.values()}
        return Stored(
            manifest=stored.manifest,
            encoded_files=stored.encoded_files,
            manifest_object=stored.reference,
            manifest_written=stored.written,
            objects=self._objects,
            placements=placements,
            new_blobs={each: self._new_blobs.pop(each) for each in addresses if each in self._new_blobs},
            stored_bytes=sum(self._created_bytes.pop(index, 0) for index in objects),
            relied=self._relied.intersection(addresses),
            relies_since=self._relies_since or 0,
        )

    def discard(self) -> None:
        """Drop a pack that was not published, and leave nothing running."""
        if self._pack is not None:
            self._pack.discard()
        self._publisher.abandon()

    # small files: hashed in memory, looked up by the batch, new ones packed

    def _add_small(self, opened: OpenedFile) -> BlobMeasure:
        data = read_whole(opened)
        blob = measure(data)
        if blob.blake3 not in self._seen:
            self._seen.add(blob.blake3)
            self._batch.append((blob, data))
            self._batch_bytes += len(data)
            if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
                self._flush_batch()
        return blob

    def _flush_batch(self) -> None:
        presence = self._presence([blob for blob, _ in self._batch])
        for blob, data in self._batch:
            if not presence.get(blob.blake3, False):
                self._pack_blob(blob, data)
        self._batch.clear()
        self._batch_bytes = 0

    def _pack_blob(self, blob: BlobMeasure, data: bytes) -> None:
        if self._pack is None:
            self.lease.ensure_open()
            self._pack = PackWriter(self.registry.store)
        self._packed[blob.blake3] = self._pack.add(blob, data)
        if self._pack.is_full:
            self._finish_pack()

    def _finish_pack(self) -> None:
        if self._pack is None:
            return
        index = self._publish(self._pack.finish(), self._pack.stage)
        self._placements.update((address, Placement(index, start)) for address, start in self._packed.items())
        self._packed.clear()
        self._pack = None

    # large files: hashed while they are staged, unless one of the same size makes it likely that they are present

    def _add_large(self, file: FileDraft, opened: OpenedFile) -> BlobMeasure:
        with self.registry.catalog.snapshot() as queries:
            probably_present = queries.may_have_blob_of_size(opened.size_bytes)
        if not probably_present:
            return self._stage_large(opened)
        blob = measure_stream(opened)
        if blob.blake3 in self._seen or self._presence([blob]).get(blob.blake3, False):
            return blob
        again = file.source.open()
        try:
            return self._stage_large(again)
        finally:
            again.close()

    def _stage_large(self, opened: OpenedFile) -> BlobMeasure:
        self.lease.ensure_open()
        with BlobHasher() as hasher, ExitStack() as unless_published:
            stage = unless_published.enter_context(self.registry.store.stage(hasher))
            blob = _pass_through(opened, hasher, stage)
            if blob.blake3 not in self._seen and not self._presence([blob]).get(blob.blake3, False):
                info = ObjectInfo(ObjectKey(ObjectKind.BLOB, blob.blake3), blob.size_bytes)
                self._placements[blob.blake3] = Placement(self._publish(info, stage), 0)
                unless_published.pop_all()
        self._seen.add(blob.blake3)
        return blob

    # what both share

    def _presence(self, measures: list[BlobMeasure]) -> dict[bytes, bool]:
        """Which of these blobs are known, and whether they can be read; remembers those that are not known."""
        with self.registry.catalog.snapshot() as queries:
            self._rely_from(queries)
            presence = queries.blob_presence([blob.blake3 for blob in measures], within=self.registry.presence_within)
        self._new_blobs.update((blob.blake3, blob) for blob in measures if blob.blake3 not in presence)
        self._relied.update(address for address, is_present in presence.items() if is_present)
        return presence

    def _publish(self, info: ObjectInfo, stage: Stage) -> int:
        """Have a staged object made durable, beside what follows; returns its index among the objects."""
        index = len(self._objects)
        publish = partial(publish_and_close, stage, way_to_publish(self.registry, stage, info.key), info)
        self._publisher.submit(publish, partial(self._count, index, info.size_bytes))
        self._objects.append(self._reference(info))
        return index

    def _count(self, index: int, size_bytes: int, outcome: PutOutcome) -> None:
        if outcome is PutOutcome.CREATED:
            self._created_bytes[index] = size_bytes
        failpoint("store.after-object")

    def _reference(self, info: ObjectInfo) -> ObjectRef:
        return ObjectRef(self.registry.default_backend, info.key.kind, info.key.digest, info.size_bytes)

    def _rely_from(self, queries: Queries) -> None:
        """From the log's end as the first view had it in which anything was looked up."""
        if self._relies_since is None:
            self._relies_since = queries.latest_seq()


def _pass_through(opened: OpenedFile, hasher: BlobHasher, stage: Stage) -> BlobMeasure:
    while data := opened.read(BUFFER_BYTES):
        stage.write(data)
    opened.finish()
    return hasher.finish()
