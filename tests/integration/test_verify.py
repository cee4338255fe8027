"""Verify finds planted damage, names exactly what it concerns, and never cries wolf."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.documents.storage import own_verification_document, verification_document
from artifactstore.errors import (
    BlobCorruptError,
    BlobMissingError,
    ConfigurationError,
    ManifestCorruptError,
    StorageDeniedError,
    StorageUnavailableError,
)
from artifactstore.registry.files import get_file, get_package
from artifactstore.registry.ingest import ingest
from artifactstore.registry.packages import read_manifest
from artifactstore.registry.verify import verify_all, verify_objects, verify_package
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.failing_backends import TwoBackends, two_backends
from tests.support import event_types, flip_byte, objects_of_kind, overwrite, replay_is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

HEADER = 30 + 64  # a local header and its name, before a blob's bytes
FILES = {"a.txt": b"A" * 1000, "b.txt": b"B" * 1000, "c.txt": b"C" * 1000, "large.bin": some_bytes(2 * 2**20)}


def cut(path: Path) -> None:
    overwrite(path, path.read_bytes()[: HEADER + 500])


def extend(path: Path) -> None:
    overwrite(path, path.read_bytes() + b"x")


def zero(path: Path) -> None:
    overwrite(path, bytes(path.stat().st_size))


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.move(path, copy)
    path.symlink_to(copy)


PACK_DAMAGE: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "a byte of one blob flipped": (lambda path: flip_byte(path, HEADER + 10), ["a.txt"]),
    "a byte of another blob flipped": (lambda path: flip_byte(path, 2 * HEADER + 1010), ["b.txt"]),
    "cut off within the first blob": (cut, ["a.txt", "b.txt", "c.txt"]),
    "emptied": (lambda path: overwrite(path, b""), ["a.txt", "b.txt", "c.txt"]),
    "zeroed": (zero, ["a.txt", "b.txt", "c.txt"]),
    "deleted": (lambda path: path.unlink(), ["a.txt", "b.txt", "c.txt"]),
    "replaced by a directory": (replace_by_directory, ["a.txt", "b.txt", "c.txt"]),
    "replaced by a link": (replace_by_link, ["a.txt", "b.txt", "c.txt"]),
}


@pytest.mark.parametrize("kind", PACK_DAMAGE)
@pytest.mark.parametrize("how", [verify_all, verify_objects, "package"])
def test_a_damaged_pack_names_its_files(
    registry: Registry, home: Path, kind: str, how: Callable[[Registry], object] | str
) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    damage, expected = PACK_DAMAGE[kind]
    damage(objects_of_kind(home, ObjectKind.PACK)[0])

    report = verify_package(registry, package_id) if how == "package" else how(registry)

    assert expected == [found.path for found in report.damage]
    assert {package_id} == {found.package_id for found in report.damage}
    assert all(found.expected_blake3 != found.found_blake3 for found in report.damage)
    assert all(found.expected_sha256 and found.expected_sha256 != found.found_sha256 for found in report.damage)


@pytest.mark.parametrize("offset", [0, 20, 40, -1, -30, -100])
def test_damaged_framing_is_found_although_every_blob_is_sound(registry: Registry, home: Path, offset: int) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    pack = objects_of_kind(home, ObjectKind.PACK)[0]
    flip_byte(pack, offset)

    report = verify_package(registry, package_id)

    assert [found.path for found in report.damage] == [None]
    assert pack.name.removesuffix(".zip") in report.damage[0].object_key


@pytest.mark.parametrize(
    "damage", [lambda path: flip_byte(path, 7), cut, extend, zero, lambda path: path.unlink()], ids=str
)
def test_a_damaged_large_blob_is_named(registry: Registry, home: Path, damage: Callable[[Path], None]) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    damage(objects_of_kind(home, ObjectKind.BLOB)[0])

    report = verify_package(registry, package_id)

    assert [found.path for found in report.damage] == ["large.bin"]


@pytest.mark.parametrize(
    "damage", [lambda path: flip_byte(path, 7), cut, extend, zero, lambda path: path.unlink()], ids=str
)
def test_a_damaged_manifest_is_named_with_its_package(
    registry: Registry, home: Path, damage: Callable[[Path], None]
) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    damage(objects_of_kind(home, ObjectKind.MANIFEST)[0])

    report = verify_package(registry, package_id)

    assert [package_id] == [found.package_id for found in report.damage]
    with pytest.raises(ManifestCorruptError):
        read_manifest(registry, package_id)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE package_file SET path = 'z.txt' WHERE path = 'c.txt'",
        "UPDATE package_file SET role = 'other' WHERE path = 'c.txt'",
        "UPDATE package SET subject = 'another'",
        "UPDATE blob SET sha256 = ? WHERE size_bytes = 1000",
        "UPDATE blob SET blake3 = ? WHERE size_bytes = 1000",
        "UPDATE blob SET size_bytes = size_bytes + 1",
    ],
)
def test_rows_that_were_changed_behind_our_back_disagree_with_the_manifest(registry: Registry, change: str) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    with registry.transaction() as tx:
        tx.connection.execute(change, [bytes(32)] * change.count("?"))

    report = verify_package(registry, package_id)

    assert "the catalog's rows disagree with the manifest" in {found.finding for found in report.damage}


def test_a_location_that_was_changed_behind_our_back_is_found(registry: Registry) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    with registry.transaction() as tx:
        tx.connection.execute("UPDATE blob_location SET start = start + 1 WHERE start > 0")

    assert verify_package(registry, package_id).damage


def test_a_sound_store_has_no_damage(registry: Registry) -> None:
    for number in range(5):
        ingest(registry, package_draft({f"{n}": some_bytes(50 * n, n) for n in range(20)}, external_id=f"{number}"))

    report = verify_all(registry)

    assert (report.damage, report.packages, report.files) == ([], 5, 100)


def test_damage_is_recorded_once_and_forgotten_when_the_bytes_are_back(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    pack = objects_of_kind(home, ObjectKind.PACK)[0]
    sound = pack.read_bytes()
    flip_byte(pack, HEADER)
    verify_all(registry)
    verify_all(registry)
    assert event_types(registry)[4:] == ["v1.blob.damaged", "v1.object.damaged"]

    overwrite(pack, sound)
    report = verify_all(registry)

    assert report.damage == []
    assert event_types(registry)[6:] == ["v1.blob.restored", "v1.object.restored"]
    assert replay_is_exact(registry)


def test_a_package_that_is_sound_restores_nothing_that_others_have_in_the_same_pack(
    registry: Registry, home: Path
) -> None:
    ingest(registry, package_draft(FILES, external_id="all"))
    sound = ingest(registry, package_draft({"a.txt": FILES["a.txt"]}, external_id="one")).package_id
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], 2 * HEADER + 1010)
    verify_all(registry)
    before = event_types(registry)

    report = verify_package(registry, sound)

    assert ["b.txt"] == [found.path for found in report.damage]
    assert before == event_types(registry)


def test_damaged_bytes_are_never_handed_out(registry: Registry, home: Path, tmp_path: Path) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    flip_byte(objects_of_kind(home, ObjectKind.PACK)[0], HEADER)
    flip_byte(objects_of_kind(home, ObjectKind.BLOB)[0], 1_500_000)

    with pytest.raises(BlobCorruptError, match=r"'a\.txt'"):
        get_file(registry, package_id, "a.txt", tmp_path / "a.txt")
    with pytest.raises(BlobCorruptError, match=r"'large\.bin'"):
        get_file(registry, package_id, "large.bin", tmp_path / "large.bin")
    with pytest.raises(BlobCorruptError):
        get_package(registry, package_id, tmp_path / "all")

    assert get_file(registry, package_id, "b.txt", tmp_path / "b.txt") == 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", "home"]


def test_missing_bytes_are_corruption_and_not_a_missing_file(registry: Registry, home: Path, tmp_path: Path) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    for kind in (ObjectKind.PACK, ObjectKind.BLOB):
        objects_of_kind(home, kind)[0].unlink()

    for path in FILES:
        with pytest.raises(BlobMissingError, match=path):
            get_file(registry, package_id, path, tmp_path / "out")


def test_a_backend_that_does_not_answer_has_damaged_nothing(registry: Registry) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    faulty = FaultyStore(registry.store)
    faulty.fail(Operation.OPEN, StorageUnavailableError("no answer"))
    broken = replace(registry, backends={"default": faulty})

    with pytest.raises(StorageUnavailableError):
        verify_package(broken, package_id)

    assert len(event_types(registry)) == 4


def test_storage_verify_names_a_damaged_manifest_every_time(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    flip_byte(objects_of_kind(home, ObjectKind.MANIFEST)[0], 7)

    assert 1 == len(verify_objects(registry).damage)
    assert 1 == len(verify_objects(registry).damage)


def test_storage_that_is_not_mounted_has_damaged_nothing(registry: Registry, home: Path) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    (home / "objects").rename(home / "unmounted")

    with pytest.raises(StorageUnavailableError, match="holds no object at all"):
        verify_package(registry, package_id)

    assert 4 == len(event_types(registry))
    (home / "unmounted").rename(home / "objects")
    assert [] == verify_package(registry, package_id).damage


# several backends, one of which gives no answer


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> Iterator[TwoBackends]:
    yield from two_backends(registry, tmp_path / "backends")


def unmounted(two: TwoBackends) -> None:
    (two.root / "first").rename(two.root / "away")


def unavailable(two: TwoBackends) -> None:
    two.first.fail(Operation.OPEN, StorageUnavailableError("no answer"), times=1_000)


def denied(two: TwoBackends) -> None:
    two.first.fail(Operation.OPEN, StorageDeniedError("the key has expired"), times=1_000)


def not_configured(two: TwoBackends) -> None:
    two.registry = replace(two.registry, backends={"second": two.second}, default_backend="second")


OUTAGES = {
    unmounted: "STORAGE_UNAVAILABLE",
    unavailable: "STORAGE_UNAVAILABLE",
    denied: "STORAGE_DENIED",
    not_configured: "CONFIGURATION_INVALID",
}


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("how", [verify_all, verify_objects, "package"])
def test_a_backend_that_gives_no_answer_is_named_and_the_others_are_read(
    two: TwoBackends, outage: Callable[[TwoBackends], None], how: Callable[[Registry], object] | str
) -> None:
    package_id = ingest(two.registry, package_draft(FILES)).package_id
    two.copy_everything()
    flip_byte(two.path_of(two.objects("second", ObjectKind.BLOB)[0]), 1_000_000)
    outage(two)

    report = verify_package(two.registry, package_id) if how == "package" else how(two.registry)

    assert [("second", "large.bin")] == [(damage.backend, damage.path) for damage in report.damage]  # type: ignore[attr-defined]
    document = verification_document(report)  # type: ignore[arg-type]
    assert ("damaged", 3) == (document["status"], document["objects"])
    assert [("first", OUTAGES[outage])] == [(each["backend"], each["code"]) for each in document["unreachable"]]  # type: ignore[union-attr, call-overload, index]
    assert ["v1.blob.damaged", "v1.object.damaged"] == event_types(two.registry)[-2:]


def test_without_damage_a_verification_that_passed_a_backend_over_is_incomplete(two: TwoBackends) -> None:
    ingest(two.registry, package_draft(FILES))
    two.copy_everything()
    denied(two)

    report = verify_all(two.registry)

    told = [{"backend": "first", "code": "STORAGE_DENIED", "message": "the key has expired"}]
    document, own = verification_document(report), own_verification_document(report, [])
    assert ("incomplete", told) == (document["status"], document["unreachable"])
    assert ("incomplete", [{**told[0], "message": None}]) == (own["status"], own["unreachable"])


def test_a_backend_that_gave_no_answer_is_not_asked_again(two: TwoBackends) -> None:
    ingest(two.registry, package_draft(FILES))
    two.copy_everything()
    unavailable(two)
    before = two.first.calls[Operation.OPEN]

    verify_all(two.registry)

    assert 1 == two.first.calls[Operation.OPEN] - before


@pytest.mark.parametrize("outage", OUTAGES)
def test_if_no_backend_that_has_anything_answers_that_is_the_error(
    two: TwoBackends, outage: Callable[[TwoBackends], None]
) -> None:
    package_id = ingest(two.registry, package_draft(FILES)).package_id
    before = event_types(two.registry)
    outage(two)
    errors = (StorageUnavailableError, StorageDeniedError, ConfigurationError)

    for verify in (verify_all, verify_objects, lambda registry: verify_package(registry, package_id)):
        with pytest.raises(errors) as refused:
            verify(two.registry)
        assert OUTAGES[outage] == refused.value.code

    assert before == event_types(two.registry)
