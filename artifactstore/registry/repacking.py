"""Making a pack smaller: what something refers to goes into a new pack, and the old one is condemned.

The new pack is durable before it is recorded. One event moves the blobs' locations; at no moment is a blob nowhere.
Whoever reads from the old pack goes on, until that is deleted with everything else that is condemned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.catalog import collecting
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.hashing import measure
from artifactstore.domain.object_events import ObjectCondemned, PackRepacked
from artifactstore.failpoints import failpoint
from artifactstore.registry.lease import Lease
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.removing import reference_to
from artifactstore.registry.salvaging import sound_blobs
from artifactstore.storage.pack import PackWriter

if TYPE_CHECKING:
    from artifactstore.catalog.records import ObjectRecord, PlacedBlob
    from artifactstore.registry.registry import Registry

PURPOSE = "collect repack"


def repack(registry: Registry, found: ObjectRecord) -> int:
    """Store what is referred to of a pack in a smaller one, and condemn the old; the bytes of the new one.

    0 if it was left as it is: something bad was found in it, which ``verify`` is to look at, or it has changed.
    """
    here = replace(registry, default_backend=found.backend)
    with registry.catalog.snapshot() as queries:
        kept = collecting.blobs_referred_to(queries.connection, found.row_id)
    with Lease(here, PURPOSE) as lease:
        lease.ensure_open()
        stored = _store(here, found, kept)
        if stored is None:
            with registry.transaction() as tx:
                lease.end_in(tx)
            return 0
        reference, moved = stored
        failpoint("repack.before-record")
        with registry.transaction() as tx:
            tx.lock_object(found.row_id)
            tx.lock_log()
            now = collecting.referred(tx.connection, found.row_id)
            stays = now is None or now.found.status != "live"
            if stays or collecting.blobs_referred_to(tx.connection, found.row_id) != kept:
                lease.end_in(tx)
                return 0
            tx.record(
                PackRepacked(object=reference, source=reference_to(found), blobs=moved),
                ObjectCondemned(object=reference_to(found)),
            )
            collecting.note_condemned(tx.connection, [reference_to(found)], registry.clock())
            lease.end_in(tx)
    failpoint("repack.after-record")
    return reference.size_bytes


def _store(
    registry: Registry, found: ObjectRecord, kept: list[PlacedBlob]
) -> tuple[ObjectRef, tuple[tuple[bytes, int], ...]] | None:
    """The new pack and where each blob begins in it; None if any of them cannot be read."""
    pack = PackWriter(registry.store)
    try:
        moved = [
            (blob.blake3, pack.add(measure(data), data)) for blob, data in sound_blobs(registry.store, found, kept)
        ]
        if len(moved) < len(kept):
            return None
        info = pack.finish()
        failpoint("repack.before-publish")
        publish_and_close(pack.stage, way_to_publish(registry, pack.stage, info.key), info)
    finally:
        pack.discard()
    return ObjectRef(found.backend, info.key.kind, info.key.digest, info.size_bytes), tuple(moved)
