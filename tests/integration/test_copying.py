"""Copying from one backend to another: what is there, what is damaged, what can be saved."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import backends
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.object_events import BlobDamaged, ObjectCondemned
from artifactstore.errors import BackendUnknownError, PackageUnknownError, StorageUnavailableError, UsageError
from artifactstore.failpoints import arm
from artifactstore.registry.copying import RowIds, copy_backend
from artifactstore.registry.ingest import ingest
from artifactstore.registry.verify import verify_all, verify_objects
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import event_types, fetch, flip_byte, overwrite, replay_is_exact
from tests.two_backends import ARCHIVE, DISK, keys_in, paths_of, recorded_in, settings_from, two_directories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

SMALL = {f"small-{n}": some_bytes(500 + n, n) for n in range(20)}
FILES = {**SMALL, "large.bin": some_bytes(2 * 2**20, 99), "empty": b""}


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """A store with two backends; its tables are what its log says when the test is over."""
    with closing(open_registry(settings_from({**two_directories(home), **database}), actor="local:tester")) as opened:
        yield opened
        replay_is_exact(opened)


def push(registry: Registry, files: dict[str, bytes] = FILES, name: str = "run-1") -> str:
    return ingest(registry, package_draft(files, external_id=name)).package_id


def test_every_object_is_copied_and_recorded(registry: Registry, tmp_path: Path) -> None:
    package_id = push(registry)

    report = copy_backend(registry, DISK, ARCHIVE)

    assert (3, 0, [], []) == (report.objects, report.already_there, report.damage, report.lost)
    assert keys_in(registry, DISK) == keys_in(registry, ARCHIVE)
    assert 3 == recorded_in(registry, ARCHIVE) == event_types(registry).count("v1.object.copied")
    assert report.bytes_copied == sum(
        path.stat().st_size for kind in ObjectKind for path in paths_of(tmp_path / "home", ARCHIVE, kind)
    )
    assert [] == verify_all(registry).damage
    assert FILES == fetch(registry, package_id, tmp_path / "out")


def test_what_was_copied_is_read_when_the_source_is_gone(registry: Registry, home: Path, tmp_path: Path) -> None:
    package_id = push(registry)

    copy_backend(registry, DISK, ARCHIVE)
    (home / DISK).rename(home / "gone")

    assert FILES == fetch(registry, package_id, tmp_path / "out")


def test_a_second_copy_does_only_what_is_left(registry: Registry) -> None:
    push(registry)
    copy_backend(registry, DISK, ARCHIVE)
    push(registry, {"more": b"more"}, "run-2")

    report = copy_backend(registry, DISK, ARCHIVE)
    again = copy_backend(registry, DISK, ARCHIVE)

    assert (2, 3) == (report.objects, report.already_there)
    assert (0, 0, 5) == (again.objects, again.bytes_copied, again.already_there)


def test_copying_one_package_copies_what_it_needs(registry: Registry, home: Path, tmp_path: Path) -> None:
    push(registry)
    package_id = push(registry, {"more": b"more", "small-3": SMALL["small-3"]}, "run-2")

    report = copy_backend(registry, DISK, ARCHIVE, package_id=package_id)
    (home / DISK).rename(home / "gone")

    assert (3, 3) == (report.objects, len(keys_in(registry, ARCHIVE)))  # its manifest, its pack, the pack it shares
    assert {"more": b"more", "small-3": SMALL["small-3"]} == fetch(registry, package_id, tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "target", "package_id", "error"),
    [
        (DISK, "nowhere", None, BackendUnknownError),
        ("nowhere", DISK, None, BackendUnknownError),
        (DISK, DISK, None, UsageError),
        (DISK, ARCHIVE, "nope", PackageUnknownError),
    ],
)
def test_what_cannot_be_meant_is_refused(
    registry: Registry, source: str, target: str, package_id: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        copy_backend(registry, source, target, package_id=package_id)


def test_nothing_is_copied_into_a_backend_that_is_being_emptied(registry: Registry) -> None:
    push(registry)
    with registry.transaction() as tx:
        backends.succeed(tx.connection, ARCHIVE, DISK, registry.clock())

    with pytest.raises(UsageError, match="emptied, into 'disk'"):
        copy_backend(registry, DISK, ARCHIVE)

    assert set() == keys_in(registry, ARCHIVE)


class TestWhatIsInTheTarget:
    """Found there already, recorded or not, sound or not."""

    def test_a_damaged_copy_is_replaced(self, registry: Registry, home: Path) -> None:
        push(registry)
        copy_backend(registry, DISK, ARCHIVE)
        flip_byte(paths_of(home, ARCHIVE, ObjectKind.PACK)[0], 100)
        assert [] != verify_objects(registry).damage

        report = copy_backend(registry, DISK, ARCHIVE)

        assert (1, 2) == (report.objects, report.already_there)
        assert [] == verify_all(registry).damage

    def test_a_copy_of_which_one_blob_is_damaged_is_replaced(self, registry: Registry) -> None:
        push(registry)
        copy_backend(registry, DISK, ARCHIVE)
        with registry.catalog.snapshot() as queries:
            found = [
                each for each in queries.objects(after=0, limit=10) if (each.backend, each.kind) == (ARCHIVE, "pack")
            ]
            blob = next(iter(queries.blobs_in_object(found[0].row_id)))
        reference = ObjectRef(ARCHIVE, "pack", found[0].blake3, found[0].size_bytes)
        with registry.transaction() as tx:
            tx.record(BlobDamaged(object=reference, blobs=(blob.blake3,), finding="stored bytes were altered"))

        report = copy_backend(registry, DISK, ARCHIVE)

        assert (1, 2) == (report.objects, report.already_there)
        with registry.catalog.snapshot() as queries:
            assert not queries.has_losses()

    def test_an_object_that_nobody_recorded_is_believed_after_it_was_read(self, registry: Registry, home: Path) -> None:
        push(registry)
        copy_by_hand(home)

        report = copy_backend(registry, DISK, ARCHIVE)

        assert (3, 0) == (report.objects, report.bytes_copied)
        assert [] == verify_all(registry).damage

    def test_a_bad_object_that_nobody_recorded_is_replaced(self, registry: Registry, home: Path) -> None:
        push(registry)
        copy_by_hand(home)
        for kind in (ObjectKind.BLOB, ObjectKind.PACK, ObjectKind.MANIFEST):
            flip_byte(paths_of(home, ARCHIVE, kind)[0], 50)

        report = copy_backend(registry, DISK, ARCHIVE)

        assert 3 == report.objects
        assert [] == verify_all(registry).damage


def copy_by_hand(home: Path) -> None:
    """The bytes without the record, as a copy leaves them that was killed before it could record them."""
    for kind in (ObjectKind.BLOB, ObjectKind.PACK, ObjectKind.MANIFEST):
        for path in paths_of(home, DISK, kind):
            target = home / ARCHIVE / path.relative_to(home / DISK)
            target.parent.mkdir(parents=True)
            target.write_bytes(path.read_bytes())


class TestDamageInTheSource:
    """It is recorded, named, and stops nothing; what is sound is saved."""

    def test_a_bad_large_file_is_named_and_the_rest_is_copied(self, registry: Registry, home: Path) -> None:
        package_id = push(registry)
        flip_byte(paths_of(home, DISK, ObjectKind.BLOB)[0], 2**20)

        report = copy_backend(registry, DISK, ARCHIVE)

        assert [(package_id, "large.bin")] == [(damage.package_id, damage.path) for damage in report.damage]
        assert [(package_id, "large.bin")] == [(damage.package_id, damage.path) for damage in report.lost]
        assert 2 == report.objects == recorded_in(registry, ARCHIVE)
        assert 1 == event_types(registry).count("v1.blob.damaged") == event_types(registry).count("v1.object.damaged")

    def test_the_sound_blobs_of_a_bad_pack_are_saved(self, registry: Registry, home: Path, tmp_path: Path) -> None:
        package_id = push(registry)
        pack = paths_of(home, DISK, ObjectKind.PACK)[0]
        flip_byte(pack, pack.read_bytes().index(SMALL["small-7"]) + 10)

        report = copy_backend(registry, DISK, ARCHIVE)

        assert [(package_id, "small-7")] == [(lost.package_id, lost.path) for lost in report.lost]
        assert len(FILES) - 2 == report.blobs_saved  # all but the bad one and the large one
        healed = push(registry)
        assert healed == package_id
        assert FILES == fetch(registry, package_id, tmp_path / "out")

    def test_saving_is_not_done_twice(self, registry: Registry, home: Path) -> None:
        push(registry)
        pack = paths_of(home, DISK, ObjectKind.PACK)[0]
        flip_byte(pack, pack.read_bytes().index(SMALL["small-7"]) + 10)
        copy_backend(registry, DISK, ARCHIVE)
        before = keys_in(registry, ARCHIVE)

        again = copy_backend(registry, DISK, ARCHIVE)

        assert (0, [], 1) == (again.blobs_saved, again.damage, len(again.lost))
        assert before == keys_in(registry, ARCHIVE)

    def test_of_a_pack_that_is_cut_off_the_first_blobs_are_saved(self, registry: Registry, home: Path) -> None:
        push(registry)
        pack = paths_of(home, DISK, ObjectKind.PACK)[0]
        data = pack.read_bytes()
        overwrite(pack, data[: len(data) // 2])

        report = copy_backend(registry, DISK, ARCHIVE)

        assert 0 < report.blobs_saved < 20
        assert 21 == report.blobs_saved + len(report.lost)

    def test_a_missing_object_is_damage(self, registry: Registry, home: Path) -> None:
        push(registry)
        paths_of(home, DISK, ObjectKind.MANIFEST)[0].unlink()

        report = copy_backend(registry, DISK, ARCHIVE)

        assert ["the object is missing"] == [damage.finding for damage in report.damage]
        assert 2 == report.objects

    def test_a_source_that_is_not_mounted_is_no_damage(self, registry: Registry, home: Path) -> None:
        push(registry)
        (home / DISK).rename(home / "elsewhere")

        with pytest.raises(StorageUnavailableError, match="no object at all"):
            copy_backend(registry, DISK, ARCHIVE)

        assert "v1.object.damaged" not in event_types(registry)

    def test_what_the_target_has_is_not_lost(self, registry: Registry, home: Path) -> None:
        push(registry)
        copy_backend(registry, DISK, ARCHIVE)
        flip_byte(paths_of(home, DISK, ObjectKind.PACK)[0], 100)
        assert [] != verify_objects(registry).damage

        report = copy_backend(registry, DISK, ARCHIVE)

        assert ([], []) == (report.damage, report.lost)


def test_an_object_that_is_condemned_meanwhile_is_not_recorded(registry: Registry) -> None:
    push(registry)
    with registry.catalog.snapshot() as queries:
        (blob,) = [found for found in queries.objects(after=0, limit=10) if found.kind == "blob"]

    def condemn(name: str) -> None:
        if name == "copy.before-record":
            arm(None)
            with registry.transaction() as tx:
                tx.record(ObjectCondemned(object=ObjectRef(DISK, blob.kind, blob.blake3, blob.size_bytes)))

    arm(condemn)
    try:
        report = copy_backend(registry, DISK, ARCHIVE)
    finally:
        arm(None)

    assert 2 == report.objects == recorded_in(registry, ARCHIVE)


def test_row_ids_are_a_set() -> None:
    ids = RowIds()

    for number in (0, 7, 8, 1000):
        ids.add(number)

    assert [0, 7, 8, 1000] == [number for number in range(2000) if number in ids]
