"""Quotas before anything is stored: what a producer may still record, and whether a draft fits.

What counts is decided in the transaction that records a package, under the lock of the log. What is asked here is asked
early, so that nobody sends what would be refused. Content that is a package already costs nothing and always fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.catalog import usage
from artifactstore.domain.quotas import QuotaState
from artifactstore.registry.reading import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from artifactstore.catalog.queries import Queries
    from artifactstore.domain.manifest import Manifest
    from artifactstore.domain.package import PackageDraft
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry


def quota_of(registry: Registry, producer: str) -> QuotaState | None:
    """A producer's quota and what is used of it; None if it has none."""
    if (quota_bytes := registry.quotas.get(producer)) is None:
        return None
    with registry.catalog.snapshot() as queries:
        return QuotaState(quota_bytes, usage.logical_bytes_of(queries.connection, producer))


def require_room(
    registry: Registry, draft: PackageDraft, progress: Progress, *, is_new: Callable[[Queries, Manifest], bool]
) -> None:
    """Raises ``QuotaExceededError`` if a draft is too large for what is free, and not a package that is there.

    Only then its files are read.
    """
    state = quota_of(registry, draft.producer)
    if state is None:
        return
    wanted = _size_of(draft)
    if wanted <= state.free_bytes:
        return
    manifest = describe(draft, progress)
    with registry.catalog.snapshot() as queries:
        if not is_new(queries, manifest):
            return
    state.require(draft.producer, wanted)


def _size_of(draft: PackageDraft) -> int:
    total = 0
    for file in draft.files:
        opened = file.source.open()
        total += opened.size_bytes
        opened.close()
    return total
