"""Each metadata value is read from the first of its places that has one; artifacts are declared in several ways."""

from __future__ import annotations

import hashlib
import json

import pytest

from artifactstore.domain.canonical import MAX_DOCUMENT_BYTES
from artifactstore.pilots.guide_board import layout
from artifactstore.pilots.guide_board.artifacts import DeclaredArtifact, read_artifact_manifest
from artifactstore.pilots.guide_board.documents import Documents
from artifactstore.pilots.guide_board.facts import read_facts
from artifactstore.pilots.guide_board.run import open_run
from artifactstore.plugins import BytesSource

SHA = hashlib.sha256(b"content").hexdigest()


def documents(**changes) -> Documents:
    """The documents of an ordinary run, with whole documents replaced by file name."""
    ordinary = {
        "run.json": {
            "run_id": "run-1",
            "target_profile_ref": "target",
            "assessment_profile_ref": "assessment",
            "result_status": "completed",
            "source_commits": {"core": "abcdef0"},
        },
        "retention-summary.json": {"evidence_counts": {"pass": 2}, "finding_counts": {"high": 1}},
        "reports/assessment-package.json": {"artifact_manifest": []},
    }
    texts = {path: json.dumps(value).encode() for path, value in {**ordinary, **changes}.items()}
    return Documents({path: BytesSource(text) for path, text in texts.items()})


def document_with(pointer: str, value: object) -> object:
    for key in reversed(pointer.split("/")[1:]):
        value = {key: value}
    return value


TEXTS = {
    "target_profile_ref": layout.TARGET_PROFILE_REF,
    "assessment_profile_ref": layout.ASSESSMENT_PROFILE_REF,
    "result_status": layout.RESULT_STATUS,
    "run_id": layout.RUN_ID,
}
TEXT_PLACES = [(name, place) for name, places in TEXTS.items() for place in places]


@pytest.mark.parametrize(("name", "place"), TEXT_PLACES, ids=lambda value: value)
def test_a_text_is_found_in(name, place):
    path, _, pointer = place.partition("#")
    everything_else = {key: key for key in TEXTS if key != name}
    run = {"source_commits": {}, **everything_else}
    found = document_with(pointer, "found")
    others = {"run.json": {**run, **found}} if path == "run.json" else {"run.json": run}
    if path == "retention-summary.json":
        others[path] = {"evidence_counts": {}, "finding_counts": {}, **found}
    if path == "reports/assessment-package.json":
        others[path] = found
    if name == "run_id":
        run.pop("run_id", None)

    facts = read_facts(documents(**others))

    assert getattr(facts, name) == "found"


def test_the_first_place_wins():
    run = {**documents().value("run.json"), "result_status": "blocked", "status": "completed"}

    assert read_facts(documents(**{"run.json": run})).result_status == "blocked"


def test_a_value_of_another_kind_is_passed_over():
    run = {**documents().value("run.json"), "target_profile_ref": {"ref": 1}, "target_profile": {"id": "target-2"}}

    assert read_facts(documents(**{"run.json": run})).target_profile_ref == "target-2"


LOCKS = {
    "a map of commits": {"source_commits": {"core": "1234567"}},
    "a map of sources": {"sources": {"core": {"commit": "1234567", "version": "2"}}},
    "a list of sources": {"sources": [{"slug": "core", "revision": "1234567"}]},
    "sources at the top, among other things": {"lock_version": 1, "core": {"git_commit": "1234567"}},
    "sources of which some have no commit": {"sources": {"core": {"sha": "1234567"}, "profiles": {"version": "3"}}},
}


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS.keys())
def test_the_lock_gives_the_commits_as(lock):
    facts = read_facts(documents(**{"sources.lock.json": lock}))

    assert facts.source_commits == {"core": "1234567"}


def test_a_lock_without_commits_leaves_them_to_the_run():
    facts = read_facts(documents(**{"sources.lock.json": {"lock_version": 1}}))

    assert facts.source_commits == {"core": "abcdef0"}


def test_counts_that_are_not_written_down_are_counted():
    evidence = [{"result": "pass"}, {"result": "fail"}, {"result": "pass"}, {}]
    findings = {"findings": [{"severity": "high", "status": "open"}, {"status": "waived"}]}

    facts = read_facts(
        documents(
            **{
                "retention-summary.json": {},
                "normalized/evidence.json": evidence,
                "normalized/findings.json": findings,
            }
        )
    )

    assert facts.evidence_counts == {"pass": 2, "fail": 1, "unknown": 1}
    assert facts.finding_counts == {"high": 1, "waived": 1}


def test_counts_stand_in_a_total_too():
    summary = {
        "evidence_counts": {"total": 3, "by_result": {"pass": 3}},
        "findings": {"by_severity": {"low": 1}},
    }

    facts = read_facts(documents(**{"retention-summary.json": summary}))

    assert (facts.evidence_counts, facts.finding_counts) == ({"pass": 3}, {"low": 1})


def test_the_retention_policy_of_the_profile_is_kept_as_it_is():
    run = {**documents().value("run.json"), "retention_policy": {"summary_days": 365, "raw_artifact_days": 30}}

    assert read_facts(documents(**{"run.json": run})).retention_policy == {"summary_days": 365, "raw_artifact_days": 30}


ENTRIES = {
    "a path alone": "a.log",
    "a path that starts in the directory": {"path": "./a.log"},
    "relative_path": {"relative_path": "a.log"},
    "artifact_path": {"artifact_path": "a.log"},
    "file": {"file": "a.log"},
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_an_artifact_is_declared_by(entry):
    package = {"artifact_manifest": [entry]}

    declared = read_artifact_manifest(documents(**{"reports/assessment-package.json": package}))

    assert declared == (DeclaredArtifact("a.log", None),)


CHECKSUMS = {
    "sha256": {"sha256": SHA},
    "checksum with a prefix": {"checksum": f"sha256:{SHA}"},
    "upper case": {"checksum": SHA.upper()},
    "checksum and its algorithm": {"checksum": {"algorithm": "sha256", "value": SHA}},
    "checksum by algorithm": {"checksum": {"sha256": SHA}},
    "checksums": {"checksums": {"sha256": SHA}},
    "digest": {"digest": f"sha256:{SHA}"},
    "digest by algorithm": {"digest": {"sha256": SHA}},
}


@pytest.mark.parametrize("entry", CHECKSUMS.values(), ids=CHECKSUMS.keys())
def test_a_checksum_is_declared_by(entry):
    package = {"artifact_manifest": {"artifacts": [{"path": "a.log", **entry}]}}

    declared = read_artifact_manifest(documents(**{"reports/assessment-package.json": package}))

    assert declared == (DeclaredArtifact("a.log", SHA),)


def test_a_core_file_among_the_artifacts_keeps_its_role(fixture_run):
    report = {"path": "reports/report.md"}
    fixture_run.edit("reports/assessment-package.json", lambda package: package["artifact_manifest"].append(report))

    with open_run(fixture_run.path, max_files=1000) as run:
        roles = [file.role for file in run.files if file.path == "reports/report.md"]

    assert roles == ["report"]


def test_what_was_parsed_is_what_is_stored(fixture_run):
    with open_run(fixture_run.path, max_files=1000) as run:
        before = (fixture_run.path / "run.json").read_bytes()
        fixture_run.write("run.json", "{}")
        source = next(file.source for file in run.files if file.path == "run.json")

        assert source.open().read(MAX_DOCUMENT_BYTES) == before
