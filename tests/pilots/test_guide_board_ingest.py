"""A run directory becomes one package, and the same package again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.errors import RunChangedError
from artifactstore.pilots.guide_board.draft import package_draft
from artifactstore.pilots.guide_board.run import open_run
from artifactstore.plugins import RetentionClass
from artifactstore.registry.files import get_package
from artifactstore.testing.guide_board_runs import (
    NEWER_RUN,
    OLDER_RUN,
    OPENCMIS_RUN,
    build_run,
    write_files,
    write_run,
)
from artifactstore.version import VERSION

FIXTURE = Path(__file__).parents[1] / "fixtures" / "guide-board"
VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "guide-board-fixture.json").read_text())


def manifest_of(folder, store, **options):
    with open_run(folder, max_files=100_000) as run:
        return store.context.check_package(package_draft(run, RetentionClass.RAW_EVIDENCE, **options))


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def package_of(store, receipt):
    with store.registry.catalog.snapshot() as queries:
        return queries.package(receipt.package_id)


def test_the_fixture_becomes_a_package_of_eight_files(store):
    receipt = store.ingest(FIXTURE)

    assert (receipt.file_count, receipt.reused_existing, receipt.revision) == (8, False, 1)
    assert receipt.total_bytes == sum(len(data) for data in files_below(FIXTURE).values())


def test_the_fixture_has_the_manifest_it_always_had(store):
    receipt = store.ingest(FIXTURE)

    assert json.loads(manifest_of(FIXTURE, store).to_json()) == VECTOR["manifest"]
    assert receipt.manifest_digest == VECTOR["manifest_digest"]


def test_the_package_says_whose_run_it_is(store):
    package = package_of(store, store.ingest(FIXTURE))

    assert package.producer == "guide-board"
    assert package.external_id == "2026-05-18-quince-cmis-browser"
    assert package.subject == "targets/quince-content-store-4.2"
    assert package.schema_slug == "guide-board.run.v1"
    assert package.opened_by == f"plugin:guide-board@{VERSION}"


@pytest.mark.parametrize(
    ("shape", "file_count"), [(OLDER_RUN, 13), (OPENCMIS_RUN, 23), (NEWER_RUN, 27)], ids=["older", "OpenCMIS", "newer"]
)
def test_a_generated_run_is_stored_whole(store, tmp_path, shape, file_count):
    run = write_run(tmp_path / "run", shape, run_id="generated")

    receipt = store.ingest(run)
    get_package(store.registry, receipt.package_id, tmp_path / "back")

    assert receipt.file_count == file_count
    assert files_below(tmp_path / "back") == files_below(run)


def test_every_file_has_its_role(store, newer_run):
    roles = {file.path: file.role for file in manifest_of(newer_run.path, store).files}

    raw = {path: role for path, role in roles.items() if path.startswith("artifacts/")}
    assert set(raw.values()) == {"raw-artifact"}
    assert {path: role for path, role in roles.items() if path not in raw} == {
        "exports/export-manifest.json": "export-manifest",
        "normalized/evidence.json": "evidence",
        "normalized/findings.json": "findings",
        "normalized/mappings.json": "mappings",
        "plan.json": "plan",
        "reports/assessment-package.json": "assessment-package",
        "reports/cmis-maturity-scorecard.json": "scorecard",
        "reports/cmis-maturity-scorecard.md": "scorecard",
        "reports/fragments.json": "fragments",
        "reports/opencmis-log-review.json": "log-review",
        "reports/opencmis-log-review.md": "log-review",
        "reports/report.md": "report",
        "reports/submission-package.json": "submission-package",
        "retention-summary.json": "summary",
        "run.json": "run",
        "sources.lock.json": "lock",
    }


def test_retention_is_raw_evidence_unless_another_class_is_asked_for(store, newer_run):
    default = store.ingest(FIXTURE)
    chosen = store.ingest(newer_run.path, retention_class=RetentionClass.PERMANENT_RECORD)

    assert package_of(store, default).retention_class == "raw-evidence"
    assert package_of(store, chosen).retention_class == "permanent-record"


# the same again


def test_the_same_run_again_is_answered_with_the_same_package(store):
    first = store.ingest(FIXTURE)
    contents = store.contents()

    again = store.ingest(FIXTURE)

    assert again.reused_existing
    assert (again.package_id, again.manifest_digest) == (first.package_id, first.manifest_digest)
    assert store.contents() == contents


def test_another_store_gives_the_same_digest(store, another_store):
    here = store.ingest(FIXTURE)
    there = another_store.ingest(FIXTURE)

    assert here.manifest_digest == there.manifest_digest
    assert here.package_id != there.package_id


def test_files_made_in_another_order_at_another_time_with_other_modes_give_the_same_digest(store, tmp_path):
    files = build_run(OPENCMIS_RUN, run_id="reordered")
    write_files(tmp_path / "forwards", files)
    write_files(tmp_path / "backwards", dict(reversed(files.items())))
    for path in (tmp_path / "backwards").rglob("*.json"):
        path.chmod(0o700)
        os.utime(path, (1, 1))

    forwards = store.ingest(tmp_path / "forwards")
    backwards = store.ingest(tmp_path / "backwards")

    assert backwards.manifest_digest == forwards.manifest_digest
    assert backwards.reused_existing


def test_a_run_that_changed_is_refused_naming_the_file(store, fixture_run):
    store.ingest(fixture_run.path)
    contents = store.contents()
    fixture_run.write("reports/report.md", "# Rewritten\n")

    with pytest.raises(RunChangedError) as refused:
        store.ingest(fixture_run.path)

    assert refused.value.problems == (("reports/report.md", "changed"),)
    assert store.contents() == contents


def test_a_run_that_changed_becomes_the_next_revision_when_asked(store, fixture_run):
    first = store.ingest(fixture_run.path)
    fixture_run.write("reports/report.md", "# Rewritten\n")

    second = store.ingest(fixture_run.path, as_revision=True)

    assert (second.revision, second.reused_existing) == (2, False)
    assert package_of(store, second).supersedes == first.package_id


# what nothing declares


def test_an_undeclared_file_is_left_out_and_known_by_its_path(store, fixture_run):
    fixture_run.write("notes/todo.txt", "ask about renditions\n")

    receipt = store.ingest(fixture_run.path)

    with open_run(fixture_run.path, max_files=1000) as run:
        assert [file.path for file in run.undeclared] == ["notes/todo.txt"]
    assert receipt.manifest_digest == VECTOR["manifest_digest"]


def test_an_undeclared_file_is_stored_when_asked(store, fixture_run):
    fixture_run.write("notes/todo.txt", "ask about renditions\n")

    receipt = store.ingest(fixture_run.path, include_undeclared=True)

    manifest = manifest_of(fixture_run.path, store, include_undeclared=True)
    assert receipt.file_count == 9
    assert [(file.path, file.media_type) for file in manifest.files if file.role == "undeclared"] == [
        ("notes/todo.txt", "text/plain")
    ]


def test_a_link_to_a_file_of_the_run_is_read_as_that_file(store, fixture_run):
    report = fixture_run.path / "reports/report.md"
    report.rename(fixture_run.path / "reports/report-1.md")
    report.symlink_to("report-1.md")

    receipt = store.ingest(fixture_run.path)

    assert receipt.manifest_digest == VECTOR["manifest_digest"]


def test_importing_the_pilot_loads_nothing_slow():
    slow = {"typer", "rich", "sqlmodel", "sqlalchemy", "alembic", "jsonschema_rs", "importlib.resources"}
    program = f"import sys, artifactstore.pilots.guide_board; print(sorted({slow!r} & sys.modules.keys()))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
