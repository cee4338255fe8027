"""Collection: what nothing refers to is condemned, waited for, looked at once more, and deleted.

Each step is a state that another run goes on from, whatever stopped the one before::

    live ──► condemned ──► being deleted ──► gone
      ▲          │ needed again
      └──────────┘

*Condemned* counts as absent from the commit on: whoever relied on it finds so at its own commit and stores it anew.
Leases of before the condemning are waited for, then the grace that readers have. The last look and the mark that the
bytes are being deleted are one transaction under the lock under which events are appended, so nobody refers to the
object or has it back between the two. Then the bytes, then the record. Packs that are mostly dead are made smaller
first (``repacking``). Whose clock is wrong by more than five minutes collects nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from artifactstore.catalog import backends, collecting, usage
from artifactstore.catalog.sharing import comes_free
from artifactstore.domain.event import Event, ObjectRef
from artifactstore.domain.object_events import ObjectCondemned, ObjectReprieved
from artifactstore.errors import StorageFullError
from artifactstore.failpoints import failpoint
from artifactstore.registry.clocks import check_clocks
from artifactstore.registry.damage import record_findings
from artifactstore.registry.duties import microseconds
from artifactstore.registry.emptying import DEAD_AFTER_S, MIGRATION
from artifactstore.registry.other_logs import require_no_other_log, require_some_log
from artifactstore.registry.progress import SILENT
from artifactstore.registry.read_back import key_of, read_back_surely
from artifactstore.registry.removing import batches_of, deletion_of, is_condemned, record_each, reference_to
from artifactstore.registry.repacking import repack
from artifactstore.registry.turn import Turn
from artifactstore.storage.port import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.collecting import RemovalRecord
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.domain.instant import Instant
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

    Pause = Callable[[float], object]

COLLECTION = "collect"
"""The duty's name, and what its leases are for."""
CLOCKS_DIFFER_BY_S = 60
"""A lease that was opened so long after the condemning may have been opened before it, by another host's clock."""
_LOOK_EVERY_S = 0.5
_OUR_OWN = (COLLECTION, MIGRATION)
"""What leases are for that are not waited for: ours, and that by which no migration is under way."""
_PAGE = 1_000
_DELETED_AT_ONCE = 1_000


@dataclass(slots=True)
class BackendSpace:
    """One backend's space, in bytes as the catalog has them."""

    objects: int = 0
    bytes_before: int = 0
    dead_objects: int = 0
    dead_bytes: int = 0
    """Nothing refers to them, and they are not condemned yet."""
    condemned_objects: int = 0
    condemned_bytes: int = 0
    repacked: int = 0
    """Packs that so much of is dead that they are made smaller."""
    repack_frees_bytes: int = 0
    unrecorded_objects: int = 0
    """In the backend and unknown to the catalog: left by writers that broke off. Only if they were looked for."""
    unrecorded_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    grown_bytes: int = 0
    """Packs that were written in place of larger ones."""
    bytes_after: int = 0

    @property
    def expected_bytes_after(self) -> int:
        """What is left when all of this is done, if nothing else happens."""
        gone = self.dead_bytes + self.condemned_bytes + self.repack_frees_bytes
        return self.bytes_before - gone


@dataclass(slots=True)
class CollectionReport:
    """What there is to collect, or what was collected."""

    backends: dict[str, BackendSpace] = field(default_factory=dict)
    being_emptied: list[str] = field(default_factory=list)
    """Backends that are passed over: what lies there is moved, and collected where it goes."""
    waiting_for: list[str] = field(default_factory=list)
    """Leases that are older than what is condemned, so that not all of it is deleted yet."""
    left: int = 0
    """Objects that are condemned and not deleted yet."""
    stopped: str = ""
    """Why it ended before all was done, if it did: outside its hours, or out of time."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to delete."""
        return not self.left and not self.stopped


def space(registry: Registry, *, unrecorded: bool = False) -> CollectionReport:
    """What would be collected now. Nothing changes; with ``unrecorded`` the backends are listed."""
    report = CollectionReport()
    for name in _backends_to_collect(registry, report):
        with registry.catalog.snapshot() as queries:
            all_of_it = usage.of_backend(queries.connection, name)
        here = report.backends[name] = BackendSpace(
            objects=all_of_it.objects,
            bytes_before=all_of_it.size_bytes,
            condemned_objects=all_of_it.condemned_objects,
            condemned_bytes=all_of_it.condemned_bytes,
        )
        for found, is_dead, saved in _looked_at(registry, name):
            if is_dead:
                here.dead_objects += 1
                here.dead_bytes += found.size_bytes
            elif saved:
                here.repacked += 1
                here.repack_frees_bytes += saved
        for info in unrecorded_objects(registry, name) if unrecorded else ():
            here.unrecorded_objects += 1
            here.unrecorded_bytes += info.size_bytes
    return report


def collect(
    registry: Registry,
    *,
    wait_s: float,
    unrecorded: bool = False,
    may_go_on: Callable[[], str] = lambda: "",
    progress: Progress = SILENT,
    pause: Pause = time.sleep,
) -> CollectionReport:
    """Remove what nothing refers to, and go on with what was begun.

    ``wait_s`` is how long to wait for leases and readers; what is not deleted by then a later run deletes.
    ``may_go_on`` says before every step why to stop; empty: go on. Raises ``ClocksDisagreeError``, ``StorageError``,
    and ``DutyRunningError`` while a migration is under way; what was done until then stays done. With ``unrecorded``
    also ``ConfigurationError``, before anything is done, where another database may speak for what is not recorded.
    """
    check_clocks(registry)
    with Turn(registry, MIGRATION):
        report = space(registry, unrecorded=unrecorded)
        for name in report.backends:
            _Collecting(registry, name, report, may_go_on, progress, pause).run(wait_s, unrecorded=unrecorded)
    return report


def unrecorded_objects(registry: Registry, name: str) -> Iterator[ObjectRef]:
    """What lies in a backend and nothing in the database names, but for segments of the log, which are never removed.

    Raises ``ConfigurationError`` if another database may speak for it.
    """
    require_no_other_log(registry, name)
    for kind in (kind for kind in ObjectKind if kind != ObjectKind.SEGMENT):
        for info in registry.backend(name).list(kind):
            reference = ObjectRef(name, kind, info.key.digest, info.size_bytes)
            with registry.catalog.snapshot() as queries:
                known = collecting.is_known(queries.connection, reference)
            if not known:
                require_some_log(registry, name)
                yield reference


def _backends_to_collect(registry: Registry, report: CollectionReport) -> list[str]:
    with registry.catalog.snapshot() as queries:
        emptied = [name for name in registry.backends if backends.succession(queries.connection, name) is not None]
    report.being_emptied = emptied
    return [name for name in registry.backends if name not in emptied]


def _looked_at(registry: Registry, name: str) -> Iterator[tuple[ObjectRecord, bool, int]]:
    """What of a backend is dead by what is counted: whether nothing refers to it, and what making it smaller saves."""
    after, percent = 0, registry.collection.repack_percent
    while True:
        with registry.catalog.snapshot() as queries:
            page = collecting.page_of_partly_dead(queries.connection, name, after=after, limit=_PAGE)
            for found, _, _ in page:
                now = collecting.referred(queries.connection, found.row_id)
                is_referred_to, saved = now is not None and now.is_referred_to, 0
                if is_referred_to and found.kind == ObjectKind.PACK and found.status == "live":
                    kept = collecting.blobs_referred_to(queries.connection, found.row_id)
                    sound = all(blob.status == "live" for blob in kept)
                    sizes = [blob.size_bytes for blob in kept]
                    saved = comes_free(found, sizes, repack_percent=percent) if sound and kept else 0
                yield found, not is_referred_to, saved
        if len(page) < _PAGE:
            return
        after = page[-1].found.row_id


class _Collecting:
    """One backend's turn."""

    def __init__(
        self,
        registry: Registry,
        name: str,
        report: CollectionReport,
        may_go_on: Callable[[], str],
        progress: Progress,
        pause: Pause,
    ) -> None:
        self._registry = registry
        self._name = name
        self._report = report
        self._space = report.backends[name]
        self._may_go_on = may_go_on
        self._progress = progress
        self._pause = pause
        self._no_room: StorageFullError | None = None

    def run(self, wait_s: float, *, unrecorded: bool) -> None:
        """Delete what has waited long enough, condemn, make smaller, wait, delete.

        Raises ``StorageFullError`` at the end if there was no room for a smaller pack.
        """
        self._remove(self._ready())
        self._condemn(self._dead())
        self._condemn(self._forgotten())
        if unrecorded:
            self._condemn_unrecorded()
        until = time.monotonic() + wait_s
        self._progress.begin("waiting for who may rely on what is condemned", None)
        while not self._stops():
            self._remove(self._ready())
            self._count_left()
            if not self._report.left or time.monotonic() >= until:
                break
            self._pause(_LOOK_EVERY_S)
        self._count_left()
        if self._no_room is not None:
            raise self._no_room

    def _stops(self) -> bool:
        self._report.stopped = self._report.stopped or self._may_go_on()
        return bool(self._report.stopped)

    # condemning

    def _dead(self) -> Iterator[ObjectRecord]:
        """What nothing refers to; packs that are mostly dead are made smaller on the way."""
        for found, is_dead, saved in _looked_at(self._registry, self._name):
            if is_dead:
                yield found
            elif saved and self._no_room is None and not self._stops():
                self._make_smaller(found)

    def _forgotten(self) -> Iterator[ObjectRecord]:
        """What was condemned in a log that was replayed since: the notes that removals go by are in no log."""
        after = 0
        while True:
            with self._registry.catalog.snapshot() as queries:
                page = collecting.page_of_forgotten(queries.connection, self._name, after=after, limit=_PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].row_id

    def _make_smaller(self, found: ObjectRecord) -> None:
        """Where there is no room for a smaller pack, room is made first: what is dead goes all the same."""
        try:
            self._space.grown_bytes += repack(self._registry, found)
        except StorageFullError as error:
            self._no_room = error

    def _condemn(self, dead: Iterator[ObjectRecord]) -> None:
        for batch in batches_of(found for found in dead if self._is_to_be_condemned(found)):
            if self._stops():
                return
            failpoint("collect.before-condemned")
            record_each(self._registry, batch, self._condemnation, beside=lambda tx: tx.lock_log())
            failpoint("collect.after-condemned")

    def _is_to_be_condemned(self, found: ObjectRecord) -> bool:
        """Not what is waited for already. What is condemned and not noted is: by a log that was replayed."""
        if found.status != "condemned":
            return True
        with self._registry.catalog.snapshot() as queries:
            return not collecting.is_noted(queries.connection, reference_to(found))

    def _condemnation(self, tx: Transaction, found: ObjectRecord) -> Event | None:
        """Under the lock of the log: what was referred to until now is seen, and what will be finds it absent."""
        now, reference = collecting.referred(tx.connection, found.row_id), reference_to(found)
        if now is None or collecting.is_noted(tx.connection, reference):
            return None
        is_condemned_already = now.found.status == "condemned"
        if now.is_referred_to and not is_condemned_already:
            return None
        collecting.note_condemned(tx.connection, [reference], self._registry.clock())
        return None if is_condemned_already else ObjectCondemned(object=reference)

    def _condemn_unrecorded(self) -> None:
        for reference in unrecorded_objects(self._registry, self._name):
            if self._stops():
                return
            with self._registry.transaction() as tx:
                self._condemn_one_unrecorded(tx, reference)
            failpoint("collect.after-unrecorded")

    def _condemn_one_unrecorded(self, tx: Transaction, reference: ObjectRef) -> None:
        """Its row before the lock of the log: whoever is recording it now has the row, and waits for the log."""
        if not collecting.claim_unrecorded(tx.connection, reference):
            return
        tx.lock_log()
        if collecting.is_received(tx.connection, reference):
            collecting.give_back_unrecorded(tx.connection, reference)
            return
        collecting.note_condemned(tx.connection, [reference], self._registry.clock())
        tx.record(ObjectCondemned(object=reference))

    # deleting

    def _ready(self) -> list[RemovalRecord]:
        """What was condemned so long ago that nobody can rely on it, and first what was about to be deleted before."""
        now = self._registry.clock()
        self._end_dead_leases(now)
        with self._registry.catalog.snapshot() as queries:
            before = now - microseconds(self._registry.collection.grace_s)
            waited_for = [lease for lease in collecting.leases(queries.connection) if not lease[1].startswith(_OUR_OWN)]
            if waited_for:
                before = min(before, waited_for[0][2] - microseconds(CLOCKS_DIFFER_BY_S) - 1)
            ready = collecting.removals(queries.connection, self._name, limit=self._at_once(), condemned_before=before)
        self._report.waiting_for = [f"{what} {name}" for name, what, _, _ in waited_for]
        return ready

    def _end_dead_leases(self, now: Instant) -> None:
        """If its owner lives after all, it fails to record and stores anew."""
        before = now - microseconds(DEAD_AFTER_S)
        with self._registry.catalog.snapshot() as queries:
            dead = [name for name, _, _, heartbeat_at in collecting.leases(queries.connection) if heartbeat_at < before]
        if dead:
            with self._registry.transaction() as tx:
                backends.end_dead_leases(tx.connection, dead, before)

    def _at_once(self) -> int:
        rate = self._registry.collection.objects_per_s
        return min(rate, _DELETED_AT_ONCE) if rate else _DELETED_AT_ONCE

    def _remove(self, removals: list[RemovalRecord]) -> None:
        """Bytes first, then the record. What somebody needs again, or has stored anew, stays."""
        while removals:
            doomed = self._begin(removals)
            failpoint("collect.before-delete")
            if doomed:
                self._registry.backend(self._name).delete_many([key_of(found) for found in doomed])
            failpoint("collect.after-delete")
            for batch in batches_of(doomed):
                references = [reference_to(found) for found in batch]
                record_each(
                    self._registry,
                    batch,
                    deletion_of,
                    beside=lambda tx, gone=references: collecting.end_removals(tx.connection, gone),  # type: ignore[misc]
                )
                self._space.deleted += len(batch)
                self._space.deleted_bytes += sum(found.size_bytes for found in batch)
            if self._registry.collection.objects_per_s:
                self._pause(len(doomed) / self._registry.collection.objects_per_s)
            if self._stops():
                return
            removals = self._ready()

    def _begin(self, removals: Sequence[RemovalRecord]) -> list[ObjectRecord]:
        """Look once more, and let nobody have back what is deleted now."""
        doomed: list[ObjectRecord] = []
        recorded = [found for record in removals if (found := record.found) is not None]
        nothing_left = [ObjectRef(each.backend, each.kind, each.blake3, 0) for each in removals if each.found is None]
        with self._registry.transaction() as tx:
            collecting.end_removals(tx.connection, nothing_left)
        failpoint("collect.before-begun")
        for batch in batches_of(recorded):
            doomed += self._begin_batch(batch)
        failpoint("collect.after-begun")
        return doomed

    def _begin_batch(self, batch: list[ObjectRecord]) -> list[ObjectRecord]:
        """Those of a batch that go. What is needed after all counts again: it may be the last there is of a blob."""
        doomed: list[ObjectRecord] = []
        needed: list[ObjectRecord] = []

        def begin(tx: Transaction) -> None:
            tx.lock_log()
            condemned = [found for found in batch if is_condemned(tx, found)]
            needed[:] = [found for found in condemned if collecting.is_needed(tx.connection, found.row_id)]
            doomed[:] = [found for found in condemned if found not in needed]
            kept = [reference_to(found) for found in batch if found not in doomed]
            collecting.begin_removals(tx.connection, [reference_to(each) for each in doomed], self._registry.clock())
            collecting.end_removals(tx.connection, kept)

        def reprieve(_: Transaction, found: ObjectRecord) -> Event | None:
            return ObjectReprieved(object=reference_to(found)) if found in needed else None

        record_each(self._registry, batch, reprieve, beside=begin)
        for found in needed:
            self._look_at_reprieved(found)
        return doomed

    def _look_at_reprieved(self, found: ObjectRecord) -> None:
        """It is live again if it reads well; else it stays damaged, and ``heal`` sees to it."""
        with self._registry.catalog.snapshot() as queries:
            blobs = list(queries.blobs_in_object(found.row_id))
        findings = read_back_surely(self._registry.backend(self._name), found, blobs, lambda _: None)
        record_findings(self._registry, found, findings)

    def _count_left(self) -> None:
        left = 0
        with self._registry.catalog.snapshot() as queries:
            for name in self._report.backends:
                left += collecting.waiting(queries.connection, name)[0]
            _, self._space.bytes_after = backends.content(queries.connection, self._name)
        self._report.left = left
        if not left:
            self._report.waiting_for = []
