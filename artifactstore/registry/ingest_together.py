"""Several packages in one transaction: small ones that come at once share a lease, packs and a commit.

All of them are new packages and are recorded, or none is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from artifactstore.errors import ConcurrentUpdateError
from artifactstore.failpoints import failpoint
from artifactstore.registry.gc_pause import gc_paused
from artifactstore.registry.ingest import checked_by, placed_and_checked, record_patiently, run_of, write_package
from artifactstore.registry.lease import Lease
from artifactstore.registry.metadata_schemas import schema_for
from artifactstore.registry.progress import SILENT
from artifactstore.registry.storing import store_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.catalog import Transaction
    from artifactstore.domain.package import PackageReceipt
    from artifactstore.registry.ingest import IngestRequest
    from artifactstore.registry.progress import Progress
    from artifactstore.registry.registry import Registry
    from artifactstore.registry.storing import Stored


def ingest_together(
    registry: Registry, requests: Sequence[IngestRequest], *, progress: Progress = SILENT
) -> list[PackageReceipt]:
    """Record each draft as one package, in their order.

    Raises ``ConcurrentUpdateError`` if one of them is recorded already, and what ``ingest`` raises for any of them;
    nothing is recorded then.
    """
    checked = _checked(registry, requests)
    here = placed_and_checked(registry)
    with gc_paused(), Lease(here, "ingest") as lease:
        stored = store_all(here, [request.draft for request in checked], lease, progress)
        receipts = record_patiently(here, lease, lambda tx: _write_all(tx, here, checked, stored))
    failpoint("record.before-answer")
    return receipts


def _checked(registry: Registry, requests: Sequence[IngestRequest]) -> list[IngestRequest]:
    """As ``checked_draft`` checks each; a schema is looked up once."""
    described = [request for request in requests if request.draft.metadata is not None]
    own = {request.draft.schema: request.schema for request in reversed(described)}
    schema_of = cache(lambda slug: schema_for(registry, slug, own[slug]))
    return [
        replace(request, draft=checked_by(schema_of, request.draft, max_files=registry.max_files))
        for request in requests
    ]


def _write_all(
    tx: Transaction, registry: Registry, requests: Sequence[IngestRequest], stored: Sequence[Stored]
) -> list[PackageReceipt]:
    """Every schema and run is locked before anything is written, by name.

    Two who bring the same new blobs in another order may still wait for each other; the database lets one of them go
    on, and the other is told ``ConcurrentUpdateError``.
    """
    for slug in sorted({request.draft.schema for request in requests if request.draft.schema is not None}):
        tx.lock("schema", slug)
    for run in sorted(map(run_of, stored)):
        tx.lock("run", run)
    receipts = [write_package(tx, registry, *each) for each in zip(requests, stored, strict=True)]
    if known := next((receipt for receipt in receipts if receipt.reused_existing), None):
        raise ConcurrentUpdateError(f"package {known.package_id} was recorded already")
    return receipts
