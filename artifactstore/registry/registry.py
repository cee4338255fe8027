"""What every use-case is given."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from artifactstore.domain.collection import CollectionPolicy
from artifactstore.domain.identifiers import new_uuid7
from artifactstore.domain.instant import system_clock
from artifactstore.domain.retention import RetentionPolicy
from artifactstore.errors import BackendUnknownError, ConfigurationError
from artifactstore.registry.fall_backs import FallBacks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from artifactstore.catalog.catalog import Catalog, Transaction
    from artifactstore.domain.instant import Instant
    from artifactstore.storage.port import ObjectStore

DEFAULT_BACKEND = "default"
"""The name of a backend that is the only one."""


@dataclass(frozen=True, slots=True)
class Registry:
    """One store: its catalog, its backends by name, who is acting, and the few numbers that use-cases need."""

    catalog: Catalog
    backends: Mapping[str, ObjectStore]
    actor: str
    """Who: ``local:<user>``, ``token:<name>`` or ``plugin:<name>@<version>``; stamped on every event."""
    default_backend: str = DEFAULT_BACKEND
    """Where new objects go, unless one is chosen or this one is being emptied: ``placing.placed`` says where."""
    chosen_backend: str | None = None
    """Where the caller wants a package to lie; what lies elsewhere then counts as absent."""
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    pack_threshold_bytes: int = 1024 * 1024
    """Blobs smaller than this rest in packs."""
    max_files: int = 1_000_000
    quotas: Mapping[str, int] = field(default_factory=dict)
    """By producer: how many logical bytes its packages may come to."""
    race_retries: int = 1
    """How often an observation that lost the race for one of its keys is recorded once more."""
    verify_every_days: int = 30
    """Within so many days the duty ``verify`` has read every object; 0 if it is off."""
    collection: CollectionPolicy = field(default_factory=CollectionPolicy)
    retention_approvals: int = 1
    """How many must agree before a retention plan is applied; whoever applies it is one."""
    scrub_bytes_per_s: int = 32 * 1024 * 1024
    """The most that the duty ``verify`` reads in a second; 0 for as much as there is."""
    sweep_max_leap_hours: int = 8 * 24
    """How far the clock may be ahead of the last sweep before it is doubted; 0 for any leap."""
    ready_needs_scrub: bool = True
    """Whether a server whose scrub is overdue is not ready."""
    clock: Callable[[], Instant] = system_clock
    new_id: Callable[[], str] = new_uuid7
    fall_backs: FallBacks = field(default_factory=FallBacks)
    """What reads have fallen back from, of everyone who uses this store in this process."""

    @property
    def store(self) -> ObjectStore:
        """The backend that new objects go to. Raises ``ConfigurationError`` if this process does not know it."""
        return self.backend(self.default_backend)

    @property
    def presence_within(self) -> str | None:
        """The backend in which a blob must lie to count as present; any, if None."""
        return None if self.chosen_backend is None else self.default_backend

    def backend(self, name: str) -> ObjectStore:
        """A backend by its name. Raises ``ConfigurationError`` for one that is recorded but not configured."""
        if name not in self.backends:
            raise ConfigurationError(f"objects are recorded in a backend named {name!r}, which is not configured")
        return self.backends[name]

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A write transaction in the actor's name."""
        return self.catalog.transaction(self.actor)

    def acting_as(self, actor: str) -> Registry:
        """The same store in another's name."""
        return self if actor == self.actor else replace(self, actor=actor)

    def putting_to(self, backend: str | None) -> Registry:
        """The same store for packages that are to lie in one backend; in any, if None. ``BackendUnknownError``."""
        if backend is not None and backend not in self.backends:
            raise BackendUnknownError(f"there is no backend named {backend[:80]!r}")
        return replace(self, chosen_backend=backend)

    def close(self) -> None:
        """Finish what is to be recorded, and release what is open."""
        self.fall_backs.close()
        self.catalog.close()
