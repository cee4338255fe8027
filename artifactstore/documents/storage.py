"""Objects, and what reading, copying and probing backends has shown, as JSON documents."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from artifactstore.documents.values import optional_blake3, optional_instant, unreachable_documents

if TYPE_CHECKING:
    from artifactstore.catalog.records import ObjectRecord
    from artifactstore.documents import Document
    from artifactstore.registry.copying import CopyReport
    from artifactstore.registry.emptying import MigrationReport
    from artifactstore.registry.probing import ProbeReport
    from artifactstore.registry.verify import Damage, VerifyReport
    from artifactstore.storage.probing.probe import Finding


def object_document(found: ObjectRecord) -> Document:
    """One stored object."""
    return {
        "backend": found.backend,
        "kind": found.kind,
        "digest": optional_blake3(found.blake3),
        "size": found.size_bytes,
        "status": found.status,
    }


def verification_document(report: VerifyReport) -> Document:
    """What a verification found, and which backends it could not look at."""
    status = "damaged" if report.damage else "incomplete" if report.unreachable else "verified"
    figures = asdict(replace(report, unreachable={}))
    del figures["answered"], figures["passed_over"]
    return {"status": status, **figures, "unreachable": unreachable_documents(report.unreachable)}


def own_verification_document(report: VerifyReport, damage: list[Damage]) -> Document:
    """The same for whoever may not read everything: how often its bytes are stored would say that others have them.

    Nor are they told what a backend answered: that may name hosts, buckets and directories.
    """
    counts = {"objects": None, "bytes_read": None, "superseded": None}
    silent = [{"backend": name, "code": error.code, "message": None} for name, error in report.unreachable.items()]
    return {**verification_document(replace(report, damage=damage)), **counts, "unreachable": silent}


def copy_document(report: CopyReport, source: str, target: str) -> Document:
    """What a copy did, and what it could not."""
    bad, part = report.damage or report.lost, report.passed_over
    status = "damaged" if bad else "incomplete" if part else "copied"
    figures = asdict(report)
    del figures["verified"]
    return {"status": status, "from": source, "to": target, **figures}


def migration_document(report: MigrationReport, source: str, target: str) -> Document:
    """What a migration did, and what is left."""
    bad = report.copy.damage or report.copy.lost
    status = "waiting" if report.waiting_for else "damaged" if bad else "incomplete" if report.left else "migrated"
    waiting = [
        {"id": each.name, "what": each.what, "owner": each.owner, "since": optional_instant(each.since)}
        for each in report.waiting_for
    ]
    figures = asdict(report)
    return {"status": status, "from": source, "to": target, **figures.pop("copy"), **figures, "waiting_for": waiting}


def probe_document(report: ProbeReport) -> Document:
    """What was measured of a backend and what it means; of a capability that was not measured, why."""
    return {
        "target": report.target,
        "probed_at": optional_instant(report.probed_at),
        "verdict": report.judgement.verdict,
        "reasons": list(report.judgement.reasons),
        "limits": list(report.judgement.limits),
        "left_behind": report.probed.left_behind,
        "capabilities": {finding.capability: _finding_document(finding) for finding in report.probed.findings},
    }


def _finding_document(finding: Finding) -> Document:
    from artifactstore.storage.probing.probe import NOT_MEASURED

    what = "why" if finding.value == NOT_MEASURED else "measured"
    return {"value": finding.value, what: finding.measured, **finding.figures}
