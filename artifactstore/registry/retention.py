"""Retention: extend, hold, release, pin, unpin, sweep. Sweep only marks; bytes are removed by collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.domain.events import (
    HoldPlaced,
    HoldReleased,
    PackageExpired,
    PackagePinned,
    PackageUnpinned,
    RetentionExtended,
)
from artifactstore.domain.instant import Instant
from artifactstore.domain.package import PackageStatus, check_reason
from artifactstore.domain.retention import check_extension
from artifactstore.errors import HoldUnknownError, PackageStateError
from artifactstore.registry.idempotency import answer_once
from artifactstore.registry.packages import require_package

if TYPE_CHECKING:
    from artifactstore.catalog.catalog import Transaction
    from artifactstore.catalog.records import PackageRecord
    from artifactstore.registry.idempotency import Attempt
    from artifactstore.registry.registry import Registry

_SWEEP_PAGE = 500
_EVERYTHING = 2**62


def extend_retention(
    registry: Registry, package_id: str, expires_at: Instant, *, reason: str, attempt: Attempt | None = None
) -> None:
    """Move a package's expiry to a later instant. One that is expired and not deleted is finalized again.

    Raises ``RetentionInvalidError`` unless the instant is later than the present expiry and, where that has passed
    already and a sweep has seen it, than now; ``PackageStateError`` for a package that is open or deleted.
    """
    check_reason(reason)

    def extend(tx: Transaction) -> str:
        tx.lock_log()
        package = require_package(tx, package_id)
        _require_status(package, PackageStatus.FINALIZED, PackageStatus.EXPIRED)
        now = registry.clock() if package.status == PackageStatus.EXPIRED else None
        check_extension(None if package.expires_at is None else Instant(package.expires_at), expires_at, now=now)
        tx.record(RetentionExtended(package_id=package_id, expires_at=expires_at, reason=reason))
        return package_id

    with registry.transaction() as tx:
        answer_once(tx, attempt, registry.clock(), extend)


def place_hold(registry: Registry, package_id: str, *, reason: str, attempt: Attempt | None = None) -> str:
    """Keep a package from sweep and collection until the hold is released; returns the hold's id."""
    check_reason(reason)

    def place(tx: Transaction) -> str:
        tx.lock_log()
        package = require_package(tx, package_id)
        _require_status(package, PackageStatus.FINALIZED, PackageStatus.EXPIRED)
        hold_id, now = registry.new_id(), registry.clock()
        tx.record(HoldPlaced(package_id=package_id, hold_id=hold_id, reason=reason, placed_at=now))
        return hold_id

    with registry.transaction() as tx:
        return answer_once(tx, attempt, registry.clock(), place)


def release_hold(registry: Registry, package_id: str, hold_id: str, *, reason: str) -> None:
    """End a hold. Raises ``HoldUnknownError`` unless the package has it and it is in force."""
    check_reason(reason)
    with registry.transaction() as tx:
        tx.lock_log()
        package = require_package(tx, package_id)
        in_force = {hold.hold_id for hold in tx.holds(package.row_id) if hold.released_at is None}
        if hold_id not in in_force:
            raise HoldUnknownError(f"package {package_id} has no hold {hold_id[:80]!r} in force")
        tx.record(HoldReleased(package_id=package_id, hold_id=hold_id, reason=reason, released_at=registry.clock()))


def pin_package(registry: Registry, package_id: str, *, reason: str) -> None:
    """Keep a package out of every plan until it is unpinned. Raises ``PackageStateError`` if it is pinned already."""
    check_reason(reason)
    with registry.transaction() as tx:
        tx.lock_log()
        package = require_package(tx, package_id)
        _require_status(package, PackageStatus.FINALIZED, PackageStatus.EXPIRED)
        if package.pinned_at is not None:
            raise PackageStateError(f"package {package_id} is pinned already", hint="")
        tx.record(PackagePinned(package_id=package_id, reason=reason, pinned_at=registry.clock()))


def unpin_package(registry: Registry, package_id: str, *, reason: str) -> None:
    """End a package's pin. Raises ``PackageStateError`` if it has none."""
    check_reason(reason)
    with registry.transaction() as tx:
        tx.lock_log()
        package = require_package(tx, package_id)
        if package.pinned_at is None:
            raise PackageStateError(f"package {package_id} is not pinned", hint="")
        tx.record(PackageUnpinned(package_id=package_id, reason=reason, unpinned_at=registry.clock()))


def due_packages(registry: Registry) -> list[PackageRecord]:
    """What a sweep would mark now, longest overdue first."""
    with registry.catalog.snapshot() as queries:
        return queries.due(registry.clock(), limit=_EVERYTHING)


def sweep(registry: Registry, *, as_of: Instant | None = None) -> list[str]:
    """Mark every package whose retention has ended and that no hold protects as expired; returns their ids.

    A page is one transaction: a sweep that is interrupted has marked whole pages and goes on next time. ``as_of`` is an
    instant that was checked, for all pages: the duty gives it (``clocks``), so that no leap in between counts.
    """
    now = registry.clock() if as_of is None else as_of
    swept: list[str] = []
    while True:
        with registry.transaction() as tx:
            tx.lock_log()
            page = [package.package_id for package in tx.due(now, limit=_SWEEP_PAGE)]
            tx.record(*(PackageExpired(package_id=package_id, expired_at=now) for package_id in page))
        swept += page
        if len(page) < _SWEEP_PAGE:
            return swept


def _require_status(package: PackageRecord, *allowed: PackageStatus) -> None:
    if package.status not in allowed:
        raise PackageStateError(
            f"package {package.package_id} is {package.status}, not {' or '.join(allowed)}", hint=""
        )
