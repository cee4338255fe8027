"""The schemas that ship, and what of them a value violates, in the published order and words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from artifactstore.domain.metadata_schema import check_schema
from artifactstore.pilots.testing_os import PLUGIN
from artifactstore.pilots.testing_os.schemas import (
    MAX_VIOLATIONS,
    POLICY_SCHEMA,
    RECORD_SCHEMA,
    SLUGS,
    SUBMISSION_SCHEMA,
    violations,
)
from tests.pilots.testing_os.golden import golden_cases
from tests.pilots.testing_os.judging import MISSING, submission

ROOT = Path(__file__).parents[3]


def told(slug, value):
    return [str(violation) for violation in violations(slug, value)]


def test_the_schemas_that_ship_are_the_ones_in_the_schemas_folder():
    assert PLUGIN.schemas() == {
        slug: json.loads((ROOT / "schemas" / f"{slug}.json").read_text()) for slug in sorted(SLUGS)
    }


@pytest.mark.parametrize("slug", SLUGS)
def test_a_schema_can_be_registered_and_is_named_after_its_slug(slug):
    schema = PLUGIN.schemas()[slug]

    assert check_schema(slug, schema) == schema
    assert schema["$id"] == f"artifactstore:schemas:{slug}"


def test_another_validator_agrees_which_submissions_are_valid():
    other = Draft202012Validator(PLUGIN.schemas()[SUBMISSION_SCHEMA])  # it checks no formats

    for case in golden_cases():
        if "_nl" in case["id"]:
            continue  # to the other one, as to Python, the end of a text is before a last newline too
        ours = {
            (found.pointer, found.kind)
            for found in violations(SUBMISSION_SCHEMA, case["submission"])
            if found.kind != "format"
        }
        theirs = {
            ("".join(f"/{step}" for step in error.absolute_path), error.validator)
            for error in other.iter_errors(case["submission"])
        }
        assert ours == theirs, case["id"]


def test_every_violation_of_an_object_is_told_in_the_order_of_the_schema():
    document = submission({"/run_id": MISSING, "/notes": 5, "/zzz": 1, "/aaa": 2, "/schema_version": "1", "/ref": {}})
    document["overall_verdict"] = {"a": 1}

    assert told(SUBMISSION_SCHEMA, document) == [
        "/ must have required property 'run_id'",
        "/ must NOT have additional properties",
        "/ must NOT have additional properties",
        '/schema_version must match pattern "^\\d+\\.\\d+\\.\\d+$"',
        "/ref must have required property 'commit_sha'",
        "/overall_verdict must be string",
        "/overall_verdict must be equal to one of the allowed values",
        "/notes must be string",
    ]


def test_violations_within_lists_are_told_item_by_item():
    checks = [{"id": 1, "kind": "x", "status": "y", "value": "3"}, None]
    document = submission({"/ci_checks": checks, "/timing/duration_ms": -1.5, "/scenario_results/0/step_results": []})

    assert told(SUBMISSION_SCHEMA, document) == [
        "/timing/duration_ms must be integer",
        "/timing/duration_ms must be >= 0",
        "/ci_checks/0/id must be string",
        "/ci_checks/0/kind must be equal to one of the allowed values",
        "/ci_checks/0/status must be equal to one of the allowed values",
        "/ci_checks/0/value must be number",
        "/ci_checks/1 must be object",
        "/scenario_results/0/step_results must NOT have fewer than 1 items",
    ]


@pytest.mark.parametrize(
    ("pointer", "value", "kinds"),
    [
        ("/run_id", "abc\n", ["pattern"]),
        ("/run_id", "\u00e9-1", ["pattern"]),
        ("/run_id", "", ["minLength", "pattern"]),
        ("/repo", "a/b\n", ["pattern"]),
        ("/schema_version", "\u0661.0.0", ["pattern"]),
        ("/run_id", "x" * 201, ["maxLength"]),
        ("/source/attempt", 1.0, []),
        ("/source/attempt", 0, ["minimum"]),
        ("/source/attempt", True, ["type"]),
        ("/source/provider", "__proto__", ["enum"]),
        ("/source/run_url", "not a url", ["format"]),
        ("/timing/finished_at", "2026-02-30T00:00:00Z", ["format"]),
        ("/timing/finished_at", "2026-03-19 15:45:12Z", []),
        ("/scenario_results/0/step_results/0/status", "partial", []),
    ],
)
def test_python_does_not_read_a_rule_more_loosely(pointer, value, kinds):
    found = violations(SUBMISSION_SCHEMA, submission({pointer: value}))

    assert [(item.pointer, item.kind) for item in found] == [(pointer, kind) for kind in kinds]


@pytest.mark.parametrize("changes", [{"/ci_checks": [None] * 5000}, {f"/x{n}": 1 for n in range(5000)}])
def test_a_hostile_document_is_told_a_bounded_number_of_violations(changes):
    found = told(SUBMISSION_SCHEMA, submission(changes))

    assert len(found) == MAX_VIOLATIONS + 1
    assert found[-1] == "/ has more violations than are told"


def test_a_violation_far_down_a_long_document_is_not_overlooked():
    result = submission()["scenario_results"][0]
    steps = [{"step_id": f"s{n}", "status": "pass"} for n in range(500)]
    results = [{**result, "step_results": steps} for _ in range(30)]
    results[-1] = {**result, "verdict": "great"}

    assert told(SUBMISSION_SCHEMA, submission({"/scenario_results": results[:-1]})) == []
    assert told(SUBMISSION_SCHEMA, submission({"/scenario_results": results})) == [
        "/ has more violations than are told"
    ]


def test_every_record_of_the_original_is_one():
    for case in golden_cases():
        record = case["outcome"].get("record")
        if record and "repo" in record:
            record["verification"]["verified_at"] = "2026-03-20T00:00:00.000Z"
            assert told(RECORD_SCHEMA, record) == [], case["id"]


def test_a_record_that_was_remedied_by_hand_is_one():
    record = next(case["outcome"]["record"] for case in golden_cases() if case["id"] == "m/none")
    record["verification"] |= {
        "verified_at": "2026-03-20T00:00:00.000Z",
        "provenance_remediation": {"status": "stub_verified", "remediated_at": "2026-04-01T00:00:00Z", "note": "n"},
    }

    assert told(RECORD_SCHEMA, record) == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (None, "/ must be object"),
        ({}, "/ must have required property 'policy_version'"),
        ({"policy_version": 2}, "/policy_version must be string"),
        ({"policy_version": "1.0.0", "bogus": 1}, "/ must NOT have additional properties"),
        ({"policy_version": "1.0.0", "custom_rules": []}, "/ must NOT have additional properties"),
        ({"policy_version": "1.0.0", "surfaces": {"mcp": {}}}, "/surfaces must NOT have additional properties"),
        (
            {"policy_version": "1.0.0", "surfaces": {"cli": {"freshness": {"max_age_days": "14"}}}},
            "/surfaces/cli/freshness/max_age_days must be number",
        ),
        (
            {"policy_version": "1.0.0", "surfaces": {"cli": {"ci_requirements": {"coverage_min": "80"}}}},
            "/surfaces/cli/ci_requirements/coverage_min must be number,null",
        ),
        (
            {"policy_version": "1.0.0", "enforcement": {"mode": "exempt", "review_after": "2026-06-01"}},
            "/enforcement must have required property 'reason'",
        ),
        (
            {"policy_version": "1.0.0", "enforcement": {"mode": "warn-only", "reason": "tuning"}},
            "/enforcement must have required property 'review_after'",
        ),
        (
            {"policy_version": "1.0.0", "enforcement": {"mode": "exempt", "reason": "", "review_after": "2026-06-01"}},
            "/enforcement/reason must NOT have fewer than 1 characters",
        ),
        (
            {"policy_version": "1.0.0", "enforcement": {"mode": "exempt", "reason": "x", "review_after": "2026-06-31"}},
            '/enforcement/review_after must match format "date"',
        ),
    ],
)
def test_a_policy_that_is_none_says_where(policy, said):
    assert told(POLICY_SCHEMA, policy) == [said]


def test_a_required_policy_needs_no_reason():
    assert told(POLICY_SCHEMA, {"policy_version": "1.0.0", "enforcement": {"mode": "required"}}) == []
