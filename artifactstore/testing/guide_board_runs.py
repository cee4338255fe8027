"""Made-up guide-board runs of any size, for tests and benchmarks.

::

    write_run(folder, OPENCMIS_RUN, run_id="2026-05-18-opencmis")
    write_run(folder, replace(OLDER_RUN, captures=10_000, capture_bytes=4096), run_id="large", seed=7)

The same shape, run id and seed give the same bytes on every machine. Checksums in the assessment package are right.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue

EXTENSION = "open-cmis-tck"
TARGET_PROFILE_REF = "targets/example-repository-1.4"
ASSESSMENT_PROFILE_REF = "assessments/cmis-1.1-browser-binding"

_STARTED_AT = datetime(2026, 5, 18, 6, 0, tzinfo=UTC)
_CHECK_GROUPS = ("basics", "types", "crud", "versioning", "query", "control", "filing", "renditions", "policies")
_CHECKS_PER_GROUP = 6
_RESULTS = ("pass", "pass", "pass", "pass", "warning", "skipped", "expected_gap", "fail")
_SEVERITIES = {"fail": "high", "warning": "low"}
_SOURCES = ("guide-board", EXTENSION, "chemistry-harness")
_CAPTURES_PER_FOLDER = 100


@dataclass(frozen=True, slots=True)
class RunShape:
    """Which files a run has, besides the four that every run has."""

    check_groups: int = 1
    """Groups of checks, each with the five raw artifacts of its runner."""
    preflight: bool = False
    """One raw artifact beside the groups."""
    normalized: bool = True
    """``plan.json`` and ``normalized/``."""
    newer: bool = False
    """The lock, fragments, submission package and export manifest; without them ``run.json`` names the commits."""
    later_reports: bool = False
    """The scorecard and the log review that later scripts write, as JSON and as Markdown."""
    log_bytes: int = 2_000
    """The least size of each group's ``stdout.log``."""
    captures: int = 0
    """Further raw artifacts of random bytes, in nested folders."""
    capture_bytes: int = 4_096


OLDER_RUN = RunShape()
"""13 files: no lock, fragments, submission package or exports."""
OPENCMIS_RUN = RunShape(check_groups=2, preflight=True, later_reports=True)
"""23 files, as the first OpenCMIS assessment had."""
NEWER_RUN = replace(OPENCMIS_RUN, newer=True)
"""27 files: the same, written by a newer guide-board."""


def write_run(folder: Path, shape: RunShape = OPENCMIS_RUN, *, run_id: str, seed: int = 0) -> Path:
    """Write a run into ``folder``, which is made if need be, and answer it."""
    write_files(folder, build_run(shape, run_id=run_id, seed=seed))
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below ``folder``, in the order they come."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def build_run(shape: RunShape = OPENCMIS_RUN, *, run_id: str, seed: int = 0) -> dict[str, bytes]:
    """Every file of a run by its path; nothing is written."""
    chance = random.Random(seed)  # noqa: S311 - it makes test data, not secrets
    commits = {source: chance.randbytes(20).hex() for source in _SOURCES}
    artifacts = _raw_artifacts(shape, chance)
    evidence = [item for group in range(shape.check_groups) for item in _evidence(run_id, group, chance)]
    findings = [_finding(item) for item in evidence if item["result"] in _SEVERITIES]

    files = _core_files(run_id, evidence, findings, artifacts)
    files["run.json"] = _json(_run_document(run_id, {} if shape.newer else {"source_commits": {**commits}}))
    if shape.normalized:
        files |= _normalized_files(run_id, shape, evidence, findings)
    if shape.newer:
        files |= _newer_files(run_id, commits, findings)
    if shape.later_reports:
        files |= _later_reports(run_id, evidence)
    return files | artifacts


# the core


def _core_files(
    run_id: str,
    evidence: list[dict[str, JsonValue]],
    findings: list[dict[str, JsonValue]],
    artifacts: Mapping[str, bytes],
) -> dict[str, bytes]:
    counts: dict[str, JsonValue] = {
        "evidence_counts": _counts(evidence, "result"),
        "finding_counts": _counts(findings, "severity"),
    }
    package: dict[str, JsonValue] = {
        "run_id": run_id,
        "target_profile_ref": TARGET_PROFILE_REF,
        "assessment_profile_ref": ASSESSMENT_PROFILE_REF,
        "artifact_manifest": [_artifact_entry(path, data) for path, data in artifacts.items()],
    }
    return {
        "retention-summary.json": _json({"run_id": run_id, "result_status": "completed", **counts}),
        "reports/assessment-package.json": _json(package | counts),
        "reports/report.md": _report(run_id, evidence, findings),
    }


def _run_document(run_id: str, more: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {
        "run_id": run_id,
        "target_profile_ref": TARGET_PROFILE_REF,
        "assessment_profile_ref": ASSESSMENT_PROFILE_REF,
        "result_status": "completed",
        "started_at": _time(0),
        "completed_at": _time(3_600),
        "retention_policy": {"summary_days": 365, "raw_artifact_days": 30},
        **more,
    }


def _artifact_entry(path: str, data: bytes) -> dict[str, JsonValue]:
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def _report(run_id: str, evidence: list[dict[str, JsonValue]], findings: list[dict[str, JsonValue]]) -> bytes:
    lines = [f"# Assessment {run_id}", "", f"{len(evidence)} checks, {len(findings)} findings.", ""]
    lines += [f"- {finding['severity']}: {finding['title']}" for finding in findings]
    return _text(lines)


# normalised results


def _evidence(run_id: str, group: int, chance: random.Random) -> list[dict[str, JsonValue]]:
    return [_evidence_item(run_id, group, number, chance.choice(_RESULTS)) for number in range(_CHECKS_PER_GROUP)]


def _evidence_item(run_id: str, group: int, number: int, result: str) -> dict[str, JsonValue]:
    name = _group_name(group)
    return {
        "id": f"ev-{group:03}-{number:03}",
        "run_id": run_id,
        "extension_id": EXTENSION,
        "check_id": f"{name}.check-{number:02}",
        "subject_ref": TARGET_PROFILE_REF,
        "result": result,
        "observations": [f"The {name} group answered check {number} with {result}."],
        "facts": {"group": name, "binding": "browser"},
        "requirement_refs": [f"cmis-1.1/{name}/{number}"],
        "artifact_refs": [f"artifacts/{EXTENSION}/tck/{name}/stdout.log"],
        "started_at": _time(60 * group + number),
        "completed_at": _time(60 * group + number + 1),
    }


def _finding(item: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {
        "id": str(item["id"]).replace("ev-", "finding-"),
        "severity": _SEVERITIES[str(item["result"])],
        "status": "open",
        "title": f"{item['check_id']} ended with {item['result']}",
        "evidence_refs": [item["id"]],
    }


def _normalized_files(
    run_id: str, shape: RunShape, evidence: list[dict[str, JsonValue]], findings: list[dict[str, JsonValue]]
) -> dict[str, bytes]:
    plan: dict[str, JsonValue] = {
        "run_id": run_id,
        "check_groups": [_group_name(group) for group in range(shape.check_groups)],
    }
    mappings = [{"check_id": item["check_id"], "requirement_refs": item["requirement_refs"]} for item in evidence]
    return {
        "plan.json": _json(plan),
        "normalized/evidence.json": _json([*evidence]),
        "normalized/findings.json": _json([*findings]),
        "normalized/mappings.json": _json([*mappings]),
    }


# what newer versions and later scripts add


def _newer_files(run_id: str, commits: Mapping[str, str], findings: list[dict[str, JsonValue]]) -> dict[str, bytes]:
    sources: dict[str, JsonValue] = {name: {"version": "1.0", "commit": commit} for name, commit in commits.items()}
    fragments: list[JsonValue] = [{"finding_ref": finding["id"], "text": finding["title"]} for finding in findings]
    return {
        "sources.lock.json": _json({"lock_version": 1, "sources": sources}),
        "reports/fragments.json": _json({"run_id": run_id, "fragments": fragments}),
        "reports/submission-package.json": _json({"run_id": run_id, "ready": not findings}),
        "exports/export-manifest.json": _json({"run_id": run_id, "exports": []}),
    }


def _later_reports(run_id: str, evidence: list[dict[str, JsonValue]]) -> dict[str, bytes]:
    passed = sum(item["result"] == "pass" for item in evidence)
    score = round(4 * passed / max(1, len(evidence)))
    scores: dict[str, JsonValue] = dict.fromkeys(_CHECK_GROUPS, score)
    review: dict[str, JsonValue] = {"hard_failures": 0, "unexpected_stderr": 0, "accepted_warnings": 2}
    return {
        "reports/cmis-maturity-scorecard.json": _json({"run_id": run_id, "scores": scores, "percentage": 25 * score}),
        "reports/cmis-maturity-scorecard.md": _text(["# Maturity", *(f"- {name}: {score}" for name in scores)]),
        "reports/opencmis-log-review.json": _json({"run_id": run_id, **review}),
        "reports/opencmis-log-review.md": _text(["# Log review", *(f"- {name}: {n}" for name, n in review.items())]),
    }


# raw artifacts


def _raw_artifacts(shape: RunShape, chance: random.Random) -> dict[str, bytes]:
    artifacts: dict[str, bytes] = {}
    if shape.preflight:
        artifacts[f"artifacts/{EXTENSION}/preflight.json"] = _json({"repository": "reachable", "cmis_version": "1.1"})
    for group in range(shape.check_groups):
        artifacts |= _runner_artifacts(_group_name(group), shape.log_bytes, chance)
    for number in range(shape.captures):
        folder, name = divmod(number, _CAPTURES_PER_FOLDER)
        path = f"artifacts/{EXTENSION}/captures/{folder // 16:02x}/{folder % 16:x}/{name:02}.bin"
        artifacts[path] = chance.randbytes(shape.capture_bytes)
    return artifacts


def _runner_artifacts(group: str, log_bytes: int, chance: random.Random) -> dict[str, bytes]:
    folder = f"artifacts/{EXTENSION}/tck/{group}"
    invocation: dict[str, JsonValue] = {"command": ["tck-runner", "--group", group], "exit_code": 0}
    return {
        f"{folder}/invocation.json": _json(invocation),
        f"{folder}/stdout.log": _log(group, log_bytes, chance),
        f"{folder}/stderr.log": _text([f"WARN {group}: the repository announces no renditions"]),
        f"{folder}/normalized-runner-result.json": _json({"group": group, "checks": _CHECKS_PER_GROUP}),
        f"{folder}/console-runner-stdout.txt": _text([f"Running {group}", "Done"]),
    }


def _log(group: str, log_bytes: int, chance: random.Random) -> bytes:
    lines: list[str] = []
    size_bytes = 0
    while size_bytes < log_bytes:
        lines.append(f"{_time(len(lines))} INFO {group} request={chance.getrandbits(64):016x} status=200")
        size_bytes += len(lines[-1]) + 1
    return _text(lines)


# words and bytes


def _group_name(group: int) -> str:
    """Nine names, then the same with a number."""
    again, index = divmod(group, len(_CHECK_GROUPS))
    return f"{_CHECK_GROUPS[index]}-{again + 1}" if again else _CHECK_GROUPS[index]


def _counts(items: Iterable[Mapping[str, JsonValue]], key: str) -> dict[str, JsonValue]:
    return {**Counter(str(item[key]) for item in items)}


def _time(offset_s: int) -> str:
    return (_STARTED_AT + timedelta(seconds=offset_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(document: JsonValue) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
