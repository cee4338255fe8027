"""Collection against those who store what it is about to remove: each schedule is forced, and nothing is ever lost."""

from __future__ import annotations

import io
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.config import Settings
from artifactstore.domain.collection import CollectionPolicy
from artifactstore.errors import ConcurrentUpdateError, PackageDeletedError, PackageStateError
from artifactstore.failpoints import arm
from artifactstore.registry.applying import apply_plan
from artifactstore.registry.collecting import CollectionReport, collect, space
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.healing import heal_all
from artifactstore.registry.open_packages import open_package
from artifactstore.registry.planning import make_plan
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.registry.registry import DEFAULT_BACKEND
from artifactstore.registry.retention import extend_retention, pin_package, place_hold
from artifactstore.registry.uploads import append, begin_upload, complete_upload
from artifactstore.registry.verify import verify_all
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft, put_bytes
from tests.retention import FILES, SMALL, delete_all_expired, expire, later, push, without_grace
from tests.support import event_types, fetch, flip_byte, objects_of_kind, replay_is_exact, stored_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from artifactstore.registry.registry import Registry

BEFORE_THE_RECORD = ("store.before-publish", "store.after-object", "store.before-manifest", "record.before-transaction")
"""Where an ingest has looked up what is there, and has not recorded it."""
DELETES = ("collect.after-begun", "collect.before-delete", "collect.after-delete")
"""Where collection is deleting, and nobody has anything back."""


@pytest.fixture
def registry(home: Path, database: dict[str, str]) -> Iterator[Registry]:
    """A store of which nothing that was ever stored is referred to; whole, exact and replayable when a test is over."""
    settings = Settings.from_environment({"ARTIFACTSTORE_HOME": str(home), **database})
    with closing(open_registry(settings, actor="local:tester")) as opened:
        hasty = without_grace(opened)
        push(hasty)
        delete_all_expired(hasty)
        yield hasty
        arm(None)
        assert collect(hasty, wait_s=0, unrecorded=True, pause=lambda _: None).is_done
        left = space(hasty, unrecorded=True).backends[DEFAULT_BACKEND]
        assert left.bytes_before == left.expected_bytes_after, "nothing condemned is forgotten"
        assert [] == verify_all(hasty).damage
        assert are_whole(hasty)
        assert recorded_keys(hasty) == {name for name in stored_objects(home) if not name.startswith("quarantine/")}
        replay_is_exact(opened)


def collected(registry: Registry) -> CollectionReport:
    return collect(registry, wait_s=0, pause=lambda _: None)


def recorded_keys(registry: Registry) -> set[str]:
    with registry.catalog.snapshot() as queries:
        found = queries.objects(after=0, limit=10_000)
    return {ObjectKey(ObjectKind(each.kind), each.blake3).path for each in found}


def deleted_packages(registry: Registry) -> list[str]:
    with registry.catalog.snapshot() as queries:
        found = queries.packages(after=0, limit=1_000)
    return [package.package_id for package in found if package.status == "deleted"]


def are_whole(registry: Registry) -> bool:
    with registry.catalog.snapshot() as queries:
        found = queries.packages(after=0, limit=1_000)
        return all(queries.package_is_whole(package) for package in found if package.status == "finalized")


def at(failpoint: str, action: Callable[[], object]) -> list[str]:
    """Do this once, when the step of this name is reached; what was passed."""
    passed: list[str] = []
    watched = threading.get_ident()

    def pass_by(name: str) -> None:
        if name == failpoint and name not in passed and threading.get_ident() == watched:
            passed.append(name)
            action()

    arm(pass_by)
    return passed


@pytest.mark.parametrize("step", BEFORE_THE_RECORD[1:])
def test_a_whole_collection_within_an_ingest(registry: Registry, tmp_path: Path, step: str) -> None:
    passed = at(step, lambda: collected(registry))

    package_id = push(registry, {**FILES, "new": b"new"}, "run-2")

    assert [step] == passed
    assert {**FILES, "new": b"new"} == fetch(registry, package_id, tmp_path / "out")


@pytest.mark.parametrize("step", BEFORE_THE_RECORD[1:])
def test_a_whole_collection_within_an_ingest_of_the_very_same(registry: Registry, tmp_path: Path, step: str) -> None:
    at(step, lambda: collected(registry))

    package_id = push(registry, FILES, "run-2")

    assert FILES == fetch(registry, package_id, tmp_path / "out")


def test_an_ingest_uses_what_was_found_to_be_dead(registry: Registry, tmp_path: Path) -> None:
    stored: list[str] = []
    at("collect.before-condemned", lambda: stored.append(push(registry, FILES, "run-2")))

    collected(registry)

    assert FILES == fetch(registry, stored[0], tmp_path / "out")
    assert 1 == event_types(registry).count("v1.object.deleted"), "the manifest of run-1"
    assert 1 == event_types(registry).count("v1.object.condemned")


@pytest.mark.parametrize("step", ["collect.after-condemned", "collect.before-begun"])
def test_an_ingest_has_back_what_is_condemned(registry: Registry, tmp_path: Path, step: str) -> None:
    stored: list[str] = []
    passed = at(step, lambda: stored.append(push(registry, FILES, "run-2")))

    collected(registry)

    assert [step] == passed
    assert FILES == fetch(registry, stored[0], tmp_path / "out")
    assert 2 == event_types(registry).count("v1.object.reprieved"), "the pack and the large blob"


def test_an_ingest_that_needs_one_condemned_blob(registry: Registry, tmp_path: Path) -> None:
    stored: list[str] = []
    files = {"small-3": SMALL["small-3"], "new": b"new"}
    at("collect.after-condemned", lambda: stored.append(push(registry, files, "run-2")))

    collected(registry)

    assert files == fetch(registry, stored[0], tmp_path / "out")
    assert "v1.object.reprieved" not in event_types(registry), "it lies in a pack of its own now"


def test_what_is_recorded_when_it_was_found_to_be_left_behind_stays(registry: Registry, tmp_path: Path) -> None:
    collected(registry)
    put_bytes(registry.store, FILES["large.bin"])
    stored: list[str] = []

    def record_it() -> str:
        if not stored:
            stored.append(push(registry, {"large.bin": FILES["large.bin"]}, "run-2"))
        return ""

    collect(registry, wait_s=0, unrecorded=True, may_go_on=record_it)

    assert {"large.bin": FILES["large.bin"]} == fetch(registry, stored[0], tmp_path / "out")
    assert 3 == event_types(registry).count("v1.object.condemned"), "those of run-1"


def test_what_is_being_recorded_when_it_was_found_to_be_left_behind_stays(registry: Registry, tmp_path: Path) -> None:
    """Its writer has the object's row and waits for the log; who collects must not wait for the row with the log."""
    collected(registry)
    files = {"large.bin": FILES["large.bin"], "new": b"new"}
    errors: list[Exception] = []

    def collect_all() -> None:
        try:
            collect(registry, wait_s=0, unrecorded=True)
        except Exception as error:  # noqa: BLE001 - what a thread raises nobody sees
            errors.append(error)

    collecting = threading.Thread(target=collect_all)

    def let_it_wait() -> None:
        collecting.start()
        collecting.join(0.5)  # it waits for the ingest, longer than that

    passed = at("catalog.after-v1.package.finalized", let_it_wait)

    package_id = push(registry, files, "run-2")
    collecting.join()

    assert [] == errors
    assert ["catalog.after-v1.package.finalized"] == passed
    assert files == fetch(registry, package_id, tmp_path / "out")
    assert 3 == event_types(registry).count("v1.object.condemned"), "those of run-1"


def test_a_pack_with_the_last_of_a_blob_counts_again(registry: Registry, home: Path, tmp_path: Path) -> None:
    """Another was stored while it was condemned, and is damaged before it is deleted."""
    stored: list[str] = []
    before = objects_of_kind(home, ObjectKind.PACK)
    at("collect.after-condemned", lambda: stored.append(push(registry, {"small-3": SMALL["small-3"]}, "run-2")))
    collect(replace(registry, collection=CollectionPolicy(grace_s=3600)), wait_s=0)
    arm(None)
    (another,) = set(objects_of_kind(home, ObjectKind.PACK)) - set(before)
    flip_byte(another, 200)
    assert [stored[0]] == [damage.package_id for damage in verify_all(registry).damage]

    collected(registry)

    had_back = [each for each in event_types(registry) if each in {"v1.object.reprieved", "v1.object.restored"}]
    assert ["v1.object.reprieved", "v1.object.restored"] == had_back
    assert {"small-3": SMALL["small-3"]} == fetch(registry, stored[0], tmp_path / "out")
    assert heal_all(registry).is_whole


def test_what_was_condemned_before_the_database_was_lost_goes(registry: Registry, home: Path) -> None:
    """What collection knows of removals is in no log: a replayed database has none of it."""
    collect(replace(registry, collection=CollectionPolicy(grace_s=3600)), wait_s=0)
    with registry.transaction() as tx:
        tx.connection.execute("DELETE FROM removal")

    report = collected(registry)

    assert (True, 3) == (report.is_done, report.backends[DEFAULT_BACKEND].deleted)


@pytest.mark.parametrize("step", ["collect.after-condemned", "collect.before-begun", *DELETES])
def test_a_deleted_package_is_not_held_and_not_extended(registry: Registry, step: str) -> None:
    """Nobody is told that it stays while its bytes go."""
    (deleted,) = deleted_packages(registry)
    refused: list[type[Exception]] = []

    def try_to_keep() -> None:
        for keep in (
            lambda: place_hold(registry, deleted, reason="needed"),
            lambda: pin_package(registry, deleted, reason="needed"),
            lambda: extend_retention(registry, deleted, later(registry, 30).clock(), reason="needed"),
        ):
            with pytest.raises((PackageStateError, PackageDeletedError)) as caught:
                keep()
            refused.append(caught.type)

    passed = at(step, try_to_keep)

    assert collected(registry).is_done
    assert ([step], 3) == (passed, len(refused))


@pytest.mark.parametrize("step", DELETES)
def test_an_ingest_while_bytes_are_deleted(registry: Registry, tmp_path: Path, step: str) -> None:
    stored: list[str] = []
    ingesting = threading.Thread(target=lambda: stored.append(push(registry, FILES, "run-2")))

    def let_it_try() -> None:
        ingesting.start()
        ingesting.join(0.5)  # it waits for the deletion, longer than that

    passed = at(step, let_it_try)

    collected(registry)
    ingesting.join()

    assert [step] == passed
    assert FILES == fetch(registry, stored[0], tmp_path / "out")


@pytest.mark.parametrize("step", ["repack.before-publish", "repack.before-record", "repack.after-record"])
def test_an_ingest_while_a_pack_becomes_smaller(registry: Registry, tmp_path: Path, step: str) -> None:
    collected(registry)
    push(registry, SMALL, "run-1b")
    expire(registry)
    kept = push(registry, {"small-1": SMALL["small-1"]}, "run-2")
    apply_plan(registry, make_plan(registry).digest)
    files = {"small-9": SMALL["small-9"], "new": b"new"}
    stored: list[str] = []
    passed = at(step, lambda: stored.append(push(registry, files, "run-3")))

    collected(registry)

    assert [step] == passed
    assert files == fetch(registry, stored[0], tmp_path / "out")
    assert {"small-1": SMALL["small-1"]} == fetch(registry, kept, tmp_path / "kept")
    assert "v1.object.reprieved" not in event_types(registry), "no pack was left that has the last of a blob"


def send(registry: Registry, package_id: str, path: str = "large.bin") -> None:
    receive_file(registry, package_id, Announced(path), io.BytesIO(FILES[path]).read)


def opened(registry: Registry, name: str = "run-2") -> str:
    draft = package_draft({}, external_id=name)
    return open_package(registry, draft, None, as_revision=False, readable_producers=None).package_id


def test_what_an_open_package_was_sent_is_not_collected(registry: Registry, tmp_path: Path) -> None:
    package_id = opened(registry)
    send(registry, package_id)

    collected(registry)
    finalize(registry, package_id, readable_producers=None)

    assert {"large.bin": FILES["large.bin"]} == fetch(registry, package_id, tmp_path / "out")


def test_a_push_whose_bytes_go_before_they_are_noted_is_told_so(registry: Registry, tmp_path: Path) -> None:
    package_id = opened(registry)
    at("receive.before-record", lambda: collected(registry))

    with pytest.raises(ConcurrentUpdateError):
        send(registry, package_id)
    arm(None)
    send(registry, package_id)
    finalize(registry, package_id, readable_producers=None)

    assert {"large.bin": FILES["large.bin"]} == fetch(registry, package_id, tmp_path / "out")


def test_a_push_is_sent_while_its_bytes_are_condemned(registry: Registry, tmp_path: Path) -> None:
    package_id = opened(registry)
    passed = at("collect.after-condemned", lambda: send(registry, package_id))

    collected(registry)
    finalize(registry, package_id, readable_producers=None)

    assert ["collect.after-condemned"] == passed
    assert {"large.bin": FILES["large.bin"]} == fetch(registry, package_id, tmp_path / "out")


def test_parts_of_an_upload_stay_and_those_of_none_go(registry: Registry, home: Path, tmp_path: Path) -> None:
    package_id = opened(registry)
    data = FILES["large.bin"]
    upload, _ = begin_upload(registry, package_id, Announced("large.bin"), len(data))
    append(registry, package_id, upload.upload_id, 0, io.BytesIO(data).read)
    put_bytes(registry.store, b"left by a writer that broke off", ObjectKind.PART)
    there = len(objects_of_kind(home, ObjectKind.PART))

    collect(registry, wait_s=0, unrecorded=True)
    left = len(objects_of_kind(home, ObjectKind.PART))
    complete_upload(registry, package_id, upload.upload_id)
    finalize(registry, package_id, readable_producers=None)

    assert there - 1 == left
    assert {"large.bin": data} == fetch(registry, package_id, tmp_path / "out")


def test_a_part_that_goes_before_it_is_noted_is_told_so(registry: Registry) -> None:
    package_id = opened(registry)
    data = FILES["large.bin"]
    upload, _ = begin_upload(registry, package_id, Announced("large.bin"), len(data))
    at("upload.before-part-recorded", lambda: collect(registry, wait_s=0, unrecorded=True))

    with pytest.raises(ConcurrentUpdateError):
        append(registry, package_id, upload.upload_id, 0, io.BytesIO(data).read)
    arm(None)
    append(registry, package_id, upload.upload_id, 0, io.BytesIO(data).read)
    complete_upload(registry, package_id, upload.upload_id)

    finalize(registry, package_id, readable_producers=None)


def test_a_whole_collection_within_finalizing(registry: Registry, tmp_path: Path) -> None:
    package_id = opened(registry)
    send(registry, package_id)
    passed = at("finalize.before-transaction", lambda: collected(registry))

    finalize(registry, package_id, readable_producers=None)

    assert ["finalize.before-transaction"] == passed
    assert {"large.bin": FILES["large.bin"]} == fetch(registry, package_id, tmp_path / "out")
