"""Emptying one backend into another: nothing is lost, nothing is left, whoever reads or writes meanwhile."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from artifactstore.bootstrap import open_registry
from artifactstore.catalog import backends
from artifactstore.domain.event import ObjectRef
from artifactstore.domain.instant import Instant
from artifactstore.domain.object_events import ObjectCondemned
from artifactstore.errors import (
    BackendRefusedError,
    ConcurrentUpdateError,
    ConfigurationError,
    DutyRunningError,
    UsageError,
)
from artifactstore.failpoints import arm
from artifactstore.registry.copying import Copying, RowIds, copy_backend
from artifactstore.registry.emptying import DEAD_AFTER_S, MIGRATION, MigrationReport, migrate
from artifactstore.registry.finalizing import finalize
from artifactstore.registry.ingest import ingest
from artifactstore.registry.lease import Lease
from artifactstore.registry.open_packages import OPEN_FOR, abandon, open_package
from artifactstore.registry.placing import placed
from artifactstore.registry.receiving import Announced, receive_file
from artifactstore.registry.turn import Turn
from artifactstore.registry.uploads import append, begin_upload
from artifactstore.registry.verify import verify_all, verify_objects
from artifactstore.storage.port import ObjectKey, ObjectKind
from artifactstore.testing.builders import package_draft, put_bytes, some_bytes
from tests.support import event_types, fetch, flip_byte, replay_is_exact
from tests.two_backends import (
    ARCHIVE,
    DISK,
    backends_file,
    keys_in,
    paths_of,
    recorded_in,
    settings_from,
    two_directories,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(None)


def push(registry: Registry, files: dict[str, bytes] = FILES, name: str = "run-1") -> str:
    return ingest(registry, package_draft(files, external_id=name)).package_id


def move(registry: Registry, source: str = DISK, target: str = ARCHIVE, *, wait_s: float = 0) -> MigrationReport:
    return migrate(registry, source, target, wait_s=wait_s, grace_s=0, pause=lambda _: None)


def at(failpoint: str, action: Callable[[], object]) -> None:
    """Do this once, when the step of this name is reached."""

    def pass_by(name: str) -> None:
        if name == failpoint:
            arm(None)
            action()

    arm(pass_by)


def state_of(registry: Registry, backend: str) -> dict[str, str]:
    """Key and status of every object that the catalog has in a backend."""
    with registry.catalog.snapshot() as queries:
        found = [each for each in queries.objects(after=0, limit=10_000) if each.backend == backend]
    return {ObjectKey(ObjectKind(each.kind), each.blake3).path: each.status for each in found}


class _KilledError(Exception):
    """Stands for the end of the process."""


def killed() -> None:
    raise _KilledError


class TestAnEmptyingThatNobodyDisturbs:
    def test_everything_is_moved(self, registry: Registry, tmp_path: Path) -> None:
        package_id = push(registry)
        keys = keys_in(registry, DISK)

        report = move(registry)

        assert report.is_done
        assert (3, 3, 3, 0) == (report.copy.objects, report.copy.verified, report.deleted, report.unrecorded)
        assert (set(), keys) == (keys_in(registry, DISK), keys_in(registry, ARCHIVE))
        assert ({}, 3) == (state_of(registry, DISK), recorded_in(registry, ARCHIVE))
        assert [] == verify_all(registry).damage
        assert FILES == fetch(registry, package_id, tmp_path / "out")

    def test_new_objects_go_to_the_successor(self, registry: Registry) -> None:
        push(registry)
        move(registry)

        push(registry, {"new": b"new"}, "run-2")

        assert ARCHIVE == placed(registry).default_backend
        assert (set(), 5) == (keys_in(registry, DISK), len(keys_in(registry, ARCHIVE)))

    def test_the_same_again_does_nothing(self, registry: Registry) -> None:
        push(registry)
        move(registry)
        before = event_types(registry)

        report = move(registry)

        assert (0, 0, True) == (report.copy.objects, report.deleted, report.is_done)
        assert before == event_types(registry)

    def test_there_and_back_and_there(self, registry: Registry, tmp_path: Path) -> None:
        package_id = push(registry)

        for source, target in ((DISK, ARCHIVE), (ARCHIVE, DISK), (DISK, ARCHIVE)):
            report = move(registry, source, target)

            assert (report.is_done, 3) == (True, report.deleted)
            assert (set(), 3) == (keys_in(registry, source), len(keys_in(registry, target)))
            assert target == placed(registry).default_backend
        assert [] == verify_all(registry).damage
        assert FILES == fetch(registry, package_id, tmp_path / "out")

    def test_copies_made_before_are_read_back_first(self, registry: Registry, home: Path, tmp_path: Path) -> None:
        package_id = push(registry)
        copy_backend(registry, DISK, ARCHIVE)
        flip_byte(paths_of(home, ARCHIVE, ObjectKind.PACK)[0], 100)

        report = move(registry)

        assert (report.is_done, [], 1) == (True, report.copy.damage, event_types(registry).count("v1.object.damaged"))
        assert [] == verify_all(registry).damage
        assert FILES == fetch(registry, package_id, tmp_path / "out")

    def test_bytes_that_nobody_recorded_are_counted_and_left(self, registry: Registry) -> None:
        push(registry)
        put_bytes(registry.store, b"left by a push that was killed")

        report = move(registry)

        assert (1, 30, True) == (report.unrecorded, report.unrecorded_bytes, report.is_done)


class TestDamage:
    def test_what_cannot_be_saved_stays_and_is_named(self, registry: Registry, home: Path) -> None:
        package_id = push(registry)
        flip_byte(paths_of(home, DISK, ObjectKind.BLOB)[0], 2**20)

        report = move(registry)

        assert not report.is_done
        assert [(package_id, "large.bin")] == [(lost.package_id, lost.path) for lost in report.copy.lost]
        assert ["damaged"] == list(state_of(registry, DISK).values())
        assert 1 == len(keys_in(registry, DISK))

    def test_it_goes_on_when_the_lost_was_stored_again(self, registry: Registry, home: Path, tmp_path: Path) -> None:
        package_id = push(registry)
        flip_byte(paths_of(home, DISK, ObjectKind.BLOB)[0], 2**20)
        move(registry)

        assert package_id == push(registry)
        report = move(registry)

        assert (True, []) == (report.is_done, report.copy.lost)
        assert set() == keys_in(registry, DISK)
        assert FILES == fetch(registry, package_id, tmp_path / "out")

    def test_a_bad_pack_goes_when_its_blobs_are_elsewhere(self, registry: Registry, home: Path) -> None:
        push(registry)
        copy_backend(registry, DISK, ARCHIVE)
        flip_byte(paths_of(home, DISK, ObjectKind.PACK)[0], 100)
        assert [] != verify_objects(registry).damage

        report = move(registry)

        assert (True, 3) == (report.is_done, report.deleted)
        assert [] == verify_all(registry).damage

    def test_a_copy_that_goes_bad_before_the_delete_saves_the_original(self, registry: Registry, home: Path) -> None:
        push(registry)

        def spoil() -> None:
            flip_byte(paths_of(home, ARCHIVE, ObjectKind.PACK)[0], 100)
            assert [] != verify_objects(registry).damage

        at("migrate.after-condemned", spoil)
        report = move(registry)

        assert report.is_done
        assert 1 == event_types(registry).count("v1.object.restored")
        assert [] == verify_all(registry).damage
        assert set() == keys_in(registry, DISK)


class TestWhoWritesMeanwhile:
    def test_a_push_that_began_before_the_switch_is_waited_for(self, registry: Registry, tmp_path: Path) -> None:
        push(registry)
        package_id = open_package(
            registry, package_draft({}, external_id="run-2"), None, as_revision=False, readable_producers=None
        ).package_id
        receive_file(registry, package_id, Announced("a"), io.BytesIO(b"1").read)

        first = move(registry)
        receive_file(registry, package_id, Announced("b"), io.BytesIO(b"2").read)
        finalize(registry, package_id, readable_producers=None)
        second = move(registry)

        assert [(package_id, "open package")] == [(each.name, each.what) for each in first.waiting_for]
        assert (False, 0) == (first.is_done, first.deleted)
        assert second.is_done
        assert set() == keys_in(registry, DISK)
        assert {"a": b"1", "b": b"2"} == fetch(registry, package_id, tmp_path / "out")

    def test_a_push_that_began_after_it_is_not(self, registry: Registry, tmp_path: Path) -> None:
        push(registry)
        move(registry)
        with registry.transaction() as tx:  # an hour ago
            tx.connection.execute(
                "UPDATE backend_state SET succeeded_at = succeeded_at - 3600000000 WHERE successor IS NOT NULL"
            )
        package_id = open_package(
            registry, package_draft({}, external_id="run-2"), None, as_revision=False, readable_producers=None
        ).package_id
        receive_file(registry, package_id, Announced("a"), io.BytesIO(b"1").read)

        report = move(registry)

        assert report.is_done
        assert set() == keys_in(registry, DISK)
        finalize(registry, package_id, readable_producers=None)
        assert {"a": b"1"} == fetch(registry, package_id, tmp_path / "out")

    def test_an_upload_with_parts_in_the_source_is_waited_for(self, registry: Registry) -> None:
        push(registry)
        package_id = open_package(
            registry, package_draft({}, external_id="run-2"), None, as_revision=False, readable_producers=None
        ).package_id
        upload, _ = begin_upload(registry, package_id, Announced("a"), 4)
        append(registry, package_id, upload.upload_id, 0, io.BytesIO(b"12").read)

        first = move(registry)
        abandon(registry, package_id)
        second = move(registry)

        assert [True] == [writer.has_bytes_there for writer in first.waiting_for]
        assert (True, 0) == (second.is_done, second.unrecorded)

    def test_bytes_in_the_source_are_waited_for_whatever_the_clocks_say(self, registry: Registry) -> None:
        push(registry)
        package_id = open_package(
            registry, package_draft({}, external_id="run-2"), None, as_revision=False, readable_producers=None
        ).package_id
        receive_file(registry, package_id, Announced("a"), io.BytesIO(b"1").read)
        with registry.transaction() as tx:  # its server's clock is an hour ahead
            tx.connection.execute("UPDATE open_package SET opened_at = opened_at + 3600000000")
        move(registry)

        report = move(registry)

        assert [package_id] == [writer.name for writer in report.waiting_for]
        assert 0 == report.deleted

    def test_a_push_whose_time_is_over_is_forgotten(self, registry: Registry) -> None:
        push(registry)
        open_package(registry, package_draft({}, external_id="run-2"), None, as_revision=False, readable_producers=None)
        tomorrow = replace(registry, clock=lambda: Instant(registry.clock() + OPEN_FOR))

        assert not move(registry).is_done
        assert move(tomorrow).is_done

    def test_an_ingest_that_was_storing_is_waited_for(self, registry: Registry) -> None:
        push(registry)

        with registry.transaction() as tx:
            tx.open_lease("an ingest", "ingest", registry.clock())
        first = move(registry)
        with registry.transaction() as tx:
            tx.end_lease("an ingest")
        second = move(registry)

        assert ["ingest"] == [writer.what for writer in first.waiting_for]
        assert (0, 3) == (first.deleted, second.deleted)

    def test_a_dead_ingest_is_not_waited_for(self, registry: Registry) -> None:
        push(registry)
        with registry.transaction() as tx:
            long_ago = Instant(registry.clock() - (DEAD_AFTER_S + 1) * 1_000_000)
            tx.open_lease("an ingest", "ingest", long_ago)

        report = move(registry)

        assert report.is_done
        with registry.transaction() as tx:
            assert not tx.end_lease("an ingest")

    def test_a_copy_into_the_source_is_not_waited_for_and_is_refused(self, registry: Registry) -> None:
        push(registry)
        moved: list[bool] = []

        at("copy.before-record", lambda: moved.append(move(registry, ARCHIVE, DISK).is_done))
        with pytest.raises(ConcurrentUpdateError, match="'archive' is being emptied"):
            copy_backend(registry, DISK, ARCHIVE)

        assert [True] == moved
        assert {} == state_of(registry, ARCHIVE)

    def test_an_ingest_that_looked_before_the_switch_begins_anew(self, registry: Registry, tmp_path: Path) -> None:
        push(registry)
        late = placed(registry)

        move(registry)

        assert DISK == late.default_backend
        with pytest.raises(ConcurrentUpdateError), Lease(late, "ingest") as lease:
            lease.ensure_open()
        assert {"new": b"new"} == fetch(registry, push(late, {"new": b"new"}, "run-2"), tmp_path / "out")
        assert set() == keys_in(registry, DISK)

    def test_a_lease_that_is_just_being_opened_is_waited_for(self, registry: Registry) -> None:
        """It cannot be seen yet when the switch is made; nor can its owner see the switch."""
        push(registry)
        lease, answers = Lease(registry, "ingest"), list[MigrationReport]()
        moving = threading.Thread(target=lambda: answers.append(move(registry)))

        def switch_meanwhile() -> None:
            moving.start()
            moving.join(0.7)  # it would have come to its end, if it did not wait for the one who opens the lease

        at("catalog.before-commit", switch_meanwhile)
        with lease:
            lease.ensure_open()
            moving.join()
            with registry.transaction() as tx:
                lease.end_in(tx)

        assert [["ingest"]] == [[writer.what for writer in report.waiting_for] for report in answers]
        assert 0 == answers[0].deleted

    def test_what_an_ingest_records_during_the_wait_is_moved_too(self, registry: Registry, tmp_path: Path) -> None:
        push(registry)
        recorded: list[str] = []

        def store_and_meanwhile_migrate(name: str) -> None:
            if name == "record.before-transaction":
                arm(None)
                recorded.append("waited" if move(registry).waiting_for else "did not wait")

        arm(store_and_meanwhile_migrate)
        package_id = push(registry, {"new": b"new"}, "run-2")
        report = move(registry)

        assert ["waited"] == recorded
        assert (report.is_done, 5) == (True, len(keys_in(registry, ARCHIVE)))
        assert {"new": b"new"} == fetch(registry, package_id, tmp_path / "out")

    def test_turned_while_it_waits_it_condemns_nothing(self, registry: Registry) -> None:
        push(registry)
        with registry.transaction() as tx:
            tx.open_lease("an ingest", "ingest", registry.clock())

        def turn(_: float) -> None:
            with registry.transaction() as tx:
                tx.end_lease("an ingest")
                backends.succeed(tx.connection, ARCHIVE, DISK, registry.clock())

        with pytest.raises(ConcurrentUpdateError, match="another migration"):
            migrate(registry, DISK, ARCHIVE, wait_s=60, grace_s=0, pause=turn)

        assert {"live"} == set(state_of(registry, DISK).values())

    def test_a_migration_the_other_way_stops_this_one(self, registry: Registry) -> None:
        push(registry)

        def turn() -> None:
            with registry.transaction() as tx:
                backends.succeed(tx.connection, ARCHIVE, DISK, registry.clock())

        at("migrate.after-condemned", turn)
        with pytest.raises(ConcurrentUpdateError, match="another migration"):
            move(registry)

        assert DISK == placed(registry).default_backend
        assert move(registry, ARCHIVE, DISK).is_done
        assert (3, set()) == (len(keys_in(registry, DISK)), keys_in(registry, ARCHIVE))
        assert [] == verify_all(registry).damage


@pytest.mark.parametrize(
    "step",
    ["copy.before-record", "migrate.before-switch", "migrate.after-switch", "migrate.after-condemned",
     "migrate.before-delete", "migrate.after-delete"],
)  # fmt: skip
@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "turns back"])
def test_stopped_at_any_step_it_goes_on_or_back(registry: Registry, tmp_path: Path, step: str, goes_on: bool) -> None:
    package_id = push(registry)
    at(step, killed)
    with pytest.raises(_KilledError):
        move(registry)
    assert [] == [damage for damage in verify_all(registry).damage if damage.package_id]
    assert FILES == fetch(registry, package_id, tmp_path / "meanwhile")

    source, target = (DISK, ARCHIVE) if goes_on else (ARCHIVE, DISK)
    report = move(registry, source, target)

    assert report.is_done
    assert (report.unrecorded, 3) == (len(keys_in(registry, source)), len(keys_in(registry, target)))
    assert report.unrecorded == (3 if step == "copy.before-record" and not goes_on else 0)
    assert {"live"} == set(state_of(registry, target).values())
    assert [] == verify_all(registry).damage
    assert FILES == fetch(registry, package_id, tmp_path / "out")


def test_who_does_not_know_the_successor_is_told(registry: Registry, home: Path, database: dict[str, str]) -> None:
    push(registry)
    move(registry)
    only_the_disk = backends_file(home, {DISK: (home / DISK).as_uri()})

    with (
        closing(open_registry(settings_from({**only_the_disk, **database}), actor="local:tester")) as other,
        pytest.raises(ConfigurationError, match="'archive', which is not configured"),
    ):
        push(other, {"new": b"new"}, "run-2")


def condemn(registry: Registry, kind: str) -> None:
    with registry.catalog.snapshot() as queries:
        (found,) = [found for found in queries.objects(after=0, limit=10) if found.kind == kind]
    with registry.transaction() as tx:
        tx.record(ObjectCondemned(object=ObjectRef(found.backend, found.kind, found.blake3, found.size_bytes)))


def test_condemned_and_bad_and_nowhere_else_it_is_damaged(registry: Registry, home: Path) -> None:
    package_id = push(registry)
    flip_byte(paths_of(home, DISK, ObjectKind.BLOB)[0], 2**20)
    condemn(registry, "blob")

    report = move(registry)

    assert ["damaged"] == list(state_of(registry, DISK).values())
    assert [(package_id, "large.bin")] == [(lost.package_id, lost.path) for lost in report.copy.lost]


def test_condemned_by_another_hand_and_nowhere_else_it_is_kept(registry: Registry) -> None:
    """Only what has a copy that was read back is deleted; the rest counts as present again."""
    push(registry)
    condemn(registry, "pack")

    report = move(registry)

    assert report.is_done
    assert (set(), 3) == (keys_in(registry, DISK), len(keys_in(registry, ARCHIVE)))
    assert [] == verify_all(registry).damage


# what a migration does not believe


def test_two_names_of_one_place_are_refused(home: Path) -> None:
    """Whatever the URLs say: here one is a link to the other."""
    settings = two_directories(home)
    with closing(open_registry(settings_from(settings), actor="local:tester")) as registry:
        package_id = push(registry)
        (home / "link").symlink_to(paths_of(home, DISK, ObjectKind.PACK)[0].parents[4])
        urls = {DISK: (home / DISK).as_uri(), "other": (home / "link").as_uri()}
    with closing(open_registry(settings_from(backends_file(home, urls)), actor="local:tester")) as registry:
        for work in (lambda: move(registry, DISK, "other"), lambda: copy_backend(registry, DISK, "other")):
            with pytest.raises(UsageError, match="are one place"):
                work()

        assert FILES == fetch(registry, package_id, home / "out")


def test_what_is_bad_stays_unless_all_it_had_is_read_elsewhere(registry: Registry, home: Path, tmp_path: Path) -> None:
    """The catalog says that a pack in the target has it all, and that pack has rotted unnoticed."""
    package_id = push(registry, SMALL)
    (bad,) = paths_of(home, DISK, ObjectKind.PACK)
    flip_byte(bad, 700)
    verify_objects(registry)
    copy_backend(registry, DISK, ARCHIVE)
    push(registry, SMALL)
    flip_byte(max(paths_of(home, ARCHIVE, ObjectKind.PACK), key=lambda path: path.stat().st_size), 4_000)

    report = move(registry)

    assert bad.exists()
    assert not report.is_done
    assert SMALL == fetch(registry, package_id, tmp_path / "out")


def test_one_migration_at_a_time(registry: Registry) -> None:
    push(registry)

    with Turn(registry, MIGRATION), pytest.raises(DutyRunningError, match="another migration is under way"):
        move(registry)

    assert move(registry).is_done


def test_the_turn_of_a_process_that_is_gone_is_over_at_once(registry: Registry) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    with Turn(registry, MIGRATION), registry.transaction() as tx:
        tx.connection.execute(
            "UPDATE lease SET purpose = replace(purpose, ?, ?)", (f":{os.getpid()} ", f":{int(gone.stdout)} ")
        )
        stale = tx.connection.execute("SELECT lease_id, purpose, owner, opened_at, heartbeat_at FROM lease")
        (left_behind,) = list(stale)
    with registry.transaction() as tx:
        tx.connection.execute("INSERT INTO lease VALUES (?, ?, ?, ?, ?)", left_behind)

    assert move(registry).is_done


def test_a_migration_that_was_taken_for_dead_deletes_nothing(registry: Registry) -> None:
    push(registry)
    keys = keys_in(registry, DISK)

    def taken_over() -> None:
        with registry.transaction() as tx:
            tx.connection.execute("DELETE FROM lease WHERE purpose LIKE 'migration%'")

    at("migrate.after-condemned", taken_over)
    with pytest.raises(ConcurrentUpdateError, match="taken for dead"):
        move(registry)

    assert keys == keys_in(registry, DISK)


def test_readers_have_the_grace_period_before_anything_is_deleted(registry: Registry) -> None:
    push(registry)
    keys, seen = keys_in(registry, DISK), list[tuple[float, bool]]()

    def pause(seconds: float) -> None:
        seen.append(
            (seconds, keys == keys_in(registry, DISK) and set(state_of(registry, DISK).values()) == {"condemned"})
        )

    report = migrate(registry, DISK, ARCHIVE, wait_s=0, grace_s=17, pause=pause)

    assert [(17, True)] == seen
    assert report.is_done


def test_a_copy_that_is_not_read_back_in_this_run_lets_nothing_be_deleted(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(registry)
    copy_backend(registry, DISK, ARCHIVE)
    monkeypatch.setattr(RowIds, "add", lambda *_: None)
    monkeypatch.setattr(Copying, "everything", lambda *_: 0)

    report = move(registry)

    assert (0, False) == (report.deleted, report.is_done)
    assert 3 == len(keys_in(registry, DISK))


def test_a_backend_that_was_refused_takes_no_copies(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    push(registry)

    def refused(registry: Registry, backend: str) -> None:
        if backend == ARCHIVE:
            raise BackendRefusedError("it would lose or alter data")

    monkeypatch.setattr("artifactstore.registry.ingest.require_usable", refused)
    for work in (move, lambda registry: copy_backend(registry, DISK, ARCHIVE)):
        with pytest.raises(BackendRefusedError):
            work(registry)

    assert DISK == placed(registry).default_backend
