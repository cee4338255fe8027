"""Backups, snapshots and restores, as JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.documents.upkeep import reconcile_document
from artifactstore.domain.instant import Instant, instant_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artifactstore.documents import Document
    from artifactstore.registry.backing_up import BackupReport, Missed
    from artifactstore.registry.restoring import RestoreReport
    from artifactstore.registry.snapshots import FoundSnapshot, SnapshotList
    from artifactstore.registry.transferring import TransferReport


def backup_document(report: BackupReport) -> Document:
    """What a backup has."""
    return {
        "status": "incomplete" if report.missed else "complete",
        **snapshot_document(report.found),
        "transfer": _transfer_document(report.transfer),
        "not_backed_up": _missed_documents(report.missed),
        "seconds": round(report.seconds, 3),
    }


def restore_document(report: RestoreReport) -> Document:
    """What is back."""
    return {
        "status": "restored" if report.is_whole else "incomplete",
        **snapshot_document(report.found),
        "transfer": _transfer_document(report.transfer),
        "references_moved": report.moved,
        "not_restored": _missed_documents(report.missed),
        "comparison": None if report.comparison is None else reconcile_document(report.comparison),
        "seconds": round(report.seconds, 3),
    }


def snapshot_list_document(found: SnapshotList) -> Document:
    """What a target has, oldest first."""
    return {
        "snapshots": [snapshot_document(each) for each in found.snapshots],
        "damaged": [{"path": path, "why": why} for path, why in found.damaged.items()],
    }


def snapshot_document(found: FoundSnapshot) -> Document:
    """One snapshot."""
    snapshot = found.snapshot
    return {
        "snapshot_id": found.snapshot_id,
        "made_at": instant_text(Instant(snapshot.made_at)),
        "log_id": snapshot.log_id.hex(),
        "events": snapshot.last_seq,
        "chain": snapshot.chain.hex(),
        "packages": snapshot.packages,
        "objects": snapshot.objects,
        "object_bytes": snapshot.object_bytes,
        "left_out": len(snapshot.left_out),
        "has_bytes": snapshot.has_bytes,
        "backends": list(snapshot.backends),
        "revision": snapshot.revision,
    }


def _transfer_document(report: TransferReport) -> Document:
    return {
        "objects": report.objects,
        "bytes": report.bytes_copied,
        "already_there": report.already_there,
        "replaced": report.replaced,
    }


def _missed_documents(missed: Sequence[Missed]) -> list[Document]:
    return [
        {
            "kind": each.left_out.kind,
            "blake3": each.left_out.blake3.hex(),
            "size": each.left_out.size_bytes,
            "finding": each.left_out.finding,
            "concerns": [{"package_id": package_id, "path": path} for package_id, path in each.concerns],
        }
        for each in missed
    ]
