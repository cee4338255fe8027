"""Heal brings back whatever some source still has, refuses what does not match, and says what is lost."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore import failpoints
from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.errors import (
    BlobCorruptError,
    BlobMissingError,
    FileUnreadableError,
    PackageUnknownError,
    StorageUnavailableError,
)
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.copying import copy_backend
from artifactstore.registry.files import get_file
from artifactstore.registry.healing import HealReport, heal_all, heal_package
from artifactstore.registry.ingest import ingest
from artifactstore.registry.planning import make_plan
from artifactstore.registry.reconciling import reconcile
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from artifactstore.testing.faults import FaultyStore, Operation
from tests.integration.test_verify import cut, extend, replace_by_directory, replace_by_link, zero
from tests.retention import expire, push
from tests.support import directory_draft, event_types, fetch, flip_byte, overwrite, replay_is_exact, write_tree
from tests.two_backends import ARCHIVE, DISK, paths_of, two_directories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

FILES = {"a.txt": b"A" * 1000, "b.txt": b"B" * 1000, "empty": b"", "large.bin": some_bytes(2 * 2**20)}
KINDS = [ObjectKind.PACK, ObjectKind.BLOB, ObjectKind.MANIFEST]
DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte flipped": lambda path: flip_byte(path, path.stat().st_size // 2),
    "the first byte flipped": lambda path: flip_byte(path, 0),
    "cut off": cut,
    "extended": extend,
    "zeroed": zero,
    "emptied": lambda path: overwrite(path, b""),
    "deleted": lambda path: path.unlink(),
    "replaced by a directory": replace_by_directory,
    "replaced by a link": replace_by_link,
}


@pytest.fixture
def stored(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    settings = Settings.from_environment({**two_directories(home), **database})
    with closing(open_registry(settings, actor="local:tester")) as registry:
        yield registry


def is_whole(registry: Registry, package_id: str, files: dict[str, bytes], folder: Path) -> bool:
    """Whether every byte is back, nothing is recorded as damaged, nothing differs, and the log says all of it."""
    replay_is_exact(registry)
    report = verify_all(registry)
    with registry.catalog.snapshot() as queries:
        package = queries.package(package_id)
        assert package is not None
        whole = queries.package_is_whole(package)
    return whole and not report.damage and fetch(registry, package_id, folder) == files


def unreadable(registry: Registry, package_id: str, folder: Path) -> list[str]:
    """The files of a package that cannot be had."""
    lost = []
    for path in FILES:
        try:
            get_file(registry, package_id, path, folder / f"read {path}")
        except (BlobCorruptError, BlobMissingError):
            lost.append(path)
    return lost


def leases(registry: Registry) -> int:
    with registry.catalog.snapshot() as queries:
        ((count,),) = queries.connection.execute("SELECT count(*) FROM lease")
    return int(count)


def quarantined(home: Path, backend: str = DISK) -> int:
    return len(list((home / backend / "quarantine").glob("*")))


def test_a_sound_package_is_left_alone(stored: Registry, home: Path) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    before = event_types(stored)

    report = heal_package(stored, package_id)

    assert HealReport() == report
    assert before == event_types(stored)
    assert 0 == quarantined(home)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_healed_from_another_backend(
    stored: Registry, home: Path, tmp_path: Path, kind: ObjectKind, damage: str
) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    copy_backend(stored, DISK, ARCHIVE)
    (path,) = paths_of(home, DISK, kind)
    sound = path.read_bytes()
    DAMAGE[damage](path)

    report = heal_package(stored, package_id)

    assert (1, [], []) == (report.objects, report.not_healed, report.refused)
    assert path.read_bytes() == sound
    assert is_whole(stored, package_id, FILES, tmp_path / "back")
    assert (damage != "deleted") == (quarantined(home) > 0)
    assert reconcile(stored, backend=ARCHIVE, limit=1).is_clean
    assert 0 == leases(stored)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_healed_from_a_directory_and_a_manifest_from_the_rows(
    stored: Registry, home: Path, tmp_path: Path, kind: ObjectKind, damage: str
) -> None:
    folder = write_tree(tmp_path / "run", FILES)
    with directory_draft(folder) as draft:
        package_id = ingest(stored, draft).package_id
    (path,) = paths_of(home, DISK, kind)
    sound = path.read_bytes()
    DAMAGE[damage](path)

    report = heal_package(stored, package_id, folder=folder)

    assert (1, [], []) == (report.objects, report.not_healed, report.refused)
    assert path.read_bytes() == sound
    assert is_whole(stored, package_id, FILES, tmp_path / "back")
    assert 0 == leases(stored)


def test_everything_that_is_recorded_as_damaged_is_healed(stored: Registry, home: Path, tmp_path: Path) -> None:
    packages = [{"n": bytes([number]) * 10, "large": some_bytes(2**20 + number)} for number in range(5)]
    ids = [ingest(stored, package_draft(files, external_id=files["n"].hex())).package_id for files in packages]
    copy_backend(stored, DISK, ARCHIVE)
    for kind in KINDS:
        for path in paths_of(home, DISK, kind):
            zero(path)
    found = verify_all(stored)

    report = heal_all(stored)

    assert found.damage
    assert (15, []) == (report.objects, report.not_healed)
    for package_id, files in zip(ids, packages, strict=True):
        assert is_whole(stored, package_id, files, tmp_path / package_id)


def test_what_no_source_has_is_named_and_what_is_sound_beside_it_is_kept(
    stored: Registry, home: Path, tmp_path: Path
) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    (pack,) = paths_of(home, DISK, ObjectKind.PACK)
    flip_byte(pack, pack.read_bytes().index(b"A" * 10))

    report = heal_package(stored, package_id)

    assert [(package_id, "a.txt")] == [(each.package_id, each.path) for each in report.not_healed]
    assert 2 == report.blobs, "the sound ones of a damaged pack count again, in a new one"
    assert not report.is_whole
    assert ["a.txt"] == [each.path for each in verify_all(stored).damage]
    replay_is_exact(stored)
    assert 0 == leases(stored)


def test_what_was_partly_healed_is_not_stored_again_by_the_next(stored: Registry, home: Path) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    (pack,) = paths_of(home, DISK, ObjectKind.PACK)
    flip_byte(pack, pack.read_bytes().index(b"A" * 10))
    heal_package(stored, package_id)
    before = paths_of(home, DISK, ObjectKind.PACK)

    again = heal_package(stored, package_id)

    assert (0, 0, 1) == (again.objects, again.blobs, len(again.not_healed))
    assert before == paths_of(home, DISK, ObjectKind.PACK)


def test_what_was_partly_healed_is_whole_when_the_rest_is_brought(stored: Registry, home: Path, tmp_path: Path) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    (pack,) = paths_of(home, DISK, ObjectKind.PACK)
    flip_byte(pack, pack.read_bytes().index(b"A" * 10))
    heal_package(stored, package_id)

    report = heal_package(stored, package_id, folder=write_tree(tmp_path / "run", {"a.txt": FILES["a.txt"]}))

    assert report.is_whole
    assert is_whole(stored, package_id, FILES, tmp_path / "back")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (lambda path: path.unlink(), "there is none"),
    "shorter": (lambda path: path.write_bytes(b"A" * 999), "999 bytes, not 1000"),
    "as long, with another byte": (lambda path: path.write_bytes(b"B" + b"A" * 999), "it is blake3:"),
    "a directory": (replace_by_directory, "not a regular file"),
    "a link out of the directory": (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "absolute"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_file_that_does_not_match_is_refused_and_named_and_the_others_are_taken(
    stored: Registry, home: Path, tmp_path: Path, how: str
) -> None:
    folder = write_tree(tmp_path / "run", FILES)
    package_id = ingest(stored, package_draft(FILES)).package_id
    for kind in (ObjectKind.PACK, ObjectKind.BLOB):
        paths_of(home, DISK, kind)[0].unlink()
    change, why = REFUSED[how]
    change(folder / "a.txt")

    report = heal_package(stored, package_id, folder=folder)

    assert ["a.txt"] == [each.path for each in report.refused]
    assert why in report.refused[0].why
    assert ["a.txt"] == [each.path for each in report.not_healed]
    assert ["a.txt"] == unreadable(stored, package_id, tmp_path)


def test_a_file_whose_sha256_is_not_the_recorded_one_is_refused(stored: Registry, home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", FILES)
    package_id = ingest(stored, package_draft(FILES)).package_id
    paths_of(home, DISK, ObjectKind.BLOB)[0].unlink()
    with stored.transaction() as tx:
        tx.connection.execute("UPDATE blob SET sha256 = ? WHERE size_bytes > 1000000", (bytes(32),))

    report = heal_package(stored, package_id, folder=folder)

    assert ["large.bin"] == [each.path for each in report.refused]
    assert "sha256" in report.refused[0].why
    assert ["large.bin"] == [each.path for each in report.not_healed]


def test_a_copy_whose_sha256_is_not_the_recorded_one_heals_nothing(stored: Registry, home: Path) -> None:
    ingest(stored, package_draft(FILES))
    copy_backend(stored, DISK, ARCHIVE)
    paths_of(home, DISK, ObjectKind.BLOB)[0].unlink()
    verify_all(stored)
    with stored.transaction() as tx:
        tx.connection.execute("UPDATE blob SET sha256 = ? WHERE size_bytes > 1000000", (bytes(32),))

    report = heal_all(stored)

    assert ["large.bin"] == [each.path for each in report.not_healed]
    assert [] == paths_of(home, DISK, ObjectKind.BLOB)


def test_a_file_at_another_path_is_not_looked_for(stored: Registry, home: Path, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "run", {"elsewhere/a.txt": FILES["a.txt"], "b.txt": FILES["b.txt"]})
    package_id = ingest(stored, package_draft(FILES)).package_id
    paths_of(home, DISK, ObjectKind.PACK)[0].unlink()

    report = heal_package(stored, package_id, folder=folder)

    assert ["a.txt"] == [each.path for each in report.refused]


def test_one_blob_that_another_pack_has_is_taken_from_there(stored: Registry, home: Path, tmp_path: Path) -> None:
    """The same bytes may lie in two packs of one backend."""
    package_id = ingest(stored, package_draft(FILES)).package_id
    (pack,) = paths_of(home, DISK, ObjectKind.PACK)
    sound = pack.read_bytes()
    zero(pack)
    verify_all(stored)
    ingest(stored, package_draft({**FILES, "more": b"more"}, external_id="run-2"))
    overwrite(pack, bytes(len(sound)))

    report = heal_package(stored, package_id)

    assert report.is_whole
    assert is_whole(stored, package_id, FILES, tmp_path / "back")


def test_a_pack_that_the_rows_do_not_give_any_more_is_replaced_by_one_of_what_they_do(
    stored: Registry, home: Path, tmp_path: Path
) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    with stored.transaction() as tx:
        tx.connection.execute("UPDATE blob_location SET start = 5000 WHERE start = 94")
    (pack,) = paths_of(home, DISK, ObjectKind.PACK)
    pack.unlink()

    report = heal_package(stored, package_id, folder=write_tree(tmp_path / "run", FILES))

    assert (0, 3, True) == (report.objects, report.blobs, report.is_whole)
    assert FILES == fetch(stored, package_id, tmp_path / "back")


def test_an_object_that_is_sound_after_all_counts_again(stored: Registry, home: Path, tmp_path: Path) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    (pack,) = paths_of(home, DISK, ObjectKind.PACK)
    sound = pack.read_bytes()
    zero(pack)
    verify_all(stored)
    overwrite(pack, sound)

    report = heal_all(stored)

    assert (1, 1, 0) == (report.objects, report.found_sound, report.bytes_stored)
    assert is_whole(stored, package_id, FILES, tmp_path / "back")


def test_a_blob_that_no_object_is_recorded_to_have_is_stored_from_the_directory(
    stored: Registry, tmp_path: Path
) -> None:
    folder = write_tree(tmp_path / "run", FILES)
    package_id = ingest(stored, package_draft(FILES)).package_id
    with stored.transaction() as tx:
        tx.connection.execute("DELETE FROM blob_location")

    report = heal_package(stored, package_id, folder=folder)

    assert report.is_whole
    assert FILES == fetch(stored, package_id, tmp_path / "back")


def test_what_reads_otherwise_than_it_was_stored_is_not_recorded_as_healed(
    stored: Registry, home: Path, tmp_path: Path
) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    copy_backend(stored, DISK, ARCHIVE)
    paths_of(home, DISK, ObjectKind.BLOB)[0].unlink()
    verify_all(stored)
    disk = FaultyStore(stored.backend(DISK))
    disk.flip_byte(100)

    with pytest.raises(BlobCorruptError, match="reads otherwise"):
        heal_all(replace(stored, backends={DISK: disk, ARCHIVE: stored.backend(ARCHIVE)}))
    assert "v1.object.restored" not in event_types(stored)

    assert heal_all(stored).is_whole
    assert is_whole(stored, package_id, FILES, tmp_path / "out")


def test_a_backend_that_gives_no_answer_has_lost_nothing(stored: Registry, home: Path) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    paths_of(home, DISK, ObjectKind.BLOB)[0].unlink()
    verify_all(stored)
    store = FaultyStore(stored.backends[DISK])
    stored.backends._open[DISK] = store  # type: ignore[attr-defined]
    store.fail(Operation.STAGE, StorageUnavailableError("no answer"), times=99)
    store.fail(Operation.OPEN, StorageUnavailableError("no answer"), times=99)

    report = heal_all(stored)

    assert not report.is_whole
    assert all("want of an answer" in each.finding for each in report.not_healed)
    assert package_id in {each.package_id for each in report.not_healed}


def test_the_manifest_of_a_deleted_package_does_not_keep_others_from_being_healed(stored: Registry, home: Path) -> None:
    """It waits for collection, and nobody needs it."""
    push(stored, {"a": b"a"}, "gone")
    ingest(stored, package_draft(FILES))
    expire(stored)
    for manifest in paths_of(home, DISK, ObjectKind.MANIFEST):
        flip_byte(manifest, 5)
    verify_all(stored)
    apply_plan(stored, make_plan(stored).digest)

    report = heal_all(stored)

    assert ([], 1, 1) == (report.not_healed, report.superseded, report.objects)
    replay_is_exact(stored)


def test_a_package_that_there_is_not_and_a_directory_that_is_none_are_refused(stored: Registry, tmp_path: Path) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id

    with pytest.raises(PackageUnknownError):
        heal_package(stored, "nope")
    with pytest.raises(FileUnreadableError):
        heal_package(stored, package_id, folder=tmp_path / "nowhere")


STEPS = [
    "heal.before-publish", "storage.before-link", "storage.before-directory-sync", "heal.before-record",
    "catalog.before-commit", "heal.after-record",
]  # fmt: skip


class StoppedError(Exception):
    """Here the process would have ended."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", STEPS)
def test_stopped_at_any_step_the_next_heals(
    stored: Registry, home: Path, tmp_path: Path, kind: ObjectKind, step: str
) -> None:
    package_id = ingest(stored, package_draft(FILES)).package_id
    copy_backend(stored, DISK, ARCHIVE)
    (path,) = paths_of(home, DISK, kind)
    zero(path)
    verify_all(stored)

    def stop(name: str) -> None:
        if name == step:
            raise StoppedError

    failpoints.arm(stop)
    try:
        with pytest.raises(StoppedError):
            heal_all(stored)
    finally:
        failpoints.arm(None)
    replay_is_exact(stored)
    report = heal_all(stored)

    assert report.is_whole
    assert is_whole(stored, package_id, FILES, tmp_path / "back")
