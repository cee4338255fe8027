"""Backup: a snapshot of a store that is in use, in another place, and the bytes that it needs.

In the order that cannot lose: a lease first, for which collection waits, so nothing that is live then is deleted while
the backup runs. Then one view of the database, for the end of the log, the list of objects and the operational rows.
Then the bytes, from whichever backend has them right. Then the log up to that end: it only grows, so it is the same
however late it is read, and its chain shows that it is. The document that names all of this is last: without it
there is no backup, and what lies there already is what the next one need not copy.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from artifactstore.catalog import backends, event_log, stored
from artifactstore.catalog.backing_up import operational_rows
from artifactstore.domain.backup import (
    LeftOut,
    Needed,
    Snapshot,
    entries_in,
    entry,
    inventory_parts,
    operational_part,
)
from artifactstore.domain.events import PackageDeleted, PackageFinalized
from artifactstore.errors import ConcurrentUpdateError, EventLogCorruptError
from artifactstore.failpoints import failpoint
from artifactstore.registry.lease import Lease
from artifactstore.registry.placing import placed
from artifactstore.registry.probing import require_usable
from artifactstore.registry.progress import SILENT
from artifactstore.registry.sealing import fitting, segment_from
from artifactstore.registry.snapshots import FoundSnapshot, put_part, require_apart
from artifactstore.registry.transferring import Transfer, TransferReport
from artifactstore.storage.port import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.domain.segment import Segment
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore

BACKUP = "backup"
"""What a backup's lease says it is for."""
_PAGE = 1_000
_NAMED_USERS = 20


@dataclass(frozen=True, slots=True)
class Missed:
    """An object whose bytes are right nowhere, and (package id, path) of what needs it."""

    left_out: LeftOut
    concerns: list[tuple[str, str | None]]


@dataclass(slots=True)
class BackupReport:
    """What a backup has, and what it could not have."""

    found: FoundSnapshot
    transfer: TransferReport
    missed: list[Missed]
    seconds: float


def backup(
    registry: Registry,
    target: ObjectStore,
    *,
    with_bytes: bool = True,
    read_back: bool = False,
    progress: Progress = SILENT,
) -> BackupReport:
    """Add a snapshot to a target, with whatever bytes it needs and are not there; only the snapshot if not asked for.

    With ``read_back`` what is there already is read, and replaced if it is bad. Raises ``UsageError`` for a target that
    is the store's own, ``EventLogCorruptError`` for a log that does not hold, ``StorageError``; then there is no new
    snapshot, and the same call goes on.
    """
    began = time.monotonic()
    require_apart(registry, target)
    require_usable(replace(registry, backends={BACKUP: target}), BACKUP)
    with Lease(placed(registry), BACKUP) as lease:
        lease.ensure_open()
        view = _View.of(registry)
        failpoint("backup.after-snapshot")
        transfer = Transfer(
            target,
            partial(_sources_of, registry),
            read_back=read_back,
            after_each=lambda: failpoint("backup.after-object"),
            progress=progress,
        )
        progress.begin("backing up", view.object_bytes if with_bytes else None)
        for kind, objects in view.objects.items() if with_bytes else ():
            transfer.put_all(ObjectKind(kind), entries_in(kind, objects))
        failpoint("backup.before-log")
        snapshot = _Writing(registry, target, view, read_back=read_back).snapshot(transfer.report, with_bytes)
        failpoint("backup.before-document")
        snapshot_id = put_part(target, ObjectKind.BACKUP, snapshot.encode()).hex()
        failpoint("backup.after-document")
        with suppress(ConcurrentUpdateError), registry.transaction() as tx:  # taken for dead: it was not needed
            lease.end_in(tx)
    missed = [missed_of(registry, left_out) for left_out in transfer.report.left_out]
    return BackupReport(FoundSnapshot(snapshot_id, snapshot), transfer.report, missed, time.monotonic() - began)


@dataclass(slots=True)
class _View:
    """What the database has at one moment, but for the log, which only grows."""

    made_at: int
    log_id: bytes
    last_seq: int
    chain: bytes
    revision: str
    operational: bytes
    objects: dict[str, bytearray] = field(default_factory=dict)
    """What is needed of each kind, 40 bytes for each object."""
    backends: set[str] = field(default_factory=set)
    object_count: int = 0
    object_bytes: int = 0

    @classmethod
    def of(cls, registry: Registry) -> _View:
        with registry.catalog.snapshot() as queries:
            view = cls(
                made_at=int(registry.clock()),
                log_id=queries.log_id(),
                last_seq=queries.latest_seq(),
                chain=queries.latest_chain(),
                revision=queries.schema_revision(),
                operational=operational_part(operational_rows(queries.connection)),
            )
            view.backends.update(backends.recorded(queries.connection))
            view._list_objects(queries)
            return view

    def _list_objects(self, queries: Queries) -> None:
        """Every object that is not about to be removed from wherever it lies: nobody needs what is."""
        last: tuple[bytes, str] | None = None
        for found in _every_object(queries):
            key = (found.blake3, found.kind)
            if found.status == "condemned" or key == last:
                continue
            last = key
            self.objects.setdefault(found.kind, bytearray()).extend(entry(found.blake3, found.size_bytes))
            self.object_count += 1
            self.object_bytes += found.size_bytes


def _every_object(queries: Queries) -> Iterator[ObjectRecord]:
    after = stored.Place()
    while page := stored.in_key_order(queries.connection, after, limit=_PAGE):
        yield from page
        after = stored.Place(page[-1].blake3, page[-1].kind, page[-1].backend)


class _Writing:
    """The parts of a snapshot, written when its objects are there."""

    def __init__(self, registry: Registry, target: ObjectStore, view: _View, *, read_back: bool) -> None:
        self._registry, self._target, self._view = registry, target, view
        self._read_back = read_back
        self._packages = 0

    def snapshot(self, transfer: TransferReport, has_bytes: bool) -> Snapshot:
        """The document, whose parts are in the target now."""
        view = self._view
        segments = tuple(self._put(ObjectKind.SEGMENT, segment.encode()) for segment in self._segments())
        inventories = tuple(
            self._put(ObjectKind.BACKUP_PART, part)
            for kind, objects in view.objects.items()
            for part in inventory_parts(kind, objects)
        )
        return Snapshot(
            made_at=view.made_at,
            log_id=view.log_id,
            last_seq=view.last_seq,
            chain=view.chain,
            revision=view.revision,
            backends=tuple(sorted(view.backends)),
            has_bytes=has_bytes,
            packages=self._packages,
            objects=view.object_count,
            object_bytes=view.object_bytes,
            left_out=tuple(transfer.left_out),
            segments=segments,
            inventories=inventories,
            operational=self._put(ObjectKind.BACKUP_PART, view.operational),
        )

    def _put(self, kind: ObjectKind, encoded: bytes) -> bytes:
        digest = put_part(self._target, kind, encoded, read_back=self._read_back)
        failpoint("backup.after-part")
        return digest

    def _segments(self) -> Iterator[Segment]:
        """The log up to the view's end, checked. Cut the same each time: but for the last, they are there already."""
        seq, at, chain = 0, 0, event_log.first_chain(self._view.log_id)
        while seq < self._view.last_seq:
            with self._registry.catalog.snapshot() as queries:
                records = self._page(queries, seq)
            if not records:
                break
            before = chain
            for record in records:
                event_log.check_record(record, seq + 1, at, chain)
                seq, at, chain = record.seq, record.at, record.chain
                self._count(record)
            yield segment_from(self._view.log_id, before, records)
        if (seq, chain) != (self._view.last_seq, self._view.chain):
            raise EventLogCorruptError("the log does not come to the event that was its last")

    def _page(self, queries: Queries, after: int) -> list[EventRecord]:
        """As many as make a segment. Nothing holds on to the rows that are left: they would keep the view open."""
        last_seq = self._view.last_seq
        return list(
            fitting(takewhile(lambda each: each.seq <= last_seq, event_log.read(queries.connection, after=after)))
        )

    def _count(self, record: EventRecord) -> None:
        self._packages += (record.type == PackageFinalized.type) - (record.type == PackageDeleted.type)


def _sources_of(registry: Registry, needed: Needed) -> Iterator[ObjectStore]:
    """Every backend that has an object, as the catalog says now: those that can be relied on first."""
    with registry.catalog.snapshot() as queries:
        places = queries.objects_of_digest(needed.kind, needed.blake3)
    places.sort(
        key=lambda place: (
            place.backend not in registry.backends,
            place.status != "live",
            place.backend != registry.default_backend,
        )
    )
    return (registry.backend(place.backend) for place in places)


def missed_of(registry: Registry, left_out: LeftOut) -> Missed:
    """An object that was left out, with what needs it."""
    with registry.catalog.snapshot() as queries:
        for found in queries.objects_of_digest(left_out.kind, left_out.blake3):
            return Missed(left_out, stored.users_of_object(queries.connection, found, limit=_NAMED_USERS))
    return Missed(left_out, [])
