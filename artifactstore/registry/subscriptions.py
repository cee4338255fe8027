"""Subscriptions: who is told what happens, after it has happened, in order, at least once.

A subscriber is given the events of its types from the log, one after the other, by one process at a time. Where it
stands is a row; an event it could not take comes again, later and later, and keeps no other subscriber waiting.

Each subscriber's deliveries are a duty: whoever claims it delivers. An event is read from the log, so only what was
committed is delivered, and it is delivered outside any transaction. That it was taken is noted at once, in a
transaction that proves the claim. A process that dies between the two has the same event, and no other, come again;
whoever takes the dead one's claim over counts that as a failure, so that an event which ends processes is seen.

::

    note_new(registry, subscribers)                   # from here on they miss nothing
    for subscriber in due(registry, subscribers):     # a look, which writes nothing
        deliver(registry, subscriber)                 # unless another process is at it
"""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from artifactstore.catalog import duties as duty_rows
from artifactstore.catalog import event_log
from artifactstore.catalog import subscriptions as rows
from artifactstore.errors import SubscriptionAheadError, SubscriptionUnknownError, UsageError
from artifactstore.registry.duties import (
    DEFECT,
    FAILED,
    MAX_SKEW_S,
    PATIENCE,
    Duty,
    host_and_process,
    is_alive,
    microseconds,
    run_if_free,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from artifactstore.catalog.event_log import EventRecord
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.subscriptions import SubscriptionRecord
    from artifactstore.domain.instant import Instant
    from artifactstore.registry.duties import Claim, Detail, Patience
    from artifactstore.registry.registry import Registry

_DOUBLINGS = 20
_MAX_MESSAGE = 1_000


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A name, the types of events it is told of, and how."""

    name: str
    event_types: tuple[str, ...]
    deliver: Callable[[EventRecord], None]
    """Returns when the event is taken. Any error means that it is not: it will come again."""
    from_the_start: bool = False
    """Whether a new subscriber is told everything, or what happens from now on."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long an event that was not taken waits: twice as long each time, and up to a quarter less, at random."""

    first_s: float = 1.0
    most_s: float = 3_600.0
    chance: Callable[[], float] = random.random

    def wait_s(self, failures: int) -> float:
        """After so many failures in a row."""
        longest = min(self.most_s, self.first_s * 2 ** min(failures - 1, _DOUBLINGS))
        return float(longest * (1 - self.chance() / 4))


BACKOFF = Backoff()


class DeliveryRun(NamedTuple):
    """What became of one run: deliveries to a subscriber, one after the other."""

    name: str
    delivered: int
    """How many events were taken."""
    error: dict[str, str] | None
    """Code and message of what ended the run before everything was delivered."""


def duty_name(name: str) -> str:
    """What the claim of a subscription's deliveries is called."""
    return f"deliver to {name}"


def note_new(registry: Registry, subscribers: Sequence[Subscriber]) -> None:
    """Let the store know its subscribers: a new one is told what is recorded after this, or everything if it asks.

    One look at two small tables, and a write if there are new ones.
    """
    with registry.catalog.snapshot() as queries:
        duties = _duties(queries)
        known = {row.name for row in rows.all_subscriptions(queries.connection) if duty_name(row.name) in duties}
    if new := [subscriber for subscriber in subscribers if subscriber.name not in known]:
        now = registry.clock()
        with registry.transaction() as tx:
            latest = tx.latest_seq()
            for subscriber in new:
                duty_rows.note_duty(tx.connection, duty_name(subscriber.name), now)
                rows.note(tx.connection, subscriber.name, 0 if subscriber.from_the_start else latest, now)


class Outlook:
    """What one process has seen there is to deliver. A look is one view of the database, and writes nothing.

    While the log has not grown a look asks nothing of the log but its end, however many subscribers there are.
    """

    def __init__(self, *, patience: Patience = PATIENCE, backoff: Backoff = BACKOFF) -> None:
        self._patience = patience
        self._backoff = backoff
        self._nothing_between: dict[str, tuple[int, int]] = {}

    def due(self, registry: Registry, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """Those that something waits for, that may be tried now, and that no process delivers to."""
        now = registry.clock()
        with registry.catalog.snapshot() as queries:
            known = {record.name: record for record in rows.all_subscriptions(queries.connection)}
            running = {name for name, duty in _duties(queries).items() if is_alive(duty, now, patience=self._patience)}
            latest = queries.latest_seq()
            return [
                subscriber
                for subscriber in subscribers
                if subscriber.name in known
                and duty_name(subscriber.name) not in running
                and _may_be_tried(known[subscriber.name], now, self._backoff)
                and self._something_waits(queries, subscriber, known[subscriber.name].position, latest)
            ]

    def _something_waits(self, queries: Queries, subscriber: Subscriber, position: int, latest: int) -> bool:
        if position > latest:
            return True  # what is wrong there, the run says
        if self._nothing_between.get(subscriber.name) == (position, latest):
            return False
        if event_log.next_of_types(queries.connection, subscriber.event_types, after=position, limit=1):
            return True
        self._nothing_between[subscriber.name] = (position, latest)
        return False


def due(
    registry: Registry, subscribers: Sequence[Subscriber], *, patience: Patience = PATIENCE, backoff: Backoff = BACKOFF
) -> list[Subscriber]:
    """One look, for who looks once."""
    return Outlook(patience=patience, backoff=backoff).due(registry, subscribers)


def deliver(
    registry: Registry,
    subscriber: Subscriber,
    *,
    up_to: int | None = None,
    patience: Patience = PATIENCE,
    backoff: Backoff = BACKOFF,
    stop: threading.Event | None = None,
) -> DeliveryRun | None:
    """Deliver what waits, or what of it was recorded ``up_to`` an event; None if another process is at it.

    Ends at the first event that is not taken, and at the next one if the process is to end.
    """
    broken_off = _broken_off(registry, subscriber, patience)
    course = _Course(subscriber, broken_off, up_to=up_to, backoff=backoff, stop=stop or threading.Event())
    run = run_if_free(registry, Duty(duty_name(subscriber.name), 0.0, course.act), patience=patience)
    if run is None:
        return None
    failed = told(run.error) if run.outcome == FAILED and run.error is not None else None
    return DeliveryRun(subscriber.name, course.delivered, course.error or failed)


def replay(registry: Registry, name: str, *, after: int) -> None:
    """Have a subscription be told again, or at once, what the log has after ``after``. Its error is forgotten.

    Also while an event is being delivered: that delivery then counts for nothing, and the run goes on from here.
    Raises ``SubscriptionUnknownError``, or ``UsageError`` for a number that the log does not reach.
    """
    with registry.transaction() as tx:
        latest = tx.latest_seq()
        if not 0 <= after <= latest:
            raise UsageError(f"there is no event {after}: the log ends at {latest}")
        if not rows.move(tx.connection, name, after):
            raise SubscriptionUnknownError(f"there is no subscription {name!r}")


# one run


class _BrokenOff(NamedTuple):
    """A delivery whose process is gone, and how the subscription stood then."""

    record: SubscriptionRecord
    seq: int
    holder: str


def _broken_off(registry: Registry, subscriber: Subscriber, patience: Patience) -> _BrokenOff | None:
    """By the claim that it has left behind, and an event that is not taken: a run is little else than deliveries."""
    with registry.catalog.snapshot() as queries:
        duty = _duties(queries).get(duty_name(subscriber.name))
        record = rows.subscription(queries.connection, subscriber.name)
        if record is None or duty is None or not duty.holder or is_alive(duty, registry.clock(), patience=patience):
            return None
        types = subscriber.event_types
        seqs = event_log.next_of_types(queries.connection, types, after=record.position, limit=1)
    return _BrokenOff(record, seqs[0], duty.holder) if seqs else None


@dataclass(slots=True)
class _Course:
    """The deliveries of one run. ``stop`` is looked at between two events: that one was taken is always noted."""

    subscriber: Subscriber
    broken_off: _BrokenOff | None
    """What the run before this one has left behind, as it was seen before the claim."""
    up_to: int | None
    backoff: Backoff
    stop: threading.Event
    delivered: int = 0
    error: dict[str, str] | None = field(default=None)

    def act(self, registry: Registry, _: Claim) -> Detail:
        """Event by event, each looked for anew: a replay may have moved the position."""
        if self.broken_off is not None and self._note_that_it_was_broken_off(registry, self.broken_off):
            return {"delivered": 0}
        while not self.stop.is_set() and (found := self._next(registry)) is not None:
            record, event = found
            self.error = self._refusal_of(event)
            if not self._note(registry, record, event):
                self.error = None  # it was replayed meanwhile
                continue
            if self.error is not None:
                break
            self.delivered += 1
        return {"delivered": self.delivered}

    def _next(self, registry: Registry) -> tuple[SubscriptionRecord, EventRecord] | None:
        with registry.catalog.snapshot() as queries:
            record = rows.subscription(queries.connection, self.subscriber.name)
            if record is None or not _may_be_tried(record, registry.clock(), self.backoff):
                return None
            latest = queries.latest_seq()
            if record.position <= latest:
                return self._event_after(queries, record)
        self._note_that_it_is_ahead(registry, record, latest)
        return None

    def _event_after(
        self, queries: Queries, record: SubscriptionRecord
    ) -> tuple[SubscriptionRecord, EventRecord] | None:
        seqs = event_log.next_of_types(queries.connection, self.subscriber.event_types, after=record.position, limit=1)
        if not seqs or (self.up_to is not None and seqs[0] > self.up_to):
            return None
        (event,) = queries.events(after=seqs[0] - 1, limit=1)
        return record, event

    def _refusal_of(self, event: EventRecord) -> dict[str, str] | None:
        """Deliver; why it was not taken. Nothing that a subscriber raises may end the thread unseen."""
        try:
            self.subscriber.deliver(event)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is to be seen in the row
            refusal = {name: text[:_MAX_MESSAGE] for name, text in told(error).items()}
            return {**refusal, "message": f"event {event.seq}: {refusal['message']}"}
        return None

    def _note(self, registry: Registry, record: SubscriptionRecord, event: EventRecord) -> bool:
        """Under the claim, and unless the subscription was moved: then False."""
        now = registry.clock()
        with registry.transaction() as tx:
            if self.error is None:
                return rows.advance(tx.connection, record, event.seq, now)
            return rows.refuse(tx.connection, record, self._refusal(record, now, self.error))

    def _note_that_it_was_broken_off(self, registry: Registry, found: _BrokenOff) -> bool:
        """Unless somebody has noted anything since it was seen: then False."""
        how = f"the process {host_and_process(found.holder)} ended, or gave no sign of life, while it delivered it"
        error = {"code": DEFECT, "message": f"event {found.seq}: {how}"}
        refusal = self._refusal(found.record, registry.clock(), error)
        with registry.transaction() as tx:
            noted = rows.refuse(tx.connection, found.record, refusal)
        self.error = error if noted else None
        return noted

    def _note_that_it_is_ahead(self, registry: Registry, record: SubscriptionRecord, latest: int) -> None:
        """Until somebody says where to go on: a log that has grown to there by then is another one."""
        self.error = told(
            SubscriptionAheadError(f"{record.name} was told event {record.position}, and the log ends at {latest}")
        )
        refusal = self._refusal(record, registry.clock(), self.error)
        with registry.transaction() as tx:
            rows.refuse(tx.connection, record, refusal)

    def _refusal(self, record: SubscriptionRecord, now: Instant, error: dict[str, str]) -> rows.Refusal:
        failures = record.failures + 1
        return rows.Refusal(failures, now + microseconds(self.backoff.wait_s(failures)), json.dumps(error))


# what a row says


def is_ahead(record: SubscriptionRecord) -> bool:
    """Whether it was found beyond the log's end: it waits for a replay."""
    return record.error is not None and json.loads(record.error)["code"] == SubscriptionAheadError.code


def _may_be_tried(record: SubscriptionRecord, now: Instant, backoff: Backoff) -> bool:
    """A wait that is longer than any can be was written by a clock that was wrong, and counts for nothing."""
    longest = microseconds(backoff.most_s + MAX_SKEW_S)
    return not is_ahead(record) and not now < record.next_attempt_at <= now + longest


def _duties(queries: Queries) -> dict[str, duty_rows.DutyRecord]:
    return {record.name: record for record in duty_rows.all_duties(queries.connection)}
