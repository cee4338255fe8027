"""Where the bytes are: by producer, by package, by backend. Rows that are kept up to date, read as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.catalog import usage
from artifactstore.domain.quotas import QuotaState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.records import PackageRecord
    from artifactstore.catalog.usage import BackendUsageRecord, PackageUsage, ProducerUsageRecord
    from artifactstore.registry.registry import Registry


def producers_usage(
    registry: Registry, producers: Sequence[str] | None, *, after: str = "", limit: int
) -> list[tuple[ProducerUsageRecord, QuotaState | None]]:
    """A page of these producers, of all if None, by name: what their packages come to, and their quotas."""
    with registry.catalog.snapshot() as queries:
        page = usage.of_producers(queries.connection, producers, after=after, limit=limit)
    return [(each, _quota(registry, each)) for each in page]


def package_usage(registry: Registry, package: PackageRecord) -> PackageUsage:
    """What no other package has of this one, and what another has too."""
    with registry.catalog.snapshot() as queries:
        return usage.of_package(queries.connection, package.row_id)


def backends_usage(registry: Registry) -> list[BackendUsageRecord]:
    """What lies in every backend that has objects."""
    with registry.catalog.snapshot() as queries:
        return usage.of_backends(queries.connection)


def _quota(registry: Registry, found: ProducerUsageRecord) -> QuotaState | None:
    quota_bytes = registry.quotas.get(found.producer)
    return None if quota_bytes is None else QuotaState(quota_bytes, found.logical_bytes)
