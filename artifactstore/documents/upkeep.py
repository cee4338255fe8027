"""What the upkeep of a store has found and done, as JSON documents: reconciling, healing, scrubbing, rebuilding."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from artifactstore.documents.values import optional_instant, unreachable_documents

if TYPE_CHECKING:
    from artifactstore.documents import Document
    from artifactstore.registry.healing import HealReport
    from artifactstore.registry.rebuilding import RebuildReport
    from artifactstore.registry.reconciling import Difference, ReconcileReport
    from artifactstore.registry.scrubbing import ScrubStatus


def reconcile_document(report: ReconcileReport) -> Document:
    """How backends differ from the catalog."""
    return {
        "status": "clean" if report.is_clean else "different",
        "backends": list(report.backends),
        "agreeing": asdict(report.agreeing),
        "held_by_pushes": asdict(report.held_by_pushes),
        "young": asdict(report.young),
        "totals": {kind.replace(" ", "_"): asdict(tally) for kind, tally in report.totals.items()},
        "differences": [_difference_document(each) for each in report.differences],
        "next_after": report.next_after,
        "unreachable": unreachable_documents(report.unreachable),
    }


def _difference_document(difference: Difference) -> Document:
    return {
        "kind": difference.kind.replace(" ", "_"),
        "backend": difference.backend,
        "path": difference.path,
        "size": difference.size_bytes,
        "recorded_size": difference.recorded_bytes,
        "recorded_status": difference.recorded_status,
        "age_s": None if difference.age_s is None else round(difference.age_s),
        "young": difference.is_young,
        "concerns": [{"package_id": package_id, "path": path} for package_id, path in difference.concerns],
        "concerns_more": difference.concerns_more,
    }


def heal_document(report: HealReport) -> Document:
    """What was healed, and what could not be."""
    figures = asdict(report)
    figures["refused"] = [{"path": each.path, "why": each.why} for each in report.refused]
    return {"status": "healed" if report.is_whole else "not healed", **figures}


def scrub_document(status: ScrubStatus) -> Document:
    """How far reading everything back has come."""
    return {
        "every_days": status.every_days or None,
        "bytes_per_s": status.bytes_per_s or None,
        "paused_at": optional_instant(status.paused_at),
        "paused_by": status.paused_by,
        "last_run_at": optional_instant(status.last_run_at),
        "next_run_at": optional_instant(status.next_run_at),
        "round_began_at": optional_instant(status.began_at),
        "round_progress": round(status.progress, 4),
        "last_round_ended_at": optional_instant(status.ended_at),
        "days_since_all_was_read": None if status.days_since is None else round(status.days_since, 2),
        "coverage": round(status.coverage, 4),
        "overdue_at": optional_instant(status.overdue_at),
        "overdue": status.is_overdue,
        "damage_found": status.damage_found,
        "damaged_objects": status.damaged_objects,
    }


def rebuild_document(report: RebuildReport) -> Document:
    """What is back, and what is lost."""
    return {
        "status": "rebuilt" if report.is_whole else "incomplete",
        "log_id": report.log_id.hex(),
        "segments": report.segments,
        "sealed_events": report.sealed_events,
        "packages": report.packages,
        "recovered": list(report.recovered),
        "lost": [asdict(each) for each in report.lost],
        "damaged_segments": [{"path": path, "why": why} for path, why in report.damaged_segments.items()],
        "not_followed": [
            {"blake3": each.reference.blake3.hex(), "first_seq": each.first_seq, "last_seq": each.last_seq}
            for each in report.not_followed
        ],
        "comparison": None if report.comparison is None else reconcile_document(report.comparison),
    }
