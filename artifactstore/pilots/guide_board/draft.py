"""From a run to the package it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifactstore.pilots.guide_board.schema import RUN_SCHEMA
from artifactstore.plugins import FileDraft, PackageDraft, media_type_of

if TYPE_CHECKING:
    from artifactstore.domain.canonical import JsonValue
    from artifactstore.pilots.guide_board.run import Run
    from artifactstore.plugins import RetentionClass

PRODUCER = "guide-board"


def package_draft(run: Run, retention_class: RetentionClass, *, include_undeclared: bool = False) -> PackageDraft:
    """The draft of a run's package; its files can be read while the run is open."""
    files = run.files + (run.undeclared if include_undeclared else ())
    return PackageDraft(
        producer=PRODUCER,
        files=tuple(
            FileDraft(file.path, file.source, file.role, media_type_of(file.path), file.expected_sha256)
            for file in files
        ),
        retention_class=retention_class,
        external_id=run.facts.run_id,
        subject=run.facts.target_profile_ref,
        schema=RUN_SCHEMA,
        metadata=_metadata(run),
    )


def _metadata(run: Run) -> dict[str, JsonValue]:
    facts = run.facts
    metadata: dict[str, JsonValue] = {
        "run_id": facts.run_id,
        "target_profile_ref": facts.target_profile_ref,
        "assessment_profile_ref": facts.assessment_profile_ref,
        "result_status": facts.result_status,
        "source_commits": dict(facts.source_commits),
        "report_paths": list(run.report_paths),
        "evidence_counts": dict(facts.evidence_counts),
        "finding_counts": dict(facts.finding_counts),
    }
    if facts.retention_policy is not None:
        metadata["retention_policy"] = dict(facts.retention_policy)
    return metadata
