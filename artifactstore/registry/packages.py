"""Looking at packages: one, many, and their manifests."""

from __future__ import annotations

from dataclasses import replace
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from artifactstore.catalog.package_filter import EVERY_PACKAGE
from artifactstore.domain.instant import instant_text
from artifactstore.domain.package import PackageStatus
from artifactstore.errors import PackageDeletedError, PackageStateError, PackageUnknownError
from artifactstore.registry.locations import read_manifest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.catalog.package_filter import PackageFilter
    from artifactstore.catalog.queries import Queries
    from artifactstore.catalog.records import HoldRecord, PackageRecord
    from artifactstore.registry.registry import Registry


def require_package(queries: Queries, package_id: str) -> PackageRecord:
    """Raises ``PackageUnknownError``."""
    found = queries.package(package_id)
    if found is None:
        raise package_unknown(package_id)
    return found


def package_unknown(package_id: str) -> PackageUnknownError:
    """What is said of a package that is not there, or that the caller may not see."""
    return PackageUnknownError(f"there is no package {package_id[:80]!r}")


def require_content(queries: Queries, package_id: str) -> PackageRecord:
    """A package that has content. Raises ``PackageStateError`` if open, ``PackageDeletedError`` if deleted."""
    package = require_package(queries, package_id)
    if package.status == PackageStatus.DELETED:
        raise deleted(package)
    if package.manifest_digest is None:
        raise PackageStateError(f"package {package_id} is {package.status} and has no manifest yet")
    return package


def deleted(package: PackageRecord) -> PackageDeletedError:
    """What is said of a package of which only the tombstone is left: when, by whom and why."""
    at = "" if package.deleted_at is None else f" on {instant_text(package.deleted_at)} by {package.deleted_by}"
    why = "" if package.deletion_reason is None else f": {package.deletion_reason}"
    return PackageDeletedError(
        f"package {package.package_id} was deleted{at}{why}",
        hint="`artifactstore show` says by which plan, `retention certificate` what was destroyed.",
    )


def find_package(registry: Registry, package_id: str) -> tuple[PackageRecord, list[HoldRecord]]:
    """A package and its holds. Raises ``PackageUnknownError``."""
    with registry.catalog.snapshot() as queries:
        package = require_package(queries, package_id)
        return package, queries.holds(package.row_id)


def list_packages(
    registry: Registry,
    *,
    after: str | None = None,
    limit: int,
    wanted: PackageFilter = EVERY_PACKAGE,
    readable_producers: Sequence[str] | None = None,
) -> list[PackageRecord]:
    """A page in the order of opening, after a package id, of these producers only (None: everyone's)."""
    with registry.catalog.snapshot() as queries:
        start = 0 if after is None else _position(queries, after, readable_producers)
        if readable_producers is None or wanted.producer in readable_producers:
            return queries.packages(after=start, limit=limit, wanted=wanted)
        if wanted.producer is not None:
            return []
        pages = (
            queries.packages(after=start, limit=limit, wanted=replace(wanted, producer=producer))
            for producer in readable_producers
        )
        return list(islice(merge(*pages, key=attrgetter("row_id")), limit))


def _position(queries: Queries, package_id: str, readable_producers: Sequence[str] | None) -> int:
    package = require_package(queries, package_id)
    if readable_producers is not None and package.producer not in readable_producers:
        raise package_unknown(package_id)
    return package.row_id


def read_manifest(registry: Registry, package_id: str) -> bytes:
    """The exact bytes that were stored, checked. Raises ``ManifestCorruptError`` if no backend has them."""
    with registry.catalog.snapshot() as queries:
        digest = require_content(queries, package_id).manifest_digest or b""
    return read_manifest_of(registry, package_id, digest)
