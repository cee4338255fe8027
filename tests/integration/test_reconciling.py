"""Reconcile names every difference between a backend and the catalog, and none on a store that has none."""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from artifactstore.catalog import stored
from artifactstore.errors import BackendUnknownError, StorageUnavailableError
from artifactstore.registry.ingest import ingest
from artifactstore.registry.lease import Lease
from artifactstore.registry.open_packages import open_package
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.registry.reconciling import YOUNG_S, Kind, ReconcileReport, reconcile
from artifactstore.registry.uploads import append, begin_upload
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft, some_bytes
from tests.support import objects_of_kind, overwrite, stored_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry
    from artifactstore.storage.port import ObjectInfo

FILES = {"a.txt": b"A" * 1000, "b.txt": b"B" * 1000, "large.bin": some_bytes(2 * 2**20)}
OLD_S = 2 * YOUNG_S


def compared(registry: Registry, *, backend: str | None = None, after: int = 0, limit: int = 100) -> ReconcileReport:
    return reconcile(registry, backend=backend, after=after, limit=limit)


def found(report: ReconcileReport) -> list[tuple[Kind, str]]:
    return [(each.kind, each.path) for each in report.differences]


def orphan(registry: Registry, data: bytes, kind: ObjectKind = ObjectKind.BLOB) -> ObjectKey:
    key = ObjectKey(kind, blake3(data).digest())
    with registry.store.stage(blake3()) as stage:
        stage.write(data)
        stage.commit(key, len(data))
    return key


def age(path: Path, seconds: float = OLD_S) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def age_all(home: Path) -> None:
    for path in (home / "objects").rglob("*"):
        age(path)


def plant(home: Path, path: str, data: bytes = b"x") -> Path:
    target = home / "objects" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def test_an_empty_store_is_clean(registry: Registry) -> None:
    report = compared(registry)

    assert report.is_clean
    assert 0 == report.agreeing.count


def test_a_store_with_packages_is_clean_and_every_object_is_counted(registry: Registry, home: Path) -> None:
    for number in range(20):
        ingest(registry, package_draft({**FILES, "n": bytes([number])}, external_id=f"run-{number}"))
    there = [path for path in stored_objects(home) if not path.startswith("staging")]
    before = stored_objects(home)

    report = compared(registry)

    assert report.is_clean
    assert [] == report.differences
    assert len(there) == report.agreeing.count
    assert sum(len(before[path]) for path in there) == report.agreeing.size_bytes
    assert before == stored_objects(home)


@pytest.mark.parametrize("kind", list(ObjectKind))
def test_an_object_that_nothing_refers_to_is_named_with_its_size(
    registry: Registry, home: Path, kind: ObjectKind
) -> None:
    ingest(registry, package_draft(FILES))
    key = orphan(registry, b"left behind", kind)
    age_all(home)

    report = compared(registry)

    assert [(Kind.UNREFERENCED, key.path)] == found(report)
    assert (11, False, ()) == (
        report.differences[0].size_bytes, report.differences[0].is_young, report.differences[0].concerns,
    )  # fmt: skip
    assert report.differences[0].age_s is not None
    assert report.differences[0].age_s >= OLD_S
    assert not report.is_clean


def test_what_is_younger_than_a_lease_lives_is_said_to_be_and_is_no_difference(registry: Registry, home: Path) -> None:
    key = orphan(registry, b"being stored")
    plant(home, "staging/1-2")

    report = compared(registry)

    assert [(Kind.UNREFERENCED, key.path), (Kind.LEFTOVER, "staging/1-2")] == found(report)
    assert all(each.is_young for each in report.differences)
    assert 2 == report.young.count
    assert report.is_clean


def test_what_came_since_a_live_lease_was_opened_is_young_however_long_ago_that_was(
    registry: Registry, home: Path
) -> None:
    now = registry.clock()
    with registry.transaction() as tx:
        tx.open_lease("long", "ingest", type(now)(now - int(2 * OLD_S * 1_000_000)))
        tx.renew_lease("long", now)
    orphan(registry, b"stored an hour ago")
    age_all(home)

    report = compared(registry)

    assert [True] == [each.is_young for each in report.differences]


def test_the_lease_of_a_process_that_is_gone_makes_nothing_young(registry: Registry, home: Path) -> None:
    with Lease(registry, "ingest") as lease:
        lease.ensure_open()
        with registry.transaction() as tx:
            tx.connection.execute("UPDATE lease SET opened_at = 1, heartbeat_at = 1")
        orphan(registry, b"left by it")
        age_all(home)

        report = compared(registry)

    assert [False] == [each.is_young for each in report.differences]


def test_bytes_sent_for_an_open_package_are_no_difference(registry: Registry, home: Path) -> None:
    draft = package_draft({}, external_id="push")
    opened = open_package(registry, draft, None, as_revision=False, readable_producers=None)
    receive_file(registry, opened.package_id, Announced("x"), io.BytesIO(b"sent").read)
    upload, _ = begin_upload(registry, opened.package_id, Announced("y"), 8)
    append(registry, opened.package_id, upload.upload_id, 0, io.BytesIO(b"half").read)
    age_all(home)

    report = compared(registry)

    assert report.is_clean
    assert [] == report.differences
    assert 2 == report.held_by_pushes.count


MISSING: dict[str, tuple[ObjectKind, Callable[[Path], object], list[str | None]]] = {
    "a pack": (ObjectKind.PACK, lambda path: path.unlink(), ["a.txt", "b.txt"]),
    "a large blob": (ObjectKind.BLOB, lambda path: path.unlink(), ["large.bin"]),
    "a manifest": (ObjectKind.MANIFEST, lambda path: path.unlink(), [None]),
}


@pytest.mark.parametrize("what", MISSING)
def test_a_reference_to_nothing_is_named_with_packages_and_paths(registry: Registry, home: Path, what: str) -> None:
    package_id = ingest(registry, package_draft(FILES)).package_id
    kind, damage, paths = MISSING[what]
    path = objects_of_kind(home, kind)[0]
    size_bytes = path.stat().st_size
    damage(path)

    report = compared(registry)

    assert [(Kind.MISSING, path.relative_to(home / "objects").as_posix())] == found(report)
    assert [(package_id, each) for each in paths] == sorted(report.differences[0].concerns, key=str)
    assert (None, size_bytes) == (report.differences[0].size_bytes, report.differences[0].recorded_bytes)


@pytest.mark.parametrize("kind", [ObjectKind.PACK, ObjectKind.BLOB, ObjectKind.MANIFEST])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b""])
def test_a_wrong_size_is_named(
    registry: Registry, home: Path, kind: ObjectKind, change: Callable[[bytes], bytes]
) -> None:
    ingest(registry, package_draft(FILES))
    path = objects_of_kind(home, kind)[0]
    data = path.read_bytes()
    overwrite(path, change(data))

    report = compared(registry)

    assert [Kind.WRONG_SIZE] == [each.kind for each in report.differences]
    assert (len(change(data)), len(data)) == (
        report.differences[0].size_bytes, report.differences[0].recorded_bytes,
    )  # fmt: skip
    assert report.differences[0].concerns


@pytest.mark.parametrize("replacement", ["directory", "link", "socket"])
def test_what_has_an_objects_name_and_is_no_file_is_named_beside_what_is_missing(
    registry: Registry, home: Path, replacement: str
) -> None:
    ingest(registry, package_draft(FILES))
    path = objects_of_kind(home, ObjectKind.BLOB)[0]
    name = path.relative_to(home / "objects").as_posix()
    kept = home / "kept"
    path.rename(kept)
    {
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(kept),
        "socket": lambda: os.mkfifo(path),
    }[replacement]()

    report = compared(registry)

    assert [(Kind.MISSING, name), (Kind.FOREIGN, name)] == found(report)


@pytest.mark.parametrize(
    "name",
    [
        "blobs/blake3/ab/cd/README",
        "blobs/" + "a" * 64,
        "packs/blake3/ab/cd/" + "ab" * 32 + ".zip",  # in the wrong directory
        "manifests/blake3/ab/ab/" + "ab" * 32,  # without its suffix
        "manifests/blake3/AB/AB/" + "AB" * 32 + ".cbor",
        "parts/x",
    ],
)
def test_a_file_that_is_not_ours_is_named_however_young(registry: Registry, home: Path, name: str) -> None:
    ingest(registry, package_draft(FILES))
    plant(home, name)

    report = compared(registry)

    assert [(Kind.FOREIGN, name)] == found(report)
    assert not report.is_clean


def test_what_lies_beside_our_directories_is_nobodys_business(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    plant(home, "lost+found/x")
    plant(home, "README")

    assert compared(registry).is_clean


def test_what_a_broken_off_write_has_left_is_named_when_it_is_old(registry: Registry, home: Path) -> None:
    age(plant(home, "staging/1-2", b"half an object"))

    report = compared(registry)

    assert [(Kind.LEFTOVER, "staging/1-2")] == found(report)
    assert 14 == report.totals[Kind.LEFTOVER].size_bytes
    assert not report.is_clean


def test_what_was_set_aside_is_counted_and_is_no_difference(registry: Registry, home: Path) -> None:
    plant(home, "quarantine/x", b"bad")

    report = compared(registry)

    assert report.is_clean
    assert (1, 3) == (report.totals[Kind.QUARANTINED].count, report.totals[Kind.QUARANTINED].size_bytes)


def test_a_storage_that_is_not_mounted_is_an_outage_and_no_list_of_losses(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    (home / "objects").rename(home / "elsewhere")

    with pytest.raises(StorageUnavailableError, match="holds no object at all"):
        compared(registry)


def test_a_backend_that_there_is_not_is_refused(registry: Registry) -> None:
    with pytest.raises(BackendUnknownError):
        compared(registry, backend="nowhere")


def test_many_differences_come_in_pages_and_each_is_named_once(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft(FILES))
    keys = {orphan(registry, b"%d" % number).path for number in range(10)}
    age_all(home)

    named, after, pages = list[str](), 0, 0
    while True:
        page = compared(registry, after=after, limit=4)
        named += [each.path for each in page.differences]
        pages += 1
        assert 10 == page.totals[Kind.UNREFERENCED].count
        if page.next_after is None:
            break
        after = page.next_after

    assert (3, keys, 10) == (pages, set(named), len(named))


def test_of_very_many_files_some_are_named(registry: Registry, home: Path) -> None:
    ingest(registry, package_draft({f"{number:03}": b"%d" % number for number in range(50)}))
    objects_of_kind(home, ObjectKind.PACK)[0].unlink()

    (difference,) = compared(registry).differences

    assert 20 == len(set(difference.concerns))
    assert difference.concerns_more


def test_what_was_recorded_after_the_catalog_was_looked_at_is_no_difference(
    registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry.catalog.snapshot() as queries:
        before = stored.in_key_order(queries.connection, stored.Place(), limit=500)
    ingest(registry, package_draft(FILES))
    age_all(home)
    monkeypatch.setattr(stored, "in_key_order", lambda *_, **__: before)

    report = compared(registry)

    assert [] == report.differences


def test_what_was_stored_after_the_backend_was_listed_is_no_difference(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(registry, package_draft(FILES))
    store, listed = type(registry.store), type(registry.store).list
    before = {kind: list(registry.store.list(kind)) for kind in ObjectKind}
    ingest(registry, package_draft({"later": b"later", "large": some_bytes(2**20)}, external_id="later"))
    monkeypatch.setattr(store, "list", lambda _, kind: iter(before[kind]))

    report = compared(registry)

    monkeypatch.setattr(store, "list", listed)
    assert [] == report.differences
    assert 6 == report.agreeing.count


def test_what_is_stored_while_it_is_compared_is_no_difference(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing has gone past a key, or is not there yet, when the object comes, or goes."""
    ingest(registry, package_draft(FILES))
    store, listed = type(registry.store), type(registry.store).list

    def slowly(self: object, kind: ObjectKind) -> Iterator[ObjectInfo]:
        yield from list(listed(self, kind))  # type: ignore[arg-type]
        files = {"later": kind.encode(), "large": some_bytes(2**20 + len(kind))}
        ingest(registry, package_draft(files, external_id=kind))

    monkeypatch.setattr(store, "list", slowly)

    report = compared(registry)

    assert [] == report.differences
    assert report.is_clean
