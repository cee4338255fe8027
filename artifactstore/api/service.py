"""What every request is given: the store, who may use it, and what is counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from starlette.requests import Request

from artifactstore.api.feed import EventFeed
from artifactstore.api.metrics import Metrics
from artifactstore.api.room import Room
from artifactstore.bootstrap import host_of, open_registry
from artifactstore.catalog import backends
from artifactstore.errors import (
    BackendRefusedError,
    ConfigurationError,
    ServiceBusyError,
    StorageError,
)
from artifactstore.registry.duties import told
from artifactstore.registry.placing import placed
from artifactstore.registry.probing import require_usable
from artifactstore.registry.readiness import CHECKS, Check
from artifactstore.registry.tokens import TokenUses
from artifactstore.subscribers import subscribers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from artifactstore.config import Settings
    from artifactstore.domain.access import StaticToken
    from artifactstore.errors import ArtifactStoreError
    from artifactstore.plugins.host import PluginHost
    from artifactstore.registry.fall_backs import FallBack
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.subscriptions import Subscriber

log = structlog.get_logger("artifactstore.api")

MAX_BODIES = 64
"""Request bodies that one process takes in at once; each has a thread and a few MiB."""
MAX_BODIES_OF_ONE = 48
"""Of these, at most so many from one caller: nobody can shut the others out."""
MAX_HELD_BYTES = 96 * 1024 * 1024
"""JSON bodies that one process holds in memory at once, together."""
MAX_DOWNLOADS = 128
"""Streamed answers of one process at once; each has a few MiB and an open file."""
MAX_LONG_READS = 4
_LOOK_S = 0.25
_ANSWERS_WITHIN_S = 10.0
_THREADS = MAX_BODIES + 32
ACTOR = "service"
"""Who does what no caller asked for."""


@dataclass(slots=True)
class Service:
    """One process's share of the service."""

    registry: Registry
    host: PluginHost
    """The rules under which observations are recorded."""
    static_tokens: tuple[StaticToken, ...]
    anonymous_may_read: bool
    allowed_hosts: frozenset[str]
    subscribers: Sequence[Subscriber] = ()
    """Who is told what happens."""
    plugins_left_out: Sequence[ArtifactStoreError] = ()
    """Why plug-ins that are installed are not used here."""
    metrics: Metrics = field(default_factory=Metrics)
    token_uses: TokenUses = field(default_factory=TokenUses)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "request"))
    bodies: Counter[str] = field(default_factory=Counter)
    """How many are being received now, by caller."""
    room: Room = field(default_factory=lambda: Room(MAX_HELD_BYTES))
    large_body: threading.Lock = field(default_factory=threading.Lock)
    """One large JSON document is understood at a time: it takes ten times its bytes."""
    large_submission: threading.Lock = field(default_factory=threading.Lock)
    """So is what pilots are handed; that may wait for others, which the core's must not."""
    downloads: int = 0
    """How many are being sent now."""
    long_reads: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MAX_LONG_READS))
    event_feed: EventFeed = field(init=False)

    _looking: threading.Lock = field(default_factory=threading.Lock)
    _looked_until: float = 0.0
    _checks: dict[str, Check] = field(default_factory=dict)
    _under_way: dict[str, tuple[Future[Check], float]] = field(default_factory=dict)
    """Checks that have not answered yet, and until when they may be waited for."""

    def __post_init__(self) -> None:
        self.event_feed = EventFeed(self.registry)
        self.registry.fall_backs.attend(actor=ACTOR, told=self._fell_back, not_recorded=_not_recorded)

    @classmethod
    def open(cls, settings: Settings, *, metrics_folder: str | None = None) -> Service:
        """On the store that the settings name, which must be at head: servers never migrate.

        A plug-in that is broken is no reason not to serve; what it subscribed to waits for it. Raises
        ``BackendRefusedError`` if a probe refused where new objects go, ``ConfigurationError`` for a webhook.
        """
        registry = open_registry(settings, actor=ACTOR, upgrade=False)
        with ExitStack() as on_error:
            on_error.callback(registry.close)
            check_backend(registry)
            on_error.pop_all()
        host = host_of(registry, settings)
        left_out: list[ArtifactStoreError] = []
        subscribers = subscribers_of(host, settings.webhook_configuration(), trouble=left_out.append)
        for error in left_out:
            log.error("plug-in left out", **told(error))
        return cls(
            registry=registry,
            static_tokens=settings.auth_tokens,
            anonymous_may_read=settings.anon_read,
            allowed_hosts=frozenset(settings.allowed_hosts),
            host=host,
            subscribers=subscribers,
            plugins_left_out=left_out,
            metrics=Metrics(shared_folder=metrics_folder),
        )

    @contextmanager
    def body_slot(self, caller: str) -> Iterator[None]:
        """Room for one more request body. Raises ``ServiceBusyError`` if there is none, or none for this caller."""
        if self.bodies.total() >= MAX_BODIES or self.bodies[caller] >= MAX_BODIES_OF_ONE:
            raise ServiceBusyError(f"{self.bodies.total()} request bodies are being received already")
        self.bodies[caller] += 1
        try:
            yield
        finally:
            self.bodies[caller] -= 1
            if not self.bodies[caller]:
                del self.bodies[caller]

    @contextmanager
    def download_slot(self) -> Iterator[None]:
        """Room for one more answer that is streamed. Raises ``ServiceBusyError`` if there is none."""
        if self.downloads >= MAX_DOWNLOADS:
            raise ServiceBusyError(f"{MAX_DOWNLOADS} downloads are under way already")
        self.downloads += 1
        try:
            yield
        finally:
            self.downloads -= 1

    @contextmanager
    def long_read_slot(self) -> Iterator[None]:
        """Room for work that reads the store for long. Raises ``ServiceBusyError`` if there is none."""
        if not self.long_reads.acquire(blocking=False):
            raise ServiceBusyError(f"{MAX_LONG_READS} verifications or the like are running already")
        try:
            yield
        finally:
            self.long_reads.release()

    def readiness(self) -> dict[str, Check]:
        """Whether requests can be served, looked at four times a second at most: anyone may ask, and it writes."""
        with self._looking:
            now = time.monotonic()
            if now >= self._looked_until:
                self._checks, self._looked_until = self._look(), time.monotonic() + _LOOK_S
                for name, check in self._checks.items():
                    if not check.ok:
                        log.warning("not ready", check=name, code=check.detail, cause=check.cause)
            return self._checks

    def _look(self) -> dict[str, Check]:
        """Every check. One that takes long goes on by itself: that it has no answer yet is answer enough."""
        for name, check in CHECKS.items():
            if name not in self._under_way:
                self._under_way[name] = (
                    self.threads.submit(check, self.registry),
                    time.monotonic() + _ANSWERS_WITHIN_S,
                )
        return {name: self._answer_of(name) for name in CHECKS}

    def _answer_of(self, name: str) -> Check:
        future, until = self._under_way[name]
        try:
            check = future.result(max(until - time.monotonic(), 0))
        except NotYetError:
            return Check(False, ServiceBusyError.code, f"no answer within {_ANSWERS_WITHIN_S:.0f} seconds")
        del self._under_way[name]
        return check

    def _fell_back(self, read: FallBack) -> None:
        self.metrics.read_fallbacks.labels(read.backend, read.reason.value).inc()
        log.warning("read fell back", **_described(read))

    def close(self) -> None:
        """Wait for the threads and release what is open."""
        self.threads.shutdown()
        self.token_uses.flush(self.registry)
        self.registry.close()


def check_names(registry: Registry) -> None:
    """Raises ``ConfigurationError`` if objects are recorded in a backend that is not configured: they cannot be read.

    Worse, what came in would go where no other server of the store finds it.
    """
    with registry.catalog.snapshot() as queries:
        unknown = [name for name in backends.recorded(queries.connection) if name not in registry.backends]
    if unknown:
        raise ConfigurationError(
            f"objects are recorded in {', '.join(map(repr, unknown))}, which is not configured",
            hint=f"Configured: {', '.join(registry.backends)}. ARTIFACTSTORE_BACKENDS_CONFIG_PATH names several.",
        )


def check_backend(registry: Registry) -> None:
    """Raises ``BackendRefusedError``. A backend that is not reached is no reason not to start: ``/ready`` says so."""
    here = placed(registry)
    try:
        require_usable(here, here.default_backend)
    except BackendRefusedError:
        raise
    except StorageError as error:
        log.warning("not probed", backend=here.default_backend, cause=error.message)


def _not_recorded(read: FallBack, error: Exception) -> None:
    log.error("read that fell back is not recorded", **_described(read), error=repr(error))


def _described(read: FallBack) -> dict[str, str]:
    return {
        "backend": read.backend, "object": read.key.path, "reason": read.reason.value, "served_by": read.served_by,
    }  # fmt: skip


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service
