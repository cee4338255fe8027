"""docs/pilots/guide-board.md says of every role and every place what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from artifactstore.pilots.guide_board import layout

PAGE = (Path(__file__).parents[2] / "docs" / "pilots" / "guide-board.md").read_text()
TABLES = {
    "run id": layout.RUN_ID,
    "target profile": layout.TARGET_PROFILE_REF,
    "result status": layout.RESULT_STATUS,
    "source commits": layout.SOURCE_COMMITS,
    "evidence counts": layout.EVIDENCE_COUNTS,
    "finding counts": layout.FINDING_COUNTS,
    "evidence items": layout.EVIDENCE_ITEMS,
    "finding items": layout.FINDING_ITEMS,
    "retention policy": layout.RETENTION_POLICY,
    "end": layout.COMPLETED_AT,
    **layout.PARTICIPANTS,
    "extensions": layout.EXTENSIONS,
}


@pytest.mark.parametrize("places", TABLES.values(), ids=TABLES.keys())
def test_the_page_names_every_place_of_the(places):
    for place in places:
        path, _, pointer = place.partition("#")
        assert f"`{place}`" in PAGE or (f"`{path}`" in PAGE and f"`#{pointer}`" in PAGE), place


def test_the_assessment_profile_is_read_like_the_target_profile():
    expected = tuple(place.replace("target", "assessment") for place in layout.TARGET_PROFILE_REF)

    assert expected == layout.ASSESSMENT_PROFILE_REF


@pytest.mark.parametrize(
    "pointers",
    [
        layout.ARTIFACT_PATH_POINTERS[1:], layout.CHECKSUM_POINTERS, layout.COMMIT_POINTERS,
        layout.NAME_POINTERS[1:], layout.EXTENSION_POINTERS[1:], layout.EVIDENCE_TIME_POINTERS,
    ],
)  # fmt: skip
def test_the_page_names_every_field_of_an_entry(pointers):
    assert [pointer for pointer in pointers if f"`{pointer[1:]}`" not in PAGE] == []


def test_the_page_names_every_role():
    roles = {*layout.ROLES.values(), layout.RAW_ARTIFACT_ROLE, layout.UNDECLARED_ROLE}

    assert [role for role in roles if f"| `{role}` |" not in PAGE] == []


def test_the_rows_of_what_is_observed_are_the_tables_place_for_place():
    roles = {**layout.PARTICIPANTS, "runner": layout.EXTENSIONS}

    assert {role: row_of(f"`{role}`") for role in roles} == roles
    assert row_of("the end") == (*layout.COMPLETED_AT, *layout.EVIDENCE_ITEMS)


def test_the_page_says_how_many_of_a_role_are_recorded():
    assert f"Of each role, {layout.MAX_OF_A_ROLE} are recorded." in PAGE


def row_of(name: str) -> tuple[str, ...]:
    """The places that a row of the page names, in order: a pointer is into the file before it."""
    (row,) = re.findall(rf"^\| {name} \| (.*) \|$", PAGE, re.MULTILINE)
    places, path = [], ""
    for path_or_place in re.findall("`([^`]+)`", row):
        named, sign, pointer = path_or_place.partition("#")
        path = named or path
        if sign:
            places.append(f"{path}#{pointer}")
    return tuple(places)
