"""A backup brings back a store on an empty machine, to the byte and to the row; what is bad in it is named."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import backends, subscriptions
from artifactstore.domain.backup import Snapshot, inventory_from
from artifactstore.domain.canonical import encode
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.errors import (
    BackupDamagedError,
    BackupUnknownError,
    ConfigurationError,
    DatabaseVersionError,
    EventLogCorruptError,
    StorageFullError,
    StoreNotEmptyError,
    UsageError,
)
from artifactstore.failpoints import arm
from artifactstore.registry.backing_up import backup
from artifactstore.registry.collecting import collect
from artifactstore.registry.copying import copy_backend
from artifactstore.registry.duties import run_due
from artifactstore.registry.emptying import migrate
from artifactstore.registry.healing import heal_all
from artifactstore.registry.ingest import ingest
from artifactstore.registry.open_packages import open_package
from artifactstore.registry.reconciling import reconcile
from artifactstore.registry.restoring import restore
from artifactstore.registry.scrubbing import pause_scrub, scrub_status
from artifactstore.registry.sealing import seal_log
from artifactstore.registry.snapshots import list_snapshots, put_part, read_part
from artifactstore.registry.store_duties import VERIFY
from artifactstore.registry.tokens import authenticate, create_token
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from artifactstore.testing.faults import FaultyStore
from tests.backups import FILES, a_life, another, directory, is_sound, keys_in, log_of, rows_of
from tests.retention import delete_all_expired, push, without_grace
from tests.support import fetch, flip_byte, objects_of_kind, replay_is_exact
from tests.two_backends import ARCHIVE, DISK, paths_of, settings_from, two_directories

if TYPE_CHECKING:
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectStore
    from tests.postgres_server import PostgresServer


@pytest.fixture
def target(tmp_path: Path) -> ObjectStore:
    return directory(tmp_path / "backup")


def in_target(tmp_path: Path, kind: ObjectKind) -> list[Path]:
    return sorted(path for path in (tmp_path / "backup" / f"{kind}s").rglob("*") if path.is_file())


def test_a_restored_store_is_the_same_row_by_row_and_byte_by_byte(
    registry: Registry, target: ObjectStore, tmp_path: Path
) -> None:
    stored = a_life(registry)
    before, events = rows_of(registry), log_of(registry)

    made = backup(registry, target)

    with another(tmp_path / "new") as restored:
        report = restore(restored, target)

        assert (before, events) == (rows_of(restored), log_of(restored))
        is_sound(restored)
        for package_id, files in stored.items():
            assert files == fetch(restored, package_id, tmp_path / package_id)
        assert keys_in(registry.store) == keys_in(restored.store)
        with registry.catalog.snapshot() as one, restored.catalog.snapshot() as other:
            assert [[], []] == [backends.writers(queries.connection, "default") for queries in (one, other)]
        assert (3, made.found, True, 0) == (report.found.snapshot.packages, report.found, report.is_whole, report.moved)


def test_a_restored_store_goes_on(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    a_life(registry)
    seal_log(registry)
    backup(registry, target)

    with another(tmp_path / "new") as restored:
        restore(restored, target)
        again = ingest(restored, package_draft({**FILES, "n": b"1"}, external_id="run-1"))
        ingest(restored, package_draft({"x": b"new"}, external_id="new"))
        seal_log(restored)

        assert again.reused_existing
        assert reconcile(restored, limit=10).is_clean
        is_sound(restored)


def test_a_store_on_one_database_is_restored_on_the_other(
    registry: Registry, target: ObjectStore, tmp_path: Path, postgres: PostgresServer, database: dict[str, str]
) -> None:
    a_life(registry)
    create_token(registry, "ci", ["read"])
    before, events = rows_of(registry), log_of(registry)
    backup(registry, target)
    other = {} if database else {"ARTIFACTSTORE_DATABASE_URL": postgres.empty_database()}

    with another(tmp_path / "new", other) as restored:
        restore(restored, target)

        assert restored.catalog.database_kind != registry.catalog.database_kind
        assert (before, events) == (rows_of(restored), log_of(restored))
        is_sound(restored)


def test_an_empty_store_is_backed_up_and_restored(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    made = backup(registry, target)

    with another(tmp_path / "new") as restored:
        report = restore(restored, target)

        assert (0, 0, True) == (made.found.snapshot.last_seq, made.found.snapshot.objects, report.is_whole)
        with registry.catalog.snapshot() as one, restored.catalog.snapshot() as other:
            assert one.log_id() == other.log_id()


# several snapshots


def test_a_second_backup_copies_only_what_is_not_there(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    a_life(registry)
    first = backup(registry, target)
    ingest(registry, package_draft({"x": b"x"}, external_id="later"))

    second = backup(registry, target)

    assert (2, first.transfer.objects) == (second.transfer.objects, second.transfer.already_there)
    assert [first.found, second.found] == list_snapshots(target).snapshots
    with another(tmp_path / "newest") as restored:
        restore(restored, target)
        assert rows_of(registry) == rows_of(restored)
    with another(tmp_path / "older") as restored:
        restore(restored, target, snapshot_id=first.found.snapshot_id[:10])
        assert first.found.snapshot.last_seq == len(log_of(restored))
        is_sound(restored)


def test_nothing_is_copied_for_a_store_that_has_not_changed(registry: Registry, target: ObjectStore) -> None:
    a_life(registry)
    first = backup(registry, target)

    again = backup(registry, target)

    assert (0, first.transfer.objects) == (again.transfer.objects, again.transfer.already_there)
    assert first.found.snapshot == replace(again.found.snapshot, made_at=first.found.snapshot.made_at)


def test_a_snapshot_that_nobody_has_is_unknown(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    with another(tmp_path / "new") as restored:
        with pytest.raises(BackupUnknownError, match="there is no backup"):
            restore(restored, target)
        backup(registry, target)
        with pytest.raises(BackupUnknownError, match="no snapshot"):
            restore(restored, target, snapshot_id="0" * 12)
        with pytest.raises(UsageError, match="too short"):
            restore(restored, target, snapshot_id="")


# what is refused


def test_a_store_that_has_a_log_is_not_restored_over(registry: Registry, target: ObjectStore) -> None:
    a_life(registry)
    backup(registry, target)
    before = log_of(registry)

    with pytest.raises(StoreNotEmptyError, match="has a log"):
        restore(registry, target)

    assert before == log_of(registry)


def test_a_store_that_others_use_while_it_is_restored_is_not_restored_over(
    registry: Registry, target: ObjectStore, tmp_path: Path, database: dict[str, str], postgres: PostgresServer
) -> None:
    a_life(registry)
    backup(registry, target)
    settings = {"ARTIFACTSTORE_DATABASE_URL": postgres.empty_database()} if database else {}

    with another(tmp_path / "new", settings) as restored:
        arm(lambda step: ingest(restored, package_draft({"x": b"x"})) if step == "restore.before-log" else None)
        with pytest.raises(StoreNotEmptyError, match="has a log"):
            restore(restored, target)
        arm(None)

        assert 1 == len(rows_of(restored)["package"])
        is_sound(restored)


@pytest.mark.parametrize("where", ["objects", "", "objects/below", "link"])
def test_a_target_that_is_the_store_itself_is_refused(registry: Registry, home: Path, where: str) -> None:
    a_life(registry)
    (home.parent / "link").symlink_to(home / "objects")
    place = home.parent / "link" if where == "link" else home / where

    with pytest.raises(UsageError, match="backend 'default' itself"):
        backup(registry, directory(place))
    with pytest.raises(UsageError, match="backend 'default' itself"):
        restore(registry, directory(place))


def test_a_snapshot_of_a_newer_version_is_refused(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    found = backup(registry, target).found.snapshot
    newer = replace(found, revision="9999", made_at=found.made_at + 1)
    put_part(target, ObjectKind.BACKUP, newer.encode())

    with another(tmp_path / "new") as restored, pytest.raises(DatabaseVersionError, match="9999"):
        restore(restored, target)


def test_a_log_that_does_not_hold_is_not_backed_up(registry: Registry, target: ObjectStore) -> None:
    a_life(registry)
    with registry.transaction() as tx:
        tx.connection.execute("UPDATE event SET actor = 'nobody' WHERE seq = 3")

    with pytest.raises(EventLogCorruptError, match="event 3"):
        backup(registry, target)

    assert [] == list_snapshots(target).snapshots


# operational rows


def test_tokens_subscriptions_and_pauses_come_back(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    a_life(registry)
    secret = create_token(registry, "ci", ["read"])[0]
    with registry.transaction() as tx:
        subscriptions.note(tx.connection, "listener", 3, registry.clock())
    run_due(registry, [VERIFY])
    pause_scrub(registry)
    backup(registry, target)

    with another(tmp_path / "new") as restored:
        restore(restored, target)

        assert "token:ci" == authenticate(restored, secret).actor
        with restored.catalog.snapshot() as queries:
            found = subscriptions.subscription(queries.connection, "listener")
        assert found is not None
        assert 3 == found.position
        assert scrub_status(registry).paused_at == scrub_status(restored).paused_at is not None


def test_what_is_under_way_does_not_come_back(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    a_life(registry)
    open_package(registry, package_draft({}, external_id="open"), None, as_revision=False, readable_producers=None)
    backup(registry, target)

    with another(tmp_path / "new") as restored:
        restore(restored, target)

        with restored.catalog.snapshot() as queries:
            assert [] == backends.writers(queries.connection, "default")
        with registry.catalog.snapshot() as queries:
            assert ["open package"] == [each.what for each in backends.writers(queries.connection, "default")]


# damage


def test_bytes_that_are_bad_in_the_store_are_named_and_the_rest_is_backed_up(
    registry: Registry, target: ObjectStore, home: Path, tmp_path: Path
) -> None:
    stored = a_life(registry)
    flip_byte(objects_of_kind(home, ObjectKind.BLOB)[0], 7)

    made = backup(registry, target)

    (missed,) = made.missed
    assert ("blob", "stored bytes were altered") == (missed.left_out.kind, missed.left_out.finding)
    assert {(package_id, "large.bin") for package_id in stored} == set(missed.concerns)
    with another(tmp_path / "new") as restored:
        report = restore(restored, target)
        assert [missed] == report.missed
        replay_is_exact(restored)
        assert {"large.bin"} == {damage.path for damage in verify_all(restored).damage}


def test_what_one_backend_has_as_bad_is_taken_from_another(target: ObjectStore, home: Path, tmp_path: Path) -> None:
    with on_two_backends(home) as registry:
        a_life(registry)
        copy_backend(registry, DISK, ARCHIVE)
        flip_byte(paths_of(home, DISK, ObjectKind.PACK)[0], 7)
        paths_of(home, DISK, ObjectKind.BLOB)[0].unlink()

        made = backup(registry, target)

    assert [] == made.missed
    with another(tmp_path / "new") as restored:
        assert restore(restored, target).is_whole
        is_sound(restored)


@pytest.mark.parametrize("kind", [ObjectKind.PACK, ObjectKind.BLOB, ObjectKind.MANIFEST])
@pytest.mark.parametrize("how", ["altered", "missing", "emptied"])
def test_bytes_that_are_bad_in_the_backup_are_named_and_the_rest_is_restored(
    registry: Registry, target: ObjectStore, tmp_path: Path, kind: ObjectKind, how: str
) -> None:
    stored = a_life(registry)
    backup(registry, target)
    bad = in_target(tmp_path, kind)[0]
    bad.chmod(0o644)
    flip_byte(bad, 7) if how == "altered" else bad.unlink() if how == "missing" else bad.write_bytes(b"")

    with another(tmp_path / "new") as restored:
        report = restore(restored, target)

        (missed,) = report.missed
        assert (kind, bad.name[:64], False) == (missed.left_out.kind, missed.left_out.blake3.hex(), report.is_whole)
        assert missed.concerns
        replay_is_exact(restored)
        assert verify_all(restored).damage
        folder = tmp_path / "originals"
        for package_id, files in stored.items():
            for path, data in files.items():
                (folder / package_id / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / package_id / path).write_bytes(data)
        if kind is not ObjectKind.MANIFEST:
            for files in stored.values():
                ingest(restored, package_draft(files, external_id=f"again-{files['n'].decode()}"))
            assert [] == [each for each in verify_all(restored).damage if each.path]


@pytest.mark.parametrize("kind", [ObjectKind.SEGMENT, ObjectKind.BACKUP_PART])
@pytest.mark.parametrize("how", ["altered", "missing"])
def test_a_snapshot_whose_own_parts_are_bad_is_refused_before_anything_is_changed(
    registry: Registry, target: ObjectStore, tmp_path: Path, kind: ObjectKind, how: str
) -> None:
    a_life(registry)
    backup(registry, target)
    for bad in in_target(tmp_path, kind):
        flip_byte(bad, 7) if how == "altered" else bad.unlink()

    with another(tmp_path / "new") as restored:
        with pytest.raises(BackupDamagedError, match=how):
            restore(restored, target)

        assert [] == log_of(restored)
        assert set() == keys_in(restored.store)


def test_a_document_that_is_bad_is_named_and_the_others_can_be_restored(
    registry: Registry, target: ObjectStore, tmp_path: Path
) -> None:
    first = backup(registry, target).found
    a_life(registry)
    second = backup(registry, target).found
    (bad,) = [path for path in in_target(tmp_path, ObjectKind.BACKUP) if path.name.startswith(first.snapshot_id)]
    flip_byte(bad, 7)

    found = list_snapshots(target)

    assert ([second], 1) == (found.snapshots, len(found.damaged))
    with another(tmp_path / "new") as restored:
        with pytest.raises(BackupDamagedError, match="which snapshot is the newest"):
            restore(restored, target)
        assert restore(restored, target, snapshot_id=second.snapshot_id).is_whole


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("made_at", "now"), ("made_at", 2**62), ("last_seq", -1), ("last_seq", None), ("chain", "x"), ("log_id", 7),
        ("revision", 5), ("backends", (b"x",)), ("has_bytes", 1), ("segments", ("x",)), ("inventories", (b"short",)),
        ("operational", "x"), ("left_out", (("pack", "x", 1, "why"),)), ("left_out", (("pack", b"x" * 32, "1", 2),)),
    ],
)  # fmt: skip
def test_a_document_with_members_of_other_types_is_named_as_damaged(
    registry: Registry, target: ObjectStore, tmp_path: Path, member: str, value: Any
) -> None:
    good = backup(registry, target).found
    put_part(target, ObjectKind.BACKUP, replace(good.snapshot, **{member: value}).encode())

    found = list_snapshots(target)

    assert ([good], 1) == (found.snapshots, len(found.damaged))
    with another(tmp_path / "new") as restored, pytest.raises(BackupDamagedError):
        restore(restored, target)


def test_a_document_that_is_too_large_is_named_and_not_read(
    registry: Registry, target: ObjectStore, tmp_path: Path
) -> None:
    good = backup(registry, target).found
    large = put_part(target, ObjectKind.BACKUP, b"large")
    (path,) = [path for path in in_target(tmp_path, ObjectKind.BACKUP) if path.name.startswith(large.hex())]
    path.chmod(0o644)
    os.truncate(path, 2**40)

    found = list_snapshots(target)

    assert ([good], ["it is larger than any document of a snapshot"]) == (found.snapshots, [*found.damaged.values()])


@pytest.mark.parametrize(
    "part",
    [
        {"version": 1, "kind": "pack", "objects": b""},
        {"version": 1, "kind": "other", "objects": b"x" * 40},
        {"version": 1, "kind": "pack", "objects": b"x" * 39},
        [],
    ],
)
def test_a_list_of_objects_that_is_none_is_damaged(
    registry: Registry, target: ObjectStore, tmp_path: Path, part: object
) -> None:
    found = backup(registry, target).found.snapshot
    digest = put_part(target, ObjectKind.BACKUP_PART, encode(part))
    put_part(target, ObjectKind.BACKUP, replace(found, inventories=(digest,), made_at=found.made_at + 1).encode())

    with another(tmp_path / "new") as restored:
        with pytest.raises(BackupDamagedError):
            restore(restored, target)

        assert [] == log_of(restored)


def test_what_the_log_has_and_a_snapshot_does_not_list_is_named(
    registry: Registry, target: ObjectStore, tmp_path: Path
) -> None:
    """It was not brought, so nobody may be told that it is there."""
    a_life(registry)
    found = backup(registry, target).found.snapshot
    kinds = {digest: inventory_from(read_part(target, part_key(digest)))[0].kind for digest in found.inventories}
    left = tuple(digest for digest, kind in kinds.items() if kind != "pack")
    put_part(target, ObjectKind.BACKUP, replace(found, inventories=left, made_at=found.made_at + 1).encode())

    with another(tmp_path / "new") as restored:
        report = restore(restored, target)

        assert not report.is_whole
        assert {("pack", "the backup does not list it")} == {
            (missed.left_out.kind, missed.left_out.finding) for missed in report.missed
        }
        assert all(missed.concerns for missed in report.missed)
        replay_is_exact(restored)


def part_key(digest: bytes) -> ObjectKey:
    return ObjectKey(ObjectKind.BACKUP_PART, digest)


def test_a_backup_that_reads_back_replaces_what_is_bad(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    a_life(registry)
    backup(registry, target)
    for kind in (ObjectKind.PACK, ObjectKind.BLOB, ObjectKind.SEGMENT, ObjectKind.BACKUP_PART):
        flip_byte(in_target(tmp_path, kind)[0], 7)

    made = backup(registry, target, read_back=True)

    assert (2, 2) == (made.transfer.replaced, made.transfer.objects)
    with another(tmp_path / "new") as restored:
        assert restore(restored, target).is_whole
        is_sound(restored)


@pytest.mark.parametrize("size_bytes", [0, 1000, 2 * 2**20, 2 * 2**20 + 8000])
def test_a_target_that_is_full_has_no_new_snapshot_and_the_next_one_goes_on(
    registry: Registry, target: ObjectStore, tmp_path: Path, size_bytes: int
) -> None:
    a_life(registry)
    faulty = FaultyStore(target)
    faulty.fill_after(size_bytes)

    with pytest.raises(StorageFullError):
        backup(registry, faulty)

    with registry.catalog.snapshot() as queries:
        assert [] == backends.writers(queries.connection, "default")
    assert [] == list_snapshots(target).snapshots
    assert backup(registry, target).missed == []
    with another(tmp_path / "new") as restored:
        assert restore(restored, target).is_whole


def test_a_backend_that_is_full_leaves_the_database_empty_and_the_next_restore_goes_on(
    registry: Registry, target: ObjectStore, tmp_path: Path
) -> None:
    a_life(registry)
    backup(registry, target)
    with another(tmp_path / "new") as restored:
        faulty = FaultyStore(restored.store)
        faulty.fill_after(2 * 2**20)
        with pytest.raises(StorageFullError):
            restore(replace(restored, backends={"default": faulty}), target)

        assert [] == log_of(restored)
        assert restore(restored, target).is_whole
        is_sound(restored)


def test_what_lies_in_the_backend_already_is_read_back(registry: Registry, target: ObjectStore, tmp_path: Path) -> None:
    a_life(registry)
    backup(registry, target)
    with another(tmp_path / "new") as restored:
        blob = next(iter(target.list(ObjectKind.BLOB))).key
        with target.open(blob) as stream:
            restored.store.put(blob, stream, target.size(blob))
        flip_byte(objects_of_kind(tmp_path / "new", ObjectKind.BLOB)[0], 7)

        report = restore(restored, target)

        assert 1 == report.transfer.replaced
        is_sound(restored)


# several backends


def on_two_backends(home: Path) -> closing[Registry]:
    return closing(open_registry(settings_from(two_directories(home)), actor="local:tester"))


def test_what_lay_in_several_backends_lies_in_the_default_one(target: ObjectStore, home: Path, tmp_path: Path) -> None:
    with on_two_backends(home) as registry:
        stored = a_life(registry)
        copy_backend(registry, DISK, ARCHIVE)
        only = ingest(
            replace(registry, default_backend=ARCHIVE), package_draft({"x": some_bytes(2**20)}, external_id="only")
        )
        events = log_of(registry)
        before = rows_of(registry)

        made = backup(registry, target)

    assert ("archive", "disk") == made.found.snapshot.backends
    with another(tmp_path / "new") as restored:
        report = restore(restored, target)

        assert 2 * made.found.snapshot.objects - 2 == report.moved
        assert events == log_of(restored)[: len(events)]
        assert before["package"] == rows_of(restored)["package"]
        with restored.catalog.snapshot() as queries:
            assert ["default"] == backends.recorded(queries.connection)
        is_sound(restored)
        assert reconcile(restored, limit=10).is_clean
        for package_id, files in {**stored, only.package_id: {"x": some_bytes(2**20)}}.items():
            assert files == fetch(restored, package_id, tmp_path / package_id)


def test_a_store_of_which_a_backend_was_emptied_takes_writes_where_it_was_restored(
    target: ObjectStore, home: Path, tmp_path: Path
) -> None:
    with on_two_backends(home) as registry:
        a_life(registry)
        assert migrate(registry, DISK, ARCHIVE, wait_s=0, grace_s=0).is_done
        backup(registry, target)

    with on_two_backends(tmp_path / "new") as restored:
        restore(restored, target)
        ingest(restored, package_draft({"x": b"new"}, external_id="new"))

        with restored.catalog.snapshot() as queries:
            assert [DISK] == backends.recorded(queries.connection)
        is_sound(restored)


def test_what_was_recorded_as_damaged_and_is_damaged_is_so_when_it_is_restored(
    target: ObjectStore, home: Path, tmp_path: Path
) -> None:
    with on_two_backends(home) as registry:
        stored = a_life(registry)
        flip_byte(paths_of(home, DISK, ObjectKind.BLOB)[0], 7)
        assert verify_all(registry).damage
        backup(registry, target)

    with another(tmp_path / "new") as restored:
        report = restore(restored, target)

        assert 1 == len(report.missed)
        replay_is_exact(restored)
        assert verify_all(restored).damage
        for files in stored.values():
            ingest(restored, package_draft(files, external_id=f"again-{files['n'].decode()}"))
        assert [] == verify_all(restored).damage


def test_what_was_recorded_as_damaged_and_is_right_is_live_when_it_is_restored(
    target: ObjectStore, home: Path, tmp_path: Path
) -> None:
    with on_two_backends(home) as registry:
        a_life(registry)
        pack = paths_of(home, DISK, ObjectKind.PACK)[0]
        flip_byte(pack, 7)
        assert verify_all(registry).damage
        flip_byte(pack, 7)
        backup(registry, target)

    with another(tmp_path / "new") as restored:
        assert restore(restored, target).is_whole
        is_sound(restored)
        assert [] == heal_all(restored).not_healed


# by references


def test_a_backup_by_references_has_no_bytes_and_comes_back_with_the_old_backends(
    target: ObjectStore, home: Path, tmp_path: Path
) -> None:
    with on_two_backends(home) as registry:
        stored = a_life(registry)
        assert migrate(registry, DISK, ARCHIVE, wait_s=0, grace_s=0).is_done
        made = backup(registry, target, with_bytes=False)
        before, events = rows_of(registry), log_of(registry)

    assert (set(), 0) == (keys_in(target), made.transfer.objects)
    with another(tmp_path / "new") as other, pytest.raises(ConfigurationError, match="'archive'"):
        restore(other, target)
    (home / "artifactstore.db").unlink()
    with on_two_backends(home) as restored:
        report = restore(restored, target)

        assert report.is_whole
        assert (before, events) == (rows_of(restored), log_of(restored))
        with restored.catalog.snapshot() as queries:
            assert ARCHIVE == backends.taking_writes(queries.connection, DISK)
        is_sound(restored)
        for package_id, files in stored.items():
            assert files == fetch(restored, package_id, tmp_path / package_id)


def test_bytes_that_are_gone_from_the_old_backends_are_named(
    registry: Registry, target: ObjectStore, home: Path
) -> None:
    a_life(registry)
    backup(registry, target, with_bytes=False)
    objects_of_kind(home, ObjectKind.PACK)[0].unlink()

    with another(home, {"ARTIFACTSTORE_DATABASE_URL": f"sqlite:///{home}/new.db"}) as restored:
        report = restore(restored, target)

        assert report.comparison is not None
        assert (1, False) == (report.comparison.totals["missing"].count, report.is_whole)


# what is being removed


def test_what_is_condemned_is_not_copied_and_collection_ends_it_where_it_was_restored(
    registry: Registry, target: ObjectStore, tmp_path: Path
) -> None:
    hasty = replace(registry, collection=CollectionPolicy(grace_s=3600))
    push(hasty)
    delete_all_expired(hasty)
    collect(hasty, wait_s=0, pause=lambda _: None)
    made = backup(hasty, target)
    assert {"condemned"} < {row[4] for row in rows_of(registry)["stored_object"]}

    with another(tmp_path / "new") as restored:
        assert restore(restored, target).is_whole
        assert rows_of(registry) == rows_of(restored)
        assert keys_in(restored.store) < keys_in(registry.store)
        assert made.found.snapshot.objects == len(keys_in(restored.store))
        done = collect(without_grace(restored), wait_s=0, pause=lambda _: None)
        assert done.is_done
        is_sound(restored)
        assert reconcile(restored, limit=10).is_clean


def test_a_document_comes_back_as_it_was(registry: Registry, target: ObjectStore) -> None:
    a_life(registry)

    made = backup(registry, target).found

    assert made.snapshot == Snapshot.decode(made.snapshot.encode())
