"""Restore: an empty store becomes what another was at a snapshot.

First everything that says what is to be restored is read and checked. Then the bytes go to the default backend, each
compared with its digest; then one transaction takes over the log, replays it, puts the operational rows back and
says in the log where objects lie now that lay in other backends. Stopped before it commits, the database is empty
still, and the same call goes on with the bytes. Nothing else is recorded: where the backend's name is the old one, the
log is the old one to the byte.

What is bad in the backup is named, recorded as damaged, and the rest is restored.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from typing import TYPE_CHECKING

from artifactstore.catalog import stored
from artifactstore.catalog.backing_up import put_back
from artifactstore.catalog.contributions import branches
from artifactstore.catalog.replay import take_over
from artifactstore.domain.backup import LeftOut, Snapshot, inventory_from, operational_from
from artifactstore.domain.events import MAX_FILES_PER_EVENT
from artifactstore.domain.object_events import BlobRestored, ObjectCopied, ObjectDamaged, ObjectDeleted
from artifactstore.errors import BackupDamagedError, ConfigurationError, DatabaseVersionError, StoreNotEmptyError
from artifactstore.failpoints import failpoint
from artifactstore.registry.backing_up import Missed, missed_of
from artifactstore.registry.lease import Lease
from artifactstore.registry.probing import require_usable
from artifactstore.registry.progress import SILENT
from artifactstore.registry.reconciling import ReconcileReport, reconcile
from artifactstore.registry.removing import reference_to
from artifactstore.registry.snapshots import FoundSnapshot, events_of, find_snapshot, read_part, require_apart
from artifactstore.registry.transferring import Transfer, TransferReport
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.domain.backup import Needed, Rows
    from artifactstore.domain.event import Event, ObjectRef
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore

RESTORE = "restore"
"""What a restore's lease says it is for."""
_NAMED_DIFFERENCES = 1_000
_PAGE = 1_000


@dataclass(slots=True)
class RestoreReport:
    """What is back, and what is not."""

    found: FoundSnapshot
    transfer: TransferReport
    missed: list[Missed] = field(default_factory=list)
    """Objects whose bytes the backup does not have, or has as damaged."""
    moved: int = 0
    """Objects that lay in other backends, by references."""
    comparison: ReconcileReport | None = None
    """The backends against the catalog, where bytes were not in the backup."""
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether all is there that the snapshot needs."""
        return not self.missed and (self.comparison is None or self.comparison.is_clean)


def restore(
    registry: Registry, source: ObjectStore, *, snapshot_id: str | None = None, progress: Progress = SILENT
) -> RestoreReport:
    """Make an empty store what another was at a snapshot: the newest, or the one whose id begins so.

    Raises ``StoreNotEmptyError``, ``BackupUnknownError``, ``BackupDamagedError`` for what says how to restore,
    ``DatabaseVersionError`` for a snapshot of a newer version, ``UsageError``, ``StorageError``.
    """
    began = time.monotonic()
    require_apart(registry, source)
    found = find_snapshot(source, snapshot_id)
    _require_known(registry, found.snapshot)
    _require_empty(registry)
    operational = operational_from(_part(source, found.snapshot.operational))
    deque(events_of(source, found.snapshot), maxlen=0)
    report = RestoreReport(found, TransferReport())
    with Lease(registry, RESTORE) as lease:
        lease.ensure_open()
        if found.snapshot.has_bytes:
            require_usable(registry, registry.default_backend)
            report.transfer = _bring_bytes(registry, source, found.snapshot, progress)
        failpoint("restore.before-log")
        _bring_log(registry, source, report, operational, lease)
        failpoint("restore.after-log")
    report.missed = [missed_of(registry, left_out) for left_out in report.transfer.left_out]
    if not found.snapshot.has_bytes:
        report.comparison = reconcile(registry, limit=_NAMED_DIFFERENCES)
    report.seconds = time.monotonic() - began
    return report


# before anything is changed


def _require_known(registry: Registry, snapshot: Snapshot) -> None:
    known = {revision for branch in branches() for revision in branch.revisions}
    if unknown := [each for each in snapshot.revision.split(", ") if each not in known]:
        raise DatabaseVersionError(
            f"the snapshot was made by a newer version, with tables at {', '.join(unknown)}",
            hint="Restore it with that version.",
        )
    missing = [name for name in snapshot.backends if name not in registry.backends]
    if missing and not snapshot.has_bytes:
        raise ConfigurationError(
            f"the backup refers to bytes in the backends {', '.join(map(repr, missing))}, which are not configured",
            hint="Configure them under these names, with the URLs that they had.",
        )


def _require_empty(registry: Registry) -> None:
    with registry.catalog.snapshot() as queries:
        _require_no_log(queries)


def _require_no_log(queries: Queries) -> None:
    if last_seq := queries.latest_seq():
        raise StoreNotEmptyError(f"the database has a log of {last_seq} event(s) already; nothing is restored over it")


def _part(source: ObjectStore, digest: bytes) -> bytes:
    return read_part(source, ObjectKey(ObjectKind.BACKUP_PART, digest))


# the bytes


def _bring_bytes(registry: Registry, source: ObjectStore, snapshot: Snapshot, progress: Progress) -> TransferReport:
    """What lies in the backend already was put by a run that was stopped, or by anyone: it is read back."""
    transfer = Transfer(
        registry.store,
        lambda _: [source],
        read_back=True,
        after_each=lambda: failpoint("restore.after-object"),
        progress=progress,
    )
    progress.begin("restoring", snapshot.object_bytes)
    known = {(each.kind, each.blake3): each for each in snapshot.left_out}
    for digest in snapshot.inventories:
        needed = _listed_in(source, digest)
        wanted = [each for each in needed if each[:2] not in known]
        transfer.put_all(ObjectKind(needed[0].kind), wanted)
    transfer.report.left_out += snapshot.left_out
    return transfer.report


def _listed_in(source: ObjectStore, digest: bytes) -> list[Needed]:
    """What a part lists, of one kind."""
    needed = inventory_from(_part(source, digest))
    if needed[0].kind not in set(ObjectKind):
        raise BackupDamagedError(f"a list of objects is of a kind that is not known: {needed[0].kind[:80]!r}")
    return needed


def _every_listed(source: ObjectStore, snapshot: Snapshot) -> Iterator[tuple[bytes, str]]:
    """(digest, kind) of every object that a snapshot lists, by digest. A part of each kind is in memory at a time."""
    parts: dict[str, list[bytes]] = {}
    for digest in snapshot.inventories:
        parts.setdefault(_listed_in(source, digest)[0].kind, []).append(digest)
    return merge(
        *(
            ((each.blake3, each.kind) for part in of_kind for each in _listed_in(source, part))
            for of_kind in parts.values()
        )
    )


# the database


def _bring_log(
    registry: Registry,
    source: ObjectStore,
    report: RestoreReport,
    operational: Mapping[str, Rows],
    lease: Lease,
) -> None:
    """All of it, or nothing."""
    snapshot = report.found.snapshot
    with registry.transaction() as tx:
        lease.end_in(tx)
        tx.lock_log()
        _require_no_log(tx)  # others may have used the store meanwhile
        last = take_over(tx.connection, snapshot.log_id, events_of(source, snapshot))
        if (0 if last is None else last.seq) != snapshot.last_seq:
            raise BackupDamagedError("the log in the backup was altered while it was read")
        put_back(tx.connection, operational, with_backends=not snapshot.has_bytes)
        if snapshot.has_bytes:
            _say_where(tx, registry.default_backend, report, _every_listed(source, snapshot))


def _say_where(tx: Transaction, here: str, report: RestoreReport, listed: Iterator[tuple[bytes, str]]) -> None:
    """Let the log say that what lay in other backends lies here, and what does not.

    What the log has and the backup does not list was not brought, and is missing as what was left out is.
    """
    missing = {(each.kind, each.blake3): each for each in report.transfer.left_out}
    next_listed = next(listed, None)
    for key, group in groupby(_every_place(tx), key=lambda place: (place.blake3, place.kind)):
        places = list(group)
        while next_listed is not None and next_listed < key:
            next_listed = next(listed, None)
        left_out = missing.get((key[1], key[0]))
        if left_out is None and next_listed != key and any(place.status != "condemned" for place in places):
            left_out = LeftOut(key[1], key[0], places[0].size_bytes, "the backup does not list it")
            report.transfer.left_out.append(left_out)
        events = list(_brought(tx, places, here, left_out))
        report.moved += sum(isinstance(event, ObjectDeleted) for event in events)
        tx.record(*events)


def _every_place(tx: Transaction) -> Iterator[ObjectRecord]:
    after = stored.Place()
    while page := stored.in_key_order(tx.connection, after, limit=_PAGE):
        yield from page
        after = stored.Place(page[-1].blake3, page[-1].kind, page[-1].backend)


def _brought(tx: Transaction, places: Sequence[ObjectRecord], here: str, missing: LeftOut | None) -> Iterator[Event]:
    """What is to be said of one object, in the order of the log."""
    mine = next((place for place in places if place.backend == here), None)
    others = [place for place in places if place.backend != here]
    reference = reference_to(places[0])._replace(backend=here)
    is_live = mine is not None and mine.status == "live"
    sources = [place for place in others if place.status == "live"]
    if mine is None and not sources:
        sources = [place for place in others if place.status == "damaged"][:1]
    for source in sources:
        yield ObjectCopied(object=reference, source=source.backend)
        if missing is None and source.status != "live":
            yield from _sound_again(tx, source, reference)
    if (is_live or sources) and missing is not None:
        yield ObjectDamaged(object=reference, finding=missing.finding)
    for other in others:
        yield ObjectDeleted(object=reference_to(other))


def _sound_again(tx: Transaction, source: ObjectRecord, reference: ObjectRef) -> Iterator[Event]:
    """What was damaged where it lay, and came out right."""
    blobs = [(blob.blake3, blob.start) for blob in tx.damaged_in_object(source.row_id)]
    for at in range(0, len(blobs), MAX_FILES_PER_EVENT):
        yield BlobRestored(object=reference, blobs=tuple(blobs[at : at + MAX_FILES_PER_EVENT]))
