"""The schema that ships is the one in ``schemas/``, and says what the fixture's metadata says."""

from __future__ import annotations

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from artifactstore.pilots.guide_board import PLUGIN
from artifactstore.pilots.guide_board.run import open_run

ROOT = Path(__file__).parents[2]
SLUG = "guide-board.run.v1"
METADATA = json.loads((ROOT / "tests" / "vectors" / "guide-board-fixture.json").read_text())["manifest"]["metadata"]


def test_the_schema_that_ships_is_the_one_in_the_schemas_folder():
    assert PLUGIN.schemas() == {SLUG: json.loads((ROOT / "schemas" / f"{SLUG}.json").read_text())}


def test_the_schema_is_named_after_its_slug():
    assert PLUGIN.schemas()[SLUG]["$id"] == f"artifactstore:schemas:{SLUG}"


def test_another_validator_agrees_that_the_metadata_of_the_fixture_is_valid():
    schema = PLUGIN.schemas()[SLUG]

    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(METADATA)) == []


def test_another_validator_agrees_that_every_required_value_is_required():
    validator = Draft202012Validator(PLUGIN.schemas()[SLUG])

    for name in METADATA.keys() - {"retention_policy"}:
        without = {key: value for key, value in METADATA.items() if key != name}
        assert [error.validator for error in validator.iter_errors(without)] == ["required"], name


def test_the_reports_of_the_metadata_are_files_of_the_run():
    with open_run(ROOT / "tests" / "fixtures" / "guide-board", max_files=1000) as run:
        paths = {file.path for file in run.files}

    assert set(METADATA["report_paths"]) < paths
