"""No question that the catalog is asked reads a whole table, however much is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.catalog.package_filter import PackageFilter
from artifactstore.catalog.queries import Queries
from artifactstore.registry.ingest import ingest
from artifactstore.testing.builders import package_draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from artifactstore.registry.registry import Registry

ADDRESS = bytes(32)
PARTIAL = ("blob_location_lost", "stored_object_lost")
"""Indexes that hold nothing but what is lost."""
QUESTIONS: dict[str, Callable[[Queries], object]] = {
    "a package": lambda ask: ask.package("x"),
    "the revisions of a run": lambda ask: ask.revisions("p", "x"),
    "packages of a content": lambda ask: ask.packages_of_content("p", ADDRESS),
    "a page of packages": lambda ask: ask.packages(after=0, limit=10),
    "packages of a producer": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(producer="p")),
    "packages with an external id": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(external_id="x")),
    "packages about a subject": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(subject="s")),
    "packages in a state": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(status="expired")),
    "packages of a schema": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(schema_slug="s")),
    "packages of a class": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(retention_class="c")),
    "packages with metadata": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(metadata=("k", "v"))),
    "packages with a blob": lambda ask: ask.packages(after=0, limit=10, wanted=PackageFilter(blob=bytes(32))),
    "blobs of a producer": lambda ask: ask.readable_blobs([bytes(32)], ("p", "q")),
    "packages that are due": lambda ask: ask.due(0, limit=10),
    "a package's entries": lambda ask: list(ask.entries(1)),
    "a package's recorded files": lambda ask: list(ask.recorded_files(1)),
    "a page of located files": lambda ask: ask.located_files(1, after_index=-1, limit=10),
    "a file by its path": lambda ask: ask.located_file(1, "a"),
    "the users of a blob": lambda ask: ask.users_of_blob(ADDRESS, limit=10),
    "a package's holds": lambda ask: ask.holds(1),
    "a schema": lambda ask: ask.schema("s"),
    "which blobs are present": lambda ask: ask.blob_presence([ADDRESS]),
    "a large blob of a size": lambda ask: ask.may_have_blob_of_size(2**20),
    "whether a package is whole": lambda ask: ask.package_is_whole(ask._packages("1 = 1 LIMIT 1", ())[0]),
    "whether anything is lost": lambda ask: ask.has_losses(),
    "objects of a digest": lambda ask: ask.objects_of_digest("pack", ADDRESS),
    "a page of objects": lambda ask: ask.objects(after=0, limit=10),
    "losses in an object": lambda ask: ask.object_has_losses(1),
    "whether an object is superseded": lambda ask: ask.object_is_superseded(1),
    "the blobs in an object": lambda ask: list(ask.blobs_in_object(1)),
    "a page of events": lambda ask: ask.events(after=0, limit=10),
    "the events of a subject": lambda ask: ask.events(after=0, limit=10, subject="x"),
    "the newest event": lambda ask: ask.latest_seq(),
}


class Explaining:
    """A connection that has every statement explained before it is run."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def execute(self, sql: str, parameters: Any = ()) -> Iterator[Any]:
        plan = self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.plans += [detail for *_, detail in plan if "1 = 1" not in sql]
        result: Iterator[Any] = self._connection.execute(sql, parameters)
        return result

    stream = execute


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_question_reads_a_whole_table(registry: Registry, question: str) -> None:
    ingest(registry, package_draft())
    with registry.catalog.snapshot() as queries:
        explaining = Explaining(queries.connection)

        QUESTIONS[question](Queries(explaining))  # type: ignore[arg-type]

    assert explaining.plans
    scans = [step for step in explaining.plans if step.startswith("SCAN") and "CONSTANT" not in step]
    in_order = {"SCAN event USING INTEGER PRIMARY KEY", "SCAN event"} if question == "the newest event" else set()
    bounded = {"SCAN newest"}  # the 64 newest packages of a blob
    assert set() == {scan for scan in scans if not scan.endswith(PARTIAL)} - in_order - bounded
    if question.startswith(("a page", "packages with")):
        assert not [step for step in explaining.plans if "TEMP B-TREE" in step]
