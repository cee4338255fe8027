"""Where new objects go: the backend that was chosen, or the default one, or whichever takes their writes meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from artifactstore.catalog import backends
from artifactstore.errors import ConcurrentUpdateError

if TYPE_CHECKING:
    from artifactstore.catalog.queries import Queries
    from artifactstore.registry.registry import Registry


def placed(registry: Registry) -> Registry:
    """The registry with its default backend set to where new objects go now.

    Asked at the start of every ingest and of every request that brings bytes, because another process may begin to
    empty a backend at any time.
    """
    with registry.catalog.snapshot() as queries:
        return placed_by(queries, registry)


def placed_by(queries: Queries, registry: Registry) -> Registry:
    """The same, as a view has it in which more is to be looked up."""
    name = registry.chosen_backend or registry.default_backend
    return replace(registry, default_backend=backends.taking_writes(queries.connection, name))


def require_takes_writes(queries: Queries, backend: str) -> None:
    """Raises ``ConcurrentUpdateError`` if new objects no longer go to this backend: ``placed`` says where they go.

    Whoever empties it takes the same lock: either they see this transaction's lease, or it sees that they have begun.
    """
    queries.lock("backend", backend)
    if backends.taking_writes(queries.connection, backend) != backend:
        raise ConcurrentUpdateError(f"backend {backend!r} is being emptied")
