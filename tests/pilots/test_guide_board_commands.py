"""The commands, behind a door that remembers what it was asked to say."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import typer
from typer.testing import CliRunner

from artifactstore.errors import RetentionInvalidError, RunDirectoryError
from artifactstore.pilots.guide_board import PLUGIN


class RecordingDoor:
    def __init__(self, store):
        self._store = store
        self.answers = []
        self.said = []

    @contextmanager
    def context(self):
        yield self._store.context

    def answer(self, document):
        self.answers.append(document)

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def door(store):
    return RecordingDoor(store)


def run_command(door, *arguments):
    """Run one command of the group; its one answer."""
    group = typer.Typer()
    PLUGIN.add_commands(group, door)
    result = CliRunner().invoke(group, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    (answer,) = door.answers
    door.answers.clear()
    return answer


def test_ingest_answers_the_receipt(door, fixture_run):
    answer = run_command(door, "ingest", fixture_run.path)

    assert list(answer) == [
        "package_id",
        "manifest_digest",
        "file_count",
        "total_bytes",
        "stored_bytes",
        "reused_existing",
        "revision",
    ]
    assert (answer["file_count"], answer["revision"]) == (8, 1)
    assert door.said == []


def test_check_answers_what_ingest_would_record_and_stores_nothing(door, store, fixture_run):
    before = store.contents()

    checked = run_command(door, "check", fixture_run.path)

    assert store.contents() == before
    ingested = run_command(door, "ingest", fixture_run.path)
    assert checked == {
        "manifest_digest": ingested["manifest_digest"],
        "file_count": 8,
        "total_bytes": ingested["total_bytes"],
        "external_id": "2026-05-18-quince-cmis-browser",
        "schema": "guide-board.run.v1",
        "undeclared": [],
        "case_collisions": [],
    }


def test_undeclared_files_are_told_by_path(door, fixture_run):
    fixture_run.write("notes.txt", "")

    answer = run_command(door, "ingest", fixture_run.path)

    assert answer["file_count"] == 8
    assert door.said == [
        "1 file(s) that nothing declares, left out; --include-undeclared takes them too:",
        "  'notes.txt'",
    ]


def test_many_undeclared_files_are_told_in_part_and_checked_in_full(door, fixture_run):
    for number in range(25):
        fixture_run.write(f"notes/{number:02}.txt", "")

    answer = run_command(door, "check", fixture_run.path)

    assert len(answer["undeclared"]) == 25
    assert door.said[-1] == "  and 5 more; `artifactstore guide-board check` lists them all"


def test_include_undeclared_takes_them(door, fixture_run):
    fixture_run.write("notes.txt", "")

    checked = run_command(door, "check", fixture_run.path, "--include-undeclared")
    ingested = run_command(door, "ingest", fixture_run.path, "--include-undeclared")

    assert (checked["file_count"], checked["undeclared"]) == (9, ["notes.txt"])
    assert ingested["manifest_digest"] == checked["manifest_digest"]


def test_paths_that_differ_only_in_case_are_reported(door, fixture_run):
    fixture_run.write("reports/Report.md", "")

    checked = run_command(door, "check", fixture_run.path, "--include-undeclared")

    assert checked["case_collisions"] == [["reports/Report.md", "reports/report.md"]]


def test_revision_records_what_has_changed(door, fixture_run):
    run_command(door, "ingest", fixture_run.path)
    fixture_run.write("reports/report.md", "# Rewritten\n")

    assert run_command(door, "ingest", fixture_run.path, "--revision")["revision"] == 2


def test_retention_chooses_the_class(door, store, fixture_run):
    answer = run_command(door, "ingest", fixture_run.path, "--retention", "release-evidence")

    with store.registry.catalog.snapshot() as queries:
        assert queries.package(answer["package_id"]).retention_class == "release-evidence"


def test_a_retention_class_that_does_not_exist_is_refused_by_name(door, store, fixture_run):
    before = store.contents()

    with pytest.raises(RetentionInvalidError, match="'for-ever'"):
        run_command(door, "ingest", fixture_run.path, "--retention", "for-ever")

    assert store.contents() == before


def test_check_refuses_what_ingest_refuses(door, fixture_run):
    (fixture_run.path / "run.json").unlink()

    with pytest.raises(RunDirectoryError, match=r"run\.json is missing"):
        run_command(door, "check", fixture_run.path)
