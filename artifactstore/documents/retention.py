"""How long packages stay, plans, collection and certificates as JSON documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from artifactstore.documents.values import hex_for_bytes, optional_blake3, optional_instant
from artifactstore.domain.canonical import decode

if TYPE_CHECKING:
    from artifactstore.catalog.records import HoldRecord, PackageRecord
    from artifactstore.documents import Document
    from artifactstore.registry.applying import ApplyReport
    from artifactstore.registry.collecting import CollectionReport
    from artifactstore.registry.planning import MadePlan


def retention_document(package: PackageRecord, holds: list[HoldRecord]) -> Document:
    """What decides how long a package stays."""
    return {
        "package_id": package.package_id,
        "status": package.status,
        "retention_class": package.retention_class,
        "duration_days": package.duration_days,
        "expires_at": optional_instant(package.expires_at),
        "expired_at": optional_instant(package.expired_at),
        "holds": [hold_document(hold) for hold in holds],
        "pin": pin_document(package),
    }


def hold_document(hold: HoldRecord) -> Document:
    """One hold."""
    return {
        "hold_id": hold.hold_id,
        "in_force": hold.released_at is None,
        "reason": hold.reason,
        "placed_at": optional_instant(hold.placed_at),
        "placed_by": hold.placed_by,
        "released_at": optional_instant(hold.released_at),
        "released_by": hold.released_by,
        "release_reason": hold.release_reason,
    }


def pin_document(package: PackageRecord) -> Document | None:
    """What keeps a package out of every plan, if it is pinned."""
    if package.pinned_at is None:
        return None
    return {
        "reason": package.pin_reason,
        "pinned_at": optional_instant(package.pinned_at),
        "pinned_by": package.pinned_by,
    }


def deletion_document(package: PackageRecord) -> Document | None:
    """The tombstone of a package that was deleted: when, by whom, why, and by which plan."""
    if package.deleted_at is None:
        return None
    return {
        "deleted_at": optional_instant(package.deleted_at),
        "deleted_by": package.deleted_by,
        "reason": package.deletion_reason,
        "rule": package.deletion_rule,
        "plan_digest": optional_blake3(package.deletion_plan),
    }


def plan_document(made: MadePlan) -> Document:
    """A plan that is stored: what to apply, and what that would do."""
    return {
        "plan_digest": made.digest,
        "package_id": made.receipt.package_id,
        "reused_existing": made.receipt.reused_existing,
        **asdict(made.header),
        **asdict(made.totals),
        "packages_due": made.packages_due,
    }


def applied_document(report: ApplyReport) -> Document:
    """What was done of a plan, and what was passed over, with the reasons."""
    return {
        **asdict(report),
        "skipped_first": [
            {"package_id": skipped.package_id, "reason": skipped.reason} for skipped in report.skipped_first
        ],
    }


def collection_document(report: CollectionReport, *, is_plan: bool) -> Document:
    """What would be collected, or was, by backend."""
    here = {
        name: {**asdict(each), "expected_bytes_after": each.expected_bytes_after}
        for name, each in report.backends.items()
    }
    if is_plan:
        for document in here.values():
            for name in ("deleted", "deleted_bytes", "grown_bytes", "bytes_after"):
                del document[name]
        return {"status": "planned", "backends": here, "being_emptied": report.being_emptied}
    status = "collected" if report.is_done else "stopped" if report.stopped else "waiting"
    figures = {"waiting_for": report.waiting_for, "left": report.left, "stopped": report.stopped or None}
    return {"status": status, "backends": here, "being_emptied": report.being_emptied, **figures}


def certificate_document(encoded: bytes) -> Document:
    """A certificate's JSON view: its byte strings in hex."""
    return {key: hex_for_bytes(value) for key, value in decode(encoded).items()}
