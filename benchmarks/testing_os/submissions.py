"""Submissions by the thousand, none like another, the policy they are judged by, and trees with it.

Both sides are given the same files, so what differs is who works. One in seven fails, one in 53 is rejected by the
policy. Each is later than the one before, so that every one that is accepted is the newest of its surface.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from artifactstore.domain.canonical import JsonValue

SURFACES = ("cli", "desktop", "web", "api", "mcp-server", "npm-package", "plugin", "library")
REPOSITORIES = 50
_BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
_STEPS = (
    "emit-submission",
    "ingest-submission",
    "verify-provenance",
    "verify-policy",
    "compute-verdict",
    "write-record",
)
_POLICY = """\
policy_version: "1.0.0"
defaults:
  execution_mode_policy: { allowed: [bot, human, mixed] }
  ci_requirements: { coverage_min: null, tests_must_pass: false }
  evidence_requirements: { required_kinds: [log], min_evidence_count: 1 }
global_rules:
  - { id: schema-valid, severity: reject, description: "The submission keeps its schema" }
  - { id: provenance-confirmed, severity: reject, description: "The source run can be looked up" }
  - { id: scenario-minimum, severity: reject, description: "At least one scenario_result required" }
  - { id: blocked-needs-reason, severity: reject, description: "Verdict blocked requires blocking_reason" }
"""


def write_root(root: Path) -> Path:
    """The root of a repository, with policies and no records."""
    (root / "policies").mkdir(parents=True)
    (root / "policies" / "global-policy.yaml").write_text(_POLICY)
    return root


def write_feed(path: Path, numbers: Iterable[int], *, repositories: int = REPOSITORIES) -> Path:
    """A file with a submission in each line."""
    with path.open("w") as file:
        file.writelines(json.dumps(submission(number, repositories)) + "\n" for number in numbers)
    return path


def is_accepted(number: int) -> bool:
    """Whether the policy accepts that submission."""
    return number % 53 != 52


def latest_run_ids(numbers: Iterable[int], repositories: int = REPOSITORIES) -> dict[tuple[str, str], str]:
    """What an index over these submissions has for each repository and surface."""
    latest = {}
    for number in filter(is_accepted, numbers):
        latest[_repo(number, repositories), _surface(number, repositories)] = _run_id(number)
    return latest


def submission(number: int, repositories: int = REPOSITORIES) -> dict[str, JsonValue]:
    """One of about 2 KB."""
    repo = _repo(number, repositories)
    began, url = _BEGAN + timedelta(minutes=number), f"https://github.com/{repo}/actions/runs/{1_000_000 + number}"
    verdict = "blocked" if not is_accepted(number) else "fail" if number % 7 == 3 else "pass"
    return {
        "schema_version": "1.0.0",
        "run_id": _run_id(number),
        "repo": repo,
        "ref": {"commit_sha": f"{number:040x}", "branch": "main"},
        "source": {
            "provider": "github",
            "workflow": "dogfood.yml",
            "provider_run_id": str(1_000_000 + number),
            "attempt": 1,
            "run_url": url,
            "actor": "ci-dogfood-bot",
        },
        "timing": {
            "started_at": _text(began),
            "finished_at": _text(began + timedelta(seconds=12)),
            "duration_ms": 12_000,
        },
        "ci_checks": [{"id": "unit-tests", "kind": "test", "status": "pass", "value": 24}],
        "scenario_results": [_result(number, repositories, verdict, url)],
        "overall_verdict": verdict,
        "notes": f"Submission {number} of a benchmark.",
    }


def _result(number: int, repositories: int, verdict: str, url: str) -> dict[str, JsonValue]:
    status = "pass" if verdict == "pass" else "fail"
    return {
        "scenario_id": "record-ingest-roundtrip",
        "scenario_name": "Record ingest roundtrip",
        "scenario_version": "1.0.0",
        "product_surface": _surface(number, repositories),
        "execution_mode": "bot",
        "verdict": verdict,
        "step_results": [{"step_id": step, "status": status, "notes": f"{step} is done"} for step in _STEPS],
        "evidence": [{"kind": "log", "url": url, "description": "Verifier output log"}],
        "notes": "Full ingest roundtrip.",
    }


def _repo(number: int, repositories: int) -> str:
    which = number % repositories
    return f"org-{which % 7}/repo-{which:04}"


def _surface(number: int, repositories: int) -> str:
    return SURFACES[number // repositories % len(SURFACES)]


def _run_id(number: int) -> str:
    return f"run-{number:08}"


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
