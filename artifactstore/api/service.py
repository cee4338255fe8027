"""What every request is given: the store, who may use it, and what is counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from artifactstore.api.feed import EventFeed
from artifactstore.api.metrics import Metrics
from artifactstore.bootstrap import open_registry
from artifactstore.errors import ServiceBusyError
from artifactstore.registry.tokens import TokenUses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.config import Settings
    from artifactstore.domain.access import StaticToken
    from artifactstore.registry.registry import Registry

MAX_BODIES = 64
"""Request bodies that one process takes in at once; each has a thread and a few MiB."""
_THREADS = MAX_BODIES + 32
ACTOR = "service"
"""Who does what no caller asked for."""


@dataclass(slots=True)
class Service:
    """One process's share of the service."""

    registry: Registry
    static_tokens: tuple[StaticToken, ...]
    anonymous_may_read: bool
    allowed_hosts: frozenset[str]
    metrics: Metrics = field(default_factory=Metrics)
    token_uses: TokenUses = field(default_factory=TokenUses)
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "request"))
    bodies: int = 0
    """How many are being received now."""
    event_feed: EventFeed = field(init=False)

    def __post_init__(self) -> None:
        self.event_feed = EventFeed(self.registry)

    @classmethod
    def open(cls, settings: Settings, *, metrics_folder: str | None = None) -> Service:
        """On the store that the settings name, which must be at head: servers never migrate."""
        return cls(
            registry=open_registry(settings, actor=ACTOR, upgrade=False),
            static_tokens=settings.auth_tokens,
            anonymous_may_read=settings.anon_read,
            allowed_hosts=frozenset(settings.allowed_hosts),
            metrics=Metrics(shared_folder=metrics_folder),
        )

    @contextmanager
    def body_slot(self) -> Iterator[None]:
        """Room for one more request body. Raises ``ServiceBusyError`` if there is none."""
        if self.bodies >= MAX_BODIES:
            raise ServiceBusyError(f"{MAX_BODIES} request bodies are being received already")
        self.bodies += 1
        try:
            yield
        finally:
            self.bodies -= 1

    def close(self) -> None:
        """Wait for the threads and release what is open."""
        self.threads.shutdown()
        self.token_uses.flush(self.registry)
        self.registry.close()


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service
