"""The class of a persisted reason, and whether a rejection may give way."""

from __future__ import annotations

import pytest

from artifactstore.pilots.testing_os.reasons import (
    CONTRACT_MAJOR,
    awaited_major,
    classify,
    is_understood,
    may_be_replaced,
)


@pytest.mark.parametrize(
    ("text", "name", "retryable"),
    [
        ("schema: / must be object", "submission-bad", True),
        ("repo:mismatch: submission.repo (a/b) does not match source.run_url repo (c/d)", "submission-bad", True),
        ('steps[a]: step "x" has unknown status: "s"', "submission-bad", True),
        ("steps[odd: ]id]: duplicate step_id: x", "submission-bad", True),
        ('policy-config: rule "x": fault', "submission-bad", True),
        ("submission-contains-verifier-field: verification", "submission-bad", True),
        ("unsafe-record-path: record passed", "submission-bad", True),
        ("CONTRACT_SCHEMA_TOO_OLD: recordSubmission schema v0.9.0", "submission-bad", True),
        ("policy: repo policy unreadable — schema-invalid", "operational", True),
        ("policy: surface[cli]: required evidence kind", "submission-bad", False),
        ("provenance: source run could not be confirmed", "submission-bad", True),
        (
            "provenance: source run could not be confirmed: it ran on 0, not on ref.commit_sha 1",
            "submission-bad",
            False,
        ),
        ("provenance: verification failed: GitHub API timeout after 30000ms", "operational", True),
        ("provenance: said in other words", "submission-bad", False),
        ("CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v2.0.0 but", "operational", False),
        ("CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v1.0.0 but", "operational", True),
        ("submission-malformed: submission is null or not an object", "operational", False),
        ('scenario-load: scenario "a" could not be loaded', "ingest", False),
        ("validator error: x", "unknown", False),
        ("whatever", "unknown", False),
        ("", "unknown", False),
    ],
)
def test_a_reason_is_classed_by_its_prefix(text, name, retryable):
    found = classify(text)

    assert (found.name, found.retryable) == (name, retryable)
    assert text.startswith(found.prefix)


def test_a_rejection_gives_way_only_if_each_of_its_reasons_may():
    assert may_be_replaced(["schema: a", "steps[x]: b"])
    assert not may_be_replaced(["schema: a", "policy: b"])
    assert not may_be_replaced([])


@pytest.mark.parametrize(
    ("texts", "major"),
    [
        (["CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v2.0.0 but"], 2),
        (["schema: a", "CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v17.0.0 but"], 17),
        (["policy: a", "CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v2.0.0 but"], None),
        (["CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v1.0.0 but"], None),
        (["CONTRACT_SCHEMA_TOO_NEW: said in other words"], None),
        (["CONTRACT_SCHEMA_TOO_NEW: recordSubmission schema v1234567890.0.0 but"], None),
        (["schema: a"], None),
        ([], None),
    ],
)
def test_a_rejection_waits_for_the_version_that_was_too_new_if_nothing_else_is_final(texts, major):
    assert awaited_major(texts) == major


def test_a_version_is_understood_up_to_the_one_of_this_build():
    assert is_understood(CONTRACT_MAJOR)
    assert not is_understood(CONTRACT_MAJOR + 1)
    assert not is_understood(None)
