"""Emptying a backend into another, while both are in use, so that it can be taken out of the configuration.

One migration at a time. Copy; read every copy back; switch, so that new objects go to the other backend; copy what
came meanwhile; wait for whoever may still write to the old one; copy the rest; then condemn, wait for readers, delete.
No object is condemned whose copy, or all that a bad one had, was not read back in this run. Every step looks at what
the catalog says, so the same call goes on wherever it was stopped or killed.

Who may still write after the switch: an ingest holds a lease that it opened before its first put, and is refused one
that would let it write to a backend that has been switched from; a push has an open package. Those that were there at
the switch are waited for. A lease without a heartbeat for five minutes is ended: if its owner lives, it fails to record
and stores anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from artifactstore.catalog import backends
from artifactstore.catalog.blobs import live_locations
from artifactstore.domain.object_events import ObjectCondemned, ObjectDamaged, ObjectRestored
from artifactstore.errors import ConcurrentUpdateError, ObjectNotFoundError
from artifactstore.failpoints import failpoint
from artifactstore.registry.copying import AT_ONCE, Copying, CopyReport, RowIds
from artifactstore.registry.open_packages import expire_open_packages
from artifactstore.registry.paging import every
from artifactstore.registry.pairing import require_backends
from artifactstore.registry.progress import SILENT
from artifactstore.registry.read_back import is_right, key_of, read_back_surely
from artifactstore.registry.removing import batches_of, deletion_of, is_condemned, record_each, reference_to
from artifactstore.registry.salvaging import COPY
from artifactstore.registry.turn import Turn
from artifactstore.storage.port import ObjectKey, ObjectKind

if TYPE_CHECKING:
    from artifactstore.catalog.backends import Twin, Writer
    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord, PlacedBlob
    from artifactstore.domain.event import Event
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

Pause = Callable[[float], object]

MIGRATION = "migration"
"""What a migration's turn is told by."""
DEAD_AFTER_S = 5 * 60
"""A lease without a heartbeat for so long belongs to a process that is gone."""
_CLOCKS_DIFFER_BY_S = 60
_LOOK_EVERY_S = 0.5
_PAGE = 100
_PASSES = 10
_ATTEMPTS = 3
_MICROSECONDS = 1_000_000


@dataclass(slots=True)
class MigrationReport:
    """What was done, and what is left."""

    copy: CopyReport = field(default_factory=CopyReport)
    deleted: int = 0
    deleted_bytes: int = 0
    waiting_for: list[Writer] = field(default_factory=list)
    """Who may still write to the source, so that nothing was removed yet, or not all."""
    left: int = 0
    """Objects that the catalog still has in the source."""
    unrecorded: int = 0
    """Objects that lie in the source and that the catalog does not know: left by what was broken off."""
    unrecorded_bytes: int = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing refers to the source any more."""
        return not self.left and not self.waiting_for


def migrate(
    registry: Registry,
    source: str,
    target: str,
    *,
    wait_s: float,
    grace_s: float,
    progress: Progress = SILENT,
    pause: Pause = time.sleep,
) -> MigrationReport:
    """Move all that a backend has to another, which takes its writes from then on; go on with what was begun.

    ``wait_s`` is how long to wait for those who may still write to the source, ``grace_s`` how long for readers between
    condemning and deleting. Raises ``BackendUnknownError``, ``UsageError``, ``DutyRunningError`` while another
    migration is under way, ``ConcurrentUpdateError`` if this one was taken for dead, ``BackendRefusedError``,
    ``StorageError``; what was done until then stays done.
    """
    require_backends(registry, source, target)
    with Turn(registry, MIGRATION) as turn:
        emptying = _Emptying(registry, source, target, grace_s, progress, pause, turn)
        emptying.reclaim_target()
        emptying.copy(passes=1)
        emptying.switch()
        emptying.copy(passes=_PASSES)
        if emptying.wait(wait_s):
            emptying.copy(passes=_PASSES)
            emptying.remove(wait_s)
        return emptying.finish()


class _Emptying:
    def __init__(
        self,
        registry: Registry,
        source: str,
        target: str,
        grace_s: float,
        progress: Progress,
        pause: Pause,
        turn: Turn,
    ) -> None:
        self._registry = registry
        self._source, self._target = source, target
        self._grace_s, self._progress, self._pause = grace_s, progress, pause
        self._turn = turn
        self._verified = RowIds()
        self._copying = Copying(registry, source, target, progress=progress, verified=self._verified)
        self._report = MigrationReport(copy=self._copying.report)
        self._awaited: set[str] = set()
        self._switched_at = 0

    def finish(self) -> MigrationReport:
        """The report, with what is left."""
        self._copying.finish()
        report = self._report
        with self._registry.catalog.snapshot() as queries:
            report.left, _ = backends.content(queries.connection, self._source)
        if not report.waiting_for:
            self._count_unrecorded()
        return report

    def copy(self, *, passes: int) -> None:
        """Copy and read back until a pass finds nothing to do, or so many passes were made."""
        for _ in range(passes):
            if not self._copying.everything():
                return

    # before the switch

    def reclaim_target(self) -> None:
        """Let the target take its writes itself, if it was emptied before, and end what was being removed from it.

        What was being removed comes first: while it is condemned nobody can store it.
        """
        for found in self._every_condemned(self._target):
            self._settle(found, other=self._source)
        with self._registry.transaction() as tx:
            self._lock_both(tx)
            if backends.succession(tx.connection, self._target) is not None:
                backends.reclaim(tx.connection, self._target)

    # the switch

    def switch(self) -> None:
        """New objects go to the target from here on. Who is writing now is waited for."""
        failpoint("migrate.before-switch")
        with self._registry.transaction() as tx:
            self._lock_both(tx)
            before = backends.succession(tx.connection, self._source)
            if before is None or before[0] != self._target:
                backends.succeed(tx.connection, self._source, self._target, self._registry.clock())
        failpoint("migrate.after-switch")
        with self._registry.catalog.snapshot() as queries:
            succession = self._require_direction(queries)
            begun_by = succession[1] + (_CLOCKS_DIFFER_BY_S * _MICROSECONDS)
            is_new = before is None or before[0] != self._target
            everyone = backends.writers(queries.connection, self._source)
        self._switched_at = succession[1]
        self._awaited = {writer.name for writer in everyone if is_new or writer.since <= begun_by}

    def _lock_both(self, tx: Transaction) -> None:
        """Whoever opens a lease for either decides before this or after; in one order, so that no two wait for ever."""
        for name in sorted((self._source, self._target)):
            tx.lock("backend", name)

    def _require_direction(self, queries: Queries) -> tuple[str, int]:
        """Raises ``ConcurrentUpdateError`` if others have switched elsewhere."""
        succession = backends.succession(queries.connection, self._source)
        if succession is None or succession[0] != self._target:
            raise ConcurrentUpdateError(
                f"another migration has made backend {self._source!r} take objects again",
                hint="Run the one that is wanted again.",
            )
        return succession

    # who may still write

    def wait(self, wait_s: float) -> bool:
        """Whether nobody is left who may write to the source; looks again until the time is over."""
        until = time.monotonic() + wait_s
        self._progress.begin("waiting for those who still write", None)
        while True:
            self._end_what_is_over()
            self._report.waiting_for = waiting = self._writers()
            if not waiting or time.monotonic() >= until:
                return not waiting
            self._pause(_LOOK_EVERY_S)

    def _end_what_is_over(self) -> None:
        expire_open_packages(self._registry)
        with self._registry.transaction() as tx:
            before = self._registry.clock() - DEAD_AFTER_S * _MICROSECONDS
            backends.end_dead_leases(tx.connection, self._awaited, before)

    def _writers(self) -> list[Writer]:
        """Those of before the switch, and who has sent bytes that are in the source. A copy is refused its record."""
        with self._registry.catalog.snapshot() as queries:
            everyone = backends.writers(queries.connection, self._source)
        return [
            writer
            for writer in everyone
            if writer.what.partition(" ")[0] not in {COPY, MIGRATION}
            and (writer.name in self._awaited or writer.since <= self._switched_at or writer.has_bytes_there)
        ]

    # removing

    def remove(self, wait_s: float) -> None:
        """Condemn what has a sound copy, wait for readers, delete; again if something has changed meanwhile."""
        for _ in range(_ATTEMPTS):
            self._condemn()
            if not any(True for _ in self._every_condemned(self._source)):
                return
            self._progress.begin("waiting for readers", None)
            self._pause(self._grace_s)
            if not self.wait(wait_s):
                return
            self._delete()
            self.copy(passes=_PASSES)

    def _condemn(self) -> None:
        def page(after: int) -> list[Twin]:
            with self._registry.catalog.snapshot() as queries:
                return backends.twins(queries.connection, self._source, self._target, after=after, limit=_PAGE)

        twins = every(page, first=0, size=_PAGE, key=lambda twin: twin.found.row_id)
        for batch in batches_of(twin.found for twin in twins if twin.found.status != "condemned"):
            saved = {
                found.row_id for found in batch if found.status == "damaged" and self._is_saved(found, self._target)
            }
            record_each(self._registry, batch, partial(self._condemnation, saved))
            failpoint("migrate.after-condemned")

    def _condemnation(self, saved: Collection[int], tx: Transaction, found: ObjectRecord) -> Event | None:
        """For what has a copy that was read back; of what is bad, if all that was in it was read in the target."""
        self._require_direction(tx)
        now = backends.twin(tx.connection, found.row_id, self._target)
        if now is None or now.found.status == "condemned":
            return None
        is_bad_and_saved = now.found.status == "damaged" and found.row_id in saved
        return ObjectCondemned(object=reference_to(found)) if self._has_sound_copy(now) or is_bad_and_saved else None

    def _delete(self) -> None:
        for batch in batches_of(self._every_condemned(self._source)):
            doomed = [found for found in batch if self._may_be_deleted(found)]
            self._turn.check()
            self._delete_objects(self._source, doomed)
            self._report.deleted += len(doomed)
            self._report.deleted_bytes += sum(found.size_bytes for found in doomed)

    def _may_be_deleted(self, found: ObjectRecord) -> bool:
        """Looked at once more, at the last moment. What was condemned by a run that was killed is not trusted."""
        with self._registry.catalog.snapshot() as queries:
            self._require_direction(queries)
            now = backends.twin(queries.connection, found.row_id, self._target)
        if now is not None and now.found.status == "condemned" and self._has_sound_copy(now):
            return True
        self._settle(found, other=self._target)
        return False

    def _has_sound_copy(self, twin: Twin) -> bool:
        return twin.is_there and twin.found.row_id in self._verified

    def _is_saved(self, found: ObjectRecord, backend: str) -> bool:
        """Whether all that a bad object has was read, just now, in another backend."""
        if found.kind == ObjectKind.MANIFEST:
            return is_right(self._registry.backend(backend), key_of(found), found.blake3, size_bytes=found.size_bytes)
        with self._registry.catalog.snapshot() as queries:
            blobs = list(queries.blobs_in_object(found.row_id))
        return all(self._is_read_in(backend, blob) for blob in blobs)

    def _is_read_in(self, backend: str, blob: PlacedBlob) -> bool:
        store = self._registry.backend(backend)
        with self._registry.catalog.snapshot() as queries:
            locations = live_locations(queries.connection, blob.blake3)
        return any(
            is_right(
                store,
                ObjectKey(ObjectKind(kind), digest),
                blob.blake3,
                start=start,
                size_bytes=blob.size_bytes,
            )
            for name, kind, digest, start in locations
            if name == backend
        )

    def _settle(self, found: ObjectRecord, *, other: str) -> None:
        """What is condemned without a copy that was read back: live again if it is sound itself.

        If it is not: gone if all that it had was read in the other backend, else damaged.
        """
        is_saved = self._is_saved(found, other)
        finding = self._finding_of(found, is_saved=is_saved)
        if finding is not None and is_saved:
            self._turn.check()
            self._delete_objects(found.backend, [found])
            self._report.deleted += found.backend == self._source
            return
        event: Event
        if finding is None:
            event = ObjectRestored(object=reference_to(found))
        else:
            event = ObjectDamaged(object=reference_to(found), finding=finding)
        record_each(self._registry, [found], lambda tx, _: event if is_condemned(tx, found) else None)

    def _finding_of(self, found: ObjectRecord, *, is_saved: bool) -> str | None:
        """What is wrong with a condemned object. That it is gone is nothing unusual, unless it is missed."""
        store = self._registry.backend(found.backend)
        with self._registry.catalog.snapshot() as queries:
            blobs = list(queries.blobs_in_object(found.row_id))
        try:
            store.size(key_of(found))
        except ObjectNotFoundError:
            if is_saved:
                return "the object is missing"
        return read_back_surely(store, found, blobs, lambda _: None).finding

    def _delete_objects(self, backend: str, doomed: list[ObjectRecord]) -> None:
        """Bytes first, then the record: a killed process leaves what the next deletes again."""
        store = self._registry.backend(backend)
        failpoint("migrate.before-delete")
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda found: store.delete(key_of(found)), doomed))
        failpoint("migrate.after-delete")
        record_each(self._registry, doomed, deletion_of)

    def _every_condemned(self, backend: str) -> Iterator[ObjectRecord]:
        def page(after: int) -> list[ObjectRecord]:
            with self._registry.catalog.snapshot() as queries:
                return backends.condemned(queries.connection, backend, after=after, limit=_PAGE)

        return every(page, first=0, size=_PAGE, key=attrgetter("row_id"))

    def _count_unrecorded(self) -> None:
        store = self._registry.backend(self._source)
        for info in (info for kind in ObjectKind for info in store.list(kind)):
            with self._registry.catalog.snapshot() as queries:
                places = queries.objects_of_digest(info.key.kind, info.key.digest)
            if not any(place.backend == self._source for place in places):
                self._report.unrecorded += 1
                self._report.unrecorded_bytes += info.size_bytes
