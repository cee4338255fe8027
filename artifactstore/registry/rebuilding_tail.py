"""What storage has and the log does not know: packages that come back by their manifests alone.

A manifest says everything of a package's content, and a pack's directory where each blob begins. What neither says is
lost: the package's id, when it was made and by whom, its revision if it had one, its retention, holds and observations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.domain.digest import BlobMeasure, Digest
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.hashing import BUFFER_BYTES, BlobHasher
from artifactstore.domain.manifest import Manifest, encode_files, manifest_digest
from artifactstore.domain.metadata_schema import check_schema
from artifactstore.domain.package import PackageDraft
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import ArtifactStoreError, InvalidRequestError, StorageError
from artifactstore.failpoints import failpoint
from artifactstore.registry.ingest import record
from artifactstore.registry.metadata_schemas import record_schema
from artifactstore.registry.storing import Placement, Stored
from artifactstore.storage.pack import members_of
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.domain.manifest import FileEntry
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectInfo

_NAMED_PATHS = 20
_BATCH = 100
_BATCH_FILES = 10_000
"""Packages, and files of them, that one transaction records at most, unless one package has more."""


@dataclass(frozen=True, slots=True)
class LostPackage:
    """A manifest that could not become a package again, and why."""

    manifest: str
    producer: str | None
    external_id: str | None
    why: str
    missing: tuple[str, ...] = ()
    """Paths whose bytes no backend has, some of them if there are many."""


class _Place(NamedTuple):
    reference: ObjectRef
    start: int
    size_bytes: int
    crc32: int
    chunks: bytes = b""


class _Read(NamedTuple):
    """A manifest, and where it lies."""

    reference: ObjectRef
    manifest: Manifest


class Tail:
    """What the log does not know. ``recover`` may be called again: what it has recorded is known then."""

    def __init__(self, registry: Registry, schemas: Mapping[str, JsonValue], progress: Progress) -> None:
        self.lost: list[LostPackage] = []
        self._registry = registry
        self._schemas = schemas
        self._progress = progress
        self._places: dict[bytes, _Place] = {}

    def recover(self) -> None:
        """Record every package that is whole, the oldest manifests first."""
        manifests = list(self._unknown(ObjectKind.MANIFEST))
        if not manifests:
            return
        self._progress.begin("looking for what the log does not know", None)
        self._look_for_blobs()
        oldest_first = sorted(manifests, key=lambda found: (-(found[1].age_s or 0), found[1].key.digest))
        for batch in self._batches(reference for reference, _ in oldest_first):
            self._record(batch)
            failpoint("rebuild.after-packages")

    def _unknown(self, kind: ObjectKind) -> Iterator[tuple[ObjectRef, ObjectInfo]]:
        """Objects of a kind that no backend is recorded to have, each once."""
        seen: set[bytes] = set()
        for name in self._registry.backends:
            for info in self._registry.backend(name).list(kind):
                with self._registry.catalog.snapshot() as queries:
                    is_known = bool(queries.objects_of_digest(kind, info.key.digest))
                if not is_known and info.key.digest not in seen:
                    seen.add(info.key.digest)
                    yield ObjectRef(name, kind, info.key.digest, info.size_bytes), info

    def _look_for_blobs(self) -> None:
        """Where the blobs are that lie in objects the log does not know."""
        for reference, info in self._unknown(ObjectKind.PACK):
            try:
                members = members_of(self._registry.backend(reference.backend), info)
            except (InvalidRequestError, StorageError) as error:
                if getattr(error, "retryable", False):
                    raise
                continue  # whoever needs it is named as lost
            for member in members:
                self._places.setdefault(member.blake3, _Place(reference, member.start, member.size_bytes, member.crc32))
        for reference, info in self._unknown(ObjectKind.BLOB):
            measured = self._measured(reference, info)
            if measured.blake3 == reference.blake3:
                self._places[reference.blake3] = _Place(
                    reference, 0, measured.size_bytes, measured.crc32, measured.chunks
                )

    def _measured(self, reference: ObjectRef, info: ObjectInfo) -> BlobMeasure:
        """A large blob's measure: the CRC-32 and the digests of its chunks stand nowhere else."""
        with self._registry.backend(reference.backend).open(info.key) as stream, BlobHasher() as hasher:
            while data := stream.read(BUFFER_BYTES):
                hasher.update(data)
                self._progress.advance(len(data))
            return hasher.finish()

    def _batches(self, references: Iterable[ObjectRef]) -> Iterator[list[_Read]]:
        """As many manifests as are recorded in one transaction: each waits for the disk at its end."""
        batch: list[_Read] = []
        for reference in references:
            if (manifest := self._read(reference)) is not None:
                batch.append(_Read(reference, manifest))
            if len(batch) == _BATCH or sum(len(each.manifest.files) for each in batch) >= _BATCH_FILES:
                yield batch
                batch = []
        if batch:
            yield batch

    def _read(self, reference: ObjectRef) -> Manifest | None:
        try:
            return self._manifest(reference)
        except ArtifactStoreError as error:
            if error.retryable and not isinstance(error, InvalidRequestError):
                raise
            self.lost.append(_loss(reference, None, error.message))
            return None

    def _record(self, batch: list[_Read]) -> None:
        """All of them, or if one is refused, each by itself."""
        try:
            with self._registry.transaction() as tx:
                lost = [loss for each in batch if (loss := self._recover(tx, each)) is not None]
        except ArtifactStoreError as error:
            if error.retryable and not isinstance(error, InvalidRequestError):
                raise
            if len(batch) > 1:
                for each in batch:
                    self._record([each])
                return
            lost = [_loss(batch[0].reference, batch[0].manifest, error.message)]
        self.lost += lost

    def _recover(self, tx: Transaction, read: _Read) -> LostPackage | None:
        """Make it a package again, or say what is missing of it."""
        stored, missing = self._stored(tx, read.manifest, read.reference)
        if missing:
            return _loss(read.reference, read.manifest, f"{len(missing)} of its files are in no backend", missing)
        self._register_schema(tx, read.manifest)
        record(tx, self._registry, _draft(read.manifest), stored, as_revision=True)
        return None

    def _manifest(self, reference: ObjectRef) -> Manifest:
        data = self._registry.backend(reference.backend).read(ObjectKey(ObjectKind.MANIFEST, reference.blake3))
        if manifest_digest(data) != reference.blake3:
            raise InvalidRequestError("its bytes are not what its name says")
        return Manifest.decode(data)

    def _stored(self, tx: Transaction, manifest: Manifest, reference: ObjectRef) -> tuple[Stored, list[str]]:
        """The manifest as if it had just been stored, and the paths of what is missing."""
        since = tx.latest_seq()
        presence = tx.blob_presence([file.blake3 for file in manifest.files])
        stored = Stored(
            manifest=manifest, encoded_files=encode_files(manifest.files), manifest_object=reference,
            manifest_written=True, objects=[], placements={}, new_blobs={}, stored_bytes=reference.size_bytes,
            relied=set(), relies_since=since,
        )  # fmt: skip
        missing = [file.path for file in manifest.files if not self._place(stored, file, presence)]
        stored.stored_bytes += sum(
            each.size_bytes for each in stored.objects if not tx.objects_of_digest(each.kind, each.blake3)
        )
        return stored, missing

    def _place(self, stored: Stored, file: FileEntry, presence: Mapping[bytes, bool]) -> bool:
        """Note where a file's bytes are; whether they are anywhere."""
        if presence.get(file.blake3, False):
            stored.relied.add(file.blake3)
            return True
        place = self._places.get(file.blake3)
        if place is None or place.size_bytes != file.size_bytes:
            return False
        if file.blake3 not in stored.placements:
            if place.reference not in stored.objects:
                stored.objects.append(place.reference)
            stored.placements[file.blake3] = Placement(stored.objects.index(place.reference), place.start)
            if file.blake3 not in presence:
                measured = BlobMeasure(file.blake3, file.sha256, file.size_bytes, place.crc32, place.chunks)
                stored.new_blobs[file.blake3] = measured
        return True

    def _register_schema(self, tx: Transaction, manifest: Manifest) -> None:
        """The schema of a package, if the log does not know it and somebody has it."""
        slug = manifest.schema
        if slug is None or tx.schema(slug) is not None:
            return
        if slug not in self._schemas:
            raise InvalidRequestError(f"its metadata schema {slug!r} is not registered, and nobody has it here")
        record_schema(tx, self._registry, slug, check_schema(slug, self._schemas[slug]))


def _loss(reference: ObjectRef, manifest: Manifest | None, why: str, missing: Sequence[str] = ()) -> LostPackage:
    producer, external_id = (None, None) if manifest is None else (manifest.producer, manifest.external_id)
    named = str(Digest.blake3(reference.blake3))
    return LostPackage(named, producer, external_id, why, tuple(missing[:_NAMED_PATHS]))


def _draft(manifest: Manifest) -> PackageDraft:
    """The draft that a manifest was made of, without its bytes. How long it was to stay is not known."""
    return PackageDraft(
        manifest.producer, (), RetentionClass.RAW_EVIDENCE, external_id=manifest.external_id, subject=manifest.subject,
        schema=manifest.schema, metadata=manifest.metadata,
    )  # fmt: skip
