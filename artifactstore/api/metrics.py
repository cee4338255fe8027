"""What is counted, for Prometheus. Several worker processes add up if ``PROMETHEUS_MULTIPROC_DIR`` is set."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

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
        self.errors = Counter(
            "artifactstore_errors", "Requests that failed by the system's fault, by code.", ("code",),
            registry=self._registry,
        )  # fmt: skip

    def exposition(self, *, events: int) -> bytes:
        """The Prometheus text format. ``events`` is the length of the event log now."""
        if self._shared_folder is None:
            text = generate_latest(self._registry)
        else:
            together = CollectorRegistry()
            MultiProcessCollector(together, path=self._shared_folder)  # type: ignore[no-untyped-call]
            text = generate_latest(together)
        return (
            text
            + (
                "# HELP artifactstore_events_total Events in the log.\n"
                "# TYPE artifactstore_events_total counter\n"
                f"artifactstore_events_total {events}\n"
            ).encode()
        )
