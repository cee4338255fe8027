"""A producer's packages come to no more than its quota, whoever writes at once, and what is there already is free."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import ConfigurationError, QuotaExceededError
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.ingest import ingest
from artifactstore.registry.open_packages import open_package
from artifactstore.registry.packages import list_packages
from artifactstore.registry.preflight import preflight
from artifactstore.registry.progress import SILENT
from artifactstore.registry.quotas import quota_of
from artifactstore.registry.reading import describe
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.testing.builders import package_draft
from tests.at_once import at_once, kinds
from tests.counted import assert_counted
from tests.support import replay_is_exact, stored_objects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.domain.package import PackageDraft
    from artifactstore.registry.registry import Registry


def draft(size: int, name: str | None = "run-1", *, fill: bytes = b"x") -> PackageDraft:
    return replace(package_draft({"a": fill * size}, external_id=name), producer="small")


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """A store where ``small`` may have ten bytes."""
    settings = {"ARTIFACTSTORE_HOME": str(home), "ARTIFACTSTORE_QUOTAS": "small=10B; large=1TiB", **database}
    with closing(open_registry(Settings.from_environment(settings))) as opened:
        yield opened
        assert_counted(opened)
        replay_is_exact(opened)


def test_what_fits_exactly_is_recorded_and_one_byte_more_is_not(registry: Registry, home: Path) -> None:
    ingest(registry, draft(6, "one"))
    before = stored_objects(home)

    with pytest.raises(QuotaExceededError, match=r"5 bytes do not fit .* is 10 bytes, of which 6 are used"):
        ingest(registry, draft(5, "two"))
    assert before == stored_objects(home)
    ingest(registry, draft(4, "two"))

    state = quota_of(registry, "small")
    assert state is not None
    assert (10, 10, 0) == (state.quota_bytes, state.used_bytes, state.free_bytes)


@pytest.mark.parametrize("name", ["run-1", None])
def test_the_same_content_again_costs_nothing(registry: Registry, name: str | None) -> None:
    first = ingest(registry, draft(10, name))

    again = ingest(registry, draft(10, name))

    assert (first.package_id, True) == (again.package_id, again.reused_existing)


def test_content_without_a_name_that_does_not_fit_is_refused(registry: Registry) -> None:
    ingest(registry, draft(10, None))

    with pytest.raises(QuotaExceededError):
        ingest(registry, draft(10, None, fill=b"y"))


def test_other_producers_have_no_quota(registry: Registry) -> None:
    ingest(registry, package_draft({"a": b"x" * 1_000}))

    assert quota_of(registry, package_draft().producer) is None


def test_of_eight_that_do_not_fit_together_as_many_as_fit_are_recorded(registry: Registry) -> None:
    answers = at_once(8, lambda n: ingest(registry, draft(3, f"run-{n}")))

    assert {"PackageReceipt": 3, "QuotaExceededError": 5} == kinds(answers), answers
    assert 3 == len(list_packages(registry, limit=10))


def test_a_push_with_its_files_declared_is_refused_before_it_is_open(registry: Registry) -> None:
    given = draft(11)
    declared = describe(given, SILENT).files

    with pytest.raises(QuotaExceededError):
        open_package(registry, replace(given, files=()), declared, as_revision=False, readable_producers=None)


def test_a_push_without_is_refused_when_it_is_finalized(registry: Registry) -> None:
    opened = open_package(registry, replace(draft(1), files=()), None, as_revision=False, readable_producers=None)
    receive_file(registry, opened.package_id, Announced("a"), io.BytesIO(b"x" * 11).read)

    with pytest.raises(QuotaExceededError):
        finalize(registry, opened.package_id, readable_producers=None)

    assert [] == list_packages(registry, limit=10)


def test_preflight_names_what_does_not_fit(registry: Registry) -> None:
    obstacles = preflight(registry, draft(11), None, [11], may_write=lambda: None)

    assert ["QUOTA_EXCEEDED"] == [obstacle.code for obstacle in obstacles]


@pytest.mark.parametrize(
    "text", ["small", "small=", "small=10GB", "small=-1", "small=1;small=2", "=1", "small=9999999TiB"]
)
def test_a_quota_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ARTIFACTSTORE_QUOTAS"):
        Settings.from_environment({"ARTIFACTSTORE_QUOTAS": text})


def test_sizes_may_have_units() -> None:
    settings = Settings.from_environment({"ARTIFACTSTORE_QUOTAS": "a=1;b=2KiB; c = 3 MiB;d=4GiB;"})

    assert {"a": 1, "b": 2048, "c": 3 * 2**20, "d": 4 * 2**30} == settings.quotas
