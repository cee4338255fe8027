"""Looking at stored objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.registry.registry import Registry


def list_objects(registry: Registry, *, after: int = 0, limit: int) -> list[ObjectRecord]:
    """A page of the objects the catalog knows, after a row id, in the order they were first recorded."""
    with registry.catalog.snapshot() as queries:
        return queries.objects(after=after, limit=limit)
