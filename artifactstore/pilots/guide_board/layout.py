"""Where things are in a run directory: its files, their roles, and the places of each metadata value.

Tables, and nothing else. guide-board published its files but not every field in them, so a value has several accepted
places, asked in order; the first that holds a value of the right kind gives it. A place is written ``file#pointer``
with a JSON pointer (RFC 6901). docs/pilots/guide-board.md shows both tables to people.
"""

from __future__ import annotations

from types import MappingProxyType

RUN = "run.json"
SUMMARY = "retention-summary.json"
ASSESSMENT_PACKAGE = "reports/assessment-package.json"
REPORT = "reports/report.md"
LOCK = "sources.lock.json"
EVIDENCE = "normalized/evidence.json"
FINDINGS = "normalized/findings.json"

REPORTS_FOLDER = "reports/"
RAW_ARTIFACT_ROLE = "raw-artifact"
UNDECLARED_ROLE = "undeclared"

REQUIRED = (RUN, SUMMARY, ASSESSMENT_PACKAGE, REPORT)
"""What guide-board writes in every run and every published example has; a run without one is not finished."""

ROLES = MappingProxyType(
    {
        RUN: "run",
        SUMMARY: "summary",
        "plan.json": "plan",
        LOCK: "lock",
        EVIDENCE: "evidence",
        FINDINGS: "findings",
        "normalized/mappings.json": "mappings",
        ASSESSMENT_PACKAGE: "assessment-package",
        REPORT: "report",
        "reports/fragments.json": "fragments",
        "reports/submission-package.json": "submission-package",
        "exports/export-manifest.json": "export-manifest",
        "reports/cmis-maturity-scorecard.json": "scorecard",
        "reports/cmis-maturity-scorecard.md": "scorecard",
        "reports/opencmis-log-review.json": "log-review",
        "reports/opencmis-log-review.md": "log-review",
    }
)
"""The files this pilot declares itself, each taken where it is present."""

RUN_ID = (
    "run.json#/run_id",
    "run.json#/id",
    "run.json#/run/run_id",
    "run.json#/run/id",
    "retention-summary.json#/run_id",
    "reports/assessment-package.json#/run_id",
)
NAMING_THE_RUN = (SUMMARY, ASSESSMENT_PACKAGE)
"""The documents whose ``run_id``, where they have one, must be that of ``run.json``."""
TARGET_PROFILE_REF = (
    "run.json#/target_profile_ref",
    "run.json#/target_profile",
    "run.json#/target_profile/ref",
    "run.json#/target_profile/id",
    "run.json#/profiles/target",
    "run.json#/profiles/target/ref",
    "run.json#/profiles/target/id",
    "retention-summary.json#/target_profile_ref",
    "reports/assessment-package.json#/target_profile_ref",
)
ASSESSMENT_PROFILE_REF = (
    "run.json#/assessment_profile_ref",
    "run.json#/assessment_profile",
    "run.json#/assessment_profile/ref",
    "run.json#/assessment_profile/id",
    "run.json#/profiles/assessment",
    "run.json#/profiles/assessment/ref",
    "run.json#/profiles/assessment/id",
    "retention-summary.json#/assessment_profile_ref",
    "reports/assessment-package.json#/assessment_profile_ref",
)
RESULT_STATUS = (
    "run.json#/result_status",
    "run.json#/result/status",
    "run.json#/status",
    "retention-summary.json#/result_status",
    "retention-summary.json#/status",
    "reports/assessment-package.json#/result_status",
)
SOURCE_COMMITS = (
    "sources.lock.json#/source_commits",
    "sources.lock.json#/sources",
    "sources.lock.json#",
    "run.json#/source_commits",
    "run.json#/sources",
    "run.json#/provenance/source_commits",
)
EVIDENCE_COUNTS = (
    "retention-summary.json#/evidence_counts",
    "retention-summary.json#/evidence_counts/by_result",
    "retention-summary.json#/evidence/by_result",
    "retention-summary.json#/evidence/counts",
    "retention-summary.json#/counts/evidence",
)
FINDING_COUNTS = (
    "retention-summary.json#/finding_counts",
    "retention-summary.json#/finding_counts/by_severity",
    "retention-summary.json#/finding_counts/by_status",
    "retention-summary.json#/findings/by_severity",
    "retention-summary.json#/findings/by_status",
    "retention-summary.json#/findings/counts",
    "retention-summary.json#/counts/findings",
)
EVIDENCE_ITEMS = (
    "normalized/evidence.json#",
    "normalized/evidence.json#/evidence",
    "normalized/evidence.json#/items",
)
FINDING_ITEMS = (
    "normalized/findings.json#",
    "normalized/findings.json#/findings",
    "normalized/findings.json#/items",
)
RETENTION_POLICY = (
    "run.json#/retention_policy",
    "run.json#/run_profile/retention_policy",
    "retention-summary.json#/retention_policy",
)
ARTIFACT_ENTRIES = (
    "reports/assessment-package.json#/artifact_manifest",
    "reports/assessment-package.json#/artifact_manifest/artifacts",
    "reports/assessment-package.json#/artifact_manifest/files",
    "reports/assessment-package.json#/artifact_manifest/entries",
)

COMPLETED_AT = (
    "run.json#/completed_at",
    "run.json#/finished_at",
    "run.json#/ended_at",
    "run.json#/run/completed_at",
    "run.json#/times/completed_at",
    "run.json#/timing/completed_at",
    "retention-summary.json#/completed_at",
    "reports/assessment-package.json#/completed_at",
    "reports/assessment-package.json#/generated_at",
    "retention-summary.json#/generated_at",
    "run.json#/started_at",
    "run.json#/run/started_at",
    "run.json#/times/started_at",
    "run.json#/timing/started_at",
    "run.json#/created_at",
)
"""The run's own end; the start is better than the time somebody looked. Else the latest of the evidence."""
EVIDENCE_TIME_POINTERS = ("/completed_at", "/started_at")
"""When an evidence item was found."""
PARTICIPANTS = MappingProxyType(
    {
        "operator": ("run.json#/operator", "run.json#/run/operator", "run.json#/actor"),
        "requester": ("run.json#/requested_by", "run.json#/triggered_by", "run.json#/requester"),
        "reviewer": ("run.json#/reviewed_by", "reports/assessment-package.json#/reviewed_by"),
    }
)
"""By role, where a run names who took part: one, or a list."""
EXTENSIONS = ("run.json#/extensions", "run.json#/extension_ids")
"""The extensions that ran the checks, as services. What ``plan.json`` names was only planned."""
MAX_OF_A_ROLE = 100
"""How many who took part are recorded in each role."""

NAME_POINTERS = ("", "/id", "/name", "/email")
"""Where somebody is named, who may be text themselves. An e-mail address goes before all else."""
EXTENSION_POINTERS = ("", "/id", "/extension_id", "/name")
"""Where an extension is named."""
COMMIT_POINTERS = ("/commit", "/git_commit", "/revision", "/sha")
"""Where an entry of the sources has its commit."""
SLUG_POINTERS = ("/slug", "/name", "/id")
"""Where an entry has its slug, if the sources are a list."""
ARTIFACT_PATH_POINTERS = ("", "/path", "/relative_path", "/artifact_path", "/file")
"""Where an entry of the artifact manifest has its path; an entry may be the path itself."""
CHECKSUM_POINTERS = (
    "/sha256",
    "/checksum",
    "/checksum/sha256",
    "/checksum/value",
    "/checksums/sha256",
    "/digest",
    "/digest/sha256",
)
"""Where an entry of the artifact manifest has its SHA-256, if it has one."""
RESULT_POINTERS = ("/result",)
"""What an evidence item is counted by."""
SEVERITY_POINTERS = ("/severity", "/status")
"""What a finding is counted by."""
