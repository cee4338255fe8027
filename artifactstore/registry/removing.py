"""Changing the state of many objects: batches under their locks, what an event says of one, deleting what is condemned.

Emptying and collection condemn and delete in this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.event import Event, ObjectRef, lock_order
from artifactstore.domain.object_events import ObjectDeleted
from artifactstore.errors import ConcurrentUpdateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.registry import Registry

    EventFor = Callable[[Transaction, ObjectRecord], Event | None]

_AT_ONCE = 100
_BATCH_BYTES = 256 * 1024 * 1024
"""What is recorded at once keeps other writers waiting, for each file in a pack."""
_ATTEMPTS = 3


def batches_of(objects: Iterable[ObjectRecord]) -> Iterator[list[ObjectRecord]]:
    """As many as are recorded in one transaction."""
    batch: list[ObjectRecord] = []
    for found in objects:
        batch.append(found)
        if len(batch) == _AT_ONCE or sum(each.size_bytes for each in batch) >= _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def record_each(
    registry: Registry,
    batch: Sequence[ObjectRecord],
    event_for: EventFor,
    *,
    beside: Callable[[Transaction], object] = lambda _: None,
) -> int:
    """Record what is to be said of each now, in one transaction under their locks and those of their copies; how many.

    ``beside`` is done first, under the same locks. ``event_for`` is asked again if the transaction has to be repeated.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with registry.transaction() as tx:
                places = {place for found in batch for place in tx.objects_of_digest(found.kind, found.blake3)}
                for place in sorted(places, key=lambda place: (lock_order(reference_to(place)), place.row_id)):
                    tx.lock_object(place.row_id)
                beside(tx)
                events = [event for found in batch if (event := event_for(tx, found)) is not None]
                tx.record(*events)
        except ConcurrentUpdateError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return len(events)
    raise AssertionError("the last attempt returns or raises")


def deletion_of(tx: Transaction, found: ObjectRecord) -> Event | None:
    """Its end, if it is condemned still."""
    return ObjectDeleted(object=reference_to(found)) if is_condemned(tx, found) else None


def is_condemned(queries: Queries, found: ObjectRecord) -> bool:
    """Whether it is, now."""
    places = queries.objects_of_digest(found.kind, found.blake3)
    return any(place.row_id == found.row_id and place.status == "condemned" for place in places)


def reference_to(found: ObjectRecord) -> ObjectRef:
    """The object as events name it."""
    return ObjectRef(found.backend, found.kind, found.blake3, found.size_bytes)
