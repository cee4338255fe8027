"""The state of a store: database, log, backends, duties, subscriptions, and what an operator counts.

Cheap, and complete where something is wrong: a backend that cannot be opened, or a duty that never ran, is shown as
such and stops nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artifactstore.catalog import duties as duty_rows
from artifactstore.catalog import event_log, overview, probes, usage
from artifactstore.catalog import subscriptions as subscription_rows
from artifactstore.catalog.contributions import head
from artifactstore.errors import ConfigurationError
from artifactstore.registry.backlog import backlog_by, damage_by
from artifactstore.registry.duties import MAX_SKEW_S, host_and_process, is_alive
from artifactstore.registry.scrubbing import scrub_status_by
from artifactstore.registry.store_duties import ALL, duties_of
from artifactstore.registry.subscriptions import duty_name, is_ahead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from artifactstore.catalog.duties import DutyRecord
    from artifactstore.catalog.overview import BackendStateRecord
    from artifactstore.catalog.probes import ProbeRow
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.subscriptions import SubscriptionRecord
    from artifactstore.catalog.usage import BackendUsageRecord
    from artifactstore.domain.instant import Instant
    from artifactstore.registry.backlog import Backlog, Damage
    from artifactstore.registry.duties import Duty
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.scrubbing import ScrubStatus
    from artifactstore.registry.subscriptions import Subscriber

_LATE_US = int(MAX_SKEW_S * 1_000_000)
"""A run that begins so much later than it should is overdue: servers look every few seconds."""


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """A backend by its name."""

    name: str
    scheme: str | None
    """None where it is recorded and not configured, or cannot be opened."""
    is_default: bool
    state: BackendStateRecord | None
    probe: ProbeRow | None


@dataclass(frozen=True, slots=True)
class DutyStatus:
    """A duty: when it last ran and runs next, and what it did."""

    name: str
    every_s: float | None
    """None if it is off."""
    state: str
    """``waiting``, ``running``, ``lost`` (its process is gone, nobody has taken it over yet), ``paused`` or ``off``."""
    is_overdue: bool
    running_by: str | None
    record: DutyRecord | None
    """None if no process has ever looked for it."""
    detail: Mapping[str, object] | None
    error: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """Who is told what happens: how far, and what stops it."""

    name: str
    is_installed: bool
    """Whether this process knows the subscriber."""
    position: int | None
    """The event up to which it was told; None if nobody has looked for it yet: it is told what happens from then on."""
    behind: int | None
    """How many events wait, ``overview.COUNT_TO`` for so many or more; None where its types are not known."""
    failures: int
    next_attempt_at: int | None
    """None unless an event was not taken and is to come again."""
    delivered_at: int | None
    error: Mapping[str, object] | None
    running_by: str | None
    """Who delivers to it now. None also where a process died over it that nobody has taken over from yet."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """All of it, seen at one instant."""

    seen_at: Instant
    database_kind: str
    revision: str
    log: tuple[int, int] | None
    backends: list[BackendStatus]
    duties: list[DutyStatus]
    subscriptions: list[SubscriptionStatus]
    scrub: ScrubStatus
    backlog: Backlog
    damage: Damage
    counts: dict[str, int]
    space: list[BackendUsageRecord]

    @property
    def is_at_head(self) -> bool:
        """Whether the database has the revision that this software needs."""
        return self.revision == head()


def store_status(registry: Registry, subscribers: Sequence[Subscriber] = ()) -> StoreStatus:
    """Ask for everything in one view. ``subscribers`` are those that are installed."""
    now = registry.clock()
    with registry.catalog.snapshot() as queries:
        connection = queries.connection
        states = {state.name: state for state in overview.backend_states(connection)}
        reports = {report.target: report for report in probes.all_reports(connection)}
        records = duty_rows.all_duties(connection)
        return StoreStatus(
            seen_at=now,
            database_kind=registry.catalog.database_kind,
            revision=queries.schema_revision(),
            log=overview.latest_event(connection),
            backends=[
                _backend_status(registry, name, states.get(name), reports) for name in {**registry.backends, **states}
            ],
            duties=_duty_statuses(registry, records, now),
            subscriptions=_subscription_statuses(queries, subscribers, records, now),
            scrub=scrub_status_by(queries, registry),
            backlog=backlog_by(queries, registry),
            damage=damage_by(queries),
            counts=overview.counts(connection, now),
            space=usage.of_backends(connection),
        )


def duty_statuses(registry: Registry) -> list[DutyStatus]:
    """The duties alone."""
    with registry.catalog.snapshot() as queries:
        records = duty_rows.all_duties(queries.connection)
    return _duty_statuses(registry, records, registry.clock())


def subscription_statuses(registry: Registry, subscribers: Sequence[Subscriber]) -> list[SubscriptionStatus]:
    """The subscriptions alone: those of these subscribers, and those that are recorded."""
    now = registry.clock()
    with registry.catalog.snapshot() as queries:
        return _subscription_statuses(queries, subscribers, duty_rows.all_duties(queries.connection), now)


def _backend_status(
    registry: Registry, name: str, state: BackendStateRecord | None, reports: Mapping[str, ProbeRow]
) -> BackendStatus:
    try:
        identity = registry.backend(name).identity
    except ConfigurationError:
        identity = None
    return BackendStatus(
        name=name,
        scheme=None if identity is None else identity.partition("://")[0],
        is_default=name == registry.default_backend,
        state=state,
        probe=None if identity is None else reports.get(identity),
    )


def _duty_statuses(registry: Registry, records: list[DutyRecord], now: Instant) -> list[DutyStatus]:
    known, on = {record.name: record for record in records}, {duty.name for duty in duties_of(registry)}
    return [_duty_status(duty, known.get(duty.name), now, is_on=duty.name in on) for duty in ALL]


def _duty_status(duty: Duty, record: DutyRecord | None, now: Instant, *, is_on: bool) -> DutyStatus:
    runs = record is not None and is_alive(record, now)
    is_paused = record is not None and record.paused_at is not None
    idle = "off" if not is_on else "paused" if is_paused else "waiting"
    state = "running" if runs else "lost" if record and record.holder else idle
    late = not is_paused and (record is None or record.next_run_at < now - _LATE_US)
    return DutyStatus(
        name=duty.name,
        every_s=duty.every_s if is_on else None,
        state=state,
        is_overdue=is_on and not runs and late,
        running_by=host_and_process(record.holder) if record and record.holder else None,
        record=record,
        detail=_parsed(record.detail) if record else None,
        error=_parsed(record.error) if record else None,
    )


def _subscription_statuses(
    queries: Queries, subscribers: Sequence[Subscriber], duties: list[DutyRecord], now: Instant
) -> list[SubscriptionStatus]:
    known = {record.name: record for record in subscription_rows.all_subscriptions(queries.connection)}
    installed = {subscriber.name: subscriber for subscriber in subscribers}
    holders = {duty.name: duty.holder for duty in duties if is_alive(duty, now)}
    return [
        _subscription_status(queries, name, installed.get(name), known.get(name), holders.get(duty_name(name)))
        for name in sorted({*known, *installed})
    ]


def _subscription_status(
    queries: Queries, name: str, subscriber: Subscriber | None, record: SubscriptionRecord | None, holder: str | None
) -> SubscriptionStatus:
    waits = record is not None and record.failures and not is_ahead(record)
    return SubscriptionStatus(
        name=name,
        is_installed=subscriber is not None,
        position=record and record.position,
        behind=_behind(queries, subscriber, record) if subscriber and record else None,
        failures=record.failures if record else 0,
        next_attempt_at=record.next_attempt_at if record and waits else None,
        delivered_at=record and record.delivered_at,
        error=_parsed(record.error) if record else None,
        running_by=host_and_process(holder) if holder else None,
    )


def _behind(queries: Queries, subscriber: Subscriber, record: SubscriptionRecord) -> int:
    types, after = subscriber.event_types, record.position
    return len(event_log.next_of_types(queries.connection, types, after=after, limit=overview.COUNT_TO))


def _parsed(text: str | None) -> Mapping[str, object] | None:
    return None if text is None else json.loads(text)
