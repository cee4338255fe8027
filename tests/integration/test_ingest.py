"""Ingest, on a real database and a real directory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.instant import MICROSECONDS_PER_DAY, Instant
from artifactstore.domain.object_events import ObjectCondemned
from artifactstore.domain.retention import RetentionClass
from artifactstore.errors import (
    FileChangedError,
    LimitExceededError,
    MetadataInvalidError,
    MetadataSchemaUnknownError,
    PackageExpiredError,
    PackageInvalidError,
    PathInvalidError,
    RunChangedError,
)
from artifactstore.registry import storing
from artifactstore.registry.ingest import check, ingest, record
from artifactstore.registry.lease import Lease
from artifactstore.registry.metadata_schemas import register_schema
from artifactstore.registry.packages import find_package, read_manifest
from artifactstore.registry.progress import SILENT
from artifactstore.registry.retention import sweep
from artifactstore.registry.verify import verify_all, verify_package
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import (
    directory_draft,
    event_types,
    fetch,
    flip_byte,
    key_at,
    objects_of_kind,
    replay_is_exact,
    stored_objects,
    write_tree,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from artifactstore.domain.package import OpenedFile, PackageDraft
    from artifactstore.registry.registry import Registry

FILES = {"run.json": b'{"id": 1}', "logs/out.txt": b"fine\n", "logs/empty": b"", "data/big.bin": some_bytes(3 * 2**20)}
INGEST_EVENTS = [
    "v1.package.opened",
    "v1.package.files_added",
    "v1.package.retention_applied",
    "v1.package.finalized",
]


def test_an_ingest_is_four_events_and_every_file_comes_back(registry: Registry, tmp_path: Path) -> None:
    receipt = ingest(registry, package_draft(FILES))

    assert event_types(registry) == INGEST_EVENTS
    assert fetch(registry, receipt.package_id, tmp_path / "out") == FILES
    assert verify_package(registry, receipt.package_id).damage == []
    assert replay_is_exact(registry).events == 4


def test_the_receipt_counts_files_bytes_and_stored_bytes(registry: Registry, home: Path) -> None:
    receipt = ingest(registry, package_draft(FILES))

    stored = [*objects_of_kind(home, ObjectKind.BLOB), *objects_of_kind(home, ObjectKind.PACK)]
    assert receipt.file_count == 4
    assert receipt.total_bytes == sum(map(len, FILES.values()))
    assert receipt.stored_bytes == sum(path.stat().st_size for path in stored)
    assert receipt.revision == 1


def test_the_same_run_again_is_the_same_package_without_a_trace(registry: Registry, home: Path) -> None:
    first = ingest(registry, package_draft(FILES))
    before = stored_objects(home)

    again = ingest(registry, package_draft(FILES))

    assert replace(first, reused_existing=True, stored_bytes=0) == again
    assert event_types(registry) == INGEST_EVENTS
    assert before == stored_objects(home)


def test_the_manifest_digest_is_the_same_in_any_store_order_and_time(registry: Registry, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "a", FILES)
    other = write_tree(tmp_path / "b", dict(reversed(FILES.items())))
    elsewhere = open_registry(Settings.from_environment({
        "ARTIFACTSTORE_HOME": str(tmp_path / "other"),
        "ARTIFACTSTORE_DATABASE_URL": "sqlite://",
        "ARTIFACTSTORE_STORAGE_URL": "memory://",
        "ARTIFACTSTORE_PACK_THRESHOLD_BYTES": "0",
    }))  # fmt: skip

    with directory_draft(folder) as draft:
        here = ingest(registry, draft)
    with directory_draft(other) as draft:
        there = ingest(elsewhere, draft)

    assert here.manifest_digest == there.manifest_digest
    elsewhere.close()


def test_check_says_the_digest_that_ingest_gives_and_stores_nothing(registry: Registry, home: Path) -> None:
    manifest = check(registry, package_draft(FILES))

    assert event_types(registry) == []
    assert not (home / "objects").exists()
    receipt = ingest(registry, package_draft(FILES))
    assert manifest.encode() == read_manifest(registry, receipt.package_id)


def test_changed_content_under_a_known_external_id_is_refused_and_named(registry: Registry) -> None:
    ingest(registry, package_draft({"kept": b"1", "changed": b"2", "gone": b"3"}))

    with pytest.raises(RunChangedError) as caught:
        ingest(registry, package_draft({"kept": b"1", "changed": b"two", "new": b"4"}))

    assert list(caught.value.problems) == [("changed", "changed"), ("gone", "removed"), ("new", "added")]
    assert event_types(registry) == INGEST_EVENTS


def test_a_revision_supersedes_and_both_stay_findable(registry: Registry) -> None:
    first = ingest(registry, package_draft({"a": b"1"}))

    second = ingest(registry, package_draft({"a": b"2"}), as_revision=True)

    assert second.revision == 2
    assert find_package(registry, second.package_id)[0].supersedes == first.package_id
    assert ingest(registry, package_draft({"a": b"1"})).package_id == first.package_id
    assert ingest(registry, package_draft({"a": b"2"}), as_revision=True).package_id == second.package_id


def test_without_an_external_id_content_is_the_key(registry: Registry) -> None:
    first = ingest(registry, package_draft({"a": b"1"}, external_id=None))
    again = ingest(registry, package_draft({"a": b"1"}, external_id=None))
    other = ingest(registry, package_draft({"a": b"2"}, external_id=None))

    assert (again.package_id, again.reused_existing) == (first.package_id, True)
    assert other.package_id != first.package_id
    assert len(event_types(registry)) == 8


def test_content_that_is_known_is_not_stored_again(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    packs = objects_of_kind(home, ObjectKind.PACK)

    receipt = ingest(registry, package_draft(FILES, external_id="run-2"))

    assert receipt.stored_bytes == 0
    assert packs == objects_of_kind(home, ObjectKind.PACK)
    assert replay_is_exact(registry)


def test_one_changed_file_costs_one_small_pack(registry: Registry) -> None:
    many = {f"f{n}": some_bytes(4096, n) for n in range(100)}
    ingest(registry, package_draft(many))

    receipt = ingest(registry, package_draft({**many, "f7": b"changed"}, external_id="run-2"))

    assert receipt.stored_bytes < 300


def test_the_same_bytes_twice_in_one_package_are_stored_once(registry: Registry, tmp_path: Path) -> None:
    large = some_bytes(2 * 2**20)
    files = {"a": b"same", "b": b"same", "large-1": large, "large-2": large}

    receipt = ingest(registry, package_draft(files))

    assert receipt.stored_bytes < len(large) + 1000
    assert fetch(registry, receipt.package_id, tmp_path / "out") == files
    assert replay_is_exact(registry)


def test_a_large_file_that_is_known_is_hashed_and_not_staged(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"large": some_bytes(2 * 2**20)}
    ingest(registry, package_draft(large))
    monkeypatch.setattr("artifactstore.registry.storing._Storing._stage_large", lambda *_: pytest.fail("staged"))

    receipt = ingest(registry, package_draft(large, external_id="run-2"))

    assert (receipt.stored_bytes, receipt.reused_existing) == (0, False)


def test_more_files_than_an_event_holds_become_several_events(registry: Registry, tmp_path: Path) -> None:
    files = {f"d{n % 7}/f{n:05}": b"%d" % (n % 9000) for n in range(10_500)}

    receipt = ingest(registry, package_draft(files))

    assert event_types(registry).count("v1.package.files_added") == 2
    assert fetch(registry, receipt.package_id, tmp_path / "out") == files
    assert replay_is_exact(registry)


def test_packs_are_closed_when_they_are_full(
    registry: Registry, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.storage.pack.PACK_TARGET_BYTES", 100_000)
    files = {f"f{n:03}": some_bytes(3000, n) for n in range(100)}

    receipt = ingest(registry, package_draft(files))

    assert len(objects_of_kind(home, ObjectKind.PACK)) == 4
    assert fetch(registry, receipt.package_id, tmp_path / "out") == files
    assert replay_is_exact(registry)


def test_a_package_may_be_empty(registry: Registry, tmp_path: Path) -> None:
    receipt = ingest(registry, package_draft({}))

    assert receipt.file_count == 0
    assert fetch(registry, receipt.package_id, tmp_path / "out") == {}
    assert verify_all(registry).damage == []


def test_retention_is_resolved_when_the_package_is_finalized(registry: Registry) -> None:
    at = Instant(1_800_000_000_000_000)
    frozen = replace(registry, clock=lambda: at)

    receipt = ingest(frozen, replace(package_draft(), retention_class=RetentionClass.TRANSIENT))

    package, _ = find_package(registry, receipt.package_id)
    assert (package.retention_class, package.duration_days) == ("transient", 7)
    assert package.expires_at == at + 7 * MICROSECONDS_PER_DAY


def test_an_expired_package_is_not_answered(registry: Registry) -> None:
    receipt = ingest(registry, package_draft())
    later = replace(registry, clock=lambda: Instant(registry.clock() + 400 * MICROSECONDS_PER_DAY))
    sweep(later)

    with pytest.raises(PackageExpiredError, match=receipt.package_id):
        ingest(registry, package_draft())

    again = ingest(registry, package_draft(), as_revision=True)
    assert (again.revision, again.reused_existing) == (2, False)


class TestValidation:
    def test_every_bad_path_is_named_at_once(self, registry: Registry) -> None:
        with pytest.raises(PathInvalidError) as caught:
            ingest(registry, package_draft({"../up": b"", "a\\b": b"", "fine": b"", "fine/below": b""}))

        assert [problem.where for problem in caught.value.problems] == ["'../up'", "'a\\\\b'", "'fine'"]
        assert event_types(registry) == []

    def test_an_unknown_schema_is_named(self, registry: Registry) -> None:
        with pytest.raises(MetadataSchemaUnknownError, match=r"nobody\.v1"):
            ingest(registry, replace(package_draft(metadata={}), schema="nobody.v1"))

    def test_every_violation_has_its_pointer_and_no_file_is_read(self, registry: Registry) -> None:
        class Unreadable:
            def open(self) -> OpenedFile:
                raise AssertionError("a file was read")

        register_schema(registry, "t.v1", {"required": ["a"], "properties": {"b": {"type": "integer"}}})
        draft = package_draft(metadata={"b": "x"})
        draft = replace(draft, schema="t.v1", files=(draft.files[0]._replace(source=Unreadable()),))

        with pytest.raises(MetadataInvalidError) as caught:
            ingest(registry, draft)

        assert [problem.where for problem in caught.value.problems] == ["", "/b"]

    def test_too_many_files_are_refused(self, registry: Registry) -> None:
        with pytest.raises(LimitExceededError):
            ingest(replace(registry, max_files=1), package_draft({"a": b"", "b": b""}))

    @pytest.mark.parametrize("producer", ["", "Upper", "a/b", "-a", "a" * 65, "é"])
    def test_a_producer_must_be_a_slug(self, registry: Registry, producer: str) -> None:
        with pytest.raises(PackageInvalidError):
            ingest(registry, replace(package_draft(), producer=producer))

    @pytest.mark.parametrize("external_id", ["", "a\nb", "e\u0301", "x" * 513])
    def test_an_external_id_must_be_printable_and_normal(self, registry: Registry, external_id: str) -> None:
        with pytest.raises(PackageInvalidError):
            ingest(registry, package_draft(external_id=external_id))

    def test_a_file_that_changes_while_it_is_read_leaves_nothing_recorded(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        folder = write_tree(tmp_path / "run", {"a": b"1", "b": some_bytes(2 * 2**20)})

        with directory_draft(folder) as draft:
            growing = next(file for file in draft.files if file.path == "b")

            class Growing:
                def open(self) -> OpenedFile:
                    opened = growing.source.open()
                    with (folder / "b").open("ab") as file:
                        file.write(b"more")
                    return opened

            files = tuple(file if file is not growing else file._replace(source=Growing()) for file in draft.files)
            with pytest.raises(FileChangedError, match="'b'"):
                ingest(registry, replace(draft, files=files))

        assert event_types(registry) == []


class TestHealing:
    """Damage is treated as absence: the same bytes are stored afresh."""

    @pytest.mark.parametrize("kind", [ObjectKind.BLOB, ObjectKind.PACK, ObjectKind.MANIFEST])
    def test_a_damaged_object_is_healed_by_the_same_run(
        self, registry: Registry, home: Path, tmp_path: Path, kind: ObjectKind
    ) -> None:
        receipt = ingest(registry, package_draft(FILES))
        flip_byte(objects_of_kind(home, kind)[0], 100)
        assert verify_all(registry).damage

        again = ingest(registry, package_draft(FILES))

        assert (again.package_id, again.reused_existing) == (receipt.package_id, True)
        assert verify_all(registry).damage == []
        assert fetch(registry, receipt.package_id, tmp_path / "out") == FILES
        assert replay_is_exact(registry)

    def test_a_missing_pack_is_stored_afresh(self, registry: Registry, home: Path) -> None:
        ingest(registry, package_draft(FILES))
        objects_of_kind(home, ObjectKind.PACK)[0].unlink()
        assert verify_all(registry).damage

        ingest(registry, package_draft(FILES))

        assert verify_all(registry).damage == []

    def test_another_run_with_the_same_bytes_heals_too(self, registry: Registry, home: Path) -> None:
        first = ingest(registry, package_draft({"a": b"shared", "b": b"own"}))
        flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 30 + 64)
        assert [damage.path for damage in verify_all(registry).damage] == ["a"]

        ingest(registry, package_draft({"other": b"shared"}, external_id="run-2"))

        assert fetch(registry, first.package_id, home / "out") == {"a": b"shared", "b": b"own"}

    def test_a_damaged_pack_whose_blobs_are_all_sound_elsewhere_is_passed_over(
        self, registry: Registry, home: Path
    ) -> None:
        ingest(registry, package_draft({"a": b"1", "b": b"2"}))
        flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 0)
        assert verify_all(registry).damage

        ingest(registry, package_draft({"a": b"1"}, external_id="run-2"))
        ingest(registry, package_draft({"b": b"2"}, external_id="run-3"))

        report = verify_all(registry)
        assert (report.damage, report.superseded) == ([], 1)

    def test_a_healing_that_dies_takes_nothing_from_others(
        self, registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        ingest(registry, package_draft({"a": b"1", "b": b"2"}))
        other = ingest(registry, package_draft({"b": b"2"}, external_id="run-2"))
        flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 30 + 64)
        verify_all(registry)
        failpoints.arm(fail_at("store.before-publish"))

        with pytest.raises(RuntimeError):
            ingest(registry, package_draft({"a": b"1", "b": b"2"}))

        failpoints.arm(None)
        assert fetch(registry, other.package_id, tmp_path / "out") == {"b": b"2"}

    def test_two_that_heal_at_once_leave_the_object_in_place(self, registry: Registry, home: Path) -> None:
        ingest(registry, package_draft({"a": b"1", "b": b"2"}))
        flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 30 + 64)
        verify_all(registry)
        with Lease(registry, "test") as one, Lease(registry, "test") as other:
            first = storing.store(registry, sorted_draft(), one, SILENT)
            storing.store(registry, sorted_draft(), other, SILENT)

        with registry.transaction() as tx:
            record(tx, registry, sorted_draft(), first, as_revision=False)

        assert [] == verify_all(registry).damage

    def test_damage_that_moves_within_a_pack_is_followed(self, registry: Registry, home: Path) -> None:
        ingest(registry, package_draft({"a": b"1", "b": b"2"}))
        pack = objects_of_kind(home, ObjectKind.PACK)[0]
        flip_byte(pack, 94)
        assert ["a"] == [damage.path for damage in verify_all(registry).damage]

        flip_byte(pack, 94)
        flip_byte(pack, 94 + 1 + 94)

        assert ["b"] == [damage.path for damage in verify_all(registry).damage]
        assert ["b"] == [damage.path for damage in verify_all(registry).damage]
        assert replay_is_exact(registry)


def sorted_draft() -> PackageDraft:
    return package_draft({"a": b"1", "b": b"2"})


def fail_at(step: str) -> Callable[[str], None]:
    def fail(name: str) -> None:
        if name == step:
            raise RuntimeError(step)

    return fail


class TestCondemnedObjects:
    """What collection has condemned counts as absent, also if it happens while an ingest relies on it."""

    def condemn(self, registry: Registry, home: Path, kind: ObjectKind = ObjectKind.PACK) -> None:
        for path in objects_of_kind(home, kind):
            key = key_at(home, path)
            reference = ObjectRef("default", kind, key.digest, path.stat().st_size)
            with registry.transaction() as tx:
                tx.record(ObjectCondemned(object=reference))

    def test_bytes_in_a_condemned_pack_are_stored_again(self, registry: Registry, home: Path) -> None:
        ingest(registry, package_draft({"a": b"1", "b": b"2"}))
        self.condemn(registry, home)

        receipt = ingest(registry, package_draft({"a": b"1"}, external_id="run-2"))

        assert receipt.stored_bytes > 0

    def test_condemning_between_store_and_record_makes_the_ingest_store_again(
        self, registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        ingest(registry, package_draft({"a": b"1", "b": b"2"}))
        stores = []
        original = storing.store

        def condemn_after_first(*arguments: object) -> storing.Stored:
            stored = original(*arguments)  # type: ignore[arg-type]
            stores.append(stored)
            if len(stores) == 1:
                self.condemn(registry, home)
            return stored

        monkeypatch.setattr("artifactstore.registry.ingest.store", condemn_after_first)
        receipt = ingest(registry, package_draft({"a": b"1"}, external_id="run-2"))

        assert [0, receipt.stored_bytes] == [stored.stored_bytes for stored in stores]
        assert receipt.stored_bytes > 0
        assert fetch(registry, receipt.package_id, tmp_path / "out") == {"a": b"1"}
        assert replay_is_exact(registry)

    def test_a_lease_is_open_while_bytes_are_stored_and_ends_with_the_record(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def leases() -> list[object]:
            with registry.catalog.snapshot() as queries:
                return list(queries.connection.execute("SELECT purpose, owner FROM lease"))

        seen: list[object] = []
        original = type(registry.store).stage
        monkeypatch.setattr(
            type(registry.store), "stage", lambda self, hasher: seen.extend(leases()) or original(self, hasher)
        )

        ingest(registry, package_draft())

        assert ("ingest", "local:tester") in seen
        assert leases() == []
