"""What is counted as JSON documents: producers, packages, backends, quotas.

What is unique and what is shared tells whether somebody else has the same content, so whoever may not read everything
is not told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.usage import BackendUsageRecord, PackageUsage, ProducerUsageRecord
    from artifactstore.documents import Document
    from artifactstore.domain.quotas import QuotaState


def quota_document(quota: QuotaState | None) -> Document | None:
    """A quota, and what is used and free of it."""
    if quota is None:
        return None
    return {"quota_bytes": quota.quota_bytes, "used_bytes": quota.used_bytes, "free_bytes": quota.free_bytes}


def producer_usage_document(found: ProducerUsageRecord, quota: QuotaState | None, *, tells_of_others: bool) -> Document:
    """What a producer's packages come to."""
    return {
        "producer": found.producer,
        "packages": found.packages,
        "files": found.files,
        "logical_bytes": found.logical_bytes,
        **(_split(found.unique_bytes, found.shared_bytes) if tells_of_others else {}),
        "quota": quota_document(quota),
    }


def package_usage_document(found: PackageUsage) -> Document:
    """What would come free with a package, and what others have too."""
    return _split(found.unique_bytes, found.shared_bytes)


def space_document(backends: Sequence[BackendUsageRecord]) -> list[Document]:
    """What lies in each backend: used by packages, reclaimable by collection, condemned by it already."""
    return [
        {
            "backend": each.backend,
            "objects": each.objects,
            "stored_bytes": each.size_bytes,
            "used_bytes": each.size_bytes - each.condemned_bytes - each.reclaimable_bytes,
            "dead_objects": each.dead_objects,
            "dead_object_bytes": each.dead_object_bytes,
            "dead_in_packs_bytes": each.dead_in_use_bytes,
            "reclaimable_bytes": each.reclaimable_bytes,
            "condemned_objects": each.condemned_objects,
            "condemned_bytes": each.condemned_bytes,
        }
        for each in backends
    ]


def _split(unique_bytes: int, shared_bytes: int) -> Document:
    return {"unique_bytes": unique_bytes, "shared_bytes": shared_bytes}
