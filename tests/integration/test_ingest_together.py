"""Several packages in one transaction: each is what it would be alone, and there are all of them or none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.object_events import ObjectCondemned
from artifactstore.errors import ConcurrentUpdateError, MetadataInvalidError, RunChangedError
from artifactstore.registry.ingest import IngestRequest, ingest
from artifactstore.registry.ingest_together import ingest_together
from artifactstore.registry.packages import find_package, list_packages
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft
from tests.at_once import at_once, kinds
from tests.support import event_types, key_at, objects_of_kind, replay_is_exact, stored_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from artifactstore.domain.package import PackageDraft, PackageReceipt
    from artifactstore.registry.registry import Registry

FILES = {"a": {"own": b"a", "shared": b"both"}, "b": {"own": b"b", "shared": b"both"}, "c": {"own": b"c"}}


def drafts(files: Mapping[str, Mapping[str, bytes]] = FILES) -> list[PackageDraft]:
    return [package_draft(dict(content), external_id=name) for name, content in files.items()]


def together(registry: Registry, several: list[PackageDraft]) -> list[PackageReceipt]:
    return ingest_together(registry, [IngestRequest(draft) for draft in several])


@pytest.fixture
def failed_at(registry: Registry) -> Iterator[None]:
    yield
    failpoints.arm(None)
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)


def test_each_is_the_package_that_it_is_alone(registry: Registry, home: Path) -> None:
    receipts = together(registry, drafts())

    assert [(1, False)] * 3 == [(receipt.revision, receipt.reused_existing) for receipt in receipts]
    again = [ingest(registry, draft) for draft in drafts()]
    assert [receipt.package_id for receipt in receipts] == [receipt.package_id for receipt in again]
    assert {True} == {receipt.reused_existing for receipt in again}
    assert 1 == len(objects_of_kind(home, ObjectKind.PACK))
    assert 3 == len(objects_of_kind(home, ObjectKind.MANIFEST))
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)


def test_what_two_have_in_common_is_stored_once_and_counts_once(registry: Registry, home: Path) -> None:
    receipts = together(registry, drafts())

    (pack,) = objects_of_kind(home, ObjectKind.PACK)
    assert pack.stat().st_size == sum(receipt.stored_bytes for receipt in receipts)
    assert 1 == pack.read_bytes().count(b"both")


def test_what_is_present_already_is_relied_on(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft({"x": b"both"}, external_id="before"))

    together(registry, drafts())

    assert 1 == sum(data.count(b"both") for data in stored_objects(home).values())
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)


@pytest.mark.parametrize("relies", ["the first", "the last"])
def test_what_one_relies_on_and_is_taken_away_meanwhile_keeps_all_of_them_out(
    registry: Registry, home: Path, relies: str
) -> None:
    ingest(registry, package_draft({"x": b"relied"}, external_id="before"))
    (pack,) = objects_of_kind(home, ObjectKind.PACK)
    reference = ObjectRef("default", ObjectKind.PACK, key_at(home, pack).digest, pack.stat().st_size)
    several = drafts({"a": {"x": b"relied"}, "b": {"x": b"own"}})

    def condemn(name: str) -> None:
        if name == "record.before-transaction":
            failpoints.arm(None)
            with registry.transaction() as tx:
                tx.record(ObjectCondemned(object=reference))

    failpoints.arm(condemn)
    try:
        with pytest.raises(ConcurrentUpdateError, match="was taken away"):
            together(registry, several if relies == "the first" else several[::-1])
    finally:
        failpoints.arm(None)

    assert 1 == len(list_packages(registry, limit=10))
    replay_is_exact(registry)


def test_one_that_is_known_keeps_all_of_them_out(registry: Registry) -> None:
    ingest(registry, drafts()[1])
    before = event_types(registry)

    with pytest.raises(ConcurrentUpdateError, match="recorded already"):
        together(registry, drafts())

    assert before == event_types(registry)
    assert 3 == len([ingest(registry, draft) for draft in drafts()])
    assert [] == verify_all(registry).damage
    replay_is_exact(registry)


def test_one_that_has_changed_keeps_all_of_them_out(registry: Registry) -> None:
    ingest(registry, package_draft({"own": b"other"}, external_id="b"))

    with pytest.raises(RunChangedError):
        together(registry, drafts())

    assert 1 == len(list_packages(registry, limit=10))


def test_one_may_be_the_next_revision(registry: Registry) -> None:
    first = ingest(registry, package_draft({"own": b"other"}, external_id="b"))
    one, two, _ = drafts()

    receipts = ingest_together(registry, [IngestRequest(one), IngestRequest(two, as_revision=True)])

    assert [1, 2] == [receipt.revision for receipt in receipts]
    package, _ = find_package(registry, receipts[1].package_id)
    assert first.package_id == package.supersedes
    replay_is_exact(registry)


def test_one_whose_metadata_is_invalid_keeps_all_of_them_out(registry: Registry) -> None:
    schema = {"type": "object", "additionalProperties": False}
    one, two, _ = (replace(draft, schema="tests.run.v1", metadata={}) for draft in drafts())

    with pytest.raises(MetadataInvalidError):
        ingest_together(
            registry,
            [IngestRequest(one, schema=schema), IngestRequest(replace(two, metadata={"x": 1}), schema=schema)],
        )

    assert [] == list_packages(registry, limit=10)
    ingest_together(registry, [IngestRequest(one, schema=schema), IngestRequest(two, schema=schema)])
    assert 1 == event_types(registry).count("v1.metadata_schema.registered")


def test_what_stands_beside_one_is_recorded_with_all(registry: Registry) -> None:
    seen: list[str] = []
    beside = [IngestRequest(draft, beside=lambda _, receipt: seen.append(receipt.package_id)) for draft in drafts()]

    receipts = ingest_together(registry, beside)

    assert [receipt.package_id for receipt in receipts] == seen


def test_two_of_one_run_are_refused_together(registry: Registry) -> None:
    with pytest.raises(ConcurrentUpdateError):
        together(registry, [*drafts(), *drafts()])

    assert [] == list_packages(registry, limit=10)


def test_a_failure_at_any_step_leaves_nothing_and_all_can_be_sent_again(registry: Registry, failed_at: None) -> None:
    passed: list[str] = []
    failpoints.arm(passed.append)
    together(registry, drafts({"warm": {"x": b"warm"}, "up": {"x": b"up"}}))

    for hit in range(1, len(passed) + 1):
        several = drafts({f"{hit}-{name}": {"x": f"{hit}{name}".encode()} for name in "ab"})
        left = [hit]

        def fail(_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        failpoints.arm(fail)
        with pytest.raises(KeyboardInterrupt):
            together(registry, several)
        failpoints.arm(None)
        found = {package.external_id for package in list_packages(registry, limit=1_000)}
        assert len({draft.external_id for draft in several} & found) in {0, 2}, passed[hit - 1]

        assert 1 == len({ingest(registry, draft).reused_existing for draft in several}), passed[hit - 1]
    assert {"store.before-manifest", "record.before-transaction", "catalog.before-commit"} <= {*passed}


def test_those_who_bring_the_same_runs_in_another_order_wait_for_each_other(registry: Registry) -> None:
    answers = at_once(4, lambda number: together(registry, drafts()[:: 1 if number % 2 else -1]))

    assert {"ConcurrentUpdateError": 3, "list": 1} == kinds(answers)
    assert 3 == len(list_packages(registry, limit=10))
    replay_is_exact(registry)
