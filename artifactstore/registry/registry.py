"""What every use-case is given."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from artifactstore.domain.identifiers import new_uuid7
from artifactstore.domain.instant import system_clock
from artifactstore.domain.retention import RetentionPolicy
from artifactstore.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from artifactstore.catalog.catalog import Catalog, Transaction
    from artifactstore.domain.instant import Instant
    from artifactstore.storage.port import ObjectStore

DEFAULT_BACKEND = "default"


@dataclass(frozen=True, slots=True)
class Registry:
    """One store: its catalog, its backends by name, who is acting, and the few numbers that use-cases need."""

    catalog: Catalog
    backends: Mapping[str, ObjectStore]
    actor: str
    """Who: ``local:<user>``, ``token:<name>`` or ``plugin:<name>@<version>``; stamped on every event."""
    default_backend: str = DEFAULT_BACKEND
    """Where new objects go."""
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    pack_threshold_bytes: int = 1024 * 1024
    """Blobs smaller than this rest in packs."""
    max_files: int = 1_000_000
    clock: Callable[[], Instant] = system_clock
    new_id: Callable[[], str] = new_uuid7

    @property
    def store(self) -> ObjectStore:
        """The backend that new objects go to."""
        return self.backends[self.default_backend]

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
        return replace(self, actor=actor)

    def close(self) -> None:
        """Release what is open."""
        self.catalog.close()
