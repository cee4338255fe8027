"""What is counted, for Prometheus. Several worker processes add up if ``PROMETHEUS_MULTIPROC_DIR`` is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artifactstore.registry.backlog import Backlog
    from artifactstore.registry.scrubbing import ScrubStatus
    from artifactstore.registry.status import DutyStatus, SubscriptionStatus

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class Metrics:
    """One process's counters."""

    def __init__(self, *, shared_folder: str | None = None) -> None:
        self._shared_folder = shared_folder
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "artifactstore_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "artifactstore_request_seconds", "Time to the end of the answer.", ("route",), buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self.received_bytes = Counter(
            "artifactstore_received_bytes", "Bytes of request bodies.", registry=self._registry
        )
        self.sent_bytes = Counter("artifactstore_sent_bytes", "Bytes of answers' bodies.", registry=self._registry)
        self.ingests = Counter(
            "artifactstore_ingests", "Packages finalized, by whether they were new.", ("outcome",),
            registry=self._registry,
        )  # fmt: skip
        self.stored_bytes = Counter(
            "artifactstore_stored_bytes", "Bytes that finalized packages added to storage.", registry=self._registry
        )
        self.observations = Counter(
            "artifactstore_observations", "Observations taken in, by whether they were new.", ("outcome",),
            registry=self._registry,
        )  # fmt: skip
        self.errors = Counter(
            "artifactstore_errors", "Requests that failed by the system's fault, by code.", ("code",),
            registry=self._registry,
        )  # fmt: skip
        self.read_fallbacks = Counter(
            "artifactstore_read_fallbacks", "Objects that a read found failing in a backend and another one served.",
            ("backend", "reason"), registry=self._registry,
        )  # fmt: skip

    def exposition(
        self,
        *,
        events: int,
        duties: Sequence[DutyStatus],
        subscriptions: Sequence[SubscriptionStatus],
        scrub: ScrubStatus,
        backlog: Backlog,
        plugins_left_out: int,
    ) -> bytes:
        """The Prometheus text format. ``events`` is the length of the event log now; the others, how they stand."""
        if self._shared_folder is None:
            text = generate_latest(self._registry)
        else:
            together = CollectorRegistry()
            MultiProcessCollector(together, path=self._shared_folder)  # type: ignore[no-untyped-call]
            text = generate_latest(together)
        stand = [
            *_of_the_store(events, duties),
            *_of_subscriptions(subscriptions),
            *_of_scrub(scrub),
            *_of_backlog(backlog),
        ]
        return text + "".join([*stand, *_of_plugins(plugins_left_out)]).encode()


def _of_the_store(events: int, duties: Sequence[DutyStatus]) -> Iterator[str]:
    """What the database says: the same from every process, so it is added to no other's."""
    yield "# HELP artifactstore_events_total Events in the log.\n# TYPE artifactstore_events_total counter\n"
    yield f"artifactstore_events_total {events}\n"
    on = [duty for duty in duties if duty.every_s]
    name = "artifactstore_duty_last_success_timestamp_seconds"
    yield f"# HELP {name} When a duty was last done; 0 if it never was.\n# TYPE {name} gauge\n"
    for duty in on:
        succeeded_at = (duty.record and duty.record.succeeded_at) or 0
        yield f'{name}{{duty="{duty.name}"}} {succeeded_at / 1_000_000}\n'
    name = "artifactstore_duty_failures"
    yield f"# HELP {name} How many runs of a duty failed since the last one that did not.\n# TYPE {name} gauge\n"
    for duty in on:
        yield f'{name}{{duty="{duty.name}"}} {duty.record.failures if duty.record else 0}\n'
    yield from _of_late_duties(on)


def _of_late_duties(on: Sequence[DutyStatus]) -> Iterator[str]:
    name = "artifactstore_duty_overdue"
    yield f"# HELP {name} Whether a duty should have begun five minutes ago and nobody is at it.\n# TYPE {name} gauge\n"
    for duty in on:
        yield f'{name}{{duty="{duty.name}"}} {int(duty.is_overdue)}\n'
    name = "artifactstore_duty_paused"
    yield f"# HELP {name} Whether somebody has paused a duty.\n# TYPE {name} gauge\n"
    for duty in on:
        yield f'{name}{{duty="{duty.name}"}} {int(bool(duty.record and duty.record.paused_at is not None))}\n'


def _of_backlog(backlog: Backlog) -> Iterator[str]:
    """The same from every process."""
    plan = backlog.plan
    name = "artifactstore_backlog"
    yield f"# HELP {name} What waits to be done; 1000 is so many or more, but for events.\n# TYPE {name} gauge\n"
    for what, count in (
        ("packages_due", backlog.packages_due),
        ("packages_expired", backlog.packages_expired),
        ("expired_not_planned", backlog.expired_not_planned),
        ("plan_not_approved", int(plan is not None and plan.waits_for == "approval")),
        ("plan_not_applied", int(plan is not None and plan.waits_for is not None)),
        ("condemned_objects", backlog.condemned_objects),
        ("unsealed_events", backlog.unsealed_events),
        ("open_packages", backlog.open_packages),
    ):
        yield f'{name}{{what="{what}"}} {count}\n'
    name = "artifactstore_unsealed_since_timestamp_seconds"
    yield f"# HELP {name} When the oldest event happened that is not sealed; 0 if all are.\n# TYPE {name} gauge\n"
    yield f"{name} {(backlog.unsealed_since or 0) / 1_000_000}\n"


def _of_subscriptions(subscriptions: Sequence[SubscriptionStatus]) -> Iterator[str]:
    """The same, of those that are installed."""
    installed = [each for each in subscriptions if each.is_installed]
    name = "artifactstore_subscription_behind"
    yield f"# HELP {name} How many events wait for a subscriber; 1000 is so many or more.\n# TYPE {name} gauge\n"
    for each in installed:
        yield f'{name}{{subscription="{each.name}"}} {each.behind or 0}\n'
    name = "artifactstore_subscription_failures"
    yield f"# HELP {name} How many attempts failed since the last event that was taken.\n# TYPE {name} gauge\n"
    for each in installed:
        yield f'{name}{{subscription="{each.name}"}} {each.failures}\n'


def _of_scrub(scrub: ScrubStatus) -> Iterator[str]:
    """The same from every process."""
    ended_at = (scrub.ended_at or 0) / 1_000_000
    for name, what, value in (
        ("artifactstore_scrub_coverage_ratio", "How much was read within the days there are.", scrub.coverage),
        ("artifactstore_scrub_last_round_timestamp_seconds", "When everything was last read; 0 if never.", ended_at),
        ("artifactstore_scrub_overdue", "Whether not everything was read in time.", int(scrub.is_overdue)),
        ("artifactstore_scrub_paused", "Whether somebody has paused it.", int(scrub.paused_at is not None)),
        ("artifactstore_damaged_objects", "Recorded as damaged; 1000 is so many or more.", scrub.damaged_objects),
    ):
        yield f"# HELP {name} {what}\n# TYPE {name} gauge\n{name} {value}\n"


def _of_plugins(left_out: int) -> Iterator[str]:
    """Of the process that answers; others of the same server have the same installed."""
    name = "artifactstore_plugins_left_out"
    yield f"# HELP {name} Plug-ins that are installed and cannot be used.\n# TYPE {name} gauge\n{name} {left_out}\n"
