"""Copying what lies in one backend into another, while both are in use.

What is to be copied the catalog says: the source's objects that the target does not have live. So the same call goes
on where another was stopped, and stores anew what is damaged in the target. Each object is read as a stream, checked on
its way, and recorded as lying in the target too; a batch is recorded in one transaction, which ends the lease under
which it was stored.

An object that a put finds in the target, though the catalog knows of none there, was checked by nobody we know of: a
put looks at its size alone. It is read back whole before it is recorded, and replaced if it is bad.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from blake3 import blake3

from artifactstore.catalog import backends
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.hashing import BUFFER_BYTES
from artifactstore.domain.object_events import ObjectCopied
from artifactstore.errors import (
    BlobCorruptError,
    CatalogUnavailableError,
    ConcurrentUpdateError,
    DigestMismatchError,
    RangeInvalidError,
    StorageError,
    StorageUnavailableError,
    UsageError,
)
from artifactstore.failpoints import failpoint
from artifactstore.registry.damage import record_findings, recorded_now
from artifactstore.registry.lease import Lease
from artifactstore.registry.packages import require_content
from artifactstore.registry.paging import every
from artifactstore.registry.pairing import require_backends
from artifactstore.registry.placing import require_takes_writes
from artifactstore.registry.progress import SILENT
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.read_back import Findings, is_right, key_of, read_back_surely
from artifactstore.registry.salvaging import COPY, damage_in, lost_with, save_sound_blobs
from artifactstore.storage.port import ObjectInfo, PutOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from artifactstore.catalog.backends import Twin
    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.verify import Damage

AT_ONCE = 4
"""Objects under way. Each holds one buffer, and with S3 a temporary file."""
_BATCH_OBJECTS = 200
_BATCH_BYTES = 256 * 1024 * 1024
"""Or one object that is larger: what is recorded at once keeps other writers waiting."""
_BATCH_S = 5.0
_PAGE = 100
_ATTEMPTS = 3
_PAUSES_S = (0.2, 1.0, 5.0)


@dataclass(slots=True)
class CopyReport:
    """What was copied, and what could not be."""

    objects: int = 0
    """Objects that the target has now and had not before."""
    bytes_copied: int = 0
    already_there: int = 0
    verified: int = 0
    """Copies that were read back whole, where that was asked for."""
    blobs_saved: int = 0
    """Sound blobs of damaged packs, stored in new packs."""
    passed_over: int = 0
    """Objects that are being removed from source or target."""
    damage: list[Damage] = field(default_factory=list)
    """What was found bad in the source, and is recorded as such now."""
    lost: list[Damage] = field(default_factory=list)
    """What the source has only as damaged, and no other backend has."""


def copy_backend(
    registry: Registry, source: str, target: str, *, package_id: str | None = None, progress: Progress = SILENT
) -> CopyReport:
    """Copy every object of a backend that another lacks; of one package alone, if it is named.

    Raises ``BackendUnknownError``, ``PackageUnknownError``, ``UsageError`` if the target is being emptied, and
    ``StorageError`` if a backend gives no answer; what was copied until then is recorded.
    """
    require_backends(registry, source, target)
    with registry.catalog.snapshot() as queries:
        if (succession := backends.succession(queries.connection, target)) is not None:
            raise UsageError(
                f"backend {target!r} takes no objects: it was emptied, or is being emptied, into {succession[0]!r}",
                hint=f"`artifactstore storage migrate --from {succession[0]} --to {target}` goes the way back.",
            )
    copying = Copying(registry, source, target, progress=progress)
    if package_id is None:
        copying.everything()
    else:
        copying.package(package_id)
    return copying.finish()


class RowIds:
    """A set of row ids, a bit for each up to the greatest."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row_id: int) -> None:
        """Put it in."""
        if (missing := row_id // 8 + 1 - len(self._bits)) > 0:
            self._bits += bytes(missing)
        self._bits[row_id // 8] |= 1 << row_id % 8

    def __contains__(self, row_id: int) -> bool:
        return row_id // 8 < len(self._bits) and bool(self._bits[row_id // 8] >> row_id % 8 & 1)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one object."""

    found: ObjectRecord
    is_there: bool = False
    """The target has it, stored or seen by us."""
    created: bool = False
    is_sound: bool = False
    """It was read back in the target."""
    findings: Findings | None = None
    """It is bad in the source."""


class Copying:
    """A copy under way. What was done is in ``report``; with ``verified``, whatever the target has is read back, too.

    ``verified`` then has the row ids of the source's objects whose copies were found sound.
    """

    def __init__(
        self,
        registry: Registry,
        source: str,
        target: str,
        *,
        progress: Progress = SILENT,
        verified: RowIds | None = None,
    ) -> None:
        self.registry = replace(registry, default_backend=target, chosen_backend=None)
        self.source, self.target = source, target
        self.report = CopyReport()
        self.verified = verified
        self._from, self._to = registry.backend(source), registry.backend(target)
        self._progress = progress
        self._stopped = threading.Event()
        self._changes = 0
        self._lost: dict[int, list[Damage]] = {}

    def everything(self) -> int:
        """Go once through all that the source has; how many objects were copied, verified or found bad."""
        with self.registry.catalog.snapshot() as queries:
            _, size_bytes = backends.content(queries.connection, self.source)
        self._progress.begin("copying", size_bytes)

        def page(after: int) -> list[Twin]:
            with self.registry.catalog.snapshot() as queries:
                return backends.twins(queries.connection, self.source, self.target, after=after, limit=_PAGE)

        return self._go_through(every(page, first=0, size=_PAGE, key=lambda twin: twin.found.row_id))

    def package(self, package_id: str) -> int:
        """Only what one package needs. Raises ``PackageUnknownError``."""
        with self.registry.catalog.snapshot() as queries:
            package = require_content(queries, package_id)
            manifest = package.manifest_digest or b""
            twins = backends.twins_of_package(queries.connection, package.row_id, manifest, self.source, self.target)
        self._progress.begin("copying", sum(twin.found.size_bytes for twin in twins))
        return self._go_through(twins)

    def finish(self) -> CopyReport:
        """The report."""
        self.report.lost = [damage for row_id in sorted(self._lost) for damage in self._lost[row_id]]
        return self.report

    # what is to be done, a batch at a time

    def _go_through(self, twins: Iterable[Twin]) -> int:
        self._changes = 0
        to_do: list[Twin] = []
        for twin in twins:
            if self._is_to_do(twin):
                to_do.append(twin)
            while len(to_do) >= _BATCH_OBJECTS:
                to_do = self._do(to_do)
        while to_do:
            to_do = self._do(to_do)
        return self._changes

    def _is_to_do(self, twin: Twin) -> bool:
        """Whether there are bytes to read; of what is known to be damaged, what can be saved is saved at once."""
        found = twin.found
        self._lost.pop(found.row_id, None)
        if twin.is_there and self.verified is not None:
            return found.row_id not in self.verified
        if found.status == "live" and not twin.is_there:
            return True
        if found.status == "live":
            self.report.already_there += 1
        elif found.status == "damaged":
            self._save(found)
        elif self.verified is None:
            self.report.passed_over += 1
        self._progress.advance(found.size_bytes)
        return False

    def _do(self, to_do: list[Twin]) -> list[Twin]:
        """Work on these for some seconds, and record what came of it; those that are left."""
        waiting, outcomes, errors = deque(to_do), list[_Outcome](), list[BaseException]()
        with Lease(self.registry, COPY) as lease:
            lease.ensure_open()
            self._work_through(waiting, outcomes, errors)
            failpoint("copy.before-record")
            self._record(outcomes, lease)
        for outcome in outcomes:
            self._follow_up(outcome)
        if errors:
            raise errors[0]
        return list(waiting)

    def _work_through(self, waiting: deque[Twin], outcomes: list[_Outcome], errors: list[BaseException]) -> None:
        until, taken = time.monotonic() + _BATCH_S, list[int]()

        def work() -> None:
            while waiting and not errors and time.monotonic() < until and sum(taken) < _BATCH_BYTES:
                try:
                    twin = waiting.popleft()
                except IndexError:  # another thread has taken the last
                    return
                taken.append(twin.found.size_bytes)
                try:
                    outcomes.append(self._treat_patiently(twin))
                except BaseException as error:  # noqa: BLE001 - raised again when the others' work is recorded
                    errors.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(waiting)))]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self._stopped.set()
            raise

    # one object, on one of several threads

    def _treat_patiently(self, twin: Twin) -> _Outcome:
        """A backend that gives no answer once is asked again: one error must not end a copy of days."""
        for pause_s in _PAUSES_S:
            try:
                return self._treat(twin)
            except StorageUnavailableError:
                self._go_on()
                time.sleep(pause_s)
        return self._treat(twin)

    def _treat(self, twin: Twin) -> _Outcome:
        found = twin.found
        if not twin.is_there:
            return self._copy(found)
        if self._is_sound_there(found, advance=True):
            return _Outcome(found, is_there=True, is_sound=True)
        self._record_damage_there(found)
        return _Outcome(found) if found.status == "condemned" else self._copy(found)

    def _copy(self, found: ObjectRecord) -> _Outcome:
        try:
            stored = self._store(found)
        except ConcurrentUpdateError:  # it is being removed there
            return _Outcome(found)
        if isinstance(stored, Findings):
            return _Outcome(found, findings=stored)
        is_known = stored is PutOutcome.CREATED and self.verified is None
        if not is_known and not self._is_sound_there(found):
            self._transfer(found, over=True)
            if not self._is_sound_there(found):
                raise BlobCorruptError(
                    f"{key_of(found)} was stored in backend {self.target!r} twice and reads otherwise",
                    hint=f"`artifactstore storage probe {self.target}` says whether it can be relied on.",
                )
        return _Outcome(found, is_there=True, created=stored is PutOutcome.CREATED, is_sound=not is_known)

    def _store(self, found: ObjectRecord) -> PutOutcome | Findings:
        """Store it in the target, or say what is wrong with it in the source."""
        for _ in range(_ATTEMPTS):
            try:
                return self._transfer(found)
            except (_UnreadableError, DigestMismatchError):
                with self.registry.catalog.snapshot() as queries:
                    blobs = list(queries.blobs_in_object(found.row_id))
                findings = read_back_surely(self._from, found, blobs, lambda _: self._go_on())
                if findings.finding is not None:
                    return findings
        raise StorageUnavailableError(f"{key_of(found)} was altered on its way from {self.source!r} every time")

    def _transfer(self, found: ObjectRecord, *, over: bool = False) -> PutOutcome:
        with self._to.stage(blake3()) as stage:
            for data in self._pieces(found):
                stage.write(data)
                self._progress.advance(0 if over else len(data))
            key = key_of(found)
            publish = stage.replace if over else way_to_publish(self.registry, stage, key)
            return publish_and_close(stage, publish, ObjectInfo(key, found.size_bytes))

    def _pieces(self, found: ObjectRecord) -> Iterator[bytes]:
        """The source's bytes. Raises ``_UnreadableError``, so that its errors are told from the target's."""
        try:
            with self._from.open(key_of(found)) as stream:
                while data := stream.read(BUFFER_BYTES):
                    self._go_on()
                    yield data
        except (StorageError, RangeInvalidError) as error:
            raise _UnreadableError from error

    def _is_sound_there(self, found: ObjectRecord, *, advance: bool = False) -> bool:
        def count(size_bytes: int) -> None:
            self._go_on()
            self._progress.advance(size_bytes if advance else 0)

        return is_right(self._to, key_of(found), found.blake3, advance=count)

    def _record_damage_there(self, found: ObjectRecord) -> None:
        """So that the next put replaces it."""
        with self.registry.catalog.snapshot() as queries:
            places = queries.objects_of_digest(found.kind, found.blake3)
            there = next((place for place in places if place.backend == self.target), None)
            blobs = [] if there is None else list(queries.blobs_in_object(there.row_id))
        if there is not None:
            record_findings(self.registry, there, read_back_surely(self._to, there, blobs, lambda _: self._go_on()))

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise _StoppedError

    # recording

    def _record(self, outcomes: list[_Outcome], lease: Lease) -> None:
        """The copies, in one transaction; those alone whose source is still relied on.

        None if the target has begun to be emptied: so whoever empties it need not wait for copies.
        """
        stored = sorted((each for each in outcomes if each.is_there), key=lambda each: each.found.row_id)
        copied, unsure = list[_Outcome](), list[_Outcome]()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self.registry.transaction() as tx:
                    copied = [each for each in stored if self._is_new(tx, each.found)]
                    tx.record(*(self._event(each.found) for each in copied))
                    lease.end_in(tx)
                    require_takes_writes(tx, self.target)
            except CatalogUnavailableError:  # a deadlock with others who record the same, or a lost answer
                unsure = copied
                if attempt == _ATTEMPTS:
                    raise
            except ConcurrentUpdateError:
                if unsure and not copied:  # all of it is there, and the lease ended: it was the answer that was lost
                    copied = unsure
                    break
                if attempt == _ATTEMPTS:
                    raise
            else:
                break
        self.report.objects += len(copied)
        self.report.bytes_copied += sum(each.found.size_bytes for each in copied if each.created)

    def _is_new(self, tx: Transaction, found: ObjectRecord) -> bool:
        """Whether the source has it live, and the target not."""
        tx.lock_object(found.row_id)
        now = backends.twin(tx.connection, found.row_id, self.target)
        return now is not None and now.found.status == "live" and not now.is_there

    def _event(self, found: ObjectRecord) -> ObjectCopied:
        return ObjectCopied(
            object=ObjectRef(self.target, found.kind, found.blake3, found.size_bytes), source=self.source
        )

    def _follow_up(self, outcome: _Outcome) -> None:
        found = outcome.found
        if outcome.is_there:
            self._changes += 1
            if self.verified is not None and outcome.is_sound:
                self.verified.add(found.row_id)
                self.report.verified += 1
        elif outcome.findings is None:
            self.report.passed_over += found.status != "condemned"
        else:
            with self.registry.catalog.snapshot() as queries:
                now = recorded_now(queries, found)
            if now is not None:  # else it was removed while it was read
                self._changes += 1
                record_findings(self.registry, found, outcome.findings)
                self.report.damage += damage_in(self.registry, found, outcome.findings)
                self._save(found)

    # what is damaged in the source

    def _save(self, found: ObjectRecord) -> None:
        """Save what is sound of a damaged object, and note what is left of it that no backend has."""
        self.report.blobs_saved += save_sound_blobs(self.registry, found)
        self._lost[found.row_id] = lost_with(self.registry, found)


class _UnreadableError(Exception):
    """The source did not give an object's bytes."""


class _StoppedError(Exception):
    """The copy is being broken off."""
