"""Sealing: the event log, as it grows, is stored as objects beside the bytes it speaks of.

A segment has events that follow one another; sealing one records where it lies (``v1.log.sealed``), which is an event
of the next. Events are in the log in the order of their commits, so what is read up to the tip is all there is. With
the segments a store is rebuilt from its backend alone; what is not sealed yet is what would be lost of the log.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from artifactstore.catalog import event_log
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.events import event_from
from artifactstore.domain.object_events import LogSealed
from artifactstore.domain.segment import Segment, segment_digest
from artifactstore.errors import BlobCorruptError, ConcurrentUpdateError
from artifactstore.failpoints import failpoint
from artifactstore.registry.lease import Lease
from artifactstore.registry.placing import placed, require_takes_writes
from artifactstore.registry.publishing import publish_and_close, way_to_publish
from artifactstore.registry.read_back import is_right
from artifactstore.storage.port import ObjectInfo, ObjectKey, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.registry.registry import Registry

SEAL = "seal"
"""What a sealing's lease says it is for."""
SEAL_EVENTS = 1_000
"""So many events are sealed at once, however young."""
SEAL_AFTER_S = 15 * 60.0
"""What is older is sealed, however few there are."""
_MOST_EVENTS = 10_000
_MOST_BYTES = 16 * 1024 * 1024
"""Of headers and payloads in one segment, but for one event that is larger."""
_MICROSECONDS = 1_000_000


class SealReport(NamedTuple):
    """What was sealed."""

    segments: int
    events: int
    sealed_up_to: int
    """The sequence number of the last event that is sealed, 0 if none is."""


class Unsealed(NamedTuple):
    """What is not sealed yet."""

    sealed_up_to: int
    event_count: int
    """How many events follow it, ``SEAL_EVENTS`` for so many or more; those that only say what was sealed count."""
    oldest_at: int | None
    """When the first of them happened that says something else; None if there is none."""


def seal_log(registry: Registry) -> SealReport:
    """Seal everything up to the log's end. A log that says nothing new but what was sealed is left as it is."""
    segments = events = 0
    while (segment := _next_segment(registry)) is not None:
        _store(placed(registry), segment)
        segments += 1
        events += len(segment.events)
    return SealReport(segments, events, unsealed(registry).sealed_up_to)


def seal_if_due(registry: Registry) -> SealReport:
    """Seal if there is enough, or something has waited long enough."""
    waiting = unsealed(registry)
    due_at = None if waiting.oldest_at is None else waiting.oldest_at + int(SEAL_AFTER_S * _MICROSECONDS)
    if due_at is not None and (waiting.event_count >= SEAL_EVENTS or registry.clock() >= due_at):
        return seal_log(registry)
    return SealReport(0, 0, waiting.sealed_up_to)


def unsealed(registry: Registry) -> Unsealed:
    """What there is to seal."""
    with registry.catalog.snapshot() as queries:
        return unsealed_by(queries)


def unsealed_by(queries: Queries) -> Unsealed:
    """The same, in a view that others look at, too."""
    sealed_up_to = last_sealed(queries)
    page = queries.events(after=sealed_up_to, limit=SEAL_EVENTS, with_payload=False)
    oldest_at = next((record.at for record in page if record.type != LogSealed.type), None)
    return Unsealed(sealed_up_to, len(page), oldest_at)


def last_sealed(queries: Queries) -> int:
    """The sequence number of the last event that is sealed, 0 if none is."""
    newest = event_log.newest_of_type(queries.connection, LogSealed.type)
    if newest is None:
        return 0
    event = event_from(newest.type, newest.payload)
    assert isinstance(event, LogSealed), "it is of this type"
    return event.last_seq


def segment_of(queries: Queries, first_seq: int, last_seq: int) -> Segment:
    """The segment that these events of the log make."""
    before = event_log.chain_at(queries.connection, first_seq - 1)
    records = list(event_log.read(queries.connection, after=first_seq - 1, limit=last_seq - first_seq + 1))
    return segment_from(queries.log_id(), before, records)


def _next_segment(registry: Registry) -> Segment | None:
    with registry.catalog.snapshot() as queries:
        sealed_up_to = last_sealed(queries)
        before = event_log.chain_at(queries.connection, sealed_up_to)
        records = list(fitting(event_log.read(queries.connection, after=sealed_up_to)))
        if all(record.type == LogSealed.type for record in records):
            return None
        return segment_from(queries.log_id(), before, records)


def fitting(records: Iterator[EventRecord]) -> Iterator[EventRecord]:
    """As many of these as make one segment."""
    room_bytes = _MOST_BYTES
    for number, record in enumerate(islice(records, _MOST_EVENTS)):
        room_bytes -= len(record.header) + len(record.payload)
        if room_bytes < 0 and number:
            return
        yield record


def segment_from(log_id: bytes, before: bytes, records: list[EventRecord]) -> Segment:
    """These events, one at least, which follow the chain value ``before``."""
    events = tuple((record.header, record.payload) for record in records)
    return Segment(log_id, records[0].seq, before, records[-1].chain, events)


def _store(registry: Registry, segment: Segment) -> None:
    encoded = segment.encode()
    info = ObjectInfo(ObjectKey(ObjectKind.SEGMENT, segment_digest(encoded)), len(encoded))
    with Lease(registry, SEAL) as lease:
        lease.ensure_open()
        stage = registry.store.stage(blake3())
        with stage:
            stage.write(encoded)
            failpoint("seal.before-publish")
            publish_and_close(stage, way_to_publish(registry, stage, info.key), info)
        if not is_right(registry.store, info.key, info.key.digest):
            raise BlobCorruptError(f"{info.key} in backend {registry.default_backend!r} reads otherwise than stored")
        reference = ObjectRef(registry.default_backend, info.key.kind, info.key.digest, info.size_bytes)
        failpoint("seal.before-record")
        with registry.transaction() as tx:
            tx.lock("log", "segments")
            if last_sealed(tx) != segment.first_seq - 1:
                raise ConcurrentUpdateError("another process has sealed these events meanwhile")
            tx.record(LogSealed(object=reference, first_seq=segment.first_seq, last_seq=segment.last_seq))
            lease.end_in(tx)
            require_takes_writes(tx, registry.default_backend)
        failpoint("seal.after-record")
