"""The event log as seen from outside, and replay: showing that the tables follow from it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog.replay import differences, replay
from artifactstore.domain.events import MetadataSchemaRegistered
from artifactstore.errors import Problem, ReplayMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.database import Database, Row
    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.registry.registry import Registry

_NAMED_DIFFERENCES = 10
_PAGE_BYTES = 4 * 1024 * 1024


class ReplayReport(NamedTuple):
    """What a replay went through."""

    events: int
    log_id: bytes
    chain: bytes
    """The last event's chain value: the state of the whole log in 32 bytes."""


def list_events(
    registry: Registry, *, after: int = 0, limit: int, subject: str | None = None, with_payload: bool = True
) -> list[EventRecord]:
    """A page of events after a sequence number, in order; their payloads are empty unless they are asked for."""
    with registry.catalog.snapshot() as queries:
        return queries.events(after=after, limit=limit, subject=subject, with_payload=with_payload)


def latest_seq(registry: Registry) -> int:
    """The newest event's sequence number, 0 for an empty log."""
    with registry.catalog.snapshot() as queries:
        return queries.latest_seq()


class EventPage(NamedTuple):
    """Events that a caller may see, and where the next page begins; None if this was the last."""

    events: list[EventRecord]
    next_after: int | None


def list_visible_events(
    registry: Registry,
    *,
    after: int = 0,
    limit: int,
    subject: str | None = None,
    with_payload: bool = False,
    readable_producers: Sequence[str] | None = None,
) -> EventPage:
    """A page of events for a caller who may read these producers' packages (None: everything).

    They see what happened to those packages, and schemas, which are everyone's. Of a page of the log what they may not
    see is left out, so a page may be empty though the log goes on; it costs the same however rare their events are. Of
    one subject that they may not see, nothing shows that there are events. Payloads end a page at some megabytes.
    """
    with registry.catalog.snapshot() as queries:
        if subject is not None and not _may_see(queries, subject, readable_producers):
            return EventPage([], None)
        if with_payload:
            limit = min(limit, queries.events_within(_PAGE_BYTES, after=after, limit=limit, subject=subject))
        page = queries.events(after=after, limit=limit, subject=subject, with_payload=with_payload)
        next_after = page[-1].seq if len(page) == limit else None
        if readable_producers is None:
            return EventPage(page, next_after)
        producers = queries.producers_of([event.subject for event in page])
    readable = set(readable_producers)
    visible = [
        event
        for event in page
        if event.type == MetadataSchemaRegistered.type or producers.get(event.subject) in readable
    ]
    return EventPage(visible, next_after)


def _may_see(queries: Queries, subject: str, readable_producers: Sequence[str] | None) -> bool:
    """Decided before its events are looked at, so that the time it takes says nothing of them."""
    if readable_producers is None:
        return True
    return queries.producers_of([subject]).get(subject) in readable_producers or queries.schema(subject) is not None


def check_replay(registry: Registry, scratch: Database) -> ReplayReport:
    """Check the log's chain, replay it into ``scratch`` (at head and empty), and compare the tables.

    Raises ``EventLogCorruptError`` or ``ReplayMismatchError`` naming the first rows that differ.
    """
    with registry.catalog.snapshot() as queries, scratch.write() as target:
        events = replay(queries.connection, target)
        found = list(islice(differences(queries.connection, target), _NAMED_DIFFERENCES))
        if found:
            problems = tuple(Problem(each.table, f"{_row(each.recorded)} != {_row(each.replayed)}") for each in found)
            raise ReplayMismatchError(
                "the tables are not what the event log says (table: recorded != replayed)", problems=problems
            )
        return ReplayReport(events, queries.log_id(), queries.latest_chain())


def _row(row: Row | None) -> str:
    if row is None:
        return "no row"
    return "(" + ", ".join(value.hex()[:16] if isinstance(value, bytes) else str(value)[:60] for value in row) + ")"
