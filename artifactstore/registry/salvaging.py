"""What is to be done about a damaged object: save what is sound of a pack in another backend, name what is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.catalog import backends
from artifactstore.domain.digest import Digest
from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.events import MAX_FILES_PER_EVENT
from artifactstore.domain.hashing import BUFFER_BYTES, measure
from artifactstore.domain.object_events import BlobRestored, ObjectRestored
from artifactstore.errors import BlobCorruptError, RangeInvalidError, StorageDeniedError, StorageError
from artifactstore.registry.lease import Lease
from artifactstore.registry.placing import require_takes_writes
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.read_back import key_of
from artifactstore.registry.verify import Damage
from artifactstore.storage.pack import PackWriter
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord, PlacedBlob
    from artifactstore.registry.read_back import Findings
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore

COPY = "copy"
"""What a copy's lease says it is for."""
_NAMED_USERS = 10_000
_NOBODY: list[tuple[None, None]] = [(None, None)]
Restored = list[tuple[bytes, int]]
"""Blobs and where each begins in the new pack."""


def save_sound_blobs(registry: Registry, found: ObjectRecord) -> int:
    """Store those blobs of a damaged pack that are sound and that the default backend lacks in a new pack there.

    Returns how many. Of any other object nothing can be saved.
    """
    if found.kind != ObjectKind.PACK:
        return 0
    with registry.catalog.snapshot() as queries:
        absent = backends.blobs_not_in(queries.connection, found.row_id, registry.default_backend)
    if not absent:
        return 0
    with Lease(registry, COPY) as lease:
        lease.ensure_open()
        stored = _store(registry, found, absent)
        with registry.transaction() as tx:
            if stored is not None:
                tx.record(*restoring(tx, *stored))
            lease.end_in(tx)
            require_takes_writes(tx, registry.default_backend)
    return 0 if stored is None else len(stored[1])


def damage_in(registry: Registry, found: ObjectRecord, findings: Findings) -> Iterator[Damage]:
    """Each bad blob of an object with the files that need it; or the object itself, if it has none."""
    key, finding = key_of(found).path, findings.finding or ""
    if not findings.bad:
        yield Damage(finding, found.backend, key, expected_blake3=str(Digest.blake3(found.blake3)))
    for bad in findings.bad:
        there = str(Digest.blake3(bad.found_blake3)) if bad.found_blake3 else None
        for package_id, path in _users(registry, bad.blob):
            expected = str(Digest.blake3(bad.blob.blake3))
            yield Damage(finding, found.backend, key, package_id, path, expected, there)


def lost_with(registry: Registry, found: ObjectRecord) -> list[Damage]:
    """What a damaged object had and no other backend has."""
    what, key = "no backend has it undamaged", key_of(found).path
    with registry.catalog.snapshot() as queries:
        only_here = backends.blobs_only_in(queries.connection, found.row_id, found.backend)
        places = queries.objects_of_digest(found.kind, found.blake3)
    if found.kind == ObjectKind.MANIFEST and not any(place.status == "live" for place in places):
        return [Damage(what, found.backend, key, expected_blake3=str(Digest.blake3(found.blake3)))]
    return [
        Damage(what, found.backend, key, package_id, path, expected_blake3=str(Digest.blake3(blob.blake3)))
        for blob in only_here
        for package_id, path in _users(registry, blob)
    ]


def restoring(queries: Queries, reference: ObjectRef, restored: Restored) -> Iterator[Event]:
    """That these blobs lie in an object that has been stored, at these places, and that it is live again if it was not.

    Another event is needed for an object that is new and has no blobs, such as a manifest.
    """
    for at in range(0, len(restored), MAX_FILES_PER_EVENT):
        yield BlobRestored(object=reference, blobs=tuple(restored[at : at + MAX_FILES_PER_EVENT]))
    known = queries.objects_of_digest(reference.kind, reference.blake3)
    if any(place.backend == reference.backend and place.status != "live" for place in known):
        yield ObjectRestored(object=reference)


def _users(registry: Registry, blob: PlacedBlob) -> list[tuple[str, str]] | list[tuple[None, None]]:
    with registry.catalog.snapshot() as queries:
        return queries.users_of_blob(blob.blake3, limit=_NAMED_USERS) or _NOBODY


def _store(registry: Registry, found: ObjectRecord, blobs: Sequence[PlacedBlob]) -> tuple[ObjectRef, Restored] | None:
    """The new pack and what is in it; None if no blob is sound."""
    pack, restored = PackWriter(registry.store), list[tuple[bytes, int]]()
    try:
        for blob, data in sound_blobs(registry.backend(found.backend), found, blobs):
            restored.append((blob.blake3, pack.add(measure(data), data)))
        if not restored:
            return None
        info = pack.finish()
        publish_and_close(pack.stage, way_to_publish(registry, pack.stage, info.key), info)
    finally:
        pack.discard()
    reference = ObjectRef(registry.default_backend, info.key.kind, info.key.digest, info.size_bytes)
    require_readable(registry.store, reference)
    return reference, restored


def sound_blobs(
    store: ObjectStore, found: ObjectRecord, blobs: Sequence[PlacedBlob]
) -> Iterator[tuple[PlacedBlob, bytes]]:
    """Those blobs whose bytes are right, from one stream as far as it goes; ``blobs`` stand in order of position."""
    try:
        with store.open(key_of(found)) as stream:
            position = 0
            for blob in blobs:
                while position < blob.start and (skipped := stream.read(min(BUFFER_BYTES, blob.start - position))):
                    position += len(skipped)
                data = stream.read(blob.size_bytes) if position == blob.start else b""
                position += len(data)
                if blake3(data).digest() == blob.blake3 and measure(data).sha256 == blob.sha256:
                    yield blob, data
    except (StorageError, RangeInvalidError) as error:
        if isinstance(error, StorageDeniedError) or (isinstance(error, StorageError) and error.retryable):
            raise


def require_readable(store: ObjectStore, reference: ObjectRef) -> None:
    """A put that finds the object looks at its size alone."""
    key, hasher = ObjectKey(ObjectKind(reference.kind), reference.blake3), blake3()
    with store.open(key) as stream:
        while data := stream.read(BUFFER_BYTES):
            hasher.update(data)
    if hasher.digest() != reference.blake3:
        raise BlobCorruptError(f"{key} in backend {reference.backend!r} reads otherwise than it was stored")
