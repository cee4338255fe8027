"""docs/pilots/guide-board.md says of every role and every place what the tables say."""

from __future__ import annotations

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
    "pointers", [layout.ARTIFACT_PATH_POINTERS[1:], layout.CHECKSUM_POINTERS, layout.COMMIT_POINTERS]
)
def test_the_page_names_every_field_of_an_entry(pointers):
    assert [pointer for pointer in pointers if f"`{pointer[1:]}`" not in PAGE] == []


def test_the_page_names_every_role():
    roles = {*layout.ROLES.values(), layout.RAW_ARTIFACT_ROLE, layout.UNDECLARED_ROLE}

    assert [role for role in roles if f"| `{role}` |" not in PAGE] == []
