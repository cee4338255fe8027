"""What a draft must be, and how a package's state may change."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from artifactstore.domain.package import (
    BytesSource,
    FileDraft,
    PackageDraft,
    PackageStatus,
    check_draft,
    check_slug,
    check_transition,
)
from artifactstore.errors import LimitExceededError, PackageInvalidError, PackageStateError
from artifactstore.testing.builders import package_draft

LEGAL = {
    (PackageStatus.OPEN, PackageStatus.FINALIZED),
    (PackageStatus.OPEN, PackageStatus.EXPIRED),
    (PackageStatus.FINALIZED, PackageStatus.EXPIRED),
    (PackageStatus.EXPIRED, PackageStatus.DELETED),
    (PackageStatus.EXPIRED, PackageStatus.FINALIZED),
}


def problems_of(draft: PackageDraft) -> list[str]:
    with pytest.raises(PackageInvalidError) as caught:
        check_draft(draft, max_files=10)
    return [where for where, _ in caught.value.problems]


# states


@pytest.mark.parametrize(("current", "target"), sorted(LEGAL))
def test_legal_transition_passes(current: PackageStatus, target: PackageStatus) -> None:
    check_transition("id", current, target)


@pytest.mark.parametrize(
    ("current", "target"), [pair for pair in itertools.product(PackageStatus, repeat=2) if pair not in LEGAL]
)
def test_every_other_transition_is_refused(current: PackageStatus, target: PackageStatus) -> None:
    with pytest.raises(PackageStateError, match=f"package id is {current} and cannot become {target}"):
        check_transition("id", current, target)


# drafts


def test_ordinary_draft_passes() -> None:
    check_draft(package_draft(), max_files=10)


def test_draft_without_files_passes() -> None:
    check_draft(package_draft({}), max_files=10)


def test_more_files_than_allowed_are_refused() -> None:
    draft = package_draft({str(number): b"" for number in range(11)})

    with pytest.raises(LimitExceededError, match="11 files are more than 10"):
        check_draft(draft, max_files=10)


@pytest.mark.parametrize("slug", ["a", "7", "guide-board", "a.b_c-d", "x" * 64, "0.1"])
def test_slug_is_accepted(slug: str) -> None:
    check_slug(slug, what="the slug")


@pytest.mark.parametrize(
    "slug", ["", "A", "a b", "-a", "a-", ".a", "a.", "_", "a/b", "ü", "x" * 65, "a\n", "a\x00", "٣"]
)
def test_slug_is_refused(slug: str) -> None:
    with pytest.raises(PackageInvalidError, match="the slug"):
        check_slug(slug, what="the slug")


def test_producer_must_be_a_slug() -> None:
    assert problems_of(replace(package_draft(), producer="Guide Board")) == ["producer"]


def test_roles_must_be_slugs_and_one_file_of_each_is_named() -> None:
    files = tuple(
        FileDraft(path, BytesSource(b""), role, "text/plain") for path, role in [("a", "X"), ("b", "X"), ("c", "ok")]
    )

    assert problems_of(replace(package_draft(), files=files)) == ["role of a"]


@pytest.mark.parametrize("name", ["external_id", "subject"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 513, id="too-long"),
        pytest.param("line\nfeed", id="control-character"),
        pytest.param("half\ud800", id="surrogate"),
        pytest.param("e\u0301", id="not-nfc"),
    ],
)
def test_text_that_breaks_a_rule_is_named(name: str, text: str) -> None:
    assert problems_of(replace(package_draft(), **{name: text})) == [name]


@pytest.mark.parametrize("text", ["x", "x" * 512, "urn:example:ü 日本", "a\u2028b"])
def test_text_is_free_within_the_rules(text: str) -> None:
    check_draft(replace(package_draft(), external_id=text, subject=text), max_files=10)


def test_schema_asks_for_metadata() -> None:
    assert problems_of(replace(package_draft(), schema="a.v1")) == ["metadata"]


def test_metadata_needs_no_schema() -> None:
    check_draft(package_draft(metadata={"a": 1}), max_files=10)


def test_everything_wrong_is_named_at_once() -> None:
    draft = replace(package_draft(), producer="", external_id="", subject="", schema="a.v1")

    assert problems_of(draft) == ["producer", "external_id", "subject", "metadata"]


# files in memory


def test_file_in_memory_can_be_opened_more_than_once() -> None:
    source = BytesSource(b"content")

    found = []
    for _ in range(2):
        opened = source.open()
        found.append((opened.size_bytes, opened.read(4), opened.read(100), opened.read(1)))
        opened.finish()
        opened.close()

    assert found == [(7, b"cont", b"ent", b"")] * 2
