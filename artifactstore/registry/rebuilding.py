"""Rebuild: a catalog from what the backends have, when the database is gone.

First the log: its segments are found, put in order by the chain, checked, and replayed into the empty database in one
transaction. Then what was recorded after the last of them: a manifest that the log does not know, whose blobs are all
there, is a package again, under a new id; who made it, and when, is not known. At last the backends are compared with
the catalog, and what is missing is named. Bytes are not read back; ``verify`` does that.

Stopped after the log was replayed, the same call goes on: a lease says that the rebuilding has not ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import backends, event_log
from artifactstore.catalog.replay import take_over
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.events import MAX_FILES_PER_EVENT, LogRebuilt, PackageFinalized
from artifactstore.domain.object_events import LogSealed
from artifactstore.domain.segment import Segment, segment_digest
from artifactstore.errors import EventLogCorruptError, StorageError, UsageError
from artifactstore.failpoints import failpoint
from artifactstore.registry.progress import SILENT
from artifactstore.registry.rebuilding_tail import LostPackage, Tail
from artifactstore.registry.reconciling import ReconcileReport, reconcile
from artifactstore.storage.port import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry

REBUILD = "rebuild"
"""What the lease of a rebuilding that has not ended says it is for."""
_NAMED_DIFFERENCES = 1_000
_EVENTS_A_PAGE = 500


class FoundSegment(NamedTuple):
    """Where a segment lies, and which events it has."""

    reference: ObjectRef
    log_id: bytes
    first_seq: int
    last_seq: int
    chain_before: bytes
    chain_after: bytes
    latest_at: int


@dataclass(slots=True)
class RebuildReport:
    """What is back, and what is lost."""

    log_id: bytes = b""
    segments: int = 0
    sealed_events: int = 0
    packages: int = 0
    """Of which the log said everything."""
    recovered: list[str] = field(default_factory=list)
    """Packages that came back by their manifests alone: under new ids, and nobody knows who made them, and when."""
    lost: list[LostPackage] = field(default_factory=list)
    """Manifests that the log does not know, of which something is missing."""
    damaged_segments: dict[str, str] = field(default_factory=dict)
    """Segments that cannot be read, and why."""
    not_followed: list[FoundSegment] = field(default_factory=list)
    """Segments that do not follow: after a gap, or of another course of the same log."""
    comparison: ReconcileReport | None = None
    """The backends against the catalog that was rebuilt."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is known to be lost."""
        missing = self.comparison is None or not self.comparison.is_clean
        return not (self.lost or self.damaged_segments or self.not_followed or missing)


def rebuild(
    registry: Registry,
    *,
    log_id: bytes | None = None,
    schemas: Mapping[str, JsonValue] | None = None,
    progress: Progress = SILENT,
) -> RebuildReport:
    """Fill an empty database from all configured backends. ``log_id`` says which log, if they have several.

    ``schemas`` has metadata schemas by slug, for packages whose schema was registered after the last segment. Raises
    ``UsageError`` if the database is not empty, or the log is not named; ``StorageError`` if a backend gives no answer.
    """
    begun = _begun(registry)
    report = RebuildReport()
    found = list(_segments(registry, report))
    course = _course(found, _chosen(found, log_id))
    report.segments = len(course)
    report.not_followed = [each for each in found if each not in course and not _is_repeated(registry, each, course)]
    if not begun:
        _replay(registry, course, progress)
        failpoint("rebuild.after-log")
    last_seq = course[-1].last_seq if course else 0
    _record_segments(registry, course)
    tail = Tail(registry, schemas or {}, progress)
    tail.recover()
    report.lost = tail.lost
    report.sealed_events = last_seq
    _finish(registry, report, last_seq)
    report.comparison = reconcile(registry, limit=_NAMED_DIFFERENCES)
    return report


def _begun(registry: Registry) -> bool:
    """Whether a rebuilding has replayed the log and not ended. Raises ``UsageError`` for a database that is in use."""
    with registry.catalog.snapshot() as queries:
        if backends.leases_for(queries.connection, REBUILD):
            return True
        if queries.latest_seq():
            raise UsageError(
                "the database has a log already, and is not rebuilt over it",
                hint="Name an empty one in ARTIFACTSTORE_DATABASE_URL; `replay --check` says whether this is right.",
            )
    return False


# the log


def _segments(registry: Registry, report: RebuildReport) -> Iterator[FoundSegment]:
    """Every segment of every backend that can be read, each key once."""
    seen: set[bytes] = set()
    for name in registry.backends:
        for info in registry.backend(name).list(ObjectKind.SEGMENT):
            if info.key.digest in seen:
                continue
            try:
                found = _found(registry, ObjectRef(name, info.key.kind, info.key.digest, info.size_bytes))
            except EventLogCorruptError as error:
                report.damaged_segments[info.key.path] = error.message
                continue
            seen.add(info.key.digest)
            report.damaged_segments.pop(info.key.path, None)
            yield found


def _found(registry: Registry, reference: ObjectRef) -> FoundSegment:
    segment = _read(registry, reference)
    *_, last = event_log.following(segment.events, seq=segment.first_seq - 1, chain=segment.chain_before)
    if last.chain != segment.chain_after:
        raise EventLogCorruptError("its events do not come to the chain value that it says")
    return FoundSegment(
        reference,
        segment.log_id,
        segment.first_seq,
        segment.last_seq,
        segment.chain_before,
        segment.chain_after,
        last.at,
    )


def _read(registry: Registry, reference: ObjectRef) -> Segment:
    """A segment whose bytes are what its name says. Raises ``EventLogCorruptError``, or what says nothing of it."""
    from artifactstore.storage.port import ObjectKey

    try:
        data = registry.backend(reference.backend).read(ObjectKey(ObjectKind.SEGMENT, reference.blake3))
    except StorageError as error:
        if error.retryable:
            raise
        raise EventLogCorruptError(f"cannot be read: {error.message}") from error
    if segment_digest(data) != reference.blake3:
        raise EventLogCorruptError("its bytes are not what its name says")
    return Segment.decode(data)


def _chosen(found: Sequence[FoundSegment], log_id: bytes | None) -> bytes | None:
    """The log that is to be rebuilt; None if there is no segment at all."""
    there = {each.log_id for each in found}
    if log_id is not None and log_id not in there:
        raise UsageError(f"no segment of the log {log_id.hex()} is there")
    if log_id is None and len(there) > 1:
        named = ", ".join(sorted(each.hex() for each in there))
        raise UsageError(f"there are segments of several logs: {named}", hint="Name one of them with --log.")
    return log_id or next(iter(there), None)


def _course(found: Sequence[FoundSegment], log_id: bytes | None) -> list[FoundSegment]:
    """The segments that follow one another from the first event on, by the chain.

    Where it divides, because a database was set back to a backup, the course that was written to last; of several that
    come to the same, the one of the fewest segments.
    """
    if log_id is None:
        return []
    best: dict[tuple[int, bytes], tuple[tuple[int, int, int], list[FoundSegment]]] = {}
    for each in sorted((each for each in found if each.log_id == log_id), key=lambda each: -each.first_seq):
        worth, rest = best.get((each.last_seq + 1, each.chain_after), ((each.latest_at, each.last_seq, 0), []))
        ahead = ((worth[0], worth[1], worth[2] - 1), [each, *rest])
        place = (each.first_seq, each.chain_before)
        if place not in best or best[place][0] < ahead[0]:
            best[place] = ahead
    return best.get((1, event_log.first_chain(log_id)), ((0, 0, 0), []))[1]


def _is_repeated(registry: Registry, segment: FoundSegment, course: Sequence[FoundSegment]) -> bool:
    """Whether the course has all its events, because its sealing was broken off and begun anew."""
    begins = (segment.log_id, segment.first_seq, segment.chain_before)
    for each in (each for each in course if (each.log_id, each.first_seq, each.chain_before) == begins):
        chain = each.chain_before
        for header, _ in _read(registry, each.reference).events[: segment.last_seq - segment.first_seq + 1]:
            chain = event_log.next_chain(chain, header)
        return chain == segment.chain_after
    return False


def _replay(registry: Registry, course: Sequence[FoundSegment], progress: Progress) -> EventRecord | None:
    """All of it in one transaction, and a lease that says that more is to be done."""
    progress.begin("replaying", sum(each.reference.size_bytes for each in course))
    with registry.transaction() as tx:
        tx.open_lease(registry.new_id(), REBUILD, registry.clock())
        if not course:
            return None
        failpoint("rebuild.before-log")
        return take_over(tx.connection, course[0].log_id, _events(registry, course, progress))


def _events(registry: Registry, course: Iterable[FoundSegment], progress: Progress) -> Iterator[tuple[bytes, bytes]]:
    for each in course:
        yield from _read(registry, each.reference).events
        progress.advance(each.reference.size_bytes)


def _record_segments(registry: Registry, course: Sequence[FoundSegment]) -> None:
    """Those segments of which no later one could say where they are: the last, as a rule."""
    with registry.transaction() as tx:
        for each in course:
            places = tx.objects_of_digest(each.reference.kind, each.reference.blake3)
            if not places:
                tx.record(LogSealed(object=each.reference, first_seq=each.first_seq, last_seq=each.last_seq))
    failpoint("rebuild.after-segments")


# the end


def _finish(registry: Registry, report: RebuildReport, last_seq: int) -> None:
    """Count what is back, say in the log what came back how, and let the store be used."""
    with registry.catalog.snapshot() as queries:
        report.log_id = queries.log_id()
        every = event_log.next_of_types(queries.connection, [PackageFinalized.type], after=last_seq, limit=2**31)
        for at in range(0, len(every), _EVENTS_A_PAGE):
            for seq in every[at : at + _EVENTS_A_PAGE]:
                (record,) = queries.events(after=seq - 1, limit=1, with_payload=False)
                report.recovered.append(record.subject)
        total = event_log.next_of_types(queries.connection, [PackageFinalized.type], after=0, limit=2**31)
    report.packages = len(total) - len(every)
    failpoint("rebuild.before-end")
    with registry.transaction() as tx:
        for at in range(0, max(1, len(report.recovered)), MAX_FILES_PER_EVENT):
            ids = tuple(report.recovered[at : at + MAX_FILES_PER_EVENT])
            tx.record(LogRebuilt(log_id=report.log_id, last_seq=last_seq, package_ids=ids))
        for lease_id, _, _ in backends.leases_for(tx.connection, REBUILD):
            tx.end_lease(lease_id)
    failpoint("rebuild.after-end")
